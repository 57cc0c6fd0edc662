"""Tag words by an encoder that is fine-tuned: names in tweets and in sentences of ours, and Brown's
parts of speech; cased and lowered, with one label for each word or one for each piece.

    python experiments/tag.py experiments/tags.toml

Each way chooses its learning rate on the held-out part, with the first seed, and is then asked
about the test with every seed. The record has a letter for the tag of each word. A result that is
in it is not made again.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from random import Random
from string import ascii_letters

import torch
from runs import ROOT, made_with, processes, read_record, read_settings, trained, write_record

from bertfamily import corpora
from bertfamily.checkpoints import load
from bertfamily.corpora import Tagged
from bertfamily.encoder import Encoder
from bertfamily.finetuning import Tuning, finetune, under_head
from bertfamily.heads import TokenModel
from bertfamily.metrics import accuracy, entity_scores
from bertfamily.tagging import bio, example_of, tag
from bertfamily.training import fast_in_bfloat16
from bertfamily.wordpiece import fast, load_tokenizer

Parts = tuple[list[Tagged], list[Tagged], list[Tagged]]  # learn, held out, test


def tweets(settings: dict) -> Parts:
    return cut(corpora.named_tweets(), settings)


def sentences(settings: dict) -> Parts:
    return cut(corpora.named_sentences(), settings)


def parts(settings: dict) -> Parts:
    """Sentences of Brown; no text is in two of the parts."""
    texts = list(corpora.brown_parts().values())
    learn, test = corpora.hold_out(texts, settings["test"])
    learn, held_out = corpora.hold_out(learn, settings["held_out"])
    each = ([s for text in part for s in text] for part in (learn, held_out, test))
    return tuple(
        Random(0).sample(some, min(len(some), settings[f"most_{name}"]))
        for some, name in zip(each, ("learn", "held_out", "test"), strict=True)
    )


TASKS = {"tweets": tweets, "sentences": sentences, "parts": parts}


def cut(tagged: list[Tagged], settings: dict) -> Parts:
    learn, test = corpora.hold_out(tagged, settings["test"])
    learn, held_out = corpora.hold_out(learn, settings["held_out"])
    return learn, held_out, test


def names_of(tagged: Sequence[Tagged]) -> list[str]:
    """The classes: for names O and two tags of each kind, else the tags that occur."""
    every = {tag for sentence in tagged for tag in sentence.tags}
    if "O" not in every:
        return sorted(every)
    return bio(sorted({tag[2:] for tag in every - {"O"}}))


def lowered(tagged: list[Tagged], yes: bool) -> list[Tagged]:
    if not yes:
        return tagged
    return [Tagged(tuple(word.lower() for word in s.words), s.tags) for s in tagged]


def score(guesses: list[list[str]], truths: list[Tagged]) -> float:
    """F1 of entities, or the share of words that are right."""
    right = [list(sentence.tags) for sentence in truths]
    if any("O" in tags for tags in right):
        return entity_scores(guesses, right).f1
    return accuracy(sum(guesses, []), sum(right, []))


def tagger(config: dict, way: dict, task: dict, names: list[str], rate: float, seed: int):
    """A function that learns from sentences and returns what tags others."""
    folder = trained(way["of"])
    tokenizer, encoder = fast(load_tokenizer(folder)), load(folder, Encoder).float()
    device = processes()[1]

    def learn_from(learn: list[Tagged]):
        generator = torch.Generator().manual_seed(seed)
        model = under_head(encoder, TokenModel, len(names), generator=generator).to(device)
        examples = [
            example_of(tokenizer, s.words, s.tags, names, config["longest"], way["every_piece"])
            for s in lowered(learn, way["lowered"])
        ]
        plan = Tuning(
            task["epochs"], config["size"], rate, seed=seed, bfloat16=fast_in_bfloat16(device)
        )
        finetune(model, examples, plan, report=False)
        return lambda asked: tag(
            model, tokenizer, [s.words for s in lowered(asked, way["lowered"])], names,
            config["longest"],
        )  # fmt: skip

    return learn_from


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("config", type=Path, help="a TOML file, experiments/tags.toml")
    config = read_settings(options.parse_args().config)
    target = ROOT / config["record"]
    for name, task in config["tasks"].items():
        learn, held_out, test = TASKS[name](task)
        names = names_of([*learn, *held_out, *test])
        keep(target, "tasks", name, {
            "names": names, "learn": len(learn), "held out": len(held_out), "test": len(test),
        })  # fmt: skip
        for title in task["ways"]:
            way, results = config["ways"][title], read_record(target).get("results", {})
            rate = results.get(f"{name}: {title}, rate")
            if rate is None:
                found = {
                    r: score(tagger(config, way, task, names, r, 0)(learn)(held_out), held_out)
                    for r in config["rates"]
                }
                rate = max(found, key=found.get)
                keep(target, "chosen", f"{name}: {title}", {f"{r:g}": found[r] for r in found})
                keep(target, "results", f"{name}: {title}, rate", rate)
            for seed in config["seeds"]:
                key = f"{name}: {title}, seed {seed}"
                if key in results:
                    continue
                told = tagger(config, way, task, names, rate, seed)(learn)(test)
                letters = ["".join(ascii_letters[names.index(t)] for t in tags) for tags in told]
                found = {"score": round(score(told, test), 4), "tags": " ".join(letters)}
                keep(target, "results", key, found)
                print(key, found["score"], flush=True)
    record = read_record(target) | {"config": config}
    write_record(target, record | {"made with": made_with(1, processes()[1])})


def keep(target: Path, part: str, name: str, value: object) -> None:
    record = read_record(target)
    record.setdefault(part, {})[name] = value
    write_record(target, record)


if __name__ == "__main__":
    main()

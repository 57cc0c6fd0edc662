"""Tag words by an encoder that is fine-tuned: names in tweets and in sentences of ours, and Brown's
parts of speech; cased and lowered, with one label for each word or one for each piece.

    python experiments/tag.py experiments/tags.toml

Each way chooses its learning rate on the held-out part, with the first seed, and is then asked
about the test with every seed. The record has a letter for the tag of each word. A result that is
in it is not made again.
"""

import argparse
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from random import Random
from string import ascii_letters

import torch
from runs import ROOT, chosen, keep, made_with, processes, read_record, read_settings, trained

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
    return accuracy(list(chain.from_iterable(guesses)), list(chain.from_iterable(right)))


def tagger(config: dict, way: dict, epochs: int, names: list[str], learn: list[Tagged]):
    """A function of a rate and a seed, which learns from the sentences and then tags others."""
    folder, device = trained(way["of"]), processes()[1]
    tokenizer, encoder = fast(load_tokenizer(folder)), load(folder, Encoder).float()
    examples = [
        example_of(tokenizer, s.words, s.tags, names, config["longest"], way["every_piece"])
        for s in lowered(learn, way["lowered"])
    ]

    def told(rate: float, seed: int, asked: list[Tagged]) -> list[list[str]]:
        generator = torch.Generator().manual_seed(seed)
        model = under_head(encoder, TokenModel, len(names), generator=generator).to(device)
        fast_type = fast_in_bfloat16(device)
        plan = Tuning(epochs, config["size"], rate, seed=seed, bfloat16=fast_type)
        finetune(model, examples, plan, report=False)
        words = [s.words for s in lowered(asked, way["lowered"])]
        return tag(model, tokenizer, words, names, config["longest"])

    return told


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("config", type=Path, help="a TOML file, experiments/tags.toml")
    config = read_settings(options.parse_args().config)
    target = ROOT / config["record"]
    for name, task in config["tasks"].items():
        parts = TASKS[name](task)
        names = names_of([*chain.from_iterable(parts)])
        counts = dict(zip(("learn", "held out", "test"), map(len, parts), strict=True))
        keep(target, tasks={name: {"names": names, **counts}})
        for title in task["ways"]:
            told = tagger(config, config["ways"][title], task["epochs"], names, parts[0])
            ask(target, f"{name}: {title}", told, names, parts, task["rates"], config["seeds"])
    keep(target, config=config, **{"made with": made_with(1, processes()[1])})


def ask(
    target: Path, key: str, told: Callable, names: list[str], parts: Parts,
    rates: list[float], seeds: list[int],
) -> None:  # fmt: skip
    """One way: its rate chosen on the held-out part, then asked about the test with each seed."""
    _, held_out, test = parts
    rate = chosen(target, key, rates, lambda rate: score(told(rate, 0, held_out), held_out))
    for seed in seeds:
        name = f"{key}, seed {seed}"
        if name in read_record(target).get("results", {}):
            continue
        tags = told(rate, seed, test)
        letters = ("".join(ascii_letters[names.index(t)] for t in row) for row in tags)
        result = {"score": round(score(tags, test), 4), "tags": " ".join(letters)}
        keep(target, results={name: result})
        print(f"{name}: {result['score']}", flush=True)


if __name__ == "__main__":
    main()

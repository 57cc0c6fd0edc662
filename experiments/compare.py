"""Ask several models about the same blanks, each alone in its sentence: who guesses better?

    python experiments/compare.py experiments/compare.toml list    # the blanks, no model is asked
    python experiments/compare.py experiments/compare.toml ask

The blanks are whole words that are one piece in every vocabulary, capitals aside, out of sentences
that no model has learnt from; of each corpus as many. A guess is right if it is the word, whatever
its capitals; its probability is that of all pieces that are the word. Two models are compared blank
by blank, and the intervals count documents. `ask` adds the models that the record does not have:
so a model whose weights are gone keeps its answers. The texts themselves are not in the record.
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import torch
from runs import (
    ROOT,
    Rows,
    Tokenized,
    made_with,
    read_record,
    read_settings,
    read_texts,
    trained,
    write_record,
)

from bertfamily import corpora
from bertfamily.checkpoints import load
from bertfamily.counts import Counts, interval
from bertfamily.wordpiece import Tokenizer, fast, load_tokenizer

WORD = re.compile(r"(?<![\w'’-])[A-Za-z]+(?![\w'’-])")  # no part of "don't" or "well-known"


class Blank(NamedTuple):
    corpus: str
    document: int  # its number among those held out
    text: str  # the sentence with [MASK] in the place of the word
    word: str


class Answer(NamedTuple):
    guesses: list[str]  # the first five
    nats: float  # -log P of the word


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, help="a TOML file, experiments/compare.toml")
    parser.add_argument("what", choices=("list", "ask"))
    parser.add_argument("--only", nargs="*", help="the models to ask now, by name; else all")
    options = parser.parse_args()
    config = read_settings(options.config)
    target = ROOT / config["record"]
    blanks = list(draw(config, [tokenizer_of(model) for model in config["models"].values()]))
    if options.what == "list":
        show(blanks[: config["shown"]], {})
        return
    record = read_record(target)
    answers = record.get("answers", {})
    for name, model in config["models"].items():
        if name not in answers and (options.only is None or name in options.only):
            print(f"asking {name}", flush=True)
            ask = ask_counts if "counts" in model else ask_model
            told = zip(ask(model, blanks), blanks, strict=True)
            answers[name] = [
                compact(answer, blank, number < config["shown"])
                for number, (answer, blank) in enumerate(told)
            ]
    record = {
        "config": config,
        "blanks": [f"{blank.corpus} {blank.document} {blank.word}" for blank in blanks],
        "scores": {name: scores(blanks, some) for name, some in answers.items()},
        "paired": paired(config["pairs"], blanks, answers),
        "made with": record.get("made with", []) + [made_with(1, torch.device("cpu"))],
        "answers": answers,
    }
    write_record(target, record)
    show(blanks[: config["shown"]], answers)


# --- the blanks


def draw(config: dict, tokenizers: list[Tokenizer]) -> Iterator[Blank]:
    """The blanks in random order, as many of each corpus; at most one of a sentence."""
    rng, found = Random(config["seed"]), []
    for corpus in config["corpora"]:
        places = []
        for number, sentence in sentences(corpus):
            words = [m for m in WORD.finditer(sentence) if is_one_piece(m[0], tokenizers)]
            if words and 4 <= len(sentence.split()) <= 40:
                places.append((number, sentence, rng.choice(words)))
        for number, sentence, at in rng.sample(places, config["each"]):
            text = f"{sentence[: at.start()]}[MASK]{sentence[at.end() :]}"
            found.append(Blank(corpus, number, text, at[0].lower()))
    yield from rng.sample(found, len(found))


def sentences(corpus: str) -> Iterator[tuple[int, str]]:
    """The sentences of the texts held out, each with the number of its text."""
    _, held_out = read_texts({"corpora": {corpus: 1}})
    for number, text in enumerate(held_out[corpus]):
        for sentence in corpora.split_sentences(text):
            yield number, sentence


def is_one_piece(word: str, tokenizers: list[Tokenizer]) -> bool:
    """Whether the word is a piece of each vocabulary; of a cased one as it stands there."""
    return all((word.lower() if t.lowercase else word) in t.ids for t in tokenizers)


# --- the answers


def tokenizer_of(model: dict) -> Tokenizer:
    """Of the folder that its vocabulary is from, which stays where its weights may not."""
    return load_tokenizer(trained(model["vocabulary"]))


@torch.no_grad()
def ask_model(settings: dict, blanks: list[Blank]) -> Iterator[Answer]:
    """What a masked-token model guesses, one sentence at a time: so nothing is filled up."""
    rest = trained(settings["rest"]) if "rest" in settings else None
    model = load(ROOT / settings["folder"], rest=rest).float()
    tokenizer = tokenizer_of(settings)
    forms = Forms(tokenizer)
    for blank in blanks:
        ids = torch.tensor([tokenizer.encode(blank.text).ids])
        (logs,) = model(ids, chosen=ids == tokenizer.mask).log_softmax(dim=-1)
        yield forms.answer(logs, blank.word)


def ask_counts(settings: dict, blanks: list[Blank]) -> Iterator[Answer]:
    """What counts of a run's texts guess from two neighbours on each side."""
    config = read_settings(ROOT / settings["counts"])
    tokenizer = fast(tokenizer_of(settings))
    texts, _ = read_texts(config["text"])
    rows = Rows(Tokenized(texts, tokenizer), config["batches"][-1]["length"])
    counts = Counts([row.tolist() for row in rows], reach=2)
    forms = Forms(tokenizer)
    for blank in blanks:
        ids = tokenizer.encode(blank.text).ids
        place = torch.tensor([[0, ids.index(tokenizer.mask)]])
        (shares,) = counts.probabilities([ids], place, 2, 2)
        logs = torch.full((len(tokenizer.vocabulary),), -torch.inf)
        logs[torch.tensor(counts.symbols[:-1])] = shares[:-1].log()
        yield forms.answer(logs, blank.word)


class Forms:
    """Which pieces of a vocabulary are the same word, capitals aside."""

    def __init__(self, tokenizer: Tokenizer):
        self.words = [piece.lower() for piece in tokenizer.vocabulary]
        self.ids: dict[str, list[int]] = {}
        for i, word in enumerate(self.words):
            self.ids.setdefault(word, []).append(i)

    def answer(self, logs: torch.Tensor, word: str) -> Answer:
        best = dict.fromkeys(self.words[i] for i in logs.topk(min(15, len(logs))).indices.tolist())
        return Answer(list(best)[:5], -logs[self.ids[word]].logsumexp(dim=0).item())


def compact(answer: Answer, blank: Blank, shown: bool) -> str:
    """The place of the word among the five guesses (0: it is not), its nats, the first or all."""
    place = answer.guesses.index(blank.word) + 1 if blank.word in answer.guesses else 0
    return f"{place} {answer.nats:.3f} {' '.join(answer.guesses[: 5 if shown else 1])}"


# --- what they come to


def columns(answers: list[str]) -> dict[str, torch.Tensor]:
    """For each blank: is the first guess right, is one of five, and the nats."""
    place = torch.tensor([int(a.split(" ")[0]) for a in answers])
    return {
        "first": (place == 1).double(),
        "in five": (place > 0).double(),
        "nats": torch.tensor([float(a.split(" ")[1]) for a in answers], dtype=torch.float64),
    }


def groups(blanks: list[Blank]) -> dict[str, torch.Tensor]:
    """Which blanks are of a corpus, for each of them and for all."""
    names = sorted({blank.corpus for blank in blanks})
    all_of = {name: torch.tensor([b.corpus == name for b in blanks]) for name in names}
    return {"all": torch.ones(len(blanks), dtype=torch.bool)} | all_of


def documents(blanks: list[Blank]) -> torch.Tensor:
    """A number for each document, the same for all of its blanks."""
    numbers: dict[tuple, int] = {}
    return torch.tensor([numbers.setdefault((b.corpus, b.document), len(numbers)) for b in blanks])


def scores(blanks: list[Blank], answers: list[str]) -> dict[str, dict]:
    """Mean and ends of its 95 % interval, over documents: of each corpus and of all."""
    return {
        name: {
            what: [round(x, 4) for x in interval(values[here], documents(blanks)[here])]
            for what, values in columns(answers).items()
        }
        for name, here in groups(blanks).items()
    }


def paired(pairs: list, blanks: list[Blank], answers: dict) -> dict[str, dict]:
    """The differences between two models on the same blanks, first less second."""
    found = {}
    for one, other in pairs:
        if one in answers and other in answers:
            a, b = columns(answers[one]), columns(answers[other])
            found[f"{one} less {other}"] = {
                name: {
                    what: [
                        round(x, 4)
                        for x in interval((a[what] - b[what])[here], documents(blanks)[here])
                    ]
                    for what in a
                }
                for name, here in groups(blanks).items()
            }
    return found


def show(blanks: list[Blank], answers: dict) -> None:
    """The blanks with what each model says; a star where its first guess is right."""
    for number, blank in enumerate(blanks):
        print(f"{number + 1:3} {blank.corpus}: {blank.text} [{blank.word}]")
        for name, told in answers.items():
            place, _, guesses = told[number].split(" ", 2)
            print(f"      {name}: {guesses}{' *' * (place == '1')}")


if __name__ == "__main__":
    main()

"""Classify texts by an encoder that is fine-tuned, in several ways and from more and fewer texts.

    python experiments/finetune.py experiments/films.toml

Ways of the encoder: `full`, `partial` (the upper layers), `frozen` (the pooler and all below it
stay, a head learns on them), `fresh` (the same network without pretraining). Beside them, by
logistic regression: the mean of the encoder's last vectors, its vectors of [CLS], and a bag of
words. Each way chooses its settings by the held-out part, a regression for every seed, the slower
ones once for each size (with all texts, those that were best with `settings_of_all`), and is then
asked about the test with every seed; a seed draws the texts, the head and the order. A result that
is in the record is not made again, so the command goes on where it was stopped, several processes
may work at one record, and with `accelerate launch` they share the seeds, on GPUs where there are
some.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import torch
from runs import ROOT, chosen, keep, made_with, processes, read_record, read_settings, trained
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from bertfamily import corpora
from bertfamily.batches import buckets, pad
from bertfamily.checkpoints import load
from bertfamily.encoder import Encoder
from bertfamily.finetuning import Example, Tuning, finetune, predict, trainable, under_head
from bertfamily.heads import SequenceModel
from bertfamily.training import fast_in_bfloat16, initialize
from bertfamily.wordpiece import Encoding, fast, load_tokenizer

Labelled = tuple[str, int]  # a text and its class


class Answered(NamedTuple):
    """What a way said about texts, and what it took."""

    classes: list[int]
    seconds: float  # of training
    parameters: int  # that learn


# --- tasks


def films() -> tuple[list[Labelled], list[Labelled]]:
    """Sentences of critics: is it praise?"""
    critics = [r for r in corpora.film_reviews() if r.source == "rotten_tomatoes"]
    return corpora.hold_out([(r.text, int(r.positive)) for r in critics], every=5)


def long_films() -> tuple[list[Labelled], list[Labelled]]:
    """Whole reviews from IMDb."""
    reviews = [r for r in corpora.film_reviews() if r.source == "imdb"]
    return corpora.hold_out([(r.text, int(r.positive)) for r in reviews], every=25)


def questions() -> tuple[list[Labelled], list[Labelled]]:
    """TREC's questions: what kind of thing answers it?"""
    parts = (corpora.questions(split) for split in ("train", "test"))
    return tuple([(q.text, corpora.KINDS.index(q.kind)) for q in part] for part in parts)


TASKS = {"films": films, "long films": long_films, "questions": questions}

# --- ways


class Reader:
    """The encoder, its tokenizer, and the texts as it reads them, each once."""

    def __init__(self, config: dict, device: torch.device):
        folder = trained(config["of"])
        self.encoder = load(folder, Encoder).float().to(device)
        self.tokenizer = fast(load_tokenizer(folder))
        self.longest, self.device = config["longest"], device
        self.known: dict[str, Encoding] = {}
        self.vectors: dict[str, np.ndarray] = {}

    def encode(self, text: str) -> Encoding:
        if text not in self.known:
            self.known[text] = self.tokenizer.encode(text, longest=self.longest)
        return self.known[text]

    @torch.no_grad()
    def features(self, texts: Sequence[str], kind: str) -> np.ndarray:
        """The last vectors of a text: their mean over its tokens, or that of [CLS]."""
        new = [text for text in texts if text not in self.vectors]
        for batch in buckets([len(self.encode(text).ids) for text in new], 64):
            read = pad([self.encode(new[i]) for i in batch])
            output = self.encoder(*(x.to(self.device) for x in read)).output.cpu()
            mean = (output * read.keep[:, :, None]).sum(dim=1) / read.keep.sum(dim=1)[:, None]
            for row, i in enumerate(batch):
                self.vectors[new[i]] = torch.stack([mean[row], output[row, 0]]).numpy()
        return np.stack([self.vectors[text][("mean", "cls").index(kind)] for text in texts])


def tuned(
    reader: Reader, config: dict, way: str, learn: list[Labelled], setting: float, seed: int
) -> Callable[[Sequence[str]], Answered]:
    """The encoder, fine-tuned in one of the ways; `setting` is the learning rate."""
    generator = torch.Generator().manual_seed(seed)
    encoder, few = reader.encoder, config["few_steps"]
    if way == "fresh":
        encoder = Encoder(encoder.config).to(reader.device)
        initialize(encoder, generator)
    classes = 1 + max(label for _, label in learn)
    model = under_head(encoder, SequenceModel, max(2, classes), generator=generator)
    size = min(config["size"], len(learn))
    layers = {"full": None, "fresh": None, "partial": config["partial"], "frozen": 0}[way]
    tuning = Tuning(
        epochs=max(config["epochs"], round(few * size / len(learn))),
        size=size,
        rate=setting,
        layers=layers,
        seed=seed,
        bfloat16=fast_in_bfloat16(reader.device),
    )
    examples = [Example(reader.encode(text), label) for text, label in learn]
    curve = finetune(model.to(reader.device), examples, tuning, report=False)

    def answer(texts: Sequence[str]) -> Answered:
        answers = predict(model, [reader.encode(t) for t in texts], bfloat16=tuning.bfloat16)
        return Answered([int(a.argmax()) for a in answers], curve[-1].seconds, trainable(model))

    return answer


def regressed(
    reader: Reader, config: dict, way: str, learn: list[Labelled], setting: float, seed: int
) -> Callable[[Sequence[str]], Answered]:
    """Logistic regression on a bag of words, or on vectors of the encoder that are not changed.

    `setting` is scikit-learn's C: the larger, the less the weights are held back.
    """
    texts, labels = zip(*learn, strict=True)
    start = time.perf_counter()
    model = LogisticRegression(C=setting, max_iter=2_000)
    if way == "bag":
        model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), model)
    given = list if way == "bag" else lambda some: reader.features(some, way)
    model.fit(given(texts), labels)
    seconds = time.perf_counter() - start

    def answer(texts: Sequence[str]) -> Answered:
        last = model[-1] if way == "bag" else model
        parameters = last.coef_.size + last.intercept_.size
        return Answered(model.predict(given(texts)).tolist(), seconds, parameters)

    return answer


# --- the run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, help="a TOML file, such as experiments/films.toml")
    parser.add_argument("--sizes", nargs="*", type=int, help="only these numbers of texts; 0: all")
    options = parser.parse_args()
    config = read_settings(options.config)
    (number, count), device, _ = processes()
    every, test = TASKS[config["task"]]()
    learn, held_out = corpora.hold_out(every, every=config["hold_out"])
    parts = learn, held_out[:: config["held_out_each"]], test[:: config["test_each"]]
    told = dict(zip(("learn", "held out", "test"), map(len, parts), strict=True))
    keep(ROOT / config["record"], config=config, texts=told)
    reader = Reader(config, device)
    for way, plan in config["ways"].items():
        for size in plan.get("sizes", config["sizes"]):
            if options.sizes is None or size in options.sizes:
                seeds = config["seeds"] if size else config["seeds_of_all"]
                for seed in seeds[number::count]:
                    answer_for(reader, config, parts, way, size, seed)


def answer_for(reader: Reader, config: dict, parts: tuple, way: str, size: int, seed: int) -> None:
    """One way, number of texts and seed: chosen on the held-out texts, told about the test."""
    learn, held_out, test = parts
    quick = way in ("bag", "mean", "cls")
    like = size or config["settings_of_all"]
    size = size or len(learn)
    asked = dict(reader=reader, config=config, way=way, learn=drawn(learn, size, seed), seed=seed)
    make = regressed if quick else tuned
    name, target = f"{way}, {size} texts, seed {seed}", ROOT / config["record"]
    choice = name if quick else f"{way}, {like} texts"

    def score(setting: float) -> float:
        return share(right(make(setting=setting, **asked), held_out))

    best = chosen(target, choice, config["ways"][way]["settings"], score)
    if read_record(target).get("results", {}).get(name, {}).get("setting") == best:
        return
    told = make(setting=best, **asked)([text for text, _ in test])
    hits = [c == label for c, (_, label) in zip(told.classes, test, strict=True)]
    result = {
        "setting": best,
        "accuracy": round(share(hits), 4),
        "right": as_hex(hits),
        "guesses": "".join(map(str, told.classes)) if max(told.classes) > 1 else None,
        "seconds": round(told.seconds, 1),
        "parameters": told.parameters,
    }
    keep(target, results={name: result}, **{"made with": made_with(1, reader.device)})
    print(f"{name}: {result['accuracy']:.3f}", flush=True)


def drawn(learn: list[Labelled], size: int, seed: int) -> list[Labelled]:
    """So many of the texts by chance, each class in its proportion."""
    rng = Random(seed)
    by_class = sorted(rng.sample(learn, len(learn)), key=lambda labelled: labelled[1])
    start = rng.random()
    some = [by_class[int((i + start) * len(learn) / size)] for i in range(size)]
    return rng.sample(some, size)


def right(answer: Callable, asked: list[Labelled]) -> list[bool]:
    told = answer([text for text, _ in asked]).classes
    return [c == label for c, (_, label) in zip(told, asked, strict=True)]


def share(hits: Sequence[bool]) -> float:
    return sum(hits) / len(hits)


def as_hex(hits: Sequence[bool]) -> str:
    """Which are right, four to a digit, the first in the highest bit; filled with 0 at the end."""
    bits = "".join("01"[hit] for hit in hits)
    bits += "0" * (-len(bits) % 4)
    return f"{int(bits, 2):0{len(bits) // 4}x}"


if __name__ == "__main__":
    main()

"""Train a model to answer from silver questions, and ask it questions that people wrote.

    python experiments/answer.py experiments/answer.toml

It learns from questions made by rule (module silver) about passages of real text, some of them put
to a passage that does not answer them, and from one half of `data/passages.jsonl`; it is asked
about the other half. Beside it stand two ways without a network: the capitalised phrase that is
nearest to the words of the question, and the span with most of these words around it. A seed whose
result is in the record is not made again. spaCy is needed: pip install spacy==3.8.18.
"""

import argparse
import json
import re
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from random import Random
from typing import NamedTuple

import torch
from runs import ROOT, made_with, processes, read_record, read_settings, trained, write_record
from silver import parser, silver_questions

from bertfamily import corpora
from bertfamily.answering import answer, best_answer, examples_of, windows
from bertfamily.checkpoints import load, save
from bertfamily.counts import interval
from bertfamily.encoder import Encoder
from bertfamily.finetuning import Example, Tuning, finetune, predict, under_head
from bertfamily.heads import SpanModel
from bertfamily.metrics import answer_f1, exact_match
from bertfamily.training import fast_in_bfloat16
from bertfamily.wordpiece import Tokenizer, fast, load_tokenizer


class Asked(NamedTuple):
    """A question about a passage, and where the answer is."""

    question: str
    passage: str
    answer: tuple[int, int] | None  # its characters; None: the passage does not say


# --- questions


def passages(config: dict) -> Iterator[str]:
    """Some sentences in a row, from the articles of the corpora, which take turns."""
    rng = Random(config["seed"])
    articles = [d.sentences for name in config["corpora"] for d in getattr(corpora, name)()]
    for sentences in rng.sample(articles, len(articles)):
        begin = rng.randrange(config["sentences"])
        for at in range(begin, len(sentences), 2 * config["sentences"]):
            yield " ".join(sentences[at : at + config["sentences"]])


def silver(config: dict) -> Iterator[Asked]:
    """Of each passage at most so many questions; of some the passage that follows is asked."""
    rng, parse, before = Random(config["seed"]), parser(), None
    for passage in passages(config):
        if not 20 <= len(passage.split()) <= config["words"]:
            continue
        (sentences,) = parse([passage])
        found = [q for words in sentences for q in silver_questions(words)]
        for q in rng.sample(found, min(config["of_a_passage"], len(found))):
            words = passage[q.start : q.end]
            if before and words not in before and rng.random() < config["without_answer"]:
                yield Asked(q.question, before, None)
            else:
                yield Asked(q.question, passage, (q.start, q.end))
        before = passage


def by_hand(part: int) -> list[Asked]:
    """The questions about every second passage of ours, from the first or from the second."""
    lines = corpora.data_path("passages.jsonl").read_text("utf-8").splitlines()[part::2]
    return [
        Asked(q["question"], row["text"], (q["start"], q["start"] + len(q["answer"])))
        for row in map(json.loads, lines)
        for q in row["questions"]
    ]


# --- ways without a network

NAME = re.compile(r"[A-Z][\w'’-]*(?: (?:of |the |de )?[A-Z][\w'’-]*)*|\d[\d,.]*")


def words_of(text: str) -> set[str]:
    common = set(
        "the a an of in on at to is are was were does did do who what where when why how".split()
    )
    return {word for word in re.findall(r"\w+", text.lower())} - common


def near(passage: str, place: int, wanted: set[str], reach: int = 60) -> int:
    """How many of the words stand around a place."""
    return len(wanted & words_of(passage[max(0, place - reach) : place + reach]))


def nearest_name(asked: Asked) -> str:
    """The capitalised phrase or number with most of the question's words around it, none in it."""
    wanted = words_of(asked.question)
    names = [(m, words_of(m[0])) for m in NAME.finditer(asked.passage)]
    names = [m for m, words in names if words and not words & wanted]
    return max(names, key=lambda m: near(asked.passage, m.start(), wanted))[0] if names else ""


def amid_the_words(asked: Asked) -> str:
    """The three words with most words of the question around them and none in them."""
    wanted, words = words_of(asked.question), list(re.finditer(r"\S+", asked.passage))
    spans = zip(words, words[2:], strict=False)
    free = [(a, b) for a, b in spans if not words_of(asked.passage[a.start() : b.end()]) & wanted]
    a, b = max(free, key=lambda ab: near(asked.passage, ab[0].start(), wanted))
    return asked.passage[a.start() : b.end()].strip(".,;:")


# --- the run


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("config", type=Path, help="a TOML file, experiments/answer.toml")
    config = read_settings(options.parse_args().config)
    device, target = processes()[1], ROOT / config["record"]
    folder = trained(config["of"])
    tokenizer, encoder = fast(load_tokenizer(folder)), load(folder, Encoder).float()
    held_out, record = by_hand(1), read_record(target) | {"config": config}
    results = record.setdefault("results", {})
    for way in (nearest_name, amid_the_words):
        results[way.__name__] = scored([way(asked) for asked in held_out], held_out)
    learn = list(islice(silver(config), config["questions"]))
    record["learned from"] = {
        "silver": len(learn),
        "no answer": sum(a.answer is None for a in learn),
        "words of a question that its passage has, %": {
            "silver": shared([a for a in learn if a.answer]),
            "by hand": shared(held_out),
        },
    }
    for seed in config["seeds"]:
        name = f"MiniLM, seed {seed}"
        if name not in results:
            model = under_head(encoder, SpanModel, generator=torch.Generator().manual_seed(seed))
            train(model.to(device), tokenizer, learn, config, seed)
            told = [answer(model, tokenizer, a.question, a.passage).text for a in held_out]
            results[name] = scored(told, held_out)
            save(model, ROOT / config["folder"] / f"seed-{seed}", torch.float16)
            record["made with"] = made_with(1, device)
            write_record(target, record)
            print(name, results[name]["exact match"], results[name]["F1"], flush=True)
        if "in a row" not in results[name]:
            model = load(ROOT / config["folder"] / f"seed-{seed}").float()
            results[name]["in a row"] = in_a_row(model, tokenizer, held_out, config)
            write_record(target, record)


def train(
    model: SpanModel, tokenizer: Tokenizer, learn: list[Asked], config: dict, seed: int
) -> None:
    """The silver questions, then those by hand, read several times."""
    bfloat16 = fast_in_bfloat16(next(model.parameters()).device)
    for asked, settings in ((learn, config["silver"]), (by_hand(0), config["by_hand"])):
        plan = Tuning(**settings, seed=seed, bfloat16=bfloat16)
        finetune(model, list(examples(tokenizer, asked, config)), plan)


def examples(tokenizer: Tokenizer, asked: list[Asked], config: dict) -> Iterator[Example]:
    return chain.from_iterable(
        examples_of(tokenizer, *one, config["longest"], config["stride"]) for one in asked
    )


def in_a_row(
    model: SpanModel, tokenizer: Tokenizer, asked: list[Asked], config: dict
) -> dict[str, dict]:
    """The scores where several passages are one text, read in windows in three ways."""
    passages = list(dict.fromkeys(a.passage for a in asked))
    told: dict[str, list[str]] = {"overlapping": [], "end to end": [], "the first": []}
    for a in asked:
        begin = passages.index(a.passage) // config["in_a_row"] * config["in_a_row"]
        text = " ".join(passages[begin : begin + config["in_a_row"]])
        room = config["longest"] - len(tokenizer.tokenize(a.question)) - 3
        for name, stride in (("overlapping", config["stride"]), ("end to end", room)):
            read = list(windows(tokenizer, a.question, text, config["longest"], stride))
            logits = predict(model, read)
            told[name].append(best_answer(text, read, logits).text)
        told["the first"].append(best_answer(text, read[:1], logits[:1]).text)
    return {name: scored(answers, asked) for name, answers in told.items()}


def shared(asked: list[Asked]) -> float:
    """How many of the words of a question, of 100 that are not common, are in its passage."""
    pairs = [(words_of(a.question), words_of(a.passage)) for a in asked]
    return round(100 * sum(len(q & p) for q, p in pairs) / sum(len(q) for q, _ in pairs), 1)


def scored(told: list[str], asked: list[Asked]) -> dict:
    """Exact match and F1 in per cent with 95 % intervals over passages, and the answers."""
    places = [a.passage for a in asked]
    texts = torch.tensor([places.index(place) for place in places])
    right = [[a.passage[slice(*a.answer)]] for a in asked]
    found = {
        name: [metric(t, r) for t, r in zip(told, right, strict=True)]
        for name, metric in (("exact match", exact_match), ("F1", answer_f1))
    }
    record = {
        name: [round(100 * x, 1) for x in interval(torch.tensor(values), texts)]
        for name, values in found.items()
    }
    return record | {"each": [round(x, 3) for x in found["F1"]], "answers": told}


if __name__ == "__main__":
    main()

"""Ask a model that answers the development questions of SQuAD 1.1; only the scores are kept.

    pip download --no-deps --no-binary :all: bigbench==1.0.0
    python experiments/squad.py bigbench-1.0.0.tar.gz runs/answer/seed-0 runs/answer/seed-1 …

The archive (358 MB; pip runs its setup, so in an environment to throw away) is read where it is, if
its hash is right. BIG-bench asks that its files train nobody: nothing
here learns. Five of the 10,570 questions of the set (https://arxiv.org/abs/1606.05250) are not in
this copy. A question has up to six answers by people; the one that is nearest to ours counts.
"""

import argparse
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from answer import Asked, amid_the_words, nearest_name
from runs import ROOT, made_with, read_record, trained, write_record

from bertfamily.answering import answer
from bertfamily.checkpoints import load
from bertfamily.counts import interval
from bertfamily.files import sha256_of
from bertfamily.metrics import answer_f1, exact_match
from bertfamily.wordpiece import fast, load_tokenizer

SHA256 = "1bb398a5512c6d798cdebe0dfa0ac03f67f6033fa6b39c6ef71df978c7cbc5c2"
MEMBER = "bigbench-1.0.0/bigbench/benchmark_tasks/squad_shifts/squaddev_v1.1.json"
TARGET = ROOT / "data/runs/squad.json"


class Question(NamedTuple):
    """A question, the passage that it is put to, what people answered, and the article's number."""

    question: str
    passage: str
    answers: list[str]
    article: int


def questions(archive: Path) -> list[Question]:
    """All questions of the development set, in its order."""
    if (found := sha256_of(archive)) != SHA256:
        raise ValueError(f"{archive} has the hash {found}, not {SHA256}: download it again")
    with tarfile.open(archive) as tar:
        articles = json.load(tar.extractfile(MEMBER))["data"]
    return [
        Question(q["question"], p["context"], [a["text"] for a in q["answers"]], number)
        for number, article in enumerate(articles)
        for p in article["paragraphs"]
        for q in p["qas"]
    ]


def scored(told: Callable[[Question], str], asked: list[Question]) -> dict[str, list[float]]:
    """Exact match and F1 in per cent, with 95 % intervals over articles."""
    found = [(exact_match(t, q.answers), answer_f1(t, q.answers)) for q in asked for t in [told(q)]]
    of = torch.tensor([q.article for q in asked])
    return {
        name: [round(100 * x, 1) for x in interval(torch.tensor(values), of)]
        for name, values in zip(("exact match", "F1"), zip(*found, strict=True), strict=True)
    }


def by_rule(way: Callable[[Asked], str]) -> Callable[[Question], str]:
    return lambda q: way(Asked(q.question, q.passage, None))


def by_model(folder: Path) -> Callable[[Question], str]:
    model, tokenizer = load(folder).float(), fast(load_tokenizer(trained("minilm")))
    return lambda q: answer(model, tokenizer, q.question.strip(), q.passage).text


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("archive", type=Path, help="bigbench-1.0.0.tar.gz")
    options.add_argument(
        "folders", type=Path, nargs="*", help="of models that experiments/answer.py made"
    )
    options.add_argument("--threads", type=int, default=2)
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    asked = questions(given.archive)
    record = read_record(TARGET)
    record |= {"questions": len(asked), "articles": asked[-1].article + 1, "archive": SHA256}
    ways = {way.__name__: by_rule(way) for way in (nearest_name, amid_the_words)}
    ways |= {folder.name: by_model(folder) for folder in given.folders}
    results = record.setdefault("results", {})
    for name, way in ways.items():
        if name not in results:
            results[name] = scored(way, asked)
            record["made with"] = made_with(1, torch.device("cpu"))
            write_record(TARGET, record)
            print(name, results[name], flush=True)


if __name__ == "__main__":
    main()

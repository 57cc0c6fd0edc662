"""Heads against grammar on real prose: silver relations by a parser, and how often a head has them.

    python experiments/brown_heads.py parse    # spaCy is needed: pip install spacy==3.8.18
    python experiments/brown_heads.py ask

`parse` gives Brown's own words to spaCy's small English pipeline and keeps, of some sentences of
every text, which word hangs on which: numbers and a hash of each sentence, none of its words. `ask`
looks for the heads: of each relation the best one is chosen on one half of the texts and scored on
the other, and the other way round; so is the best fixed step. Beside them stand the same search for
relations whose steps were shuffled, and networks that were never trained. Minutes on one core.
"""

import argparse
import csv
import hashlib
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

import torch
from runs import ROOT, made_with, trained, write_record

from bertfamily import corpora
from bertfamily.checkpoints import load
from bertfamily.counts import interval
from bertfamily.encoder import Encoder
from bertfamily.files import write_whole
from bertfamily.inspection import (
    join_words,
    offset_hits,
    read,
    relation_hits,
    tokens_of,
    word_weights,
)
from bertfamily.training import initialize
from bertfamily.wordpiece import fast, load_tokenizer

LABELS = ROOT / "data/relations_brown.csv"
RECORD = ROOT / "data/runs/heads-brown.json"
RELATIONS = "det poss auxpass dobj pobj nsubj amod".split()
FROM_EACH_TEXT, SHORTEST, LONGEST, SEED = 4, 8, 40, 0
STEPS = [step for step in range(-8, 9) if step]
NETWORKS = {"MiniLM": "minilm", "DistilBERT": "grammar"}
UNTRAINED = 3  # networks of MiniLM's shape


class Sentence(NamedTuple):
    """A sentence of the corpus, and which of its words hangs on which."""

    text: str  # the name of the text in Brown
    number: int  # of the sentence in it
    hash: str
    relations: dict[str, list[tuple[int, int]]]  # (dependent, head)


def hash_of(words: list[str]) -> str:
    return hashlib.sha256(" ".join(words).encode()).hexdigest()[:12]


# --- labels


def drawn() -> Iterator[tuple[str, int, list[str]]]:
    """Some sentences of every text, by chance, not too short and not too long."""
    rng = Random(SEED)
    for name, sentences in corpora.brown_words().items():
        fitting = [(i, s) for i, s in enumerate(sentences) if SHORTEST <= len(s) <= LONGEST]
        for i, words in sorted(rng.sample(fitting, min(FROM_EACH_TEXT, len(fitting)))):
            yield name, i, words


def parse() -> None:
    from spacy.tokens import Doc
    from spacy.util import load_model_from_path

    pipeline = load_model_from_path(corpora.carried(corpora.PARSER, deep=True))
    rows = []
    for name, number, words in drawn():
        doc = pipeline(Doc(pipeline.vocab, words))  # it gets the words as they are
        pairs = [f"{t.dep_}:{t.i}>{t.head.i}" for t in doc if t.dep_ in RELATIONS]
        rows.append((name, number, hash_of(words), " ".join(pairs)))

    def write(path):
        with path.open("w", encoding="ascii", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(("text", "sentence", "hash", "relations"))
            table.writerows(rows)

    write_whole(LABELS, write)


def labels() -> list[Sentence]:
    """What `parse` kept."""
    found = []
    with LABELS.open(encoding="ascii", newline="") as file:
        for row in csv.DictReader(file):
            relations: dict[str, list[tuple[int, int]]] = {}
            for pair in row["relations"].split():
                relation, _, places = pair.partition(":")
                dependent, _, head = places.partition(">")
                relations.setdefault(relation, []).append((int(dependent), int(head)))
            found.append(Sentence(row["text"], int(row["sentence"]), row["hash"], relations))
    return found


# --- heads


class Hits(NamedTuple):
    """Of one relation and one network: what every candidate has right, and where it comes from."""

    right: torch.Tensor  # (candidates, pairs)
    texts: torch.Tensor  # (pairs): the number of the text


def words_of(some: list[Sentence]) -> list[list[str]]:
    """The words, out of the corpus; refused if they are not those that were parsed."""
    corpus, found = corpora.brown_words(), []
    for sentence in some:
        words = corpus[sentence.text][sentence.number]
        if hash_of(words) != sentence.hash:
            raise ValueError(f"{sentence.text}, sentence {sentence.number}: its words differ")
        found.append(words)
    return found


def shuffled(pairs: list[tuple[int, int]], lengths: list[int], rng: Random) -> list:
    """Each dependent with the step of another pair, where that stays in its sentence."""
    steps = [head - dependent for dependent, head in pairs]
    rng.shuffle(steps)
    return [
        (d, d + step if 0 <= d + step < length else h)
        for (d, h), step, length in zip(pairs, steps, lengths, strict=True)
    ]


def ask(encoder: Encoder, tokenizer, some: list[Sentence], seed: int = 0) -> dict[str, list[Hits]]:
    """For each relation the hits of all heads, of all steps, and of the heads on shuffled steps."""
    words, rng = words_of(some), Random(seed)
    number = {name: i for i, name in enumerate(sorted({s.text for s in some}))}
    pairs = {
        r: [(i, p) for i, s in enumerate(some) for p in s.relations.get(r, [])] for r in RELATIONS
    }
    mixed = {
        r: shuffled([p for _, p in found], [len(words[i]) for i, _ in found], rng)
        for r, found in pairs.items()
    }
    right: dict[str, list[list]] = {r: [[], [], []] for r in RELATIONS}
    at = dict.fromkeys(RELATIONS, 0)
    for begin in range(0, len(some), 64):
        texts, spans = zip(*map(join_words, words[begin : begin + 64]), strict=True)
        for k, reading in enumerate(read(encoder, tokenizer, texts, with_weights=True)):
            pieces = [tokens_of(reading.encoding, *span) for span in spans[k]]
            weights = word_weights(reading.weights, pieces)
            for r, here in some[begin + k].relations.items():
                true = torch.tensor(here)
                false = torch.tensor(mixed[r][at[r] : at[r] + len(here)])
                at[r] += len(here)
                right[r][0].append(relation_hits(weights, true).flatten(0, 2))
                right[r][1].append(offset_hits(true, STEPS))
                right[r][2].append(relation_hits(weights, false).flatten(0, 2))
    texts = {r: torch.tensor([number[some[i].text] for i, _ in pairs[r]]) for r in RELATIONS}
    there = [r for r in RELATIONS if pairs[r]]
    return {r: [Hits(torch.cat(x, dim=1), texts[r]) for x in right[r]] for r in there}


def held_out(hits: Hits) -> tuple[torch.Tensor, list[int]]:
    """What the best candidate of the other half of the texts has right, and who that was."""
    found, best = torch.zeros(hits.right.shape[1], dtype=torch.bool), []
    for half in (0, 1):
        here = hits.texts % 2 == half
        best.append(int(hits.right[:, ~here].sum(dim=1).argmax()))
        found[here] = hits.right[best[-1]][here]
    return found, best


def head_of(candidate: int, encoder: Encoder) -> list:
    """The direction, the layer and the head of a candidate, counted from 0."""
    layers, heads = encoder.config.layers, encoder.config.heads
    direction, rest = divmod(candidate, layers * heads)
    return [("to its head", "from its head")[direction], *divmod(rest, heads)]


def told(right: torch.Tensor, texts: torch.Tensor) -> list[float]:
    """The mean and its interval over texts, in per cent."""
    return [round(100 * x, 1) for x in interval(right.double(), texts)]


def scores_of(hits: list[Hits], encoder: Encoder) -> dict:
    heads, steps, mixed = hits
    (by_head, chosen), (by_step, step), (by_chance, _) = map(held_out, hits)
    return {
        "pairs": len(heads.texts),
        "head": told(by_head, heads.texts),
        "heads": [head_of(candidate, encoder) for candidate in chosen],
        "step": told(by_step, steps.texts),
        "steps": [STEPS[candidate] for candidate in step],
        "head less step": told(by_head.double() - by_step.double(), heads.texts),
        "shuffled": told(by_chance, mixed.texts),
    }


def networks() -> Iterator[tuple[str, Encoder, object]]:
    for name, of in NETWORKS.items():
        folder = trained(of)
        yield name, load(folder, Encoder).float(), fast(load_tokenizer(folder))
    folder = trained("minilm")
    config, tokenizer = load(folder, Encoder).config, fast(load_tokenizer(folder))
    for seed in range(UNTRAINED):
        encoder = Encoder(config).eval()
        initialize(encoder, torch.Generator().manual_seed(seed))
        yield f"untrained, seed {seed}", encoder, tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("parse", "ask"))
    if parser.parse_args().what == "parse":
        return parse()
    torch.set_num_threads(1)
    some, results = labels(), {}
    for name, encoder, tokenizer in networks():
        found = ask(encoder, tokenizer, some)
        results[name] = {r: scores_of(hits, encoder) for r, hits in found.items()}
        print(name, {r: x["head"][0] for r, x in results[name].items()}, flush=True)
    config = {"sentences": len(some), "texts": len({s.text for s in some}), "steps": STEPS}
    config |= {"parser": corpora.PARSER.package, "version": corpora.PARSER.version}
    write_record(
        RECORD,
        {"config": config, "results": results, "made with": made_with(1, torch.device("cpu"))},
    )


if __name__ == "__main__":
    main()

"""Train mini's two objectives on pairs: next sentence and sentence order, at several lengths.

    python experiments/pair_run.py experiments/pair_run.toml

Each run starts from mini under a fresh pair head and learns masked tokens and pairs together, as
BERT and ALBERT do. Beside it stand the commoner label and two ways that know no order of words: a
linear model of what is in the two segments, and the cosine of their sentence vectors. A run whose
result is in the record is not made again, so the command goes on where it was stopped.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F
from runs import (
    ROOT,
    made_with,
    processes,
    read_record,
    read_settings,
    trained,
    write_record,
)

from bertfamily import corpora
from bertfamily.batches import encode_by_length, pad
from bertfamily.checkpoints import load
from bertfamily.counts import interval
from bertfamily.feeds import _encoding, masked_pairs
from bertfamily.heads import PretrainingModel
from bertfamily.pairs import Pair, next_sentence_pairs, sentence_order_pairs
from bertfamily.training import Settings, fast_in_bfloat16, initialize, train
from bertfamily.wordpiece import Tokenizer, fast, load_tokenizer

MAKE = {"next sentence": next_sentence_pairs, "sentence order": sentence_order_pairs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, help="a TOML file, experiments/pair_run.toml")
    options = parser.parse_args()
    config = read_settings(options.config)
    target = ROOT / config["record"]
    tokenizer = fast(load_tokenizer(trained(config["of"])))
    parts = corpora.hold_out(getattr(corpora, config["corpus"])())
    learn, held_out = ([tokenizer.ids_of(d.sentences) for d in part] for part in parts)
    record = {"config": config} | read_record(target)
    results = record.setdefault("results", {})
    for task, make in MAKE.items():
        for length in config["lengths"]:
            pairs = make(learn, length, Random(0))
            size = len(tokenizer.vocabulary)
            asked, documents = of_documents(make, held_out, length, size)
            for seed in config["seeds"]:
                name = f"{task}, length {length}, seed {seed}"
                if name not in results:
                    print(name, flush=True)
                    hits = model_hits(config, pairs, asked, tokenizer, seed)
                    results[name] = score(hits, documents)
                    record["made with"] = made_with(1, processes()[1])
                    write_record(target, record)
            for way in (majority_hits, linear_hits, cosine_hits):
                name = f"{task}, length {length}, {way.__name__.removesuffix('_hits')}"
                if name not in results:
                    results[name] = score(way(pairs, asked, tokenizer), documents)
                    write_record(target, record)


def of_documents(
    make: Callable, documents: list, length: int, size: int
) -> tuple[list[Pair], torch.Tensor]:
    """The pairs of the documents, and for each the number of the one its first segment is from.

    To see that, each id is told apart by document while the pairs are made.
    """
    apart = [
        [[i + size * number for i in sentence] for sentence in document]
        for number, document in enumerate(documents)
    ]
    made = make(apart, length, Random(1))
    numbers = torch.tensor([(pair.first or pair.second)[0] // size for pair in made])
    pairs = [Pair(*([i % size for i in part] for part in pair[:2]), pair.label) for pair in made]
    return pairs, numbers


def score(hits: torch.Tensor, documents: torch.Tensor) -> list[float]:
    """The share of pairs told right, and the ends of its 95 % interval over documents."""
    return [round(x, 4) for x in interval(hits, documents)]


# --- three ways


def model_hits(
    config: dict, pairs: list, asked: list, tokenizer: Tokenizer, seed: int
) -> torch.Tensor:
    """mini under a fresh pair head, trained on both objectives."""
    masked = load(trained(config["of"])).float()
    sizes = replace(masked.encoder.config, pooled=True, dropout=0.0, attention_dropout=0.0)
    model = PretrainingModel(sizes)
    initialize(model, torch.Generator().manual_seed(seed))
    model.load_state_dict(masked.state_dict(), strict=False)  # all but the pooler and the pair head
    device = processes()[1]
    precision = {"bfloat16": fast_in_bfloat16(device)}
    settings = Settings(**precision | config["settings"], seed=seed)
    train(model.to(device), masked_pairs(pairs, config["size"], tokenizer, seed), settings)
    hits = []
    with torch.no_grad():
        for start in range(0, len(asked), 64):
            some = asked[start : start + 64]
            batch = pad([_encoding(p, tokenizer) for p in some], tokenizer.pad)
            logits = model(*(x.to(device) for x in batch)).pairs.cpu()
            hits.append(logits.argmax(dim=-1) == torch.tensor([p.label for p in some]))
    return torch.cat(hits)


def majority_hits(pairs: list, asked: list, tokenizer: Tokenizer) -> torch.Tensor:
    """The label that more pairs have: of short chunks most have one sentence, and are IS_RANDOM."""
    often = 2 * sum(pair.label for pair in pairs) > len(pairs)
    return torch.tensor([pair.label == often for pair in asked])


def linear_hits(pairs: list, asked: list, tokenizer: Tokenizer) -> torch.Tensor:
    """A linear model of which pieces are in the first segment, in the second, and in both."""
    size = len(tokenizer.vocabulary)

    def bags(some: list) -> tuple[torch.Tensor, torch.Tensor]:
        found = []
        for pair in some:
            first, second = set(pair.first), set(pair.second)
            both = first & second
            found.append([*first, *(i + size for i in second), *(i + 2 * size for i in both)])
        offsets = torch.tensor([0, *map(len, found[:-1])]).cumsum(dim=0)
        return torch.tensor([i for bag in found for i in bag]), offsets

    model = torch.nn.EmbeddingBag(3 * size, 1, mode="sum")
    torch.nn.init.zeros_(model.weight)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=1e-4)
    for start in [s for _ in range(10) for s in range(0, len(pairs), 256)]:
        some = pairs[start : start + 256]
        labels = torch.tensor([float(pair.label) for pair in some])
        loss = F.binary_cross_entropy_with_logits(model(*bags(some))[:, 0], labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        guess = model(*bags(asked))[:, 0] > 0
    return guess == torch.tensor([bool(pair.label) for pair in asked])


@torch.no_grad()
def cosine_hits(pairs: list, asked: list, tokenizer: Tokenizer) -> torch.Tensor:
    """The cosine of the two sentence vectors of MiniLM, against the threshold that learns best.

    It is the same whichever segment comes first, so of their order it tells nothing.
    """
    encoder = load(corpora.carried(corpora.MINILM)).float()
    theirs = fast(load_tokenizer(corpora.carried(corpora.MINILM)))

    def cosines(some: list) -> torch.Tensor:
        found = []
        for start in range(0, len(some), 64):
            sides = []
            for side in zip(*(pair[:2] for pair in some[start : start + 64]), strict=True):
                texts = [theirs.encode(tokenizer.decode(ids)) for ids in side]
                ids, segments, keep = pad(texts)
                output = encode_by_length(encoder, ids, segments, keep).output
                sides.append(output.sum(dim=1) / keep.sum(dim=1, keepdim=True))
            found.append(F.cosine_similarity(*sides))
        return torch.cat(found)

    few = pairs[:: max(1, len(pairs) // 1_000)]
    labels = torch.tensor([bool(pair.label) for pair in few])
    seen = cosines(few)
    best = max(seen.tolist(), key=lambda limit: ((seen < limit) == labels).sum().item())
    return (cosines(asked) < best) == torch.tensor([bool(pair.label) for pair in asked])


if __name__ == "__main__":
    main()

"""The vectors of a collection, and two ways to compare texts: read together, or each alone.

    python experiments/search.py experiments/search.toml
    python experiments/search.py experiments/search.toml --only vectors contrast

`vectors` reads every paragraph of WikiText-2 once by MiniLM, and once by SPLADE, and keeps both in
`data/paragraphs.safetensors`. `contrast` trains encoders on the pairs of STS-B that mean the same;
`cross` trains MiniLM to read two sentences together and give their score; `entailment` does so
with three labels on `data/entailment.jsonl`; `find` asks the questions of `data/questions.jsonl`.
What is in the record is not made again.
"""

import argparse
import hashlib
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from runs import ROOT, chosen, keep, made_with, read_record, read_settings, trained
from safetensors.torch import load_file, save_file
from torch import Tensor

from bertfamily import corpora
from bertfamily.checkpoints import load
from bertfamily.encoder import Encoder
from bertfamily.files import write_whole
from bertfamily.finetuning import Tuning, finetune, predict, under_head
from bertfamily.heads import SequenceModel
from bertfamily.metrics import bootstrap, spearman
from bertfamily.search import (
    Sparse,
    as_int8,
    contrast,
    expansions,
    first_vectors,
    folds,
    mean_vectors,
    nearest,
    ranks,
    recall,
    reciprocal,
    sparse_scores,
    spearman_interval,
    together,
    unit,
    vectors_of,
)
from bertfamily.wordpiece import Tokenizer, fast, load_tokenizer

POOLINGS = {"mean": mean_vectors, "first": first_vectors}
LABELS = "entailment", "neutral", "contradiction"

# --- the collection


def digest(texts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def in_parts(name: str, make, texts: list, size: int = 500) -> list:
    """What `make` gives for each part of the texts; a part that was made is read from the cache."""
    home = ROOT / ".cache" / "search" / name
    home.mkdir(parents=True, exist_ok=True)
    parts = []
    for start in range(0, len(texts), size):
        path = home / f"{start}.safetensors"
        if not path.exists():
            write_whole(path, lambda draft, at=start: save_file(make(texts[at : at + size]), draft))
            print(f"{name}: {min(start + size, len(texts))} of {len(texts)}", flush=True)
        parts.append(load_file(path))
    return parts


def vectors(config: dict) -> None:
    """Both kinds of vectors of all paragraphs, into one file."""
    target, start = ROOT / config["vectors"], time.process_time()
    texts = [p.whole for p in corpora.paragraphs(least=config["least"])]
    minilm, splade = trained("minilm"), corpora.carried(corpora.SPLADE)
    encoder, model = load(minilm, Encoder), load(splade)
    dense, sparse = fast(load_tokenizer(minilm)), fast(load_tokenizer(splade))

    def read_dense(some: list[str]) -> dict[str, Tensor]:
        read = [dense.encode(text, longest=config["longest"]) for text in some]
        return {"vectors": as_int8(vectors_of(encoder, read))}

    def read_sparse(some: list[str]) -> dict[str, Tensor]:
        read = [sparse.encode(text, longest=config["longest"]) for text in some]
        found = expansions(model, read, config["top"])
        return {"pieces": found.pieces.to(torch.int16), "weights": found.weights.half()}

    parts = in_parts("dense", read_dense, texts), in_parts("sparse", read_sparse, texts)
    tensors = {name: torch.cat([x[name] for x in part]) for part in parts for name in part[0]}
    told = {
        "texts": digest(texts),
        "longest": str(config["longest"]),
        "least": str(config["least"]),
    }
    write_whole(target, lambda draft: save_file(tensors, draft, metadata=told))
    seconds = round(time.process_time() - start)
    note(config, collection=told | {"paragraphs": len(texts), "seconds": seconds})


# --- pairs of sentences


def note(config: dict, **parts: dict) -> None:
    """Add to the record, with the settings and what it was made with."""
    parts |= {"config": config, "made with": made_with(1, torch.device("cpu"))}
    keep(ROOT / config["record"], **parts)


def as_text(scores: Sequence[float]) -> str:
    """Scores as one string, four digits each: a line of the record in place of a thousand."""
    return " ".join(f"{x:.4f}" for x in scores)


def cosines(
    encoder: Encoder, tokenizer: Tokenizer, pairs: list[corpora.ScoredPair], pooling=mean_vectors
) -> list[float]:
    sides = [
        vectors_of(encoder, [tokenizer.encode(text) for text in side], pooling)
        for side in zip(*[(p.first, p.second) for p in pairs], strict=True)
    ]
    return (sides[0] * sides[1]).sum(dim=1).tolist()


def rho(scores: Sequence[float], pairs: list[corpora.ScoredPair]) -> float:
    return spearman(list(scores), [p.score for p in pairs])


def readers(of: str) -> tuple[Encoder, Tokenizer]:
    folder = trained("data/checkpoints/mini" if of == "mini" else of)
    return load(folder, Encoder).float(), fast(load_tokenizer(folder))


def contrasted(config: dict) -> None:
    """Two encoders as they are, and mini trained on the pairs that score 4 or more."""
    parts = {split: corpora.scored_pairs(split) for split in ("train", "dev", "test")}
    done = read_record(ROOT / config["record"]).get("pairs", {})
    for of in "mini", "minilm":
        encoder, tokenizer = readers(of)
        for name, pooling in POOLINGS.items():
            if f"{of}, raw, {name}" not in done:
                scores = cosines(encoder, tokenizer, parts["test"], pooling)
                tell(config, f"{of}, raw, {name}", scores, parts["test"])
    plan, (_, tokenizer) = config["contrast"], readers("mini")
    alike = [p for p in parts["train"] if p.score >= 4]
    pairs = [(tokenizer.encode(p.first), tokenizer.encode(p.second)) for p in alike]

    def learn(rate: float, seed: int) -> tuple[Encoder, float]:
        encoder, start = readers("mini")[0], time.process_time()
        contrast(encoder, pairs, Tuning(plan["epochs"], plan["size"], rate, seed=seed))
        return encoder, time.process_time() - start

    def on_dev(rate: float) -> float:
        return rho(cosines(learn(rate, 0)[0], tokenizer, parts["dev"]), parts["dev"])

    rate = chosen(ROOT / config["record"], "mini, contrast", plan["rates"], on_dev)
    for seed in config["seeds"]:
        name = f"mini, contrast, seed {seed}"
        if name not in done:
            encoder, seconds = learn(rate, seed)
            scores = cosines(encoder, tokenizer, parts["test"])
            tell(config, name, scores, parts["test"], rate=rate, seconds=round(seconds))


def tell(config: dict, name: str, scores: list[float], pairs: list, **more) -> None:
    spoken = {"spearman": round(rho(scores, pairs), 4), **more, "scores": as_text(scores)}
    note(config, pairs={name: spoken})
    print(f"{name}: {spoken['spearman']:.3f}", flush=True)


def crossed(config: dict) -> None:
    """MiniLM under a head with one number, which reads both sentences together."""
    encoder, tokenizer = readers("minilm")
    parts = {
        split: together(
            tokenizer,
            [(p.first, p.second) for p in pairs],
            [p.score / 5 for p in pairs],
            config["pair_longest"],
        )
        for split in ("train", "dev", "test")
        for pairs in [corpora.scored_pairs(split)]
    }
    plan = config["cross"]

    def learn(rate: float, seed: int, examples: list, epochs: int) -> tuple[SequenceModel, float]:
        generator, start = torch.Generator().manual_seed(seed), time.process_time()
        model = under_head(encoder, SequenceModel, 1, generator=generator)
        tuning = Tuning(epochs, plan["size"], rate, fresh=5.0, seed=seed)
        folder = ROOT / ".cache" / "search" / f"cross-{rate:g}-{seed}-{len(examples)}"
        finetune(model, examples, tuning, folder=folder, report=False)
        return model, time.process_time() - start

    def scores_of(model: SequenceModel, split: str) -> list[float]:
        return [x.item() for x in predict(model, [e.encoding for e in parts[split]])]

    def on_dev(rate: float) -> float:
        some = random.Random(0).sample(parts["train"], plan["few"] * plan["size"])
        model, _ = learn(rate, 0, some, 1)
        return rho(scores_of(model, "dev"), corpora.scored_pairs("dev"))

    rate = chosen(ROOT / config["record"], "cross", plan["rates"], on_dev)
    for seed in config["seeds"]:
        name = f"minilm, cross, seed {seed}"
        if name not in read_record(ROOT / config["record"]).get("pairs", {}):
            model, seconds = learn(rate, seed, parts["train"], plan["epochs"])
            more = {"rate": rate, "seconds": round(seconds)}
            tell(config, name, scores_of(model, "test"), corpora.scored_pairs("test"), **more)


def numbers(record: dict, names: list[str]) -> Tensor:
    return torch.tensor([[float(x) for x in record["pairs"][n]["scores"].split()] for n in names])


def compared(config: dict) -> None:
    """The intervals of all ways, and of their differences on the same pairs."""
    record = read_record(ROOT / config["record"])
    truths = torch.tensor([p.score for p in corpora.scored_pairs("test")])
    ways: dict[str, list[str]] = {}
    for name in record["pairs"]:
        ways.setdefault(name.split(", seed")[0], []).append(name)
    found = {way: numbers(record, names) for way, names in ways.items()}

    def told(one: str, other: str | None = None) -> list[float]:
        generator = torch.Generator().manual_seed(0)
        less = None if other is None else found[other]
        return [round(x, 4) for x in spearman_interval(found[one], truths, generator, less)]

    intervals = {way: told(way) for way in found}
    asked = [
        ("mini, contrast", "mini, raw, mean"),
        ("mini, raw, mean", "mini, raw, first"),
        ("minilm, raw, mean", "minilm, raw, first"),
        ("minilm, raw, mean", "mini, contrast"),
        ("minilm, cross", "minilm, raw, mean"),
    ]
    differences = {
        f"{one} less {other}": told(one, other)
        for one, other in asked
        if one in found and other in found
    }
    note(config, spearman=intervals, differences=differences)


# --- entailment


def entailed(config: dict) -> None:
    """MiniLM with three labels on our pairs, in folds by hypothesis; all pairs are tested once."""
    path = corpora.data_path("entailment.jsonl")
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    encoder, tokenizer = readers("minilm")
    plan = config["entailment"]
    labels = [LABELS.index(row["label"]) for row in rows]
    pairs = [(row["premise"], row["hypothesis"]) for row in rows]
    examples = together(tokenizer, pairs, labels)
    for seed in config["seeds"]:
        name = f"minilm, cross, seed {seed}"
        if name in read_record(ROOT / config["record"]).get("entailment", {}):
            continue
        guesses = [0] * len(rows)
        for fold in folds([row["hypothesis"] for row in rows], plan["folds"], seed):
            generator = torch.Generator().manual_seed(seed)
            model = under_head(encoder, SequenceModel, len(LABELS), generator=generator)
            tuning = Tuning(plan["epochs"], plan["size"], plan["rate"], fresh=5.0, seed=seed)
            learn = [example for i, example in enumerate(examples) if i not in set(fold)]
            finetune(model, learn, tuning, report=False)
            answers = predict(model, [examples[i].encoding for i in fold])
            for i, answer in zip(fold, answers, strict=True):
                guesses[i] = int(answer.argmax())
        right = sum(g == label for g, label in zip(guesses, labels, strict=True))
        note(config, entailment={name: {"right": right, "guesses": "".join(map(str, guesses))}})
        print(f"entailment, {name}: {right} of {len(rows)}", flush=True)


# --- search


def found(config: dict) -> None:
    """The rank of the right paragraph by each searcher, and what the kept index misses."""
    import bm25s
    from usearch.index import Index

    paragraphs = corpora.paragraphs(least=config["least"])
    number = {hashlib.sha256(p.text.encode()).hexdigest()[:12]: i for i, p in enumerate(paragraphs)}
    path = corpora.data_path("questions.jsonl")
    asked = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    wanted = torch.tensor([number[q["hash"]] for q in asked])
    kept = load_file(ROOT / config["vectors"])
    encoder, tokenizer = readers("minilm")
    read = [tokenizer.encode(q["question"]) for q in asked]
    questions, texts = vectors_of(encoder, read), unit(kept["vectors"].float())
    splade = load(corpora.carried(corpora.SPLADE))
    sparse = Sparse(kept["pieces"].long(), kept["weights"].float())
    vocab = splade.encoder.config.vocab
    heads = [first_pieces(tokenizer, p.whole, config["longest"]) for p in paragraphs]
    words = bm25s.BM25()
    words.index(bm25s.tokenize(heads, show_progress=False), show_progress=False)
    tokens = bm25s.tokenize([q["question"] for q in asked], return_ids=False, show_progress=False)
    scores = {
        "BM25": torch.tensor([words.get_scores(some).tolist() for some in tokens]),
        "SPLADE": sparse_scores(expansions(splade, read, config["top"]), sparse, vocab),
        "vectors": questions @ texts.T,
    }
    places = {name: ranks(of, wanted) for name, of in scores.items()}
    index = Index(ndim=texts.shape[1], metric="cos", dtype="f32")
    index.add(torch.arange(len(texts)).numpy(), texts.numpy(), threads=1)
    near = torch.tensor(index.search(questions.numpy(), 10, threads=1).keys.astype("int64"))
    hit = near == wanted[:, None]
    places["kept index"] = torch.where(hit.any(dim=1), hit.float().argmax(dim=1) + 1, len(texts))
    each = {name: reciprocal(of) for name, of in places.items()}

    def told(values: Tensor) -> list[float]:
        return [round(x, 4) for x in bootstrap(values[None], torch.Generator().manual_seed(0))]

    record = {
        name: {
            "ranks": " ".join(map(str, of.tolist())),
            "mrr": told(each[name]),
            "within 10": int((of <= 10).sum()),
        }
        for name, of in places.items()
    }
    pairs = ("vectors", "BM25"), ("SPLADE", "BM25"), ("vectors", "SPLADE")
    less = {f"{one} less {other}": told(each[one] - each[other]) for one, other in pairs}
    exact = nearest(questions, texts, 10).texts
    note(config, found=record | {"differences": less, "recall": round(recall(near, exact), 4)})
    for name, of in record.items():
        print(f"{name}: {of['mrr']}, {of['within 10']} within 10", flush=True)


def first_pieces(tokenizer: Tokenizer, text: str, longest: int) -> str:
    """As much of a text as the models read of it."""
    return text[: tokenizer.encode(text, longest=longest).offsets[-2][1]]


PARTS = {
    "vectors": vectors,
    "find": found,
    "contrast": contrasted,
    "entailment": entailed,
    "cross": crossed,
    "compare": compared,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, help="a TOML file, such as experiments/search.toml")
    parser.add_argument("--only", nargs="*", choices=PARTS, help="only these parts of the run")
    options = parser.parse_args()
    config = read_settings(options.config)
    for name, part in PARTS.items():
        if options.only is None or name in options.only:
            part(config)


if __name__ == "__main__":
    main()

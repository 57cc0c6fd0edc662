"""Pretrain a masked-token model on real text, as a settings file says.

    python experiments/pretrain.py experiments/mini.toml

A run that was stopped goes on when the command is given again. With several processes, machines or
GPUs: `accelerate launch experiments/pretrain.py experiments/mini.toml`. The folder that the file
names receives the tokenizer, the state of the run, its curve, and at the end the model, in half
precision or as int8, and a record of what it was and what came out.
"""

import argparse
import json
from bisect import bisect
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from itertools import chain, islice
from pathlib import Path

import torch
from runs import (
    ROOT,
    Rows,
    Tokenized,
    all_rows,
    as_table,
    beside_counts,
    is_the_same,
    made_with,
    masked_once,
    measured,
    processes,
    read_settings,
    read_texts,
    spread,
    trained,
    write_record,
)

from bertfamily.checkpoints import load, save
from bertfamily.encoder import Bert, Encoder
from bertfamily.feeds import Stream, masked_rows
from bertfamily.heads import MaskedTokenModel
from bertfamily.pretraining import Examples
from bertfamily.training import Settings, fast_in_bfloat16, initialize, sinusoids, train
from bertfamily.wordpiece import Tokenizer, by_count, fast, load_tokenizer, word_counts
from bertfamily.wordpiece import train as train_vocabulary

STORE = {"half": torch.float16, "int8": torch.int8, "full": torch.float32}
SEEN_FOR_WORDS = 100_000  # texts of a stream that the vocabulary is made from


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, help="a TOML file, such as experiments/mini.toml")
    parser.add_argument("--folder", type=Path, help="where the run is kept; else as in the file")
    parser.add_argument("--seed", type=int, help="another seed than that of the file")
    options = parser.parse_args()
    config = read_settings(options.config)
    if options.seed is not None:
        config["settings"]["seed"] = options.seed
    if config["store"] not in STORE:
        raise ValueError(
            f"store={config['store']!r} is not known; choose one of {', '.join(STORE)}"
        )
    folder = options.folder or ROOT / config["folder"]
    share, device, wrap = processes()
    settings = Settings(**{"bfloat16": fast_in_bfloat16(device)} | config["settings"])

    texts, held_out_texts = read_texts(config["text"])
    is_the_same(folder, config, texts)
    tokenizer = make_tokenizer(config["vocabulary"], texts, folder)
    phases, longest = config["batches"], max(phase["length"] for phase in config["batches"])
    streamed = config["text"].get("stream", False)
    learnt = Rows(Tokenized(texts, tokenizer), longest)
    feed = make_feed(phases, learnt.texts, settings.seed, streamed)

    model = make_model(dict(config["model"]), len(tokenizer.vocabulary), longest, settings.seed)
    model = wrap(model.to(device))
    short = all_rows(chain(*held_out_texts.values()), tokenizer, phases[0]["length"])
    few = masked_once(spread(short, 8_192), tokenizer)  # enough to see the curve by
    curve = train(model, feed, settings, few, folder, share)
    if share[0] > 0:
        return
    model = getattr(model, "module", model).eval()
    in_part = "learn_layers" in config["model"]
    save(model, folder, STORE[config["store"]], trained_only=in_part)
    rest = trained(config["model"].get("rest", config["model"]["of"])) if in_part else None
    made = load(folder, rest=rest).float().to(device)  # what a reader will load, rounded as stored
    record = {
        "config": config,
        "settings": asdict(settings),
        "parameters": sum(p.numel() for p in model.parameters()),
        "tokens": curve[-1].tokens,
        "hours": round(curve[-1].seconds / 3600, 2),
        **measured(made, held_out_texts, learnt),
        "made with": made_with(share[1], device),
        "before": before(config["model"]),
    }
    # Counts of all that was read need its size in memory.
    if config.get("beside_counts", not streamed):
        every = chain(*held_out_texts.values())
        record["beside counts"] = beside_counts(made, every, learnt)
    write_record(folder / "record.json", record)


# --- text


def make_feed(
    phases: list[dict], texts: Tokenized, seed: int, streamed: bool
) -> Callable[[int], Examples]:
    """The batches of the phases one after the other: short rows first, as BERT was trained."""
    feeds = []
    for phase in phases:
        rows = Rows(texts, phase["length"])
        make = Stream if streamed else masked_rows
        source = rows if streamed else as_table(rows)
        feeds.append(make(source, phase["size"], texts.tokenizer, seed, phase["rate"]))
    ends = [phase["until"] for phase in phases[:-1]]
    return lambda step: feeds[bisect(ends, step)](step)


def make_tokenizer(config: dict, texts: Iterable[str], folder: Path) -> Tokenizer:
    """The tokenizer kept in `folder`, or that of a trained model, or a new one of the texts."""
    if (folder / "vocab.txt").exists():
        return fast(load_tokenizer(folder))
    if "of" in config:
        tokenizer = load_tokenizer(trained(config["of"]))
    else:
        counts = word_counts(islice(texts, SEEN_FOR_WORDS))
        often = {word: n for word, n in counts.items() if n >= config["least"]}
        tokenizer = Tokenizer(train_vocabulary(often, config["size"], by_count))
    tokenizer.save(folder)
    return fast(tokenizer)


# --- model


def before(config: dict) -> dict | None:
    """The record of the model that this one goes on from; None if it begins, or there is none."""
    kept = trained(config["of"]) / "record.json" if "of" in config else None
    return json.loads(kept.read_text("utf-8")) if kept and kept.exists() else None


def make_model(config: dict, vocab: int, length: int, seed: int) -> MaskedTokenModel:
    """A new model of the sizes in `config`, or a trained one, under a new head if it has none."""
    generator = torch.Generator().manual_seed(seed)
    if "of" in config:
        rest = trained(config["rest"]) if "rest" in config else None
        model = load(trained(config["of"]), rest=rest).float()
        if not isinstance(model, MaskedTokenModel):
            model = under_a_head(getattr(model, "encoder", model))
        if "learn_layers" in config:  # the last ones; what is below them stays as it is
            model.encoder.requires_grad_(False)
            model.encoder.layers[-config["learn_layers"] :].requires_grad_(True)
        return model
    std = config.pop("std")
    model = MaskedTokenModel(Bert(vocab=vocab, positions=length, **config))
    initialize(model, generator, std)
    table = model.encoder.embeddings.position.weight
    table.data = sinusoids(*table.shape) * std * 2**0.5  # as large as a random table
    return model


@torch.no_grad()
def under_a_head(encoder: Encoder) -> MaskedTokenModel:
    """The encoder under a masked-token head whose map changes nothing as yet."""
    model = MaskedTokenModel(replace(encoder.config, dropout=0.0, attention_dropout=0.0))
    model.encoder.load_state_dict(encoder.state_dict(), strict=False)  # it may have a pooler
    torch.nn.init.eye_(model.masked_token.transform.weight)
    torch.nn.init.zeros_(model.masked_token.transform.bias)
    return model


if __name__ == "__main__":
    main()

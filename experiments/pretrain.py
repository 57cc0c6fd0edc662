"""Pretrain a masked-token model on real text, as a settings file says.

    python experiments/pretrain.py experiments/mini.toml

A run that was stopped goes on when the command is given again. With several processes, machines or
GPUs: `accelerate launch experiments/pretrain.py experiments/mini.toml`. The folder that the file
names receives the tokenizer, the state of the run, its curve, and at the end the model, in half
precision or as int8, and a record of what it was and what came out.
"""

import argparse
import json
import os
import platform
import subprocess
import tomllib
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from itertools import chain, islice
from pathlib import Path

import torch

from bertfamily import corpora
from bertfamily.batches import pack
from bertfamily.checkpoints import load, save
from bertfamily.encoder import Bert, Encoder
from bertfamily.heads import IGNORE_INDEX, MaskedTokenModel
from bertfamily.masking import mask_tokens
from bertfamily.pretraining import (
    Examples,
    Settings,
    Stream,
    evaluate,
    fast_in_bfloat16,
    initialize,
    masked_rows,
    sinusoids,
    train,
)
from bertfamily.wordpiece import Tokenizer, by_count, fast, load_tokenizer, word_counts
from bertfamily.wordpiece import train as train_vocabulary

ROOT = Path(__file__).resolve().parents[1]
STORE = {"half": torch.float16, "int8": torch.int8, "full": torch.float32}
SEEN_FOR_WORDS = 100_000  # texts of a stream that the vocabulary is made from


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, help="a TOML file, such as experiments/mini.toml")
    parser.add_argument("--folder", type=Path, help="where the run is kept; else as in the file")
    options = parser.parse_args()
    config = tomllib.loads(options.config.read_text("utf-8"))
    folder = options.folder or ROOT / config["folder"]
    torch.set_num_threads(config["threads"])
    settings = Settings(**config["settings"], bfloat16=fast_in_bfloat16())
    share, device, wrap = processes()

    texts, held_out_texts = read_texts(config["text"])
    tokenizer = make_tokenizer(config["vocabulary"], texts, folder)
    phases, longest = config["batches"], max(phase["length"] for phase in config["batches"])
    streamed = config["text"].get("stream", False)
    feed = make_feed(phases, texts, tokenizer, settings.seed, streamed)
    held_out = all_rows(held_out_texts, tokenizer, longest)

    model = make_model(dict(config["model"]), len(tokenizer.vocabulary), longest, settings.seed)
    model = wrap(model.to(device))
    short = all_rows(held_out_texts, tokenizer, phases[0]["length"])
    spread = short[:: max(1, short.numel() // 16_384)]  # enough to see the curve by
    curve = train(model, feed, settings, masked_once(spread, tokenizer), folder, share)
    if share[0] > 0:
        return
    model = getattr(model, "module", model).eval()
    save(model, folder, STORE[config["store"]])
    made = load(folder).float().to(device)  # what a reader will load, rounded as it was stored
    score = evaluate(made, masked_once(held_out, tokenizer))
    record = {
        "config": config,
        "settings": asdict(settings),
        "parameters": sum(p.numel() for p in model.parameters()),
        "tokens": curve[-1].tokens,
        "hours": round(curve[-1].seconds / 3600, 2),
        "held out": score._asdict() | {"tokens": held_out.numel()},
        "by frequency": by_frequency(made, held_out, Rows(texts, tokenizer, longest), tokenizer),
        "made with": made_with(share[1], device),
    }
    (folder / "record.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")


def processes() -> tuple[tuple[int, int], torch.device, Callable]:
    """This process among those that share the work, its device, and what wraps the model."""
    if "ACCELERATE_MIXED_PRECISION" in os.environ:  # set by `accelerate launch`
        from accelerate import Accelerator

        accelerator = Accelerator(cpu=not torch.cuda.is_available())
        share = accelerator.process_index, accelerator.num_processes
        return share, accelerator.device, accelerator.prepare
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return (0, 1), device, lambda model: model


# --- text


def read_texts(config: dict) -> tuple[Iterable[str], list[str]]:
    """The texts to learn from and those held out: of named corpora, or of files."""
    if "corpora" in config:
        parts = [corpora.hold_out(whole_texts(name)) for name in config["corpora"]]
        learn, held_out = zip(*parts, strict=True)
        return list(chain(*learn)), list(chain(*held_out))
    held_out = list(Lines(config["held_out"]))
    lines = Lines(config["files"], seed=config.get("shuffle", 0))
    return (lines if config["stream"] else list(lines)), held_out


def whole_texts(name: str) -> list[str]:
    """The documents of a corpus, or its reviews, each as one string."""
    items = getattr(corpora, name)()
    return [" ".join(x.sentences) if isinstance(x, corpora.Document) else x.text for x in items]


class Lines:
    """The lines of text files, read as they are asked for, in an order shuffled by a window."""

    def __init__(self, files: str, seed: int = 0):
        from datasets import load_dataset

        lines = load_dataset("text", data_files=files, split="train", streaming=True)
        self.lines = lines.shuffle(seed, buffer_size=10_000) if seed else lines

    def __iter__(self) -> Iterator[str]:
        return (row["text"] for row in self.lines if row["text"].strip())


class Rows:
    """Texts as packed rows of ids, made anew at each pass over them."""

    def __init__(self, texts: Iterable[str], tokenizer: Tokenizer, length: int):
        self.texts, self.tokenizer, self.length = texts, tokenizer, length

    def __iter__(self) -> Iterator[torch.Tensor]:
        return pack(self._ids(), self.length, self.tokenizer.cls, self.tokenizer.sep)

    def _ids(self) -> Iterator[list[int]]:
        texts = iter(self.texts)
        while some := list(islice(texts, 1_000)):
            yield from self.tokenizer.ids_of(some)


def all_rows(texts: Iterable[str], tokenizer: Tokenizer, length: int) -> torch.Tensor:
    return torch.stack(list(Rows(texts, tokenizer, length)))


def make_feed(
    phases: list[dict], texts: Iterable[str], tokenizer: Tokenizer, seed: int, streamed: bool
) -> Callable[[int], Examples]:
    """The batches of the phases one after the other: short rows first, as BERT was trained."""
    feeds = []
    for phase in phases:
        rows = Rows(texts, tokenizer, phase["length"])
        make = Stream if streamed else masked_rows
        source = rows if streamed else torch.stack(list(rows))
        feeds.append(make(source, phase["size"], tokenizer, seed, phase["rate"]))
    ends = [phase["until"] for phase in phases[:-1]]
    return lambda step: feeds[bisect(ends, step)](step)


def make_tokenizer(config: dict, texts: Iterable[str], folder: Path) -> Tokenizer:
    """The tokenizer kept in `folder`, or that of a package, or a new one made from the texts."""
    if (folder / "vocab.txt").exists():
        return fast(load_tokenizer(folder))
    if config.get("of") == "minilm":
        tokenizer = load_tokenizer(corpora.carried(corpora.MINILM))
    else:
        counts = word_counts(islice(texts, SEEN_FOR_WORDS))
        often = {word: n for word, n in counts.items() if n >= config["least"]}
        tokenizer = Tokenizer(train_vocabulary(often, config["size"], by_count))
    tokenizer.save(folder)
    return fast(tokenizer)


# --- model


def make_model(config: dict, vocab: int, length: int, seed: int) -> MaskedTokenModel:
    """A new model of the sizes in `config`, or a trained encoder under a new masked-token head."""
    generator = torch.Generator().manual_seed(seed)
    if config.get("of") != "minilm":
        std = config.pop("std")
        model = MaskedTokenModel(Bert(vocab=vocab, positions=length, **config))
        initialize(model, generator, std)
        table = model.encoder.embeddings.position.weight
        table.data = sinusoids(*table.shape) * std * 2**0.5  # as large as a random table
        return model
    encoder = load(corpora.carried(corpora.MINILM), Encoder)
    model = MaskedTokenModel(replace(encoder.config, dropout=0.0, attention_dropout=0.0))
    initialize(model, generator)
    model.encoder.load_state_dict(encoder.state_dict(), strict=False)  # it has a pooler to spare
    return model


def masked_once(rows: torch.Tensor, tokenizer: Tokenizer, seed: int = 0) -> list[Examples]:
    """Rows in batches with masks that are the same at every evaluation."""
    generator = torch.Generator().manual_seed(seed)
    return [
        Examples(*mask_tokens(part, tokenizer.mask, tokenizer.ordinary, generator))
        for part in rows.split(64)
    ]


# --- record


@torch.no_grad()
def by_frequency(
    model: MaskedTokenModel,
    rows: torch.Tensor,
    learnt: Iterable[torch.Tensor],
    tokenizer: Tokenizer,
) -> list[dict]:
    """The share of right first guesses by how often the piece stands in the text learnt from."""
    counts = torch.zeros(len(tokenizer.vocabulary), dtype=torch.long)
    for row in learnt:
        counts += row.bincount(minlength=len(counts))
    device = next(model.parameters()).device
    often, right = [], []
    for examples in masked_once(rows, tokenizer):
        chosen = examples.labels != IGNORE_INDEX
        guess = model(examples.ids.to(device), chosen=chosen.to(device)).argmax(dim=-1).cpu()
        often.append(counts[examples.labels[chosen]])
        right.append(guess == examples.labels[chosen])
    often, right = torch.cat(often), torch.cat(right)
    edges = [0, 100, 1_000, 10_000, 100_000, 1 << 60]
    bands = []
    for low, high in zip(edges, edges[1:], strict=False):
        here = (low <= often) & (often < high)
        accuracy = right[here].double().mean().item()
        bands.append({"from": low, "masks": int(here.sum()), "accuracy": round(accuracy, 4)})
    return bands


def made_with(processes: int, device: torch.device) -> dict:
    """What a run depends on beside its settings."""
    git = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    return {
        "commit": subprocess.run(git, capture_output=True, text=True).stdout.strip(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "processes": processes,
        "bfloat16": fast_in_bfloat16(device),
    }


if __name__ == "__main__":
    main()

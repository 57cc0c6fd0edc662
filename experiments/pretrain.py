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
from operator import methodcaller
from pathlib import Path

import torch
import torch.nn.functional as F

from bertfamily import corpora
from bertfamily.batches import pack
from bertfamily.checkpoints import load, save
from bertfamily.counts import Counts, Measured, interval
from bertfamily.encoder import Bert, Encoder
from bertfamily.heads import IGNORE_INDEX, MaskedTokenModel
from bertfamily.masking import mask_tokens, measure
from bertfamily.pretraining import (
    Examples,
    Settings,
    Stream,
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
    settings = Settings(**{"bfloat16": fast_in_bfloat16()} | config["settings"])
    share, device, wrap = processes()

    texts, held_out_texts = read_texts(config["text"])
    tokenizer = make_tokenizer(config["vocabulary"], texts, folder)
    phases, longest = config["batches"], max(phase["length"] for phase in config["batches"])
    streamed = config["text"].get("stream", False)
    feed = make_feed(phases, texts, tokenizer, settings.seed, streamed)

    model = make_model(dict(config["model"]), len(tokenizer.vocabulary), longest, settings.seed)
    model = wrap(model.to(device))
    short = all_rows(chain(*held_out_texts.values()), tokenizer, phases[0]["length"])
    spread = short[:: max(1, short.numel() // 8_192)]  # enough to see the curve by
    curve = train(model, feed, settings, masked_once(spread, tokenizer), folder, share)
    if share[0] > 0:
        return
    model = getattr(model, "module", model).eval()
    in_part = "learn_layers" in config["model"]
    save(model, folder, STORE[config["store"]], trained_only=in_part)
    rest = trained(config["model"]["of"]) if in_part else None
    made = load(folder, rest=rest).float().to(device)  # what a reader will load, rounded as stored
    learnt = Rows(texts, tokenizer, longest)
    record = {
        "config": config,
        "settings": asdict(settings),
        "parameters": sum(p.numel() for p in model.parameters()),
        "tokens": curve[-1].tokens,
        "hours": round(curve[-1].seconds / 3600, 2),
        **measured(made, held_out_texts, learnt, tokenizer),
        "made with": made_with(share[1], device),
        "before": before(config["model"]),
    }
    if not streamed:  # counts of all that was read need its size in memory
        every = chain(*held_out_texts.values())
        record["beside counts"] = beside_counts(made, every, learnt, tokenizer)
    text = json.dumps(record, indent=1) + "\n"
    corpora.write_whole(folder / "record.json", methodcaller("write_text", text, "utf-8"))


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


def read_texts(config: dict) -> tuple[Iterable[str], dict[str, list[str]]]:
    """The texts to learn from, and by corpus those held out: of named corpora, or of files."""
    if "corpora" in config:  # each name with the number of times, or the share, that is read of it
        parts = {name: learn_and_held_out(name) for name in config["corpora"]}
        learn = []
        for name, times in config["corpora"].items():
            texts = parts[name][0]
            learn += texts * times if times >= 1 else texts[:: round(1 / times)]
        if every := config.get("typed"):
            learn[::every] = map(typed, learn[::every])
        return learn, {name: held_out for name, (_, held_out) in parts.items()}
    held_out = {"held_out": list(Lines(config["held_out"]))}
    lines = Lines(config["files"], seed=config.get("shuffle", 0))
    return (lines if config["stream"] else list(lines)), held_out


def learn_and_held_out(name: str) -> tuple[list[str], list[str]]:
    """The two parts of a corpus; of its reviews only those of critics, or only those of IMDb."""
    source = {"critics": "rotten_tomatoes", "imdb": "imdb"}.get(name)
    if source is not None:
        parts = corpora.hold_out(corpora.film_reviews())
        return tuple([r.text for r in part if r.source == source] for part in parts)
    learn, held_out = corpora.hold_out(whole_texts(name))
    if name == "everyday_sentences":
        held_out = corpora.without_near_doubles(held_out, learn)
    return learn, held_out


def typed(text: str) -> str:
    """As one may type it into a chat: with curly apostrophes, and without the last full stop."""
    return text.replace("'", "’").removesuffix(".")


def whole_texts(name: str) -> list[str]:
    """The documents of a corpus, its reviews or its sentences, each as one string."""
    items = getattr(corpora, name)()
    if isinstance(items[0], corpora.Document):
        return [" ".join(document.sentences) for document in items]
    return [getattr(item, "text", item) for item in items]


class Lines:
    """The lines of text files, read as they are asked for, in an order shuffled by a window."""

    def __init__(self, files: str, seed: int = 0):
        from datasets import load_dataset

        # A megabyte at a time; it holds each as Python objects, which take ten times as much.
        options = {"split": "train", "streaming": True, "chunksize": 1 << 20}
        lines = load_dataset("text", data_files=files, **options)
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


def trained(of: str) -> Path:
    """The folder of a trained model: that of the carried encoder, "minilm", or one of ours."""
    if of == "grammar":
        return corpora.grammar_tagger()
    return corpora.carried(corpora.MINILM) if of == "minilm" else ROOT / of


def before(config: dict) -> dict | None:
    """The record of the model that this one goes on from; None if it begins, or there is none."""
    kept = trained(config["of"]) / "record.json" if "of" in config else None
    return json.loads(kept.read_text("utf-8")) if kept and kept.exists() else None


def make_model(config: dict, vocab: int, length: int, seed: int) -> MaskedTokenModel:
    """A new model of the sizes in `config`, or a trained one, under a new head if it has none."""
    generator = torch.Generator().manual_seed(seed)
    if "of" in config:
        model = load(trained(config["of"])).float()
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


def masked_once(rows: torch.Tensor, tokenizer: Tokenizer, seed: int = 0) -> list[Examples]:
    """Rows in batches with masks that are the same at every evaluation.

    All that is chosen is hidden: a piece that stays as it is would be right without a guess.
    """
    generator = torch.Generator().manual_seed(seed)
    pieces, hidden = (tokenizer.mask, tokenizer.ordinary), (1.0, 0.0, 0.0)
    return [
        Examples(*mask_tokens(part, *pieces, generator, shares=hidden)) for part in rows.split(64)
    ]


# --- record


def asked(model: MaskedTokenModel, blanks: Iterable[Examples]) -> Measured:
    """How the model guesses them, in the precision that the machine trains in."""
    device, parts = next(model.parameters()).device, []
    with torch.autocast(device.type, torch.bfloat16, enabled=fast_in_bfloat16(device)):
        for some in blanks:
            parts.append(measure(model, some.ids.to(device), some.labels.to(device)))
    return Measured(*(torch.cat(part).cpu() for part in zip(*parts, strict=True)))


def measured(
    model: MaskedTokenModel,
    held_out: dict[str, list[str]],
    learnt: Rows,
    tokenizer: Tokenizer,
) -> dict[str, dict]:
    """How well blanks are guessed: in each corpus, and by how often a piece was there to learn."""
    parts, truths = {}, []
    for name, texts in held_out.items():
        blanks = masked_once(all_rows(texts, tokenizer, learnt.length), tokenizer)
        parts[name] = asked(model, blanks)
        truths += [some.labels[some.labels != IGNORE_INDEX] for some in blanks]
    every = Measured(*map(torch.cat, zip(*parts.values(), strict=True)))
    counts = torch.zeros(len(tokenizer.vocabulary), dtype=torch.long)
    for row in learnt:
        counts += row.bincount(minlength=len(counts))
    often, bands = counts[torch.cat(truths)], {}
    edges = [0, 100, 1_000, 10_000, 100_000, 1 << 60]
    for low, high in zip(edges, edges[1:], strict=False):
        here = (low <= often) & (often < high)
        bands[f"from {low:,}"] = score(Measured(*(x[here] for x in every)))
    scores = {name: score(part) for name, part in {"all": every, **parts}.items()}
    return {"held out": scores, "by frequency": bands}


def score(blanks: Measured) -> dict[str, float]:
    """Their number, the mean loss in nats and the share whose first guess is right."""
    means = [x.double().mean().item() if len(x) else None for x in blanks]
    loss, accuracy = (x and round(x, 4) for x in means)
    return {"masks": len(blanks.nats), "loss": loss, "accuracy": accuracy}


def beside_counts(
    model: MaskedTokenModel,
    held_out: Iterable[str],
    learnt: Rows,
    tokenizer: Tokenizer,
    count: int = 4_000,
) -> dict[str, dict]:
    """The model, and counts of the rows that it learnt from, asked about the same blanks.

    Each blank is the only one of its row, so that all may see what is around it. With a mean stand
    the ends of its 95 % interval over rows.
    """
    rows = all_rows(held_out, tokenizer, learnt.length)
    places = tokenizer.ordinary[rows].nonzero()
    drawn = torch.randperm(len(places), generator=torch.Generator().manual_seed(0))[:count]
    row, place = (places := places[drawn]).unbind(dim=1)
    here = F.one_hot(place, learnt.length).bool()
    ids, labels = rows[row].masked_fill(here, tokenizer.mask), rows[row]
    answers = {"model": asked(model, [Examples(ids, labels.masked_fill(~here, IGNORE_INDEX))])}
    counts = Counts([some.tolist() for some in learnt], reach=2)
    for left, right in (0, 0), (1, 0), (0, 1), (2, 0), (0, 2), (1, 1), (2, 2):
        name = f"counts, {left} left, {right} right"
        answers[name] = counts.measure(rows.tolist(), places, left, right)
    return {
        name: {
            what: [round(x, 4) for x in interval(values.double(), row)]
            for what, values in zip(("loss", "accuracy"), answer, strict=True)
        }
        for name, answer in answers.items()
    }


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

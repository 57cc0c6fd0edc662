"""What every long run shares: its settings, its texts, how it measures, and its record.

A run is a script with a settings file, and it leaves a record in JSON: the settings, what came out,
and what it was made with.
"""

import hashlib
import json
import os
import platform
import subprocess
import tomllib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from operator import methodcaller
from pathlib import Path

import torch
import torch.nn.functional as F

from bertfamily import corpora
from bertfamily.batches import pack
from bertfamily.counts import Counts, Measured, interval
from bertfamily.files import write_whole
from bertfamily.heads import IGNORE_INDEX, MaskedTokenModel
from bertfamily.masking import mask_tokens
from bertfamily.pretraining import Examples, measure_all
from bertfamily.training import fast_in_bfloat16
from bertfamily.wordpiece import Tokenizer

ROOT = Path(__file__).resolve().parents[1]
MEASURED = 10_000  # pieces of each corpus that a finished model is measured on

# --- settings and processes


def read_settings(path: Path) -> dict:
    """The settings file of a run; the threads that it names are set."""
    config = tomllib.loads(path.read_text("utf-8"))
    torch.set_num_threads(config["threads"])
    return config


def processes() -> tuple[tuple[int, int], torch.device, Callable]:
    """This process among those that share the work, its device, and what wraps the model."""
    if "ACCELERATE_MIXED_PRECISION" in os.environ:  # set by `accelerate launch`
        from accelerate import Accelerator

        accelerator = Accelerator(cpu=not torch.cuda.is_available())
        share = accelerator.process_index, accelerator.num_processes
        return share, accelerator.device, accelerator.prepare
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return (0, 1), device, lambda model: model


def trained(of: str) -> Path:
    """The folder of a trained model: of a carried one, "minilm" or "grammar", or of ours."""
    if of == "grammar":
        return corpora.grammar_tagger()
    return corpora.carried(corpora.MINILM) if of == "minilm" else ROOT / of


# --- texts


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


class Tokenized:
    """The ids of texts: of a list made once, of a stream at each pass over it."""

    def __init__(self, texts: Iterable[str], tokenizer: Tokenizer):
        self.texts, self.tokenizer = texts, tokenizer
        self.kept = list(self._made()) if isinstance(texts, list) else None

    def __iter__(self) -> Iterator[Sequence[int]]:
        return iter(self.kept) if self.kept is not None else self._made()

    def _made(self) -> Iterator[Sequence[int]]:
        texts = iter(self.texts)
        while some := list(islice(texts, 1_000)):
            yield from (array("i", ids) for ids in self.tokenizer.ids_of(some))


class Rows:
    """Tokenised texts as packed rows, made anew at each pass over them."""

    def __init__(self, texts: Tokenized, length: int):
        self.texts, self.tokenizer, self.length = texts, texts.tokenizer, length

    def __iter__(self) -> Iterator[torch.Tensor]:
        return pack(self.texts, self.length, self.tokenizer.cls, self.tokenizer.sep)


def all_rows(texts: Iterable[str], tokenizer: Tokenizer, length: int) -> torch.Tensor:
    """The rows of some texts as one table."""
    return as_table(Rows(Tokenized(list(texts), tokenizer), length))


def as_table(rows: Rows) -> torch.Tensor:
    """All the rows, where there is one at least."""
    table = list(rows)
    if not table:
        raise ValueError(
            f"the text to learn from or that held out fills no row of {rows.length} pieces; give "
            "more text, or choose a shorter length"
        )
    return torch.stack(table)


# --- how well a model guesses


def spread(rows: torch.Tensor, pieces: int) -> torch.Tensor:
    """Every so many of the rows, with as many pieces or some more."""
    return rows[:: max(1, rows.numel() // pieces)]


def masked_once(rows: torch.Tensor, tokenizer: Tokenizer, seed: int = 0) -> list[Examples]:
    """Rows in batches with masks that are the same at every evaluation.

    All that is chosen is hidden: a piece that stays as it is would be right without a guess.
    """
    generator = torch.Generator().manual_seed(seed)
    pieces, hidden = (tokenizer.mask, tokenizer.ordinary), (1.0, 0.0, 0.0)
    return [
        Examples(*mask_tokens(part, *pieces, generator, shares=hidden)) for part in rows.split(64)
    ]


def asked(model: MaskedTokenModel, blanks: Iterable[Examples]) -> Measured:
    """How the model guesses them, in the precision that the machine trains in."""
    return measure_all(model, blanks, fast_in_bfloat16(next(model.parameters()).device))


def measured(
    model: MaskedTokenModel,
    held_out: dict[str, list[str]],
    learnt: Rows,
) -> dict[str, dict]:
    """How well blanks are guessed: in each corpus, and by how often a piece was there to learn."""
    parts, truths, tokenizer = {}, [], learnt.tokenizer
    for name, texts in held_out.items():
        rows = spread(all_rows(texts, tokenizer, learnt.length), MEASURED)
        blanks = masked_once(rows, tokenizer)
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
    count: int = 4_000,
) -> dict[str, dict]:
    """The model, and counts of the rows that it learnt from, asked about the same blanks.

    Each blank is the only one of its row, so that all may see what is around it. With a mean stand
    the ends of its 95 % interval over rows.
    """
    tokenizer = learnt.tokenizer
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


# --- the record


def is_the_same(folder: Path, config: dict, texts: Iterable[str]) -> None:
    """Refuse a folder in which a run of other settings or texts was begun; else write down which.

    Texts that come as a stream are known by their names alone, and by the first batch of the run.
    """
    digest = hashlib.sha256()
    for text in texts if isinstance(texts, list) else ():
        digest.update(text.encode() + b"\n")
    made = {key: value for key, value in config.items() if key not in ("folder", "threads")}
    made = json.loads(json.dumps(made | {"texts": digest.hexdigest()}))
    path = folder / "run.json"
    was = read_record(path) or made
    for key in was | made:
        if was.get(key) != made.get(key):
            raise ValueError(
                f"{folder} holds a run with other {key}: {was.get(key)}, not {made.get(key)}; go "
                "on with the settings and texts it was begun with, or choose another folder"
            )
    write_record(path, made)


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


def write_record(path: Path, record: dict) -> None:
    """Write what a run was and what came out, whole or not at all."""
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, methodcaller("write_text", text, "utf-8"))


def read_record(path: Path) -> dict:
    """What is written so far; nothing if there is no record yet."""
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def keep(path: Path, **parts: dict) -> None:
    """Add to what the record has by now: other processes may have added to it too.

    A part grows by what is new in it; the settings are replaced.
    """
    record = read_record(path)
    for name, new in parts.items():
        record[name] = new if name == "config" else record.get(name, {}) | new
    write_record(path, record)


def chosen(path: Path, name: str, settings: list[float], score: Callable) -> float:
    """The setting with the highest score; those that the record has are not tried again."""
    found = read_record(path).get("search", {}).get(name, {})
    for setting in settings:
        if str(setting) not in found:
            found[str(setting)] = round(score(setting), 4)
            keep(path, search={name: found})
            print(f"{name}, {setting}: {found[str(setting)]}", flush=True)
    return float(max(found, key=found.get))

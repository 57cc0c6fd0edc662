"""Pretraining: what the model is asked, and a plain loop that can be stopped and goes on exactly.

Devlin et al., 2018, sections 3.1 and A.2 (https://arxiv.org/abs/1810.04805). The masked-token loss
is the mean over the chosen pieces only, and the decoder runs on these only. All that is random in a
step is a function of the seed and the number of the step, so a run that was killed goes on from
its last checkpoint with the same losses, and so do several processes that share each batch.
"""

import csv
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm

from bertfamily.batches import pad
from bertfamily.corpora import write_whole
from bertfamily.counts import Measured
from bertfamily.heads import IGNORE_INDEX
from bertfamily.masking import mask_tokens, measure
from bertfamily.pairs import Pair
from bertfamily.wordpiece import Encoding, Tokenizer

# --- what the model is asked


class Examples(NamedTuple):
    """A batch with the answers: token labels and, where pairs are asked for, pair labels."""

    ids: Int[Tensor, "batch seq"]  # with masks
    labels: Int[Tensor, "batch seq"]  # the original id where chosen, IGNORE_INDEX elsewhere
    segments: Int[Tensor, "batch seq"] | None = None
    keep: Bool[Tensor, "batch seq"] | None = None
    pairs: Int[Tensor, " batch"] | None = None  # IS_NEXT / IS_RANDOM, or IN_ORDER / SWAPPED


class Losses(NamedTuple):
    """Nats, each a mean: over the chosen pieces, and over the pairs (0 without them)."""

    tokens: Float[Tensor, ""]
    pairs: Float[Tensor, ""]


def pretraining_losses(model: nn.Module, examples: Examples) -> Losses:
    """The losses of BERT's two tasks; for ALBERT the pair labels tell the order.

    `model` is a MaskedTokenModel, or a PretrainingModel where there are pair labels.
    """
    chosen = examples.labels != IGNORE_INDEX
    logits = model(examples.ids, examples.segments, examples.keep, chosen=chosen)
    tokens, pairs = logits if isinstance(logits, tuple) else (logits, None)
    loss = F.cross_entropy(_full(tokens), examples.labels[chosen], reduction="sum")
    loss = loss / chosen.sum().clamp(min=1)
    if examples.pairs is None:
        return Losses(loss, torch.zeros_like(loss))
    if pairs is None:
        raise ValueError("there are labels for pairs, but the model has no head for them")
    return Losses(loss, F.cross_entropy(_full(pairs), examples.pairs))


def _full(logits: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """At least single precision: a softmax over a vocabulary in bfloat16 loses too much."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def shuffled(count: int, size: int, seed: int, step: int) -> list[int]:
    """Which of `count` items are in the batch of a step: in every epoch each once, in a new order.

    What does not fill a last batch waits for another epoch.
    """
    if not 1 <= size <= count:
        raise ValueError(f"size={size}: a batch has one item at least and {count}, all, at most")
    epoch, place = divmod(step, count // size)
    return _order(count, seed, epoch)[place * size : (place + 1) * size]


@lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> list[int]:
    return torch.randperm(count, generator=_generator(seed, epoch, 0)).tolist()


def _generator(seed: int, number: int, purpose: int) -> torch.Generator:
    """Random numbers of their own for each step and purpose."""
    return torch.Generator().manual_seed((seed * 1_000_003 + number) * 4 + purpose)


def masked_rows(
    rows: Int[Tensor, "rows length"], size: int, tokenizer: Tokenizer, seed: int, rate: float = 0.15
) -> Callable[[int], Examples]:
    """For a step, `size` of the packed rows, masked anew whenever they come."""
    hide = partial(mask_tokens, mask=tokenizer.mask, ordinary=tokenizer.ordinary, rate=rate)

    def feed(step: int) -> Examples:
        ids = rows[shuffled(len(rows), size, seed, step)]
        return Examples(*hide(ids, generator=_generator(seed, step, 1)))

    return feed


def masked_pairs(
    pairs: Sequence[Pair], size: int, tokenizer: Tokenizer, seed: int, rate: float = 0.15
) -> Callable[[int], Examples]:
    """For a step, `size` of the pairs with their labels, padded, and masked whenever they come."""
    hide = partial(mask_tokens, mask=tokenizer.mask, ordinary=tokenizer.ordinary, rate=rate)

    def feed(step: int) -> Examples:
        chosen = [pairs[i] for i in shuffled(len(pairs), size, seed, step)]
        ids, segments, keep = pad([_encoding(p, tokenizer) for p in chosen], tokenizer.pad)
        masked = hide(ids, generator=_generator(seed, step, 1))
        labels = torch.tensor([pair.label for pair in chosen])
        return Examples(*masked, segments, keep, labels)

    return feed


def _encoding(pair: Pair, tokenizer: Tokenizer) -> Encoding:
    """[CLS] first [SEP] second [SEP]"""
    first, second = [tokenizer.cls, *pair.first, tokenizer.sep], [*pair.second, tokenizer.sep]
    return Encoding(first + second, [0] * len(first) + [1] * len(second), [], [])


class Stream:
    """For a step, the next `size` rows of a source that need not fit into memory, masked.

    `source` is read as often as need be, from its start and in its order. A run that goes on at a
    later step reads past the rows before it.
    """

    def __init__(
        self,
        source: Iterable[Int[Tensor, " length"]],
        size: int,
        tokenizer: Tokenizer,
        seed: int,
        rate: float = 0.15,
    ):
        self.source, self.size, self.seed = source, size, seed
        self.hide = partial(
            mask_tokens, mask=tokenizer.mask, ordinary=tokenizer.ordinary, rate=rate
        )
        self.rows, self.next = self._endless(), 0

    def _endless(self) -> Iterator[Int[Tensor, " length"]]:
        while True:
            empty = True
            for row in self.source:
                empty = False
                yield row
            if empty:
                raise ValueError("the source of rows is empty; is the text shorter than a row?")

    def __call__(self, step: int) -> Examples:
        if step < self.next:
            self.rows, self.next = self._endless(), 0
        while self.next < step:
            for _ in range(self.size):
                next(self.rows)
            self.next += 1
        ids = torch.stack([next(self.rows) for _ in range(self.size)])
        self.next += 1
        return Examples(*self.hide(ids, generator=_generator(self.seed, step, 1)))


# --- how it is trained


@dataclass(frozen=True)
class Settings:
    """How a run is made. The defaults are those of BERT, but for its million steps."""

    steps: int
    rate: float = 1e-4  # the learning rate at its highest
    warmup: float = 0.01  # the share of the steps in which it rises; then it falls to 0
    decay: float = 0.01  # of weights and tables, not of biases and norms
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float = 1.0  # the longest gradient
    fresh: float = 1.0  # how many times faster what stands on the encoder learns than the encoder
    seed: int = 0
    bfloat16: bool = False
    every: int = 100  # steps from one point of the curve, and one checkpoint, to the next

    def __post_init__(self):
        for name in ("steps", "every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: it must be 1 at least")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup={self.warmup} is not a share of the steps: 0 to below 1")


def rate_at(settings: Settings, step: int) -> float:
    """The learning rate of a step, from 0: up in a line, then down in a line to 0 at the end."""
    warm = round(settings.warmup * settings.steps)
    if step < warm:
        return settings.rate * (step + 1) / warm
    return settings.rate * (settings.steps - step) / (settings.steps - warm)


def fast_in_bfloat16(device: torch.device | str = "cpu") -> bool:
    """Whether the machine multiplies matrices in bfloat16, and not only pretends to."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported()
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


@torch.no_grad()
def initialize(model: nn.Module, generator: torch.Generator, std: float = 0.02) -> None:
    """Fresh weights, in place: normal, cut at 2 std, biases 0, norms 1 (BERT, modeling.py)."""
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.trunc_normal_(module.weight, 0, std, -2 * std, 2 * std, generator=generator)
            if getattr(module, "padding_idx", None) is not None:
                module.weight[module.padding_idx] = 0
        elif isinstance(module, nn.LayerNorm):
            module.reset_parameters()


def sinusoids(positions: int, size: int) -> Float[Tensor, "{positions} {size}"]:
    """The fixed positions of the first Transformer (https://arxiv.org/abs/1706.03762, section 3.5).

    A table of positions may start from them: what a model learns at some distance in short rows
    then holds at the same distance further on.
    """
    angles = torch.arange(positions)[:, None] / 10_000 ** (torch.arange(0, size, 2) / size)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :size]


def adamw(model: nn.Module, settings: Settings) -> torch.optim.AdamW:
    """AdamW that pulls weights and tables towards 0, and leaves biases and norms alone.

    What is frozen (`requires_grad_(False)`) is not given to it.
    """
    groups = []
    for on_top in False, True:
        named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        mine = [p for n, p in named if on_top == ("encoder." not in n)]
        factor = settings.fresh if on_top else 1.0
        for decay, some in (
            (settings.decay, [p for p in mine if p.dim() > 1]),
            (0.0, [p for p in mine if p.dim() <= 1]),
        ):
            groups.append({"params": some, "weight_decay": decay, "factor": factor})
    return torch.optim.AdamW(groups, lr=settings.rate, betas=settings.betas, fused=True)


class Point(NamedTuple):
    """A point of the curve; the first two losses are means over the steps since the last point."""

    step: int  # steps done
    tokens: int  # read so far, padding included
    loss: float  # of masked tokens, nats
    pair_loss: float  # nats; 0 without pairs
    held_out: float  # masked-token loss on held-out text, nats; nan if there is none
    accuracy: float  # share of held-out masks whose first guess is right; nan if there is none
    seconds: float  # of training so far, evaluation not counted


def train(
    model: nn.Module,
    feed: Callable[[int], Examples],
    settings: Settings,
    held_out: Sequence[Examples] = (),
    folder: str | os.PathLike | None = None,
    share: tuple[int, int] = (0, 1),
) -> list[Point]:
    """Train in place by the batches `feed(0)`, `feed(1)`, …, and return the curve.

    With a folder, the state is kept there at every point of the curve, whole or not at all, beside
    the curve as CSV; a call with the same settings goes on from it. `share` is (number, count) of
    the processes that each take a part of every batch; the model is then wrapped for it.
    On a terminal there is a progress bar, elsewhere a line at each point.
    """
    number, count = share
    optimizer = adamw(model, settings)
    state = None if folder is None else Path(folder) / "training.pt"
    curve = _resume(state, model, optimizer, settings) if state and state.exists() else []
    device = next(model.parameters()).device
    seconds = curve[-1].seconds if curve else 0.0
    done, tokens = (curve[-1].step, curve[-1].tokens) if curve else (0, 0)
    sums = torch.zeros(2)
    bar = tqdm(total=settings.steps, initial=done, disable=number > 0 or not sys.stderr.isatty())
    with bar, _attention(device, settings.bfloat16):
        while done < settings.steps:
            start = time.perf_counter()
            examples = feed(done)
            sums += _step(model, optimizer, examples, settings, done, number, count)
            tokens, done = tokens + examples.ids.numel(), done + 1
            seconds += time.perf_counter() - start
            bar.update()
            if done % settings.every and done < settings.steps:
                continue
            steps = done - (curve[-1].step if curve else 0)
            score = evaluate(model, held_out, settings.bfloat16)
            curve.append(Point(done, tokens, *(sums / steps).tolist(), *score, seconds))
            sums.zero_()
            if number == 0:
                _report(curve[-1], bar)
                if state is not None:
                    _keep(state, model, optimizer, settings, curve)
    model.eval()
    return curve


def _step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    examples: Examples,
    settings: Settings,
    step: int,
    number: int,
    count: int,
) -> Float[Tensor, "2"]:
    """One update; returns the two losses of the whole batch."""
    device = next(model.parameters()).device
    mine = Examples(*(None if x is None else x[number::count].to(device) for x in examples))
    # The mean is over the pieces chosen in the whole batch. Each process weighs its part so that
    # the mean of the processes' gradients, which is what they exchange, is the whole gradient.
    part, whole = ((e.labels != IGNORE_INDEX).sum().item() for e in (mine, examples))
    weights = torch.tensor([part / max(whole, 1), len(mine.ids) / len(examples.ids)]) * count
    for group in optimizer.param_groups:
        group["lr"] = group["factor"] * rate_at(settings, step)
    model.train()
    with torch.random.fork_rng():
        torch.manual_seed(_generator(settings.seed, step, 2).initial_seed() + number)
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.bfloat16):
            losses = torch.stack(pretraining_losses(model, mine)) * weights.to(device)
        optimizer.zero_grad()
        losses.sum().backward()
    nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
    optimizer.step()
    losses = losses.detach()
    if count > 1:
        torch.distributed.all_reduce(losses)
        losses = losses / count
    return losses.cpu()


def _attention(device: torch.device, bfloat16: bool) -> AbstractContextManager:
    """The faster kernel: on a CPU in bfloat16 the plain product, elsewhere the fused one."""
    plain = bfloat16 and device.type == "cpu"
    return sdpa_kernel(SDPBackend.MATH) if plain else nullcontext()


class Score(NamedTuple):
    """How well masked tokens are guessed."""

    loss: float  # nats
    accuracy: float  # share whose first guess is right


def evaluate(model: nn.Module, batches: Iterable[Examples], bfloat16: bool = False) -> Score:
    """The mean loss and the accuracy over all chosen pieces of the batches; nan without any."""
    return Score(*(x.double().mean().item() for x in measure_all(model, batches, bfloat16)))


@torch.no_grad()
def measure_all(model: nn.Module, batches: Iterable[Examples], bfloat16: bool = False) -> Measured:
    """How well a model guesses each chosen piece of the batches, wherever the model lies."""
    device, parts = next(model.parameters()).device, []
    model.eval()
    for examples in batches:
        *asked, _ = (None if x is None else x.to(device) for x in examples)
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            parts.append(measure(model, *asked))
    nothing = Measured(torch.zeros(0), torch.zeros(0, dtype=torch.bool))
    return Measured(*(torch.cat(part).cpu() for part in zip(nothing, *parts, strict=True)))


# --- what is kept of it


def _keep(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, settings: Settings, curve: list
) -> None:
    """Write the state in one file, whole, and then the curve beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {
        "settings": asdict(settings),
        "curve": [tuple(point) for point in curve],
        "model": getattr(model, "module", model).state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    write_whole(path, partial(torch.save, state))
    write_whole(path.with_name("curve.csv"), partial(write_curve, curve))


def _resume(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, settings: Settings
) -> list[Point]:
    """Fill the model and the optimizer from the file, and return the curve so far."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    was, now = state["settings"], asdict(settings)
    if changed := [key for key in now if now[key] != was.get(key)]:
        key = changed[0]
        raise ValueError(
            f"{path} was begun with {key}={was.get(key)!r}, not {now[key]!r}; "
            "go on with the settings it was begun with, or choose another folder"
        )
    getattr(model, "module", model).load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return [Point(*point) for point in state["curve"]]


def write_curve(curve: Iterable[Point], path: Path) -> None:
    """The curve as CSV, with a line of names."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(Point._fields)
        rows.writerows([round(x, 4) for x in point] for point in curve)


def read_curve(path: str | os.PathLike) -> list[Point]:
    """The curve that `train` left in a folder as curve.csv."""
    with Path(path).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    kinds = Point.__annotations__
    return [Point(**{name: kinds[name](value) for name, value in row.items()}) for row in rows]


def _report(point: Point, bar: tqdm) -> None:
    line = f"step {point.step:6}  loss {point.loss:.2f}"
    line += f"  pairs {point.pair_loss:.2f}" if point.pair_loss else ""
    line += "" if math.isnan(point.held_out) else f"  held out {point.held_out:.2f}"
    line += "" if math.isnan(point.accuracy) else f", {point.accuracy:.0%} right"
    bar.write(line, file=sys.stdout)

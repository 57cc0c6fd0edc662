"""The training loop: plain, and one that can be stopped and goes on exactly.

The settings are those of BERT (Devlin et al., 2018, section A.2, https://arxiv.org/abs/1810.04805).
All that is random in a step is a function of the seed and the number of the step, so a run that was
killed goes on from its last checkpoint with the same losses, and so do several processes that share
each batch.
"""

import csv
import hashlib
import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm

from bertfamily.feeds import generator_of
from bertfamily.files import write_whole
from bertfamily.heads import IGNORE_INDEX
from bertfamily.pretraining import Examples, evaluate, pretraining_losses


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


def adamw(
    model: nn.Module, settings: Settings, factor_of: Callable[[str], float] | None = None
) -> torch.optim.AdamW:
    """AdamW that pulls weights and tables towards 0, and leaves biases and norms alone.

    What is frozen (`requires_grad_(False)`) is not given to it. `factor_of` says how many times as
    fast a parameter learns; without it the head learns `fresh` times as fast as the encoder.
    """
    parts: dict[tuple[float, float], list] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            factor = 1.0 if "encoder." in name else settings.fresh
            factor = factor_of(name) if factor_of else factor
            decay = settings.decay if parameter.dim() > 1 else 0.0
            parts.setdefault((factor, decay), []).append(parameter)
    groups = [{"params": p, "factor": f, "weight_decay": d} for (f, d), p in parts.items()]
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
    the curve as CSV; a call with the same settings, model and text goes on from it, on any machine.
    `share` is (number, count) of the processes that each take a part of every batch; the model is
    then wrapped for it.
    On a terminal there is a progress bar, elsewhere a line at each point.
    """
    number, count = share
    optimizer = adamw(model, settings)
    state = None if folder is None else Path(folder) / "training.pt"
    made_of = {} if folder is None else _made_of(model, feed, settings, held_out)
    curve = _resume(state, model, optimizer, made_of) if state and state.exists() else []
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
                    _keep(state, model, optimizer, made_of, curve)
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
        torch.manual_seed(generator_of(settings.seed, step, 2).initial_seed() + number)
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


# --- what is kept of it


def _made_of(model: nn.Module, feed: Callable, settings: Settings, held_out: Sequence) -> dict:
    """What makes a run what it is, but for the machine: with another of these it is another run."""
    model = getattr(model, "module", model)
    config = getattr(getattr(model, "encoder", model), "config", None)
    sizes = {k: getattr(v, "__name__", v) for k, v in vars(config).items()} if config else {}
    parts = [(name, tuple(p.shape), p.requires_grad) for name, p in model.named_parameters()]
    made_of = asdict(settings)
    del made_of["bfloat16"]  # what one machine is fast in another may not be
    digests = {"model": [sizes, parts], "text or batch": feed(0), "held-out text": held_out}
    return made_of | {name: digest_of(x) for name, x in digests.items()}


def digest_of(value: object) -> str:
    """A name for a value, tensors and all."""
    if isinstance(value, Tensor):
        value = (tuple(value.shape), value.cpu().numpy().tobytes())
    elif isinstance(value, list | tuple):
        value = [digest_of(part) for part in value]
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def _keep(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, made_of: dict, curve: list
) -> None:
    """Write the state in one file, whole, and then the curve beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {
        "made of": made_of,
        "curve": [tuple(point) for point in curve],
        "model": getattr(model, "module", model).state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    write_whole(path, partial(torch.save, state))
    write_whole(path.with_name("curve.csv"), partial(write_curve, curve))


def _resume(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, made_of: dict
) -> list[Point]:
    """Fill the model and the optimizer from the file, and return the curve so far."""
    state = read_state(path, made_of)
    getattr(model, "module", model).load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return [Point(*point) for point in state["curve"]]


def read_state(path: Path, made_of: dict) -> dict:
    """What is kept of a run; one that was made of other things is refused."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    was = state.get("made of", {})
    for key, now in made_of.items():
        if was.get(key, now) != now:
            other = f"{key}={was[key]!r}, not {now!r}"
            if isinstance(now, str) and re.fullmatch("[0-9a-f]{16}", now):
                other = f"another {key}"
            raise ValueError(
                f"{path} was begun with {other}; go on with what it was begun with, or choose "
                "another folder"
            )
    return state


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

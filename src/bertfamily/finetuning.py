"""Fine-tuning: a pretrained encoder under a new head learns a task from labels.

Devlin et al., 2018, sections 4 and A.3 (https://arxiv.org/abs/1810.04805). One loop serves the four
heads: a class or a number for a text or a pair (SequenceModel), a tag for each token (TokenModel),
a span (SpanModel). All that is random in a step is a function of the seed and of its number, as in
module training, so a run that was stopped goes on exactly. What surprises: the layers that are
frozen do not drop out either, so what they put out for a text is always the same.
"""

import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from tqdm import tqdm

from bertfamily.batches import Batch, buckets, pad
from bertfamily.encoder import Encoder
from bertfamily.feeds import generator_of
from bertfamily.files import write_whole
from bertfamily.heads import IGNORE_INDEX, Model, Span, span_loss
from bertfamily.metrics import accuracy
from bertfamily.training import Settings, adamw, digest_of, initialize, rate_at, read_state
from bertfamily.wordpiece import Encoding

POOL = 50  # batches whose texts are sorted by length together


class Example(NamedTuple):
    """A text, or two, as the model reads it, and what it is to answer."""

    encoding: Encoding
    label: int | float | list[int] | tuple[int, int]
    # a class; a number; for each token a class or IGNORE_INDEX; the first and last token of a span


@dataclass(frozen=True)
class Tuning:
    """How a model is fine-tuned. The defaults lie in the ranges of BERT's section A.3."""

    epochs: int = 3
    size: int = 32  # texts in a batch
    rate: float = 5e-5  # the learning rate at its highest
    warmup: float = 0.1  # the share of the steps in which it rises; then it falls to 0
    decay: float = 0.01  # of weights and tables, not of biases and norms
    clip: float = 1.0  # the longest gradient
    layers: int | None = None  # how many of the upper ones learn; 0: the head alone; None: all
    fall: float = 1.0  # each layer learns so many times as fast as the one above it
    fresh: float = 1.0  # how many times faster than the last layer the head learns
    seed: int = 0
    every: int | None = None  # steps from one look at held-out texts to the next; None: an epoch
    patience: int | None = None  # looks without a better score before it stops; None: it does not
    bfloat16: bool = False

    def __post_init__(self):
        for name in ("epochs", "size", "every", "patience"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}={value}: it must be 1 at least")
        for name in ("rate", "fall", "fresh"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)}: it must be above 0")


class Look(NamedTuple):
    """A point of the curve."""

    step: int  # steps done
    epoch: float  # epochs done
    loss: float  # mean over the batches since the last look: nats, or squared error
    score: float  # of the held-out texts; nan if there are none
    seconds: float  # of training so far, looks not counted


# --- the model


@torch.no_grad()
def under_head(
    encoder: Encoder,
    head: type[Model],
    *arguments,
    generator: torch.Generator,
    std: float = 0.02,
) -> Model:
    """A model with a fresh head, `head(config, *arguments)`, on a copy of the encoder's weights.

    A pooler that the head reads is copied too; where the encoder has none, it is fresh.
    """
    with torch.random.fork_rng(devices=[]):  # what modules draw for themselves is not used
        model = head(replace(encoder.config, pooled=head.pooled), *arguments)
    initialize(model, generator, std)
    model.encoder.load_state_dict(encoder.state_dict(), strict=False)
    return model.eval()


def let_learn(model: Model, layers: int | None = None) -> list[nn.Module]:
    """Freeze all but the head and the upper `layers` of the encoder, and return what is frozen.

    None: nothing is frozen. A pooler learns unless `layers` is 0.
    """
    encoder = model.encoder
    model.requires_grad_(True)
    if layers is None:
        return []
    if encoder.config.shared and layers:
        raise ValueError(f"layers={layers}: they share one set of weights; choose 0, or None")
    if not 0 <= layers <= len(encoder.layers):
        raise ValueError(f"layers={layers}: the encoder has {len(encoder.layers)}; choose 0 to all")
    if not layers:
        frozen = [encoder]
    else:
        frozen = [encoder.embeddings, *encoder.layers[: len(encoder.layers) - layers]]
    for module in frozen:
        module.requires_grad_(False)
    return frozen


def trainable(model: nn.Module) -> int:
    """How many parameters learn."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def factor_of(name: str, model: Model, tuning: Tuning) -> float:
    """How many times as fast as the last layer the parameter of this name learns.

    fall^k for the layer k below the last one, and for the embeddings one power more, as ELECTRA was
    fine-tuned (Clark et al., 2020, Table 7, https://arxiv.org/abs/2003.10555).
    """
    if not name.startswith("encoder."):
        return tuning.fresh
    depth = len(model.encoder.layers)
    part = name.split(".")
    if part[1] == "layers":
        return tuning.fall ** (depth - 1 - int(part[2]))
    return tuning.fall**depth if part[1] == "embeddings" else 1.0  # the pooler


# --- the batches


def batches_of(
    lengths: Sequence[int], size: int, generator: torch.Generator, pool: int = POOL
) -> list[list[int]]:
    """Which texts are read together in an epoch: each text once, those of like length together.

    Only texts of the same random pool are sorted, so an epoch's batches are not those of the last.
    """
    batches = []
    for part in torch.randperm(len(lengths), generator=generator).split(size * pool):
        found = buckets([lengths[i] for i in part], size, generator)
        batches += [part[batch].tolist() for batch in found]
    return [batches[i] for i in torch.randperm(len(batches), generator=generator)]


def collate(examples: Sequence[Example], pad_id: int = 0) -> tuple[Batch, Shaped[Tensor, "n ..."]]:
    """A batch and its labels: (batch), (batch, seq) with IGNORE_INDEX at padding, or (batch, 2)."""
    batch = pad([example.encoding for example in examples], pad_id)
    labels = [example.label for example in examples]
    for (encoding, label), real in zip(examples, batch.keep.sum(dim=1).tolist(), strict=True):
        if isinstance(label, list) and len(label) != real:
            raise ValueError(f"{len(label)} labels for the {real} tokens {encoding.pieces}")
        if isinstance(label, tuple) and not 0 <= label[0] <= label[1] < real:
            raise ValueError(f"{label} is no span of the {real} tokens {encoding.pieces}")
    if isinstance(labels[0], list):
        width = batch.ids.shape[1]
        labels = [row + [IGNORE_INDEX] * (width - len(row)) for row in labels]
    return batch, torch.tensor(labels)


# --- the loss


def task_loss(
    output: Tensor | Span,
    labels: Shaped[Tensor, "n ..."],
    weights: Float[Tensor, " classes"] | None = None,
) -> Float[Tensor, ""]:
    """The mean loss over the labels but IGNORE_INDEX: nats, or the squared error of a number.

    With `weights` a label counts as often as its class weighs. Of a span it is the mean of the
    losses of its first and its last token.
    """
    if isinstance(output, Span):
        return span_loss(Span(*(x.float() for x in output)), *labels.unbind(dim=1))
    if labels.is_floating_point():
        return F.mse_loss(output[:, 0].float(), labels.float())
    output = output.flatten(0, -2).float()  # in bfloat16 a softmax loses too much
    return F.cross_entropy(output, labels.flatten(), weights, ignore_index=IGNORE_INDEX)


def balanced(labels: Sequence[int], classes: int) -> Float[Tensor, "{classes}"]:
    """Weights by which all classes count the same: n / (classes · how often the class occurs)."""
    often = torch.bincount(torch.tensor(labels), minlength=classes)
    if len(often) > classes or not often.all():
        raise ValueError(f"of {classes} classes these occur so often: {often.tolist()}")
    return len(labels) / (classes * often)


# --- the loop


def finetune(
    model: Model,
    learn: Sequence[Example],
    tuning: Tuning,
    held_out: Sequence[Example] = (),
    score: Callable[[list, list], float] | None = None,
    weights: Float[Tensor, " classes"] | None = None,
    folder: str | os.PathLike | None = None,
    report: bool = True,
) -> list[Look]:
    """Train in place on the examples, and return the curve.

    With held-out examples the model is left as it was at its best look, the first of equals.
    `score(answers, labels)` says how good it is, higher being better, with answers as `predict`
    gives them; without one, classes are scored by accuracy and all else by minus the mean loss.
    Hold out a part of what there is to learn from, never the test. `weights` are those of the
    classes in the loss. With a folder the state is kept there at every look, whole or not at all,
    and a call with the same settings, model and examples goes on from it.
    On a terminal there is a progress bar, elsewhere a line at each look unless `report` is False.
    """
    _check(learn, held_out)
    frozen = let_learn(model, tuning.layers)
    an_epoch = math.ceil(len(learn) / tuning.size)
    plan = Settings(tuning.epochs * an_epoch, tuning.rate, tuning.warmup, tuning.decay)
    optimizer = adamw(model, plan, partial(factor_of, model=model, tuning=tuning))
    path = None if folder is None else Path(folder) / "tuning.pt"
    made_of = _made_of(model, learn, held_out, tuning, weights) if path else {}
    curve, best = _resume(path, model, optimizer, made_of) if path and path.exists() else ([], {})
    seconds, done, total = (curve[-1].seconds, curve[-1].step, 0.0) if curve else (0.0, 0, 0.0)
    bar = tqdm(total=plan.steps, initial=done, disable=not (report and sys.stderr.isatty()))
    with bar:
        while done < plan.steps and not _is_over(curve, tuning.patience):
            start = time.perf_counter()
            batch, labels = _batch(learn, tuning, done, model.encoder.config.pad)
            for group in optimizer.param_groups:
                group["lr"] = group["factor"] * rate_at(plan, done)
            total += _step(model, optimizer, frozen, batch, labels, tuning, weights, done)
            seconds, done = seconds + time.perf_counter() - start, done + 1
            bar.update()
            if done % (tuning.every or an_epoch) and done < plan.steps:
                continue
            since = done - (curve[-1].step if curve else 0)
            mark = _mark(model, held_out, score, tuning.bfloat16)
            curve.append(Look(done, done / an_epoch, total / since, mark, seconds))
            total = 0.0
            if held_out and best_of(curve) is curve[-1]:
                best = {k: v.detach().clone() for k, v in _learning(model)}
            if report:
                bar.write(_line(curve[-1]), file=sys.stdout)
            if path:
                _keep(path, model, optimizer, made_of, curve, best)
    model.load_state_dict(best, strict=False)
    model.eval()
    return curve


def best_of(curve: Sequence[Look]) -> Look:
    """The look with the highest score, the first of equals; the last one if nothing was scored."""
    scored = [look for look in curve if not math.isnan(look.score)]
    return max(scored, key=lambda look: look.score) if scored else curve[-1]


def _is_over(curve: Sequence[Look], patience: int | None) -> bool:
    """Has the score not risen for so many looks?"""
    if patience is None or not curve or math.isnan(curve[-1].score):
        return False
    return len(curve) - 1 - list(curve).index(best_of(curve)) >= patience


def _batch(
    learn: Sequence[Example], tuning: Tuning, step: int, pad_id: int
) -> tuple[Batch, Shaped[Tensor, "n ..."]]:
    """The examples of a step."""
    epoch, place = divmod(step, math.ceil(len(learn) / tuning.size))
    lengths = tuple(len(example.encoding.ids) for example in learn)
    chosen = _epoch(lengths, tuning.size, tuning.seed, epoch)[place]
    return collate([learn[i] for i in chosen], pad_id)


@lru_cache(maxsize=1)
def _epoch(lengths: tuple[int, ...], size: int, seed: int, epoch: int) -> list[list[int]]:
    return batches_of(lengths, size, generator_of(seed, epoch, 0))


def _step(
    model: Model,
    optimizer: torch.optim.Optimizer,
    frozen: Sequence[nn.Module],
    batch: Batch,
    labels: Shaped[Tensor, "n ..."],
    tuning: Tuning,
    weights: Float[Tensor, " classes"] | None,
    step: int,
) -> float:
    """One update; returns the loss before it."""
    device = next(model.parameters()).device
    weights = None if weights is None else weights.to(device)
    model.train()
    for module in frozen:
        module.eval()
    with torch.random.fork_rng():
        torch.manual_seed(generator_of(tuning.seed, step, 2).initial_seed())
        with torch.autocast(device.type, torch.bfloat16, enabled=tuning.bfloat16):
            output = model(*(x.to(device) for x in batch))
        loss = task_loss(output, labels.to(device), weights)
        optimizer.zero_grad()
        loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), tuning.clip)
    if not loss.isfinite():
        raise ValueError(f"the loss is {loss:.2f} at step {step}; lower the rate, {tuning.rate:g}")
    optimizer.step()
    return loss.item()


# --- what it answers


@torch.no_grad()
def predict(
    model: Model, encodings: Sequence[Encoding], size: int = 64, bfloat16: bool = False
) -> list:
    """The logits for each text, in the order of the texts, on the CPU.

    For a text (classes), for its tokens (seq, classes), for a span Span(start (seq), end (seq));
    padding is cut off. Texts of like length are read together.
    """
    device, answers = next(model.parameters()).device, [None] * len(encodings)
    model.eval()
    for batch in buckets([len(encoding.ids) for encoding in encodings], size):
        texts = [encodings[i] for i in batch]
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            output = model(*(x.to(device) for x in pad(texts, model.encoder.config.pad)))
        for row, (i, text) in enumerate(zip(batch, texts, strict=True)):
            real = len(text.ids)
            if isinstance(output, Span):
                answers[i] = Span(*(x[row, :real].float().cpu() for x in output))
            else:
                answers[i] = (
                    (output[row] if output.dim() == 2 else output[row, :real]).float().cpu()
                )
    return answers


def _mark(
    model: Model, held_out: Sequence[Example], score: Callable | None, bfloat16: bool
) -> float:
    """The score of the held-out examples; nan without any."""
    if not held_out:
        return math.nan
    answers = predict(model, [example.encoding for example in held_out], bfloat16=bfloat16)
    labels = [example.label for example in held_out]
    if score is not None:
        return float(score(answers, labels))
    if isinstance(labels[0], int):
        return accuracy([int(answer.argmax()) for answer in answers], labels)
    each = [_alone(answer, label) for answer, label in zip(answers, labels, strict=True)]
    return -sum(each) / len(each)


def _alone(answer: Tensor | Span, label: object) -> float:
    """The loss of one text."""
    output = Span(*(x[None] for x in answer)) if isinstance(answer, Span) else answer[None]
    return task_loss(output, torch.tensor([label])).item()


def _line(look: Look) -> str:
    held_out = "" if math.isnan(look.score) else f"  held out {look.score:.2f}"
    return f"epoch {look.epoch:.1f}  loss {look.loss:.2f}{held_out}"


# --- what is kept of it


def _check(learn: Sequence[Example], held_out: Sequence[Example]) -> None:
    """Examples that ask nothing, or ask different things, are refused by their number."""
    if not learn:
        raise ValueError("there is no example to learn from; give one at least")
    for i, (encoding, label) in enumerate([*learn, *held_out]):
        if type(label) is not type(learn[0].label):
            raise ValueError(f"example {i} has the label {label!r}, the first {learn[0].label!r}")
        if isinstance(label, list) and set(label) <= {IGNORE_INDEX}:
            raise ValueError(f"example {i} asks nothing of {encoding.pieces}; leave it out")


def _learning(model: Model) -> list[tuple[str, Tensor]]:
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]


def _made_of(
    model: Model,
    learn: Sequence[Example],
    held_out: Sequence[Example],
    tuning: Tuning,
    weights: Float[Tensor, " classes"] | None,
) -> dict:
    """What makes a run what it is, but for the machine."""
    made_of = asdict(tuning)
    del made_of["bfloat16"]
    digests = {"model": list(model.state_dict().items()), "weights of the classes": weights}
    digests |= {"text": [tuple(e) for e in learn], "held-out text": [tuple(e) for e in held_out]}
    return made_of | {name: digest_of(x) for name, x in digests.items()}


def _keep(path, model, optimizer, made_of, curve, best) -> None:
    state = {"made of": made_of, "curve": [tuple(look) for look in curve], "best": best}
    state |= {"model": dict(_learning(model)), "optimizer": optimizer.state_dict()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, partial(torch.save, state))


def _resume(path, model, optimizer, made_of) -> tuple[list[Look], dict]:
    """Fill the model and the optimizer from the file; the curve so far, and the best weights."""
    state = read_state(path, made_of)
    model.load_state_dict(state["model"], strict=False)
    optimizer.load_state_dict(state["optimizer"])
    return [Look(*look) for look in state["curve"]], state["best"]

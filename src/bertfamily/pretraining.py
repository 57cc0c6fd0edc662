"""Pretraining: what the model is asked, and how well it answers.

Devlin et al., 2018, sections 3.1 and A.2 (https://arxiv.org/abs/1810.04805). The masked-token loss
is the mean over the chosen pieces only, and the decoder runs on these only. Where the batches come
from stands in module feeds, the loop in module training.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from bertfamily.counts import Measured
from bertfamily.heads import IGNORE_INDEX
from bertfamily.masking import measure


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
    loss = chosen_loss(tokens, examples.labels[chosen])
    if examples.pairs is None:
        return Losses(loss, torch.zeros_like(loss))
    if pairs is None:
        raise ValueError("there are labels for pairs, but the model has no head for them")
    return Losses(loss, F.cross_entropy(_full(pairs), examples.pairs))


def chosen_loss(logits: Float[Tensor, "n vocab"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    """The mean cross-entropy in nats of the chosen pieces; 0 if none was chosen."""
    return F.cross_entropy(_full(logits), labels, reduction="sum") / max(1, len(labels))


def _full(logits: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """At least single precision: a softmax over a vocabulary in bfloat16 loses too much."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


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
    for *asked, _ in (examples for examples in batches if len(examples.ids)):
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            parts.append(measure(model, *asked))
    nothing = Measured(torch.zeros(0), torch.zeros(0, dtype=torch.bool))
    return Measured(*(torch.cat(part).cpu() for part in zip(nothing, *parts, strict=True)))

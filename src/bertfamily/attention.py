"""Scaled dot-product attention and its several heads (Vaswani et al., 2017, section 3.2).

Paper: https://arxiv.org/abs/1706.03762. What surprises: the divisor is the root of the size of one
head, 64 in BERT-base, and not of the hidden size, 768. Left out: the residual sum and the layer
norm around it, which belong to the encoder.

One convention for every mask: it is called `keep`, it is boolean, True means "may look", and it has
an axis for each axis of the scores, of the same size or of 1. A query that may look at no key gets
weights 0 and output 0, also in the fused kernel, and never nan.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn


def attention_weights(
    query: Float[Tensor, "*batch q d"],
    key: Float[Tensor, "*batch k d"],
    keep: Bool[Tensor, "*#batch #q #k"] | None = None,
) -> Float[Tensor, "*batch q k"]:
    """How much each query looks at each key: softmax(Q Kᵀ / √d), over the keys.

    `keep` is True where a query may look. Each row sums to 1; a row with no key to look at is 0.
    """
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    if keep is None:
        return scores.softmax(dim=-1)
    _check(keep, query, key)
    weights = scores.masked_fill(~keep, -torch.inf).softmax(dim=-1)
    return weights.masked_fill(~keep, 0.0)  # the softmax of a row of -inf is nan


def attention(
    query: Float[Tensor, "*batch q d"],
    key: Float[Tensor, "*batch k d"],
    value: Float[Tensor, "*batch k v"],
    keep: Bool[Tensor, "*#batch #q #k"] | None = None,
    dropout: float = 0.0,
) -> Float[Tensor, "*batch q v"]:
    """softmax(Q Kᵀ / √d) V, by PyTorch's fused kernel, which, where it applies, stores no weights.

    Equal to `attention_weights(query, key, keep) @ value` up to rounding. `dropout` is the share of
    weights set to 0 at random, while the rest grow by 1 / (1 - dropout); pass 0 outside training.
    """
    if keep is not None:
        _check(keep, query, key)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=keep, dropout_p=dropout)


def causal_keep(seq: int) -> Bool[Tensor, "{seq} {seq}"]:
    """True where a token looks at itself or to its left: the lower triangle."""
    return torch.ones(seq, seq, dtype=torch.bool).tril()


def split_heads(
    x: Float[Tensor, "*batch seq hidden"], heads: int
) -> Float[Tensor, "*batch {heads} seq size"]:
    """Cut each vector into `heads` consecutive parts of size hidden / heads; heads come first."""
    return x.unflatten(-1, (heads, -1)).transpose(-3, -2)


def join_heads(x: Float[Tensor, "*batch heads seq size"]) -> Float[Tensor, "*batch seq hidden"]:
    """Put the parts of each token side by side again: the inverse of `split_heads`."""
    return x.transpose(-3, -2).flatten(-2)


class Attended(NamedTuple):
    """What a layer of attention returns; `weights` is None unless asked for."""

    output: Float[Tensor, "batch q hidden"]
    weights: Float[Tensor, "batch heads q k"] | None


class MultiHeadAttention(nn.Module):
    """MultiHead(X) = Concat(head₁, …, head_h) Wᴼ, with head_i = Attention(Q_i, K_i, V_i).

    Vaswani et al., section 3.2.2. Q_i is part i of the queries X W + b, and so on; unlike the
    paper's, each map has a bias, as in BERT. `query_key_value` holds the maps of Q, K and V side
    by side, so more heads cost no more parameters. `dropout` acts on the weights, in training.
    """

    def __init__(self, hidden: int, heads: int, dropout: float = 0.0):
        super().__init__()
        if heads < 1 or hidden < 1 or hidden % heads:
            raise ValueError(
                f"hidden={hidden} is not a multiple of heads={heads}; all heads have one size"
            )
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout={dropout} is not a share; choose 0 <= dropout < 1")
        self.heads = heads
        self.dropout = dropout
        self.query_key_value = nn.Linear(hidden, 3 * hidden)
        self.output = nn.Linear(hidden, hidden)

    def forward(
        self,
        x: Float[Tensor, "batch q hidden"],
        memory: Float[Tensor, "batch k hidden"] | None = None,
        keep: Bool[Tensor, "#batch #q #k"] | None = None,
        with_weights: bool = False,
    ) -> Attended:
        """Each token of `x` looks at the tokens of `memory`, or of `x` itself (self-attention).

        `keep` is True where a query may look: `causal_keep(q)[None]` for all sequences alike, or
        `real[:, None, :]` for a padded batch with `real` of shape (batch, k), True at real tokens.
        The weights that come on request are those before dropout.
        """
        if memory is None:
            projected = self.query_key_value(x).chunk(3, dim=-1)
        else:
            hidden = x.shape[-1]
            maps, biases = self.query_key_value.weight, self.query_key_value.bias
            of_memory = F.linear(memory, maps[hidden:], biases[hidden:])
            projected = F.linear(x, maps[:hidden], biases[:hidden]), *of_memory.chunk(2, dim=-1)
        query, key, value = (split_heads(part, self.heads) for part in projected)
        if keep is not None:
            _check(keep, x, x if memory is None else memory)
            keep = keep[:, None]  # one mask for all heads
        dropout = self.dropout if self.training else 0.0
        weights = None
        if with_weights:
            weights = attention_weights(query, key, keep)
            mixed = F.dropout(weights, dropout) @ value
        else:
            mixed = attention(query, key, value, keep, dropout)
        return Attended(self.output(join_heads(mixed)), weights)


def _check(keep: Tensor, query: Tensor, key: Tensor) -> None:
    """Refuse a mask that PyTorch would read as something else: it adds numbers to the scores."""
    if keep.dtype != torch.bool:
        raise TypeError(
            f"keep has dtype {keep.dtype}; pass booleans, True = may look (1 and 0: keep.bool())"
        )
    scores = *query.shape[:-1], key.shape[-2]
    fits = len(keep.shape) == len(scores)
    if not fits or any(n not in (1, m) for n, m in zip(keep.shape, scores, strict=True)):
        raise ValueError(
            f"keep has shape {tuple(keep.shape)}, the scores {scores}; it needs as many axes, each "
            "of the same size or of 1. For real tokens of shape (batch, k) pass real[:, None, :], "
            "for a mask (q, k) that holds for all keep[None]"
        )

"""The encoder of the whole family: BERT, and in the config of each relative what it changes.

Devlin et al., 2018, section 3 (https://arxiv.org/abs/1810.04805), and google-research/bert. As in
the original, each layer norm comes after its residual sum, and there is one more after the
embeddings. Left out: what stands on top of the encoder (module heads) and the names under which
checkpoints store its parameters (module checkpoints).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from bertfamily.attention import MultiHeadAttention

Activation = Callable[[Tensor], Tensor]
gelu_tanh = partial(F.gelu, approximate="tanh")  # Google's form; off by up to 5e-4


@dataclass(frozen=True)
class Config:
    """The sizes of an encoder and what a relative changes. The defaults are BERT-base, uncased."""

    vocab: int = 30_522
    hidden: int = 768
    layers: int = 12
    heads: int = 12
    inner: int = 3_072
    positions: int = 512  # rows of the position table
    segments: int = 2  # rows of the segment table; 0: there is none
    embedding: int | None = None  # size of the tables, then mapped to `hidden`; None: no map
    pad: int = 0  # the id of the padding token
    positions_after_pad: bool = False  # real tokens count from pad + 1, padding stands at pad
    shared: bool = False  # one layer, used `layers` times
    pooled: bool = True  # a map and a tanh on the first token
    activation: Activation = F.gelu  # exact, with erf
    masked_token: Activation | None = None  # in the masked-token head; None: the one above
    classify: Activation | None = None  # in the sequence head; None: it reads the pooled vector
    eps: float = 1e-12  # of the layer norms
    dropout: float = 0.1
    attention_dropout: float = 0.1
    classify_dropout: float | None = None  # in the sequence head; None: `dropout`

    def __post_init__(self):
        for name in ("vocab", "hidden", "layers", "heads", "inner", "positions"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: there must be one at least")
        if not 0 <= self.pad < self.vocab:
            raise ValueError(f"pad={self.pad} is not an id: there are {self.vocab}, from 0")


@dataclass(frozen=True)
class Bert(Config):
    """BERT (https://arxiv.org/abs/1810.04805), and all that share its architecture."""


@dataclass(frozen=True)
class Roberta(Config):
    """RoBERTa (https://arxiv.org/abs/1907.11692): vocabulary, one segment, two more positions."""

    vocab: int = 50_265
    positions: int = 514
    segments: int = 1
    pad: int = 1
    positions_after_pad: bool = True
    masked_token: Activation | None = F.gelu
    classify: Activation | None = torch.tanh
    eps: float = 1e-5


@dataclass(frozen=True)
class Distilbert(Config):
    """DistilBERT (https://arxiv.org/abs/1910.01108): half the layers, no segments, no pooler."""

    layers: int = 6
    segments: int = 0
    pooled: bool = False
    classify: Activation | None = F.relu
    classify_dropout: float | None = 0.2


@dataclass(frozen=True)
class Albert(Config):
    """ALBERT, version 2 (https://arxiv.org/abs/1909.11942): small tables, one layer for all."""

    vocab: int = 30_000
    embedding: int | None = 128
    shared: bool = True
    activation: Activation = gelu_tanh
    dropout: float = 0.0
    attention_dropout: float = 0.0
    classify_dropout: float | None = 0.1


@dataclass(frozen=True)
class Electra(Config):
    """ELECTRA (https://arxiv.org/abs/2003.10555): small tables in some sizes, no pooler."""

    pooled: bool = False
    masked_token: Activation | None = F.gelu
    classify: Activation | None = F.gelu


class Embeddings(nn.Module):
    """Token + segment + position, layer norm, dropout, and a map to `hidden` if need be."""

    def __init__(self, config: Config):
        super().__init__()
        size = config.embedding or config.hidden
        self.pad = config.pad
        self.positions_after_pad = config.positions_after_pad
        # The row of the padding token gets no gradient, as in the checkpoints' own training.
        self.token = nn.Embedding(config.vocab, size, padding_idx=config.pad)
        self.position = nn.Embedding(
            config.positions, size, padding_idx=config.pad if config.positions_after_pad else None
        )
        self.segment = nn.Embedding(config.segments, size) if config.segments else None
        self.norm = nn.LayerNorm(size, eps=config.eps)
        self.dropout = nn.Dropout(config.dropout)
        self.map = nn.Linear(size, config.hidden) if config.embedding else nn.Identity()

    def forward(
        self, ids: Int[Tensor, "batch seq"], segments: Int[Tensor, "batch seq"] | None = None
    ) -> Float[Tensor, "batch seq hidden"]:
        """One vector for each token; without `segments` all tokens are of the first."""
        positions = self.positions_of(ids)
        if positions.max() >= (rows := self.position.num_embeddings):
            longest = rows - (self.pad + 1 if self.positions_after_pad else 0)
            raise ValueError(
                f"a text of {ids.shape[1]} tokens is too long: there are positions for {longest}; "
                "cut it, or read it in windows"
            )
        x = self.token(ids) + self.position(positions)
        if self.segment is not None:
            x = x + self.segment(torch.zeros_like(ids) if segments is None else segments)
        return self.map(self.dropout(self.norm(x)))

    def positions_of(self, ids: Int[Tensor, "batch seq"]) -> Int[Tensor, "#batch seq"]:
        """0, 1, 2, …; in RoBERTa 2, 3, 4, … for real tokens and 1 for padding."""
        if not self.positions_after_pad:
            return torch.arange(ids.shape[1], device=ids.device)[None]
        real = (ids != self.pad).long()
        return real.cumsum(dim=1) * real + self.pad


class FeedForward(nn.Module):
    """W₂ activation(W₁ x + b₁) + b₂, at each token by itself."""

    def __init__(self, config: Config):
        super().__init__()
        self.widen = nn.Linear(config.hidden, config.inner)
        self.activation = config.activation
        self.narrow = nn.Linear(config.inner, config.hidden)

    def forward(self, x: Float[Tensor, "*batch hidden"]) -> Float[Tensor, "*batch hidden"]:
        return self.narrow(self.activation(self.widen(x)))


class Layer(nn.Module):
    """x ← norm(x + attention(x)), x ← norm(x + feed-forward(x)), with dropout before each sum."""

    def __init__(self, config: Config):
        super().__init__()
        self.attention = MultiHeadAttention(config.hidden, config.heads, config.attention_dropout)
        self.attention_norm = nn.LayerNorm(config.hidden, eps=config.eps)
        self.feed_forward = FeedForward(config)
        self.feed_forward_norm = nn.LayerNorm(config.hidden, eps=config.eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Float[Tensor, "batch seq hidden"],
        keep: Bool[Tensor, "#batch #seq seq"] | Bool[Tensor, "seq seq"] | None = None,
        with_weights: bool = False,
    ) -> tuple[Float[Tensor, "batch seq hidden"], Float[Tensor, "batch heads seq seq"] | None]:
        mixed, weights = self.attention(x, keep=keep, with_weights=with_weights)
        x = self.attention_norm(x + self.dropout(mixed))
        x = self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))
        return x, weights


class Encoded(NamedTuple):
    """What an encoder returns; `states` and `weights` are empty unless asked for."""

    output: Float[Tensor, "batch seq hidden"]  # of the last layer
    pooled: Float[Tensor, "batch hidden"] | None  # of the first token; None without a pooler
    states: tuple[Tensor, ...] = ()  # layers + 1 of (batch, seq, hidden), the embeddings first
    weights: tuple[Tensor, ...] = ()  # layers of (batch, heads, seq, seq)


class Encoder(nn.Module):
    """Embeddings, a stack of layers and, where the config says so, a pooler."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        stored = 1 if config.shared else config.layers
        self.layers = nn.ModuleList(Layer(config) for _ in range(stored))
        self.pooler = nn.Linear(config.hidden, config.hidden) if config.pooled else None

    def forward(
        self,
        ids: Int[Tensor, "batch seq"],
        segments: Int[Tensor, "batch seq"] | None = None,
        keep: Bool[Tensor, "batch seq"] | Bool[Tensor, "#batch seq seq"] | None = None,
        with_states: bool = False,
        with_weights: bool = False,
    ) -> Encoded:
        """Read `ids`; `keep` is True at real tokens, or (batch, seq, seq) where one may look."""
        keep = keep[:, None, :] if keep is not None and keep.dim() == 2 else keep
        x = self.embeddings(ids, segments)
        states, weights = [x] if with_states else [], []
        for i in range(self.config.layers):
            x, seen = self.layers[i % len(self.layers)](x, keep, with_weights)
            if with_states:
                states.append(x)
            if with_weights:
                weights.append(seen)
        pooled = None if self.pooler is None else self.pooler(x[:, 0]).tanh()
        return Encoded(x, pooled, tuple(states), tuple(weights))


def encode_by_length(
    encoder: Encoder,
    ids: Int[Tensor, "batch seq"],
    segments: Int[Tensor, "batch seq"] | None,
    keep: Bool[Tensor, "batch seq"],
    width: int = 40,
) -> Encoded:
    """`encoder(ids, segments, keep)`, without most of the work that goes into padding.

    Texts whose lengths lie within `width` tokens are read together and cut to the longest of them.
    Equal to the plain call at real tokens, up to rounding; at padding the output is 0.
    """
    lengths = keep.sum(dim=1)
    if not torch.equal(keep, torch.arange(keep.shape[1], device=keep.device) < lengths[:, None]):
        raise ValueError(
            "keep is not padding on the right: each text must stand at the start of its row"
        )
    group = (lengths - 1).div(width, rounding_mode="floor")
    order, outputs, pooled = [], [], []
    for rows in [(group == g).nonzero()[:, 0] for g in group.unique()]:
        longest = int(lengths[rows].max())
        part = encoder(
            ids[rows, :longest],
            None if segments is None else segments[rows, :longest],
            None if (lengths[rows] == longest).all() else keep[rows, :longest],
        )
        order.append(rows)
        outputs.append(F.pad(part.output, (0, 0, 0, keep.shape[1] - longest)))
        pooled.append(part.pooled)
    back = torch.cat(order).argsort()
    output = torch.cat(outputs)[back].masked_fill(~keep[:, :, None], 0.0)
    return Encoded(output, None if encoder.pooler is None else torch.cat(pooled)[back])

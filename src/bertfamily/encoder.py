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
gelu_tanh = partial(F.gelu, approximate="tanh")  # Google's form since 2019; off by up to 5e-4


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
    eps: float = 1e-12  # of the layer norms
    dropout: float = 0.1
    attention_dropout: float = 0.1

    def __post_init__(self):
        for name in ("vocab", "hidden", "layers", "heads", "inner", "positions"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: there must be one at least")
        if self.segments < 0 or (self.embedding is not None and self.embedding < 1):
            raise ValueError(f"segments={self.segments}, embedding={self.embedding}: too few")
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
    eps: float = 1e-5


@dataclass(frozen=True)
class Distilbert(Config):
    """DistilBERT (https://arxiv.org/abs/1910.01108): half the layers, no segments, no pooler."""

    layers: int = 6
    segments: int = 0
    pooled: bool = False


@dataclass(frozen=True)
class Albert(Config):
    """ALBERT, version 2 (https://arxiv.org/abs/1909.11942): small tables, one layer for all."""

    vocab: int = 30_000
    embedding: int | None = 128
    shared: bool = True
    activation: Activation = gelu_tanh
    dropout: float = 0.0
    attention_dropout: float = 0.0


@dataclass(frozen=True)
class Electra(Config):
    """ELECTRA (https://arxiv.org/abs/2003.10555): small tables in some sizes, no pooler."""

    pooled: bool = False


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
        if ids.dim() != 2 or not ids.numel():
            raise ValueError(
                f"ids has shape {tuple(ids.shape)}; an encoder reads (batch, seq), one token at "
                "least; for a single text pass ids[None]"
            )
        _check_rows("id", ids, self.token, "do the tokenizer and the model belong together?")
        positions = self.positions_of(ids)
        if positions.max() >= (rows := self.position.num_embeddings):
            longest = rows - (self.pad + 1 if self.positions_after_pad else 0)
            raise ValueError(
                f"a text of {ids.shape[1]} tokens is too long: there are positions for {longest}; "
                "cut it, or read it in windows"
            )
        x = self.token(ids) + self.position(positions)
        if self.segment is not None:
            segments = torch.zeros_like(ids) if segments is None else segments
            _check_rows("segment", segments, self.segment, "pass 0 or 1, in RoBERTa None")
            x = x + self.segment(segments)
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
        keep: Bool[Tensor, "#batch #seq seq"] | None = None,
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
        x = self.embeddings(ids, segments)
        if keep is not None and keep.dim() == 2:
            _check_real(keep, ids)
            keep = keep[:, None, :]
        states, weights = [x] if with_states else [], []
        for i in range(self.config.layers):
            x, seen = self.layers[i % len(self.layers)](x, keep, with_weights)
            if with_states:
                states.append(x)
            if with_weights:
                weights.append(seen)
        pooled = None if self.pooler is None else self.pooler(x[:, 0]).tanh()
        return Encoded(x, pooled, tuple(states), tuple(weights))


def _check_rows(name: str, numbers: Tensor, table: nn.Embedding, remedy: str) -> None:
    """Refuse what has no row in the table, by its number, which the table does not tell."""
    rows = table.num_embeddings
    for number in map(int, numbers.aminmax()):
        if not 0 <= number < rows:
            raise ValueError(f"there is no {name} {number}: there are {rows}, from 0; {remedy}")


def _check_real(keep: Tensor, ids: Tensor) -> None:
    """Refuse a mask that is not (batch, seq). A square one of (q, k) is known by its looks.

    With True all along the diagonal it is a triangle or its own mirror image, as padding on one
    side never is (but for n texts of 1, 2, …, n tokens).
    """
    if keep.shape != ids.shape:
        raise ValueError(
            f"keep has shape {tuple(keep.shape)}, ids {tuple(ids.shape)}; pass True at real tokens,"
            " (batch, seq), or where each token may look, (batch or 1, seq, seq)"
        )
    square = len(keep) == keep.shape[1] and keep.diagonal().all() and not keep.all()
    if square and any(torch.equal(keep, other) for other in (keep.tril(), keep.triu(), keep.T)):
        raise ValueError(
            f"keep of shape {tuple(keep.shape)} looks like a mask of (q, k), and would be read as "
            "the real tokens of each text; pass keep[None]"
        )

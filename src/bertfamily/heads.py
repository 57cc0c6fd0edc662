"""What stands on the encoder: heads for pretraining and for tasks, and the models that join both.

Devlin et al., 2018, sections 3.1 and 4 (https://arxiv.org/abs/1810.04805); for the relatives, their
published code. A model reads (ids, segments, keep) and returns logits, before any softmax. What
surprises: the masked-token head has no decoder matrix of its own, it uses the token table.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from bertfamily.encoder import Activation, Albert, Config, Distilbert, Electra, Encoder, Roberta

IGNORE_INDEX = -100  # the label that F.cross_entropy skips by default
IS_NEXT = 0  # next-sentence labels of Google's and Hugging Face's BERT
IS_RANDOM = 1
IN_ORDER = 0  # sentence-order labels of ALBERT
SWAPPED = 1

Ids = Int[Tensor, "batch seq"]
Keep = Bool[Tensor, "batch seq"] | Bool[Tensor, "#batch seq seq"]


class Heads(NamedTuple):
    """What a relative changes in the heads. The defaults are BERT's."""

    masked_token: Activation | None = None  # None: the activation of the layers
    classify: Activation | None = None  # of a text; None: that head reads the pooled vector
    dropout_twice: bool = False  # before each of the two maps that classify a text
    text_dropout: float | None = None  # None: that of the config
    token_dropout: float | None = None  # of tagging; None: that of the config


HEADS: Mapping[type[Config], Heads] = {
    Roberta: Heads(masked_token=F.gelu, classify=torch.tanh, dropout_twice=True),
    Distilbert: Heads(classify=F.relu, text_dropout=0.2),
    Albert: Heads(text_dropout=0.1, token_dropout=0.1),
    Electra: Heads(masked_token=F.gelu, classify=F.gelu, dropout_twice=True),
}


def _heads(config: Config) -> Heads:
    return HEADS.get(type(config), Heads())


def _dropout(*rates: float | None) -> nn.Dropout:
    """With the first rate that is given."""
    return nn.Dropout(next(rate for rate in rates if rate is not None))


class MaskedTokenHead(nn.Module):
    """norm(activation(W x + b)) Eᵀ + c, with E the token table of the encoder."""

    def __init__(self, config: Config):
        super().__init__()
        size = config.embedding or config.hidden
        self.transform = nn.Linear(config.hidden, size)
        self.activation = _heads(config).masked_token or config.activation
        self.norm = nn.LayerNorm(size, eps=config.eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab))

    def forward(
        self, x: Float[Tensor, "*batch hidden"], table: Float[Tensor, "vocab size"]
    ) -> Float[Tensor, "*batch vocab"]:
        return F.linear(self.norm(self.activation(self.transform(x))), table, self.bias)


class Model(nn.Module):
    """An encoder and what stands on it; each subclass adds a head and reads the encoder."""

    pooled = False  # does the head read the pooled vector?

    def __init__(self, config: Config):
        super().__init__()
        self.encoder = Encoder(replace(config, pooled=config.pooled and self.pooled))


class MaskedTokenModel(Model):
    """Logits over the vocabulary for each token, or for the `chosen` ones only."""

    def __init__(self, config: Config):
        super().__init__(config)
        self.masked_token = MaskedTokenHead(config)

    def forward(
        self,
        ids: Ids,
        segments: Ids | None = None,
        keep: Keep | None = None,
        chosen: Bool[Tensor, "batch seq"] | None = None,
    ) -> Float[Tensor, "... vocab"]:
        x = self.encoder(ids, segments, keep).output
        return self.masked_token(
            x if chosen is None else x[chosen], self.encoder.embeddings.token.weight
        )


class Pretrained(NamedTuple):
    """The logits of the two pretraining tasks."""

    tokens: Float[Tensor, "... vocab"]
    pairs: Float[Tensor, "batch 2"]


class PretrainingModel(Model):
    """BERT as it is pretrained, and ALBERT: masked tokens, and next sentence or sentence order."""

    pooled = True

    def __init__(self, config: Config):
        super().__init__(config)
        self.masked_token = MaskedTokenHead(config)
        self.pair = nn.Linear(config.hidden, 2)

    def forward(
        self,
        ids: Ids,
        segments: Ids | None = None,
        keep: Keep | None = None,
        chosen: Bool[Tensor, "batch seq"] | None = None,
    ) -> Pretrained:
        """Token logits for each token, or for the `chosen` ones only, and the pair logits."""
        output, pooled, *_ = self.encoder(ids, segments, keep)
        x = output if chosen is None else output[chosen]
        table = self.encoder.embeddings.token.weight
        return Pretrained(self.masked_token(x, table), self.pair(pooled))


class PairModel(Model):
    """Next-sentence logits alone: column IS_NEXT, column IS_RANDOM."""

    pooled = True

    def __init__(self, config: Config):
        super().__init__(config)
        self.pair = nn.Linear(config.hidden, 2)

    def forward(
        self, ids: Ids, segments: Ids | None = None, keep: Keep | None = None
    ) -> Float[Tensor, "batch 2"]:
        return self.pair(self.encoder(ids, segments, keep).pooled)


class ReplacedTokenModel(Model):
    """ELECTRA's discriminator: a logit for each token, positive where it seems replaced."""

    def __init__(self, config: Config):
        super().__init__(config)
        self.dense = nn.Linear(config.hidden, config.hidden)
        self.activation = config.activation
        self.replaced = nn.Linear(config.hidden, 1)

    def forward(
        self, ids: Ids, segments: Ids | None = None, keep: Keep | None = None
    ) -> Float[Tensor, "batch seq"]:
        x = self.encoder(ids, segments, keep).output
        return self.replaced(self.activation(self.dense(x))).squeeze(-1)


class SequenceModel(Model):
    """Logits of a text or a pair, from the pooled vector or from the first token and a map."""

    pooled = True

    def __init__(self, config: Config, classes: int, dropout: float | None = None):
        heads = _heads(config)
        super().__init__(replace(config, pooled=config.pooled and heads.classify is None))
        self.activation, self.dropout_twice = heads.classify, heads.dropout_twice
        self.dense = nn.Linear(config.hidden, config.hidden) if heads.classify else None
        self.dropout = _dropout(dropout, heads.text_dropout, config.dropout)
        self.classes = nn.Linear(config.hidden, classes)

    def forward(
        self, ids: Ids, segments: Ids | None = None, keep: Keep | None = None
    ) -> Float[Tensor, "batch classes"]:
        output, pooled, *_ = self.encoder(ids, segments, keep)
        if self.dense is not None:
            first = self.dropout(output[:, 0]) if self.dropout_twice else output[:, 0]
            pooled = self.activation(self.dense(first))
        return self.classes(self.dropout(pooled))


class TokenModel(Model):
    """Logits for each token: tagging."""

    def __init__(self, config: Config, classes: int, dropout: float | None = None):
        super().__init__(config)
        self.dropout = _dropout(dropout, _heads(config).token_dropout, config.dropout)
        self.classes = nn.Linear(config.hidden, classes)

    def forward(
        self, ids: Ids, segments: Ids | None = None, keep: Keep | None = None
    ) -> Float[Tensor, "batch seq classes"]:
        return self.classes(self.dropout(self.encoder(ids, segments, keep).output))


class Span(NamedTuple):
    """Logits of where an answer starts and ends."""

    start: Float[Tensor, "batch seq"]
    end: Float[Tensor, "batch seq"]


class SpanModel(Model):
    """For each token, how well an answer starts there and how well it ends there."""

    def __init__(self, config: Config):
        super().__init__(config)
        self.ends = nn.Linear(config.hidden, 2)

    def forward(self, ids: Ids, segments: Ids | None = None, keep: Keep | None = None) -> Span:
        return Span(*self.ends(self.encoder(ids, segments, keep).output).unbind(dim=-1))


def token_loss(
    logits: Float[Tensor, "*batch classes"], labels: Int[Tensor, "*batch"]
) -> Float[Tensor, ""]:
    """Mean cross-entropy in nats over the labels that are not IGNORE_INDEX.

    For masked tokens, tags, texts and pairs alike; BERT's pretraining loss is the sum of two.
    """
    return F.cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORE_INDEX)


def replaced_loss(
    logits: Float[Tensor, "batch seq"],
    replaced: Bool[Tensor, "batch seq"],
    keep: Bool[Tensor, "batch seq"] | None = None,
) -> Float[Tensor, ""]:
    """Mean binary cross-entropy in nats over the real tokens (ELECTRA, section 2)."""
    if keep is not None:
        logits, replaced = logits[keep], replaced[keep]
    return F.binary_cross_entropy_with_logits(logits, replaced.to(logits.dtype))


def span_loss(
    span: Span, start: Int[Tensor, " batch"], end: Int[Tensor, " batch"]
) -> Float[Tensor, ""]:
    """Mean over start and end of the cross-entropy, in nats, of where the answer is."""
    return (F.cross_entropy(span.start, start) + F.cross_entropy(span.end, end)) / 2

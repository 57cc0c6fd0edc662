"""Vectors of whole texts, how they are learnt, and how the nearest of many texts are found.

Reimers and Gurevych, 2019 (https://arxiv.org/abs/1908.10084) for the two ways to compare texts:
read both together (a cross-encoder: `together`), or each alone and compare two vectors (a
bi-encoder). Formal et al., 2021 (https://arxiv.org/abs/2107.05720) for vectors with a number for
each piece of the vocabulary, most of them 0. What surprises: a search reads no text but the
question, for the vectors of the collection were made before.
"""

import math
import random
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Int8
from torch import Tensor, nn

from bertfamily.batches import Batch, buckets, pad
from bertfamily.counts import Interval
from bertfamily.encoder import Encoder
from bertfamily.feeds import generator_of
from bertfamily.finetuning import Example, Tuning, batches_of
from bertfamily.heads import MaskedTokenModel
from bertfamily.metrics import spearman
from bertfamily.training import Settings, adamw, rate_at
from bertfamily.wordpiece import Encoding, Tokenizer

# --- a text as a vector


def unit(vectors: Float[Tensor, "*n hidden"]) -> Float[Tensor, "*n hidden"]:
    """The same directions at length 1, so that a product of two is their cosine."""
    return F.normalize(vectors, dim=-1)


def mean_vectors(
    output: Float[Tensor, "batch seq hidden"], keep: Bool[Tensor, "batch seq"]
) -> Float[Tensor, "batch hidden"]:
    """The mean of the last vectors over the real tokens, padding left out."""
    weights = keep[:, :, None].to(output.dtype)
    return (output * weights).sum(dim=1) / weights.sum(dim=1)


def first_vectors(
    output: Float[Tensor, "batch seq hidden"], keep: Bool[Tensor, "batch seq"] | None = None
) -> Float[Tensor, "batch hidden"]:
    """The last vector of [CLS]."""
    return output[:, 0]


@torch.no_grad()
def vectors_of(
    encoder: Encoder, encodings: Sequence[Encoding], pooling=mean_vectors, size: int = 64
) -> Float[Tensor, "texts hidden"]:
    """A vector of length 1 for each text, in the order of the texts.

    Texts of like length are read together.
    """
    encoder.eval()
    found = torch.empty(len(encodings), encoder.config.hidden)
    for some in buckets([len(encoding.ids) for encoding in encodings], size):
        batch = pad([encodings[i] for i in some], encoder.config.pad)
        found[some] = unit(_pooled(encoder, batch, pooling)).float()
    return found


def _pooled(encoder: Encoder, batch: Batch, pooling) -> Float[Tensor, "batch hidden"]:
    device = next(encoder.parameters()).device
    output = encoder(*(x.to(device) for x in batch)).output
    return pooling(output, batch.keep.to(device)).cpu()


# --- learn vectors


def info_nce(
    first: Float[Tensor, "pairs hidden"],
    second: Float[Tensor, "pairs hidden"],
    temperature: float = 0.05,
) -> Float[Tensor, ""]:
    """How badly each text finds its partner among all second texts of the batch, in nats.

    The mean over i of -log softmax_j(cos(first i, second j) / temperature) at j = i: the others are
    the negatives (as in Gao et al., 2021, https://arxiv.org/abs/2104.08821).
    """
    if not temperature > 0:
        raise ValueError(f"temperature={temperature}: it must be above 0, such as 0.05")
    if len(first) < 2:
        raise ValueError(f"{len(first)} pairs: without a second one there is no negative")
    scores = unit(first) @ unit(second).T / temperature
    return F.cross_entropy(scores, torch.arange(len(scores), device=scores.device))


def contrast(
    encoder: Encoder,
    pairs: Sequence[tuple[Encoding, Encoding]],
    tuning: Tuning,
    pooling=mean_vectors,
    temperature: float = 0.05,
) -> list[float]:
    """Train the encoder in place: the texts of a pair come together, all others move apart.

    Of `tuning` epochs, size, rate, warmup, decay, clip and seed are used. Returns the loss of each
    step. Pairs of like length are read together; a batch of one pair is left out.
    """
    if len(pairs) < 2:
        raise ValueError(f"{len(pairs)} pairs: give two at least, each is a negative of the other")
    lengths = [len(a.ids) + len(b.ids) for a, b in pairs]
    plan = [
        some
        for epoch in range(tuning.epochs)
        for some in batches_of(lengths, tuning.size, generator_of(tuning.seed, epoch, 0))
        if len(some) > 1
    ]
    settings = Settings(len(plan), tuning.rate, tuning.warmup, tuning.decay)
    optimizer, losses = adamw(encoder, settings), []
    encoder.train()
    with torch.random.fork_rng():
        for step, some in enumerate(plan):
            torch.manual_seed(generator_of(tuning.seed, step, 2).initial_seed())
            for group in optimizer.param_groups:
                group["lr"] = rate_at(settings, step)
            first, second = (
                _pooled(encoder, pad([pairs[i][side] for i in some], encoder.config.pad), pooling)
                for side in (0, 1)
            )
            loss = info_nce(first, second, temperature)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(encoder.parameters(), tuning.clip)
            optimizer.step()
            losses.append(loss.item())
    encoder.eval()
    return losses


# --- read together


def together(
    tokenizer: Tokenizer, pairs: Sequence[tuple[str, str]], labels: Sequence, longest: int = 128
) -> list[Example]:
    """[CLS] first [SEP] second [SEP], as a cross-encoder reads the two texts of each pair."""
    return [
        Example(tokenizer.encode(first, second, longest=longest), label)
        for (first, second), label in zip(pairs, labels, strict=True)
    ]


def readings(texts: int) -> tuple[int, int]:
    """To compare each two of so many texts: how many pairs, and how many texts, must be read."""
    if texts < 0:
        raise ValueError(f"texts={texts}: it is a number of texts, 0 or more")
    return math.comb(texts, 2), texts


def folds(groups: Sequence[Hashable], count: int, seed: int) -> list[list[int]]:
    """The numbers of the items in `count` parts; those of one group are in the same part."""
    names = list(dict.fromkeys(groups))
    if not 2 <= count <= len(names):
        raise ValueError(f"count={count}: from 2 to the number of groups, {len(names)}")
    random.Random(seed).shuffle(names)
    part = {name: i % count for i, name in enumerate(names)}
    return [[i for i, group in enumerate(groups) if part[group] == k] for k in range(count)]


# --- a text as weights of pieces


def expand(
    logits: Float[Tensor, "batch seq vocab"], keep: Bool[Tensor, "batch seq"]
) -> Float[Tensor, "batch vocab"]:
    """The most of log(1 + relu(logit)) over all real tokens: (batch, vocab), most of them 0.

    The logarithm is that of Formal et al., 2021 (https://arxiv.org/abs/2107.05720), who add over
    the tokens; the maximum is that of their second version (https://arxiv.org/abs/2109.10086).
    """
    if not keep.all():
        logits = logits.masked_fill(~keep[:, :, None], -torch.inf)
    return logits.amax(dim=1).relu().log1p()


class Sparse(NamedTuple):
    """The heaviest pieces of each text, and their weights; a weight of 0 fills a short row."""

    pieces: Int[Tensor, "texts top"]
    weights: Float[Tensor, "texts top"]


@torch.no_grad()
def expansions(
    model: MaskedTokenModel, encodings: Sequence[Encoding], top: int = 64, size: int = 4
) -> Sparse:
    """The `top` heaviest pieces of each text by `expand`, the heaviest first."""
    model.eval()
    vocab = model.encoder.config.vocab
    if not 1 <= top <= vocab:
        raise ValueError(f"top={top}: from 1 to the {vocab} pieces of the vocabulary")
    weights = torch.empty(len(encodings), top)
    pieces = torch.empty(len(encodings), top, dtype=torch.long)
    for some in buckets([len(encoding.ids) for encoding in encodings], size):
        batch = pad([encodings[i] for i in some], model.encoder.config.pad)
        weights[some], pieces[some] = expand(model(*batch), batch.keep).topk(top)
    return Sparse(pieces, weights)


def sparse_scores(question: Sparse, texts: Sparse, vocab: int) -> Float[Tensor, "questions texts"]:
    """The product of the weights, added over the pieces that a question and a text share."""
    rows = torch.zeros(len(question.pieces), vocab).scatter_(1, question.pieces, question.weights)
    return torch.stack([(row[texts.pieces] * texts.weights).sum(dim=1) for row in rows])


# --- find


class Hits(NamedTuple):
    """The best texts for each question, best first."""

    texts: Int[Tensor, "questions k"]  # their numbers
    scores: Float[Tensor, "questions k"]


def nearest(
    questions: Float[Tensor, "questions hidden"], texts: Float[Tensor, "texts hidden"], k: int = 10
) -> Hits:
    """The k texts with the greatest product, compared with every one of them: exact, and linear."""
    return best(questions @ texts.T, k)


def best(scores: Float[Tensor, "questions texts"], k: int = 10) -> Hits:
    """The k texts with the highest scores; of equals the first."""
    if not 1 <= k <= scores.shape[1]:
        raise ValueError(f"k={k}: from 1 to the number of texts, {scores.shape[1]}")
    values, order = scores.sort(dim=1, descending=True, stable=True)
    return Hits(order[:, :k], values[:, :k])


def as_int8(vectors: Float[Tensor, "texts hidden"]) -> Int8[Tensor, "texts hidden"]:
    """Each vector scaled so that its greatest number is 127, and rounded; its length is lost."""
    most = vectors.abs().amax(dim=1, keepdim=True)
    if not (most > 0).all():
        raise ValueError("a vector is 0 or nan throughout, and so has no direction to keep")
    return (127 * vectors / most).round().to(torch.int8)


# --- how well it was found


def recall(found: Int[Tensor, "questions k"], wanted: Int[Tensor, "questions m"]) -> float:
    """The proportion of the wanted texts that are among those found, 0 to 1."""
    return (wanted[:, :, None] == found[:, None, :]).any(dim=2).double().mean().item()


def ranks(
    scores: Float[Tensor, "questions texts"], wanted: Int[Tensor, " questions"]
) -> Int[Tensor, " questions"]:
    """The place of the wanted text, from 1; texts with the same score stand before it."""
    of_it = scores.gather(1, wanted[:, None])
    return (scores >= of_it).sum(dim=1)


def reciprocal(ranks: Int[Tensor, " questions"], within: int = 10) -> Float[Tensor, " questions"]:
    """1 / rank, and 0 where it is beyond `within`; the mean over questions is MRR."""
    if len(ranks) and ranks.min() < 1:
        raise ValueError(f"a rank of {int(ranks.min())}: ranks are counted from 1")
    return torch.where(ranks <= within, 1 / ranks.double(), 0.0)


def spearman_interval(
    guesses: Float[Tensor, "seeds pairs"],
    truths: Float[Tensor, " pairs"],
    generator: torch.Generator,
    less: Float[Tensor, "seeds2 pairs"] | None = None,
    draws: int = 500,
) -> Interval:
    """Spearman's correlation, its mean over seeds, and the 95 % interval; or a difference.

    Pairs and seeds are drawn again with replacement. With `less` the two are asked about the same
    pairs in every draw; their seeds are drawn apart, for they are other trainings.
    """
    pairs, found = guesses.shape[1], []

    def mean(of: Float[Tensor, "s n"], some: Tensor | slice, seeds: Sequence[int]) -> float:
        told = truths[some].tolist()
        return sum(spearman(of[i][some].tolist(), told) for i in seeds) / len(seeds)

    def value(some: Tensor | slice, drawn: bool) -> float:
        parts = []
        for of in (guesses, less) if less is not None else (guesses,):
            many = len(of)
            seeds = torch.randint(many, (many,), generator=generator) if drawn else range(many)
            parts.append(mean(of, some, [int(i) for i in seeds]))
        return parts[0] - sum(parts[1:])

    for _ in range(draws):
        found.append(value(torch.randint(pairs, (pairs,), generator=generator), True))
    ends = torch.tensor(found).quantile(torch.tensor([0.025, 0.975]))
    return Interval(value(slice(None), False), *ends.tolist())

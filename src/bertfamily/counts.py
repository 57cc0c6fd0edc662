"""Guess a blank from its neighbours by counting: what every network has to beat.

Symbols may be anything hashable: words in chapter 1, ids of word pieces in chapter 10. One side is
smoothed by interpolation with its shorter context (Jelinek and Mercer, 1980), by the weights of
Witten and Bell (1991), down to an equal share for every symbol of the vocabulary:

    P(x | context) = (count(context, x) + kinds · P(x | shorter context)) / (count(context) + kinds)

with `kinds` the number of different symbols seen in the context. Two sides are joined as if neither
told anything of the other once x is known: P(x | l, r) ∝ P(x | l) · P(x | r) / P(x). It surprises
that this needs no count of both neighbours together. Left out: finer smoothing, as Kneser-Ney's.
"""

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import chain
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

UNKNOWN = "[UNK]"  # every symbol outside the vocabulary
Texts = Sequence[Sequence[Hashable]]


class Measured(NamedTuple):
    """For each blank: -log P of what stands there, and whether that was the first guess."""

    nats: Float[Tensor, " blanks"]
    hits: Bool[Tensor, " blanks"]


class Interval(NamedTuple):
    """A mean and the ends of its 95 % interval."""

    mean: float
    low: float
    high: float

    def __repr__(self) -> str:
        return f"{self.mean:.3f} ({self.low:.3f} to {self.high:.3f})"


class Counts:
    """How often each symbol stands in `texts` beside up to `reach` neighbours, on either side.

    `symbols` are the `size` most frequent ones (None: all), most frequent first, then UNKNOWN.
    The end of a text counts as a neighbour too.
    """

    def __init__(self, texts: Texts, reach: int = 2, size: int | None = None):
        found = Counter(chain.from_iterable(texts))
        if not found or reach < 0 or (size is not None and size < 1):
            saw = f"{len(found)} different symbols, reach={reach}, size={size}"
            raise ValueError(f"{saw}: needed are a symbol, a reach of 0 and a size of 1 at least")
        found.pop(UNKNOWN, None)
        self.symbols = (*(symbol for symbol, _ in found.most_common(size)), UNKNOWN)
        self.ids = {symbol: i for i, symbol in enumerate(self.symbols)}
        self.reach, self.vocab = reach, len(self.symbols)
        ids, _ = self._join(texts)
        places = (ids < self.vocab).nonzero().flatten()
        nothing = torch.zeros_like(places)
        self.alone = _Level(nothing[:1], nothing, ids[places], self.vocab)
        self.sides = {-1: [], 1: []}  # a level for each number of neighbours, by direction
        for step, levels in self.sides.items():
            context = nothing
            for far in range(1, reach + 1):
                longer = context * (self.vocab + 1) + ids[places + step * far]
                numbers, context = torch.unique(longer, return_inverse=True)
                levels.append(_Level(numbers, context, ids[places], self.vocab))

    def probabilities(
        self, texts: Texts, blanks: Int[Tensor, "blanks 2"], left: int = 0, right: int = 0
    ) -> Float[Tensor, "blanks vocab"]:
        """P of every symbol at every blank, from `left` and `right` neighbours; rows sum to 1.

        A blank is (text, place), as `mask.nonzero()` gives them. What stands there is not read.
        """
        return self._shares(*self._places(texts, blanks), left, right)

    def guesses(
        self, text: Sequence[Hashable], place: int, left: int = 0, right: int = 0, count: int = 5
    ) -> list[tuple[Hashable, float]]:
        """The likeliest symbols for one blank, each with its P. UNKNOWN is no guess."""
        if count < 1:
            raise ValueError(f"count={count}: ask for one guess at least")
        (shares,) = self.probabilities([text], torch.tensor([[0, place]]), left, right)
        best = shares[:-1].topk(min(count, self.vocab - 1))
        return [(self.symbols[i], p) for p, i in zip(*map(Tensor.tolist, best), strict=True)]

    def measure(
        self, texts: Texts, blanks: Int[Tensor, "blanks 2"], left: int = 0, right: int = 0
    ) -> Measured:
        """How well the blanks are guessed. UNKNOWN is no guess, so a blank of it is no hit."""
        ids, places = self._places(texts, blanks)
        nats, hits = [torch.zeros(0)], [torch.zeros(0, dtype=torch.bool)]
        for some in places.split(256):  # blanks at once: the table has `vocab` numbers for each
            shares, truth = self._shares(ids, some, left, right), ids[some]
            nats.append(-shares.gather(1, truth[:, None]).flatten().log())
            shares[:, -1] = 0.0
            hits.append(shares.argmax(dim=-1) == truth)
        return Measured(torch.cat(nats), torch.cat(hits))

    def _join(self, texts):
        """The ids of all texts in one row, ends between them, and where each text begins."""
        unknown, ends = self.vocab - 1, [self.vocab] * self.reach
        row, begins = [*ends], []
        for text in texts:
            begins.append(len(row))
            row += [self.ids.get(symbol, unknown) for symbol in text]
            row += ends
        return torch.tensor(row), torch.tensor(begins)

    def _places(self, texts, blanks):
        for text, place in blanks.tolist():
            if not (0 <= text < len(texts) and 0 <= place < len(texts[text])):
                raise ValueError(f"blank ({text}, {place}): these texts have no such place")
        ids, begins = self._join(texts)
        return ids, begins[blanks[:, 0]] + blanks[:, 1]

    def _shares(self, ids, places, left, right):
        if not (0 <= left <= self.reach and 0 <= right <= self.reach):
            raise ValueError(f"left={left}, right={right}: these counts have reach={self.reach}")
        alone = torch.full((1, self.vocab), 1 / self.vocab)
        alone = self.alone.refine(alone, torch.tensor([0]))
        if not (left and right):
            return self._side(alone, ids, places, *((-1, left) if left else (1, right)))
        joined = self._side(alone, ids, places, -1, left)
        joined.mul_(self._side(alone, ids, places, 1, right)).div_(alone)
        return joined.div_(joined.sum(dim=-1, keepdim=True))

    def _side(self, shares, ids, places, step, count):
        context = torch.tensor([0])
        row = torch.zeros_like(places)  # blanks with the same neighbours share a row of `shares`
        base = self.vocab + 1
        for far, level in enumerate(self.sides[step][:count], 1):
            pairs, row = torch.unique(row * base + ids[places + step * far], return_inverse=True)
            shorter, neighbour = pairs // base, pairs % base
            context = level.find(context[shorter] * base + neighbour)
            shares = level.refine(shares[shorter], context)
        return shares[row]


class _Level:
    """What was seen in contexts of one length. A context has a number, found in `numbers`."""

    def __init__(self, numbers, context, symbols, vocab):
        pairs, self.counts = torch.unique(context * vocab + symbols, return_counts=True)
        self.numbers, self.symbols = numbers, pairs % vocab
        self.totals = torch.bincount(context, minlength=len(numbers))
        self.kinds = torch.bincount(pairs // vocab, minlength=len(numbers))
        self.begins = self.kinds.cumsum(0) - self.kinds

    def find(self, numbers):
        """Which contexts have these numbers; -1 for one that was never seen."""
        at = torch.searchsorted(self.numbers, numbers).clamp(max=len(self.numbers) - 1)
        return torch.where(self.numbers[at] == numbers, at, -1)

    def refine(self, shares, context):
        """The formula above: a row of `shares` for each context, given the shorter one."""
        kinds = self.kinds[context] * (context >= 0)
        size = self.totals[context] + kinds
        shares = shares * torch.where(context >= 0, kinds / size, 1.0)[:, None]
        rows = torch.repeat_interleave(torch.arange(len(context)), kinds)
        nth = torch.arange(len(rows)) - (kinds.cumsum(0) - kinds)[rows]
        at = self.begins[context][rows] + nth
        shares[rows, self.symbols[at]] += self.counts[at] / size[rows]
        return shares


def interval(values: Float[Tensor, " blanks"], groups: Int[Tensor, " blanks"]) -> Interval:
    """The mean of `values` and its 95 % interval, had other `groups` been drawn in place of these.

    The blanks of a document are not independent, so documents and not blanks are counted:
    m ± 1.96 · √(G/(G-1) · Σ_g (Σ_{i in g} (v_i - m))²) / n, the normal interval of a ratio.
    """
    _, group = torch.unique(groups, return_inverse=True)
    many = int(group.max()) + 1 if len(group) else 0
    if many < 2:
        raise ValueError(f"{many} groups: an interval needs the blanks of 2 documents at least")
    values = values.double()
    mean = values.mean()
    sums = torch.zeros(many, dtype=torch.float64).index_add(0, group, values - mean)
    half = 1.96 * math.sqrt(many / (many - 1) * sums.square().sum()) / len(values)
    return Interval(mean.item(), mean.item() - half, mean.item() + half)

"""Feeds: the batches of a training, each a function of the seed and the number of its step.

So a run that was stopped can go on with the batches that it would have had, and several processes
that share each batch draw the same one. Left out: feeds that read while the model computes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial

import torch
from jaxtyping import Int
from torch import Tensor

from bertfamily.batches import pad
from bertfamily.masking import mask_tokens
from bertfamily.pairs import Pair
from bertfamily.pretraining import Examples
from bertfamily.wordpiece import Encoding, Tokenizer


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
    return torch.randperm(count, generator=generator_of(seed, epoch, 0)).tolist()


def generator_of(seed: int, number: int, purpose: int) -> torch.Generator:
    """Random numbers of their own for each step and purpose."""
    return torch.Generator().manual_seed((seed * 1_000_003 + number) * 4 + purpose)


def masked_rows(
    rows: Int[Tensor, "rows length"], size: int, tokenizer: Tokenizer, seed: int, rate: float = 0.15
) -> Callable[[int], Examples]:
    """For a step, `size` of the packed rows, masked anew whenever they come."""
    hide = partial(mask_tokens, mask=tokenizer.mask, ordinary=tokenizer.ordinary, rate=rate)

    def feed(step: int) -> Examples:
        ids = rows[shuffled(len(rows), size, seed, step)]
        return Examples(*hide(ids, generator=generator_of(seed, step, 1)))

    return feed


def masked_pairs(
    pairs: Sequence[Pair], size: int, tokenizer: Tokenizer, seed: int, rate: float = 0.15
) -> Callable[[int], Examples]:
    """For a step, `size` of the pairs with their labels, padded, and masked whenever they come."""
    hide = partial(mask_tokens, mask=tokenizer.mask, ordinary=tokenizer.ordinary, rate=rate)

    def feed(step: int) -> Examples:
        chosen = [pairs[i] for i in shuffled(len(pairs), size, seed, step)]
        ids, segments, keep = pad([_encoding(p, tokenizer) for p in chosen], tokenizer.pad)
        masked = hide(ids, generator=generator_of(seed, step, 1))
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
        return Examples(*self.hide(ids, generator=generator_of(self.seed, step, 1)))

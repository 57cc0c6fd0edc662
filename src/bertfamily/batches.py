"""Many texts at once: ids, segments and keep, as rectangles of tensors.

A batch is a rectangle, so shorter texts are filled up with padding. `pad` fills to the longest text
of the batch and not to 512: padding is work for nothing, and the share of it is what `buckets` and
`pack` take away. `buckets` puts texts of like length together; `pack` cuts a stream of text into
rows that are all full, as in pretraining (Liu et al., 2019, section 4.2, "full sentences",
https://arxiv.org/abs/1907.11692).
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from torch import Tensor

from bertfamily.encoder import Encoded, Encoder
from bertfamily.wordpiece import Encoding


class Batch(NamedTuple):
    """What an encoder reads, in its order: `encoder(*batch)`."""

    ids: Int[Tensor, "batch seq"]
    segments: Int[Tensor, "batch seq"]  # 0: first text and padding; 1: second text
    keep: Bool[Tensor, "batch seq"]  # True at real tokens


def pad(encodings: Sequence[Encoding], pad_id: int = 0, to: int | None = None) -> Batch:
    """The texts as a batch, filled up on the right to the longest of them, or to `to` tokens."""
    if not encodings:
        raise ValueError("there is no text in this batch; a batch has one at least")
    lengths = [len(encoding.ids) for encoding in encodings]
    longest = max(lengths)
    if to is not None and to < longest:
        where = lengths.index(longest)
        raise ValueError(
            f"to={to}, but text {where} has {longest} tokens; cut it: encode(…, longest={to})"
        )
    width = longest if to is None else to
    keep = torch.arange(width) < torch.tensor(lengths)[:, None]
    ids = torch.full(keep.shape, pad_id)
    ids[keep] = _joined(e.ids for e in encodings)
    segments = torch.zeros_like(ids)
    segments[keep] = _joined(e.segments for e in encodings)
    return Batch(ids, segments, keep)


def _joined(lists: Iterable[Sequence[int]]) -> Int[Tensor, " all"]:
    """One row of all the numbers; by way of numpy, which reads a list ten times as fast."""
    return torch.from_numpy(np.fromiter(chain.from_iterable(lists), np.int64))


def buckets(
    lengths: Sequence[int], size: int, generator: torch.Generator | None = None
) -> list[list[int]]:
    """Which texts to read together: `size` at a time, neighbours when sorted by length.

    Returns the numbers of the texts, each once. With a generator, texts of equal length and the
    batches come in random order; without one, from the shortest to the longest.
    """
    if size < 1:
        raise ValueError(f"size={size}: a batch has one text at least")
    count = len(lengths)
    order = torch.arange(count) if generator is None else torch.randperm(count, generator=generator)
    order = order[torch.tensor(lengths, dtype=torch.long)[order].argsort(stable=True)]
    batches = [part.tolist() for part in order.split(size)] if count else []
    if generator is None:
        return batches
    return [batches[i] for i in torch.randperm(len(batches), generator=generator)]


def pack(
    texts: Iterable[Sequence[int]], length: int, cls: int, sep: int
) -> Iterator[Int[Tensor, " length"]]:
    """The ids of many texts in rows of `length`, all full: [CLS] … [SEP] … [SEP] …

    A [SEP] stands where a text ends, and nowhere else: so it is met at every place of a row. (Were
    each row closed by one, a model would take whatever stands at that place for a [SEP].) Where a
    row is full, the text goes on in the next one. What is left at the end and fills no row, fewer
    than `length` tokens, is dropped. Rows come one by one, so that a corpus may be larger than the
    memory.
    """
    if length < 2:
        raise ValueError(f"length={length}: a row has [CLS] and one token at least")
    waiting: list[int] = []
    for text in texts:
        waiting += [*text, sep] if len(text) else []
        start = 0
        while len(waiting) - start >= length:
            end = start + length - 1
            yield torch.tensor([cls, *waiting[start:end]])
            start = end + (waiting[end] == sep)  # the text ends with the row: no [SEP] is needed
        del waiting[:start]


def padding_share(lengths: Sequence[int], batches: Iterable[Sequence[int]]) -> float:
    """How much of the rectangles of these batches is padding: 0 to 1."""
    real = area = 0
    for batch in batches:
        real += sum(lengths[i] for i in batch)
        area += len(batch) * max((lengths[i] for i in batch), default=0)
    if not area:
        raise ValueError(f"{len(lengths)} texts, and no token in these batches; nothing is padded")
    return 1 - real / area


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

"""Pairs of segments from documents: does the second follow the first, or are the two swapped?

Next sentence: Devlin et al., 2018, section 3.1 and appendix A.2 (https://arxiv.org/abs/1810.04805);
sentence order: Lan et al., 2019, section 3.1 (https://arxiv.org/abs/1909.11942). What surprises: a
segment is not a sentence but as many whole ones as fill the length, and is then cut anywhere.

A document is a list of sentences, a sentence a list of ids; empty ones give nothing. Pairs come in
the order of the text: shuffle them before training. A second call with the same `rng` gives others.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import chain
from random import Random
from typing import NamedTuple

from bertfamily.heads import IN_ORDER, IS_NEXT, IS_RANDOM, SWAPPED

Documents = Sequence[Sequence[Sequence]]


class Pair(NamedTuple):
    """Two segments that fit into the length together with [CLS] and two [SEP], not yet added."""

    first: list[int]
    second: list[int]
    label: int  # IS_NEXT or IS_RANDOM; IN_ORDER or SWAPPED


class _Text(NamedTuple):
    """A document without its gaps: sentence i is ids[starts[i] : starts[i + 1]]."""

    ids: list
    starts: list[int]  # of each sentence, and where the last one ends


def next_sentence_pairs(
    documents: Documents, length: int, rng: Random, short: float = 0.1
) -> list[Pair]:
    """Half of the second segments go on where the first ends, half are from another document.

    As in BERT's script: the sentences of a chunk fill the length, or now and then a shorter target;
    the chunk is split between two of them; if what follows the split is not used, the next chunk
    begins with it. A chunk of one sentence always gets a random second segment, so that these are
    more than half: 57 % in the Bible in Basic English at length 128. We differ in two things:
    another document is never a copy of this one, and a random segment that happens to be what
    follows is labelled IS_NEXT.
    """
    texts = _texts(documents, length, rng, short)
    if all(text.ids == texts[0].ids for text in texts):
        raise ValueError(
            f"{len(texts)} documents with text, and none that differs from the first: a random "
            "segment must come from another document"
        )
    pairs = []
    for text in texts:
        target, start, last = _target(length, rng, short), 0, len(text.starts) - 1
        while start < last:
            end = _fill(text.starts, start, target)
            split = _split(start, end, rng)
            a, b, c = text.starts[start], text.starts[split], text.starts[end]
            first, second, label, start = text.ids[a:b], text.ids[b:c], IS_NEXT, end
            if not second or rng.random() < 0.5:
                second = _elsewhere(texts, text, target - len(first), rng)
                label, start = IS_RANDOM, split
            one, other = _cut(len(first), len(second), length - 3, rng)
            second = second[other]
            # Where it would stand had it followed: behind what the first segment still is or was.
            for place in range(a + one.stop, b + other.start + 1):
                if second == text.ids[place : place + len(second)]:
                    label = IS_NEXT
            pairs.append(Pair(first[one], second, label))
    return pairs


def sentence_order_pairs(
    documents: Documents, length: int, rng: Random, short: float = 0.1
) -> list[Pair]:
    """Two segments that follow each other in one document, half of the time swapped.

    Chunks and splits are those of `next_sentence_pairs`, with two sentences at least: a last one
    left alone joins the chunk before it, and a document of one sentence gives no pair. (ALBERT's
    script gives a chunk of one sentence a random second segment and the label SWAPPED.)
    """
    pairs = []
    for text in _texts(documents, length, rng, short):
        target, start, last = _target(length, rng, short), 0, len(text.starts) - 1
        while start < last - 1:
            end = max(_fill(text.starts, start, target), start + 2)
            end = last if end == last - 1 else end
            split = _split(start, end, rng)
            a, b, c = text.starts[start], text.starts[split], text.starts[end]
            first, second, label, start = text.ids[a:b], text.ids[b:c], IN_ORDER, end
            if rng.random() < 0.5:
                first, second, label = second, first, SWAPPED
            # Cut after the swap: lengths must not tell which of the two was the first.
            one, other = _cut(len(first), len(second), length - 3, rng)
            pairs.append(Pair(first[one], second[other], label))
    return pairs


def _texts(documents: Sequence, length: int, rng: object, short: float) -> list[_Text]:
    if length < 5:
        raise ValueError(f"length={length}: [CLS], two [SEP] and a token on each side make 5")
    if not 0 <= short <= 1:
        raise ValueError(f"short={short} is not between 0 and 1; BERT's is 0.1")
    if not isinstance(rng, Random):  # the module `random` would do, with its global state
        raise TypeError(f"rng={rng!r}; pass random.Random(0)")
    texts = []
    for document in documents:
        ids, starts = [], []
        for part in chain([document], document):
            if not isinstance(part, list | tuple):
                raise TypeError(
                    f"{part!r} is no list; a document is a list of sentences, each a list of ids, "
                    "as tokenizer.ids_of(document.sentences)"
                )
        for sentence in filter(None, document):
            starts.append(len(ids))
            ids += sentence
        if ids:
            texts.append(_Text(ids, [*starts, len(ids)]))
    return texts


def _target(length: int, rng: Random, short: float) -> int:
    """How many ids the chunks of a document are to have: all that fit, or now and then fewer."""
    return rng.randint(2, length - 3) if rng.random() < short else length - 3


def _fill(starts: list[int], sentence: int, target: int) -> int:
    """The end of the shortest chunk from `sentence` on with `target` ids; else of the document."""
    return min(bisect_left(starts, starts[sentence] + target, sentence + 1), len(starts) - 1)


def _split(start: int, end: int, rng: Random) -> int:
    """The first sentence of the second part; `end` if there is one sentence only."""
    return rng.randrange(start + 1, end) if end - start > 1 else end


def _elsewhere(texts: list[_Text], text: _Text, target: int, rng: Random) -> list:
    """Sentences of another document, from a random one on, with `target` ids if it has them."""
    while (other := rng.choice(texts)).ids == text.ids:
        pass
    start = rng.randrange(len(other.starts) - 1)
    return other.ids[other.starts[start] : other.starts[_fill(other.starts, start, target)]]


def _cut(first: int, second: int, room: int, rng: Random) -> tuple[slice, slice]:
    """What is kept of two segments so long: the longer (the second, if equal) loses ids one by one.

    A coin decides whether an id is lost at the front or at the end; so of n lost ids as many are
    lost at the front as there are ones in n random bits.
    """
    if first + second <= room:
        return slice(0, first), slice(0, second)
    kept = min(first, max(room - second, (room + 1) // 2))
    front = rng.getrandbits(first - kept).bit_count()
    start = rng.getrandbits(second - (room - kept)).bit_count()
    return slice(front, front + kept), slice(start, start + room - kept)

"""Answers as spans: where in a passage the answer to a question starts and where it ends.

Devlin et al., 2018, sections 4.2 and 4.3 (https://arxiv.org/abs/1810.04805), and their script
run_squad.py. A model gives each token two scores, one for the first token of the answer and one for
the last. What surprises: the best first token and the best last one, each taken alone, need not
make a span.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bertfamily.finetuning import Example, predict
from bertfamily.heads import Span, SpanModel
from bertfamily.wordpiece import Encoding, Tokenizer


class Found(NamedTuple):
    """A span of tokens, and how good it is."""

    first: int
    last: int  # the span ends with this token
    score: float  # start score of the first and end score of the last, added


class Answer(NamedTuple):
    """A part of a passage, and how sure the model is."""

    text: str  # empty: the passage does not say
    start: int  # its place in the passage, in characters
    end: int
    score: float
    margin: float  # by how much the score exceeds that of no answer


def best_span(
    start: Float[Tensor, " seq"],
    end: Float[Tensor, " seq"],
    allowed: Bool[Tensor, " seq"],
    longest: int = 30,
) -> Found:
    """The span of at most `longest` tokens, all of them allowed, with the highest score.

    max over i ≤ j < i + longest of start[i] + end[j] (section 4.2); the first of equals.
    """
    if longest < 1:
        raise ValueError(f"longest={longest}: a span has one token at least")
    if not allowed.any():
        raise ValueError("no token is allowed, so there is no span")
    n = len(start)
    scores = start[:, None] + end[None, :]  # (first, last)
    ordered = torch.ones(n, n, dtype=torch.bool, device=start.device).triu().tril(longest - 1)
    whole = _unbroken(allowed)
    scores = scores.masked_fill(~(ordered & whole), -torch.inf)
    first, last = divmod(int(scores.argmax()), n)
    return Found(first, last, scores[first, last].item())


def _unbroken(allowed: Bool[Tensor, " seq"]) -> Bool[Tensor, "seq seq"]:
    """Whether all tokens from one to another are allowed."""
    before = torch.cat([allowed.new_zeros(1), ~allowed]).cumsum(dim=0)  # barred ones before each
    return before[1:][None, :] == before[:-1][:, None]


def windows(
    tokenizer: Tokenizer, question: str, passage: str, longest: int = 384, stride: int = 128
) -> Iterator[Encoding]:
    """[CLS] question [SEP] part of the passage [SEP], as many as it takes to read all of it.

    Each part begins `stride` tokens after the one before. (In `transformers` the word means how
    many tokens two parts share.) A question is never cut. Offsets of the second segment are places
    in the passage.
    """
    asked, told = tokenizer.tokenize(question), tokenizer.tokenize(passage)
    room = longest - len(asked) - 3
    if not 1 <= stride <= room:
        raise ValueError(
            f"longest={longest} leaves {room} tokens beside a question of {len(asked)}, and the "
            f"stride is {stride}: from 1 to that many, or tokens are left out; ask more briefly"
        )
    for begin in range(0, max(1, len(told) - room + stride), stride):
        yield _joined(tokenizer, asked, told[begin : begin + room])


def _joined(tokenizer: Tokenizer, asked: Sequence[tuple], told: Sequence[tuple]) -> Encoding:
    closing = (tokenizer.sep, 0, 0)
    first, second = [(tokenizer.cls, 0, 0), *asked, closing], [*told, closing]
    ids, starts, ends = zip(*first, *second, strict=True)
    return Encoding(
        list(ids),
        [0] * len(first) + [1] * len(second),
        list(zip(starts, ends, strict=True)),
        [tokenizer.vocabulary[i] for i in ids],
    )


def in_passage(encoding: Encoding) -> Bool[Tensor, " seq"]:
    """True at the tokens of the passage: not at the question, [CLS] and [SEP]."""
    inside = [s == 1 and end > 0 for s, (_, end) in zip(*encoding[1:3], strict=True)]
    return torch.tensor(inside)


def span_of(encoding: Encoding, start: int, end: int) -> tuple[int, int]:
    """The first and last token of the characters from `start` to `end` of the passage.

    (0, 0), which is [CLS] and means that there is no answer (section 4.3), unless all of them are
    in this part of the passage.
    """
    if not 0 <= start < end:
        raise ValueError(f"{start} to {end} are no characters: a span ends after its start")
    inside = in_passage(encoding).nonzero()[:, 0].tolist()
    within = [i for i in inside if encoding.offsets[i][0] < end and start < encoding.offsets[i][1]]
    if not within:
        return 0, 0
    first, last = within[0], within[-1]
    # Where characters are left over at an end of this part, their tokens are in another one.
    cut_off = first == inside[0] and start < encoding.offsets[first][0]
    cut_off |= last == inside[-1] and encoding.offsets[last][1] < end
    return (0, 0) if cut_off else (first, last)


def examples_of(
    tokenizer: Tokenizer,
    question: str,
    passage: str,
    answer: tuple[int, int] | None,
    longest: int = 384,
    stride: int = 128,
) -> Iterator[Example]:
    """An example for each window; `answer` are its characters, None if the passage does not say."""
    words = None if answer is None else passage[slice(*answer)]
    if words is not None and (not words or words != words.strip()):
        raise ValueError(f"the answer at {answer} is {words!r}: it begins and ends with a word")
    for encoding in windows(tokenizer, question, passage, longest, stride):
        yield Example(encoding, (0, 0) if answer is None else span_of(encoding, *answer))


def best_answer(
    passage: str,
    encodings: Sequence[Encoding],
    logits: Sequence[Span],
    longest: int = 30,
    threshold: float | None = None,
) -> Answer:
    """The best span of all windows.

    No answer scores as [CLS] does for both ends, in the window where that is least (as in
    run_squad.py). If the best span does not exceed it by more than `threshold`, τ in the paper, the
    text is empty; None: there always is an answer.
    """
    best, none = None, min(float(s.start[0] + s.end[0]) for s in logits)
    for encoding, (start, end) in zip(encodings, logits, strict=True):
        found = best_span(start, end, in_passage(encoding), longest)
        if best is None or found.score > best[0]:
            places = encoding.offsets[found.first][0], encoding.offsets[found.last][1]
            best = found.score, *places
    score, first, last = best
    margin = score - none
    if threshold is not None and margin <= threshold:
        return Answer("", 0, 0, score, margin)
    return Answer(passage[first:last], first, last, score, margin)


def answer(
    model: SpanModel,
    tokenizer: Tokenizer,
    question: str,
    passage: str,
    longest: int = 384,
    stride: int = 128,
    threshold: float | None = None,
) -> Answer:
    """What the model takes for the answer in a passage of any length."""
    encodings = list(windows(tokenizer, question, passage, longest, stride))
    if not any(in_passage(encoding).any() for encoding in encodings):
        raise ValueError(f"there is no token in the passage {passage!r}")
    logits = predict(model, encodings)
    return best_answer(passage, encodings, logits, threshold=threshold)

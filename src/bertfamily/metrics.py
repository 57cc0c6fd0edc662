"""How well a model did: one number for a list of guesses and a list of truths.

The metrics of GLUE (Wang et al., 2018, https://arxiv.org/abs/1804.07461), of named entities (Tjong
Kim Sang and De Meulder, 2003, https://arxiv.org/abs/cs/0306050) and of SQuAD (Rajpurkar et al.,
2016, https://arxiv.org/abs/1606.05250), and how far a difference of two models can be trusted.
What surprises: of a tagging, whole entities are counted and not tokens.
"""

import math
import re
import string
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from bertfamily.counts import Interval


def _paired(guesses: Sequence, truths: Sequence) -> list[tuple]:
    """The two lists side by side; they are as long, and not empty."""
    if len(guesses) != len(truths) or not len(truths):
        raise ValueError(
            f"{len(guesses)} guesses and {len(truths)} truths: give one guess for each, and one "
            "at least"
        )
    return list(zip(guesses, truths, strict=True))


# --- classes


def accuracy(guesses: Sequence[Hashable], truths: Sequence[Hashable]) -> float:
    """The proportion of guesses that are right: 0 to 1."""
    pairs = _paired(guesses, truths)
    return sum(bool(guess == truth) for guess, truth in pairs) / len(pairs)


class Scores(NamedTuple):
    """Three numbers from 0 to 1; each is 0 where there is nothing to divide by."""

    precision: float  # of what was found, how much is right
    recall: float  # of what there is, how much was found
    f1: float  # their harmonic mean


def scores(right: int, found: int, there: int) -> Scores:
    """Precision right / found, recall right / there, F1 = 2 · right / (found + there)."""
    if not 0 <= right <= min(found, there):
        raise ValueError(f"right={right} of found={found} and there={there}: it is in both")
    return Scores(
        right / found if found else 0.0,
        right / there if there else 0.0,
        2 * right / (found + there) if found + there else 0.0,
    )


def class_scores(
    guesses: Sequence[Hashable], truths: Sequence[Hashable], positive: Hashable = 1
) -> Scores:
    """Precision, recall and F1 of one class."""
    pairs = _paired(guesses, truths)
    right = sum(bool(guess == positive and truth == positive) for guess, truth in pairs)
    found, there = (sum(bool(pair[i] == positive) for pair in pairs) for i in (0, 1))
    return scores(right, found, there)


def macro_f1(guesses: Sequence[Hashable], truths: Sequence[Hashable]) -> float:
    """The mean of the F1 of all classes that occur in either list, each class counting the same."""
    classes = {*guesses, *truths}
    return sum(class_scores(guesses, truths, c).f1 for c in classes) / len(classes)


def matthews(guesses: Sequence[Hashable], truths: Sequence[Hashable]) -> float:
    """Matthews' correlation, for any number of classes: -1 to 1, and 0 for one guess throughout.

    (n · right - Σ f t) / √((n² - Σ f²)(n² - Σ t²)), where f and t are how often a class was guessed
    and how often it is true (Gorodkin, 2004, https://doi.org/10.1016/j.compbiolchem.2004.09.006).
    """
    pairs = _paired(guesses, truths)
    n, right = len(pairs), sum(bool(guess == truth) for guess, truth in pairs)
    found, there = Counter(guesses), Counter(truths)
    both = sum(found[c] * there[c] for c in found)
    spread = math.prod(n * n - sum(k * k for k in counts.values()) for counts in (found, there))
    return (n * right - both) / math.sqrt(spread) if spread else 0.0


# --- numbers


def pearson(guesses: Sequence[float | int], truths: Sequence[float | int]) -> float:
    """The correlation of two lists of numbers: -1 to 1; nan where one of them is constant."""
    _paired(guesses, truths)
    return _correlation(torch.tensor(guesses), torch.tensor(truths))


def spearman(guesses: Sequence[float | int], truths: Sequence[float | int]) -> float:
    """The correlation of the ranks; equal numbers share the mean of their ranks."""
    _paired(guesses, truths)
    return _correlation(_ranks(torch.tensor(guesses)), _ranks(torch.tensor(truths)))


def _correlation(a: Shaped[Tensor, " n"], b: Shaped[Tensor, " n"]) -> float:
    a, b = (x.double() - x.double().mean() for x in (a, b))
    return ((a @ b) / (a.norm() * b.norm())).item()


def _ranks(values: Shaped[Tensor, " n"]) -> Float[Tensor, " n"]:
    _, which, counts = values.unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(dim=0).double()  # the rank of the last of each
    return (last - (counts - 1) / 2)[which]


# --- entities


class Entity(NamedTuple):
    """Tokens `start` to `end` - 1 of a sentence, and what they name."""

    kind: str
    start: int
    end: int


def entities(tags: Sequence[str]) -> list[Entity]:
    """The entities of a sentence tagged B-…, I-… and O, in order.

    B begins one. An I that follows no tag of its kind begins one too, as in the reference
    (conlleval): such tags a model may give, and people do not.
    """
    found, kind, start = [], None, 0
    for at, tag in enumerate([*tags, "O"]):
        prefix, dash, name = tag.partition("-")
        if tag != "O" and (prefix not in ("B", "I") or not dash or not name):
            raise ValueError(f"tag {at} is {tag!r}; a tag is O, or B- or I- and a kind, as B-PER")
        if kind is not None and (prefix != "I" or name != kind):
            found.append(Entity(kind, start, at))
            kind = None
        if kind is None and tag != "O":
            kind, start = name, at
    return found


def entity_scores(guesses: Sequence[Sequence[str]], truths: Sequence[Sequence[str]]) -> Scores:
    """Over all sentences: an entity counts if its kind, its start and its end are right."""
    counts = (entity_counts(guess, truth) for guess, truth in _paired(guesses, truths))
    return scores(*map(sum, zip(*counts, strict=True)))


def entity_counts(guess: Sequence[str], truth: Sequence[str]) -> tuple[int, int, int]:
    """The entities of a sentence that are right, that were found, and that are there."""
    if len(guess) != len(truth):
        raise ValueError(f"{len(guess)} tags for a sentence of {len(truth)} words")
    ours, theirs = set(entities(guess)), set(entities(truth))
    return len(ours & theirs), len(ours), len(theirs)


# --- answers


def plain_answer(text: str) -> str:
    """Lower-cased, without punctuation, *a*, *an*, *the* and spare spaces, as SQuAD compares."""
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def exact_match(answer: str, references: Iterable[str]) -> float:
    """1 if the answer is one of the references but for what `plain_answer` takes away, else 0."""
    return float(any(plain_answer(answer) == plain_answer(one) for one in _known(references)))


def answer_f1(answer: str, references: Iterable[str]) -> float:
    """The F1 of the words in common with the reference that it is nearest to, 0 to 1.

    No answer is right where the reference is empty, and only there.
    """
    return max(_word_f1(plain_answer(answer), plain_answer(one)) for one in _known(references))


def _known(references: Iterable[str]) -> list[str]:
    if isinstance(references, str):
        raise TypeError(f"references={references!r}: give a list, of one answer at least")
    if not (known := list(references)):
        raise ValueError("there is no reference; where there is no answer, give ['']")
    return known


def _word_f1(answer: str, reference: str) -> float:
    ours, theirs = answer.split(), reference.split()
    if not ours or not theirs:
        return float(ours == theirs)
    return scores((Counter(ours) & Counter(theirs)).total(), len(ours), len(theirs)).f1


# --- how sure


def bootstrap(
    values: Float[Tensor, "seeds texts"], generator: torch.Generator, draws: int = 10_000
) -> Interval:
    """The mean, and its 95 % interval had other seeds and other texts been drawn.

    Row i has what the model of seed i got for each text, or, for two models on the same texts, the
    difference of the two. Seeds and texts are drawn again with replacement, each on its own
    (a pigeonhole bootstrap: Owen, 2007, https://doi.org/10.1214/07-AOAS122); with one seed only the
    texts are. Few seeds make an interval that is too short: five tell little of their own scatter.
    """
    values = values.double()
    seeds, texts = values.shape
    if texts < 2:
        raise ValueError(f"{texts} texts: an interval needs 2 at least")
    means = []
    for _ in range(0, draws, 500):
        of_seed = torch.randint(seeds, (500, seeds), generator=generator)
        of_text = torch.randint(texts, (500, texts), generator=generator)
        by_seed = torch.zeros(500, seeds, dtype=torch.float64)
        by_seed.scatter_add_(1, of_seed, torch.ones_like(by_seed))
        by_text = torch.zeros(500, texts, dtype=torch.float64)
        by_text.scatter_add_(1, of_text, torch.ones(500, texts, dtype=torch.float64))
        means.append(((by_seed @ values) * by_text).sum(dim=1) / (seeds * texts))
    low, high = torch.cat(means).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64))
    return Interval(values.mean().item(), low.item(), high.item())

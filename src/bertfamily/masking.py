"""Masked tokens: which pieces of a text a model has to guess, and what it reads in their place.

Devlin et al., 2018, section 3.1 and appendix A.1 (https://arxiv.org/abs/1810.04805). Two steps: a
chooser says where (`choose_…`), `hide` says what stands there. Choosers read `may`, True where a
token may be chosen: `may = tokenizer.ordinary[ids]` leaves out special tokens, [UNK], padding and
unused pieces. What surprises: one chosen token in five is not hidden behind [MASK].

Masks drawn for each batch are dynamic (RoBERTa), `masked_copies` are static (BERT). Left out: the
original's upper limit of 20 chosen tokens in a text of 128. `fill_mask` and `measure` ask a
model, `ask_published` asks those of others.
"""

from collections.abc import Iterable, Iterator, Sequence
from math import isclose
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from torch import Generator, Tensor, nn

from bertfamily.counts import Measured
from bertfamily.heads import IGNORE_INDEX, MaskedTokenModel
from bertfamily.wordpiece import Tokenizer

SHARES = (0.8, 0.1, 0.1)  # of the chosen: hidden, swapped, left as they are
# How many of SpanBERT's spans have 1, 2, … 10 words: geometric with p = 0.2, cut off after 10 and
# made to sum to 1 again, with mean 3.8. (The smaller of length and 10 would have mean 4.5.)
SPAN_SHARES = tuple(0.2 * 0.8**n / (1 - 0.8**10) for n in range(10))

Ids = Int[Tensor, "batch seq"]
Where = Bool[Tensor, "batch seq"]
Vocabulary = Bool[Tensor, " vocab"]


class Masked(NamedTuple):
    """A batch to guess in; the loss is the mean over the labels that are not IGNORE_INDEX."""

    ids: Int[Tensor, "batch seq"]  # what the model reads
    labels: Int[Tensor, "batch seq"]  # the original id where chosen, IGNORE_INDEX elsewhere


def choose_each(may: Where, generator: Generator, rate: float = 0.15) -> Where:
    """Each token that may be chosen is, with probability `rate`, whatever happens to the others."""
    _check_draw(may, generator, rate)
    return may & (_uniform(may, generator) < rate)


def choose_exactly(may: Where, generator: Generator, rate: float = 0.15) -> Where:
    """round(rate · n) of the n tokens of each row that may be chosen, and at least one of them.

    In BERT's script n is the length of the row, [CLS] and [SEP] included.
    """
    _check_draw(may, generator, rate)
    budgets = torch.tensor(_budgets(may, rate), dtype=torch.long, device=may.device)
    first = torch.arange(may.shape[1], device=may.device) < budgets[:, None]
    return torch.zeros_like(may).scatter(1, _order(may, generator), first)


def choose_words(may: Where, continues: Where, generator: Generator, rate: float = 0.15) -> Where:
    """Whole words in random order, each that fits into what is left of the budget.

    The budget of a row is what `choose_exactly` chooses. `continues` is True at ## pieces:
    `tokenizer.continues[ids]`. A word too long for the rest is passed over, as in BERT's script, so
    that a row may end below its budget, even with nothing chosen.
    """
    return choose_ngrams(may, continues, generator, rate, longest=1)


def choose_ngrams(
    may: Where, continues: Where, generator: Generator, rate: float = 0.15, longest: int = 3
) -> Where:
    """n whole words that follow each other, p(n) = (1/n) / Σ 1/k, n ≤ `longest`, in that budget.

    Lan et al., 2019, section 4.1 (https://arxiv.org/abs/1909.11942). As in its script, an n-gram
    too long for the rest of the budget gives up words at its end, and one that meets chosen pieces
    is passed over. We differ in one thing: none goes on behind a [SEP].
    """
    if longest < 1:
        raise ValueError(f"longest={longest}: an n-gram has one word at least")
    chosen = torch.zeros(may.shape, dtype=torch.bool)
    shares = [1 / n for n in range(1, longest + 1)]
    for row, left, draws, begin, end in _rows(may, continues, generator, rate, shares):
        taken = set()
        for piece, n in draws:
            if left and piece == begin[piece]:  # a word is drawn by its first piece only
                while n and _after(piece, n, end) - piece > left:
                    n -= 1
                run = range(piece, _after(piece, n, end))
                if taken.isdisjoint(run):
                    taken.update(run)
                    left -= len(run)
        chosen[row, list(taken)] = True
    return chosen.to(may.device)


def choose_spans(may: Where, continues: Where, generator: Generator, rate: float = 0.15) -> Where:
    """Spans of 1 to 10 whole words, their lengths by SPAN_SHARES; all of the budget is used.

    Joshi et al., 2019, section 3.1 (https://arxiv.org/abs/1907.10529). As in its code, a span
    begins where a word does, may run over chosen pieces, and the last one is cut where the budget
    ends, even within a word. That code rounds the budget up. SpanBERT also gives a span one fate:
    go on with `hide(…, whole_runs=True)`.
    """
    chosen = torch.zeros(may.shape, dtype=torch.bool)
    for row, left, draws, begin, end in _rows(may, continues, generator, rate, SPAN_SHARES):
        taken = set()
        for piece, n in draws:
            if left and piece not in taken:
                run = range(begin[piece], _after(begin[piece], n, end))
                new = [p for p in run if p not in taken][:left]
                taken.update(new)
                left -= len(new)
        chosen[row, list(taken)] = True
    return chosen.to(may.device)


def hide(
    ids: Ids,
    chosen: Where,
    mask: int,
    ordinary: Vocabulary,
    generator: Generator,
    shares: tuple[float, float, float] = SHARES,
    whole_runs: bool = False,
) -> Masked:
    """Of the chosen tokens 80 % become [MASK], 10 % a random ordinary piece, 10 % stay.

    BERT's script draws the random piece from the whole vocabulary, special and unused ones too; in
    both, it may be the original again. With `whole_runs` chosen neighbours share one fate, as in
    SpanBERT.
    """
    ordinary = _check_ids(ids, mask, ordinary, generator, shares)
    if (wrong := ids[chosen & ~ordinary[ids]]).numel():
        raise ValueError(f"id {wrong[0]} is chosen, but not ordinary; choose where ordinary[ids]")
    # One draw decides the fate of a token, so that the three fates cannot overlap.
    fate = _uniform(ids, generator)
    if whole_runs:
        begins = chosen & ~torch.cat([torch.zeros_like(chosen[:, :1]), chosen[:, :-1]], dim=1)
        fate = fate.gather(1, (begins.cumsum(dim=1) - 1).clamp(min=0))  # run 0 has draw 0, …
    hidden = chosen & (fate < shares[0])
    swapped = chosen & (shares[0] <= fate) & (fate < 1 - shares[2])
    upto = ordinary.cumsum(dim=0)  # how many ordinary pieces there are up to each id
    if not (pieces := int(upto[-1])):
        raise ValueError("ordinary is True nowhere; pass tokenizer.ordinary")
    size = (int(swapped.sum()),)
    pick = torch.randint(pieces, size, generator=generator, device=generator.device)
    read = ids.masked_fill(hidden, mask)
    read[swapped] = torch.searchsorted(upto, pick.to(ids.device), right=True)
    return Masked(read, ids.masked_fill(~chosen, IGNORE_INDEX))


def mask_tokens(
    ids: Ids,
    mask: int,
    ordinary: Vocabulary,
    generator: Generator,
    rate: float = 0.15,
    shares: tuple[float, float, float] = SHARES,
) -> Masked:
    """The usual call: `choose_each` among the ordinary pieces, then `hide`."""
    ordinary = _check_ids(ids, mask, ordinary, generator, shares)
    return hide(ids, choose_each(ordinary[ids], generator, rate), mask, ordinary, generator, shares)


def masked_copies(
    ids: Ids,
    k: int,
    mask: int,
    ordinary: Vocabulary,
    generator: Generator,
    rate: float = 0.15,
    shares: tuple[float, float, float] = SHARES,
) -> list[Masked]:
    """Static masks: `k` copies, each masked once for all of training (BERT: 10 for 40 epochs)."""
    if k < 1:
        raise ValueError(f"k={k}: there must be one copy at least")
    return [mask_tokens(ids, mask, ordinary, generator, rate, shares) for _ in range(k)]


class Guess(NamedTuple):
    """A piece that may stand at a [MASK], and its probability."""

    piece: str
    share: float


@torch.no_grad()
def fill_mask(
    model: MaskedTokenModel, tokenizer: Tokenizer, text: str, count: int = 5
) -> list[list[Guess]]:
    """The likeliest pieces for each [MASK] in a text, best first.

    Each blank is guessed given the text alone, and not given what is guessed at the others.
    """
    _check_eval(model)
    pieces = len(tokenizer.vocabulary)
    if not 1 <= count <= pieces:
        raise ValueError(f"count={count}: choose from 1 to all {pieces} pieces of the vocabulary")
    ids = torch.tensor([tokenizer.encode(text).ids], device=_device(model))
    if not (chosen := ids == tokenizer.mask).any():
        raise ValueError(f"text={text!r} has no [MASK]; put one where a piece is to be guessed")
    logits = model(ids, chosen=chosen)
    if logits.shape[-1] != pieces:
        raise ValueError(
            f"the tokenizer has {pieces} pieces and the model {logits.shape[-1]}; load both from "
            "one folder"
        )
    best = logits.softmax(dim=-1).topk(count)
    return [
        [Guess(tokenizer.vocabulary[i], share) for i, share in zip(*row, strict=True)]
        for row in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def ask_published(names: Iterable[str], text: str, count: int = 5) -> dict[str, list[Guess] | None]:
    """What models of `transformers` guess for the one [MASK] of a text; None: it cannot be had.

    A name is that of a repository on the hub, or a folder. Each model writes the blank in its own
    way, and gets it so. What is cached needs no network; what cannot be had is passed over, and
    the next one is asked.
    """
    from transformers import pipeline  # only here: all else works without it

    if text.count("[MASK]") != 1:
        raise ValueError(f"text={text!r} has {text.count('[MASK]')} [MASK]; it must have one")
    told: dict[str, list[Guess] | None] = {}
    for name in names:
        try:
            fill = pipeline("fill-mask", model=name, device="cpu")
        except OSError:
            told[name] = None
            continue
        found = fill(text.replace("[MASK]", fill.tokenizer.mask_token), top_k=count)
        told[name] = [Guess(guess["token_str"].strip(), guess["score"]) for guess in found]
    return told


@torch.no_grad()
def measure(
    model: nn.Module,
    ids: Ids,
    labels: Int[Tensor, "batch seq"],
    segments: Int[Tensor, "batch seq"] | None = None,
    keep: Where | None = None,
    size: int = 64,
) -> Measured:
    """How well a model guesses the chosen pieces, in the order in which they stand.

    Hide all of them to ask, `shares=(1, 0, 0)`: a piece that was left can be copied. `size` rows
    are asked about at once, where the model is; what comes out is where the labels are.
    """
    _check_eval(model)
    if not len(ids) or size < 1:
        raise ValueError(f"{len(ids)} rows, size={size}: needed are a row and a size of 1 at least")
    inputs, parts = (ids, labels, segments, keep), []
    for start in range(0, len(ids), size):
        some = [None if x is None else x[start : start + size].to(_device(model)) for x in inputs]
        chosen = some[1] != IGNORE_INDEX
        logits = model(some[0], *some[2:], chosen=chosen)
        logits = (logits[0] if isinstance(logits, tuple) else logits).float()
        truth = some[1][chosen]
        if (wrong := truth[(truth < 0) | (truth >= logits.shape[-1])]).numel():
            raise ValueError(
                f"label {wrong[0]} is no piece of the model: it knows {logits.shape[-1]}, from 0; "
                f"where nothing is asked pass IGNORE_INDEX, {IGNORE_INDEX}"
            )
        nats = F.cross_entropy(logits, truth, reduction="none")
        hits = logits.argmax(dim=-1) == truth
        parts.append(Measured(nats.to(labels.device), hits.to(labels.device)))
    return Measured(*map(torch.cat, zip(*parts, strict=True)))


def _device(model: nn.Module) -> torch.device:
    """Where the model is; one without parameters is anywhere."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def _check_eval(model: nn.Module) -> None:
    if model.training:
        raise ValueError("the model is in training mode, where dropout is random; call its eval()")


def _uniform(like: Tensor, generator: Generator) -> Tensor:
    """A number from 0 to 1 for each position, drawn on the generator's device.

    So a generator on the CPU gives the same masks whatever the model runs on.
    """
    return torch.rand(like.shape, generator=generator, device=generator.device).to(like.device)


def _order(may: Where, generator: Generator) -> Tensor:
    """The positions of each row in random order, those that may not be chosen last."""
    return _uniform(may, generator).masked_fill(~may, 2.0).argsort(dim=1)


def _budgets(may: Where, rate: float) -> list[int]:
    return [max(1, round(rate * n)) if n else 0 for n in may.sum(dim=1).tolist()]


def _rows(
    may: Where, continues: Where, generator: Generator, rate: float, shares: Sequence[float]
) -> Iterator[tuple[int, int, list[tuple[int, int]], list[int], list[int]]]:
    """For each row: number, budget, draws of (piece, words), where words begin and where they end.

    The draws name each piece that may be chosen once, in random order. `begin` has an entry for
    each piece; `end` is for the first piece of a word, and stays put at a gap.
    """
    _check_draw(may, generator, rate, continues)
    limits = torch.tensor(shares, device=may.device).cumsum(dim=0) / sum(shares)
    words = torch.bucketize(_uniform(may, generator), limits[:-1], right=True) + 1
    lists = [t.tolist() for t in (may, continues, _order(may, generator), words)]
    for row, (budget, can, more, order, lengths) in enumerate(
        zip(_budgets(may, rate), *lists, strict=True)
    ):
        begin, end = list(range(len(can))), list(range(len(can) + 1))
        for p in range(len(can)):
            if can[p]:
                if p and can[p - 1] and more[p]:  # else a word begins, even at a ## after a gap
                    begin[p] = begin[p - 1]
                end[begin[p]] = p + 1
        yield row, budget, [(p, lengths[p]) for p in order if can[p]], begin, end


def _after(piece: int, words: int, end: list[int]) -> int:
    """Where so many words end, the first of which begins at `piece`; sooner if there is a gap."""
    for _ in range(words):
        piece = end[piece]
    return piece


def _check_draw(
    may: Tensor, generator: object, rate: float, continues: Tensor | None = None
) -> None:
    if may.dtype != torch.bool:
        raise TypeError(f"may has dtype {may.dtype}; pass booleans, True = may be chosen")
    if continues is not None and continues.shape != may.shape:
        raise ValueError(
            f"continues has shape {tuple(continues.shape)}, may has {tuple(may.shape)}; pass "
            "tokenizer.continues[ids]"
        )
    if not 0 < rate < 1:
        raise ValueError(f"rate={rate} is not between 0 and 1; BERT's is 0.15")
    _check_generator(generator)


def _check_ids(
    ids: Tensor, mask: int, ordinary: Tensor, generator: object, shares: Sequence[float]
) -> Tensor:
    """`ordinary` on the device of `ids`, if all of this fits together."""
    if ids.dtype != torch.long:
        raise TypeError(f"ids has dtype {ids.dtype}; pass whole numbers, ids.long()")
    if ordinary.dtype != torch.bool:
        raise TypeError(f"ordinary has dtype {ordinary.dtype}; pass tokenizer.ordinary")
    for piece in [mask, *(map(int, ids.aminmax()) if ids.numel() else ())]:
        if not 0 <= piece < len(ordinary):
            raise ValueError(f"there is no id {piece}: ordinary is for {len(ordinary)} pieces")
    if ordinary[mask]:
        raise ValueError(f"mask={mask} is an ordinary piece; pass the id of [MASK]")
    if len(shares) != 3 or min(shares) < 0 or not isclose(sum(shares), 1):
        raise ValueError(f"shares={shares}: three shares, hidden, swapped and left, must sum to 1")
    _check_generator(generator)
    return ordinary.to(ids.device)


def _check_generator(generator: object) -> None:
    if not isinstance(generator, Generator):  # with None torch would draw from its global state
        raise TypeError(f"generator={generator}; pass torch.Generator().manual_seed(0)")

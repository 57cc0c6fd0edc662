"""What must be true of masks: by hand, by statistics with seeds, by oracle, by invariance.

The oracles are the collator of `transformers` and the published procedures in plain Python loops.
"""

import math
import random
from collections import Counter
from itertools import groupby

import pytest
import torch
from torch.testing import assert_close

from bertfamily.checkpoints import save
from bertfamily.encoder import Bert
from bertfamily.heads import IGNORE_INDEX, MaskedTokenModel
from bertfamily.masking import (
    SHARES,
    SPAN_SHARES,
    Masked,
    _check_draw,
    _check_ids,
    ask_published,
    choose_each,
    choose_exactly,
    choose_ngrams,
    choose_spans,
    choose_words,
    fill_mask,
    hide,
    mask_tokens,
    masked_copies,
    measure,
)
from bertfamily.wordpiece import SPECIAL, Tokenizer

torch.set_num_threads(1)

# A vocabulary of 100: five special pieces, five unused ones, 90 ordinary ones.
PAD, UNKNOWN, CLS, SEP, MASK = range(5)
SIZE, FIRST, ORDINARY = 100, 10, 90
VOCABULARY = torch.arange(SIZE) >= FIRST

# One row of words: 24 pieces; a word is a number of pieces.
WORDS = [1, 1, 3, 1, 2, 1, 1, 1, 4, 1, 2, 1, 1, 3, 1]
PLAIN = [choose_each, choose_exactly]
BY_WORD = [choose_words, choose_ngrams, choose_spans]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def some_ids(rows=6, seq=40, seed=0):
    """[CLS] … [SEP] … [SEP], unknown and unused pieces among the rest, and padding."""
    ids = torch.randint(FIRST, SIZE, (rows, seq), generator=seeded(seed))
    ids[:, 0], ids[:, seq // 2], ids[:, -4] = CLS, SEP, SEP
    ids[:, 3], ids[:, 5], ids[:, 7] = UNKNOWN, FIRST - 1, MASK
    ids[:, -3:] = PAD
    return ids


def some_continues(ids, seed=1):
    return torch.rand(ids.shape, generator=seeded(seed)) < 0.4


def laid_out(words, rows):
    """`may` and `continues` of equal rows of these words; 0 is a piece that may not be chosen."""
    may = [w > 0 for w in words for _ in range(max(w, 1))]
    continues = [i > 0 for w in words for i in range(max(w, 1))]
    return torch.tensor([may] * rows), torch.tensor([continues] * rows)


def choose(chooser, may, continues, generator, rate=0.15):
    return chooser(may, *[continues] * (chooser in BY_WORD), generator, rate)


def runs_of(row):
    """(start, end) of each stretch of True."""
    found = []
    for value, places in groupby(range(len(row)), key=lambda i: row[i]):
        places = list(places)
        found += [(places[0], places[-1] + 1)] if value else []
    return found


def assert_share(count, total, expected):
    """`count` of `total` is a share of `expected`, to five standard deviations."""
    error = 5 * math.sqrt(expected * (1 - expected) / total)
    assert abs(count / total - expected) <= error, f"{count} of {total}, not {expected} ± {error}"


def assert_same_share(ours, n, theirs, m):
    """Two shares of one probability, to five standard deviations."""
    p = (ours + theirs) / (n + m)
    error = 5 * math.sqrt(p * (1 - p) * (1 / n + 1 / m)) + 1e-12
    assert abs(ours / n - theirs / m) <= error, f"{ours / n} and {theirs / m}, more than {error}"


# --- what is read and what is asked ---


def test_labels_and_ids_by_hand():
    ids = torch.tensor([[CLS, 11, 12, 13, SEP]])
    chosen = torch.tensor([[False, True, False, True, False]])
    masked = hide(ids, chosen, MASK, VOCABULARY, seeded(), shares=(1.0, 0.0, 0.0))
    assert masked.ids.tolist() == [[CLS, MASK, 12, MASK, SEP]]
    assert masked.labels.tolist() == [[-100, 11, -100, 13, -100]]
    assert IGNORE_INDEX == -100, "the label that F.cross_entropy skips"
    assert SHARES == (0.8, 0.1, 0.1)
    assert Masked._fields == ("ids", "labels")


def test_labels_are_at_all_of_the_chosen_and_all_else_is_as_it_was():
    ids = some_ids(50)
    chosen = choose_each(VOCABULARY[ids], seeded(), 0.5)
    for shares in (SHARES, (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)):
        masked = hide(ids, chosen, MASK, VOCABULARY, seeded(1), shares)
        assert_close(masked.labels[chosen], ids[chosen])
        assert (masked.labels[~chosen] == -100).all()
        assert_close(masked.ids[~chosen], ids[~chosen], msg="what is not chosen has changed")


def test_each_fate_alone():
    ids = torch.full((20, 50), 42)
    all_of_them = torch.ones_like(ids, dtype=torch.bool)

    def fate(*shares):
        return hide(ids, all_of_them, MASK, VOCABULARY, seeded(), shares).ids

    assert (fate(1.0, 0.0, 0.0) == MASK).all()
    assert (fate(0.0, 0.0, 1.0) == 42).all()
    swapped = fate(0.0, 1.0, 0.0)
    assert (swapped >= FIRST).all(), "a special or unused piece stands in the text"
    assert_share((swapped == 42).sum().item(), 1000, 1 / ORDINARY)  # by chance the original again


def test_one_draw_gives_80_10_10():
    # two draws that overlap would give 81 / 10 / 9: the bounds here are 0.4 and 0.3 %
    ids = torch.randint(FIRST, SIZE, (600, 500), generator=seeded(1))
    read = hide(ids, torch.ones_like(ids, dtype=torch.bool), MASK, VOCABULARY, seeded()).ids
    total = ids.numel()
    assert_share((read == MASK).sum().item(), total, 0.8)
    assert_share((read == ids).sum().item(), total, 0.1 + 0.1 / ORDINARY)
    assert_share(((read != ids) & (read != MASK)).sum().item(), total, 0.1 * (1 - 1 / ORDINARY))


def test_every_share_is_obeyed():
    ids = torch.randint(FIRST, SIZE, (200, 500), generator=seeded(1))
    read = hide(
        ids, torch.ones_like(ids, dtype=torch.bool), MASK, VOCABULARY, seeded(), (0.2, 0.5, 0.3)
    ).ids
    assert_share((read == MASK).sum().item(), ids.numel(), 0.2)
    assert_share((read == ids).sum().item(), ids.numel(), 0.3 + 0.5 / ORDINARY)


def test_random_pieces_are_all_the_ordinary_ones_alike():
    ordinary = VOCABULARY.clone()
    ordinary[[20, 21, SIZE - 1]] = False  # holes, and the last piece
    ids = torch.full((300, 300), 42)
    all_of_them = torch.ones_like(ids, dtype=torch.bool)
    read = hide(ids, all_of_them, MASK, ordinary, seeded(), (0.0, 1.0, 0.0)).ids
    counts = read.flatten().bincount(minlength=SIZE)
    assert (counts[~ordinary] == 0).all(), "a special or unused piece stands in the text"
    for count in counts[ordinary].tolist():
        assert_share(count, ids.numel(), 1 / 87)


def test_fates_and_pieces_differ_from_place_to_place():
    ids = torch.full((400, 60), 42)
    all_of_them = torch.ones_like(ids, dtype=torch.bool)
    hidden = hide(ids, all_of_them, MASK, VOCABULARY, seeded(), (0.5, 0.0, 0.5)).ids == MASK
    assert_share((hidden[:, 1:] == hidden[:, :-1]).sum().item(), 400 * 59, 0.5)
    assert_share((hidden[1:] == hidden[:-1]).sum().item(), 399 * 60, 0.5)
    pieces = hide(ids, all_of_them, MASK, VOCABULARY, seeded(), (0.0, 1.0, 0.0)).ids
    assert_share((pieces[:, 1:] == pieces[:, :-1]).sum().item(), 400 * 59, 1 / ORDINARY)
    assert_share((pieces[1:] == pieces[:-1]).sum().item(), 399 * 60, 1 / ORDINARY)


def test_whole_runs_have_one_fate():
    ids = torch.full((2000, 12), 42)
    chosen = torch.tensor([[0, 1, 1, 1, 0, 1, 1, 0, 0, 0, 1, 1]] * 2000, dtype=torch.bool)
    chosen[:, 0] = torch.arange(2000) % 2 == 0  # a run may begin the row and one ends it
    masked = hide(ids, chosen, MASK, VOCABULARY, seeded(), (0.5, 0.0, 0.5), whole_runs=True)
    hidden = masked.ids == MASK
    assert not hidden[~chosen].any()
    first, second, third = hidden[:, 1:4], hidden[:, 5:7], hidden[:, 10:12]
    for run in (first, second, third):
        assert (run == run[:, :1]).all(), "one run, two fates"
        assert_share(run[:, 0].sum().item(), 2000, 0.5)
    assert (hidden[::2, 0] == hidden[::2, 1]).all()
    for one, other in ((first, second), (second, third), (first, third)):
        assert_share((one[:, 0] == other[:, 0]).sum().item(), 2000, 0.5)
    assert_share((third[:-1, 0] == first[1:, 0]).sum().item(), 1999, 0.5)  # from row to row
    apart = hide(ids, chosen, MASK, VOCABULARY, seeded(), (0.5, 0.0, 0.5)).ids == MASK
    assert_share((apart[:, 1] == apart[:, 2]).sum().item(), 2000, 0.5)


def test_the_random_pieces_of_a_run_are_drawn_one_by_one():
    ids, chosen = torch.full((500, 4), 42), torch.ones(500, 4, dtype=torch.bool)
    read = hide(ids, chosen, MASK, VOCABULARY, seeded(), (0.0, 1.0, 0.0), whole_runs=True).ids
    assert_share((read[:, 0] == read[:, 1]).sum().item(), 500, 1 / ORDINARY)


# --- where: every chooser ---


@pytest.mark.parametrize("chooser", PLAIN + BY_WORD)
def test_only_what_may_be_chosen_is(chooser):
    ids = some_ids(60)
    may, continues = VOCABULARY[ids], some_continues(ids)
    chosen = torch.zeros_like(may)
    for seed in range(10):
        now = choose(chooser, may, continues, seeded(seed), 0.3)
        assert not now[~may].any(), "special, unknown or unused pieces, or padding, are chosen"
        chosen |= now
    assert torch.equal(chosen.any(dim=0), may.any(dim=0)), "some places are never chosen"


@pytest.mark.parametrize("chooser", PLAIN + BY_WORD)
def test_the_same_seed_gives_the_same_mask_and_the_global_state_is_left_alone(chooser):
    ids = some_ids()
    may, continues = VOCABULARY[ids], some_continues(ids)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = choose(chooser, may, continues, seeded(), 0.3)
    assert torch.equal(torch.get_rng_state(), before), "the global state has moved"
    torch.manual_seed(2)
    assert torch.equal(choose(chooser, may, continues, seeded(), 0.3), first)
    assert not torch.equal(choose(chooser, may, continues, seeded(1), 0.3), first)
    generator = seeded()
    again = [choose(chooser, may, continues, generator, 0.3) for _ in range(2)]
    assert torch.equal(again[0], first)
    assert not torch.equal(again[1], first), "a generator must go on, or masks are static"


@pytest.mark.parametrize("chooser", PLAIN + BY_WORD)
def test_rows_without_anything_to_choose(chooser):
    may = torch.zeros(3, 9, dtype=torch.bool)
    may[1, 2:5] = True
    chosen = choose(chooser, may, torch.zeros_like(may), seeded(), 0.9)
    assert not chosen[[0, 2]].any()
    assert chosen[1].sum() >= (0 if chooser is choose_each else 3)
    for shape in ((0, 4), (2, 0)):
        nothing = torch.zeros(shape, dtype=torch.bool)
        assert choose(chooser, nothing, nothing, seeded()).shape == shape


@pytest.mark.parametrize("chooser", PLAIN + BY_WORD)
def test_choosers_leave_their_inputs_as_they_were(chooser):
    ids = some_ids()
    may, continues = VOCABULARY[ids], some_continues(ids)
    copies = may.clone(), continues.clone()
    chosen = choose(chooser, may, continues, seeded(), 0.3)
    chosen[:] = True
    assert torch.equal(may, copies[0])
    assert torch.equal(continues, copies[1])


# --- where: each token by itself ---


def test_each_token_is_chosen_by_a_coin_of_its_own():
    may = torch.ones(1000, 100, dtype=torch.bool)
    chosen = choose_each(may, seeded())
    assert_share(chosen.sum().item(), 100_000, 0.15)
    for column in chosen.sum(dim=0).tolist():
        assert_share(column, 1000, 0.15)
    assert_share((chosen[:, 1:] & chosen[:, :-1]).sum().item(), 99_000, 0.15**2)
    # the counts of rows spread as a binomial does: variance 100 · 0.15 · 0.85 = 12.75, and the
    # variance of 1,000 counts has a relative error of √(2 / 1000)
    spread = chosen.sum(dim=1).double().var().item()
    assert abs(spread / 12.75 - 1) < 5 * math.sqrt(2 / 1000)
    assert_share(choose_each(may, seeded(), 0.4).sum().item(), 100_000, 0.4)


# --- where: an exact number ---


@pytest.mark.parametrize(
    ("n", "rate", "count"),
    [
        (1, 0.15, 1), (3, 0.15, 1), (4, 0.15, 1), (9, 0.15, 1), (10, 0.15, 2), (16, 0.15, 2),
        (17, 0.15, 3), (30, 0.15, 4), (100, 0.15, 15), (7, 0.5, 4), (5, 0.5, 2), (2, 0.99, 2),
    ],
)  # fmt: skip
def test_the_exact_number_by_hand(n, rate, count):
    # round(rate · n), at least 1; 1.5 → 2, 4.5 → 4 and 2.5 → 2, as Python's round goes to even
    may = torch.zeros(5, 120, dtype=torch.bool)
    may[:, 10 : 10 + n] = True
    single = torch.zeros_like(may)
    assert choose_exactly(may, seeded(), rate).sum(dim=1).tolist() == [count] * 5
    for chooser in BY_WORD:  # words of one piece fill the same budget
        assert chooser(may, single, seeded(), rate).sum(dim=1).tolist() == [count] * 5


def test_each_row_has_its_own_number():
    may = torch.arange(40) < torch.tensor([[0], [1], [20], [40]])
    assert choose_exactly(may, seeded()).sum(dim=1).tolist() == [0, 1, 3, 6]


def test_every_set_of_places_is_equally_likely():
    may = torch.tensor([[True, False, True, True, False, True]] * 6000)
    sets = Counter(map(tuple, choose_exactly(may, seeded(), 0.5).tolist()))
    assert len(sets) == 6  # two of four
    for count in sets.values():
        assert_share(count, 6000, 1 / 6)


# --- where: whole words ---


@pytest.mark.parametrize("chooser", [choose_words, choose_ngrams])
def test_words_are_chosen_whole_and_never_above_the_budget(chooser):
    ids = some_ids(200)
    may, continues = VOCABULARY[ids], some_continues(ids)
    chosen = chooser(may, continues, seeded(), 0.25)
    inside = continues[:, 1:] & may[:, 1:] & may[:, :-1]  # both pieces are of one word
    assert (chosen[:, 1:] == chosen[:, :-1])[inside].all(), "a word is torn apart"
    budgets = [round(0.25 * n) for n in may.sum(dim=1).tolist()]
    counts = chosen.sum(dim=1).tolist()
    assert all(c <= b for c, b in zip(counts, budgets, strict=True)), "above the budget"
    assert sum(counts) > 0.9 * sum(budgets)


def test_words_that_do_not_fit_are_passed_over_by_hand():
    # 5 pieces, budget round(0.6 · 5) = 3: a word of 2 and the word of 1, whatever comes first
    may, continues = laid_out([2, 2, 1], 4000)
    chosen = choose_words(may, continues, seeded(), 0.6)
    sets = Counter(map(tuple, chosen.int().tolist()))
    assert set(sets) == {(1, 1, 0, 0, 1), (0, 0, 1, 1, 1)}
    assert_share(sets[1, 1, 0, 0, 1], 4000, 0.5)
    # 4 pieces, budget 1: the word of 3 never fits; 5 pieces in one word: nothing does
    may, continues = laid_out([3, 1], 50)
    assert (choose_words(may, continues, seeded(), 0.3).int().tolist()) == [[0, 0, 0, 1]] * 50
    may, continues = laid_out([5], 50)
    assert not choose_words(may, continues, seeded(), 0.3).any()


@pytest.mark.parametrize("chooser", BY_WORD)
def test_a_word_begins_after_a_gap_even_at_a_continuing_piece(chooser):
    # ## at the start of the row and after a [SEP]: two words of one piece, budget 1
    may = torch.tensor([[True, False, True]] * 2000)
    chosen = chooser(may, torch.ones_like(may), seeded(), 0.4)
    assert (chosen.sum(dim=1) == 1).all()
    assert_share(chosen[:, 0].sum().item(), 2000, 0.5)


def words_by_loops(words, budget, rng, weights):
    """The pieces that ALBERT's script chooses, its n-grams by loops; one weight: whole words."""
    pieces, start = [], 0
    for size in words:
        pieces.append(list(range(start, start + size)))
        start += size
    starts, chosen = list(range(len(words))), set()
    rng.shuffle(starts)
    for i in starts:
        n = rng.choices(range(1, len(weights) + 1), weights)[0]
        candidates = [sum(pieces[i : i + k], []) for k in range(n, 0, -1)]
        fits = [c for c in candidates if len(chosen) + len(c) <= budget]
        if fits and not chosen & set(fits[0]):
            chosen |= set(fits[0])
    return chosen


def spans_by_loops(words, budget, rng):
    """The pieces that SpanBERT's code chooses: anchors at random until the budget is used up."""
    word_of = [i for i, size in enumerate(words) for _ in range(size)]
    lengths, chosen = [0.8**n for n in range(10)], set()
    while len(chosen) < budget:
        n = rng.choices(range(1, 11), lengths)[0]
        anchor = rng.randrange(len(word_of))
        if anchor not in chosen:
            for piece, word in enumerate(word_of):
                if word_of[anchor] <= word < word_of[anchor] + n and len(chosen) < budget:
                    chosen.add(piece)
    return chosen


@pytest.mark.parametrize(
    ("chooser", "by_loops"),
    [
        (choose_words, lambda rng, budget: words_by_loops(WORDS, budget, rng, [1])),
        (choose_ngrams, lambda rng, budget: words_by_loops(WORDS, budget, rng, [6, 3, 2])),
        (choose_spans, lambda rng, budget: spans_by_loops(WORDS, budget, rng)),
    ],
)
@pytest.mark.parametrize("rate", [0.15, 0.4])
def test_masks_are_distributed_as_by_the_published_procedure(chooser, by_loops, rate):
    rows, seq = 4000, sum(WORDS)
    rng = random.Random(0)
    ours = chooser(*laid_out(WORDS, rows), seeded(), rate).tolist()
    sets = [by_loops(rng, round(rate * seq)) for _ in range(rows)]
    theirs = [[piece in chosen for piece in range(seq)] for chosen in sets]

    def features(row):
        """What a row shows: its pieces, its neighbours, how many, and how long the runs are."""
        runs = runs_of(row)
        yield from ((i,) for i in range(seq) if row[i])
        yield from ((i, i + 1) for i in range(seq - 1) if row[i] and row[i + 1])
        yield "chosen", sum(row)
        yield "runs", len(runs)
        yield "longest", max((end - start for start, end in runs), default=0)

    counts, expected = Counter(), Counter()
    for a, b in zip(ours, theirs, strict=True):
        counts.update(features(a))
        expected.update(features(b))
    for feature in counts | expected:
        assert_same_share(counts[feature], rows, expected[feature], rows)


def test_ngrams_have_alberts_weights_by_hand():
    # Words of one piece, budget 3: an n-gram of 3 with p = 2/11, else 2 and 1 or 1 and at most 2.
    # Three single words need 1 twice in a row: (6/11)²; for a longer n-gram second, 2 are left.
    rows, seq = 1500, 300
    may = torch.ones(rows, seq, dtype=torch.bool)
    chosen = choose_ngrams(may, torch.zeros_like(may), seeded(), rate=3 / seq)
    lengths = Counter(tuple(sorted(b - a for a, b in runs_of(row))) for row in chosen.tolist())
    # that two n-grams touch by chance, some 1 in 100, lies within the bounds
    assert_share(lengths[3,], rows, 2 / 11)
    assert_share(lengths[1, 2], rows, 3 / 11 + 6 / 11 * 5 / 11)
    assert_share(lengths[1, 1, 1], rows, (6 / 11) ** 2)
    assert set(lengths) == {(3,), (1, 2), (1, 1, 1)}


def test_ngrams_are_as_long_as_allowed():
    may = torch.ones(400, 200, dtype=torch.bool)
    # budget 5 and n-grams of 1 or 2 words; the n-gram of 5 has p(5) = (1/5) / (137/60)
    for longest, share in ((5, 12 / 137), (2, 0.0)):
        chosen = choose_ngrams(may, torch.zeros_like(may), seeded(), 5 / 200, longest)
        assert_share(sum(len(runs_of(row)) == 1 for row in chosen.tolist()), 400, share)


@pytest.mark.parametrize("chooser", [choose_ngrams, choose_spans])
def test_runs_of_words_end_at_a_gap(chooser):
    # 20 words with a [SEP] between them, budget 3: each three of them equally likely
    may, continues = laid_out([1, 0] * 20, 3000)
    chosen = chooser(may, continues, seeded())[:, ::2]
    assert (chosen.sum(dim=1) == 3).all()
    together = (chosen[:, 1:] & chosen[:, :-1]).sum().item()
    assert_share(together, 3000 * 19, 3 * 2 / (20 * 19))


# --- where: spans ---


def test_lengths_of_spans_are_cut_off_and_sum_to_one():
    expected = [0.2241, 0.1792, 0.1434, 0.1147, 0.0918, 0.0734, 0.0587, 0.0470, 0.0376, 0.0301]
    assert SPAN_SHARES == pytest.approx(expected, abs=5e-5)
    assert sum(SPAN_SHARES) == pytest.approx(1, abs=1e-12)
    mean = sum(n * share for n, share in enumerate(SPAN_SHARES, start=1))
    assert mean == pytest.approx(3.797, abs=5e-4), "the smaller of length and 10 has mean 4.463"


@pytest.mark.parametrize("budget", [2, 5, 10, 11])
def test_the_first_span_is_as_long_as_the_shares_say(budget):
    # Words of one piece: all is one run if the first span fills the budget (or, rarely, if spans
    # touch). No span has 11 words.
    rows, seq = 600, 600
    may = torch.ones(rows, seq, dtype=torch.bool)
    chosen = choose_spans(may, torch.zeros_like(may), seeded(), rate=budget / seq)
    ones = sum(len(runs_of(row)) == 1 for row in chosen.tolist())
    share = sum(SPAN_SHARES[budget - 1 :])
    error = 5 * math.sqrt(share * (1 - share) / rows) + 0.03  # spans that touch
    assert abs(ones / rows - share) < error


def test_spans_begin_with_a_word_use_the_budget_and_only_the_last_is_cut():
    ids = some_ids(300)
    may, continues = VOCABULARY[ids], some_continues(ids)
    chosen = choose_spans(may, continues, seeded(), 0.25)
    expected = [round(0.25 * n) for n in may.sum(dim=1).tolist()]
    assert chosen.sum(dim=1).tolist() == expected
    inside = torch.zeros_like(may)
    inside[:, 1:] = continues[:, 1:] & may[:, 1:] & may[:, :-1]
    cut = 0
    for row, goes_on in zip(chosen.tolist(), inside.tolist(), strict=True):
        runs = runs_of(row)
        assert not any(goes_on[start] for start, _ in runs), "a span begins within a word"
        torn = [end for _, end in runs if end < len(row) and goes_on[end]]
        assert len(torn) <= 1, "more than one span is cut within a word"
        cut += len(torn)
    assert cut > 0, "no span was cut, so this test has seen nothing"


# --- the usual call ---


def test_mask_tokens_is_choose_and_hide():
    ids = some_ids()
    generator = seeded()
    chosen = choose_each(VOCABULARY[ids], generator, 0.3)
    expected = hide(ids, chosen, MASK, VOCABULARY, generator, (0.5, 0.3, 0.2))
    masked = mask_tokens(ids, MASK, VOCABULARY, seeded(), 0.3, (0.5, 0.3, 0.2))
    for a, b in zip(masked, expected, strict=True):
        assert torch.equal(a, b)


def test_mask_tokens_of_a_large_batch():
    ids = some_ids(2000)
    masked = mask_tokens(ids, MASK, VOCABULARY, seeded())
    chosen, may = masked.labels != -100, VOCABULARY[ids]
    assert not chosen[~may].any(), "special, unknown or unused pieces, or padding, are chosen"
    assert_share(chosen.sum().item(), may.sum().item(), 0.15)
    assert_share((masked.ids[chosen] == MASK).sum().item(), chosen.sum().item(), 0.8)
    assert_close(masked.ids[~chosen], ids[~chosen], msg="what is not chosen has changed")
    assert (VOCABULARY[masked.ids] | (masked.ids == MASK))[chosen].all()


def test_inputs_are_left_as_they_were():
    ids, ordinary = some_ids(), VOCABULARY.clone()
    copy, shares = ids.clone(), [0.8, 0.1, 0.1]
    chosen = choose_each(ordinary[ids], seeded(), 0.5)
    chosen_copy = chosen.clone()
    results = [
        mask_tokens(ids, MASK, ordinary, seeded()),
        hide(ids, chosen, MASK, ordinary, seeded(), tuple(shares), whole_runs=True),
        hide(ids, torch.zeros_like(chosen), MASK, ordinary, seeded()),
        *masked_copies(ids, 2, MASK, ordinary, seeded()),
    ]
    for masked in results:
        masked.ids[:], masked.labels[:] = 0, 0
    assert torch.equal(ids, copy)
    assert torch.equal(chosen, chosen_copy)
    assert torch.equal(ordinary, VOCABULARY)


def test_the_same_seed_gives_the_same_batch_and_the_global_state_is_left_alone():
    ids = some_ids()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = mask_tokens(ids, MASK, VOCABULARY, seeded(), shares=(0.2, 0.6, 0.2))
    assert torch.equal(torch.get_rng_state(), before), "the global state has moved"
    torch.manual_seed(2)
    again = mask_tokens(ids, MASK, VOCABULARY, seeded(), shares=(0.2, 0.6, 0.2))
    assert torch.equal(first.ids, again.ids)
    assert torch.equal(first.labels, again.labels)


def test_dynamic_masks_differ_and_static_ones_are_copies_that_differ():
    ids, generator = some_ids(), seeded()
    calls = [mask_tokens(ids, MASK, VOCABULARY, generator, 0.2) for _ in range(3)]
    copies = masked_copies(ids, 3, MASK, VOCABULARY, seeded(), 0.2)
    for a, b in zip(calls, copies, strict=True):
        assert torch.equal(a.ids, b.ids)
        assert torch.equal(a.labels, b.labels)
    assert not torch.equal(copies[0].labels, copies[1].labels)
    assert not torch.equal(copies[1].labels, copies[2].labels)
    kept = masked_copies(ids, 1, MASK, VOCABULARY, seeded(), 0.2, (0.0, 0.0, 1.0))
    assert torch.equal(kept[0].ids, ids)


def test_texts_without_an_ordinary_piece_come_back_as_they_were():
    ids = torch.tensor([[CLS, SEP, PAD, PAD], [CLS, UNKNOWN, MASK, SEP]])
    masked = mask_tokens(ids, MASK, VOCABULARY, seeded(), 0.99)
    assert torch.equal(masked.ids, ids)
    assert (masked.labels == -100).all()
    for shape in ((0, 4), (2, 0)):
        nothing = torch.zeros(shape, dtype=torch.long)
        assert mask_tokens(nothing, MASK, VOCABULARY, seeded()).ids.shape == shape


def test_tokens_fare_as_with_the_collator_of_transformers():
    transformers = pytest.importorskip("transformers")
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(5, SIZE))]
    tokenizer = transformers.BertTokenizer(vocab={name: i for i, name in enumerate(names)})
    collate = transformers.DataCollatorForLanguageModeling(tokenizer, seed=0)
    ids = torch.randint(5, SIZE, (1500, 40), generator=seeded(1))
    ids[:, 0], ids[:, 20], ids[:, 39] = CLS, SEP, PAD
    theirs = Masked(*collate(list(ids.clone())).values())
    ours = mask_tokens(ids, MASK, torch.arange(SIZE) >= 5, seeded())

    def fates(masked):
        chosen = masked.labels != -100
        read, was = masked.ids[chosen], ids[chosen]
        assert_close(masked.labels[chosen], was)
        assert not chosen[ids < 5].any()
        return len(was), (read == MASK).sum().item(), (read == was).sum().item()

    (n, hidden, left), (m, their_hidden, their_left) = fates(ours), fates(theirs)
    assert_same_share(n, 1500 * 37, m, 1500 * 37)
    assert_same_share(left, n, their_left, m)
    assert_same_share(hidden, n, their_hidden, m)  # theirs may also draw [MASK], 1 in 1,000


# --- bad input ---


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 15.0, float("nan")])
def test_the_rate_is_between_0_and_1(rate):
    with pytest.raises(ValueError, match=f"rate={rate} .* BERT's is 0.15"):
        _check_draw(torch.ones(2, 3, dtype=torch.bool), seeded(), rate)
    may = torch.ones(2, 3, dtype=torch.bool)
    for chooser in PLAIN + BY_WORD:
        with pytest.raises(ValueError, match="rate="):
            choose(chooser, may, may, seeded(), rate)


@pytest.mark.parametrize(
    "shares", [(0.8, 0.1, 0.2), (0.8, 0.1, 0.0), (1.1, -0.1, 0.0), (80.0, 10.0, 10.0)]
)
def test_shares_sum_to_one(shares):
    ids = some_ids()
    with pytest.raises(ValueError, match=r"shares=\(.*must sum to 1"):
        mask_tokens(ids, MASK, VOCABULARY, seeded(), shares=shares)
    with pytest.raises(ValueError, match="three shares"):
        _check_ids(ids, MASK, VOCABULARY, seeded(), (0.8, 0.2))


def test_ids_must_be_in_the_vocabulary():
    for wrong in (SIZE, -100):
        ids = torch.tensor([[CLS, 11, wrong]])
        with pytest.raises(ValueError, match=f"no id {wrong}: ordinary is for 100 pieces"):
            mask_tokens(ids, MASK, VOCABULARY, seeded())
        with pytest.raises(ValueError, match=f"no id {wrong}"):
            hide(ids, torch.zeros_like(ids).bool(), MASK, VOCABULARY, seeded())
        with pytest.raises(ValueError, match=f"no id {wrong}"):
            mask_tokens(some_ids(), wrong, VOCABULARY, seeded())


def test_ids_are_whole_numbers_and_masks_booleans():
    ids = some_ids()
    for dtype in (torch.float32, torch.int32):
        with pytest.raises(TypeError, match=f"ids has dtype {dtype}; pass whole numbers"):
            _check_ids(ids.to(dtype), MASK, VOCABULARY, seeded(), SHARES)
    with pytest.raises(TypeError, match="ordinary has dtype torch.int64; pass tokenizer.ordinary"):
        _check_ids(ids, MASK, VOCABULARY.long(), seeded(), SHARES)
    with pytest.raises(TypeError, match="may has dtype torch.int64; pass booleans"):
        _check_draw(VOCABULARY[ids].long(), seeded(), 0.15)


@pytest.mark.parametrize("generator", [None, 0, random.Random(0)])
def test_the_generator_is_not_left_out(generator):
    ids = some_ids()
    with pytest.raises(TypeError, match=r"generator=.*; pass torch.Generator\(\).manual_seed"):
        _check_draw(VOCABULARY[ids], generator, 0.15)
    with pytest.raises(TypeError, match=r"generator=.*; pass torch.Generator\(\).manual_seed"):
        _check_ids(ids, MASK, VOCABULARY, generator, SHARES)


def test_what_is_chosen_must_be_ordinary():
    # the mask of real tokens, instead of ordinary[ids], would hide [CLS]
    ids = torch.tensor([[CLS, 11, SEP, PAD]])
    with pytest.raises(ValueError, match=f"id {CLS} is chosen, but not ordinary; choose where"):
        hide(ids, ids != PAD, MASK, VOCABULARY, seeded())


def test_mask_is_special_and_something_is_ordinary():
    with pytest.raises(ValueError, match=r"mask=11 is an ordinary piece; pass the id of \[MASK\]"):
        mask_tokens(some_ids(), 11, VOCABULARY, seeded())
    with pytest.raises(ValueError, match="ordinary is True nowhere; pass tokenizer.ordinary"):
        mask_tokens(some_ids(), MASK, torch.zeros(SIZE, dtype=torch.bool), seeded())


def test_numbers_of_copies_and_words():
    with pytest.raises(ValueError, match="k=0: there must be one copy"):
        masked_copies(some_ids(), 0, MASK, VOCABULARY, seeded())
    may = torch.ones(1, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match="longest=0: an n-gram has one word"):
        choose_ngrams(may, may, seeded(), longest=0)


def test_continues_is_of_the_texts_and_not_of_the_vocabulary():
    may = torch.ones(2, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"continues has shape \(100,\), may has \(2, 4\); pass"):
        _check_draw(may, seeded(), 0.15, VOCABULARY)
    for chooser in BY_WORD:
        with pytest.raises((TypeError, ValueError), match="continues"):
            chooser(may, VOCABULARY, seeded())


# --- a trained model is asked ---


WORDS_OF_TEXT = "you must stop go wait at the sign .".split()


@pytest.fixture
def asked():
    """A tokenizer of 14 pieces and a random model."""
    tokenizer = Tokenizer([*SPECIAL, *WORDS_OF_TEXT])
    torch.manual_seed(0)
    config = Bert(vocab=len(tokenizer.vocabulary), hidden=8, layers=1, heads=2, inner=16)
    model = MaskedTokenModel(config).eval()
    torch.nn.init.normal_(model.masked_token.bias)
    return model, tokenizer


def test_the_blanks_are_filled_as_the_reference_fills_them(asked, tmp_path):
    """The pipeline of `transformers`, on the same weights, gives the same pieces and shares."""
    from transformers import BertForMaskedLM, BertTokenizer, pipeline

    model, tokenizer = asked
    save(model, tmp_path)
    tokenizer.save(tmp_path)
    theirs = pipeline(
        "fill-mask",
        model=BertForMaskedLM.from_pretrained(tmp_path),
        tokenizer=BertTokenizer.from_pretrained(tmp_path),
        top_k=3,
    )
    text = "You must [MASK] at the [MASK] ."
    expected = [[(g["token_str"], g["score"]) for g in blank] for blank in theirs(text)]
    found = fill_mask(model, tokenizer, text, count=3)
    assert [[g.piece for g in blank] for blank in found] == [
        [piece for piece, _ in blank] for blank in expected
    ]
    for ours, theirs in zip(sum(found, []), sum(expected, []), strict=True):
        assert ours.share == pytest.approx(theirs[1], abs=1e-6)


def test_the_shares_of_a_blank_sum_to_one_and_fall(asked):
    model, tokenizer = asked
    (blank,) = fill_mask(model, tokenizer, "you [MASK] .", count=len(tokenizer.vocabulary))
    shares = [guess.share for guess in blank]
    assert sum(shares) == pytest.approx(1)
    assert shares == sorted(shares, reverse=True)


def test_what_cannot_be_filled_is_refused(asked):
    model, tokenizer = asked
    with pytest.raises(ValueError, match="'you must stop' has no .MASK."):
        fill_mask(model, tokenizer, "you must stop")
    with pytest.raises(ValueError, match="training mode"):
        fill_mask(model.train(), tokenizer, "you [MASK]")


@pytest.mark.parametrize("count", [0, -1, 15, 30])
def test_as_many_guesses_as_there_are_pieces_at_most(asked, count):
    model, tokenizer = asked
    with pytest.raises(ValueError, match=f"count={count}: choose from 1 to all 14 pieces"):
        fill_mask(model, tokenizer, "you [MASK]", count)


@pytest.mark.parametrize("pieces", [10, 30])
def test_a_tokenizer_of_another_model_is_refused(asked, pieces):
    model, _ = asked
    other = Tokenizer([*SPECIAL, *map(chr, range(97, 97 + pieces - len(SPECIAL)))])
    with pytest.raises(ValueError, match=f"the tokenizer has {pieces} pieces and the model 14"):
        fill_mask(model, other, "a [MASK]")
    if pieces > 14:
        with pytest.raises(ValueError, match="there is no id .*: there are 14.* belong together"):
            fill_mask(model, other, "y [MASK]")


class Elsewhere(torch.nn.Module):
    """Stands for a model on another device: it tells where what it reads is."""

    def __init__(self, seen):
        super().__init__()
        self.parameter = torch.nn.Parameter(torch.zeros(1, device="meta"))
        self.seen = seen

    def forward(self, ids, segments=None, keep=None, chosen=None):
        given = [x for x in (ids, segments, keep, chosen) if x is not None]
        self.seen += [x.device.type for x in given]
        raise StopIteration


def test_texts_are_brought_to_where_the_model_is(asked):
    _, tokenizer = asked
    ids = torch.full((1, 4), 6)
    with pytest.raises(StopIteration):
        measure(Elsewhere(seen := []).eval(), ids, ids, ids, ids > 0)
    assert seen == ["meta"] * 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_model_on_a_gpu_gives_the_same(asked):
    model, tokenizer = asked
    ids = torch.randint(5, 13, (7, 9), generator=seeded())
    here, guesses = measure(model, ids, ids), fill_mask(model, tokenizer, "you [MASK]")
    there = measure(model.cuda(), ids, ids)
    assert there.nats.device.type == there.hits.device.type == "cpu"
    assert_close(there.nats, here.nats, rtol=1e-4, atol=1e-4)
    for ours, theirs in zip(fill_mask(model, tokenizer, "you [MASK]")[0], guesses[0], strict=True):
        assert ours.piece == theirs.piece and ours.share == pytest.approx(theirs.share, abs=1e-4)


def test_each_blank_is_measured_as_when_it_is_asked_for_by_itself(asked):
    model, tokenizer = asked
    ids = torch.randint(5, 13, (7, 9), generator=seeded())
    hidden = mask_tokens(ids, tokenizer.mask, tokenizer.ordinary, seeded(1), 0.4, (1.0, 0.0, 0.0))
    found = measure(model, *hidden, size=3)
    nats, hits = [], []
    for row, place in (hidden.labels != IGNORE_INDEX).nonzero().tolist():
        shares = model(hidden.ids[row : row + 1])[0, place].softmax(dim=-1)
        nats.append(-shares[ids[row, place]].log())
        hits.append(shares.argmax() == ids[row, place])
    assert_close(found.nats, torch.stack(nats))
    assert found.hits.tolist() == [bool(hit) for hit in hits] and 0 < sum(hits) < len(hits)


def test_later_parts_of_a_batch_are_measured_like_the_first(asked):
    """Each row with its own segments and padding, however the rows are cut into parts."""
    model, tokenizer = asked
    torch.nn.init.normal_(model.encoder.embeddings.segment.weight)
    ids = torch.randint(5, 13, (5, 9), generator=seeded())
    keep = torch.arange(9) < torch.tensor([[9], [3], [5], [9], [4]])
    segments = (torch.arange(9) > torch.tensor([[2], [1], [9], [4], [0]])).long()
    ids, labels = ids.masked_fill(~keep, tokenizer.pad), ids.masked_fill(~keep, IGNORE_INDEX)
    whole = measure(model, ids, labels, segments, keep)
    for size in (1, 2, 4):
        assert_close(measure(model, ids, labels, segments, keep, size), whole)


@pytest.mark.parametrize("rows, size", [(0, 64), (3, 0), (3, -1)])
def test_nothing_to_measure_is_refused(asked, rows, size):
    ids = torch.full((rows, 4), 6)
    with pytest.raises(ValueError, match=f"{rows} rows, size={size}: needed are a row"):
        measure(asked[0], ids, ids, size=size)


@pytest.mark.parametrize("label", [14, -1, -99])
def test_a_label_that_is_no_piece_is_named(asked, label):
    ids = torch.full((1, 4), 6)
    with pytest.raises(ValueError, match=f"label {label} is no piece of the model: it knows 14"):
        measure(asked[0], ids, ids.masked_fill(torch.arange(4) == 2, label))


def test_segments_and_padding_are_read_when_measuring(asked):
    model, tokenizer = asked
    torch.nn.init.normal_(model.encoder.embeddings.segment.weight)
    ids = torch.randint(5, 13, (2, 9), generator=seeded())
    short = measure(model, ids, ids, torch.ones_like(ids))
    padded = torch.cat([ids, torch.zeros(2, 3, dtype=torch.long)], dim=1)
    keep = torch.arange(12).expand(2, 12) < 9
    labels = padded.masked_fill(~keep, IGNORE_INDEX)
    assert_close(measure(model, padded, labels, torch.ones_like(padded), keep).nats, short.nats)
    assert (measure(model, padded, labels, None, keep).nats - short.nats).abs().max() > 0.01


def test_a_model_in_training_is_not_measured(asked):
    model, _ = asked
    ids = torch.full((1, 4), 6)
    with pytest.raises(ValueError, match="training mode"):
        measure(model.train(), ids, ids)


def test_models_of_others_are_asked_one_by_one_and_one_that_is_missing_stops_none(asked, tmp_path):
    """Without network: of the hub nothing can be had, and a folder after it is still asked."""
    model, tokenizer = asked
    save(model, tmp_path / "ours")
    tokenizer.save(tmp_path / "ours")
    folder, text = str(tmp_path / "ours"), "you must [MASK] at the sign"
    told = ask_published(["bert-base-cased", folder, str(tmp_path / "nowhere")], text, 3)
    assert list(told) == ["bert-base-cased", folder, str(tmp_path / "nowhere")]
    assert told["bert-base-cased"] is told[str(tmp_path / "nowhere")] is None
    (mine,) = fill_mask(model, tokenizer, text, 3)
    assert [g.piece for g in told[folder]] == [g.piece for g in mine]
    assert [g.share for g in told[folder]] == pytest.approx([g.share for g in mine], abs=1e-5)
    with pytest.raises(ValueError, match="has 0 .MASK.; it must have one"):
        ask_published([folder], "you must stop")

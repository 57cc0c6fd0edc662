"""What must be true of counting: by hand, by a slow oracle in fractions, by invariance."""

import math
from collections import Counter
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from bertfamily.counts import UNKNOWN, Counts, interval

torch.set_num_threads(1)
TEXTS = [["a", "b"], ["a", "b"], ["a", "c"]]  # six symbols of three kinds
texts_of = st.lists(st.lists(st.sampled_from("abcd"), max_size=6), min_size=1, max_size=6)
texts_of = texts_of.filter(any)


def blanks_of(texts):
    """Every place of every text."""
    return torch.tensor([[t, i] for t, text in enumerate(texts) for i in range(len(text))])


def neighbours(text, place, step, count):
    """`count` neighbours from near to far; None for each that lies beyond the end."""
    places = [place + step * far for far in range(1, count + 1)]
    return tuple(text[i] if 0 <= i < len(text) else None for i in places)


def slow(texts, text, place, left, right, known):
    """P of each known symbol and UNKNOWN, from the docstring's formulas, in fractions."""
    texts = [[x if x in known else UNKNOWN for x in t] for t in texts]
    text = [x if x in known else UNKNOWN for x in text]
    symbols = [*known, UNKNOWN]

    def side(step, count):
        shares = dict.fromkeys(symbols, Fraction(1, len(symbols)))
        for length in range(count + 1):
            context = neighbours(text, place, step, length)
            seen = Counter(
                t[i]
                for t in texts
                for i in range(len(t))
                if neighbours(t, i, step, length) == context
            )
            total, kinds = sum(seen.values()), len(seen)
            if total:
                shares = {x: (seen[x] + kinds * shares[x]) / (total + kinds) for x in symbols}
        return shares

    before, after, alone = side(-1, left), side(1, right), side(1, 0)
    joined = {x: before[x] * after[x] / alone[x] for x in symbols}
    return [float(joined[x] / sum(joined.values())) for x in symbols]


# --- by hand ---


def test_the_formula_by_hand():
    counts = Counts(TEXTS, reach=1)
    assert counts.symbols == ("a", "b", "c", UNKNOWN)
    alone = [(3 + 3 / 4) / 9, (2 + 3 / 4) / 9, (1 + 3 / 4) / 9, (0 + 3 / 4) / 9]
    blank = torch.tensor([[0, 1]])
    assert_close(counts.probabilities([["a", "?"]], blank), torch.tensor([alone]))
    # after a: b twice and c once, so 3 in all and 2 kinds
    after_a = [(seen + 2 * p) / 5 for seen, p in zip((0, 2, 1, 0), alone, strict=True)]
    assert_close(counts.probabilities([["a", "?"]], blank, left=1), torch.tensor([after_a]))
    # before the end: the same; so both sides give P(x | a) · P(x | end) / P(x), brought to sum 1
    joined = torch.tensor([p * p / q for p, q in zip(after_a, alone, strict=True)])
    both = counts.probabilities([["a", "?"]], blank, left=1, right=1)
    assert_close(both, (joined / joined.sum())[None])


def test_a_neighbour_never_seen_tells_nothing():
    counts = Counts(TEXTS, reach=2)
    blank = torch.tensor([[0, 1]])
    alone = counts.probabilities([["?", "?"]], blank)
    assert_close(counts.probabilities([["c", "?"]], blank, left=1), alone)  # nothing follows c
    assert_close(counts.probabilities([["z", "?"]], blank, left=2), alone)
    one = counts.probabilities([["a", "?"]], blank, left=1)
    unseen = torch.tensor([[0, 2]])
    assert_close(counts.probabilities([["c", "a", "?"]], unseen, left=2), one)  # c a: never seen


def test_two_neighbours_differ_from_one():
    texts = [list("axb"), list("ayb"), list("cxd"), list("cxd")]
    counts = Counts(texts)
    (one,) = counts.guesses(list("a?b"), 1, left=1, count=1)
    (two,) = counts.guesses(list("cx?"), 2, left=2, count=1)
    (near,) = counts.guesses(list("ax?"), 2, left=2, count=1)
    assert (two[0], near[0]) == ("d", "b")
    assert one[0] in "xy"


def test_measured_by_hand():
    counts = Counts(TEXTS, reach=1)
    nats, hits = counts.measure([["a", "b"], ["a", "c"]], torch.tensor([[0, 1], [1, 1]]), left=1)
    likely, rare = (2 + 2 * 2.75 / 9) / 5, (1 + 2 * 1.75 / 9) / 5
    assert_close(nats, torch.tensor([-math.log(likely), -math.log(rare)]))
    assert hits.tolist() == [True, False]  # b is the first guess after a


def test_an_interval_by_hand():
    # means 1 and 4 in two groups of one and two blanks: the mean is 3, the sums are off by -2 and 2
    got = interval(torch.tensor([1.0, 4.0, 4.0]), torch.tensor([7, 3, 3]))
    half = 1.96 * math.sqrt(2 * (4 + 4)) / 3
    assert got == pytest.approx((3.0, 3.0 - half, 3.0 + half))


# --- by a slow oracle ---


@settings(max_examples=60, deadline=None)
@given(texts_of, texts_of, st.integers(0, 3), st.integers(0, 3), st.sampled_from([None, 1, 2, 3]))
def test_it_agrees_with_the_slow_one_and_sums_to_1(texts, asked, left, right, size):
    counts = Counts(texts, reach=3, size=size)
    blanks = blanks_of(asked)
    shares = counts.probabilities(asked, blanks, left, right)
    assert_close(shares.sum(dim=-1), torch.ones(len(blanks)))
    assert (shares > 0).all()
    known = counts.symbols[:-1]
    expected = [slow(texts, asked[t], i, left, right, known) for t, i in blanks.tolist()]
    assert_close(shares, torch.tensor(expected), atol=1e-6, rtol=1e-4)


# --- by invariance ---


@settings(max_examples=40, deadline=None)
@given(texts_of, texts_of, st.integers(0, 2), st.integers(0, 2))
def test_reversing_the_text_exchanges_left_and_right(texts, asked, left, right):
    blanks = blanks_of(asked)
    mirrored = torch.tensor([[t, len(asked[t]) - 1 - i] for t, i in blanks.tolist()])
    counts, reverse = Counts(texts), Counts([text[::-1] for text in texts])
    theirs = reverse.probabilities([text[::-1] for text in asked], mirrored, right, left)
    order = [reverse.ids[symbol] for symbol in counts.symbols]
    assert_close(counts.probabilities(asked, blanks, left, right), theirs[:, order])


@settings(max_examples=40, deadline=None)
@given(texts_of, st.lists(st.sampled_from("abcz"), min_size=1, max_size=6), st.data())
def test_what_stands_in_the_blank_is_not_read(texts, text, data):
    place = data.draw(st.integers(0, len(text) - 1))
    counts, blank = Counts(texts), torch.tensor([[0, place]])
    other = [*text[:place], "other", *text[place + 1 :]]
    for left, right in ((1, 0), (0, 1), (2, 2)):
        before, after = (counts.probabilities([t], blank, left, right) for t in (text, other))
        assert torch.equal(before, after)


def test_texts_do_not_touch():
    counts = Counts([list("ab"), list("cd")])
    together, apart = [list("ab"), list("cd")], [list("cd"), list("zz"), list("ab")]
    for left, right in ((2, 0), (0, 2), (2, 2)):
        first = counts.probabilities(together, torch.tensor([[0, 1]]), left, right)
        assert torch.equal(first, counts.probabilities(apart, torch.tensor([[2, 1]]), left, right))
    begins = counts.probabilities([list("ac")], torch.tensor([[0, 0]]), left=1)[0]
    assert begins[counts.ids["a"]] == begins[counts.ids["c"]]  # both have begun one text
    assert begins[counts.ids["a"]] > begins[counts.ids["b"]]


def test_symbols_are_anything_that_can_be_hashed():
    words = [["stop", "at", "the", "sign"], ["wait", "at", "the", "light"]]
    numbers = {word: 100 + i for i, word in enumerate(dict.fromkeys(sum(words, [])))}
    ids = [[numbers[word] for word in text] for text in words]
    blanks = blanks_of(words)
    for left, right in ((0, 0), (2, 1)):
        by_words = Counts(words).probabilities(words, blanks, left, right)
        assert torch.equal(by_words, Counts(ids).probabilities(ids, blanks, left, right))
    assert words[0] == ["stop", "at", "the", "sign"]


# --- the vocabulary ---


def test_the_vocabulary_is_the_most_frequent_symbols():
    counts = Counts([list("abbcccd")], size=2)
    assert counts.symbols == ("c", "b", UNKNOWN)
    assert Counts([[*"aab", UNKNOWN, UNKNOWN, UNKNOWN]], size=1).symbols == ("a", UNKNOWN)
    # the others count as one: a, d and the blank's own text are UNKNOWN, 2 of 7 here
    (shares,) = counts.probabilities([["?"]], torch.tensor([[0, 0]]))
    assert_close(shares, torch.tensor([(3 + 1) / 10, (2 + 1) / 10, (2 + 1) / 10]))


def test_unknown_is_never_a_guess_and_never_a_hit():
    counts = Counts([["a", "rare"], ["a", "odd"], ["a", "b"]], size=2)
    assert counts.symbols == ("a", "rare", UNKNOWN)
    (shares,) = counts.probabilities([["a", "?"]], torch.tensor([[0, 1]]), left=1)
    assert shares.argmax() == 2  # odd and b together are likelier than rare
    assert [symbol for symbol, _ in counts.guesses(["a", "?"], 1, left=1)] == ["rare", "a"]
    measured = counts.measure([["a", "b"], ["a", "rare"]], torch.tensor([[0, 1], [1, 1]]), left=1)
    assert measured.hits.tolist() == [False, True]
    assert_close(measured.nats, -torch.log(shares[[2, 1]]))


def test_guesses_are_sorted_and_as_many_as_asked_for():
    counts = Counts([list("aaabbc")])
    (shares,) = counts.probabilities([["?"]], torch.tensor([[0, 0]]))
    expected = [("a", shares[0].item()), ("b", shares[1].item())]
    assert counts.guesses(["?"], 0, count=2) == expected
    assert len(counts.guesses(["?"], 0, count=9)) == 3
    for count in (0, -1):
        with pytest.raises(ValueError, match=f"count={count}: ask for one guess at least"):
            counts.guesses(["?"], 0, count=count)


# --- measuring ---


def test_many_blanks_are_measured_as_one_by_one():
    generator = torch.Generator().manual_seed(0)
    texts = torch.randint(5, (30, 20), generator=generator).tolist()  # 600 blanks, in three parts
    counts, blanks = Counts(texts, size=4), blanks_of(texts)
    for left, right in ((0, 0), (1, 0), (0, 2), (2, 2)):
        nats, hits = counts.measure(texts, blanks, left, right)
        shares = counts.probabilities(texts, blanks, left, right)
        truth = torch.tensor([counts.ids.get(x, 4) for text in texts for x in text])
        assert_close(nats, -shares[torch.arange(600), truth].log())
        assert torch.equal(hits, (shares[:, :4].argmax(dim=-1) == truth))
        assert 0 < hits.sum() < 600
    none = counts.measure(texts, blanks[:0], 1, 1)
    assert (len(none.nats), len(none.hits)) == (0, 0)


def test_the_interval_counts_groups_and_not_blanks():
    generator = torch.Generator().manual_seed(0)
    values, groups = torch.randn(40, generator=generator), torch.arange(40) // 4
    once, thrice = interval(values, groups), interval(values.repeat(3), groups.repeat(3))
    assert once == pytest.approx(thrice)  # the same ten documents, told three times
    assert (
        interval(values, torch.arange(40)).high
        < interval(values.repeat(3), groups.repeat(3)).high + 1
    )
    shuffled = torch.randperm(40, generator=generator)
    assert once == pytest.approx(interval(values[shuffled], groups[shuffled]))


def test_the_interval_holds_the_truth_95_times_in_100():
    """100 documents of unlike length, each with a level of its own around 0."""
    generator = torch.Generator().manual_seed(0)
    trials, inside = 1000, 0
    for _ in range(trials):
        lengths = torch.randint(1, 20, (100,), generator=generator)
        groups = torch.arange(100).repeat_interleave(lengths)
        values = torch.randn(100, generator=generator)[groups]
        values = values + torch.randn(len(groups), generator=generator)
        _, low, high = interval(values, groups)
        inside += low < 0 < high
    # a binomial of 1000 and 0.95 has a deviation of 6.9; the normal interval is a bit short
    assert abs(inside - 950) < 4 * 6.9


# --- what is refused ---


@pytest.mark.parametrize(
    "texts, options", [([], {}), ([[]], {}), (TEXTS, {"reach": -1}), (TEXTS, {"size": 0})]
)
def test_nothing_to_count_is_refused(texts, options):
    with pytest.raises(ValueError, match="needed are"):
        Counts(texts, **options)


@pytest.mark.parametrize("left, right", [(3, 0), (0, 3), (-1, 0), (0, -1)])
def test_more_neighbours_than_were_counted_are_refused(left, right):
    with pytest.raises(ValueError, match=f"left={left}, right={right}.*reach=2"):
        Counts(TEXTS).probabilities(TEXTS, torch.tensor([[0, 0]]), left, right)


@pytest.mark.parametrize("blank", [(3, 0), (0, 2), (-1, 0), (0, -1)])
def test_a_blank_outside_the_texts_is_refused(blank):
    with pytest.raises(ValueError, match=rf"blank \({blank[0]}, {blank[1]}\)"):
        Counts(TEXTS).measure(TEXTS, torch.tensor([blank]), 1, 1)


def test_an_interval_needs_two_groups():
    with pytest.raises(ValueError, match="1 groups"):
        interval(torch.ones(3), torch.zeros(3, dtype=torch.long))
    with pytest.raises(ValueError, match="0 groups"):
        interval(torch.ones(0), torch.zeros(0, dtype=torch.long))

"""Metrics: by hand, and equal to scikit-learn, SciPy and nervaluate on random cases."""

import math
import random
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nervaluate import Evaluator
from scipy import stats
from sklearn import metrics as theirs

from bertfamily.metrics import (
    Entity,
    Scores,
    accuracy,
    answer_f1,
    bootstrap,
    class_scores,
    entities,
    entity_scores,
    exact_match,
    macro_f1,
    matthews,
    pearson,
    plain_answer,
    scores,
    spearman,
)

labels = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30)


def columns(pairs):
    return [list(column) for column in zip(*pairs, strict=True)]


# --- classes


@settings(max_examples=40, deadline=None)
@given(labels)
def test_classes_are_scored_as_by_scikit_learn(pairs):
    guesses, truths = columns(pairs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that nobody guessed
        assert accuracy(guesses, truths) == pytest.approx(theirs.accuracy_score(truths, guesses))
        expected = theirs.f1_score(truths, guesses, average="macro", zero_division=0)
        assert macro_f1(guesses, truths) == pytest.approx(expected)
        assert matthews(guesses, truths) == pytest.approx(theirs.matthews_corrcoef(truths, guesses))
        for c in range(4):
            expected = theirs.precision_recall_fscore_support(
                truths, guesses, labels=[c], zero_division=0
            )
            found = class_scores(guesses, truths, positive=c)
            assert found == pytest.approx([x.item() for x in expected[:3]])


def test_classes_by_hand():
    """Of four guesses of class 1 three are right, and of five that there are three are found."""
    guesses, truths = [1, 1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 1, 1, 0]
    assert class_scores(guesses, truths) == (3 / 4, 3 / 5, 2 / 3)
    assert accuracy(guesses, truths) == 4 / 7
    assert matthews(guesses, truths) == pytest.approx((3 * 1 - 1 * 2) / math.sqrt(4 * 5 * 2 * 3))
    assert matthews([1, 1, 1], [1, 0, 1]) == 0, "one guess throughout"
    assert matthews([0, 1], [0, 1]) == 1 and matthews([1, 0], [0, 1]) == -1


def test_the_f1_of_a_class_is_not_that_of_the_other():
    guesses, truths = [1, 0, 0, 0], [1, 1, 0, 0]
    assert class_scores(guesses, truths, 1).f1 == pytest.approx(2 / 3)
    assert class_scores(guesses, truths, 0).f1 == pytest.approx(4 / 5)
    assert macro_f1(guesses, truths) == pytest.approx((2 / 3 + 4 / 5) / 2)


@pytest.mark.parametrize("metric", [accuracy, macro_f1, matthews, pearson, spearman])
@pytest.mark.parametrize("guesses, truths", [([1], [1, 0]), ([1, 0], [1])])
def test_lists_of_other_lengths_are_refused(metric, guesses, truths):
    with pytest.raises(ValueError, match="one guess for each"):
        metric(guesses, truths)


def test_nothing_has_no_accuracy():
    with pytest.raises(ValueError, match="one at least"):
        accuracy([], [])


@pytest.mark.parametrize("case", [(2, 1, 3), (2, 3, 1), (-1, 1, 1)])
def test_more_right_than_there_are_is_refused(case):
    with pytest.raises(ValueError, match="it is in both"):
        scores(*case)


# --- numbers

numbers = st.lists(
    st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=3, max_size=30
).filter(lambda pairs: all(len(set(column)) > 1 for column in columns(pairs)))


@settings(max_examples=60, deadline=None)
@given(numbers)
def test_correlations_are_those_of_scipy(pairs):
    """Few different numbers, so that many are equal: then ranks are shared."""
    a, b = columns(pairs)
    assert pearson(a, b) == pytest.approx(stats.pearsonr(a, b).statistic, abs=1e-9)
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-9)


def test_spearman_counts_ranks_and_not_distances():
    assert spearman([1, 2, 3, 4], [1, 10, 100, 1000]) == pytest.approx(1)
    assert pearson([1, 2, 3, 4], [1, 10, 100, 1000]) < 0.9
    assert spearman([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    assert math.isnan(spearman([1, 1, 1], [1, 2, 3])), "a constant is correlated with nothing"


# --- entities


@pytest.mark.parametrize(
    "tags, expected",
    [
        ("O B-PER I-PER O", [("PER", 1, 3)]),
        ("B-PER B-PER", [("PER", 0, 1), ("PER", 1, 2)]),
        ("B-PER I-LOC", [("PER", 0, 1), ("LOC", 1, 2)]),
        ("O I-LOC I-LOC", [("LOC", 1, 3)]),
        ("B-PER O I-PER", [("PER", 0, 1), ("PER", 2, 3)]),
        ("B-geo-loc I-geo-loc", [("geo-loc", 0, 2)]),
        ("O O", []),
        ("", []),
    ],
)
def test_entities_by_hand(tags, expected):
    assert entities(tags.split()) == [Entity(*e) for e in expected]


@pytest.mark.parametrize("tag", ["PER", "E-PER", "B", "B-", "o", "-PER"])
def test_other_tags_are_refused(tag):
    with pytest.raises(ValueError, match="a tag is O, or B- or I-"):
        entities(["O", tag])


def test_an_entity_counts_whole_or_not_at_all():
    truth = [["B-PER", "I-PER", "O", "B-LOC"]]
    assert entity_scores(truth, truth) == (1, 1, 1)
    short = [["B-PER", "O", "O", "B-LOC"]]
    assert entity_scores(short, truth) == (1 / 2, 1 / 2, 1 / 2)
    assert entity_scores([["O", "O", "O", "B-LOC"]], truth) == pytest.approx((1, 1 / 2, 2 / 3))
    assert entity_scores([["B-LOC", "I-LOC", "O", "B-LOC"]], truth).f1 == 1 / 2, "another kind"
    assert entity_scores([["O"] * 4], truth) == (0, 0, 0)


def test_sentences_are_counted_together_and_not_averaged():
    guesses, truths = [["B-PER"], ["O"] * 3], [["B-PER"], ["B-PER"] * 3]
    assert entity_scores(guesses, truths) == (1, 1 / 4, 2 / 5)


def test_the_same_span_of_two_sentences_is_two():
    truths = [["B-PER"], ["B-PER"]]
    assert entity_scores([["B-PER"], ["O"]], truths) == (1, 1 / 2, pytest.approx(2 / 3))


def test_a_sentence_with_too_few_tags_is_refused():
    with pytest.raises(ValueError, match="2 tags for a sentence of 1"):
        entity_scores([["O", "O"]], [["O"]])


def bio(rng, length):
    """Tags as people give them: an I only where its entity goes on."""
    tags = []
    for _ in range(length):
        goes_on = [f"I-{tags[-1][2:]}"] if tags and tags[-1] != "O" else []
        tags.append(rng.choice(["O", "B-PER", "B-LOC", *goes_on, *goes_on]))
    return tags


def test_entities_are_scored_as_by_nervaluate():
    rng = random.Random(0)
    for _ in range(30):
        lengths = [rng.randint(1, 12) for _ in range(4)]
        truths, guesses = ([bio(rng, n) for n in lengths] for _ in range(2))
        result = Evaluator(truths, guesses, tags=["PER", "LOC"], loader="list").evaluate()
        strict = result["overall"]["strict"]
        expected = strict.precision, strict.recall, strict.f1
        assert entity_scores(guesses, truths) == pytest.approx(expected)


# --- answers


@pytest.mark.parametrize(
    "text, plain",
    [
        ("The Apple!", "apple"),
        ("an  apple, a day", "apple day"),
        ("theory", "theory"),
        ("U.S.", "us"),
        ("the", ""),
        ("rock-and-roll", "rockandroll"),
    ],
)
def test_a_plain_answer(text, plain):
    assert plain_answer(text) == plain


def test_answers_by_hand():
    assert exact_match("the Canada", ["California", "canada."]) == 1
    assert exact_match("in Canada", ["Canada"]) == 0
    assert answer_f1("in Canada", ["Canada"]) == pytest.approx(2 / 3)
    assert answer_f1("in Canada", ["Canada", "in canada now"]) == pytest.approx(4 / 5)
    assert answer_f1("France", ["Canada"]) == 0
    assert answer_f1("b b c", ["b c c"]) == pytest.approx(2 / 3), (
        "a word counts as often as in both"
    )
    assert (answer_f1("", [""]), answer_f1("", ["Canada"]), answer_f1("Canada", [""])) == (1, 0, 0)
    assert (exact_match("", [""]), exact_match("the", [""])) == (1, 1)


@pytest.mark.parametrize("metric", [exact_match, answer_f1])
def test_references_are_a_list_with_one_at_least(metric):
    with pytest.raises(TypeError, match="give a list"):
        metric("Canada", "Canada")
    with pytest.raises(ValueError, match="there is no reference"):
        metric("Canada", [])


# --- how sure


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_with_one_seed_the_bootstrap_is_that_of_the_texts():
    values = (torch.rand(1, 400, generator=seeded(1)) < 0.7).double()
    found = bootstrap(values, seeded(), draws=4_000)
    assert found.mean == values.mean().item()
    half = 1.96 * math.sqrt(found.mean * (1 - found.mean) / 400)
    assert found.low == pytest.approx(found.mean - half, abs=0.005)
    assert found.high == pytest.approx(found.mean + half, abs=0.005)


def test_seeds_that_differ_widen_the_interval():
    """The texts are all alike, the seeds are not: the width is that of a mean of eight seeds."""
    of_seed = torch.tensor([0.0, 1, 0, 1, 0, 1, 0, 1])
    found = bootstrap(of_seed[:, None].expand(8, 50), seeded())
    half = 1.96 * 0.5 / math.sqrt(8)
    assert (found.low, found.high) == pytest.approx((0.5 - half, 0.5 + half), abs=0.07)


def test_texts_that_all_seeds_get_wrong_are_not_many_texts():
    """Five copies of a row are one row: the interval does not shrink."""
    row = (torch.rand(1, 200, generator=seeded(2)) < 0.5).double()
    once, copied = (bootstrap(row.expand(n, 200), seeded(), 4_000) for n in (1, 5))
    assert copied.high - copied.low == pytest.approx(once.high - once.low, rel=0.05)


def test_the_bootstrap_is_repeated_by_its_generator_and_refuses_one_text():
    values = torch.rand(3, 20, generator=seeded())
    assert bootstrap(values, seeded(5), 500) == bootstrap(values, seeded(5), 500)
    assert bootstrap(values, seeded(5), 500) != bootstrap(values, seeded(6), 500)
    with pytest.raises(ValueError, match="2 at least"):
        bootstrap(values[:, :1], seeded())


def test_scores_have_names():
    assert Scores(1, 0, 0).precision == 1

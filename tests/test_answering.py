"""Answers: the best legal span, windows that miss nothing, and labels that point at the words."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bertfamily.answering import (
    answer,
    best_answer,
    best_span,
    examples_of,
    in_passage,
    span_of,
    windows,
)
from bertfamily.encoder import Bert, Encoder
from bertfamily.finetuning import Tuning, finetune, under_head
from bertfamily.heads import Span, SpanModel
from bertfamily.training import initialize
from bertfamily.wordpiece import SPECIAL, Tokenizer

WORDS = "matt lives in canada and sinan california where does ? . ##s a b c d e f g h"
TOKENIZER = Tokenizer([*SPECIAL, *WORDS.split()])
PASSAGE = "Matt lives in Canada and Sinan lives in California."


def all_true(n):
    return torch.ones(n, dtype=torch.bool)


# --- the best span


def test_the_best_span_by_hand():
    """The best first token is 3 and the best last one 1, which is no span; 0 to 1 is the best."""
    start, end = torch.tensor([4.0, 0, 0, 5]), torch.tensor([0.0, 6, 0, 1])
    assert best_span(start, end, all_true(4)) == (0, 1, 10.0)


def by_hand(start, end, allowed, longest):
    spans = [
        (float(start[i] + end[j]), -i, -j)
        for i in range(len(start))
        for j in range(i, min(len(start), i + longest))
        if all(allowed[i : j + 1])
    ]
    score, i, j = max(spans)
    return -i, -j, score


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 12), st.integers(1, 13), st.integers(0, 10_000))
def test_the_best_span_is_the_best_of_all(n, longest, seed):
    generator = torch.Generator().manual_seed(seed)
    start, end = torch.randint(-3, 4, (2, n), generator=generator).float()
    allowed = torch.rand(n, generator=generator) < 0.7
    allowed[torch.randint(n, (1,), generator=generator)] = True
    expected = by_hand(start, end, allowed.tolist(), longest)
    assert best_span(start, end, allowed, longest) == expected


def test_a_span_does_not_lead_over_a_barred_token():
    start, end = torch.tensor([9.0, 0, 0, 0]), torch.tensor([0.0, 0, 0, 9])
    allowed = torch.tensor([True, False, True, True])
    assert best_span(start, end, allowed)[:2] in [(0, 0), (2, 3), (3, 3)]


def test_scores_far_below_zero_are_found_too():
    scores = torch.full((3,), -1e4)
    assert best_span(scores, scores, torch.tensor([False, True, False]))[:2] == (1, 1)


def test_no_span_is_refused():
    scores = torch.zeros(3)
    with pytest.raises(ValueError, match="no token is allowed"):
        best_span(scores, scores, ~all_true(3))
    with pytest.raises(ValueError, match="longest=0"):
        best_span(scores, scores, all_true(3), longest=0)


# --- windows


def test_one_window_is_the_pair_as_the_tokenizer_encodes_it():
    question = "Where does Matt live?"
    (window,) = windows(TOKENIZER, question, PASSAGE)
    assert window == TOKENIZER.encode(question, PASSAGE)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 40), st.integers(8, 20), st.integers(1, 20))
def test_every_token_is_in_a_window_and_each_begins_a_stride_later(count, longest, stride):
    passage, room = " ".join(random.Random(count).choices("abcdefgh", k=count)), longest - 5
    stride = min(stride, room)
    found = list(windows(TOKENIZER, "where ?", passage, longest, stride))
    told = TOKENIZER.tokenize(passage)
    for k, window in enumerate(found):
        assert len(window.ids) <= longest
        inside = [i for i, real in enumerate(in_passage(window).tolist()) if real]
        expected = told[k * stride : k * stride + room]
        assert [(window.ids[i], *window.offsets[i]) for i in inside] == expected
        assert window.pieces[:4] == ["[CLS]", "where", "?", "[SEP]"]
        assert window.segments == [0] * 4 + [1] * (len(inside) + 1)
    reached = (len(found) - 1) * stride + room
    assert reached >= count and (len(found) == 1 or reached - stride < count), "one too many"


@pytest.mark.parametrize("longest, stride", [(5, 1), (10, 6), (10, 0)])
def test_windows_that_leave_tokens_out_are_refused(longest, stride):
    with pytest.raises(ValueError, match="or tokens are left out"):
        list(windows(TOKENIZER, "where ?", PASSAGE, longest, stride))


# --- labels


def test_the_label_points_at_the_words():
    (window,) = windows(TOKENIZER, "where does matt live", PASSAGE)
    for words in "Canada", "lives in Canada", "Matt", "California", "California.":
        start = PASSAGE.index(words)
        first, last = span_of(window, start, start + len(words))
        assert PASSAGE[window.offsets[first][0] : window.offsets[last][1]] == words


def test_a_part_of_a_word_is_labelled_by_its_tokens():
    (window,) = windows(TOKENIZER, "where", "a canadas b")
    first, last = span_of(window, 2, 4)
    assert window.pieces[first : last + 1] == ["canada"]
    first, last = span_of(window, 7, 9)
    assert window.pieces[first : last + 1] == ["canada", "##s"]


def test_an_answer_that_is_cut_or_elsewhere_is_none_here():
    passage = "a b c d e f g h"
    found = list(windows(TOKENIZER, "where", passage, longest=8, stride=4))  # 4 tokens each
    start = passage.index("d e")
    assert [span_of(w, start, start + 3) for w in found] == [(0, 0), (0, 0)]
    start = passage.index("b c")
    assert [span_of(w, start, start + 3) for w in found] == [(4, 5), (0, 0)]
    start = passage.index("g h")
    assert [span_of(w, start, start + 3) for w in found] == [(0, 0), (5, 6)]


@pytest.mark.parametrize("answer", [(4, 10), (5, 11), (60, 70), (4, 4)])
def test_an_answer_that_ends_in_a_space_or_is_not_there_is_refused(answer):
    with pytest.raises(ValueError, match="begins and ends with a word"):
        list(examples_of(TOKENIZER, "where", PASSAGE, answer))


@pytest.mark.parametrize("start, end", [(3, 3), (4, 3), (-1, 2)])
def test_an_answer_of_no_characters_is_refused(start, end):
    (window,) = windows(TOKENIZER, "where", PASSAGE)
    with pytest.raises(ValueError, match="are no characters"):
        span_of(window, start, end)


def test_examples_of_a_question():
    start = PASSAGE.index("Canada")
    (one,) = examples_of(TOKENIZER, "where ?", PASSAGE, (start, start + 6))
    assert one.encoding.pieces[one.label[0]] == "canada" and one.label[0] == one.label[1]
    (none,) = examples_of(TOKENIZER, "where ?", PASSAGE, None)
    assert none.label == (0, 0)


# --- answers


def logits_at(window, first, last, score=5.0, none=0.0):
    start, end = torch.zeros(2, len(window.ids))
    start[0] = end[0] = none / 2
    start[first], end[last] = start[first] + score / 2, end[last] + score / 2
    return Span(start, end)


def test_the_best_of_the_windows_answers_in_the_words_of_the_passage():
    passage = "a b c d e f g h"
    found = list(windows(TOKENIZER, "where", passage, longest=8, stride=2))
    logits = [logits_at(found[0], 3, 4, 3.0), logits_at(found[1], 4, 5, 5.0, none=2.0)]
    logits.append(logits_at(found[2], 3, 3, 4.0))
    told = best_answer(passage, found, logits)
    assert told == ("d e", 6, 9, 5.0, 5.0), "the least score of no answer is 0"
    assert best_answer(passage, found, logits, threshold=4.9).text == "d e"
    assert best_answer(passage, found, logits, threshold=5.0) == ("", 0, 0, 5.0, 5.0)


def test_a_question_is_never_its_own_answer():
    (window,) = windows(TOKENIZER, "where does matt", PASSAGE)
    start = torch.zeros(len(window.ids))
    start[1:4] = 9.0
    told = best_answer(PASSAGE, [window], [Span(start, start)])
    assert told.score == 0 and told.text


def test_a_model_learns_to_point_and_keeps_the_capitals():
    """Where somebody lives: two names, four places, and questions that tell the names apart."""
    rng, places, learn = random.Random(0), "a b c d e f".split(), []
    for _ in range(300):
        one, two = rng.sample(places, 2)
        passage = f"Matt lives in {one} and Sinan lives in {two}."
        who, where = rng.choice([("Matt", one), ("Sinan", two)])
        at = passage.index(f"in {where}") + 3
        learn += examples_of(TOKENIZER, f"where does {who}", passage, (at, at + 1))
    torch.manual_seed(0)
    encoder = Encoder(Bert(25, 32, 2, 2, 64, positions=24, dropout=0.0, attention_dropout=0.0))
    initialize(encoder, torch.Generator().manual_seed(0), std=0.1)
    model = under_head(encoder, SpanModel, generator=torch.Generator().manual_seed(0))
    finetune(model, learn, Tuning(epochs=8, size=16, rate=5e-3), report=False)
    passage = "Matt lives in G and Sinan lives in B."
    assert answer(model, TOKENIZER, "where does Sinan", passage).text == "B"


def test_an_empty_passage_is_refused():
    model = SpanModel(Bert(25, 8, 1, 2, 8, positions=24))
    with pytest.raises(ValueError, match="no token in the passage"):
        answer(model, TOKENIZER, "where", "  ")

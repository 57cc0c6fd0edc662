"""The run behind chapter 13: whom it asks, and the two ways that know no language."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "experiments"))

from answer import Asked, amid_the_words, by_hand, examples, nearest_name, scored  # noqa: E402

from bertfamily.wordpiece import SPECIAL, Tokenizer  # noqa: E402

PASSAGE = "The tower was built by Josef Arnd, a man from far away who stayed until he was old. "
PASSAGE += "In 1874 the Velmar council paid two men."


def asked(question, answer):
    start = PASSAGE.index(answer)
    return Asked(question, PASSAGE, (start, start + len(answer)))


def test_the_two_halves_share_no_passage_and_every_answer_is_where_it_should_be():
    halves = by_hand(0), by_hand(1)
    assert [len(half) for half in halves] == [80, 80]
    assert not {a.passage for a in halves[0]} & {a.passage for a in halves[1]}
    for a in (*halves[0], *halves[1]):
        words = a.passage[slice(*a.answer)]
        assert words and words == words.strip()


def test_the_nearest_name_is_no_word_of_the_question():
    assert nearest_name(asked("Who built the tower?", "Josef Arnd")) == "Josef Arnd"
    assert nearest_name(asked("When did the council pay the men?", "1874")) == "1874"
    assert nearest_name(Asked("Who?", "nobody is named here", (0, 6))) == ""


def test_the_span_amid_the_words_has_none_of_them():
    told = amid_the_words(asked("Who paid two men in 1874?", "Velmar council"))
    assert told in PASSAGE and not {"paid", "two", "men", "1874"} & set(told.lower().split())


def test_scores_are_those_of_the_answers_and_of_nothing_else():
    some = [asked("a", "Josef Arnd"), Asked("b", "Another text.", (0, 7))]
    found = scored(["josef arnd", "text"], some)
    assert found["exact match"][0] == 50 and found["F1"][0] == 50 and found["each"] == [1, 0]


def test_a_question_without_an_answer_is_an_example_too():
    tokenizer = Tokenizer([*SPECIAL, *"abcdefghijklmnopqrstuvwxyz.?"])
    settings = {"longest": 64, "stride": 16}
    (one,) = examples(tokenizer, [Asked("a ?", "b c .", None)], settings)
    (two,) = examples(tokenizer, [Asked("a ?", "b c .", (2, 3))], settings)
    assert one.label == (0, 0) and two.encoding.pieces[two.label[0]] == "c"

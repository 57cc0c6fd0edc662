"""The run behind chapter 13: whom it asks, and the two ways that know no language."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "experiments"))

import answer as run  # noqa: E402
import torch  # noqa: E402
from answer import Asked, amid_the_words, by_hand, examples, nearest_name, scored  # noqa: E402

from bertfamily.answering import answer  # noqa: E402
from bertfamily.checkpoints import load  # noqa: E402
from bertfamily.corpora import data_path  # noqa: E402
from bertfamily.heads import Span  # noqa: E402
from bertfamily.wordpiece import SPECIAL, Tokenizer, load_tokenizer  # noqa: E402

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


def test_several_passages_are_one_text_and_the_first_window_is_one_of_them(monkeypatch):
    tokenizer = Tokenizer([*SPECIAL, *"abcdefghijklmnopqrstuvwxyz.?"])
    asked = [Asked("q ?", " ".join(letters), (0, 1)) for letters in ("abcdef", "ghijkl", "mnopqr")]
    read = []

    def latest(_, encodings):
        """The last token of the last window has the highest scores."""
        read.append(len(encodings))
        ids = [torch.tensor(e.ids).float() for e in encodings]
        return [Span(x, x) for x in ids]

    monkeypatch.setattr(run, "predict", latest)
    config = {"in_a_row": 2, "longest": 11, "stride": 3}  # a window holds six letters
    found = run.in_a_row(None, tokenizer, asked, config)
    assert found["overlapping"]["answers"] == ["l", "l", "r"]
    assert found["end to end"]["answers"] == ["l", "l", "r"]
    assert found["the first"]["answers"] == ["f", "f", "r"]
    assert read == [3, 2, 3, 2, 1, 1]


def test_words_shared_are_those_that_are_not_common():
    one = Asked("Who paid the men of Velmar for it?", "Nobody paid for Velmar.", None)
    other = Asked("Where is gold?", "It is here.", None)
    assert run.shared([one]) == 60.0  # paid, men, Velmar, for, it: three of five
    assert run.shared([one, other]) == 50.0


def test_the_committed_model_answers_as_its_card_says():
    folder = data_path("checkpoints/answer")
    model, tokenizer = load(folder).float(), load_tokenizer(folder)
    held_out = by_hand(1)
    told = [answer(model, tokenizer, a.question, a.passage).text for a in held_out]
    found, card = scored(told, held_out), data_path("README.md").read_text("utf-8")
    assert (
        "exact match {:.1f} %, F1 {:.1f} %".format(found["exact match"][0], found["F1"][0]) in card
    )
    squad = json.loads(data_path("runs/squad.json").read_text("utf-8"))["results"]["answer"]
    assert (
        "questions of SQuAD 1.1 {:.1f} % and {:.1f} %".format(
            squad["exact match"][0], squad["F1"][0]
        )
        in card
    )
    assert sum(p.numel() for p in model.parameters()) == 22_566_146
    assert sum(path.stat().st_size for path in folder.iterdir()) < 24e6

"""What must be true of the records: their figures follow from the answers beside them."""

import json
import sys
from pathlib import Path

import pytest
import torch

from bertfamily.corpora import data_path
from bertfamily.encoder import Bert
from bertfamily.heads import MaskedTokenModel
from bertfamily.wordpiece import SPECIAL, Tokenizer

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "experiments"))
import compare
from compare import Answer, Blank


@pytest.fixture(scope="module")
def record():
    return json.loads(data_path("runs/fill-mask.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def blanks(record):
    parts = (blank.split(" ") for blank in record["blanks"])
    return [Blank(corpus, int(number), "", word) for corpus, number, word in parts]


def test_the_figures_of_the_comparison_follow_from_its_answers(record, blanks):
    assert len(blanks) >= 2_000
    for name, answers in record["answers"].items():
        assert len(answers) == len(blanks)
        assert compare.scores(blanks, answers) == record["scores"][name]
        for number, (answer, blank) in enumerate(zip(answers, blanks, strict=True)):
            place, nats, *words = answer.split(" ")
            assert len(words) == (5 if number < record["config"]["shown"] else 1)
            assert float(nats) >= 0 and 0 <= int(place) <= 5
            assert (int(place) == 1) == (words[0] == blank.word)
            assert len(words) == 1 or int(place) == ([*words, blank.word].index(blank.word) + 1) % 6
    assert compare.paired(record["config"]["pairs"], blanks, record["answers"]) == record["paired"]


def test_a_difference_is_taken_blank_by_blank_and_counts_documents():
    blanks = [
        Blank("a", 0, "", ""),
        Blank("a", 0, "", ""),
        Blank("a", 1, "", ""),
        Blank("b", 0, "", ""),
    ]
    answers = {"one": ["1 1.0 a"] * 4, "other": ["0 2.0 a", "0 2.0 a", "2 3.0 a", "1 1.0 a"]}
    blanks, answers = blanks * 2, {name: some * 2 for name, some in answers.items()}
    blanks[-1] = Blank("b", 1, "", "")
    told = compare.paired([["one", "other"], ["one", "nobody"]], blanks, answers)
    assert list(told) == ["one less other"]
    assert told["one less other"]["a"]["first"] == [1.0, 1.0, 1.0]
    assert told["one less other"]["a"]["nats"][0] == pytest.approx(-4 / 3, abs=1e-4)
    assert told["one less other"]["b"]["nats"] == [0.0, 0.0, 0.0]
    low, high = told["one less other"]["a"]["in five"][1:]
    assert low < 2 / 3 < high


def test_a_word_is_the_same_in_capitals_and_its_pieces_share_its_probability(tmp_path):
    tokenizer = Tokenizer([*SPECIAL, "the", "The", "dog", "Dog", "##s"], lowercase=False)
    forms = compare.Forms(tokenizer)
    shares = torch.tensor([0, 0, 0, 0, 0, 0.1, 0.3, 0.25, 0.15, 0.2])
    told = forms.answer(shares.log(), "dog")
    assert told.guesses[:3] == ["the", "dog", "##s"]
    assert told.nats == pytest.approx(-torch.tensor(0.4).log().item())
    assert compare.compact(told, Blank("a", 0, "", "dog"), False) == "2 0.916 the"
    assert compare.compact(Answer(["a", "b"], 1.0), Blank("a", 0, "", "dog"), True) == "0 1.000 a b"


def test_a_blank_is_one_piece_of_each_vocabulary_as_it_stands_there():
    small = Tokenizer([*SPECIAL, "the", "dog"])
    cased = Tokenizer([*SPECIAL, "The", "dog"], lowercase=False)
    known = [w for w in ("The", "the", "dog", "Dog") if compare.is_one_piece(w, [small, cased])]
    assert known == ["The", "dog"]
    words = [m[0] for m in compare.WORD.finditer("I don't know a well-known dog's 3rd life, Tom.")]
    assert words == ["I", "know", "a", "life", "Tom"]


def test_a_model_is_asked_about_the_blank_and_nothing_else(monkeypatch):
    """A model that says one word always: that word is first, with the probability it has."""
    tokenizer = Tokenizer([*SPECIAL, "the", "dog", "cat"])
    model = MaskedTokenModel(Bert(vocab=8, hidden=8, layers=1, heads=2, inner=8)).eval()
    model.masked_token.bias.data[6] = 30.0
    monkeypatch.setattr(compare, "load", lambda *a, **b: model)
    monkeypatch.setattr(compare, "tokenizer_of", lambda settings: tokenizer)
    blanks = [Blank("a", 0, "The [MASK]", "dog"), Blank("a", 0, "[MASK] dog", "the")]
    first, second = compare.ask_model({"folder": "nowhere"}, blanks)
    assert first.guesses[0] == second.guesses[0] == "dog"
    assert first.nats == pytest.approx(0, abs=1e-3) and second.nats > 10

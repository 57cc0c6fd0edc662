"""Tags for words: which pieces are asked, how answers are read, and what an error is called."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from transformers import BertTokenizerFast

from bertfamily.encoder import Bert
from bertfamily.heads import IGNORE_INDEX, TokenModel
from bertfamily.metrics import entities
from bertfamily.tagging import MISTAKES, bio, example_of, mistakes, read_words, tag, tags_of
from bertfamily.wordpiece import SPECIAL, Tokenizer, load_tokenizer

VOCABULARY = [*SPECIAL, "anna", "ber", "##ger", "lives", "in", "os", "##lo", ".", "'", "s"]
NAMES = bio(["PER", "LOC"])
WORDS = ["Anna", "Berger", "lives", "in", "Oslo", "."]
TAGS = ["B-PER", "I-PER", "O", "O", "B-LOC", "O"]
_ = IGNORE_INDEX


@pytest.fixture
def tokenizer():
    return Tokenizer(VOCABULARY)


def test_the_classes_are_o_and_two_for_each_kind():
    assert NAMES == ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    for wrong in [], ["PER", "PER"]:
        with pytest.raises(ValueError, match="each kind once"):
            bio(wrong)


# --- pieces


def test_each_word_has_its_pieces(tokenizer):
    encoding, places = read_words(tokenizer, WORDS)
    pieces = [[encoding.pieces[i] for i in place] for place in places]
    assert pieces == [["anna"], ["ber", "##ger"], ["lives"], ["in"], ["os", "##lo"], ["."]]


def test_pieces_of_words_are_those_of_transformers(tmp_path):
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join(VOCABULARY), "utf-8")
    theirs = BertTokenizerFast(str(vocabulary))
    ours = load_tokenizer(Path(tmp_path))
    sentences = WORDS, ["Oslo's", "Berger", "-", "!"], ["in", "in", "unknown", "'s"]
    for words in sentences:
        read = theirs(list(words), is_split_into_words=True)
        ids, numbers = read["input_ids"], read.word_ids()
        encoding, places = read_words(ours, words)
        assert encoding.ids == ids
        assert places == [
            [i for i, word in enumerate(numbers) if word == w] for w in range(len(words))
        ]


def test_a_word_that_is_cut_off_has_no_pieces(tokenizer):
    encoding, places = read_words(tokenizer, WORDS, longest=6)
    assert encoding.pieces[1:-1] == ["anna", "ber", "##ger", "lives"]
    assert [len(place) for place in places] == [1, 2, 1, 0, 0, 0]


# --- labels


def test_the_first_piece_is_asked_or_all_are(tokenizer):
    first = example_of(tokenizer, WORDS, TAGS, NAMES).label
    assert first == [_, 1, 2, _, 0, 0, 3, _, 0, _]
    every = example_of(tokenizer, WORDS, TAGS, NAMES, every_piece=True).label
    assert every == [_, 1, 2, 2, 0, 0, 3, 4, 0, _]
    short = example_of(tokenizer, WORDS, TAGS, NAMES, longest=6).label
    assert short == [_, 1, 2, _, 0, _]


def test_other_tags_go_on_as_they_are(tokenizer):
    parts = ["noun", "verb"]
    found = example_of(tokenizer, ["Berger", "lives"], parts, parts, every_piece=True)
    assert found.label == [_, 0, 0, 1, _]


@pytest.mark.parametrize(
    ("tags", "words"),
    [(TAGS[:-1], "5 tags for 6 words"), ([*TAGS[:-1], "B-ORG"], "'B-ORG' is not")],
)
def test_tags_that_do_not_fit_are_refused(tokenizer, tags, words):
    with pytest.raises(ValueError, match=words):
        example_of(tokenizer, WORDS, tags, NAMES)


# --- answers


def test_the_first_piece_answers_for_its_word(tokenizer):
    _, places = read_words(tokenizer, WORDS, longest=6)
    logits = torch.zeros(6, 5)
    logits[1, 1] = logits[2, 2] = logits[3, 4] = logits[4, 3] = 1.0  # piece 3 is ##ger
    assert tags_of(logits, places, NAMES) == ["B-PER", "I-PER", "B-LOC", "O", "O", "O"]


def test_sentences_are_tagged_in_their_order(tokenizer):
    torch.manual_seed(0)
    sizes = {"vocab": len(VOCABULARY), "hidden": 8, "layers": 1, "heads": 2, "inner": 8}
    model = TokenModel(Bert(positions=12, **sizes), len(NAMES)).eval()
    sentences = [WORDS, ["Anna"], ["Oslo", "lives", "."]]
    together = tag(model, tokenizer, sentences, NAMES)
    assert [len(tags) for tags in together] == [6, 1, 3]
    for words, tags in zip(sentences, together, strict=True):
        encoding, places = read_words(tokenizer, words)
        with torch.no_grad():
            logits = model(torch.tensor([encoding.ids]))[0]
        assert tags_of(logits, places, NAMES) == tags


# --- errors


@pytest.mark.parametrize(
    ("guessed", "expected"),
    [
        ("B-PER I-PER O O B-LOC", {"right": 2}),
        ("B-LOC I-LOC O O B-LOC", {"other kind": 1, "right": 1}),
        ("B-PER O O O B-LOC", {"other border": 1, "right": 1}),
        ("B-PER I-PER I-PER O B-LOC", {"other border": 1, "right": 1}),
        ("O B-LOC O O B-LOC", {"both": 1, "right": 1}),
        ("O O O O O", {"missed": 2}),
        ("B-PER I-PER B-LOC O O", {"right": 1, "invented": 1, "missed": 1}),
        ("B-PER B-PER O O B-LOC", {"other border": 1, "invented": 1, "right": 1}),
        ("B-PER I-PER I-PER I-PER I-PER", {"other border": 1, "missed": 1}),
        ("I-PER I-PER O O I-LOC", {"right": 2}),
    ],
)
def test_what_became_of_each_entity(guessed, expected):
    truths = ["B-PER", "I-PER", "O", "O", "B-LOC"]
    found = mistakes(guessed.split(), truths)
    assert found == Counter(expected) and set(found) <= set(MISTAKES)
    assert sum(found.values()) - found["invented"] == len(entities(truths))


def test_the_right_guess_is_taken_before_another_that_meets_the_entity():
    assert mistakes(["B-PER", "B-PER"], ["O", "B-PER"]) == {"right": 1, "invented": 1}
    with pytest.raises(ValueError, match="1 guesses for 2 tags"):
        mistakes(["O"], ["O", "O"])


def test_a_word_without_pieces_takes_its_tag_along(tokenizer):
    words, tags = ["a", "\u200d", "Ada", "\ufe0f", "x"], ["O", "O", "B-PER", "O", "O"]
    example = example_of(tokenizer, words, tags, bio(["PER"]))
    asked = [i for i in example.label if i != IGNORE_INDEX]
    assert asked == [0, 1, 0]

"""Silver questions: what a parsed sentence is asked, and that the answer is where they say."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "experiments"))

from silver import Word, silver_questions  # noqa: E402


def parsed(sentence):
    """Words as text/tag/relation/head, the head counted from 0; then /entity and =lemma."""
    words, text = [], ""
    for token in sentence.split():
        token, _, lemma = token.partition("=")
        word, tag, relation, head, *entity = token.split("/")
        glued = word in (".", ",", "'s")
        text += word if glued or not text else f" {word}"
        start = len(text) - len(word)
        words.append(Word(word, lemma or word, tag, relation, int(head), "".join(entity), start))
    return text, words


LIVES = (
    "Matt/NNP/nsubj/1/PERSON lives/VBZ/ROOT/1=live in/IN/prep/1 Canada/NNP/pobj/2/GPE ././punct/1"
)
BUILT = (
    "The/DT/det/1 tower/NN/nsubjpass/3 was/VBD/auxpass/3=be built/VBN/ROOT/3=build in/IN/prep/3 "
    "1874/CD/pobj/4/DATE ././punct/3"
)
SENT = (
    "In/IN/prep/4 May/NNP/pobj/0/DATE ,/,/punct/4 Ann/NNP/nsubj/4/PERSON sent/VBD/ROOT/4=send "
    "thirty/CD/nummod/7/CARDINAL old/JJ/amod/7 postcards/NNS/dobj/4 and/CC/cc/4 left/VBD/conj/4"
)
IS = "The/DT/det/1 lake/NN/nsubj/2 is/VBZ/ROOT/2=be deep/JJ/acomp/2 ././punct/2"


@pytest.mark.parametrize(
    "sentence, expected",
    [
        (LIVES, {("Who lives in Canada?", "Matt"), ("Where does Matt live?", "Canada")}),
        (
            BUILT,
            {("What was built in 1874?", "The tower"), ("When was the tower built?", "1874")},
        ),
        (
            SENT,
            {
                ("Who sent thirty old postcards?", "Ann"),
                ("What did Ann send?", "thirty old postcards"),
                ("How many old postcards did Ann send?", "thirty"),
                ("When did Ann send thirty old postcards?", "May"),
            },
        ),
        (IS, {("What is deep?", "The lake")}),
    ],
)
def test_what_a_sentence_is_asked(sentence, expected):
    text, words = parsed(sentence)
    found = {(q.question, text[q.start : q.end]) for q in silver_questions(words)}
    assert found == expected


@pytest.mark.parametrize(
    "sentence",
    [
        LIVES.replace("Matt/NNP/nsubj/1/PERSON", "He/PRP/nsubj/1"),
        LIVES.replace("/nsubj/", "/dep/"),
        LIVES.replace("lives/VBZ", "lives/NNS"),
    ],
)
def test_a_sentence_without_a_verb_and_a_noun_is_asked_nothing(sentence):
    assert list(silver_questions(parsed(sentence)[1])) == []


def test_an_answer_with_a_clause_or_of_many_words_is_not_asked_for():
    poor = LIVES.replace("././punct/1", "near/IN/acl/3")
    assert {q.kind for q in silver_questions(parsed(poor)[1])} == {"subject"}
    adjectives = " ".join(f"big/JJ/amod/{8}" for _ in range(7))
    long = f"The/DT/det/8 {adjectives} lake/NN/nsubj/9 is/VBZ/ROOT/9=be deep/JJ/acomp/9"
    assert list(silver_questions(parsed(long)[1])) == []

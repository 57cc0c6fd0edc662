"""The run that tags: which sentences it learns from, and what it counts."""

import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "experiments"))

import tag as run  # noqa: E402

from bertfamily.corpora import Tagged  # noqa: E402

CONFIG = tomllib.loads((ROOT / "experiments" / "tags.toml").read_text("utf-8"))
OSLO = Tagged(("Anna", "left", "Oslo"), ("B-PER", "O", "B-LOC"))


def test_every_way_and_task_of_the_settings_is_known():
    for name, task in CONFIG["tasks"].items():
        assert name in run.TASKS and {*task["ways"]} <= CONFIG["ways"].keys()


@pytest.mark.parametrize("name", ["tweets", "sentences"])
def test_no_sentence_is_in_two_parts(name):
    learn, held_out, test = run.TASKS[name](CONFIG["tasks"][name])
    counts = len(learn), len(held_out), len(test)
    assert counts == {"tweets": (1_497, 299, 598), "sentences": (128, 32, 80)}[name]
    assert not {id(s) for s in learn} & {id(s) for s in held_out} | {id(s) for s in test} & {
        id(s) for s in learn
    }


def test_the_classes_are_o_and_two_of_each_kind_or_the_tags():
    assert run.names_of([OSLO]) == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    assert run.names_of([Tagged(("a", "b"), ("noun", "at"))]) == ["at", "noun"]


def test_lowered_words_keep_their_tags():
    assert run.lowered([OSLO], False) == [OSLO]
    assert run.lowered([OSLO], True) == [Tagged(("anna", "left", "oslo"), OSLO.tags)]


def test_names_are_scored_as_entities_and_parts_word_by_word():
    assert run.score([["B-PER", "O", "O"]], [OSLO]) == pytest.approx(2 / 3)
    parts = Tagged(("a", "b"), ("noun", "verb"))
    assert run.score([["noun", "noun"]], [parts]) == 0.5

"""The guesses that the home page and chapter 1 show are those of the model that they name."""

import json

import pytest

from bertfamily.checkpoints import load
from bertfamily.corpora import data_path, grammar_tagger
from bertfamily.masking import fill_mask
from bertfamily.wordpiece import load_tokenizer


def test_the_stored_guesses_are_what_the_model_says():
    stored = json.loads(data_path("runs/ticket.json").read_text("utf-8"))
    folder = data_path(stored["model"].removeprefix("data/"))
    model = load(folder, rest=grammar_tagger())  # it holds only what was trained
    tokenizer = load_tokenizer(folder)
    (said,) = fill_mask(model.float(), tokenizer, stored["sentence"], len(stored["guesses"]))
    assert [guess.piece for guess in said] == [word for word, _ in stored["guesses"]]
    for guess, (_, share) in zip(said, stored["guesses"], strict=True):
        assert guess.share == pytest.approx(share, abs=2e-4)  # four digits are stored
    for sentence, rank in stored.get("rank of stop", {}).items():
        pieces = [guess.piece for guess in fill_mask(model, tokenizer, sentence, 100)[0]]
        assert (pieces.index("stop") + 1 if "stop" in pieces else None) == rank

"""The run that asks SQuAD's questions: whose they are, and what a score counts."""

import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "experiments"))

import squad  # noqa: E402

BRIDGE = "The bridge was opened in 1874. Josef Arnd paid for it."
TEA = "Tea came late. Ida brought it in May."


@pytest.fixture
def archive(tmp_path, monkeypatch):
    def article(passage, *asked):
        rows = [{"question": q, "answers": [{"text": t} for t in texts]} for q, texts in asked]
        return {"paragraphs": [{"context": passage, "qas": rows}]}

    data = [
        article(BRIDGE, ("When was it opened?", ["1874", "in 1874"]), ("Who paid?", ["Arnd"])),
        article(TEA, ("Who brought tea?", ["Ida"]), ("When?", ["in May", "May"])),
    ]
    text = json.dumps({"data": data}).encode()
    path = tmp_path / "archive.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo(squad.MEMBER)
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text))
    monkeypatch.setattr(squad, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    return path


def test_every_question_keeps_its_passage_its_answers_and_its_article(archive):
    asked = squad.questions(archive)
    assert [q.question for q in asked] == [
        "When was it opened?", "Who paid?", "Who brought tea?", "When?",
    ]  # fmt: skip
    assert [q.article for q in asked] == [0, 0, 1, 1]
    assert asked[0].passage == BRIDGE and asked[3].answers == ["in May", "May"]


def test_another_archive_is_refused(archive, monkeypatch):
    monkeypatch.setattr(squad, "SHA256", "0" * 64)
    with pytest.raises(ValueError, match="download it again"):
        squad.questions(archive)


def test_the_nearest_of_the_answers_counts_and_the_interval_is_over_articles(archive):
    asked = squad.questions(archive)
    told = dict(zip((q.question for q in asked), ["1874", "Josef Arnd", "tea", "May"], strict=True))
    found = squad.scored(lambda q: told[q.question], asked)
    assert found["exact match"][0] == 50 and found["F1"][0] == pytest.approx(66.7, abs=0.05)
    # both articles have one hit of two, so their means do not differ
    assert found["exact match"][1:] == [50, 50] and found["F1"][1] < 66.7 < found["F1"][2]


def test_a_rule_is_never_told_where_the_answer_is(archive):
    seen = []
    squad.by_rule(lambda asked: seen.append(asked.answer) or "x")(squad.questions(archive)[0])
    assert seen == [None]


def test_the_record_is_of_this_archive_and_holds_scores_alone():
    record = json.loads(squad.TARGET.read_text("utf-8"))
    assert record["archive"] == squad.SHA256 and record["questions"] == 10_565
    for scores in record["results"].values():
        assert scores.keys() == {"exact match", "F1"}
        assert all(low < mean < high for mean, low, high in scores.values())
        assert scores["exact match"][0] <= scores["F1"][0]

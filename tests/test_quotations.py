"""What the course quotes from its sources is word for word, and what it corrects can be found.

A source is quoted in double quotation marks, in a paragraph that names it: the deck, the notes, the
blog or the lesson. Its words then stand in data/quotations.toml. So do words that are nearly those
of an entry, whatever their paragraph names.
"""

import difflib
import json
import re
import tomllib
from pathlib import Path

import pytest

import tasks

ROOT = Path(__file__).parents[1]
STORED = tomllib.loads((ROOT / "data/quotations.toml").read_text("utf-8"))
QUOTATIONS = STORED["quotation"]
SAID = [quotation["words"] for quotation in QUOTATIONS]
CORRECTIONS = tomllib.loads((ROOT / "data/corrections.toml").read_text("utf-8"))["correction"]
PAGES = sorted([*ROOT.glob("chapters/*.ipynb"), *ROOT.glob("book/*.md"), ROOT / "README.md"])
NAMES_A_SOURCE = re.compile(
    r"\b(deck|(course|lecture) notes|notes (and slides|to the deck)|blog|lesson)\b"
)


def markdown(path):
    """The Markdown of a page, without its blocks of code."""
    text = path.read_text("utf-8")
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    return re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)


def quoted(text):
    """Every passage in double quotation marks, and whether its paragraph names a source."""
    for paragraph in re.split(r"\n\s*\n", text):
        prose = re.sub(r"`[^`\n]*`|<[^>]*>", lambda code: code[0].replace('"', ""), paragraph)
        passages = re.findall(r'"([^"]+)"|“([^”]+)”', prose)
        for passage in (" ".join("".join(marks).split()) for marks in passages):
            yield passage, bool(NAMES_A_SOURCE.search(prose))


def is_part(passage, words):
    return re.search(rf"(?<!\w){re.escape(passage)}(?!\w)", words) is not None


def misquoted(text):
    wrong = []
    for passage, attributed in quoted(text):
        if not any(is_part(passage, words) for words in SAID):
            near = difflib.get_close_matches(passage, SAID, 1, 0.75)
            if attributed or near:
                wrong.append((passage, *near))
    return wrong


# --- quotations


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_source_is_quoted_word_for_word(path):
    assert misquoted(markdown(path)) == [], "not so in data/quotations.toml"


@pytest.mark.parametrize(
    "text",
    [
        'The deck says: "dividing the score by the root of the embedding dimension".',
        "The blog post has “is paying attention to an English word”, as we saw.",
        'As it says, "The transformer blocks are the same as the original blocks".',
        'The course notes\nwrite "This is learn".',
    ],
)
def test_other_words_are_found(text):
    assert misquoted(text)


@pytest.mark.parametrize(
    "text",
    [
        'The deck says: "dividing the attention score by\nthe root of the embedding dimension".',
        'The deck has the word "recursion" and the option `a="b"`.',
        'A student writes: "So BERT has learned grammar."\n\nThe deck does not.',
    ],
)
def test_the_very_words_and_other_quotations_pass(text):
    assert misquoted(text) == []


def test_each_quotation_is_there_once_and_short():
    for field in ("id", "words"):
        values = [(q["source"], q[field]) if field == "words" else q[field] for q in QUOTATIONS]
        assert len(set(values)) == len(values)
    for quotation in QUOTATIONS:
        assert quotation.keys() == {"id", "source", "place", "words"}
        assert all(value == " ".join(value.split()) != "" for value in quotation.values())
        assert quotation["source"] in STORED["sources"]
        assert len(quotation["words"].split()) <= 40


def test_each_quotation_is_used():
    used = {name for correction in CORRECTIONS for name in correction["quotes"]}
    passages = [passage for path in PAGES for passage, _ in quoted(markdown(path))]
    for quotation in QUOTATIONS:
        in_a_chapter = any(is_part(passage, quotation["words"]) for passage in passages)
        assert quotation["id"] in used or in_a_chapter, quotation["id"]


# --- the command


@pytest.fixture
def folder(tmp_path):
    """Sources that hold what is quoted from them and nothing else."""
    for name, source in STORED["sources"].items():
        lines = [source["known_by"]]
        for quotation in QUOTATIONS:
            if quotation["source"] == name:
                words = quotation["words"].replace(" ", "\n ", 1).replace("'", "’")
                lines += [f"## {quotation['place']}", words]
        (tmp_path / f"{name}.txt").write_text("\n\n".join(lines), "utf-8")
    return tmp_path


def looked_up(folder, capsys):
    with pytest.raises(SystemExit) as stopped:
        tasks.quotations(str(folder))
    return stopped.value.code, capsys.readouterr().out


def test_the_command_finds_every_quotation(folder, capsys):
    status, said = looked_up(folder, capsys)
    assert not status
    assert said == f"{len(QUOTATIONS)} quotations are there word for word, 0 are not.\n"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("8 heads", "12 heads", "eight-heads: the lecture deck does not say 3) Split into 8 heads"),
        ("# Self-Attention", "# Attention", "antecedent: the lecture deck has no slide Self-Att"),
        ("**context-less**", "context-less", "context-less: the lecture deck does not say"),
    ],
)
def test_the_command_prints_what_is_missing(folder, capsys, old, new, message):
    deck = folder / "deck.txt"
    deck.write_text(deck.read_text("utf-8").replace(old, new), "utf-8")
    status, said = looked_up(folder, capsys)
    assert bool(status) == bool(message) and message in said


def test_the_command_misses_a_source(folder, capsys):
    (folder / "blog.txt").unlink()
    status, said = looked_up(folder, capsys)
    assert status and "blog: 0 files hold" in said and "same-blocks: the blog post" in said


# --- corrections


def headings(chapter):
    (path,) = ROOT.glob(f"chapters/{chapter:02}_*.ipynb")
    return re.findall(r"^#+ (.+?) *$", markdown(path), re.M)


def test_there_are_58_corrections_each_with_all_its_parts():
    assert [correction["number"] for correction in CORRECTIONS] == list(range(1, 59))
    ids = {quotation["id"] for quotation in QUOTATIONS}
    for correction in CORRECTIONS:
        assert correction["quotes"] and set(correction["quotes"]) <= ids
        assert correction["topic"] and len(correction["right"].split()) > 5
        assert "\n" not in correction["right"]


@pytest.mark.parametrize("correction", CORRECTIONS, ids=lambda correction: correction["number"])
def test_a_correction_leads_to_a_heading_or_is_to_come(correction):
    number, section = correction["chapter"], correction.get("section")
    if list(ROOT.glob(f"chapters/{number:02}_*.ipynb")):
        assert section in headings(number), f"chapter {number} has no such heading: give another"
    else:
        assert 1 <= number <= 26 and section is None


def test_the_page_has_them_all(site):
    from bs4 import BeautifulSoup

    page = site / "book/corrections.html"
    article = BeautifulSoup(page.read_text("utf-8"), "html.parser").article
    rows = article.select("div.correction")
    assert [row["id"] for row in rows] == [f"correction-{n}" for n in range(1, 59)]
    for row, correction in zip(rows, CORRECTIONS, strict=True):
        assert len(row.select("p.said")) == len(correction["quotes"])
        (link,) = row.select("p.where a")
        assert link["href"].startswith("../chapters/" if "section" in correction else "intro.html#")
        assert "#" in link["href"]

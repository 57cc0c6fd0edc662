"""How the parts of a chapter look: a small chapter with one of each, seen in a browser."""

import re
import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest
from axe_playwright_python.base import AXE_SCRIPT
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import tasks

ROOT = Path(__file__).resolve().parents[1]

HEAD = """# 6 A sample

* **Question.** What does a [part](#first-section) of a chapter look like, when its question is
  longer than a line of the page is?
* **You will build.** A page.
* **You need.** Nothing.
* **Cost.** 50 min · 20 s · 1.2 GB · 84 MB
"""
EXERCISE = """## Exercises

### Exercise 1. Find it

*Find the bug · 15 minutes · medium.* Write `double(x)`. It returns twice `x`.
"""
PROSE = "A long sentence that goes on and on, so that it does not fit into a line. " * 4
COLUMNS = "".join(f"{name:9}" + f"{1:10.3f}" * 12 + "\n" for name in ("query", "key", "value"))
CLAIMS = """✓ the rows sum to one [fails for: the columns]
✓ an old claim [the control fails, as it must]
✓ a plain claim
"""
DRAWING = """<?xml version="1.0"?>
<svg xmlns="http://www.w3.org/2000/svg" class="bf" role="img" viewBox="0 0 360 90"
width="340" height="85">
<title>A box</title><desc>A blue box with a word on it.</desc>
<style>.bf{--blue:#1d5fbf}[data-theme=dark] .bf{--blue:#79afff}</style>
<rect width="360" height="90" fill="var(--blue,#1d5fbf)"/><text x="180" y="45">word</text></svg>"""
TABLE = "<div><table class='dataframe'><tr><th>a</th><td>1</td></tr></table></div>"


def printed(text):
    return new_output("stream", name="stdout", text=text)


def shown(**data):
    return new_output("display_data", {kind.replace("_", "/"): d for kind, d in data.items()})


def code(source, *outputs, tags="", **mystnb):
    metadata = {"tags": tags.split(), **({"mystnb": mystnb} if mystnb else {})}
    return new_code_cell(source, outputs=list(outputs), metadata=metadata)


def figure(name):
    return {
        "figure": {"caption": f"The caption of {name}", "name": name},
        "image": {"alt": "A box."},
    }


def drawn():
    output = shown(text_plain="A box")
    output.data["image/svg+xml"] = DRAWING
    return output


CELLS = [
    new_markdown_cell(HEAD),
    code("import one", tags="hide-cell"),
    code("import two", tags="hide-cell"),
    code("drawing", drawn(), tags="hide-input figure", **figure("fig-box")),
    new_markdown_cell("**In short.** It looks like this."),
    new_markdown_cell("## First section\n\nSee [Figure 6.2](#fig-two) {numref}`fig-two`."),
    code("print(prose)", printed(PROSE)),
    code("print(columns)", printed(COLUMNS)),
    code("table", shown(text_html=TABLE, text_plain="a 1")),
    code("for x in y:\n    claim('…', x)", printed(CLAIMS), tags="hide-input"),
    code("assert x == 1", tags="hide-input"),
    code("print(1)", printed("1\n"), tags="hide-input"),
    code("show_source(f)", printed("def f(): ...\n"), tags="remove-input source"),
    code("drawing", drawn(), drawn(), tags="hide-input figure", **figure("fig-two")),
    new_markdown_cell("## ★ Deeper: more\n\nWords.\n\n## In practice\n\nWords."),
    new_markdown_cell(EXERCISE),
    code("def double(x): ...  # your code"),
    code("def check_1(double):\n    assert double(1) == 2", tags="check"),
    code(
        "def double(x):\n    return 2 * x",
        printed("exercise 1: passed\n"),
        tags="hide-cell solution",
    ),
    new_markdown_cell("### Exercise 2. An old one\n\n*10 minutes, easy.* Words."),
]


def soup(path):
    return BeautifulSoup(path.read_text("utf-8"), "html.parser")


def make_book(folder):
    """A book of this one chapter, with the project's own configuration."""
    parts = "_config.yml", "conf.py", "book/_ext", "book/_static", "src/bertfamily"
    for name in *parts, "data/runs/ticket.json":
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, folder / name)
    (folder / "book/references.bib").write_text("")
    (folder / "book/intro.md").write_text("# Intro\n\nSee {numref}`fig-two`.\n")
    (folder / "book/claims.md").write_text("# Claims\n\n```{claims}\n```\n")
    files = "chapters: [{file: chapters/06_sample}, {file: book/claims}]"
    (folder / "_toc.yml").write_text(f"format: jb-book\nroot: book/intro\n{files}\n")
    (folder / "chapters").mkdir()
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.write(new_notebook(cells=CELLS, metadata=kernel), folder / "chapters/06_sample.ipynb")


@pytest.fixture(scope="module")
def sample(tmp_path_factory, serve):
    """The address of the built sample, served on this machine."""
    folder = tmp_path_factory.mktemp("book")
    make_book(folder)
    build = [tasks.PYTHON.with_name("jupyter-book"), "build", ".", "-W", "-n", "--keep-going"]
    done = subprocess.run(build, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with serve(folder / "_build/html") as address:
        yield address


@pytest.fixture(scope="module")
def page(browser, sample):
    page = browser.new_page(color_scheme="light")
    page.goto(f"{sample}/chapters/06_sample.html", wait_until="networkidle")
    yield page
    page.close()


@pytest.fixture
def chapter(page):
    """The page of the chapter on a wide light screen, however a test has left it."""
    page.emulate_media(media="screen")
    page.set_viewport_size({"width": 1280, "height": 900})
    page.evaluate("document.documentElement.dataset.theme = 'light'")
    page.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = false)")
    return page


def style(locator, name):
    return locator.evaluate("(element, name) => getComputedStyle(element)[name]", name)


# --- folds


def test_a_fold_says_what_is_behind_it(chapter):
    """Two set-up cells are one fold; a check is told by its tag, or by a claim or an assertion."""
    assert chapter.locator("details > summary").all_inner_texts() == [
        "How the picture is drawn",
        "Set-up",
        "The check",
        "The check",
        "The code",
        "From the package",
        "How the picture is drawn",
        "The check",
        "A solution",
    ]


def test_the_picture_comes_before_the_set_up(chapter):
    """In the notebook it is the other way round, so that its cells run from the first on."""
    places = [".head-card", "figure", "text=In short.", "text=Set-up", "#first-section"]
    heights = [chapter.locator(place).first.bounding_box()["y"] for place in places]
    assert heights == sorted(heights)


def test_a_fold_opens_by_keyboard(chapter):
    fold = chapter.locator("details", has_text="Set-up")
    assert fold.locator("pre:visible").count() == 0
    fold.locator("summary").focus()
    chapter.keyboard.press("Enter")
    assert fold.locator("pre:visible").all_inner_texts() == ["import one\n", "import two\n"]
    chapter.keyboard.press("Space")
    assert fold.locator("pre:visible").count() == 0


def test_what_is_folded_leaves_its_output_in_sight(chapter):
    cell = chapter.locator("div.cell", has=chapter.get_by_text("The code"))
    assert cell.locator(".cell_output").inner_text().strip() == "1"
    assert not cell.locator(".cell_input").is_visible()
    solution = chapter.locator("details", has_text="A solution")
    assert not solution.locator(".cell_output").is_visible()
    source = chapter.locator("details", has_text="From the package")
    assert not source.locator("pre").first.is_visible()
    assert source.locator("pre").all_text_contents() == ["def f(): ...\n"]


def test_it_reads_without_scripts(browser, sample):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{sample}/chapters/06_sample.html")
    fold = page.locator("details", has_text="A solution")
    fold.locator("summary").click()
    assert fold.locator("pre:visible").first.inner_text().startswith("def double")
    page.goto(f"{sample}/book/claims.html")
    assert page.locator("ul.claims > li:visible").count() == 3
    assert page.locator("input[type=search]:visible").count() == 0
    context.close()


# --- code, output and claim


def test_code_output_and_claim_look_different(chapter):
    code = chapter.locator(".cell_input:visible").first
    output = chapter.locator(".output.prose").first
    claim = chapter.locator("p.claim").first
    grounds = [style(part, "backgroundColor") for part in (code, output, claim)]
    assert len(set(grounds)) == 3 and grounds[1] == "rgba(0, 0, 0, 0)"
    rules = [style(output, f"border{side}Width") for side in ("Left", "Top", "Right", "Bottom")]
    assert rules == ["3px", "0px", "0px", "0px"]


@pytest.mark.parametrize("width", [1280, 390])
def test_sentences_wrap_and_columns_stay(chapter, width):
    chapter.set_viewport_size({"width": width, "height": 900})
    outputs = chapter.locator(".output pre")
    prose, columns = [outputs.filter(has_text=word) for word in ("A long sentence", "query")]
    assert prose.evaluate("pre => pre.scrollWidth <= pre.clientWidth")
    assert prose.bounding_box()["height"] > 40
    assert columns.evaluate("pre => pre.scrollWidth > pre.clientWidth")
    assert columns.bounding_box()["height"] < 60 + 20, "three lines, and room for a scroll bar"
    assert chapter.evaluate("document.documentElement.scrollWidth") <= width


def test_a_control_is_a_pill_with_its_words(chapter):
    claims = chapter.locator("p.claim")
    pill = claims.nth(0).locator(".control")
    assert pill.inner_text().split("\n") == ["[", "fails for: the columns", "]"]
    assert pill.locator("span").first.bounding_box()["width"] <= 1, "the brackets are for the ear"
    assert float(style(pill, "borderTopLeftRadius")[:-2]) > 8
    read = [claim.text_content().removesuffix("#") for claim in claims.all()]
    assert [*read, ""] == CLAIMS.split("\n"), "as printed, for a screen reader and for copying"


def test_code_can_be_copied_and_outputs_not(chapter):
    codes = chapter.locator(".cell_input")
    assert codes.locator("button.copybtn").count() == codes.count() > 0
    assert chapter.locator(".cell_output button.copybtn").count() == 0


# --- drawings


def test_a_drawing_is_part_of_the_page_and_follows_its_theme(chapter):
    assert chapter.locator("article img").count() == 0
    drawing = chapter.get_by_role("img", name="A box").first
    assert style(drawing.locator("rect"), "fill") == "rgb(29, 95, 191)"
    chapter.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert style(drawing.locator("rect"), "fill") == "rgb(121, 175, 255)"
    chapter.emulate_media(media="print")
    assert style(drawing.locator("rect"), "fill") == "rgb(29, 95, 191)", "paper is white"
    chapter.emulate_media(media="screen")
    box = chapter.locator(".panels").first
    assert style(box.locator("xpath=.."), "backgroundColor") == "rgba(0, 0, 0, 0)", "no grey card"
    table = chapter.locator("table.dataframe")
    letters = [int(n) for n in re.findall(r"\d+", style(table.locator("td"), "color"))]
    assert min(letters[:3]) > 180 and style(table.locator("td"), "backgroundColor").endswith(" 0)")


def test_figures_are_numbered_by_chapter(browser, chapter, sample):
    assert chapter.locator(".caption-number").all_inner_texts() == ["Fig. 6.1 ", "Fig. 6.2 "]
    intro = browser.new_page()
    intro.goto(f"{sample}/book/intro.html")
    assert intro.locator("article p .std-numref").inner_text() == "Fig. 6.2"
    intro.close()


def test_two_panels_stand_side_by_side_and_stack_on_a_phone(chapter):
    panels = chapter.locator(".panels").nth(1).locator("svg")
    wide = [panel.bounding_box() for panel in panels.all()]
    assert wide[0]["y"] == wide[1]["y"] and wide[0]["x"] < wide[1]["x"]
    chapter.set_viewport_size({"width": 390, "height": 900})
    high = [panel.bounding_box() for panel in panels.all()]
    assert high[0]["x"] == high[1]["x"] and high[0]["y"] < high[1]["y"]
    assert high[0]["width"] > 320 and high[0]["width"] / high[0]["height"] == pytest.approx(4, 0.01)


# --- head, optional sections and exercises


def test_the_head_is_a_card_with_the_cost_on_chips(chapter):
    card = chapter.locator("ul.head-card")
    assert card.locator("strong").all_inner_texts() == [
        "Question",
        "You will build",
        "You need",
        "Cost",
    ]
    chips = card.locator(".chip").all_inner_texts()
    assert chips == ["50 min reading", "20 s running", "1.2 GB memory", "84 MB download"]
    assert style(card, "borderTopWidth") == "1px"
    assert "two CPU cores" in card.locator(".chip").nth(1).get_attribute("title")


def test_an_optional_section_says_so(chapter):
    assert "nothing later depends" in chapter.locator("#deeper-more").inner_text()
    assert "nothing later depends" not in chapter.locator("#in-practice").inner_text()


def test_exercises_are_cards_with_kind_time_and_difficulty(chapter):
    exercises = chapter.locator("section.exercise")
    chips = [exercise.locator(".chip").all_inner_texts() for exercise in exercises.all()]
    assert chips == [["Find the bug", "15 minutes", "medium"], ["10 minutes", "easy"]]
    first = exercises.first
    assert style(first, "borderTopWidth") == "1px"
    assert first.locator("summary").all_inner_texts() == ["The check", "A solution"]
    assert first.locator("p").nth(1).inner_text() == "Write double(x). It returns twice x."


# --- the whole, and the ledger


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(chapter, theme):
    chapter.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
    chapter.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    chapter.evaluate(AXE_SCRIPT)
    result = chapter.evaluate("axe.run", "article")
    assert [(v["id"], v["nodes"][0]["html"]) for v in result["violations"]] == []


def test_nothing_is_cut_in_print(chapter):
    chapter.emulate_media(media="print")
    chapter.set_viewport_size({"width": 700, "height": 900})
    cut = "pres => pres.filter(p => p.scrollWidth > p.clientWidth + 1).map(p => p.textContent)"
    assert chapter.locator("article pre:visible").evaluate_all(cut) == []


def test_the_ledger_filters_its_claims(browser, sample):
    page = browser.new_page()
    page.goto(f"{sample}/book/claims.html", wait_until="networkidle")
    total, items = page.locator("p.total"), page.locator("ul.claims > li:visible")
    assert total.inner_text() == "3 claims, 2 with a control."
    said = "✓ the rows sum to one [fails for: the columns] →"
    assert items.first.text_content() == said
    box = page.get_by_label("Show the claims that say")
    box.fill("SUM columns")
    assert items.count() == 1 and total.inner_text() == "1 of 3 claims."
    box.fill("nowhere")
    assert items.count() == 0 and page.locator("#chapter-06:visible").count() == 0
    box.fill("")
    assert items.count() == 3 and total.inner_text() == "3 claims, 2 with a control."
    items.nth(1).get_by_role("link").click()
    assert page.url.endswith("chapters/06_sample.html#claim-06-2")
    assert page.locator("p.claim:target").inner_text().startswith("✓ an old claim")
    page.close()


def test_the_ledger_of_the_book_lists_every_claim_and_leads_to_it(site):
    """Told from the stored notebooks, chapter by chapter."""
    ledger = soup(site / "book/claims.html")
    every = []
    for path in sorted((ROOT / "chapters").glob("*.ipynb")):
        section = ledger.find(id=f"chapter-{path.stem[:2]}")
        outputs = [o for c in nbformat.read(path, 4).cells for o in c.get("outputs", [])]
        lines = [line for o in outputs for line in o.get("text", "").splitlines()]
        lines = [line.strip() for line in lines if line.startswith("✓ ")]
        items = section.select("ul.claims > li")
        assert [item.get_text().removesuffix("→").strip() for item in items] == lines
        assert f"{len(lines)} claims" in section.get_text()
        page = soup(site / "chapters" / f"{path.stem}.html")
        for item, line in zip(items, lines, strict=True):
            file, fragment = item.a["href"].split("#")
            assert (site / "book" / file).name == f"{path.stem}.html"
            assert page.find(id=fragment).get_text().startswith(line)
        every += lines
    assert f"{len(every)} claims, {sum(line.endswith(']') for line in every)} with a control" in (
        ledger.article.get_text()
    )

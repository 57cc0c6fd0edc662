"""What holds the book together: chapters are whole, stored from one clean run, and in order."""

import ast
import importlib.util
import re
from pathlib import Path

import nbformat
import pytest
import yaml

from bertfamily.claims import read_claim
from tasks import folding, seal

ROOT = Path(__file__).resolve().parents[1]
PATHS = sorted((ROOT / "chapters").glob("*.ipynb"))
CHAPTERS = {path.stem: nbformat.read(path, 4) for path in PATHS}
# The modules in reading order, each with the chapter that introduces it.
ENTERS = {"claims": 1, "files": 1, "corpora": 1, "counts": 1, "drawings": 1}
ENTERS |= {"attention": 2, "plots": 2, "views": 2}
ENTERS |= {"encoder": 3, "wordpiece": 4, "batches": 4, "heads": 6, "flavors": 6, "checkpoints": 6}
ENTERS |= {"inspection": 7}
ENTERS |= {"masking": 9, "pairs": 10, "pretraining": 10, "feeds": 10, "training": 10}
ENTERS |= {"metrics": 11, "finetuning": 11, "tagging": 12, "answering": 13, "search": 14}
ENTERS |= {"electra": 17}

each_chapter = pytest.mark.parametrize("name", CHAPTERS)


def cells(name, kind):
    """The cells of a kind, each with its number among all cells from 1, as ruff counts them."""
    return [(i, c) for i, c in enumerate(CHAPTERS[name].cells, 1) if c.cell_type == kind]


def outputs(name):
    return [(i, c, o) for i, c in cells(name, "code") for o in c.outputs]


def texts(output):
    """Everything in an output that a person reads, as opposed to pictures."""
    data = output.get("data", {})
    return [output.get("text", ""), *(data[m] for m in data if m.startswith("text/"))]


def imported(source):
    """The modules of our package that a piece of source imports."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "bertfamily":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} if node.module.startswith("bertfamily.") else set()
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("bertfamily.")}
    return {module.removeprefix("bertfamily.") for module in found}


def test_there_are_chapters():
    assert "02_attention" in CHAPTERS


# --- stored from one clean run ---


@each_chapter
def test_the_file_is_a_valid_notebook_with_nothing_of_its_editor(name):
    notebook = CHAPTERS[name]
    nbformat.validate(notebook)
    assert notebook.metadata.keys() == {"kernelspec", "language_info", "sealed"}
    assert notebook.metadata.kernelspec.name == "python3"
    for i, cell in enumerate(notebook.cells, 1):
        mine = {k: v for k, v in cell.metadata.items() if k not in ("tags", "mystnb")}
        assert mine == folding(cell), f"cell {i} of {name}: {mine}; run it again"


@each_chapter
def test_the_cells_ran_once_from_the_first_to_the_last(name):
    counts = [cell.execution_count for _, cell in cells(name, "code")]
    assert counts == list(range(1, len(counts) + 1)), f"run it again: make run CHAPTER={name[:2]}"


@each_chapter
def test_code_and_outputs_are_as_the_run_left_them(name):
    notebook = CHAPTERS[name]
    assert notebook.metadata.sealed == seal(notebook), f"run it again: make run CHAPTER={name[:2]}"


@each_chapter
def test_no_cell_failed_or_warned(name):
    for i, cell, output in outputs(name):
        failed = output.output_type == "error"
        wanted = "raises-exception" in cell.metadata.get("tags", [])
        assert failed == wanted, f"cell {i}: {output.get('evalue', 'did not fail as its tag says')}"
        assert output.get("name") != "stderr", f"cell {i} wrote to stderr: {output.text}"
        assert "application/vnd.jupyter.widget-view+json" not in output.get("data", {}), f"cell {i}"


@each_chapter
def test_nothing_stored_tells_the_machine(name):
    path = re.compile(
        r"(?<![\w.:/])/(?:home|root|tmp|Users|usr|opt|var|mnt|work|srv|content)/|\b[A-Z]:\\"
    )
    address = re.compile(r"\bat 0x[0-9a-f]{6,}")
    for i, _, output in outputs(name):
        for text in texts(output):
            for pattern in (path, address):
                assert not (hit := pattern.search(text)), f"cell {i}: {text[hit.start() :][:80]}"


@each_chapter
def test_the_file_is_small(name):
    assert (ROOT / "chapters" / f"{name}.ipynb").stat().st_size < 1_500_000


# --- what a chapter must have ---


@each_chapter
def test_the_first_cell_is_the_same_everywhere(name):
    first = cells(name, "code")[0][1]
    assert first.source == cells(PATHS[0].stem, "code")[0][1].source
    assert first.metadata.tags == ["hide-cell"]


@each_chapter
def test_claims_are_made_and_stand_in_the_outputs(name):
    claiming = [c for _, c in cells(name, "code") if re.search(r"\bclaim\(", c.source)]
    assert claiming
    for cell in claiming:
        made = len(re.findall(r"^\s*claim\(", cell.source, re.M))
        printed = "".join(o.get("text", "") for o in cell.outputs).count("✓ ")
        assert printed >= made, f"{made} claims, {printed} ticks in:\n{cell.source}"


@each_chapter
def test_every_image_has_a_text_that_says_what_is_to_be_seen(name):
    for i, cell, output in outputs(name):
        data = output.get("data", {})
        if "text/html" in data:  # a view: its own fallback picture has the text
            for tag in re.findall(r"<img\b[^>]*>", data["text/html"]):
                assert re.search(r'alt="[^"]{20,}"', tag), f"cell {i}: {tag[:80]}"
        elif any(mime.startswith("image/") for mime in data):
            figure = cell.metadata.get("mystnb", {})
            assert len(figure.get("image", {}).get("alt", "").split()) >= 8, f"cell {i} has no alt"
            assert figure.get("figure", {}).get("caption"), f"cell {i} has no caption"
    for i, cell in cells(name, "markdown"):
        assert not re.search(r"!\[\s*\]\(", cell.source), f"cell {i}: an image without alt text"
        assert not re.search(r"<img\b(?![^>]*alt=\"[^\"]+\")", cell.source), f"cell {i}"


@each_chapter
def test_papers_are_known_to_the_references(name):
    known = set(
        re.findall(r"eprint = \{(.+?)\}", (ROOT / "book/references.bib").read_text("utf-8"))
    )
    for i, cell in cells(name, "markdown"):
        for paper in re.findall(r"arxiv\.org/\w+/(\d{4}\.\d{4,5})", cell.source):
            assert paper in known, f"cell {i}: {paper} is not in book/references.bib"


# --- what a chapter of the second mould must have, as far as a machine can tell ---

PARTS = ["On your own", "In practice", "Further reading", "Exercises"]
KINDS = ["predict", "write", "find the bug", "on paper", "design"]
TAGS = {"source", "hide-input", "hide-cell", "figure", "check", "solution", "long"}
TAGS |= {"remove-input", "nbval-ignore-output", "raises-exception"}
HIDDEN = {"hide-input", "hide-cell", "remove-input", "check"}


def tags(cell):
    return set(cell.metadata.get("tags", []))


def shows_a_picture(cell):
    data = [output.get("data", {}) for output in cell.outputs]
    return any(m.startswith("image/") for d in data for m in d if "text/html" not in d)


def faults(number, notebook):
    """What a chapter lacks of the mould: a line for each."""
    text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [
        *faults_of_the_head(number, notebook),
        *faults_of_the_sections(text),
        *(fault for i, cell in enumerate(code) for fault in faults_of_a_cell(i, cell)),
        *faults_of_the_figures(number, text, code),
        *faults_of_the_exercises(text),
    ]


def faults_of_the_head(number, notebook):
    cells = notebook.cells
    lines = [r"\* \*\*Question\.\*\* .+", r"\* \*\*You will build\.\*\* .+"]
    lines += [r"\* \*\*You need\.\*\* .+", r"\* \*\*Cost\.\*\* [^·]+ · [^·]+ · [^·]+ · [^·]+"]
    if not re.match("\n".join([rf"# {number} \S.*\n", *lines]), cells[0].source):
        lines = "Question, You will build, You need, Cost"
        yield f"the first cell is not '# {number} …' and the list {lines}"
    code = [cell for cell in cells if cell.cell_type == "code"]
    set_up = [i for i, cell in enumerate(code) if tags(cell) == {"hide-cell"}]
    if set_up != [0, 1]:
        yield f"set-up is the first two cells of code, tagged hide-cell; here it is {set_up}"
    words = [cell.source if cell.cell_type == "markdown" else "" for cell in cells]
    pictures = [
        i for i, cell in enumerate(cells) if cell.cell_type == "code" and shows_a_picture(cell)
    ]
    before = "\n\n".join(words[: pictures[0] if pictures else None])
    if re.search(r"^## ", before, re.M) or not pictures:
        yield "there is no picture before the first section"
    short = re.search(
        r"^(?:## In short\n|\*\*In short\.\*\*)(.*?)(?=^## )", "\n\n".join(words), re.M | re.S
    )
    if not short or len(re.findall(r"\]\(#(?!fig-)", short[1])) < 3:
        yield "no 'In short' with its three links to the sections that show it"
    elif pictures and "In short" in before:
        yield "In short comes after the picture"


def faults_of_the_sections(text):
    titles = re.findall(r"^## (.+)$", text, re.M)
    path = [t for t in titles if t not in ["In short", *PARTS] and not t.startswith("★")]
    if [title for title in titles if not title.startswith("★")][-4:] != PARTS:
        yield f"the sections at the end are {', '.join(PARTS)}; here {titles[-4:]}"
    if not 5 <= len(path) <= 9:
        yield f"five to nine sections lead there, not {len(path)}: {path}"
    for title in titles:
        if "Deeper" in title and not title.startswith("★ Deeper: "):
            yield f"the title of {title!r} begins with '★ Deeper: '"


def faults_of_a_cell(i, cell):
    """Of a cell of code, numbered from 0 as nbval does."""
    lines = [line for line in cell.source.splitlines() if line.strip(" \t")]
    lines = [line for line in lines if not line.strip().startswith("#")]
    if unknown := tags(cell) - TAGS:
        yield f"cell {i}: no tag is called {', '.join(unknown)}"
    if len(lines) > 15 and not tags(cell) & {*HIDDEN, "long"}:
        yield f"cell {i}: {len(lines)} lines in sight; fold it, or tag it long"
    if "long" in tags(cell) and not cell.source.startswith("# "):
        yield f"cell {i}: its first line is a comment that says why it is long"
    if shows_a_picture(cell) and not tags(cell) >= {"hide-input", "figure"}:
        yield f"cell {i}: it draws a picture: tag it hide-input and figure"
    if "figure" in tags(cell) and not shows_a_picture(cell):
        yield f"cell {i}: it is tagged figure and shows none"
    printed = "".join(output.get("text", "") for output in cell.outputs)
    for claim in filter(None, map(read_claim, printed.splitlines())):
        if claim.control and not claim.control.startswith("fails for: "):
            yield f"cell {i}: against=… says what the control is of: {claim.text}"


def faults_of_the_figures(number, text, code):
    names = []
    for i, cell in enumerate(code):
        if shows_a_picture(cell):
            figure = cell.metadata.get("mystnb", {}).get("figure", {})
            names.append(figure.get("name", ""))
            if not names[-1].startswith("fig-"):
                yield f"cell {i}: the figure has a name, fig-…, which gives it its number"
    for written, n, name in re.findall(r"(Fig(?:ure|\.) \d+\.(\d+))(?:\]\(#(fig-[\w-]+)\))?", text):
        if f" {number}." in written and not 1 <= int(n) <= len(names):
            yield f"there is no {written}: the figures are {names}"
        elif name in names and int(n) != names.index(name) + 1:
            yield f"{written} links to {name}, which is number {names.index(name) + 1}"


def faults_of_the_exercises(text):
    titles = re.findall(r"^### Exercise (\d+)\. \S", text, re.M)
    heads = re.findall(
        r"^### Exercise \d+\. .+\n\n\*([^*·]+) · (\d+) minutes · (\w+)\.\* ", text, re.M
    )
    if titles != [str(n) for n in range(1, len(titles) + 1)] or not 5 <= len(titles) <= 7:
        yield f"five to seven exercises, numbered from 1, not {titles}"
    if len(heads) != len(titles):
        yield "an exercise begins '*Find the bug · 15 minutes · medium.* …' under its title"
    if unknown := {kind.lower() for kind, _, _ in heads} - {*KINDS}:
        yield f"no kind of exercise is called {unknown}: {KINDS}"
    if len({kind for kind, _, _ in heads}) < 3:
        yield "the exercises are of three kinds at least"
    if unknown := {level for _, _, level in heads} - {"easy", "medium", "hard"}:
        yield f"an exercise is easy, medium or hard, not {unknown}"


@each_chapter
def test_a_chapter_keeps_to_the_mould(name):
    assert list(faults(int(name[:2]), CHAPTERS[name])) == []


def test_no_two_figures_share_a_label():
    """The site's labels are those of one book: a build from nothing stops at a second one."""
    found = [c.metadata.get("mystnb", {}) for n in CHAPTERS.values() for c in n.cells]
    names = [cell["figure"]["name"] for cell in found if "figure" in cell]
    assert sorted(names) == sorted(set(names))


def model():
    """The smallest chapter without a fault."""
    cell, text, output = (
        nbformat.v4.new_code_cell,
        nbformat.v4.new_markdown_cell,
        nbformat.v4.new_output,
    )
    folded = {"tags": ["hide-cell"]}
    picture = output("display_data", {"image/png": "", "text/plain": "a box"})
    named = {"tags": ["hide-input", "figure"], "mystnb": {"figure": {"name": "fig-box"}}}
    claimed = output("stream", name="stdout", text="✓ it is so [fails for: the columns]\n")
    head = "# 6 BERT\n\n* **Question.** Why?\n* **You will build.** It.\n* **You need.** It.\n"
    head += "* **Cost.** 50 min · 20 s · 1.2 GB · 84 MB"
    short = "**In short.** [One](#a), [two](#b), [three](#c).\n\n"
    sections = "".join(f"## {title}\n\nWords.\n\n" for title in "ABCDE")
    ends = "## ★ Deeper: more\n\nAs [Figure 6.1](#fig-box).\n\n" + "".join(
        f"## {title}\n\nWords.\n\n" for title in PARTS
    )
    kinds = ["Predict", "Write", "Write", "On paper", "Find the bug"]
    exercises = [
        f"### Exercise {n}. Do\n\n*{kind} · 10 minutes · easy.* Do.\n\n"
        for n, kind in enumerate(kinds, 1)
    ]
    return nbformat.v4.new_notebook(
        cells=[
            text(head),
            cell("import course", metadata=folded),
            cell("import torch", metadata=folded),
            cell("draw()", metadata=named, outputs=[picture]),
            text(short + sections),
            cell("claim()", outputs=[claimed]),
            cell("# it is one table\n" + "x\n" * 16, metadata={"tags": ["long"]}),
            text(ends + "".join(exercises)),
        ]
    )


def test_the_model_chapter_has_no_fault():
    assert list(faults(6, model())) == []


BROKEN = {  # what is written in place of what, or what is done; words of the fault
    ("# 6 BERT", "# BERT"): "first cell is not '# 6 …'",
    ("* **You need.** It.\n", ""): "Question, You will build, You need, Cost",
    (" · 84 MB", ""): "Question, You will build, You need, Cost",
    ("[three](#c)", "three"): "no 'In short'",
    ("**In short.** ", ""): "no 'In short'",
    ("## E\n", ""): "five to nine sections",
    ("## On your own", "## More"): "the sections at the end",
    ("## ★ Deeper: more", "## Deeper"): "begins with '★ Deeper: '",
    ("import course", "import course\n## "): None,
    ("Figure 6.1", "Figure 6.2"): "there is no Figure 6.2",
    ("(#fig-box)", "(#fig-bux)"): None,
    ("### Exercise 5. Do", "### Exercise 6. Do"): "numbered from 1",
    ("*On paper · 10 minutes · easy.* ", "*10 minutes, easy.* "): "*Find the bug · 15 minutes",
    ("*On paper ·", "*In the head ·"): "no kind of exercise",
    ("*On paper · 10 minutes · easy", "*On paper · 10 minutes · nice"): "easy, medium or hard",
}


@pytest.mark.parametrize("change", BROKEN, ids=str)
def test_a_fault_in_the_text_is_named(change):
    notebook, (old, new) = model(), change
    assert sum(old in cell.source for cell in notebook.cells) == 1
    for cell in notebook.cells:
        cell.source = cell.source.replace(old, new)
    found = list(faults(6, notebook))
    assert len(found) == (BROKEN[change] is not None), found
    assert BROKEN[change] is None or BROKEN[change] in found[0]


SPOILT = {
    "set-up is the first two cells": (2, lambda cell: cell.metadata.clear()),
    "no picture before": (3, lambda cell: cell.outputs.clear()),
    "tag it hide-input and figure": (3, lambda cell: cell.metadata.tags.remove("figure")),
    "the figure has a name": (3, lambda cell: cell.metadata.mystnb.figure.clear()),
    "no tag is called": (5, lambda cell: cell.metadata.update(tags=["hide-inputs"])),
    "says why it is long": (6, lambda cell: cell.update(source="x")),
    "16 lines in sight": (6, lambda cell: cell.metadata.clear()),
    "says what the control is of": (
        5,
        lambda cell: cell.outputs[0].update(text="✓ it is so [the control fails, as it must]"),
    ),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_a_fault_in_a_cell_is_named(fault):
    notebook, (i, spoil) = model(), SPOILT[fault]
    spoil(notebook.cells[i])
    assert any(fault in found for found in faults(6, notebook))


# --- order ---


def test_the_contents_list_every_chapter_in_order():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
    listed = [c["file"] for part in toc["parts"] for c in part["chapters"]]
    listed = [file.removeprefix("chapters/") for file in listed if file.startswith("chapters/")]
    assert listed == [path.stem for path in PATHS]


def test_the_introduction_maps_the_26_chapters():
    intro = (ROOT / "book/intro.md").read_text("utf-8")
    linked = re.findall(r"\]\(\.\./chapters/(\w+)\.ipynb\)", intro)
    assert sorted(set(linked)) == [path.stem for path in PATHS]
    rows = re.findall(r"^\| *(\d+) *\|(.*)$", intro, re.M)
    assert [int(number) for number, _ in rows] == list(range(1, 27))
    for number, row in rows:
        there = any(name.startswith(f"{int(number):02}_") for name in CHAPTERS)
        assert ("to come" in row) != there, f"chapter {number}: {row}"


def test_every_module_is_in_the_reading_order():
    modules = {path.stem for path in (ROOT / "src/bertfamily").glob("*.py")} - {"__init__"}
    assert modules == ENTERS.keys()
    assert list(ENTERS.values()) == sorted(ENTERS.values())


@pytest.mark.parametrize("module", ENTERS)
def test_a_module_imports_only_modules_above_it(module):
    order = list(ENTERS)
    used = imported((ROOT / f"src/bertfamily/{module}.py").read_text("utf-8"))
    assert used <= set(order[: order.index(module)])


@each_chapter
def test_a_chapter_imports_only_modules_that_have_been_introduced(name):
    for i, cell in cells(name, "code"):
        for module in imported(cell.source):
            assert ENTERS[module] <= int(name[:2]), f"cell {i} imports {module}"


def test_the_package_reference_has_every_module_in_order():
    toc = (ROOT / "_toc.yml").read_text("utf-8")
    assert re.findall(r"file: book/api/(\w+)", toc) == list(ENTERS)
    for module in ENTERS:
        page = (ROOT / f"book/api/{module}.md").read_text("utf-8")
        assert f"autoapimodule:: bertfamily.{module}\n" in page


def test_no_chapter_needs_more_than_the_course_installs():
    """Whatever a chapter imports is in the package's dependencies or those of its chapters."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    for name in CHAPTERS:
        for _, cell in cells(name, "code"):
            for top in re.findall(r"^(?:import|from) (\w+)", cell.source, re.M):
                standard = top in importlib.util.sys.stdlib_module_names
                top = {"sklearn": "scikit-learn"}.get(top, top)  # its name as a package
                assert standard or top == "bertfamily" or re.search(rf'"{top}\W', text), top

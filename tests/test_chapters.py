"""What holds the book together: chapters are whole, stored from one clean run, and in order."""

import ast
import importlib.util
import re
from pathlib import Path

import nbformat
import pytest
import yaml

from tasks import seal

ROOT = Path(__file__).resolve().parents[1]
PATHS = sorted((ROOT / "chapters").glob("*.ipynb"))
CHAPTERS = {path.stem: nbformat.read(path, 4) for path in PATHS}
# The modules in reading order, each with the chapter that introduces it.
ENTERS = {"claims": 1, "files": 1, "corpora": 1, "counts": 1}
ENTERS |= {"attention": 2, "plots": 2, "views": 2}
ENTERS |= {"encoder": 3, "wordpiece": 4, "batches": 4, "heads": 6, "flavors": 6, "checkpoints": 6}
ENTERS |= {"masking": 9, "pairs": 10, "pretraining": 10, "feeds": 10, "training": 10}

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
        assert cell.metadata.keys() <= {"tags", "mystnb"}, f"cell {i}: {cell.metadata}"


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
def test_it_has_the_parts_of_a_chapter(name):
    text = "\n".join(cell.source for _, cell in cells(name, "markdown"))
    number = int(name[:2])
    assert re.match(rf"# {number} \S", text), f"the title begins with the number: # {number} …"
    for part in ("**What you will do.**", "**What you will learn.**", "**What you will need.**"):
        assert part in text.split("\n## ")[0], part
    titles = re.findall(r"^## (.+)$", text, re.M)
    assert titles[-3:] == ["In practice", "Further reading", "Exercises"]
    exercises = re.findall(r"^### Exercise (\d+)\. .+\n\n\*(\d+) minutes, (\w+)\.\*", text, re.M)
    assert [int(n) for n, _, _ in exercises] == list(range(1, len(exercises) + 1))
    assert len(exercises) >= 4, "four exercises at least, each with its time and difficulty"
    assert {level for _, _, level in exercises} <= {"easy", "medium", "hard"}


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
    listed = re.findall(r"autoapimodule:: bertfamily\.(\w+)", (ROOT / "book/api.md").read_text())
    assert listed == list(ENTERS)


def test_no_chapter_needs_more_than_the_course_installs():
    """Whatever a chapter imports is in the package's dependencies or those of its chapters."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    for name in CHAPTERS:
        for _, cell in cells(name, "code"):
            for top in re.findall(r"^(?:import|from) (\w+)", cell.source, re.M):
                standard = top in importlib.util.sys.stdlib_module_names
                assert standard or top == "bertfamily" or re.search(rf'"{top}\W', text), top

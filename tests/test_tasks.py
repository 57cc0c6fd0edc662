"""What must be true of the commands: they do it twice alike, half of it never, and anywhere."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import nbformat
import pytest
import yaml
from nbclient.exceptions import CellExecutionError

import tasks

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def chapters(tmp_path, monkeypatch):
    """A folder with one small chapter, which `run_chapter` takes for the book's."""
    monkeypatch.setattr(tasks, "CHAPTERS", tmp_path)
    monkeypatch.setattr(tasks, "fetch", lambda: None)
    return tmp_path


def write(chapters, *sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[0].metadata = {"tags": ["hide-cell"], "editor": {"left": 3}}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"editor": "somebody's"})
    path = chapters / "07_small.ipynb"
    nbformat.write(notebook, path)
    return path


def test_two_runs_of_a_chapter_give_the_same_bytes(chapters):
    late = "import sys, time\nprint('a')\nsys.stdout.flush()\ntime.sleep(0.3)\nprint('b')"
    path = write(chapters, "pass", late, "object.__name__")
    tasks.run_chapter("07")
    first = path.read_bytes()
    tasks.run_chapter("07")
    assert path.read_bytes() == first
    assert list(chapters.iterdir()) == [path]
    notebook = nbformat.read(path, 4)
    assert notebook.metadata.keys() == {"kernelspec", "language_info", "sealed"}
    folded = {"cellView": "form", "jupyter": {"source_hidden": True, "outputs_hidden": True}}
    assert notebook.cells[0].metadata == {"tags": ["hide-cell"], **folded}
    assert [o.text for o in notebook.cells[1].outputs] == ["a\nb\n"], "one output, however slow"
    assert [c.execution_count for c in notebook.cells] == [1, 2, 3]


def test_what_the_site_folds_is_folded_in_jupyterlab_and_colab(chapters):
    path = write(chapters, "pass", "pass", "pass", "pass", "pass")
    tags = ["hide-cell solution", "hide-input figure", "check", "remove-input", "long"]
    notebook = nbformat.read(path, 4)
    for cell, names in zip(notebook.cells, tags, strict=True):
        cell.metadata = {"tags": names.split(), "jupyter": {"source_hidden": False}}
    nbformat.write(notebook, path)
    tasks.run_chapter("07")
    hidden = {"source_hidden": True}
    whole, part = [{"jupyter": hidden | more} for more in ({"outputs_hidden": True}, {})]
    for cell, wanted in zip(
        nbformat.read(path, 4).cells, [whole, part, part, part, {}], strict=True
    ):
        folding = {"cellView": "form", **wanted} if wanted else {}
        assert {k: v for k, v in cell.metadata.items() if k != "tags"} == folding


DRAW = """
from IPython.display import display
svg = "<svg class='bf'><title>A box</title>\\n<desc>{}</desc></svg>"
display({{"image/svg+xml": svg, "text/plain": "A box"}}, raw=True)
"""


def test_a_drawing_says_what_is_to_be_seen(chapters):
    """Its own description becomes the alt text, and follows it; the chapter's words are kept."""
    path = write(
        chapters, "pass", DRAW.format("Two &amp;\\n  three boxes."), DRAW.format("Theirs.")
    )
    notebook = nbformat.read(path, 4)
    notebook.cells[2].metadata["mystnb"] = {"image": {"alt": "Ours."}}
    nbformat.write(notebook, path)
    tasks.run_chapter("07")
    first = path.read_bytes()
    notebook = nbformat.read(path, 4)
    alts = [cell.metadata.mystnb.image.alt for cell in notebook.cells[1:]]
    assert alts == ["Two & three boxes.", "Ours."]
    tasks.run_chapter("07")
    assert path.read_bytes() == first
    notebook.cells[1].source = DRAW.format("Four boxes.")
    nbformat.write(notebook, path)
    tasks.run_chapter("07")
    assert nbformat.read(path, 4).cells[1].metadata.mystnb.image.alt == "Four boxes."


def test_a_chapter_that_fails_stays_as_it_was(chapters):
    path = write(chapters, "pass", "1 / 0")
    before = path.read_bytes()
    with pytest.raises(CellExecutionError, match="division by zero"):
        tasks.run_chapter("07")
    assert path.read_bytes() == before
    assert list(chapters.iterdir()) == [path]


def test_a_chapter_that_is_not_there_is_named(chapters):
    write(chapters, "pass")
    with pytest.raises(SystemExit, match="0 chapters '08' among: 07_small.ipynb"):
        tasks.run_chapter("08")


@pytest.mark.parametrize("change", ["source", "output"])
def test_the_seal_sees_what_was_changed_by_hand(chapters, change):
    path = write(chapters, "pass", "1 + 1")
    tasks.run_chapter("07")
    notebook = nbformat.read(path, 4)
    assert notebook.metadata.sealed == tasks.seal(notebook)
    if change == "source":
        notebook.cells[1].source = "1 + 2"
    else:
        notebook.cells[1].outputs[0].data["text/plain"] = "3"
    assert notebook.metadata.sealed != tasks.seal(notebook)


def test_kernels_have_no_network():
    script = "import socket; socket.create_connection(('192.0.2.1', 9), timeout=1)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "the tests run without network, but something asked for ('192.0.2.1', 9)" in done.stderr
    assert done.returncode != 0


def test_a_notebook_has_no_network(chapters):
    write(chapters, "pass", "import urllib.request", "urllib.request.urlopen('http://192.0.2.1:9')")
    with pytest.raises(CellExecutionError, match="the tests run without network"):
        tasks.run_chapter("07")


def test_a_cell_that_hangs_says_so(chapters):
    path = write(chapters, "1", "import time; time.sleep(60)")
    options = ["--nbval", "--nbval-current-env", "--nbval-cell-timeout=2", "-p", "conftest"]
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, *options, path]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ['PYTHONPATH']}"}
    done = subprocess.run(command, cwd=chapters, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "07_small.ipynb::Cell 1 was stopped: it took more than 2 seconds" in done.stdout


# --- the address of the repository ---


def test_the_address_is_the_same_everywhere():
    url = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["repository"]["url"]
    name = url.removeprefix("https://github.com/")
    owner, repository = name.split("/")
    site = f"https://{owner}.github.io/{repository}/"
    readme = (ROOT / "README.md").read_text("utf-8")
    assert f"colab.research.google.com/github/{name}/" in readme
    assert f"mybinder.org/v2/gh/{name}/" in readme
    assert site in readme
    assert site in (ROOT / "_config.yml").read_text("utf-8")
    for path in sorted((ROOT / "chapters").glob("*.ipynb")):
        assert f'address = "{url}"' in nbformat.read(path, 4).cells[1].source


def test_a_new_address_reaches_every_place(tmp_path):
    for folder in ("book", "chapters"):
        (tmp_path / folder).mkdir()
    files = [ROOT / "README.md", ROOT / "_config.yml", *(ROOT / "book").glob("*.md")]
    files += (ROOT / "chapters").glob("*.ipynb")
    for path in files:
        shutil.copy(path, tmp_path / path.relative_to(ROOT))
    url = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["repository"]["url"]
    old = url.removeprefix("https://github.com/")
    site = "{}.github.io/{}".format(*old.split("/"))
    text = (tmp_path / "_config.yml").read_text("utf-8")
    config = text.replace(f"github.com/{old}", "github.com/somebody/else", 1)
    (tmp_path / "_config.yml").write_text(config, "utf-8")
    tasks.address(tmp_path)
    for path in files:
        before = path.read_text("utf-8")
        expected = before.replace(old, "somebody/else").replace(site, "somebody.github.io/else")
        assert (tmp_path / path.relative_to(ROOT)).read_text("utf-8") == expected, path.name


# --- the first cell, as Colab would run it ---


@pytest.mark.skipif(not shutil.which("git"), reason="the first cell clones, and git is not here")
def test_the_first_cell_fetches_the_course_where_it_is_missing(tmp_path):
    """A bare environment has torch and not bertfamily; this checkout stands in for GitHub."""
    origin, bare, home = tmp_path / "origin", tmp_path / "bare", tmp_path / "home"
    home.mkdir()
    left_out = shutil.ignore_patterns(".git", ".venv", "_build", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, origin, ignore=left_out)
    venv.create(bare)
    python = bare / tasks.PYTHON.relative_to(tasks.VENV)
    site = [bare / "Lib" / "site-packages", *bare.glob("lib/python*/site-packages")][-1]
    # What is installed here, pip too, can be imported there. Our own package cannot: a .pth file
    # stands for it, and such files count only in an environment's own folder.
    (site / "installed.pth").write_text(str(Path(yaml.__file__).parents[1]))
    url = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["repository"]["url"]
    config = {f"url.{origin.as_uri()}.insteadOf": url, "safe.directory": "*"}
    config |= {"user.name": "a test", "user.email": "test@example.org"}
    environment = os.environ | {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}
    environment["GIT_CONFIG_COUNT"] = str(len(config))
    for i, (key, value) in enumerate(config.items()):
        environment |= {f"GIT_CONFIG_KEY_{i}": key, f"GIT_CONFIG_VALUE_{i}": value}

    def call(*command, cwd=home):
        options = {"cwd": cwd, "env": environment, "capture_output": True, "text": True}
        done = subprocess.run(command, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "all"]):
        call("git", *command, cwd=origin)
    where = "import importlib.util as u; print(u.find_spec('bertfamily'))"
    assert call(python, "-c", where) == "None"
    first = nbformat.read(ROOT / "chapters/02_attention.ipynb", 4).cells[1].source
    use = "\nimport bertfamily.attention\nprint(bertfamily.attention.__file__)"
    inside = str(home / "the-bert-family" / "src")
    assert call(python, "-c", first + use).startswith(inside)
    assert call(python, "-c", first + use).startswith(inside)  # once more, in a new kernel
    assert call(python, "-c", use).startswith(inside)  # and without the cell: it is installed

"""What must be true of the commands: they do it twice alike, half of it never, and anywhere."""

import http.server
import os
import shutil
import subprocess
import sys
import types
import venv
from pathlib import Path

import nbformat
import pytest
import yaml
from nbclient.exceptions import CellExecutionError

import bertfamily
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


# --- consoles, ports, line ends ---


def test_a_console_without_our_signs_is_no_error(tmp_path):
    """As in Windows, where what is redirected to a file has the signs of the country."""
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    claims = "from bertfamily.claims import claim; claim('one is one', True)"
    for command in (["-c", claims], [ROOT / "tasks.py", "--help"]):
        done = subprocess.run([sys.executable, *command], capture_output=True, env=environment)
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"one is one" in done.stdout or b"usage" in done.stdout


@pytest.mark.parametrize("taken", [False, True])
def test_the_site_is_served_also_where_the_usual_port_is_taken(monkeypatch, tmp_path, taken):
    (tmp_path / "index.html").write_text("the site")
    monkeypatch.setattr(tasks, "SITE", tmp_path)
    real, asked = http.server.ThreadingHTTPServer, []

    class Server(real):
        def __init__(self, address, *arguments, **options):
            asked.append(address)
            if taken and address[1] == 8000:
                raise OSError("Address already in use")
            super().__init__((address[0], 0), *arguments, **options)

        def serve_forever(self):
            raise KeyboardInterrupt

    monkeypatch.setattr(http.server, "ThreadingHTTPServer", Server)
    tasks.serve()
    assert asked == [("127.0.0.1", 8000)] + [("127.0.0.1", 0)] * taken


@pytest.mark.skipif(not shutil.which("git"), reason="git is not here")
def test_git_leaves_line_ends_as_they_are_also_on_windows(tmp_path):
    shutil.copy(ROOT / ".gitattributes", tmp_path)
    text = tmp_path / "vocab.txt"
    text.write_bytes(b"one\ntwo\n")

    def git(*command):
        config = "-c", "core.autocrlf=true", "-c", "core.eol=crlf", "-c", "user.name=a"
        config += "-c", "user.email=a@example.org"
        subprocess.run(["git", *config, *command], cwd=tmp_path, check=True)

    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "all"]):
        git(*command)
    text.unlink()
    git("checkout", "-q", "--", "vocab.txt")
    assert text.read_bytes() == b"one\ntwo\n"


# --- what stops a command ---


def test_a_command_that_fails_stops_what_follows_with_its_status(monkeypatch):
    tasks.run(sys.executable, "-c", "")
    with pytest.raises(SystemExit) as stopped:
        tasks.run(sys.executable, "-c", "raise SystemExit(3)")
    assert stopped.value.code == 3
    calls = []
    monkeypatch.setattr(tasks, "run", lambda *a, **k: calls.append(a) or sys.exit(4))
    for task in (tasks.build, tasks.test, tasks.lint, tasks.bench, tasks.fetch):
        with pytest.raises(SystemExit) as stopped:
            task()
        assert stopped.value.code == 4
    assert len(calls) == 5, "a task goes on after a command that failed"


def test_the_build_stops_at_warnings(monkeypatch):
    calls = []
    monkeypatch.setattr(tasks, "run", lambda *command: calls.append(command))
    assert tasks.build() == tasks.SITE
    ((program, *options),) = calls
    assert Path(program).stem == "jupyter-book" and options[:2] == ["build", "."]
    assert {"-W", "-n", "--keep-going"} <= set(options)


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A checkout with an environment that says what it was made from, and what is run."""
    calls = []
    for name in tasks.MADE_FROM:
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(tasks, "ROOT", tmp_path)
    monkeypatch.setattr(tasks, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(tasks, "PYTHON", Path(sys.executable))
    (tmp_path / ".venv").mkdir()
    monkeypatch.setattr(tasks, "run", lambda *c, **_: calls.append([str(part) for part in c]))
    tasks.environment()
    return tmp_path, calls


def test_an_environment_is_made_once_from_the_lock(made):
    _, calls = made
    (install,) = calls
    assert install[1:4] == ["-m", "pip", "install"]
    assert install[install.index("--constraint") + 1] == "constraints.txt"
    assert install[install.index("--requirement") + 1] == "requirements.txt"
    tasks.environment()
    assert len(calls) == 1


@pytest.mark.parametrize("name", ["requirements.txt", "constraints.txt", "pyproject.toml"])
def test_a_changed_lock_is_installed(made, name):
    root, calls = made
    (root / name).write_text("changed")
    tasks.environment()
    assert len(calls) == 2
    tasks.environment()
    assert len(calls) == 2


def test_an_installation_that_fails_is_made_again(made, monkeypatch):
    root, calls = made
    (root / "constraints.txt").write_text("changed")
    monkeypatch.setattr(tasks, "run", lambda *_, **__: sys.exit(1))
    with pytest.raises(SystemExit):
        tasks.environment()
    monkeypatch.setattr(tasks, "run", lambda *c, **_: calls.append(c))
    tasks.environment()
    assert len(calls) == 2


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
    assert f'address = "{url}"' in (ROOT / "chapters/first_cell.py").read_text("utf-8")


def test_a_new_address_reaches_every_place(tmp_path):
    for folder in ("book", "chapters"):
        (tmp_path / folder).mkdir()
    files = [ROOT / "README.md", ROOT / "_config.yml", *(ROOT / "book").glob("*.md")]
    files += (ROOT / "chapters").glob("*[by]")  # notebooks and their first cell
    for path in files:
        shutil.copy(path, tmp_path / path.relative_to(ROOT))
    tasks.address(tmp_path)  # the first cells are alike
    befores = {path: (tmp_path / path.relative_to(ROOT)).read_text("utf-8") for path in files}
    url = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["repository"]["url"]
    old = url.removeprefix("https://github.com/")
    site = "{}.github.io/{}".format(*old.split("/"))
    text = (tmp_path / "_config.yml").read_text("utf-8")
    config = text.replace(f"github.com/{old}", "github.com/somebody/else", 1)
    (tmp_path / "_config.yml").write_text(config, "utf-8")
    tasks.address(tmp_path)
    for path, before in befores.items():
        expected = before.replace(old, "somebody/else").replace(site, "somebody.github.io/else")
        assert (tmp_path / path.relative_to(ROOT)).read_text("utf-8") == expected, path.name


# --- the first cell, as Colab would run it ---


FIRST = (ROOT / "chapters" / "first_cell.py").read_text("utf-8")
USE = "\nimport bertfamily.attention\nprint(bertfamily.attention.__file__)"
needs_git = pytest.mark.skipif(not shutil.which("git"), reason="the first cell clones by git")


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """An environment that has torch and not bertfamily; this checkout stands in for GitHub."""
    origin, bare = (tmp_path_factory.mktemp(name) / name for name in ("origin", "bare"))
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
    environment["PYTHONPATH"] = str(ROOT / "tests" / "offline")  # without this checkout's package
    environment["GIT_CONFIG_COUNT"] = str(len(config))
    for i, (key, value) in enumerate(config.items()):
        environment |= {f"GIT_CONFIG_KEY_{i}": key, f"GIT_CONFIG_VALUE_{i}": value}

    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "all"]):
        subprocess.run(["git", *command], cwd=origin, env=environment, check=True)
    return origin, python, environment, site


@pytest.fixture
def colab(bare, tmp_path):
    """What runs a command or some Python in an empty home there, and where the course will be."""
    home = tmp_path / "a home é"
    home.mkdir()
    _, python, environment, site = bare
    for installed in site.glob("*bertfamily*.pth"):  # by another test
        installed.unlink()

    def call(*command, fails=False):
        command = [str(part) for part in ([python, *command] if command[0] == "-c" else command)]
        options = {"cwd": home, "env": environment, "capture_output": True, "text": True}
        done = subprocess.run(command, **options)
        assert bool(done.returncode) == fails, done.stderr
        return (done.stderr.splitlines()[-1] if fails else done.stdout).strip()

    return call, home / "the-bert-family"


@needs_git
def test_the_first_cell_fetches_the_course_where_it_is_missing(colab):
    call, course = colab
    where = "import importlib.util as u; print(u.find_spec('bertfamily'))"
    assert call("-c", where) == "None"
    inside = str(course / "src")
    assert call("-c", FIRST + USE).startswith(inside)
    assert call("-c", FIRST + USE).startswith(inside)  # once more, in a new kernel
    assert call("-c", USE).startswith(inside)  # and without the cell: it is installed
    # Older than the chapter, as where the folder was kept for a year.
    package = course / "src" / "bertfamily" / "__init__.py"
    package.write_text(package.read_text("utf-8").replace(bertfamily.__version__, "0.0.9"), "utf-8")
    assert "has version 0.0.9: git pull, then restart" in call("-c", FIRST, fails=True)
    package.write_text("", "utf-8")  # before versions were counted
    assert "has version 0: git pull, then restart" in call("-c", FIRST, fails=True)


@needs_git
@pytest.mark.parametrize("state", ["another's", "cut off", "a file less"])
def test_the_first_cell_takes_no_folder_for_the_course_that_is_not_it(colab, bare, state):
    call, course = colab
    if state == "another's":
        (course / "src").mkdir(parents=True)
    else:
        call("git", "clone", "-q", *["--no-checkout"] * (state == "cut off"), bare[0], course)
        (course / "pyproject.toml").unlink(missing_ok=True)
    error = call("-c", FIRST, fails=True)
    assert error == f"RuntimeError: {course} is not the whole course: rename it"


def test_the_first_cell_asks_for_a_restart_where_another_transformers_is_loaded(monkeypatch):
    exec(FIRST, {})  # the one that is installed here, or none
    old = types.ModuleType("transformers")
    old.__version__ = "4.0.0"
    monkeypatch.setitem(sys.modules, "transformers", old)
    with pytest.raises(RuntimeError, match="another transformers is in memory: restart"):
        exec(FIRST, {})


def test_the_first_cell_names_the_version_of_the_package():
    assert f'version = "{bertfamily.__version__}"' in FIRST


def test_the_first_cell_is_put_into_every_chapter(tmp_path):
    for name in ("README.md", "_config.yml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "chapters").mkdir()
    shutil.copy(ROOT / "chapters/first_cell.py", tmp_path / "chapters")
    path = write(tmp_path / "chapters", "an older one", "1 + 1")
    tasks.address(tmp_path)
    after = path.read_bytes()
    assert [cell.source for cell in nbformat.read(path, 4).cells] == [FIRST.rstrip(), "1 + 1"]
    nbformat.write(nbformat.read(path, 4), path)
    assert path.read_bytes() == after, "not as a chapter is written"
    tasks.address(tmp_path)
    assert path.read_bytes() == after

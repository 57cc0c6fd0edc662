"""The project's commands for every system: `python tasks.py book`, `test`, … (`make` calls them).

They need Python 3.11 or newer and nothing else. The first one makes a virtual environment in
`.venv` and installs into it; later ones use it until the files that it was made from change.
"""

import argparse
import functools
import hashlib
import html
import http.server
import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
SITE = ROOT / "_build" / "html"
CHAPTERS = ROOT / "chapters"
TORCH = "torch==2.13.0"  # the lock, constraints.txt, has the same
TORCH_CPU = "https://download.pytorch.org/whl/cpu"
KERNEL = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}  # where chapters are run and re-run
MADE_FROM = "requirements.txt", "constraints.txt", "pyproject.toml"


def run(*command, **kwargs) -> None:
    """Run a command at the root and stop with its exit status if it fails."""
    status = subprocess.run([str(part) for part in command], cwd=ROOT, **kwargs).returncode
    if status:
        sys.exit(status)


def environment() -> None:
    """Make `.venv` hold what the lock says, unless it does already."""
    stamp = VENV / "made-from"
    digest = hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in MADE_FROM)).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return
    if sys.version_info < (3, 11):  # noqa: UP036  (ruff trusts the version that we ask for here)
        sys.exit(f"The course needs Python 3.11 or newer; this is {sys.version.split()[0]}.")
    print("Installing into .venv: some minutes, once.", flush=True)
    if not PYTHON.exists():
        run(sys.executable, "-m", "venv", VENV)
    pip = PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"
    # The CPU build of torch first: on Linux a plain one brings gigabytes of CUDA. Its version ends
    # in "+cpu" and sorts above the plain one, so pip takes it wherever it is offered.
    if subprocess.run([PYTHON, "-c", "import torch"], capture_output=True).returncode:
        offer = "--extra-index-url", TORCH_CPU, "--retries", "0"
        run(*pip, TORCH, "--no-deps", *offer, stderr=subprocess.DEVNULL)
    everything = "--requirement", "requirements.txt", "--editable", ".[chapters,experiments,test]"
    run(*pip, *everything, "--constraint", "constraints.txt")
    stamp.write_text(digest)


def build() -> Path:
    """Build the site from the stored notebooks, warnings being errors, and return its folder."""
    jupyter_book = PYTHON.with_name("jupyter-book" + PYTHON.suffix)
    run(jupyter_book, "build", ".", "-W", "-n", "--keep-going", "--quiet")
    return SITE


def book() -> None:
    """Build the site into _build/html."""
    address()
    build()
    print(f"Open {SITE / 'index.html'}, or serve it: make serve (python tasks.py serve).")


def serve() -> None:
    """Serve the site on this machine until Ctrl-C."""
    if not SITE.exists():
        book()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=SITE)
    make = functools.partial(http.server.ThreadingHTTPServer, RequestHandlerClass=handler)
    try:
        server = make(("127.0.0.1", 8000))
    except OSError:  # it is taken
        server = make(("127.0.0.1", 0))
    with server:
        print(f"http://127.0.0.1:{server.server_port}/ (Ctrl-C stops it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


def test(*arguments: str) -> None:
    """Run every test, or those that the arguments, which go to pytest, choose."""
    fetch()
    run(PYTHON, "-m", "pytest", *(arguments or ["--numprocesses=2"]))


def lint() -> None:
    """Check the style of code and notebooks."""
    run(PYTHON, "-m", "ruff", "check", ".")
    run(PYTHON, "-m", "ruff", "format", "--check", ".")


def bench() -> None:
    """Time the course beside what a reader would use in its place."""
    for script in sorted((ROOT / "benchmarks").glob("*.py")):
        run(PYTHON, script)


def fetch() -> None:
    """Bring the pinned archives that the chapters read into the cache."""
    run(PYTHON, "-m", "bertfamily.corpora")


def run_chapter(number: str) -> None:
    """Run a chapter from its first to its last cell and store what it puts out, in place.

    Two runs give the same bytes. A cell that fails stops the run, and the file stays as it was.
    """
    import nbformat
    from nbclient import NotebookClient

    found = sorted(CHAPTERS.glob(f"{number}_*.ipynb"))
    if len(found) != 1:
        there = ", ".join(path.name for path in sorted(CHAPTERS.glob("*.ipynb")))
        sys.exit(f"There are {len(found)} chapters {number!r} among: {there}")
    (path,) = found
    fetch()
    run(PYTHON, "-m", "ruff", "format", "--quiet", path)
    os.environ |= KERNEL
    notebook = nbformat.read(path, 4)
    for cell in notebook.cells:
        image = cell.metadata.get("mystnb", {}).get("image", {})
        if image.get("alt") == description(cell):  # what an earlier run wrote
            image.pop("alt", None)
    options = {"timeout": 600, "record_timing": False, "coalesce_streams": True}
    NotebookClient(notebook, **options, resources={"metadata": {"path": CHAPTERS}}).execute()
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    notebook.metadata["sealed"] = seal(notebook)
    for cell in notebook.cells:
        metadata = {k: v for k, v in cell.metadata.items() if k in ("tags", "mystnb")}
        cell.metadata = nbformat.from_dict(metadata | folding(cell))
        if description(cell):
            figure = cell.metadata.setdefault("mystnb", nbformat.NotebookNode())
            figure.setdefault("image", {}).setdefault("alt", description(cell))
    draft = path.with_suffix(".draft")
    nbformat.write(notebook, draft)
    draft.replace(path)


def folding(cell) -> dict:
    """The metadata that fold a cell in JupyterLab and in Colab as its tags do on the site."""
    tags = set(cell.metadata.get("tags", []))
    if not tags & {"hide-input", "hide-cell", "remove-input", "check"}:
        return {}
    whole = {"outputs_hidden": True} if "hide-cell" in tags else {}
    return {"cellView": "form", "jupyter": {"source_hidden": True, **whole}}


def description(cell) -> str:
    """What the drawings in the outputs of a cell say of themselves, the alt text by default."""
    drawings = [o.get("data", {}).get("image/svg+xml", "") for o in cell.get("outputs", [])]
    said = re.findall(r"<desc>(.*?)</desc>", "".join(drawings), re.S)
    return html.unescape(" ".join(" ".join(said).split()))


def seal(notebook) -> str:
    """A digest of the code and its outputs, by which the tests see what was changed after the run.

    The first cell is left out: it puts out nothing, and `address` may change it.
    """
    code = [[c.source, c.outputs] for c in notebook.cells if c.cell_type == "code"][1:]
    return hashlib.sha256(json.dumps(code, sort_keys=True).encode()).hexdigest()


def address(root: Path = ROOT) -> None:
    """Write the address of the repository, which stands in _config.yml, wherever it is needed.

    The first cell, chapters/first_cell.py, is then put into every chapter.
    """
    name = re.compile(r"github(?:\.com)?/([\w.-]+)/([\w.-]+)")  # also as in Colab's links
    new = name.search((root / "_config.yml").read_text("utf-8")).groups()
    old = name.search((root / "README.md").read_text("utf-8")).groups()
    patterns = "_config.yml", "*.md", "book/*.md", "chapters/*.ipynb", "chapters/first_cell.py"
    patterns = patterns if new != old else ()
    for path in (path for pattern in patterns for path in root.glob(pattern)):
        text = path.read_text("utf-8")
        for form in ("{}/{}", "{}.github.io/{}"):
            text = text.replace(form.format(*old), form.format(*new))
        path.write_text(text, "utf-8", newline="\n")
    first = (root / "chapters" / "first_cell.py").read_text("utf-8").rstrip("\n")
    for path in sorted((root / "chapters").glob("*.ipynb")):
        notebook = json.loads(path.read_text("utf-8"))
        cell = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
        if "".join(cell["source"]) != first:
            cell["source"] = first.splitlines(keepends=True)
            text = json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
            path.write_text(text, "utf-8", newline="\n")


def quotations(folder: str) -> None:
    """Look up every quotation in a folder with the sources as text, and print what is missing.

    White space, line breaks and the form of quotation marks may differ, and nothing else.
    """
    import tomllib

    def plain(text):
        text = text.translate(str.maketrans("“”„‘’", '"""\'\''))
        return " ".join(text.split())

    stored = tomllib.loads((ROOT / "data/quotations.toml").read_text("utf-8"))
    texts = [path.read_text("utf-8") for path in sorted(Path(folder).glob("*.txt"))]
    missing = found = 0
    for name, source in stored["sources"].items():
        known = [text for text in texts if source["known_by"] in text]
        if len(known) != 1:
            print(f"{name}: {len(known)} files hold {source['known_by']!r}")
        text = known[0] if len(known) == 1 else ""
        titles = {plain(line.strip(" \t#*:0123456789.")) for line in text.splitlines()}
        for quotation in (q for q in stored["quotation"] if q["source"] == name):
            words = plain(quotation["words"]) in plain(text)
            place = plain(quotation["place"]) in titles
            found += words and place
            missing += not (words and place)
            if not words:
                print(f"{quotation['id']}: the {source['name']} does not say {quotation['words']}")
            if not place:
                title = f"{source['place']} {quotation['place']}"
                print(f"{quotation['id']}: the {source['name']} has no {title}")
    print(f"{found} quotations are there word for word, {missing} are not.")
    sys.exit(missing > 0)


TASKS = {"book": book, "serve": serve, "test": test, "lint": lint, "bench": bench}
TASKS |= {"run": run_chapter, "address": address, "quotations": quotations}


def main() -> None:
    sys.stdout.reconfigure(errors="backslashreplace")  # for a console that has no accents
    summary = "\n".join(f"{name:10} {task.__doc__.splitlines()[0]}" for name, task in TASKS.items())
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog=summary,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("task", choices=TASKS)
    options, arguments = parser.parse_known_args()
    environment()
    if Path(sys.prefix).resolve() == VENV.resolve():
        TASKS[options.task](*arguments)
    else:
        run(PYTHON, __file__, *sys.argv[1:])


if __name__ == "__main__":
    main()

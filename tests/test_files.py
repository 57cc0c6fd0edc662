"""What must be true of files that are written: whole or not at all, and nothing is left behind."""

import hashlib
import os
import subprocess
import sys

import pytest

from bertfamily.files import draft_of, sha256_of, write_whole


def test_a_file_is_written_and_nothing_beside_it(tmp_path):
    target = tmp_path / "a [1] file.pt"
    write_whole(target, lambda draft: draft.write_text("one"))
    write_whole(target, lambda draft: draft.write_text("two"))
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    assert target.read_text() == "two"
    assert sha256_of(target) == hashlib.sha256(b"two").hexdigest()


def test_a_failure_leaves_what_was_there(tmp_path):
    target = tmp_path / "file"
    target.write_text("old")

    def fail(draft):
        draft.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(target, fail)
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]


KILLED = """
import os, sys
from pathlib import Path
from bertfamily.files import write_whole
write_whole(Path(sys.argv[1]), lambda draft: (draft.write_text("half"), os._exit(9)))
"""


def test_what_a_killed_process_left_is_deleted_by_the_next_write(tmp_path):
    target, other = tmp_path / "training.pt", tmp_path / "training.pt.notes"
    for path in (target, other):
        subprocess.run([sys.executable, "-c", KILLED, path], check=False)
    left = [path.name for path in tmp_path.iterdir()]
    assert len(left) == 2 and not target.exists()
    working = tmp_path / f"training.pt.{os.getppid()}.draft"  # of a process that runs
    working.touch()
    write_whole(target, lambda draft: draft.write_text("whole"))
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {target.name, working.name} | {name for name in left if "notes" in name}


def test_a_draft_may_be_a_folder_and_one_of_the_same_number_is_no_hindrance(tmp_path):
    (tmp_path / f"file.{os.getpid()}.draft").mkdir()
    with draft_of(tmp_path / "file") as draft:
        assert not draft.exists()
        (draft / "inside").mkdir(parents=True)
    assert list(tmp_path.iterdir()) == []

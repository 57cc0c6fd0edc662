"""WordPiece: text into words, words into pieces, and a vocabulary of pieces out of a corpus.

Schuster and Nakajima, 2012, for Japanese and Korean; Wu et al., 2016, section 4.1
(https://arxiv.org/abs/1609.08144); Devlin et al., 2018 (https://arxiv.org/abs/1810.04805). What
surprises: only the training merges pairs. To apply the vocabulary we take the longest piece that
fits, from left to right, and where nothing fits the whole word becomes [UNK].

Ids, pieces and offsets equal those of BertTokenizer in `transformers`, with its peculiarities: the
special tokens are found wherever they stand in a text, so the text of a stranger may contain them;
a Korean syllable falls apart into its letters where accents are stripped. Two differences remain,
both in words that no published vocabulary knows. 55 capitals that are younger than the Unicode of
Python 3.11 stay capitals. And we do not sort the marks on one letter (canonical order), which
shows only beside one of 83 rare marks that the reference keeps: the offsets there may differ.
"""

import heapq
import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import methodcaller
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import torch

from bertfamily.files import write_whole

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LONGEST_WORD = 100  # characters; a longer word is [UNK], as in the reference
REMEMBERED = 100_000  # stretches of text whose tokens a tokenizer keeps

Token = tuple[int, int, int]  # id, start, end

# --- from text to words


class Word(NamedTuple):
    """A word as the vocabulary sees it, and where it stands in the original text."""

    text: str
    start: int
    end: int


def split_words(text: str, lowercase: bool = True) -> list[Word]:
    """Words and punctuation marks, cleaned; with `lowercase` also small and without accents."""
    _check_text(text)
    return [Word(w, where[0], where[-1] + 1) for w, where in _aligned_words(text, lowercase)]


def _aligned_words(text: str, lowercase: bool) -> list[tuple[str, list[int]]]:
    """The words, and for each of their characters where in `text` it comes from."""
    words: list[tuple[list[str], list[int]]] = []
    inside = False  # a word that may go on
    for at, character in enumerate(text):
        chinese = _CHINESE.match(character)
        for part in _normal(character, lowercase):
            alone = chinese or _is_punctuation(part)
            if part != " ":
                if alone or not inside:
                    words.append(([], []))
                words[-1][0].append(part)
                words[-1][1].append(at)
            inside = part != " " and not alone
    return [("".join(parts), where) for parts, where in words]


@lru_cache(maxsize=1 << 16)
def _normal(character: str, lowercase: bool) -> str:
    """What is left of a character: nothing, a space, itself, or its small parts, no accents."""
    if character in "\t\n\r":
        return " "
    if character in "\0\ufffd" or _category(character) in ("Cc", "Cf", "Co"):
        return ""
    if character.isspace():
        return " "
    if not lowercase:
        return character
    parts = character if _LATER.match(character) else unicodedata.normalize("NFD", character)
    # Of a whole word, "ΣΑΣ".lower() would end in another sigma than it begins with.
    return "".join(part.lower() for part in parts if _category(part) != "Mn")


@lru_cache(maxsize=1 << 16)
def _is_punctuation(character: str) -> bool:
    """All of ASCII that is no letter and no digit counts, "$" and "+" too."""
    ascii_mark = "!" <= character <= "~" and not character.isalnum()
    return ascii_mark or _category(character).startswith("P")


def _category(character: str) -> str:
    """The general category of Unicode, in the state in which the reference has it."""
    if _LATER.match(character):
        return "Lo"
    return _MOVED.get(character) or unicodedata.category(character)


def _one_of(ranges: str) -> re.Pattern[str]:
    """What matches one character of ranges such as "61D 890-8E2"."""
    points = re.sub("[0-9A-F]+", lambda point: chr(int(point[0], 16)), ranges)
    return re.compile(f"[{''.join(points.split())}]")


# The reference has the categories of Unicode 8. Marks and punctuation that came later are letters
# to it; these ranges hold them all, up to Unicode 18 (and letters between them, which stay such) …
_LATER = _one_of("""
5C8-5C9 61D 7FD 890-8E2 9FD-9FE A76 AFA-AFF B53-B55 C04-C3C C77 C84 D00 D3B-D3C D81 EBA ECE
180F-1886 1ABF-1AF0 1B4E-1B4F 1B7D-1B7F 1DF6-1DFB 2E43-2E63 A82C A8C5 A8FF A9BD 105C9-105E4
10D24-10F89 11070-11074 110C2-110CD 111CF 1123E-11241 1133B 11383-1145E 11660-1166C 116B9
1182F-11FFF 12FF1-1612F 16D68-16F4F 16FE2-16FE4 1CF00-1D128 1D25B-1D25C 1E000-1E6F5 1E944-1E95F
""")
# … and these four have changed their category since.
_MOVED = {"\u166d": "Po", "\u1734": "Mn", "\U000111c9": "Po", "\U0001171e": "Mn"}
# As in the reference, 2B820 to 2B91F are not among them; in google-research/bert they are.
_CHINESE = _one_of("3400-4DBF 4E00-9FFF F900-FAFF 20000-2A6DF 2A700-2B81F 2B920-2CEAF 2F800-2FA1F")

# --- from words to pieces


def longest_match(word: str, vocabulary: Container[str]) -> list[str]:
    """The word in pieces, each the longest that fits: ["sin", "##an"]; [] if none fits."""
    pieces, start = [], 0
    while start < len(word):
        prefix = "##" if start else ""
        ends = range(len(word), start, -1)
        end = next((end for end in ends if prefix + word[start:end] in vocabulary), None)
        if end is None:
            return []
        pieces.append(prefix + word[start:end])
        start = end
    return pieces


class Encoding(NamedTuple):
    """One text, or two, as an encoder reads them; the four lists are equally long."""

    ids: list[int]
    segments: list[int]  # 0: first text with its [CLS] and [SEP]; 1: second text with its [SEP]
    offsets: list[tuple[int, int]]  # into the text of that segment; (0, 0) where we added a token
    pieces: list[str]


class Tokenizer:
    """A vocabulary at work: texts into ids and back."""

    def __init__(self, vocabulary: Sequence[str], lowercase: bool = True):
        self.vocabulary = tuple(vocabulary)  # in the order of the ids
        self.lowercase = lowercase
        self.ids = _numbered(self.vocabulary)
        self.pad, self.unknown, self.cls, self.sep, self.mask = (self.ids[s] for s in SPECIAL)
        extra = re.compile(r"\[(PAD|UNK|CLS|SEP|MASK|unused\d+)\]")
        # (vocab,): True at pieces that are neither special nor [unused…]; at those with ##
        self.ordinary = torch.tensor([not extra.fullmatch(piece) for piece in self.vocabulary])
        self.continues = torch.tensor([piece.startswith("##") for piece in self.vocabulary])
        self._known: dict[str, list[Token]] = {}

    def tokenize(self, text: str) -> list[Token]:
        """The id of each piece and where it stands in the text; no special token is added."""
        _check_text(text)
        tokens = []
        for part in re.finditer(r"[^ \t\n\r]+", text):
            at = part.start()
            tokens += [(i, at + start, at + end) for i, start, end in self._tokens_of(part[0])]
        return tokens

    def ids_of(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of many texts; no special token is added."""
        _check_texts(texts)
        return [[i for i, _, _ in self.tokenize(text)] for text in texts]

    def pieces(self, text: str) -> list[str]:
        """The pieces of a text; no special token is added."""
        return [self.vocabulary[i] for i, _, _ in self.tokenize(text)]

    def encode(
        self,
        first: str,
        second: str | None = None,
        *,
        longest: int | None = None,
        cut: str = "longest_first",
    ) -> Encoding:
        """[CLS] first [SEP], or [CLS] first [SEP] second [SEP]; cut to `longest` tokens in all.

        `cut` says which text loses its end: "first", "second", or "longest_first", the longer one
        until both are equally long, and then both. An empty second text is a text too.
        """
        texts = [self.tokenize(text) for text in ([first] if second is None else [first, second])]
        if longest is not None:
            lengths = _lengths([len(tokens) for tokens in texts], longest, cut)
            texts = [tokens[:length] for tokens, length in zip(texts, lengths, strict=True)]
        rows = [(self.cls, 0, 0, 0)]
        for segment, tokens in enumerate(texts):
            rows += [(*token, segment) for token in [*tokens, (self.sep, 0, 0)]]
        return Encoding(
            ids=[i for i, *_ in rows],
            segments=[segment for *_, segment in rows],
            offsets=[(start, end) for _, start, end, _ in rows],
            pieces=[self.vocabulary[i] for i, *_ in rows],
        )

    def decode(self, ids: Iterable[int], skip_special: bool = False) -> str:
        """The pieces as a text, with no space before ## and none before . , ? and !

        Equal to the reference with `clean_up_tokenization_spaces=False`: "don ' t" stays apart.
        What tokenising took away (capitals, accents, spaces, the words behind [UNK]) is lost.
        """
        ids = list(ids)
        for i in ids:
            if not 0 <= i < len(self.vocabulary):
                raise ValueError(f"id {i} is no piece: there are {len(self.vocabulary)}, from 0")
        pieces = [self.vocabulary[i] for i in ids]
        if skip_special:
            pieces = [piece for piece in pieces if piece not in SPECIAL]
        return re.sub(" (##|(?=[.,?!]))", "", " ".join(pieces))

    def save(self, folder: str | PathLike) -> None:
        """Write vocab.txt and tokenizer_config.json, which `transformers` reads too."""
        folder = Path(folder)
        if (other := folder / "tokenizer.json").exists():
            raise FileExistsError(
                f"{other} is there, and transformers would read it in place of our vocab.txt; "
                "save into another folder"
            )
        folder.mkdir(parents=True, exist_ok=True)
        settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": self.lowercase}
        for name, text in {
            "vocab.txt": "".join(piece + "\n" for piece in self.vocabulary),
            "tokenizer_config.json": json.dumps(settings, indent=1) + "\n",
        }.items():
            write_whole(folder / name, methodcaller("write_bytes", text.encode("utf-8")))

    def _tokens_of(self, part: str) -> list[Token]:
        """`tokenize` for a part of a text without spaces; remembered, for words come again."""
        if (known := self._known.get(part)) is not None:
            return known
        tokens, at = [], 0
        for stretch in re.split(r"(\[(?:PAD|UNK|CLS|SEP|MASK)\])", part):
            if stretch in SPECIAL:
                tokens.append((self.ids[stretch], at, at + len(stretch)))
            else:
                for word, where in _aligned_words(stretch, self.lowercase):
                    tokens += self._tokens_of_word(word, [at + w for w in where])
            at += len(stretch)
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        if len(part) <= LONGEST_WORD:
            self._known[part] = tokens
        return tokens

    def _tokens_of_word(self, word: str, where: list[int]) -> list[Token]:
        pieces = longest_match(word, self.ids) if len(word) <= LONGEST_WORD else []
        tokens, at = [], 0
        for piece in pieces or ["[UNK]"]:
            end = at + len(piece) - 2 * (at > 0) if pieces else len(word)
            tokens.append((self.ids[piece], where[at], where[end - 1] + 1))
            at = end
        return tokens


def load_tokenizer(folder: str | PathLike) -> Tokenizer:
    """The tokenizer of a folder with a vocab.txt; lower-casing unless its config says otherwise.

    Without that file a tokenizer.json will do. What it says about the length of a text (to be cut
    or filled up) is not ours: `encode` has its own argument for it. Tokens that were added to a
    vocabulary later are refused: they are found before a text is split, which we do not do.
    """
    folder = Path(folder)
    try:
        config, whole, added = (
            _json(folder / f"{name}.json")
            for name in ("tokenizer_config", "tokenizer", "added_tokens")
        )
        entries = [*whole.get("added_tokens", []), *config.get("added_tokens_decoder", {}).values()]
        others = {*added, *(entry["content"] for entry in entries)}.difference(SPECIAL)
        if others:
            raise ValueError(f"tokens were added, {sorted(others)[:5]}; only {SPECIAL} are known")
        if whole and not (folder / "vocab.txt").exists():
            return _from_json(whole)
        # Not splitlines, which also splits at characters that may be pieces.
        text = (folder / "vocab.txt").read_text("utf-8-sig")  # some editors put a mark before it
        pieces = text.removesuffix("\n").split("\n")
        lowercase = config.get("do_lower_case", True)
        for name, usual in {"strip_accents": lowercase, "tokenize_chinese_chars": True}.items():
            if config.get(name) not in (None, usual):
                raise ValueError(f"{name}={config[name]} is a setting that we do not have")
        return Tokenizer(pieces, lowercase)
    except UnicodeDecodeError as error:
        raise ValueError(f"{folder}: a file is not UTF-8 ({error}); save it as such") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder}: {error}") from error


def _json(path: Path) -> dict:
    """The settings in a file; none if it is not there."""
    found = json.loads(path.read_text("utf-8-sig")) if path.exists() else {}
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} holds {str(found)[:40]!r} and no settings; fetch it again")
    return found


def _from_json(settings: dict) -> Tokenizer:
    """The tokenizer that a tokenizer.json describes, if it is one of BERT's."""
    model, normal = settings.get("model") or {}, settings.get("normalizer") or {}
    lowercase = normal.get("lowercase", False)
    for name, value, usual in (
        ("model", model.get("type"), "WordPiece"),
        ("normalizer", normal.get("type"), "BertNormalizer"),
        ("continuing_subword_prefix", model.get("continuing_subword_prefix"), "##"),
        ("max_input_chars_per_word", model.get("max_input_chars_per_word"), LONGEST_WORD),
        ("clean_text", normal.get("clean_text"), True),
        ("handle_chinese_chars", normal.get("handle_chinese_chars"), True),
        ("strip_accents", normal.get("strip_accents") in (None, lowercase), True),
    ):
        if value != usual:
            raise ValueError(f"tokenizer.json says {name}={value!r}; only {usual!r} is known here")
    ids = model["vocab"]
    if sorted(ids.values()) != list(range(len(ids))):
        raise ValueError("tokenizer.json has a vocabulary whose ids are not 0, 1, 2, …")
    return Tokenizer(sorted(ids, key=ids.get), lowercase)


def fast(tokenizer: Tokenizer) -> Tokenizer:
    """The same tokenizer on top of the `tokenizers` library, for bulk work; the same results."""
    return _Fast(tokenizer.vocabulary, tokenizer.lowercase)


class _Fast(Tokenizer):
    def __init__(self, vocabulary: Sequence[str], lowercase: bool = True):
        import tokenizers as library  # only here: all else works without it

        super().__init__(vocabulary, lowercase)
        model = library.models.WordPiece(
            self.ids, unk_token="[UNK]", max_input_chars_per_word=LONGEST_WORD
        )
        self._library = library.Tokenizer(model)
        self._library.normalizer = library.normalizers.BertNormalizer(lowercase=lowercase)
        self._library.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
        self._library.add_special_tokens([library.AddedToken(s, normalized=False) for s in SPECIAL])

    def tokenize(self, text: str) -> list[Token]:
        _check_text(text)
        found = self._library.encode(text, add_special_tokens=False)
        return [(i, *offsets) for i, offsets in zip(found.ids, found.offsets, strict=True)]

    def ids_of(self, texts: Sequence[str]) -> list[list[int]]:
        _check_texts(texts)
        for text in texts:
            _check_text(text)
        return [e.ids for e in self._library.encode_batch(list(texts), add_special_tokens=False)]


def _lengths(lengths: list[int], longest: int, cut: str) -> list[int]:
    """What `cut` leaves of one or two texts, so that with the special tokens they fit `longest`."""
    if cut not in ("longest_first", "first", "second"):
        raise ValueError(f"cut={cut!r} is not known; choose longest_first, first or second")
    room = longest - len(lengths) - 1
    if room < 0:
        raise ValueError(f"longest={longest} leaves no room for {len(lengths) + 1} special tokens")
    excess = sum(lengths) - room
    if excess <= 0:
        return lengths
    if room == 0 or len(lengths) == 1 and cut != "second":
        return [room for _ in lengths]
    if cut == "longest_first":
        # The longer one gets the odd token, of equals the second; in Google's code the first.
        short = min(*lengths, room // 2)
        return [short, room - short] if lengths[0] <= lengths[1] else [room - short, short]
    which = ("first", "second").index(cut)
    if which == len(lengths) or lengths[which] <= excess:
        raise ValueError(
            f"cut={cut!r} cannot bring texts of {lengths} tokens to longest={longest}: nothing is "
            "left of that text; cut the longest first, or choose a greater longest"
        )
    return [n - excess * (i == which) for i, n in enumerate(lengths)]


# --- from a corpus to a vocabulary

Score = Callable[[int, int, int], float]


def by_ratio(pair: int, first: int, second: int) -> float:
    """count(pair) / (count(first) · count(second)): how much oftener they meet than by chance.

    The usual reading of WordPiece, whose trainer was never published. It favours rare symbols.
    """
    return pair / (first * second)


def by_count(pair: int, first: int, second: int) -> int:
    """count(pair): byte-pair encoding, and what the trainer of `tokenizers` does for WordPiece."""
    return pair


class Merge(NamedTuple):
    """One step of a training."""

    first: str
    second: str
    piece: str  # the two joined
    count: int  # how often the pair occurred
    score: float


def word_counts(texts: Iterable[str], lowercase: bool = True) -> Counter[str]:
    """How often each word occurs in the texts, in the order of first occurrence."""
    _check_texts(texts)
    parts: Counter[str] = Counter()
    for text in texts:
        _check_text(text)
        parts.update(text.split(" "))
    counts: Counter[str] = Counter()
    for part, count in parts.items():
        for word in split_words(part, lowercase):
            counts[word.text] += count
    return counts


def merges(counts: Mapping[str, int], score: Score = by_ratio, least: int = 1) -> Iterator[Merge]:
    """The merges of a training one by one, until no pair is left that occurs `least` times.

    Each time the pair with the highest score is merged in all words; of equal scores the pair that
    was met first, reading the words in the order of `counts`.
    """
    if least < 1:
        raise ValueError(f"least={least}: a pair that is merged occurs once at least")
    words = [[c if i == 0 else "##" + c for i, c in enumerate(word)] for word in counts]
    times = list(counts.values())
    symbols: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    places = defaultdict(set)  # the numbers of the words where a pair occurs
    partners = defaultdict(dict)  # the pairs that a symbol is part of; a dict keeps their order
    met: dict[tuple[str, str], int] = {}
    scores: dict[tuple[str, str], float] = {}
    queue: list[tuple[float, int, tuple[str, str]]] = []

    def tally(n: int, sign: int) -> None:
        """Count the symbols and pairs of word n in, or out."""
        for symbol in words[n]:
            symbols[symbol] += sign * times[n]
        for pair in zip(words[n], words[n][1:], strict=False):
            pairs[pair] += sign * times[n]
            (places[pair].add if sign > 0 else places[pair].discard)(n)
            partners[pair[0]][pair] = partners[pair[1]][pair] = True
            met.setdefault(pair, len(met))

    def rate(pair: tuple[str, str]) -> None:
        """Queue the pair anew if its score has changed; what it had before is then out of date."""
        old = scores.pop(pair, None)
        if pairs[pair] >= least:
            scores[pair] = score(pairs[pair], symbols[pair[0]], symbols[pair[1]])
            if scores[pair] != old:
                heapq.heappush(queue, (-scores[pair], met[pair], pair))
        elif not pairs[pair]:
            for symbol in pair:
                partners[symbol].pop(pair, None)

    for n in range(len(words)):
        tally(n, +1)
    for pair in pairs:
        rate(pair)
    while queue:
        negative, _, pair = heapq.heappop(queue)
        if scores.get(pair) != -negative:
            continue  # out of date
        first, second = pair
        piece = first + second.removeprefix("##")
        yield Merge(first, second, piece, pairs[pair], scores[pair])
        for n in sorted(places[pair]):
            tally(n, -1)
            words[n] = _joined(words[n], first, second, piece)
            tally(n, +1)
        # The counts of both parts are lower now, so the score of every pair with them is another.
        for changed in partners[first] | partners[second] | partners[piece]:
            rate(changed)


def _joined(word: list[str], first: str, second: str, piece: str) -> list[str]:
    """The word with `piece` wherever `first` and `second` stood side by side."""
    joined: list[str] = []
    for symbol in word:
        if joined and joined[-1] == first and symbol == second:
            joined[-1] = piece
        else:
            joined.append(symbol)
    return joined


def train(
    counts: Mapping[str, int], size: int, score: Score = by_ratio, least: int = 1
) -> list[str]:
    """A vocabulary of `size` pieces, fewer if there is nothing left to merge.

    The special tokens; every character, sorted; every ##character that occurs, sorted; then the
    merged pieces in their order.
    """
    if not counts:
        raise ValueError("counts is empty: there is no word to learn from; is the corpus empty?")
    characters = sorted({character for word in counts for character in word})
    following = sorted({"##" + character for word in counts for character in word[1:]})
    vocabulary = dict.fromkeys([*SPECIAL, *characters, *following])
    if size < len(vocabulary):
        raise ValueError(
            f"size={size} is too small: the special tokens and the alphabet are {len(vocabulary)} "
            "pieces; choose a greater size, or leave out words with rare characters"
        )
    for merge in merges(counts, score, least):
        if len(vocabulary) == size:
            break
        vocabulary[merge.piece] = None
    return list(vocabulary)


# --- what a reader can get wrong


def _check_text(text: object) -> None:
    if not isinstance(text, str):
        raise TypeError(f"a text is a str, and this is {text!r}; decode bytes by .decode('utf-8')")
    try:
        text.isascii() or text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"character {error.start} is {text[error.start]!a}, half of a surrogate pair and no "
            "character; read the text with errors='replace'"
        ) from None


def _check_texts(texts: object) -> None:
    if isinstance(texts, str | bytes):
        raise TypeError(f"texts is one text, {texts[:20]!r}; pass a list of texts")


def _numbered(vocabulary: Sequence[str]) -> dict[str, int]:
    """The id of each piece."""
    ids: dict[str, int] = {}
    for i, piece in enumerate(vocabulary):
        _check_text(piece)
        if not piece or "\n" in piece or "\r" in piece or piece != piece.strip(" \t"):
            raise ValueError(
                f"line {i + 1} of the vocabulary is {piece!r}, which is no piece; take out what is "
                "white or empty"
            )
        if piece in ids:
            raise ValueError(
                f"{piece!r} is in the vocabulary twice, in lines {ids[piece] + 1} and {i + 1}; "
                "take one of them out"
            )
        ids[piece] = i
    if missing := [s for s in SPECIAL if s not in ids]:
        raise ValueError(
            f"{', '.join(missing)} not in the vocabulary of {len(ids)} pieces; "
            "put the special tokens first, as in [*SPECIAL, *pieces]"
        )
    return ids

"""What must be true of WordPiece: by hand, beside `transformers` and `tokenizers`, by invariance.

The oracle is the BertTokenizer of `transformers`, on the real vocabulary of 30,522 pieces. The
trainer is compared with one that counts everything anew before each merge.
"""

import json
import pickle
import random
import re
import subprocess
import sys
import unicodedata
from collections import Counter
from fractions import Fraction
from itertools import product

import pytest
import tokenizers
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from bertfamily import wordpiece
from bertfamily.corpora import (
    MINILM,
    basic_english,
    carried,
    film_reviews,
    wikitext,
)
from bertfamily.wordpiece import (
    LONGEST_WORD,
    SPECIAL,
    Tokenizer,
    Word,
    by_count,
    by_ratio,
    fast,
    load_tokenizer,
    longest_match,
    merges,
    split_words,
    train,
    word_counts,
)

TOY = [*SPECIAL, "a", "b", "sin", "s", "##a", "##an", "##b", "##i", "##in", "##s", "[unused1]"]


@pytest.fixture(scope="module")
def vocabulary():
    return (carried(MINILM) / "vocab.txt").read_text("utf-8").splitlines()


@pytest.fixture(scope="module", params=[True, False], ids=["uncased", "cased"])
def both(request, vocabulary, tmp_path_factory):
    """Our tokenizer and the reference, which reads a folder that we did not write."""
    folder = tmp_path_factory.mktemp("vocabulary")
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", "utf-8")
    theirs = transformers.BertTokenizerFast.from_pretrained(folder, do_lower_case=request.param)
    return Tokenizer(vocabulary, request.param), theirs


@pytest.fixture(scope="module")
def sentences():
    documents = basic_english()[::9] + wikitext("valid")
    found = [sentence for document in documents for sentence in document.sentences]
    return (found + [review.text for review in film_reviews() if len(review.text) < 200])[::4]


@pytest.fixture(scope="module")
def uncased(vocabulary):
    return Tokenizer(vocabulary)


def differing(ours, theirs, texts):
    """The texts of which ids, segments, offsets or pieces are not those of the reference."""
    rows = theirs(texts, return_offsets_mapping=True)
    keys = "input_ids", "token_type_ids", "offset_mapping"
    expected = zip(*(rows[key] for key in keys), map(rows.tokens, range(len(texts))), strict=True)
    found = map(ours.encode, texts)
    return [t for t, a, b in zip(texts, found, expected, strict=True) if a != b]


def characters():
    """Every character that is no plain letter; each 29th of those and of what is not assigned."""
    edges = [0x3400, 0x4E00, 0xA000, 0xF900, 0xFB00, 0x20000, 0x2A6E0, 0x2A700]
    edges += [0x2B740, 0x2B81F, 0x2B820, 0x2B91F, 0x2B920, 0x2CEB0, 0x2F800, 0x2FA20]
    near = {edge + i for edge in edges for i in (-2, -1, 0, 1, 2)}
    every = map(chr, (p for p in range(0x110000) if not 0xD800 <= p <= 0xDFFF))
    many = {"Lo", "Cn", "Co"}
    return [
        c
        for c in every
        if ord(c) in near or unicodedata.category(c) not in many or ord(c) % 29 == 0
    ]


CHARACTERS = characters()
# Marks that stay although accents are stripped. The reference brings them into canonical order.
KEPT = {c for c in CHARACTERS if any(map(unicodedata.combining, split_words("a" + c)[0].text))}
PARTS = ["sinan", "Café", "the", *SPECIAL, "[", "]", "##", "##an", "[mask]", "n't", "İ", "ΣΑΣ", "ß"]
PARTS += [
    "中",
    "\U0002b825",
    "\ufa11",
    "각",
    "e\u0301",
    "ệ",
    "\u0301",
    "a" * 99,
    "z" * 101,
    "\u212b",
]
PARTS += [" ", "\t", "\n", "\xa0", "\u3000", "\u2028", "\x85", "\x1c", "\0", "\ufffd", "\xad"]
PARTS += ["\u200b", "\ufeff", "👩\u200d🔬", "❤\ufe0f", "🇩🇰", "\ue000", "≠", "½", "ﬁ", "$", "…", "’"]
anything = st.characters(exclude_categories=["Cs"]).filter(lambda c: c not in KEPT)
texts = st.lists(st.sampled_from(PARTS) | anything, max_size=12).map("".join)


# --- words, by hand


@pytest.mark.parametrize(
    ("text", "uncased", "cased"),
    [
        ("Café Dupont, 9!", "cafe dupont , 9 !", "Café Dupont , 9 !"),
        ("don't $5.10", "don ' t $ 5 . 10", "don ' t $ 5 . 10"),
        ("e\u0301t\u00e9", "ete", "e\u0301t\u00e9"),
        ("我爱Paris", "我 爱 paris", "我 爱 Paris"),
        ("a\u200bb\x1cc\x0bd\0e\ufffdf\ue000g\xadh", "abcdefgh", "abcdefgh"),
        ("a\tb\nc\rd\xa0e\u3000f\u2028g", "a b c d e f g", "a b c d e f g"),
        ("ΣΑΣ İ ẞ", "σασ i ß", "ΣΑΣ İ ẞ"),
        ("각", "\u1100\u1161\u11a8", "각"),
        ("a\u037eb ≠", "a ; b =", "a \u037e b ≠"),  # both fall apart: ";", and "=" with a stroke
        ("\ufa11", "\ufa11", "\ufa11"),
        ("\U0002b820\U0002b920", "\U0002b820 \U0002b920", "\U0002b820 \U0002b920"),
        ("[MASK]", "[ mask ]", "[ MASK ]"),
        (" \u200b ", "", ""),
    ],
)
def test_words_by_hand(text, uncased, cased):
    assert [word.text for word in split_words(text)] == uncased.split(" ") * bool(uncased)
    assert [word.text for word in split_words(text, False)] == cased.split(" ") * bool(cased)


def test_offsets_of_words_by_hand():
    text = " Cafe\u0301,\u200bÉtÉ"
    assert split_words(text) == [Word("cafe", 1, 5), Word(",", 6, 7), Word("ete", 8, 11)]
    assert [text[w.start : w.end] for w in split_words(text)] == ["Cafe", ",", "ÉtÉ"]


# --- pieces, by hand


def test_the_longest_piece_comes_first():
    assert longest_match("sinan", TOY) == ["sin", "##an"]
    assert longest_match("ab", {"a", "b", "##b"}) == ["a", "##b"]
    assert longest_match("ab", {"a", "b"}) == [], "a second piece begins with ##"
    assert longest_match("abcd", {"ab", "a", "abc", "##cd"}) == [], "we do not go back"
    assert longest_match("", TOY) == []


def test_an_encoding_by_hand():
    tokenizer = Tokenizer(TOY)
    assert tokenizer.encode("Sínan x", "[MASK]ab") == (
        [2, 7, 10, 1, 3, 4, 5, 11, 3],
        [0, 0, 0, 0, 0, 1, 1, 1, 1],
        [(0, 0), (0, 3), (3, 5), (6, 7), (0, 0), (0, 6), (6, 7), (7, 8), (0, 0)],
        ["[CLS]", "sin", "##an", "[UNK]", "[SEP]", "[MASK]", "a", "##b", "[SEP]"],
    )
    assert tokenizer.encode("").pieces == ["[CLS]", "[SEP]"]
    assert tokenizer.encode("", "").segments == [0, 0, 1]
    assert tokenizer.pieces("b[SEP]sinan") == ["b", "[SEP]", "sin", "##an"]
    assert tokenizer.ids_of(["sin", "", "a a"]) == [[7], [], [5, 5]]


def test_ids_and_kinds_of_pieces_are_known():
    tokenizer = Tokenizer(TOY, lowercase=False)
    assert tokenizer.vocabulary == tuple(TOY) and not tokenizer.lowercase
    numbers = tokenizer.pad, tokenizer.unknown, tokenizer.cls, tokenizer.sep, tokenizer.mask
    assert numbers == (0, 1, 2, 3, 4)
    assert tokenizer.ordinary.tolist() == [False] * 5 + [True] * 10 + [False]
    assert tokenizer.continues.tolist() == [False] * 9 + [True] * 6 + [False]
    shuffled = Tokenizer(TOY[::-1])
    numbers = shuffled.pad, shuffled.unknown, shuffled.cls, shuffled.sep, shuffled.mask
    assert numbers == (15, 14, 13, 12, 11)


def test_ids_of_the_real_vocabulary(uncased):
    assert SPECIAL == ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    assert uncased.encode("Sinan").ids == [101, 8254, 2319, 102]
    assert (uncased.pad, uncased.unknown, uncased.mask) == (0, 100, 103)
    assert uncased.ordinary.sum() == 30_522 - 5 - 994 and uncased.continues.sum() == 5_828


@pytest.mark.parametrize("tokenizer", [Tokenizer(TOY), fast(Tokenizer(TOY))], ids=["ours", "fast"])
def test_a_word_of_more_than_100_characters_is_unknown(tokenizer):
    assert LONGEST_WORD == 100
    assert len(tokenizer.pieces("a" * 100)) == 100
    assert tokenizer.tokenize("á" * 101 + " a") == [(1, 0, 101), (5, 102, 103)]
    assert len(tokenizer.pieces("a\u0301" * 100)) == 100, "count what is left of the accents"


# --- beside the reference


def test_every_character_gives_the_words_of_the_reference():
    for lowercase in (True, False):
        normalizer = tokenizers.normalizers.BertNormalizer(lowercase=lowercase)
        splitter = tokenizers.pre_tokenizers.BertPreTokenizer()
        wrong = []
        for c in CHARACTERS:
            split = splitter.pre_tokenize_str(normalizer.normalize_str(f"a{c}b"))
            if [word.text for word in split_words(f"a{c}b", lowercase)] != [w for w, _ in split]:
                wrong.append(c)
        # letters that got a small form after the tables of this Python
        assert {unicodedata.category(c) for c in wrong} <= ({"Cn"} if lowercase else set())
        assert len(wrong) <= 55


@pytest.mark.parametrize("form", ["a{}b", "e\u0301{}, {}the"])
def test_every_character_gives_the_tokens_of_the_reference(both, form):
    filled = [form.format(c, c) for c in CHARACTERS if c not in KEPT][::3]
    lines = [" ".join(filled[i : i + 50]) for i in range(0, len(filled), 50)]
    assert differing(*both, lines) == []


def test_real_texts_give_the_tokens_of_the_reference(both, sentences):
    assert len(sentences) > 4_000
    assert differing(*both, sentences) == []


def test_mixtures_give_the_tokens_of_the_reference(both):
    rng, alphabet = random.Random(0), [c for c in CHARACTERS if c not in KEPT]
    accents = [c for c in CHARACTERS if unicodedata.category(c) == "Mn" and c not in KEPT]
    kinds = PARTS, alphabet, accents, [chr(n) for n in range(128)]
    lines = [
        "".join(rng.choice(rng.choice(kinds)) for _ in range(rng.randrange(1, 12)))
        for _ in range(10_000)
    ]
    assert differing(*both, lines) == []


@settings(max_examples=200, deadline=None)
@given(texts)
def test_any_text_gives_the_tokens_of_the_reference(both, text):
    assert differing(*both, [text]) == []


def test_pairs_are_cut_like_those_of_the_reference(both):
    ours, theirs = both
    strategies = {"longest_first": "longest_first", "first": "only_first", "second": "only_second"}
    errors = 0
    for n, m, room, cut in product(range(6), [None, *range(6)], range(12), strategies):
        first, second = "a " * n, None if m is None else " " + "b " * m  # "" would be no text to it
        longest = room + (2 if m is None else 3)
        try:
            row = theirs(first, second, truncation=strategies[cut], max_length=longest)
        except Exception as error:
            assert "Truncation error" in str(error)
            errors += 1
            with pytest.raises(ValueError, match=f"cut='{cut}' cannot .* longest={longest}"):
                ours.encode(first, second, longest=longest, cut=cut)
        else:
            found = ours.encode(first, second, longest=longest, cut=cut)
            assert found[:2] == (row["input_ids"], row["token_type_ids"])
    assert errors > 100


def test_a_pair_is_cut_by_hand(uncased):
    # 3 + 4 tokens, room for 3 + 2, 3 + 3: the longer one is cut until both are equally long
    pieces = uncased.encode("a b c", "d e f g", longest=9).pieces
    assert pieces == "[CLS] a b c [SEP] d e f [SEP]".split()
    pieces = uncased.encode("a b c", "d e f g", longest=8).pieces
    assert pieces == "[CLS] a b [SEP] d e f [SEP]".split()
    pieces = uncased.encode("a b c", "d e f g", longest=8, cut="first").pieces
    assert pieces == "[CLS] a [SEP] d e f g [SEP]".split()
    pieces = uncased.encode("a b c", "d e f g", longest=8, cut="second").pieces
    assert pieces == "[CLS] a b c [SEP] d e [SEP]".split()


def test_decoding_is_that_of_the_reference(uncased, vocabulary, tmp_path):
    uncased.save(tmp_path)
    theirs = transformers.BertTokenizerFast.from_pretrained(tmp_path)
    rng = random.Random(0)
    rows = [[1996, i] for i in range(len(vocabulary))] + [[i] for i in range(0, 30_522, 40)] + [[]]
    often = [*range(100, 104), *range(999, 1013), *range(2000, 30_522, 9)]
    rows += [rng.choices(often, k=12) for _ in range(2000)]
    for skip in (False, True):
        for row in rows:
            expected = theirs.decode(
                row, skip_special_tokens=skip, clean_up_tokenization_spaces=False
            )
            assert uncased.decode(row, skip) == expected


def test_decoding_by_hand(uncased):
    ids = uncased.encode("Sinan, don't!", "[MASK] Zq☃").ids
    assert uncased.decode(ids) == "[CLS] sinan, don ' t! [SEP] [MASK] [UNK] [SEP]"
    assert uncased.decode(ids, skip_special=True) == "sinan, don ' t!"


# --- the fast one


@settings(max_examples=200, deadline=None)
@given(st.lists(texts, max_size=4), st.integers(3, 12))
@pytest.mark.parametrize("lowercase", [True, False])
def test_the_fast_one_is_exchangeable(lowercase, some, longest):
    ours = Tokenizer(TOY, lowercase)
    quick = fast(ours)
    assert isinstance(quick, Tokenizer)
    assert (quick.vocabulary, quick.lowercase) == (ours.vocabulary, ours.lowercase)
    assert quick.ids_of(some) == ours.ids_of(some)
    for text in some:
        assert quick.tokenize(text) == ours.tokenize(text)
        assert quick.pieces(text) == ours.pieces(text)
        cut = {"longest": longest}
        assert quick.encode(text, some[0], **cut) == ours.encode(text, some[0], **cut)


@pytest.mark.parametrize("make", [Tokenizer, lambda v: fast(Tokenizer(v))], ids=["ours", "fast"])
def test_a_tokenizer_can_be_sent_to_another_process(make):
    tokenizer = make(TOY)
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again.encode("Sinan[MASK]") == tokenizer.encode("Sinan[MASK]")


# --- what must be true of any text


@settings(max_examples=300, deadline=None)
@given(texts, st.booleans())
def test_offsets_give_back_the_text(text, lowercase):
    tokenizer = Tokenizer([*TOY, *"cdefghijtüé", "##e", "##n", "##h", "##é"], lowercase)
    end = 0
    for i, start, stop in tokenizer.tokenize(text):
        assert end <= start < stop <= len(text) or lowercase and start < stop  # Korean letters
        piece, original = tokenizer.vocabulary[i], text[start:stop]
        if piece in SPECIAL[:1] + SPECIAL[2:]:
            assert original == piece
        elif piece != "[UNK]":
            words = "".join(w.text for w in split_words(original, lowercase))
            assert words == piece.removeprefix("##")
        end = stop
    for word in split_words(text, lowercase):
        assert [w.text for w in split_words(text[word.start : word.end], lowercase)][:1] == [
            word.text
        ]


@given(st.text("absin", min_size=1, max_size=12), st.sets(st.text("absin#", min_size=1)))
def test_pieces_are_in_the_vocabulary_and_join_to_the_word(word, known):
    known |= {"a", "s", "##i", "##n", "##s"}
    pieces = longest_match(word, known)
    assert set(pieces) <= known
    if pieces:
        assert pieces[0] + "".join(p[2:] for p in pieces[1:]) == word
        assert all(p.startswith("##") for p in pieces[1:])
        for n, piece in enumerate(pieces):  # no longer one would have fitted
            before = sum(len(p) - 2 * (m > 0) for m, p in enumerate(pieces[:n]))
            size = len(piece) - 2 * (n > 0)
            longer = [word[before:e] for e in range(before + size + 1, len(word) + 1)]
            assert not {("##" if n else "") + rest for rest in longer} & known


@given(st.lists(texts, max_size=4), st.sampled_from([" ", "\n", "\t ", "\r\n"]))
def test_texts_joined_by_spaces_give_the_tokens_of_each(some, space):
    tokenizer, at, expected = Tokenizer(TOY), 0, []
    for text in some:
        expected += [(i, at + start, at + end) for i, start, end in tokenizer.tokenize(text)]
        at += len(text) + len(space)
    assert tokenizer.tokenize(space.join(some)) == expected


def test_what_is_remembered_is_bounded_and_changes_nothing(monkeypatch, uncased):
    tokenizer = Tokenizer(TOY)
    monkeypatch.setattr(wordpiece, "REMEMBERED", 10)
    lines = ["a b sin ab ba aab sinan", "x y z ai", "ab" * 60, "a b sin ab ba aab sinan"]
    assert tokenizer.ids_of(lines * 2) == fast(tokenizer).ids_of(lines * 2)
    assert 0 < len(tokenizer._known) <= 10
    assert max(map(len, tokenizer._known)) <= LONGEST_WORD
    first = tokenizer.tokenize("sinan")
    first.clear()
    assert len(tokenizer.tokenize("sinan")) == 2, "what is handed out is a copy"


# --- saved and loaded

letters = st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\ufeff")
pieces = st.text(letters, min_size=1).filter(lambda piece: piece == piece.strip(" \t"))


@settings(max_examples=50, deadline=None)
@given(st.lists(pieces, unique=True), st.booleans(), texts)
def test_a_tokenizer_saved_is_the_tokenizer_loaded(tmp_path_factory, some, lowercase, text):
    folder = tmp_path_factory.mktemp("saved") / "new" / "folder"
    tokenizer = Tokenizer(list(dict.fromkeys([*some, *TOY])), lowercase)
    tokenizer.save(folder)
    again = load_tokenizer(folder)
    assert (again.vocabulary, again.lowercase) == (tokenizer.vocabulary, tokenizer.lowercase)
    assert again.encode(text) == tokenizer.encode(text)
    assert sorted(p.name for p in folder.iterdir()) == ["tokenizer_config.json", "vocab.txt"]


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("name", ["BertTokenizer", "BertTokenizerFast", "AutoTokenizer"])
def test_transformers_reads_what_we_save(tmp_path, name, lowercase, vocabulary):
    some = vocabulary[:3000][::-1]  # the special tokens are not where they usually are
    ours = Tokenizer(some, lowercase)
    ours.save(tmp_path)
    theirs = getattr(transformers, name).from_pretrained(tmp_path)
    lines = [*PARTS, "It is Éva's [MASK], isn't it? Zq☃", ""]
    assert theirs(lines)["input_ids"] == [ours.encode(line).ids for line in lines]
    assert theirs(lines[0], lines[1])["input_ids"] == ours.encode(lines[0], lines[1]).ids
    assert theirs.pad_token_id == ours.pad and theirs.mask_token_id == ours.mask


def test_a_vocabulary_alone_is_lower_casing(tmp_path):
    (tmp_path / "vocab.txt").write_bytes("\r\n".join([*TOY, "x\x85", "x\u2028"]).encode())
    tokenizer = load_tokenizer(str(tmp_path))
    assert tokenizer.lowercase and tokenizer.vocabulary == (*TOY, "x\x85", "x\u2028")


def test_saving_where_transformers_would_read_another_file_is_refused(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(FileExistsError, match="tokenizer.json is there.*another folder"):
        Tokenizer(TOY).save(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


# --- training


def test_the_public_example_by_hand():
    # Its corpus is in every course, and its third step is wrong in most: hugs comes before hug.
    counts = {"hug": 10, "pug": 5, "pun": 12, "bun": 4, "hugs": 5}
    steps = [
        ("##g", "##s", "##gs", 5, Fraction(1, 20)),  # 5 / (20 · 5); all others have 1/36
        ("h", "##u", "hu", 15, Fraction(1, 36)),  # six pairs with 1/36: the one met first
        ("hu", "##gs", "hugs", 5, Fraction(1, 15)),  # 5 / (15 · 5); hu ##g has 10 / (15 · 15)
        ("hu", "##g", "hug", 10, Fraction(1, 15)),  # now 10 / (10 · 15)
        ("##u", "##g", "##ug", 5, Fraction(1, 21)),
        ("##u", "##n", "##un", 16, Fraction(1, 16)),
        ("b", "##un", "bun", 4, Fraction(1, 16)),
        ("p", "##ug", "pug", 5, Fraction(1, 17)),
        ("p", "##un", "pun", 12, Fraction(1, 12)),
    ]
    assert [(*merge[:4], Fraction(merge.score).limit_denominator(1000)) for merge in
            merges(counts)] == steps  # fmt: skip
    alphabet = [*"bghnpsu", "##g", "##n", "##s", "##u"]
    assert train(counts, 19) == [*SPECIAL, *alphabet, "##gs", "hu", "hugs"]
    assert train(counts, 99) == [*SPECIAL, *alphabet, *(step[2] for step in steps)]
    # by count: ##u ##g and then un, as in byte-pair encoding
    assert [m.piece for m in merges(counts, by_count)][:3] == ["##ug", "##un", "hug"]


def test_scores_by_hand():
    assert by_ratio(5, 20, 5) == 1 / 20 and by_count(5, 20, 4) == 5
    assert [m.score for m in merges({"ab": 3, "cb": 1}, lambda *counts: sum(counts))][:2] == [10, 3]


def spelled(word):
    return [c if i == 0 else "##" + c for i, c in enumerate(word)]


def merges_by_recounting(counts, score, least, before):
    """Merge the best pair, all counted anew each time; of equal pairs the least by `before`."""
    words = {word: spelled(word) for word in counts}
    while True:
        symbols, pairs = Counter(), Counter()
        for word, cut in words.items():
            for symbol in cut:
                symbols[symbol] += counts[word]
            for pair in zip(cut, cut[1:], strict=False):
                pairs[pair] += counts[word]
        rated = {p: score(n, symbols[p[0]], symbols[p[1]]) for p, n in pairs.items() if n >= least}
        key = before(pairs)
        if not rated:
            return
        first, second = min(rated, key=lambda p: (-rated[p], key(p)))
        piece = first + second[2:]
        yield first, second, piece, pairs[first, second], rated[first, second]
        for cut in words.values():
            i = 0
            while i < len(cut) - 1:
                if cut[i] == first and cut[i + 1] == second:
                    cut[i : i + 2] = [piece]
                i += 1


def first_met():
    order = {}

    def before(pairs):
        for pair in pairs:
            order.setdefault(pair, len(order))
        return order.__getitem__

    return before


small_counts = st.dictionaries(st.text("abc#", max_size=7), st.integers(1, 5), max_size=9)


@settings(max_examples=150, deadline=None)
@given(small_counts, st.sampled_from([by_ratio, by_count]), st.integers(1, 4))
def test_merges_are_those_of_recounting(counts, score, least):
    before = dict(counts)
    assert list(merges(counts, score, least)) == list(
        merges_by_recounting(counts, score, least, first_met())
    )
    assert counts == before
    if any(counts):
        vocabulary = train(counts, 99, score, least)
        assert len(vocabulary) == len(set(vocabulary))
        assert {merge.piece for merge in merges(counts, score, least)} <= set(vocabulary)


@pytest.mark.parametrize("score", [by_ratio, by_count])
def test_merges_of_a_corpus_are_those_of_recounting(score):
    counts = word_counts(basic_english()[0].sentences)
    assert len(counts) > 150
    slow = list(merges_by_recounting(counts, score, 2, first_met()))
    assert list(merges(counts, score, 2)) == slow and len(slow) > 150


def test_the_trainer_of_the_library_counts_pairs():
    # Its ties go to the pair whose parts have the lower ids, and the ids of ##a, ##b, … change from
    # run to run. With those of this run, our rule by_count gives its pieces, in its order.
    document = basic_english()[0]
    trainer = tokenizers.trainers.WordPieceTrainer(
        vocab_size=300, special_tokens=list(SPECIAL), show_progress=False
    )
    library = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))
    library.normalizer = tokenizers.normalizers.BertNormalizer()
    library.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    library.train_from_iterator(document.sentences, trainer)
    ids = library.get_vocab()
    theirs = sorted(ids, key=ids.get)

    counts = word_counts(document.sentences)
    alphabet = train(counts, 300, by_count)[: sum(len(p.removeprefix("##")) == 1 for p in ids) + 5]
    assert sorted(alphabet[5:]) == sorted(theirs[5 : len(alphabet)])

    def by_ids(_):
        return lambda pair: [pieces.index(part) for part in pair]

    for score, same in ((by_count, True), (by_ratio, False)):
        pieces = theirs[: len(alphabet)]
        for _, _, piece, _, _ in merges_by_recounting(counts, score, 1, by_ids):
            if piece not in pieces:
                pieces.append(piece)
            if len(pieces) == len(theirs):
                break
        assert (pieces == theirs) == same


def test_a_vocabulary_from_a_corpus_cuts_every_word_of_it():
    sentences = [s for d in basic_english()[:12] for s in d.sentences]
    counts = word_counts(sentences)
    for score, least in ((by_ratio, 1), (by_ratio, 20), (by_count, 1)):
        vocabulary = train(counts, 600, score, least)
        assert len(vocabulary) == len(set(vocabulary)) <= 600
        assert vocabulary[:5] == list(SPECIAL)
        alphabet = vocabulary[5 : 5 + vocabulary[5:].index("##a")]
        assert alphabet == sorted({c for word in counts for c in word})
        assert all(longest_match(word, set(vocabulary)) for word in counts)
        unknown = Tokenizer(vocabulary).unknown
        assert not any(unknown in ids for ids in Tokenizer(vocabulary).ids_of(sentences))
    assert len(train(counts, 600)) == len(train(counts, 600, by_count)) == 600


def test_words_are_counted():
    counts = word_counts(["The cat, the\ncat!", "THÉ  [MASK]", ""])
    expected = {"the": 3, "cat": 2, ",": 1, "!": 1, "[": 1, "mask": 1, "]": 1}
    assert counts == expected and next(iter(counts)) == "the"
    assert word_counts(["The THÉ the"], lowercase=False) == {"The": 1, "THÉ": 1, "the": 1}


@given(st.lists(texts, max_size=5), st.booleans())
def test_words_counted_are_the_words_split(some, lowercase):
    split = Counter(w.text for text in some for w in split_words(text, lowercase))
    assert word_counts(some, lowercase) == split


# --- bad input


@pytest.mark.parametrize("text", ["ab\ud800c", "\udfff", "a \ud83d\ude00"])
@pytest.mark.parametrize("tokenizer", [Tokenizer(TOY), fast(Tokenizer(TOY))], ids=["ours", "fast"])
def test_a_lone_surrogate_is_named(tokenizer, text):
    at = next(i for i, c in enumerate(text) if "\ud800" <= c <= "\udfff")
    message = rf"character {at} is '\\u{ord(text[at]):x}', .*errors='replace'"
    for call in (tokenizer.tokenize, tokenizer.encode, tokenizer.pieces, split_words):
        with pytest.raises(ValueError, match=message):
            call(text)
    for call in (tokenizer.ids_of, word_counts):
        with pytest.raises(ValueError, match=message):
            call(["a", text])
    with pytest.raises(ValueError, match=message):
        tokenizer.encode("a", text)


BAD_TYPES = """
from bertfamily.wordpiece import *
tokenizer = Tokenizer([*SPECIAL, "a"])
for t in (tokenizer, fast(tokenizer)):
    for bad in (None, 3, 2.5, b"a", ["a"]):
        calls = [t.tokenize, t.encode, t.pieces, split_words]
        calls += [lambda bad: t.ids_of(["a", bad]), lambda bad: word_counts([bad])]
        calls += [lambda bad: t.encode("a", bad)] * (bad is not None)
        for call in calls:
            try:
                print("passed", call(bad))
            except TypeError as error:
                assert str(error).startswith(f"a text is a str, and this is {bad!r}; "), error
    for call in (t.ids_of, word_counts):
        for bad in ("abc", b"abc"):
            try:
                print("passed", call(bad))
            except TypeError as error:
                assert str(error) == f"texts is one text, {bad!r}; pass a list of texts", error
for bad in ([*SPECIAL, 3], [*SPECIAL, None]):
    try:
        print("passed", Tokenizer(bad))
    except TypeError as error:
        assert str(error).startswith(f"a text is a str, and this is {bad[-1]}"), error
print("done")
"""


def test_what_is_no_text_is_refused():
    # In a process of its own: here the signatures are checked, and a reader has no such check.
    done = subprocess.run([sys.executable, "-c", BAD_TYPES], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        (
            [],
            r"\[PAD\], \[UNK\], \[CLS\], \[SEP\], \[MASK\] not in the vocabulary of 0 pieces; put",
        ),
        (["[PAD]", "[CLS]", "[SEP]", "[MASK]", "a"], r"^\[UNK\] not in the vocabulary of 5 pieces"),
        ([*SPECIAL, "a", "b", "a", "b"], "'a' is in the vocabulary twice, in lines 6 and 8; take"),
        ([*SPECIAL, "a", ""], "line 7 of the vocabulary is '', which"),
        ([*SPECIAL, "a\nb"], r"line 6 of the vocabulary is 'a\\nb', which"),
        ([*SPECIAL, "a\r"], r"line 6 of the vocabulary is 'a\\r', which"),
        ([*SPECIAL, "\ud800"], r"character 0 is '\\ud800'"),
    ],
)
def test_a_vocabulary_that_does_not_work_is_named(vocabulary, message):
    with pytest.raises(ValueError, match=message):
        Tokenizer(vocabulary)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("vocab.txt", b"", "line 1 of the vocabulary is ''"),
        ("vocab.txt", b"[PAD]\nn\xfcr\n", "not UTF-8 .*0xfc in position 7.*save it as such"),
        ("vocab.txt", b"a\nb\n", "not in the vocabulary of 2 pieces"),
        ("tokenizer_config.json", b"{", "Expecting"),
        ("tokenizer_config.json", b'{"strip_accents": false}', "strip_accents=False"),
        ("tokenizer_config.json", b'{"tokenize_chinese_chars": false}', "chinese_chars=False"),
    ],
)
def test_a_folder_that_cannot_be_read_is_named(tmp_path, name, content, message):
    Tokenizer(TOY).save(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        load_tokenizer(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_settings_that_change_nothing_are_read(tmp_path):
    Tokenizer(TOY, lowercase=False).save(tmp_path)
    config = '{"do_lower_case": false, "strip_accents": false, "tokenize_chinese_chars": true}'
    (tmp_path / "tokenizer_config.json").write_text(config)
    assert not load_tokenizer(tmp_path).lowercase
    with pytest.raises(FileNotFoundError, match="vocab.txt"):
        load_tokenizer(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"longest": 2}, "longest=2 leaves no room for 3 special tokens"),
        ({"longest": -1}, "longest=-1 leaves no room"),
        ({"longest": 9, "cut": "last"}, "cut='last' is not known; choose longest_first, first or"),
        ({"longest": 5, "cut": "first"}, r"cut='first' cannot bring texts of \[2, 3\] tokens to"),
        ({"longest": 5, "cut": "second"}, "nothing is left of that text; cut the longest first"),
    ],
)
def test_a_pair_that_cannot_be_cut_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Tokenizer(TOY).encode("a b", "a b a", **arguments)


@pytest.mark.parametrize("bad", [-1, 16, 10**12])
def test_an_id_that_is_no_piece_is_named(bad):
    with pytest.raises(ValueError, match=f"id {bad} is no piece: there are 16, from 0"):
        Tokenizer(TOY).decode([5, bad])


def test_a_training_that_cannot_be_is_named():
    with pytest.raises(ValueError, match="counts is empty"):
        train({}, 100)
    with pytest.raises(ValueError, match="size=8 is too small: .* alphabet are 10 pieces; choose"):
        train({"aba": 3, "cb": 1}, 8)
    assert len(train({"aba": 3, "cb": 1}, 10)) == 10
    with pytest.raises(ValueError, match="least=0: a pair that is merged occurs once"):
        next(merges({"ab": 1}, least=0))


# --- from a tokenizer.json


def described(folder, **changes):
    """A folder with nothing but the tokenizer.json that `tokenizers` writes for a small BERT."""
    pieces = [*SPECIAL, "a", "##b", "É"]
    theirs = tokenizers.BertWordPieceTokenizer(
        {piece: i for i, piece in enumerate(pieces)}, lowercase=False
    )
    theirs.enable_truncation(2)
    settings = json.loads(theirs.to_str())
    for name, (part, value) in changes.items():
        settings[part][name] = value
    (folder / "tokenizer.json").write_text(json.dumps(settings), "utf-8")
    return pieces


@pytest.mark.parametrize("lowercase", [True, False])
def test_what_transformers_writes_is_read_whatever_its_version(tmp_path, lowercase):
    """Version 4 writes vocab.txt too, version 5 tokenizer.json and its settings alone."""
    import transformers

    ours = Tokenizer([*SPECIAL, "a", "b", "##b", "É", "é"], lowercase)
    ours.save(tmp_path / "ours")
    theirs = transformers.BertTokenizerFast.from_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    for names in ([], ["vocab.txt", "special_tokens_map.json"]):
        for name in names:
            (tmp_path / "theirs" / name).unlink(missing_ok=True)
        again = load_tokenizer(tmp_path / "theirs")
        assert again.vocabulary == ours.vocabulary and again.lowercase == lowercase


@pytest.mark.parametrize("name", ["added_tokens", "tokenizer_config", "tokenizer"])
def test_tokens_that_were_added_are_not_passed_over(tmp_path, name):
    Tokenizer([*SPECIAL, "a"]).save(tmp_path)
    entry = {"content": "<brand>"}
    content = {
        "added_tokens": {"<brand>": 6, "[CLS]": 2},
        "tokenizer_config": {"added_tokens_decoder": {"2": {"content": "[CLS]"}, "6": entry}},
        "tokenizer": {"added_tokens": [{"content": "[CLS]"}, entry]},
    }[name]
    (tmp_path / f"{name}.json").write_text(json.dumps(content), "utf-8")
    with pytest.raises(ValueError, match="tokens were added, .'<brand>'.; only"):
        load_tokenizer(tmp_path)


def test_a_mark_at_the_start_of_a_file_and_other_line_ends_are_understood(tmp_path):
    Tokenizer([*SPECIAL, "a", "##b"], lowercase=False).save(tmp_path)
    for name in ("vocab.txt", "tokenizer_config.json"):
        text = (tmp_path / name).read_bytes().replace(b"\n", b"\r\n")
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text)
    again = load_tokenizer(tmp_path)
    assert again.vocabulary == (*SPECIAL, "a", "##b") and not again.lowercase


@pytest.mark.parametrize("line", ["a ", " a", "a\t", " ", ""])
def test_a_line_with_something_white_at_its_ends_is_named(tmp_path, line):
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL, line, "b"]) + "\n", "utf-8")
    with pytest.raises(ValueError, match=re.escape(f"line 6 of the vocabulary is {line!r}")):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("content", ["[]", "3", "null", "{", "Not Found"])
@pytest.mark.parametrize("name", ["tokenizer_config", "tokenizer"])
def test_settings_of_a_tokenizer_that_are_none_are_named(tmp_path, name, content):
    Tokenizer([*SPECIAL, "a"]).save(tmp_path)
    (tmp_path / f"{name}.json").write_text(content, "utf-8")
    with pytest.raises(ValueError, match=re.escape(str(tmp_path))):
        load_tokenizer(tmp_path)


def test_a_tokenizer_is_read_from_json_alone(tmp_path):
    pieces = described(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    assert list(tokenizer.vocabulary) == pieces and not tokenizer.lowercase
    assert tokenizer.encode("ab É a").pieces == ["[CLS]", "a", "##b", "É", "a", "[SEP]"]


def test_accents_and_capitals_go_together(tmp_path):
    described(tmp_path, lowercase=("normalizer", True), strip_accents=("normalizer", None))
    assert load_tokenizer(tmp_path).lowercase
    described(tmp_path, strip_accents=("normalizer", True))
    with pytest.raises(ValueError, match="strip_accents"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"type": ("model", "BPE")}, "model='BPE'; only 'WordPiece'"),
        ({"type": ("normalizer", "NFC")}, "normalizer='NFC'"),
        ({"continuing_subword_prefix": ("model", "@@")}, "continuing_subword_prefix='@@'"),
        ({"clean_text": ("normalizer", False)}, "clean_text=False"),
        ({"vocab": ("model", {"[PAD]": 0, "a": 2})}, "ids are not 0, 1, 2"),
    ],
)
def test_another_kind_of_tokenizer_json_is_refused(tmp_path, changes, said):
    described(tmp_path, **changes)
    with pytest.raises(ValueError, match=said):
        load_tokenizer(tmp_path)

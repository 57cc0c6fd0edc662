"""What must be true of sentence pairs: by hand, by statistics with seeds, by oracle, by invariance.

Items are (document, sentence, place), so that each segment tells where it is from. The oracle is
the published scheme in plain Python loops.
"""

import copy
import math
import random
from collections import Counter
from itertools import groupby

import pytest

from bertfamily.corpora import Document
from bertfamily.heads import IN_ORDER, IS_NEXT, IS_RANDOM, SWAPPED
from bertfamily.pairs import Pair, _cut, _texts, next_sentence_pairs, sentence_order_pairs

BOTH = [next_sentence_pairs, sentence_order_pairs]


def corpus(*documents):
    """Documents of sentences of so many items; each item is (document, sentence, place)."""
    return [
        [[(d, s, i) for i in range(size)] for s, size in enumerate(sizes)]
        for d, sizes in enumerate(documents)
    ]


def some_corpus(documents=30, seed=0):
    """Documents of all kinds: empty, of one sentence, with empty and with very long sentences."""
    rng = random.Random(seed)
    sizes = [rng.choices([0, 1, 4, 9, 15, 40], k=rng.randint(2, 30)) for _ in range(documents)]
    return corpus([], [7], [0, 0], [60], [0, 5, 0], *sizes)


def flat(document):
    return [item for sentence in document for item in sentence]


def place(segment, documents):
    """(document, first, last) of a segment, which must be a stretch of one document."""
    number = segment[0][0]
    whole = flat(documents[number])
    start = whole.index(segment[0])
    assert whole[start : start + len(segment)] == segment, "a segment is no stretch of a document"
    return number, start, start + len(segment) - 1


def assert_share(count, total, expected):
    """`count` of `total` is a share of `expected`, to five standard deviations."""
    error = 5 * math.sqrt(expected * (1 - expected) / total)
    assert abs(count / total - expected) <= error, f"{count} of {total}, not {expected} ± {error}"


def assert_same_share(ours, n, theirs, m):
    """Two shares of one probability, to five standard deviations."""
    p = (ours + theirs) / (n + m)
    error = 5 * math.sqrt(p * (1 - p) * (1 / n + 1 / m)) + 1e-12
    assert abs(ours / n - theirs / m) <= error, f"{ours / n} and {theirs / m}, more than {error}"


# --- by hand ---


def test_label_numbers_are_those_of_google():
    assert (IS_NEXT, IS_RANDOM) == (0, 1)
    assert (IN_ORDER, SWAPPED) == (0, 1)
    assert Pair._fields == ("first", "second", "label")


def test_next_sentences_by_hand():
    # two documents of two sentences, length enough for all
    documents = [[["a"], ["b", "c"]], [["d"], ["e"]]]
    first, rest = set(), set()
    for seed in range(300):
        pairs = next_sentence_pairs(documents, 20, random.Random(seed))
        first.add(("".join(pairs[0].first), "".join(pairs[0].second), pairs[0].label))
        rest.add(tuple(("".join(p.first), p.label) for p in pairs))
    # either the true next, or one from the other document, from its first or its second sentence on
    assert first == {("a", "bc", 0), ("a", "de", 1), ("a", "e", 1)}
    # where b c was not used it begins a pair of its own, with a random second: nothing is left
    one, other = [(("a", 0),), (("a", 1), ("bc", 1))], [(("d", 0),), (("d", 1), ("e", 1))]
    assert rest == {a + b for a in one for b in other}


def test_sentence_order_by_hand():
    documents = [[["a"], ["b", "c"]], [["d"]]]
    seen = Counter()
    for seed in range(1000):
        (pair,) = sentence_order_pairs(documents, 20, random.Random(seed))
        seen["".join(pair.first), "".join(pair.second), pair.label] += 1
    assert set(seen) == {("a", "bc", 0), ("bc", "a", 1)}
    assert_share(seen["bc", "a", 1], 1000, 0.5)


# --- what holds of every pair ---


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize("length", [5, 6, 13, 32, 500])
def test_pairs_fit_and_have_two_sides(make, length):
    documents = some_corpus()
    for seed in range(3):
        for first, second, _ in make(documents, length, random.Random(seed)):
            assert len(first) + len(second) + 3 <= length
            assert first and second
            place(first, documents), place(second, documents)


@pytest.mark.parametrize("length", [8, 32, 500])
def test_next_sentence_labels_tell_the_truth(length):
    documents, labels = some_corpus(), Counter()
    for seed in range(5):
        for first, second, label in next_sentence_pairs(documents, length, random.Random(seed)):
            one, _, end = place(first, documents)
            other, start, _ = place(second, documents)
            assert label in (0, 1)
            assert (one == other) == (label == 0), "a random segment is of the same document"
            if label == 0:
                assert end < start, "the second does not come after the first"
                if len(first) + len(second) + 3 < length:  # nothing was cut
                    assert end + 1 == start, "there is a gap between the two"
            labels[label] += 1
    assert min(labels.values()) > 50


@pytest.mark.parametrize("length", [8, 32, 500])
def test_sentence_order_labels_tell_the_truth(length):
    documents, labels = some_corpus(), Counter()
    for seed in range(5):
        for *segments, label in sentence_order_pairs(documents, length, random.Random(seed)):
            earlier, later = segments if label == 0 else segments[::-1]
            one, _, end = place(earlier, documents)
            other, start, _ = place(later, documents)
            assert label in (0, 1)
            assert one == other, "two documents in one pair"
            assert end < start, "is it swapped without its label, or labelled without a swap?"
            if len(earlier) + len(later) + 3 < length:
                assert end + 1 == start
            labels[label] += 1
    assert min(labels.values()) > 50


@pytest.mark.parametrize("make", BOTH)
def test_segments_begin_and_end_with_sentences_unless_cut(make):
    documents = some_corpus()
    for first, second, _ in make(documents, 400, random.Random(0), short=0.0):
        if len(first) + len(second) < 397:
            for segment in (first, second):
                (d, s, _), (_, t, last) = segment[0], segment[-1]
                assert segment[0] == (d, s, 0)
                assert last + 1 == len(documents[d][t]), "a sentence is torn without need"


# --- how many of each ---


def test_half_of_the_second_segments_are_random():
    # a long document has one last sentence only that stands alone; 60 / 40 is far outside
    documents = corpus([2] * 20_000, [2] * 50)
    pairs = next_sentence_pairs(documents, 15, random.Random(0), short=0.0)[:4000]
    assert origin(pairs[-1]) == 0
    assert_share(sum(pair.label == IS_RANDOM for pair in pairs), 4000, 0.5)
    for length in range(2, 9, 2):  # whatever the split
        labels = [pair.label for pair in pairs if len(pair.first) == length]
        assert_share(sum(labels), len(labels), 0.5)


def test_half_of_the_orders_are_swapped():
    pairs = sentence_order_pairs(corpus([2] * 20_000), 15, random.Random(0), short=0.0)
    assert len(pairs) == 3334  # six sentences a pair; the last two make one
    assert_share(sum(pair.label == SWAPPED for pair in pairs), 3334, 0.5)
    swapped = Counter(len(p.first if p.label == IN_ORDER else p.second) for p in pairs)
    assert set(swapped) == {2, 4, 6, 8, 10}
    for count in swapped.values():
        assert_share(count, 3334, 1 / 5)


def test_splits_targets_and_random_places_are_even():
    # sentences of one item and a room of 10: nothing is ever cut
    documents = corpus([1] * 15_000, [1] * 20, [1] * 5)
    pairs = next_sentence_pairs(documents, 13, random.Random(0), short=0.0)
    pairs = [pair for pair in pairs if pair.first[0][0] == 0][:-10]
    splits = Counter(len(pair.first) for pair in pairs)
    assert set(splits) == set(range(1, 10))
    for count in splits.values():
        assert_share(count, len(pairs), 1 / 9)
    drawn = [pair for pair in pairs if pair.label == IS_RANDOM]
    assert all(len(p.first) + len(p.second) == 10 for p in pairs if p.label == IS_NEXT)
    origins = Counter((p.second[0][0], p.second[0][1]) for p in drawn)
    assert len(origins) == 25, "some sentence never begins a random segment"
    for (document, _), count in origins.items():  # each document alike, each of its sentences alike
        assert_share(count, len(drawn), 1 / 2 / (20 if document == 1 else 5))
    for pair in drawn:  # as many as fill the target, or as there are
        document, sentence, _ = pair.second[0]
        there = (20 if document == 1 else 5) - sentence
        assert len(pair.second) == min(10 - len(pair.first), there)


@pytest.mark.parametrize(("short", "share"), [(0.0, 0.0), (0.1, 0.1), (1.0, 1.0), (0.5, 0.5)])
@pytest.mark.parametrize("make", BOTH)
def test_a_document_has_one_target_and_some_are_short(make, short, share):
    # sentences of one item: all but the last two chunks have exactly the target, 2 to 10 or 10
    documents = corpus(*[[1] * 60] * 500)
    given = () if short == 0.1 else (short,)  # 0.1 is the default
    pairs = make(documents, 13, random.Random(0), *given)
    targets = Counter()
    for _, of_one in groupby(pairs, key=origin):
        sizes = [len(p.first) + len(p.second) for p in of_one if p.label == 0 or make is BOTH[1]]
        sizes = sizes[:-2]
        assert len(set(sizes)) <= 1, "the target changes within a document"
        targets[sizes[0] if sizes else None] += 1
    del targets[None]
    total = sum(targets.values())
    assert total > 400
    assert_share(targets[10], total, 1 - share * 8 / 9)
    for size in range(2, 10):
        assert_share(targets[size], total, share / 9)


def origin(pair):
    """The document that a pair is made for: that of its first segment."""
    return pair.first[0][0]


# --- nothing is lost ---


def test_unused_sentences_go_back():
    # nothing is cut, so the first segments and the true next ones are the whole text, once
    documents = corpus([1] * 57, [1], [1] * 200, [1, 0, 1], [])
    for short in (0.0, 1.0):
        for seed in range(20):
            used = [[] for _ in documents]
            for pair in next_sentence_pairs(documents, 13, random.Random(seed), short):
                used[origin(pair)] += pair.first + (pair.second if pair.label == IS_NEXT else [])
            assert used == [flat(document) for document in documents], "lost or used twice"


def test_all_sentences_are_in_an_order_pair():
    documents = corpus([1] * 57, [1] * 200, [1, 0, 1], [], [1] * 8, [1, 1, 1])
    for seed in range(20):
        used = [[] for _ in documents]
        for *segments, label in sentence_order_pairs(documents, 40, random.Random(seed), 0.0):
            first, second = segments if label == IN_ORDER else segments[::-1]
            used[first[0][0]] += first + second
        # at length 40 the 57 make 37 and 20, the 200 five times 37 and 15: no one is left alone
        assert used == [flat(document) for document in documents]


def test_a_last_sentence_left_alone_joins_the_chunk_before_it():
    documents = corpus([1] * 5)  # room 4: four sentences fill it, the fifth would be alone
    ends = Counter()
    for seed in range(300):
        (pair,) = sentence_order_pairs(documents, 7, random.Random(seed), 0.0)
        assert len(pair.first) + len(pair.second) == 4
        ends[max(pair.first + pair.second)] += 1
    assert set(ends) == {(0, 3, 0), (0, 4, 0)}


def test_an_order_pair_has_two_sentences_even_if_one_would_do():
    documents = corpus([30, 30, 30, 30])
    for seed in range(20):
        pairs = sentence_order_pairs(documents, 13, random.Random(seed), 0.0)
        assert [{s for _, s, _ in p.first + p.second} for p in pairs] == [{0, 1}, {2, 3}]


def test_lengths_do_not_tell_the_order():
    # two sentences of 30 in a room of 11: the first segment has 6, whichever it is
    documents = corpus(*[[30, 30]] * 50)
    pairs = sentence_order_pairs(documents, 14, random.Random(0), 0.0)
    assert {p.label for p in pairs} == {0, 1}
    assert {(len(p.first), len(p.second)) for p in pairs} == {(6, 5)}


# --- documents of every kind ---


def test_documents_of_one_sentence_and_empty_ones():
    documents = corpus([4], [], [0, 0], [3, 0], [5])
    pairs = next_sentence_pairs(documents, 30, random.Random(0))
    assert [origin(pair) for pair in pairs] == [0, 3, 4]
    assert all(pair.label == IS_RANDOM for pair in pairs), "one sentence has no next one"
    assert sentence_order_pairs(documents, 30, random.Random(0)) == []
    assert sentence_order_pairs([], 30, random.Random(0)) == []


def test_a_copy_of_a_document_is_the_same_document():
    text, other = [["a"], ["b"], ["c"], ["d"]], [["x"], ["y"]]
    documents = [text, other, copy.deepcopy(text), [["a"], [], ["b", "c"], ["d"]]]
    for seed in range(100):
        for first, second, label in next_sentence_pairs(documents, 7, random.Random(seed)):
            same = (set(first) <= set("abcd")) == (set(second) <= set("abcd"))
            assert same == (label == IS_NEXT), "a random segment is from a copy"


def test_a_random_segment_that_is_what_follows_is_labelled_so():
    # the only sentence of the other document is the one that follows x
    documents = [[["x"], ["y"], ["z"]], [["y"]]]
    seen = set()
    for seed in range(200):
        for first, second, label in next_sentence_pairs(documents, 5, random.Random(seed), 0.0):
            seen.add((first[-1], second[0], label))
    assert ("x", "y", IS_RANDOM) not in seen, "the label says random of what truly follows"
    assert ("x", "y", IS_NEXT) in seen
    assert ("z", "y", IS_RANDOM) in seen


def test_the_label_is_that_of_the_segments_after_the_cut():
    one, other = [[1, 2, 3], [4, 5, 6, 7, 8]], [[11, 12, 13], [4, 5, 6, 7, 9]]
    assert ([1, 2, 3], [4, 5, 6], IS_NEXT) in next_sentence_pairs(
        [one, other], 9, random.Random(18), 0.0
    )


@pytest.mark.parametrize("length", [6, 7, 8, 9, 11, 13])
def test_no_segment_that_follows_is_labelled_random(length):
    """Nor one that would have followed, had both been cut where these were."""
    one = list(range(1, 16))  # in sentences that the other document has in part
    other, seen = [[4, 5, 6, 7, 30], [31, 4, 5, 6], [8, 30], [33, 4], [31, 32]], set()
    documents = [[one[:3], one[3:8], one[8:10], one[10:]], other]
    for seed in range(2000):
        for first, second, label in next_sentence_pairs(
            documents, length, random.Random(seed), 0.0
        ):
            if first[0] in one[:3] and first[-1] in one[:3]:  # the first sentence of document 1
                follows = second == one[first[-1] : first[-1] + len(second)]
                after_the_sentence = second == one[3 : 3 + len(second)]
                assert label == IS_NEXT or not (follows or after_the_sentence), (first, second)
                assert label == IS_RANDOM or set(second) <= set(one), "not of this document"
                seen.add((label, second[0] == 4))
    assert len(seen) > 2


# --- cutting ---


def cut_by_loops(first, second, room, rng):
    """The published way: as long as both do not fit, one item off the longer, front or end."""
    first, second = list(first), list(second)
    while len(first) + len(second) > room:
        longer = first if len(first) > len(second) else second
        del longer[0 if rng.random() < 0.5 else -1]
    return first, second


def cut(first, second, room, rng):
    one, other = _cut(len(first), len(second), room, rng)
    return first[one], second[other]


def test_cut_lengths_are_those_of_the_loops():
    rng = random.Random(0)
    for one in range(1, 14):
        for other in range(1, 14):
            for room in range(2, 26):
                first, second = list(range(one)), list(range(100, 100 + other))
                ours = cut(first, second, room, rng)
                theirs = cut_by_loops(first, second, room, rng)
                assert list(map(len, ours)) == list(map(len, theirs)), (one, other, room)
                for part, whole in zip(ours, (first, second), strict=True):
                    start = part[0] - whole[0]
                    assert part == whole[start : start + len(part)]


def test_cuts_are_at_the_front_or_the_end_by_one_coin_an_item():
    # 9 and 5 items, room 8: 4 each, so 5 are lost of the first and 1 of the second
    rng, count = random.Random(0), 8000
    ours = Counter(
        tuple(s[0] for s in cut(list(range(9)), list(range(5)), 8, rng)) for _ in range(count)
    )
    assert sum(ours.values()) == count
    for front in range(6):
        for other in range(2):
            assert_share(ours[front, other], count, math.comb(5, front) / 2**6)


# --- the published scheme, in loops ---


def pairs_by_loops(documents, length, rng, short):
    """BERT's script: next-sentence pairs, one sentence at a time."""
    documents = [d for d in ([s for s in document if s] for document in documents) if d]
    pairs, room = [], length - 3
    for number, document in enumerate(documents):
        target = rng.randint(2, room) if rng.random() < short else room
        chunk, i = [], 0
        while i < len(document):
            chunk.append(document[i])
            i += 1
            if i < len(document) and sum(map(len, chunk)) < target:
                continue
            split = rng.randint(1, len(chunk) - 1) if len(chunk) > 1 else 1
            first, second, label = flat(chunk[:split]), flat(chunk[split:]), 0
            if len(chunk) == 1 or rng.random() < 0.5:
                other = rng.choice([n for n in range(len(documents)) if n != number])
                start, second, label = rng.randrange(len(documents[other])), [], 1
                while start < len(documents[other]):
                    second += documents[other][start]
                    start += 1
                    if len(second) >= target - len(first):
                        break
                i -= len(chunk) - split
            pairs.append(Pair(*cut_by_loops(first, second, room, rng), label))
            chunk = []
    return pairs


@pytest.mark.parametrize("short", [0.0, 0.6])
def test_pairs_are_distributed_as_by_the_published_scheme(short):
    rng = random.Random(1)
    documents = corpus([3, 8, 5, 2, 9, 4, 4, 0, 6], [12], [7, 7, 7], [1, 2, 1, 30, 2])
    rounds = 1500

    def features(pairs):
        for first, second, label in pairs:
            d, s, i = first[0]
            yield "first begins", d, s, i
            yield "first", d, label, len(first)
            yield "second", label, len(second)
            yield "second begins", *second[0][:2], label
        yield "pairs", len(pairs)

    counts, expected = Counter(), Counter()
    for _ in range(rounds):
        # a document may begin a pair with one sentence once in a round, so each counts once
        counts.update(set(features(next_sentence_pairs(documents, 24, rng, short))))
        expected.update(set(features(pairs_by_loops(documents, 24, rng, short))))
    assert len(expected) > 150
    for feature in counts | expected:
        assert_same_share(counts[feature], rounds, expected[feature], rounds)


# --- invariance ---


@pytest.mark.parametrize("make", BOTH)
def test_the_same_seed_gives_the_same_pairs_whatever_the_global_state(make):
    documents = some_corpus()
    random.seed(1)  # the state itself cannot be compared: the checks of types draw from it
    first = make(documents, 32, random.Random(0))
    random.seed(2)
    assert make(documents, 32, random.Random(0)) == first, "is the global state in it?"
    assert make(documents, 32, random.Random(1)) != first
    rng = random.Random(0)
    assert make(documents, 32, rng) == first
    assert make(documents, 32, rng) != first, "a second call gives other pairs"


@pytest.mark.parametrize("make", BOTH)
def test_documents_are_left_as_they_were(make):
    documents = some_corpus()
    before = copy.deepcopy(documents)
    for first, second, _ in make(documents, 500, random.Random(0)):
        first.clear(), second.clear()
    assert documents == before


@pytest.mark.parametrize("make", BOTH)
def test_tuples_and_any_items_will_do(make):
    documents = [[[1, 2], [3], [4, 5]], [[6], [7, 8]]]
    words = tuple(tuple(tuple(f"w{i}" for i in s) for s in d) for d in documents)
    numbers = make(documents, 12, random.Random(0))
    for pair, named in zip(numbers, make(words, 12, random.Random(0)), strict=True):
        assert named == ([f"w{i}" for i in pair.first], [f"w{i}" for i in pair.second], pair.label)


# --- bad input ---


@pytest.mark.parametrize("make", BOTH)
def test_a_pair_needs_some_length(make):
    for length in (4, 0, -1):
        with pytest.raises(ValueError, match=f"length={length}: .* make 5"):
            make(some_corpus(), length, random.Random(0))


@pytest.mark.parametrize("make", BOTH)
def test_short_is_a_probability(make):
    for short in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match=f"short={short} is not between 0 and 1"):
            make(some_corpus(), 32, random.Random(0), short)


@pytest.mark.parametrize("rng", [None, 0, random])
def test_the_random_numbers_are_not_left_out(rng):
    with pytest.raises(TypeError, match=r"rng=.*; pass random.Random\(0\)"):
        _texts(some_corpus(), 32, rng, 0.1)


@pytest.mark.parametrize(
    "documents",
    [
        ["Two sentences. As text."],
        [["One.", "Two."]],
        [Document("Title", ("One.", "Two."))],
        [[1, 2, 3]],
        [7],
    ],
    ids=["text", "sentences as text", "Document", "ids without sentences", "number"],
)
def test_documents_are_lists_of_lists(documents):
    with pytest.raises(TypeError, match="is no list; a document is a list of sentences, each"):
        _texts(documents, 32, random.Random(0), 0.1)


@pytest.mark.parametrize(
    "documents", [[], [[]], [[["a"], ["b"]]], [[["a"], ["b"]], [], [["a", "b"]]]]
)
def test_random_segments_need_another_document(documents):
    with pytest.raises(ValueError, match="must come from another document"):
        next_sentence_pairs(documents, 32, random.Random(0))

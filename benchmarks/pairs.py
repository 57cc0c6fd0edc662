"""Next-sentence pairs a second, beside the way of google-research/bert's create_pretraining_data.

That script is no package that could be installed. So its way of working is written here once
more, in our own words ("after the script"): lists, one pair at a time, cut by taking away single
ids, then masked and filled up. With a clone of the repository, its own function is measured too:

    python benchmarks/pairs.py --script path/to/the/clone

It makes pairs and masks at once and cannot be asked for pairs alone. Reading text and writing files
are left out everywhere, and the collector of unused objects is off, as in `timeit`.
"""

import argparse
import gc
import importlib
import random
import sys
from pathlib import Path
from types import SimpleNamespace

import torch
from attention import milliseconds  # the script beside this one

from bertfamily.batches import pad
from bertfamily.masking import choose_exactly, hide
from bertfamily.pairs import Pair, next_sentence_pairs
from bertfamily.wordpiece import Encoding

THREADS, RUNS, DOCUMENTS, VOCAB, BATCH = 1, 5, 500, 30_522, 256
CLS, SEP, MASK = 101, 102, 103
ORDINARY = torch.arange(VOCAB) >= 1000


def some_documents() -> list[list[list[int]]]:
    """5 to 60 sentences a document, 5 to 45 ids a sentence."""
    rng, pieces = random.Random(0), list(range(1000, VOCAB))
    return [
        [rng.choices(pieces, k=rng.randint(5, 45)) for _ in range(rng.randint(5, 60))]
        for _ in range(DOCUMENTS)
    ]


def pairs_one_by_one(documents, length, finish=None) -> list:
    """The pairs as the script makes them, each handed to `finish` as soon as it is there."""
    rng, made, room = random.Random(1), [], length - 3
    for number, document in enumerate(documents):
        target = rng.randint(2, room) if rng.random() < 0.1 else room
        waiting, size, at = [], 0, 0
        while at < len(document):
            waiting.append(document[at])
            size += len(document[at])
            at += 1
            if at < len(document) and size < target:
                continue
            split = rng.randint(1, len(waiting) - 1) if len(waiting) > 1 else 1
            first, second = [], []
            for sentence in waiting[:split]:
                first.extend(sentence)
            is_random = len(waiting) == 1 or rng.random() < 0.5
            if is_random:
                for _ in range(10):
                    other = rng.randint(0, len(documents) - 1)
                    if other != number:
                        break
                for sentence in documents[other][rng.randint(0, len(documents[other]) - 1) :]:
                    second.extend(sentence)
                    if len(second) >= target - len(first):
                        break
                at -= len(waiting) - split  # the unused sentences go back
            else:
                for sentence in waiting[split:]:
                    second.extend(sentence)
            while len(first) + len(second) > room:
                longer = first if len(first) > len(second) else second
                longer.pop(0 if rng.random() < 0.5 else -1)
            pair = Pair(first, second, int(is_random))
            made.append(pair if finish is None else finish(pair, length, rng))
            waiting, size = [], 0
    return made


def masked_one_by_one(pair: Pair, length: int, rng: random.Random) -> tuple:
    """Ids, segments and masks of one pair, as lists of `length`."""
    ids = [CLS, *pair.first, SEP, *pair.second, SEP]
    segments = [0] * (len(pair.first) + 2) + [1] * (len(pair.second) + 1)
    candidates = [i for i, token in enumerate(ids) if token not in (CLS, SEP)]
    rng.shuffle(candidates)
    read, positions, labels = list(ids), [], []
    for i in sorted(candidates[: max(1, round(0.15 * len(ids)))]):
        if rng.random() < 0.8:
            read[i] = MASK
        elif rng.random() < 0.5:
            read[i] = rng.randint(0, VOCAB - 1)
        positions.append(i)
        labels.append(ids[i])
    rest = [0] * (length - len(ids))
    return read + rest, segments + rest, [1] * len(ids) + rest, positions, labels, pair.label


def masked_in_batches(documents, length) -> list:
    """The same from our functions, `BATCH` pairs at a time."""
    pairs, generator = next_sentence_pairs(documents, length, random.Random(1)), torch.Generator()
    for start in range(0, len(pairs), BATCH):
        encodings = []
        for first, second, _ in pairs[start : start + BATCH]:
            segments = [0] * (len(first) + 2) + [1] * (len(second) + 1)
            encodings.append(Encoding([CLS, *first, SEP, *second, SEP], segments, [], []))
        ids = pad(encodings, to=length).ids
        hide(ids, choose_exactly(ORDINARY[ids], generator), MASK, ORDINARY, generator)
    return pairs


def script_itself(folder: Path, documents):
    """The script's own function from a clone. This part of it needs TensorFlow for flags only."""
    flags = SimpleNamespace(FLAGS=SimpleNamespace(do_whole_word_mask=False))
    for kind in ("string", "bool", "integer", "float"):
        setattr(flags, f"DEFINE_{kind}", lambda *_: None)
    sys.modules["tensorflow"] = SimpleNamespace(flags=flags)
    sys.path.insert(0, str(folder))
    make = importlib.import_module("create_pretraining_data").create_instances_from_document
    vocabulary = [f"w{i}" for i in range(VOCAB)]
    words = [[[vocabulary[i] for i in sentence] for sentence in d] for d in documents]

    def instances(_, length) -> list:
        rng, most, made = random.Random(1), round(0.15 * length), []
        for number in range(len(words)):
            made += make(words, number, length, 0.1, 0.15, most, vocabulary, rng)
        return made

    return instances


def compare(name: str, documents, length: int, ours, theirs) -> None:
    calls = [lambda: ours(documents, length), lambda: theirs(documents, length)]
    counts = [len(call()) for call in calls]
    a, b = (1e3 * n / ms for n, ms in zip(counts, milliseconds(calls, RUNS), strict=True))
    print(f"{length:6}  {name:54}{a:9.0f}{b:9.0f}{a / b:8.1f}", flush=True)


def main(folder: Path | None) -> None:
    torch.set_num_threads(THREADS)
    documents = some_documents()
    print(f"pairs a second; {DOCUMENTS} documents, {THREADS} thread, median of {RUNS} runs in turn")
    print(f"{'length':>6}  {'what':54}{'ours':>9}{'theirs':>9}{'ratio':>8}")

    def pairs(documents, length):
        return next_sentence_pairs(documents, length, random.Random(1))

    def masked(documents, length):
        return pairs_one_by_one(documents, length, masked_one_by_one)

    script = None if folder is None else script_itself(folder, documents)
    for length in (128, 512):
        compare("pairs, after the script", documents, length, pairs, pairs_one_by_one)
        compare("masked pairs, after the script", documents, length, masked_in_batches, masked)
        if script is not None:
            compare("pairs, the script itself (it masks too)", documents, length, pairs, script)
            compare("masked pairs, the script", documents, length, masked_in_batches, script)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--script", type=Path, help="a clone of google-research/bert")
    options = parser.parse_args()
    gc.disable()
    main(options.script)

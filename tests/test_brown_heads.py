"""Silver relations on Brown: numbers and no words, and a search that chooses on the other half."""

import re
import sys
from pathlib import Path
from random import Random

import pytest
import torch

from bertfamily import corpora
from bertfamily.checkpoints import load
from bertfamily.encoder import Encoder
from bertfamily.wordpiece import fast, load_tokenizer

sys.path.insert(0, str(Path(__file__).parents[1] / "experiments"))

import brown_heads  # noqa: E402
from brown_heads import LABELS, RECORD, RELATIONS, Hits, held_out, labels, shuffled  # noqa: E402
from runs import read_record  # noqa: E402

DIRECTIONS = ["to its head", "from its head"]


@pytest.fixture(scope="module")
def words():
    try:
        return brown_heads.words_of(labels())
    except OSError as error:
        pytest.skip(f"the corpus is not at hand: {error}")


def test_the_file_has_numbers_and_none_of_the_words():
    lines = LABELS.read_text("ascii").splitlines()
    pair = rf"(?:{'|'.join(RELATIONS)}):\d+>\d+"
    for line in lines[1:]:
        assert re.fullmatch(rf"c[a-r]\d\d,\d+,[0-9a-f]{{12}},(?:{pair}(?: {pair})*)?", line), line
    names = [line[:4] for line in lines[1:]]
    assert len(set(names)) == 500 and max(map(names.count, set(names))) == 4


def test_no_word_hangs_on_itself_or_twice():
    for sentence in labels():
        pairs = [pair for found in sentence.relations.values() for pair in found]
        assert all(dependent != head for dependent, head in pairs)
        assert len({dependent for dependent, _ in pairs}) == len(pairs)


def test_the_words_are_those_that_were_parsed(words):
    """Determiners, forms of *be* and *get*, possessors: so the numbers mean what they say."""
    said: dict[str, list[str]] = {relation: [] for relation in RELATIONS}
    for sentence, found in zip(labels(), words, strict=True):
        for relation, pairs in sentence.relations.items():
            assert all(max(pair) < len(found) for pair in pairs)
            said[relation] += [found[dependent].lower() for dependent, _ in pairs]

    def share(relation, pattern):
        hits = [bool(re.fullmatch(pattern, word)) for word in said[relation]]
        return sum(hits) / len(hits)

    assert share("det", "the|an?|this|that|these|those|no|any|some|each|every|all|both") > 0.9
    assert share("auxpass", "be|is|are|was|were|been|being|am|get|got|gets|getting") > 0.95
    assert share("poss", r"my|your|his|her|its|our|their|.+'s?|.+s'") > 0.95
    assert share("dobj", "the|an?|of|in|is|was") < 0.02


def test_another_text_is_refused(words):
    sentence = labels()[0]
    with pytest.raises(ValueError, match="its words differ"):
        brown_heads.words_of([sentence._replace(number=sentence.number + 1)])


def test_the_best_is_chosen_on_the_other_half():
    """Candidate 0 is right in the even texts, candidate 1 in the odd ones: both fail held out."""
    right = torch.tensor([[1, 1, 0, 0, 0], [0, 0, 1, 1, 1], [1, 0, 0, 1, 0]]).bool()
    found, best = held_out(Hits(right, torch.tensor([0, 2, 1, 1, 3])))
    assert best == [1, 0] and not found.any()
    found, best = held_out(Hits(right[2:], torch.tensor([0, 2, 1, 1, 3])))
    assert found.tolist() == right[2].tolist()


def test_shuffled_steps_stay_in_the_sentence_and_with_the_dependent():
    pairs = [(0, 1), (2, 5), (4, 3), (1, 0), (7, 2)] * 5
    mixed = shuffled(pairs, [8] * 25, Random(0))
    assert [d for d, _ in mixed] == [d for d, _ in pairs] and mixed != pairs
    assert all(0 <= head < 8 and head != d for d, head in mixed)


def test_the_record_counts_what_the_file_has():
    record = read_record(RECORD)
    for name, found in record["results"].items():
        for relation in RELATIONS:
            pairs = sum(len(s.relations.get(relation, [])) for s in labels())
            assert found[relation]["pairs"] == pairs, name
            low, mean, high = (found[relation]["head less step"][i] for i in (1, 0, 2))
            difference = found[relation]["head"][0] - found[relation]["step"][0]
            assert low <= mean <= high and mean == pytest.approx(difference, abs=0.2)


def test_a_recorded_head_is_found_again_and_not_with_the_ends_exchanged(words):
    """On one sentence of every text; the whole takes minutes."""
    folder = corpora.carried(corpora.MINILM)
    encoder, tokenizer = load(folder, Encoder), fast(load_tokenizer(folder))
    some = labels()[::10]
    some = [s for s in some if "det" in s.relations]
    exchanged = [s._replace(relations={"det": [p[::-1] for p in s.relations["det"]]}) for s in some]
    was = read_record(RECORD)["results"]["MiniLM"]["det"]
    direction, layer, head = was["heads"][0]
    row = (DIRECTIONS.index(direction) * 6 + layer) * 12 + head
    found = 100 * brown_heads.ask(encoder, tokenizer, some)["det"][0].right[row].double().mean()
    assert found.item() == pytest.approx(was["head"][0], abs=8)
    wrong = (
        100 * brown_heads.ask(encoder, tokenizer, exchanged)["det"][0].right[row].double().mean()
    )
    assert wrong.item() < found.item() - 30

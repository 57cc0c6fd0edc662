"""Vectors of texts and what is found by them: by hand, by oracle, by invariance."""

import hashlib
import math
from math import exp, log

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from sklearn.metrics import ndcg_score, pairwise

from bertfamily.checkpoints import load
from bertfamily.corpora import MINILM, SPLADE, carried, data_path, paragraphs
from bertfamily.encoder import Bert, Encoder
from bertfamily.finetuning import Tuning
from bertfamily.heads import MaskedTokenModel
from bertfamily.metrics import spearman
from bertfamily.search import (
    Sparse,
    as_int8,
    best,
    contrast,
    expand,
    expansions,
    first_vectors,
    folds,
    info_nce,
    mean_vectors,
    nearest,
    ranks,
    readings,
    recall,
    reciprocal,
    sparse_scores,
    spearman_interval,
    together,
    unit,
    vectors_of,
)
from bertfamily.training import initialize
from bertfamily.wordpiece import Encoding, fast, load_tokenizer

SIZES = {"vocab": 40, "hidden": 8, "heads": 2, "inner": 16, "positions": 20, "layers": 2}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def a_text(*ids):
    n = len(ids)
    return Encoding(list(ids), [0] * n, [(0, 0)] * n, [""] * n)


def small_encoder(std=0.5):
    encoder = Encoder(Bert(**SIZES))
    initialize(encoder, seeded(), std)
    return encoder.eval()


# --- vectors


def test_the_mean_leaves_padding_out_and_the_first_is_that_of_cls():
    output = torch.tensor([[[1.0, 4.0], [3.0, 0.0], [100.0, 100.0]]])
    keep = torch.tensor([[True, True, False]])
    assert mean_vectors(output, keep).tolist() == [[2.0, 2.0]]
    assert first_vectors(output, keep).tolist() == [[1.0, 4.0]]


def test_unit_vectors_have_cosines_for_products():
    x, y = torch.randn(5, 7, generator=seeded(1)), torch.randn(3, 7, generator=seeded(2))
    expected = torch.tensor(pairwise.cosine_similarity(x, y))
    torch.testing.assert_close(unit(x) @ unit(y).T, expected)


def test_a_text_has_the_same_vector_whoever_it_is_read_with():
    encoder = small_encoder()
    texts = [a_text(1, 5, 2), a_text(1, 7, 9, 11, 13, 2), a_text(1, 30, 2), a_text(1, 8, 8, 2)]
    for pooling in mean_vectors, first_vectors:
        found = vectors_of(encoder, texts, pooling, size=2)
        alone = torch.cat([vectors_of(encoder, [text], pooling) for text in texts])
        torch.testing.assert_close(found, alone, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found.norm(dim=1), torch.ones(4))


# --- the contrastive loss


def test_info_nce_by_hand():
    """Cosines 1 and 0 at temperature 1: each row is -log(e / (e + 1)) = 0.3133 nats."""
    x = torch.eye(2)
    assert info_nce(x, 5 * x, 1.0).item() == pytest.approx(-log(exp(1) / (exp(1) + 1)))
    # at ½ the cosines count twice; partners exchanged: the cosine of the right one is 0
    assert info_nce(x, x, 0.5).item() == pytest.approx(-log(exp(2) / (exp(2) + 1)))
    assert info_nce(x, x.flip(0), 1.0).item() == pytest.approx(-log(1 / (exp(1) + 1)))


def test_info_nce_looks_from_the_first_texts_at_all_second_ones():
    """The rows are the first texts: both of them like the same second text."""
    first, second = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.eye(2)
    rows = [-log(exp(1) / (exp(1) + 1)), -log(1 / (exp(1) + 1))]
    assert info_nce(first, second, 1.0).item() == pytest.approx(sum(rows) / 2)
    assert info_nce(second, first, 1.0).item() == pytest.approx(log(2))


def test_info_nce_of_alike_vectors_is_that_of_a_blind_guess():
    x = torch.ones(8, 3)
    assert info_nce(x, x).item() == pytest.approx(log(8), abs=1e-5)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_info_nce_refuses_a_temperature_that_is_not_above_0(temperature):
    with pytest.raises(ValueError, match=r"temperature=.*above 0"):
        info_nce(torch.eye(2), torch.eye(2), temperature)


def test_one_pair_has_no_negative():
    with pytest.raises(ValueError, match="1 pairs: without a second"):
        info_nce(torch.eye(2)[:1], torch.eye(2)[:1])
    with pytest.raises(ValueError, match="1 pairs: give two"):
        contrast(small_encoder(), [(a_text(1, 2), a_text(1, 3))], Tuning())


PAIRS = [(a_text(1, 5 + i, 2), a_text(1, 30 - i, 2)) for i in range(9)]


def test_contrast_brings_pairs_together_and_is_the_same_every_time():
    tuning = Tuning(epochs=60, size=4, rate=1e-2)
    one, other = small_encoder(std=0.1), small_encoder(std=0.1)
    before = info_nce(*(vectors_of(one, side) for side in zip(*PAIRS, strict=True)))
    losses = contrast(one, PAIRS, tuning)
    contrast(other, PAIRS, tuning)
    for p, q in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q)
    assert len(losses) == 60 * 2, "nine pairs are two batches of four, and one that is left out"
    after = info_nce(*(vectors_of(one, side) for side in zip(*PAIRS, strict=True)))
    assert after < before / 2
    assert not one.training


def test_contrast_leaves_the_random_state_as_it_was():
    encoder = small_encoder()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    contrast(encoder, PAIRS, Tuning(epochs=1, size=4))
    assert torch.equal(torch.rand(3), expected)


# --- pairs


def test_readings():
    assert readings(4) == (6, 4)
    assert readings(10_000) == (49_995_000, 10_000)
    assert readings(0) == (0, 0)
    with pytest.raises(ValueError, match="texts=-1"):
        readings(-1)


def test_together_reads_both_texts_with_one_cls():
    tokenizer = load_tokenizer(carried(MINILM))
    (example,) = together(tokenizer, [("a dog", "a cat")], [0.4])
    assert example.encoding.pieces == "[CLS] a dog [SEP] a cat [SEP]".split()
    assert example.encoding.segments == [0, 0, 0, 0, 1, 1, 1]
    assert example.label == 0.4


def test_folds_keep_groups_together_and_test_each_item_once():
    groups = list("aabbbcdddde")
    for seed in 0, 1:
        parts = folds(groups, 3, seed)
        assert sorted(i for part in parts for i in part) == list(range(11))
        for group in "abcde":
            assert sum(any(groups[i] == group for i in part) for part in parts) == 1
    assert folds(groups, 3, 0) == folds(groups, 3, 0) != folds(groups, 3, 1)
    with pytest.raises(ValueError, match="count=6: from 2 to the number of groups, 5"):
        folds(groups, 6, 0)


# --- SPLADE


def test_expand_by_hand():
    """log(1 + 3) = 1.386 where the most is 3; 0 where none is above 0; padding does not count."""
    logits = torch.tensor([[[1.0, -1.0, 0.0], [3.0, -2.0, 0.0], [9.0, 9.0, 9.0]]])
    keep = torch.tensor([[True, True, False]])
    torch.testing.assert_close(expand(logits, keep), torch.tensor([[log(4), 0.0, 0.0]]))
    assert logits[0, 2, 0] == 9.0


def test_the_order_of_logarithm_and_maximum_makes_no_difference():
    logits = torch.randn(2, 5, 9, generator=seeded())
    keep = torch.ones(2, 5, dtype=torch.bool)
    expected = logits.relu().log1p().amax(dim=1)
    torch.testing.assert_close(expand(logits, keep), expected)


def test_expansions_are_the_heaviest_pieces():
    model = MaskedTokenModel(Bert(**SIZES))
    initialize(model, seeded(), std=0.5)
    texts = [a_text(1, 5, 2), a_text(1, 7, 9, 11, 2), a_text(1, 30, 31, 2)]
    found = expansions(model.eval(), texts, top=6, size=2)
    for i, text in enumerate(texts):
        with torch.no_grad():
            logits = model(torch.tensor([text.ids]))
        every = expand(logits, torch.ones(1, len(text.ids), dtype=torch.bool))[0]
        torch.testing.assert_close(found.weights[i], every.topk(6).values, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(every[found.pieces[i]], found.weights[i], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="top=41: from 1 to the 40 pieces"):
        expansions(model, texts, top=41)


def test_sparse_scores_are_the_product_of_the_whole_rows():
    questions = Sparse(torch.tensor([[1, 3], [0, 2]]), torch.tensor([[2.0, 1.0], [1.0, 0.0]]))
    texts = Sparse(torch.tensor([[3, 1], [2, 0], [4, 2]]), torch.tensor([[5.0, 1.0]] * 3))
    # question 0: 2·1 + 1·5 with text 0, nothing with the others; question 1: 1·1 with text 1
    assert sparse_scores(questions, texts, 5).tolist() == [[7.0, 0.0, 0.0], [0.0, 1.0, 0.0]]


def test_the_carried_model_names_what_a_question_is_about():
    tokenizer, model = load_tokenizer(carried(SPLADE)), load(carried(SPLADE))
    found = expansions(model, [tokenizer.encode("how to treat a headache")], top=16)
    named = {tokenizer.vocabulary[i] for i in found.pieces[0].tolist()}
    assert {"headache", "treatment", "medication"} <= named


# --- finding


def test_nearest_gives_the_greatest_products_in_order():
    texts = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-1.0, 0.0]])
    hits = nearest(torch.tensor([[1.0, 0.0]]), texts, k=3)
    assert hits.texts.tolist() == [[0, 2, 1]]
    assert hits.scores.tolist() == [[1.0, pytest.approx(0.6), 0.0]]


def test_of_equals_the_first_is_the_better():
    assert best(torch.tensor([[1.0, 2.0, 2.0, 1.0]]), 4).texts.tolist() == [[1, 2, 0, 3]]
    for k in 0, 5:
        with pytest.raises(ValueError, match=f"k={k}: from 1 to the number of texts, 4"):
            best(torch.zeros(1, 4), k)


@given(st.integers(0, 1_000))
def test_int8_keeps_directions(seed):
    x = unit(torch.randn(20, 384, generator=seeded(seed)))
    kept = unit(as_int8(x).float())
    assert as_int8(x).abs().max() == 127
    assert (kept * x).sum(dim=1).min() > 0.9995
    assert torch.equal(as_int8(4 * x), as_int8(x))


def test_int8_refuses_a_vector_without_direction():
    for value in 0.0, math.nan:
        with pytest.raises(ValueError, match="no direction"):
            as_int8(torch.tensor([[1.0, 2.0], [value, value]]))


# --- measures


def test_recall_by_hand():
    found, wanted = torch.tensor([[1, 2, 3], [4, 5, 6]]), torch.tensor([[3, 9], [6, 4]])
    assert recall(found, wanted) == 0.75
    assert recall(wanted, wanted) == 1.0


def test_ranks_count_equals_as_better():
    scores = torch.tensor([[0.1, 0.9, 0.5], [0.5, 0.5, 0.1]])
    assert ranks(scores, torch.tensor([2, 0])).tolist() == [2, 2]
    assert ranks(scores, torch.tensor([1, 2])).tolist() == [1, 3]


def test_reciprocal_by_hand():
    found = reciprocal(torch.tensor([1, 4, 10, 11]))
    assert found.tolist() == [1.0, 0.25, 0.1, 0.0]
    with pytest.raises(ValueError, match="a rank of 0"):
        reciprocal(torch.tensor([0]))


def test_ranks_agree_with_another_library_on_where_the_wanted_stands():
    """With one wanted text, scikit-learn's nDCG is 1 / log2(1 + rank)."""
    scores = torch.randn(6, 30, generator=seeded(3))
    wanted = torch.randint(30, (6,), generator=seeded(4))
    for row, at, rank in zip(scores, wanted, ranks(scores, wanted), strict=True):
        truth = F.one_hot(at, 30)[None]
        assert ndcg_score(truth, row[None]) == pytest.approx(1 / math.log2(1 + rank))


def test_the_interval_of_a_correlation():
    truths = torch.arange(60.0)
    good = truths + 15 * torch.randn(2, 60, generator=seeded(1))
    bad = torch.randn(2, 60, generator=seeded(2))
    mean, low, high = spearman_interval(good, truths, seeded(), draws=200)
    each = [spearman(row.tolist(), truths.tolist()) for row in good]
    assert mean == pytest.approx(sum(each) / 2)
    assert low < mean < high < 1
    less = spearman_interval(good, truths, seeded(), bad, draws=200)
    assert less.low > 0.3
    same = spearman_interval(good[:1], truths, seeded(), good[:1], draws=50)
    assert tuple(same) == (0, 0, 0), "the two are asked about the same pairs"


# --- the kept vectors


def test_the_kept_vectors_are_those_of_the_paragraphs():
    """Some are made again, by the models that they were made by."""
    texts = [p.whole for p in paragraphs()]
    some = range(0, len(texts), 1_500)
    with safe_open(data_path("paragraphs.safetensors"), "pt") as kept:
        told = kept.metadata()
        vectors, pieces, weights = (kept.get_tensor(n) for n in ("vectors", "pieces", "weights"))
    assert told["texts"] == hashlib.sha256("\n".join(texts).encode()).hexdigest()
    assert len(vectors) == len(pieces) == len(weights) == len(texts)
    longest = int(told["longest"])
    tokenizer = fast(load_tokenizer(carried(MINILM)))
    read = [tokenizer.encode(texts[i], longest=longest) for i in some]
    again = vectors_of(load(carried(MINILM)), read)
    assert (unit(vectors[list(some)].float()) * again).sum(dim=1).min() > 0.999
    found = expansions(load(carried(SPLADE)), read, pieces.shape[1])
    torch.testing.assert_close(weights[list(some)].float(), found.weights, rtol=2e-3, atol=2e-3)
    for row, i in enumerate(some):
        shared = set(pieces[i].tolist()) & set(found.pieces[row].tolist())
        assert len(shared) >= pieces.shape[1] - 2, "but for equals at the end of the row"


def test_the_file_is_small():
    assert data_path("paragraphs.safetensors").stat().st_size < 7_000_000

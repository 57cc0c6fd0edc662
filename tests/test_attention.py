"""What must be true of attention however it is written: by hand, by two oracles, by invariance.

The oracles are the formula in plain Python loops, and `torch.nn.MultiheadAttention`.
"""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from bertfamily.attention import (
    MultiHeadAttention,
    _check,
    attention,
    attention_weights,
    causal_keep,
    join_heads,
    split_heads,
)

torch.set_num_threads(1)
DOUBLE = torch.float64


def normal(*shape, seed=0, dtype=DOUBLE):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def some_keep(*shape, seed=0):
    """A random mask; every query may look at key 0 at least."""
    keep = torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < 0.5
    keep[..., 0] = True
    return keep


def randomised(layer, seed=0):
    """The layer with random maps and biases: at their initial 0 a swapped bias would not show."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=p.dtype) * 0.5)
    return layer.eval()


def by_loops(query, key, keep):
    """The weights of one head, from the formula, a number at a time."""
    rows = []
    for i, q in enumerate(query.tolist()):
        exps = []
        for j, k in enumerate(key.tolist()):
            score = sum(a * b for a, b in zip(q, k, strict=True)) / math.sqrt(len(q))
            exps.append(math.exp(score) if keep is None or keep[i, j] else 0.0)
        rows.append([e / sum(exps) if any(exps) else 0.0 for e in exps])
    return torch.tensor(rows, dtype=DOUBLE)


# --- by hand ---


def test_weights_by_hand():
    # d = 1: scores 0 and ln 3, so the second share is three times the first: 1/4 and 3/4
    query, key = torch.tensor([[1.0]]), torch.tensor([[0.0], [math.log(3)]])
    assert_close(attention_weights(query, key), torch.tensor([[0.25, 0.75]]))


def test_scores_are_divided_by_the_root_of_the_size_by_hand():
    # d = 4: the dot product 2 ln 3 is divided by 2. Undivided: 1/10 and 9/10; by 4: 0.366 and 0.634
    query, key = torch.ones(1, 4), torch.tensor([[0.0] * 4, [math.log(3) / 2] * 4])
    weights = attention_weights(query, key)
    assert_close(
        weights, torch.tensor([[0.25, 0.75]]), msg="are the scores divided by the root of d?"
    )
    value = torch.tensor([[0.0], [4.0]])
    assert_close(attention(query, key, value), torch.tensor([[3.0]]))


def test_output_is_the_weighted_mean_of_the_values_by_hand():
    query, key = torch.tensor([[1.0]]), torch.tensor([[0.0], [math.log(3)]])
    value = torch.tensor([[4.0, 0.0], [8.0, -4.0]])
    expected = torch.tensor([[7.0, -3.0]])  # 1/4 of the first and 3/4 of the second
    assert_close(attention(query, key, value), expected)
    assert_close(attention_weights(query, key) @ value, expected)


def test_keep_is_true_where_a_query_may_look_by_hand():
    zeros = torch.zeros(2, 3, 1)  # equal scores: equal shares among the keys that are kept
    keep = torch.tensor([[True, True, False], [True, False, False], [True, True, True]])
    third = 1 / 3
    expected = torch.tensor([[0.5, 0.5, 0], [1, 0, 0], [third, third, third]]).expand(2, 3, 3)
    assert_close(
        attention_weights(zeros, zeros, keep[None]), expected, msg="is the mask upside down?"
    )


def test_causal_keep_by_hand():
    expected = [[True, False, False], [True, True, False], [True, True, True]]
    assert causal_keep(3).tolist() == expected, "a token looks at itself and to its left"
    assert causal_keep(1).tolist() == [[True]]


def test_heads_are_consecutive_parts_by_hand():
    x = torch.arange(12.0).reshape(2, 6)  # 2 tokens of 6 numbers: 0..5 and 6..11
    heads = split_heads(x, 3)
    assert heads[0].tolist() == [[0, 1], [6, 7]], "head 1 is the first third of every token"
    assert heads[2].tolist() == [[4, 5], [10, 11]], "head 3 is the last third of every token"
    assert join_heads(heads).tolist() == x.tolist()


# --- the formula, in loops ---


@settings(deadline=None, max_examples=60)
@given(
    q=st.integers(1, 5),
    k=st.integers(1, 5),
    d=st.integers(1, 6),
    v=st.integers(1, 4),
    masked=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_weights_and_output_follow_the_formula(q, k, d, v, masked, seed):
    query, key = 2 * normal(q, d, seed=seed), 2 * normal(k, d, seed=seed + 1)
    value = normal(k, v, seed=seed + 2)
    generator = torch.Generator().manual_seed(seed)
    keep = torch.rand(q, k, generator=generator) < 0.6 if masked else None  # some rows have no key
    expected = by_loops(query, key, keep)
    assert_close(attention_weights(query, key, keep), expected, rtol=1e-10, atol=1e-12)
    assert_close(attention(query, key, value, keep), expected @ value, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "keep_shape", [None, (1, 1, 5, 7), (1, 3, 1, 7), (2, 1, 5, 7), (2, 3, 1, 7)], ids=str
)
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float32, 1e-5), (DOUBLE, 1e-12), (torch.bfloat16, 0.04)],
    ids=str,
)
def test_the_fused_kernel_equals_the_formula(keep_shape, dtype, tolerance):
    query, key = normal(2, 3, 5, 8, dtype=dtype), normal(2, 3, 7, 8, seed=1, dtype=dtype)
    value = normal(2, 3, 7, 4, seed=2, dtype=dtype)
    keep = some_keep(*keep_shape) if keep_shape else None
    weights = attention_weights(query, key, keep)
    fused = attention(query, key, value, keep)
    assert weights.dtype == fused.dtype == dtype
    exact = attention_weights(query.double(), key.double(), keep) @ value.double()
    assert_close((weights @ value).double(), exact, rtol=0, atol=tolerance)
    assert_close(fused.double(), exact, rtol=0, atol=tolerance)


def test_gradients_of_the_fused_kernel_equal_those_of_the_formula():
    keep = some_keep(1, 5, 7)
    keep[:, 2] = False  # and a query with no key
    wanted = normal(2, 5, 4, seed=9)

    def gradients(attend):
        inputs = [normal(2, 5, 8), normal(2, 7, 8, seed=1), normal(2, 7, 4, seed=2)]
        inputs = [x.requires_grad_() for x in inputs]
        return torch.autograd.grad((attend(*inputs) * wanted).sum(), inputs)

    formula = gradients(lambda q, k, v: attention_weights(q, k, keep) @ v)
    fused = gradients(lambda q, k, v: attention(q, k, v, keep))
    for ours, theirs in zip(formula, fused, strict=True):
        assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_large_scores_do_not_overflow():
    query = key = torch.tensor([[300.0], [-300.0]])
    assert_close(attention_weights(query, key), torch.eye(2))


# --- masks ---


def test_rows_sum_to_one():
    weights = attention_weights(
        normal(2, 3, 5, 8), normal(2, 3, 7, 8, seed=1), some_keep(2, 1, 5, 7)
    )
    assert_close(
        weights.sum(dim=-1), torch.ones(2, 3, 5, dtype=DOUBLE), msg="softmax over the keys?"
    )
    assert (weights >= 0).all()


def test_a_query_with_no_key_gets_nothing_and_gives_no_nan():
    query, key, value = normal(3, 8).requires_grad_(), normal(4, 8, seed=1), normal(4, 2, seed=2)
    keep = torch.ones(3, 4, dtype=torch.bool)
    keep[1] = False
    weights = attention_weights(query, key, keep)
    assert weights[1].tolist() == [0, 0, 0, 0]
    for output in (weights @ value, attention(query, key, value, keep)):
        assert output[1].tolist() == [0, 0]
        (gradient,) = torch.autograd.grad(output.sum(), query, retain_graph=True)
        assert gradient.isfinite().all()
        assert (gradient[1] == 0).all()


@pytest.mark.parametrize("with_weights", [False, True], ids=["fused", "formula"])
def test_hidden_keys_do_not_matter(with_weights):
    layer = randomised(MultiHeadAttention(8, 2)).double()
    x, real = normal(2, 5, 8), torch.tensor([[True] * 5, [True, True, True, False, False]])
    changed = x.clone()
    changed[1, 3:] += 100.0
    before, after = (
        layer(x, keep=real[:, None, :], with_weights=with_weights).output for x in (x, changed)
    )
    assert_close(after[0], before[0], rtol=0, atol=0)
    assert_close(
        after[1, :3], before[1, :3], rtol=0, atol=0, msg="a hidden key leaks through the mask"
    )
    alone = layer(x[1:, :3], with_weights=with_weights).output  # padding changes nothing
    assert_close(before[1:, :3], alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("with_weights", [False, True], ids=["fused", "formula"])
def test_the_future_does_not_matter_under_a_causal_mask_and_the_past_does(with_weights):
    layer = randomised(MultiHeadAttention(8, 2)).double()
    x = normal(1, 6, 8)
    for position in range(6):
        changed = x.clone()
        changed[0, position] += 1.0
        before, after = (
            layer(x, keep=causal_keep(6)[None], with_weights=with_weights).output[0]
            for x in (x, changed)
        )
        assert_close(after[:position], before[:position], rtol=0, atol=0, msg="the future leaks")
        moved = (after[position:] - before[position:]).abs().amax(dim=-1)
        assert (moved > 1e-6).all(), "a token must see itself and everything to its left"


def test_every_head_gets_the_mask():
    keep = some_keep(2, 5, 5)
    layer = randomised(MultiHeadAttention(8, 4)).double()
    weights = layer(normal(2, 5, 8), keep=keep, with_weights=True).weights
    assert (weights[~keep[:, None].expand_as(weights)] == 0).all()
    assert (weights[keep[:, None].expand_as(weights)] > 0).all()


# --- invariance ---


def test_permuting_the_tokens_permutes_the_output():
    layer = randomised(MultiHeadAttention(12, 3)).double()
    x, order = normal(1, 6, 12), torch.tensor([3, 0, 5, 1, 4, 2])
    assert_close(layer(x[:, order]).output, layer(x).output[:, order])


def test_permuting_the_memory_changes_nothing_but_the_columns_of_the_weights():
    layer = randomised(MultiHeadAttention(12, 3)).double()
    x, memory, order = normal(1, 4, 12), normal(1, 6, 12, seed=1), torch.tensor([3, 0, 5, 1, 4, 2])
    before = layer(x, memory, with_weights=True)
    after = layer(x, memory[:, order], with_weights=True)
    assert_close(after.output, before.output)
    assert_close(after.weights, before.weights[..., order])


def test_sequences_of_a_batch_do_not_see_each_other():
    layer = randomised(MultiHeadAttention(8, 2)).double()
    x = normal(3, 5, 8)
    together = layer(x).output
    for i in range(3):
        assert_close(together[i : i + 1], layer(x[i : i + 1]).output)


def test_heads_do_not_see_each_other():
    # the joined heads reach the output map unmixed: hide head 1's columns there, change its queries
    layer = randomised(MultiHeadAttention(8, 2)).double()
    x = normal(1, 5, 8)
    with torch.no_grad():
        layer.output.weight[:, :4] = 0.0
        before = layer(x).output
        layer.query_key_value.weight[[0, 1, 2, 3, 16, 17, 18, 19]] += (
            1.0  # queries and values of head 1
        )
        after = layer(x).output
    assert_close(after, before, rtol=0, atol=0, msg="are the heads interleaved, or joined badly?")


def test_inputs_are_left_as_they_were():
    layer = randomised(MultiHeadAttention(8, 2)).double()
    x, memory, keep = normal(2, 3, 8), normal(2, 4, 8, seed=1), some_keep(2, 3, 4)
    copies = x.clone(), memory.clone(), keep.clone()
    layer(x, memory, keep)
    layer(x, memory, keep, with_weights=True)
    for now, then in zip((x, memory, keep), copies, strict=True):
        assert_close(now, then, rtol=0, atol=0)


# --- several heads, beside PyTorch's ---


def pair(hidden, heads, dropout=0.0, seed=0):
    """Our layer and PyTorch's with the same random maps and biases, in float64."""
    ours = randomised(MultiHeadAttention(hidden, heads, dropout), seed).double()
    theirs = torch.nn.MultiheadAttention(hidden, heads, dropout, batch_first=True).double().eval()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.query_key_value.weight)
        theirs.in_proj_bias.copy_(ours.query_key_value.bias)
        theirs.out_proj.weight.copy_(ours.output.weight)
        theirs.out_proj.bias.copy_(ours.output.bias)
    return ours, theirs


@pytest.mark.parametrize("mask", ["none", "padding", "causal", "both"])
@pytest.mark.parametrize("cross", [False, True], ids=["self", "cross"])
@pytest.mark.parametrize(("hidden", "heads"), [(8, 1), (8, 2), (12, 4), (6, 6)])
def test_equals_pytorch(hidden, heads, cross, mask):
    ours, theirs = pair(hidden, heads)
    x = normal(3, 5, hidden)
    memory = normal(3, 7, hidden, seed=1) if cross else x
    seq = memory.shape[1]
    real = torch.arange(seq) < torch.tensor([[seq], [seq - 2], [1]])
    lower, padding = torch.ones(5, seq, dtype=torch.bool).tril(), real[:, None]
    keep = {"none": None, "padding": padding, "causal": lower[None], "both": padding & lower}[mask]
    output, weights = ours(x, memory if cross else None, keep, with_weights=True)
    their_output, their_weights = theirs(
        x, memory, memory,  # their masks are True where a query may NOT look
        key_padding_mask=~real if mask in ("padding", "both") else None,
        attn_mask=~lower if mask in ("causal", "both") else None,
        average_attn_weights=False,
    )  # fmt: skip
    assert_close(weights, their_weights)
    assert_close(output, their_output)
    assert_close(ours(x, memory if cross else None, keep).output, their_output)


def test_gradients_equal_pytorch():
    ours, theirs = pair(8, 2)
    x, wanted = normal(2, 5, 8), normal(2, 5, 8, seed=1)
    (ours(x).output * wanted).sum().backward()
    (theirs(x, x, x)[0] * wanted).sum().backward()
    assert_close(ours.query_key_value.weight.grad, theirs.in_proj_weight.grad)
    assert_close(ours.output.weight.grad, theirs.out_proj.weight.grad)
    assert all(p.grad is not None for p in ours.parameters())


def test_values_and_keys_come_from_the_memory_and_queries_from_x():
    layer = randomised(MultiHeadAttention(8, 2)).double()
    x, memory = normal(1, 4, 8), normal(1, 4, 8, seed=1)
    of_x, of_memory = layer.query_key_value(x)[0], layer.query_key_value(memory)[0]
    query, key, value = of_x[:, :8], of_memory[:, 8:16], of_memory[:, 16:]
    heads = slice(0, 4), slice(4, 8)
    weights = torch.stack([by_loops(query[:, h], key[:, h], None) for h in heads])
    mixed = [w @ value[:, h] for w, h in zip(weights, heads, strict=True)]
    expected = layer.output(torch.cat(mixed, dim=-1))
    output, ours = layer(x, memory, with_weights=True)
    assert_close(ours[0], weights, msg="are the scores of a head divided by the root of ITS size?")
    assert_close(output[0], expected)


def test_weights_come_only_on_request():
    layer, x = MultiHeadAttention(8, 2), torch.zeros(1, 3, 8)
    assert layer(x).weights is None
    assert layer(x, with_weights=True).weights.shape == (1, 2, 3, 3)


def test_more_heads_cost_no_more_parameters():
    counts = {
        h: sum(p.numel() for p in MultiHeadAttention(768, h).parameters()) for h in (1, 12, 48)
    }
    assert set(counts.values()) == {4 * 768 * 768 + 4 * 768} == {2_362_368}


# --- dropout ---


@pytest.mark.parametrize("with_weights", [False, True], ids=["fused", "formula"])
def test_dropout_acts_in_training_only(with_weights):
    layer = randomised(MultiHeadAttention(8, 2, dropout=0.5)).double()
    plain = randomised(MultiHeadAttention(8, 2)).double()
    x = normal(1, 6, 8)
    layer.eval()
    output = layer(x, with_weights=with_weights).output
    assert_close(output, plain(x).output, msg="dropout is at work in eval mode")
    layer.train()
    torch.manual_seed(0)
    draws = torch.stack([layer(x, with_weights=with_weights).output for _ in range(3000)])
    assert draws.std(dim=0).min() > 1e-3, "dropout is not at work in training"
    error = draws.std(dim=0) / math.sqrt(len(draws))
    assert ((draws.mean(dim=0) - output).abs() < 5 * error).all(), "dropout changes the mean"


def test_the_weights_on_request_are_those_before_dropout():
    layer = randomised(MultiHeadAttention(8, 2, dropout=0.5)).double().train()
    weights = layer(normal(1, 6, 8), with_weights=True).weights
    assert_close(weights.sum(dim=-1), torch.ones(1, 2, 6, dtype=DOUBLE))


# --- bad input ---


@pytest.mark.parametrize(("hidden", "heads"), [(10, 3), (8, 0), (8, -2), (0, 1), (4, 8)])
def test_sizes_that_do_not_fit_are_named(hidden, heads):
    with pytest.raises(ValueError, match=f"hidden={hidden} .*heads={heads}"):
        MultiHeadAttention(hidden, heads)


@pytest.mark.parametrize("dropout", [-0.1, 1.0, float("nan")])
def test_dropout_is_a_share(dropout):
    with pytest.raises(ValueError, match=f"dropout={dropout}"):
        MultiHeadAttention(8, 2, dropout)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32, torch.uint8], ids=str)
def test_a_mask_of_numbers_is_refused(dtype):
    with pytest.raises(TypeError, match=f"keep has dtype {dtype}; pass booleans"):
        _check(torch.ones(3, 3, dtype=dtype), torch.zeros(3, 2), torch.zeros(3, 2))


@pytest.mark.parametrize("shape", [(4,), (3, 4), (1, 5, 4), (5, 3, 3), (2, 3, 4), (5, 1, 3, 4)])
def test_a_mask_of_the_wrong_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"keep has shape \(.*, the scores \(5, 3, 4\)"):
        _check(torch.ones(shape, dtype=torch.bool), torch.zeros(5, 3, 2), torch.zeros(5, 4, 2))


def test_a_mask_of_two_axes_is_not_guessed_at():
    """As many texts as tokens: (batch, k) and (q, k) have one shape, and neither is taken."""
    square = torch.ones(4, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"real\[:, None, :\], for a mask .* keep\[None\]"):
        _check(square, torch.zeros(4, 4, 8), torch.zeros(4, 4, 8))
    _check(square[None], torch.zeros(4, 4, 8), torch.zeros(4, 4, 8))
    _check(square, torch.zeros(4, 8), torch.zeros(4, 8))


def test_masks_are_checked_on_both_paths(monkeypatch):
    seen = []
    monkeypatch.setattr("bertfamily.attention._check", lambda *a: seen.append(a))
    x, keep = torch.zeros(1, 3, 8), torch.ones(1, 3, 3, dtype=torch.bool)
    layer = MultiHeadAttention(8, 2)
    layer(x, keep=keep)
    layer(x, keep=keep, with_weights=True)
    # By the module the mask that the reader passed, by the function that of all heads.
    assert [len(mask.shape) for mask, *_ in seen] == [3, 4, 3, 4]

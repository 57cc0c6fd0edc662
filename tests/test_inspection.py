"""What is seen inside an encoder: by hand, beside plain loops, and beside transformers."""

import math
from itertools import product

import pytest
import torch
import transformers

from bertfamily.checkpoints import load
from bertfamily.encoder import Albert, Bert, Encoder
from bertfamily.inspection import (
    attention_distance,
    attention_to,
    auc,
    baseline,
    cost_of_heads,
    entropy,
    find_word,
    heads_off,
    intra_similarity,
    join_words,
    most_attended,
    neighbours,
    offset_hits,
    read,
    relation_hits,
    self_similarity,
    similarities,
    tokens_of,
    word_vectors,
    word_weights,
)
from bertfamily.wordpiece import SPECIAL, Tokenizer

WORDS = "the a pet py ##th ##on sleeps bank ##s of river key ##board é , .".split()
TOKENIZER = Tokenizer([*SPECIAL, *WORDS])
SIZES = Bert(vocab=len(WORDS) + 5, hidden=12, layers=3, heads=2, inner=20, positions=24)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def attention(*shape, seed=0):
    return random(*shape, seed=seed).softmax(dim=-1)


@pytest.fixture
def encoder():
    encoder = Encoder(SIZES).double().eval()
    for i, p in enumerate(encoder.parameters()):
        p.data.copy_(random(*p.shape, seed=i) / 2)
    return encoder


# --- vectors of words


TEXTS = ["the python sleeps .", "a pet", "the banks of the river , the python of the bank ."]


def test_read_is_what_transformers_says_of_each_text_alone(tmp_path):
    sizes = dict(vocab_size=SIZES.vocab, hidden_size=12, num_hidden_layers=3)
    sizes |= dict(num_attention_heads=2, intermediate_size=20, max_position_embeddings=24)
    config = transformers.BertConfig(**sizes, layer_norm_eps=0.1, attn_implementation="eager")
    theirs = transformers.BertModel(config).eval()
    for i, p in enumerate(theirs.parameters()):
        p.data.copy_(random(*p.shape, seed=i) / 2)
    theirs.save_pretrained(tmp_path)
    readings = read(load(tmp_path, model=Encoder), TOKENIZER, TEXTS, with_weights=True, size=2)
    assert [r.text for r in readings] == TEXTS
    for reading in readings:
        ids = torch.tensor([TOKENIZER.encode(reading.text).ids])
        with torch.no_grad():
            alone = theirs(ids, output_hidden_states=True, output_attentions=True)
        assert reading.encoding.ids == ids[0].tolist()
        states, weights = torch.cat(alone.hidden_states), torch.cat(alone.attentions)
        torch.testing.assert_close(reading.states, states, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(reading.weights, weights, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_company_changes_nothing(encoder, size):
    alone = [read(encoder, TOKENIZER, [text])[0] for text in TEXTS]
    for one, other in zip(alone, read(encoder, TOKENIZER, TEXTS, size=size), strict=True):
        torch.testing.assert_close(one.states, other.states)
        assert other.weights is None
        assert other.states.shape == (4, len(other.encoding.ids), 12)


def test_no_text_is_no_reading(encoder):
    assert read(encoder, TOKENIZER, []) == []


def test_reading_with_dropout_is_refused(encoder):
    with pytest.raises(ValueError, match="training mode.*encoder.eval"):
        read(encoder.train(), TOKENIZER, TEXTS)
    with pytest.raises(ValueError, match="give a list"):
        read(encoder.eval(), TOKENIZER, "a pet")


def test_a_word_is_found_whole():
    text = "A Python, two pythons; pythonic. The pythons'"
    assert find_word(text, "python") == (2, 8)
    assert find_word("the python's", "Python") == (4, 10)
    assert find_word("a+b (x)", "(x)") == (4, 7)
    for wrong, count in (("pythons", 2), ("viper", 0), ("pyth", 0)):
        with pytest.raises(ValueError, match=f"{wrong}' is {count} times in"):
            find_word(text, wrong)


def test_the_pieces_of_a_word():
    encoding = TOKENIZER.encode("a python sleeps", "the banks")
    # [CLS] a py ##th ##on sleeps [SEP] the bank ##s [SEP]
    assert tokens_of(encoding, 2, 8) == [2, 3, 4]
    assert tokens_of(encoding, 0, 1) == [1]
    assert tokens_of(encoding, 9, 15) == [5]
    assert tokens_of(encoding, 2, 15) == [2, 3, 4, 5]
    assert tokens_of(encoding, 4, 9, segment=1) == [8, 9]
    assert tokens_of(encoding, 0, 3, segment=1) == [7]


def test_the_quick_check_of_the_deck():
    """Index 5 in "I love my pet Python", with [CLS] as 0."""
    tokenizer = Tokenizer([*SPECIAL, *"i love my pet python coding in".split()])
    for text in ("I love my pet Python", "I love coding in Python"):
        encoding = tokenizer.encode(text)
        assert tokens_of(encoding, *find_word(text, "python")) == [5]


def test_half_a_piece_is_no_word():
    encoding = TOKENIZER.encode("the keyboard")
    assert tokens_of(encoding, 4, 7) == [2] and tokens_of(encoding, 7, 12) == [3]
    with pytest.raises(ValueError, match="'key', '##board'.* go from 4 to 12, beyond 4 and 9"):
        tokens_of(encoding, 4, 9)
    with pytest.raises(ValueError, match="beyond 5 and 7"):
        tokens_of(encoding, 5, 7)
    for start, end in ((3, 4), (20, 24), (4, 4), (0, 0)):
        with pytest.raises(ValueError, match="no piece between"):
            tokens_of(encoding, start, end)


def test_a_word_is_the_mean_of_its_pieces(encoder):
    (reading,) = read(encoder, TOKENIZER, ["the python sleeps ."])
    vectors = word_vectors(reading, 4, 10)
    assert vectors.shape == (4, 12)
    torch.testing.assert_close(vectors, reading.states[:, 2:5].sum(1) / 3)
    torch.testing.assert_close(word_vectors(reading, 0, 3), reading.states[:, 1])
    table = encoder.embeddings
    first = table(torch.tensor([reading.encoding.ids]))[0, 2:5].mean(0)
    torch.testing.assert_close(vectors[0], first)  # depth 0 is before the first layer


def test_cosines_by_hand():
    a, b = torch.tensor([[3.0, 4.0], [0.0, 2.0]]), torch.tensor([[4.0, 3.0], [0.0, -1.0]])
    expected = torch.tensor([[24 / 25, -0.8], [0.6, -1.0]])
    torch.testing.assert_close(similarities(a, b), expected)
    torch.testing.assert_close(similarities(a, b).T, similarities(b, a))


def test_cosines_of_all_depths_at_once():
    a, b = random(3, 4, 5), random(3, 2, 5, seed=1)
    found = similarities(a, b)
    for d, i, j in product(range(3), range(4), range(2)):
        cosine = a[d, i] @ b[d, j] / (a[d, i].norm() * b[d, j].norm())
        torch.testing.assert_close(found[d, i, j], cosine)


def test_neighbours_come_in_order_and_ties_by_place():
    similar = torch.tensor([[0.1, 0.9, 0.9, -1.0], [1.0, 0.2, 0.3, 0.4]])
    before = similar.clone()
    found = neighbours(similar, 3)
    assert found.places.tolist() == [[1, 2, 0], [0, 3, 2]]
    torch.testing.assert_close(found.similarities[1], torch.tensor([1.0, 0.4, 0.3]))
    keep = torch.tensor([[True, False, True, True], [False, True, True, True]])
    assert neighbours(similar, 2, keep).places.tolist() == [[2, 0], [3, 2]]
    assert torch.equal(similar, before)
    for count in (0, 4):
        with pytest.raises(ValueError, match=f"count={count}, but there are 3"):
            neighbours(similar, count, keep)


def test_auc_by_hand():
    higher, lower = torch.tensor([3.0, 1.0]), torch.tensor([2.0, 1.0, 0.0])
    # 3 beats all three; 1 loses to 2, ties with 1, beats 0: 4 + ½ of 6
    assert auc(higher, lower) == pytest.approx(0.75)
    assert auc(lower, higher) == pytest.approx(0.25)
    assert auc(torch.ones(4), torch.ones(5)) == 0.5
    for one, other in ((torch.ones(0), lower), (lower, torch.ones(0))):
        with pytest.raises(ValueError, match="each side needs one"):
            auc(one, other)
    with pytest.raises(ValueError, match="nan"):
        auc(torch.tensor([1.0, math.nan]), lower)


def test_auc_does_not_change_with_the_scale():
    higher, lower = random(30) + 0.3, random(40, seed=1)
    assert auc(higher.exp(), lower.exp()) == pytest.approx(auc(higher, lower))
    assert auc(higher, lower) + auc(lower, higher) == pytest.approx(1.0)


# --- contextuality


def cosine(a, b):
    return (a @ b / (a.norm() * b.norm())).item()


def test_self_similarity_is_the_mean_over_pairs():
    vectors = random(2, 5, 7)
    for depth in range(2):
        pairs = [(i, j) for i, j in product(range(5), repeat=2) if i != j]
        mean = sum(cosine(vectors[depth, i], vectors[depth, j]) for i, j in pairs) / len(pairs)
        assert self_similarity(vectors)[depth].item() == pytest.approx(mean)


def test_self_similarity_by_hand():
    # cosines 0, 3/5, 4/5 of three pairs; lengths do not matter
    vectors = torch.tensor([[2.0, 0.0], [0.0, 7.0], [3.0, 4.0]])
    assert self_similarity(vectors).item() == pytest.approx((0 + 0.6 + 0.8) / 3)
    assert self_similarity(torch.ones(4, 3)).item() == pytest.approx(1.0)
    with pytest.raises(ValueError, match="1 sentences"):
        self_similarity(torch.ones(1, 3))


def test_intra_similarity_is_that_with_the_mean():
    vectors = random(2, 5, 7)
    for depth in range(2):
        mean = vectors[depth].mean(0)
        found = sum(cosine(v, mean) for v in vectors[depth]) / 5
        assert intra_similarity(vectors)[depth].item() == pytest.approx(found)
    # (2, 0) and (0, 4): mean (1, 2)
    by_hand = (1 / math.sqrt(5) + 2 / math.sqrt(5)) / 2
    assert intra_similarity(torch.tensor([[2.0, 0.0], [0.0, 4.0]])).item() == pytest.approx(by_hand)


def test_unrelated_words_have_an_intra_similarity_of_one_over_the_root():
    assert intra_similarity(torch.eye(9)).item() == pytest.approx(1 / 3)


def test_the_baseline_is_over_pairs_of_different_texts():
    vectors, texts = random(2, 6, 4) + 0.5, torch.tensor([7, 3, 7, 9, 3, 7])
    pairs = [(i, j) for i, j in product(range(6), repeat=2) if texts[i] != texts[j]]
    for depth in range(2):
        mean = sum(cosine(vectors[depth, i], vectors[depth, j]) for i, j in pairs) / len(pairs)
        assert baseline(vectors, texts)[depth].item() == pytest.approx(mean)
    with pytest.raises(ValueError, match="none is in another text"):
        baseline(vectors, torch.full((6,), 2))


def test_random_vectors_have_no_baseline_and_a_common_part_makes_one():
    vectors, texts = random(1000, 200), torch.arange(1000)
    assert abs(baseline(vectors, texts).item()) < 0.002
    # a common part as long as the random one: cosine ½
    shifted = vectors + torch.ones(200)
    assert baseline(shifted, texts).item() == pytest.approx(0.5, abs=0.01)


# --- heads


def test_words_joined_are_found_again():
    words = ["Anna", "'s", "bike", "."]
    text, spans = join_words(words)
    assert text == "Anna 's bike ." and [text[a:b] for a, b in spans] == words
    assert join_words([]) == ("", [])


def test_attention_between_words_by_hand():
    # [CLS] a | b ##b | [SEP]: a is piece 1, b are pieces 2 and 3
    weights = torch.tensor(
        [
            [1.0, 0.0, 0.0, 0.0, 0.0],
            [0.1, 0.2, 0.3, 0.2, 0.2],
            [0.0, 0.4, 0.2, 0.1, 0.3],
            [0.2, 0.2, 0.0, 0.4, 0.2],
            [0.0, 0.0, 0.0, 0.0, 1.0],
        ]
    )
    expected = torch.tensor([[0.2, 0.5], [0.3, 0.35]])  # to b: 0.3 + 0.2; from b: means
    torch.testing.assert_close(word_weights(weights, [[1], [2, 3]]), expected)
    with pytest.raises(ValueError, match="no piece"):
        word_weights(weights, [[1], []])


def test_words_of_one_piece_keep_their_weights():
    weights = attention(2, 3, 6, 6)
    words = [[1], [2], [3], [4]]
    torch.testing.assert_close(word_weights(weights, words), weights[..., 1:5, 1:5])


def test_a_word_is_never_its_own_answer():
    weights = torch.tensor([[0.9, 0.1, 0.0], [0.2, 0.5, 0.3], [0.3, 0.7, 0.0]])
    assert most_attended(weights).tolist() == [1, 2, 1]
    # columns: looked at most by word 2, by word 2, by word 1
    assert most_attended(weights, backwards=True).tolist() == [2, 2, 1]
    assert most_attended(torch.zeros(2, 2)).tolist() == [1, 0]  # not even when nothing is looked at
    with pytest.raises(ValueError, match="no other"):
        most_attended(torch.ones(1, 1))


def test_hits_by_hand_in_both_directions():
    looks_back = torch.tensor([[0.0, 0.1, 0.0], [0.9, 0.0, 0.0], [0.1, 0.8, 0.0]])
    weights = torch.stack([looks_back, looks_back.T])
    pairs = torch.tensor([[1, 0], [2, 1], [0, 2]])  # dependent, head
    hits = relation_hits(weights, pairs)
    assert hits.shape == (2, 2, 3)
    # forwards: 1 → 0, 2 → 1, 0 → 1; the column of 1: 2 looks at it most, of 2: none, of 0: 1
    assert hits[0, 0].tolist() == [True, True, False]
    assert hits[1, 0].tolist() == [False, False, False]
    assert torch.equal(hits[0, 1], hits[1, 0]) and torch.equal(hits[1, 1], hits[0, 0])


def test_hits_are_those_of_a_loop():
    weights = attention(2, 3, 5, 5)
    pairs = torch.tensor([[0, 3], [4, 1], [2, 1], [1, 2]])
    hits = relation_hits(weights, pairs)
    for layer, head, (n, (d, h)) in product(range(2), range(3), enumerate(pairs.tolist())):
        others = [w for w in range(5) if w != d]
        best = max(others, key=lambda w: weights[layer, head, d, w])
        most = max(others, key=lambda w: weights[layer, head, w, d])
        assert hits[0, layer, head, n] == (best == h) and hits[1, layer, head, n] == (most == h)


def test_no_pair_is_no_hit():
    assert relation_hits(attention(2, 4, 4), torch.zeros(0, 2, dtype=torch.long)).shape == (2, 2, 0)


def test_offsets_point_from_the_dependent_to_its_head():
    pairs = torch.tensor([[0, 1], [3, 1], [2, 3]])
    expected = [[False, True, False], [True, False, True], [False, False, False]]
    assert offset_hits(pairs, [-2, 1, 0]).tolist() == expected


def test_entropy_by_hand():
    weights = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.25] * 4, [0.5, 0.5, 0.0, 0.0]])
    torch.testing.assert_close(entropy(weights), torch.tensor([0.0, math.log(4), math.log(2)]))


def test_attention_to_some_keys():
    weights = torch.tensor([[[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]]])
    keep = torch.tensor([True, False, True])
    torch.testing.assert_close(attention_to(weights, keep), torch.tensor([[0.8, 0.75]]))
    torch.testing.assert_close(attention_to(weights, ~keep), torch.tensor([[0.2, 0.25]]))


def test_distance_by_hand():
    weights = torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5], [0.5, 0.25, 0.25]])
    torch.testing.assert_close(attention_distance(weights), torch.tensor([1.0, 1.0, 1.25]))
    keep = torch.tensor([False, True, True])  # of the last row ¼ at 1 and ¼ at 0 are left
    torch.testing.assert_close(attention_distance(weights, keep), torch.tensor([1.0, 1.0, 0.5]))


def test_a_head_that_is_off_is_a_head_whose_columns_are_zero(encoder):
    ids, off = torch.tensor([[2, 5, 8, 9, 3]]), [(0, 1), (2, 0), (2, 1)]
    plain = encoder(ids).output
    before = {name: p.clone() for name, p in encoder.state_dict().items()}
    with heads_off(encoder, off):
        found = encoder(ids).output
        weights = encoder(ids, with_weights=True)
    assert all(torch.equal(p, before[name]) for name, p in encoder.state_dict().items())
    assert torch.equal(encoder(ids).output, plain)  # on again
    torch.testing.assert_close(weights.output, found)  # by the kernel and by hand alike
    for layer, head in off:
        encoder.layers[layer].attention.output.weight.data[:, 6 * head : 6 * head + 6] = 0
    torch.testing.assert_close(encoder(ids).output, found)
    assert not torch.allclose(found, plain)


def test_heads_are_on_again_after_an_error(encoder):
    ids = torch.tensor([[2, 5, 8, 9, 3]])
    plain = encoder(ids).output
    with pytest.raises(KeyError), heads_off(encoder, [(1, 0)]):
        raise KeyError
    assert torch.equal(encoder(ids).output, plain)


def test_heads_that_are_not_there_or_not_alone_are_refused(encoder):
    for head in ((3, 0), (0, 2), (-1, 0), (0, -1)):
        with pytest.raises(ValueError, match="there is no head"), heads_off(encoder, [head]):
            pass
    shared = Encoder(Albert(20, 12, 2, 2, 20, embedding=8)).eval()
    with pytest.raises(ValueError, match="one layer is used"), heads_off(shared, [(0, 0)]):
        pass


def test_the_cost_of_a_head(encoder):
    ids = torch.tensor([[2, 5, 8, 9, 3], [2, 7, 7, 6, 3]])

    def losses():
        return encoder(ids).output[:, 0].square().sum(dim=-1)

    costs, plain = cost_of_heads(encoder, losses), losses()
    assert costs.shape == (3, 2, 2)
    for layer, head in product(range(3), range(2)):
        with heads_off(encoder, [(layer, head)]):
            torch.testing.assert_close(costs[layer, head], losses() - plain)
    assert torch.equal(losses(), plain) and not costs.requires_grad
    encoder.layers[1].attention.output.weight.data[:, 6:] = 0
    assert cost_of_heads(encoder, losses)[1, 1].abs().max() < 1e-12  # a dead head costs nothing


def test_costs_under_dropout_are_refused(encoder):
    def losses():
        return encoder(torch.tensor([[2, 5, 8]])).output[:, 0, 0]

    encoder.train()
    with pytest.raises(ValueError, match="is dropout on"):
        cost_of_heads(encoder, losses)

"""What must be true of the encoder and its heads; test_checkpoints holds them to `transformers`.

By hand, by invariance, and by counting.
"""

from dataclasses import FrozenInstanceError, replace

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from bertfamily.attention import causal_keep
from bertfamily.encoder import (
    Albert,
    Bert,
    Config,
    Distilbert,
    Electra,
    Embeddings,
    Encoder,
    FeedForward,
    Layer,
    Roberta,
    _check_real,
    _check_rows,
    gelu_tanh,
)
from bertfamily.flavors import FLAVORS, count, without_pooler
from bertfamily.heads import (
    IGNORE_INDEX,
    IN_ORDER,
    IS_NEXT,
    IS_RANDOM,
    SWAPPED,
    MaskedTokenModel,
    PairModel,
    PretrainingModel,
    ReplacedTokenModel,
    SequenceModel,
    SpanModel,
    TokenModel,
)

torch.set_num_threads(1)
SMALL = {"vocab": 50, "hidden": 24, "layers": 3, "heads": 4, "inner": 36, "eps": 0.1}
MEMBERS = {
    "bert": Bert(**SMALL, positions=20),
    "roberta": Roberta(**SMALL),
    "distilbert": Distilbert(**SMALL, positions=20),
    "albert": Albert(**SMALL, positions=20, embedding=16),
    "electra": Electra(**SMALL, positions=20, embedding=16),
}
each_member = pytest.mark.parametrize("name", MEMBERS)


def randomised(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(0.3 * torch.randn(p.shape, generator=generator))
    return model.double().eval()


def texts(batch=3, seq=11, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(5, 50, (batch, seq), generator=generator)


# --- by hand ---


def test_a_layer_is_post_norm_by_hand():
    layer = randomised(Layer(MEMBERS["bert"]))
    x = torch.randn(2, 5, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def norm(x, module):
        deviation = x - x.mean(dim=-1, keepdim=True)
        variance = deviation.pow(2).mean(dim=-1, keepdim=True)  # biased, and eps inside the root
        return deviation / (variance + 0.1).sqrt() * module.weight + module.bias

    y = norm(x + layer.attention(x).output, layer.attention_norm)
    wide = y @ layer.feed_forward.widen.weight.T + layer.feed_forward.widen.bias
    wide = wide * 0.5 * (1 + torch.erf(wide / 2**0.5))  # the exact gelu
    narrow = wide @ layer.feed_forward.narrow.weight.T + layer.feed_forward.narrow.bias
    assert_close(layer(x)[0], norm(y + narrow, layer.feed_forward_norm))


def test_the_feed_forward_part_works_at_each_token_by_itself():
    part = randomised(FeedForward(MEMBERS["bert"]))
    x = torch.randn(1, 5, 24, dtype=torch.float64)
    changed = x.clone()
    changed[0, 2] += 1
    same = (part(x) == part(changed)).all(dim=-1)[0]
    assert same.tolist() == [True, True, False, True, True]


def test_two_thirds_of_a_layer_of_bert_base_are_feed_forward():
    with torch.device("meta"):
        layer = Layer(Bert())
    parts = layer.named_children()
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in parts}
    assert sizes["attention"] == 4 * (768 * 768 + 768) == 2_362_368
    assert sizes["feed_forward"] == 2 * 768 * 3072 + 3072 + 768 == 4_722_432
    assert sizes["attention_norm"] == sizes["feed_forward_norm"] == 1_536
    assert sum(sizes.values()) == 7_087_872 and sizes["dropout"] == 0
    assert abs(sizes["feed_forward"] / 7_087_872 - 2 / 3) < 0.001


def test_the_two_forms_of_the_gelu_differ_by_less_than_5_in_10_000():
    grid = torch.linspace(-6, 6, 1_201, dtype=torch.float64)
    apart = (gelu_tanh(grid) - torch.nn.functional.gelu(grid)).abs()
    assert 4.5e-4 < apart.max() < 4.8e-4 and abs(grid[apart.argmax()].abs() - 2.7) < 0.05


def test_an_eps_of_1e_12_is_0_in_float16_and_not_in_bfloat16():
    eps = torch.tensor(Bert().eps)
    assert eps.to(torch.float16) == 0 != eps.to(torch.bfloat16)


def test_a_layer_passes_on_what_happens_at_another_token_by_attention_alone():
    layer = randomised(Layer(MEMBERS["bert"]))
    x = torch.randn(1, 5, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    changed = x.clone()
    changed[0, 2] += 1
    moved = (layer(x)[0] != layer(changed)[0]).any(dim=-1)[0]
    assert moved.all()
    for p in layer.attention.output.parameters():
        torch.nn.init.zeros_(p)
    moved = (layer(x)[0] != layer(changed)[0]).any(dim=-1)[0]
    assert moved.tolist() == [False, False, True, False, False]


def test_embeddings_are_a_sum_of_rows_by_hand():
    tables = randomised(Embeddings(replace(MEMBERS["bert"], eps=1e-12)))
    ids, segments = torch.tensor([[7, 9, 7]]), torch.tensor([[0, 0, 1]])
    rows = tables.token.weight[[7, 9, 7]] + tables.position.weight[:3]
    rows = rows + tables.segment.weight[[0, 0, 1]]
    expected = torch.nn.functional.layer_norm(
        rows, (24,), tables.norm.weight, tables.norm.bias, 1e-12
    )
    assert_close(tables(ids, segments)[0], expected)
    assert_close(tables(ids), tables(ids, torch.zeros_like(ids)))


def test_roberta_counts_positions_from_two_and_padding_stands_at_one():
    tables = Embeddings(Roberta(vocab=10, hidden=4, heads=1, positions=12))
    ids = torch.tensor([[0, 5, 6, 2, 1, 1]])
    assert tables.positions_of(ids).tolist() == [[2, 3, 4, 5, 1, 1]]


def test_roberta_counts_past_padding_on_the_left():
    tables = Embeddings(Roberta(vocab=10, hidden=4, heads=1, positions=12))
    ids = torch.tensor([[1, 1, 0, 5, 6, 2], [1, 0, 5, 1, 6, 2]])
    assert tables.positions_of(ids).tolist() == [[1, 1, 2, 3, 4, 5], [1, 2, 3, 1, 4, 5]]


def test_label_numbers_are_those_of_the_checkpoints():
    assert (IS_NEXT, IS_RANDOM, IN_ORDER, SWAPPED, IGNORE_INDEX) == (0, 1, 0, 1, -100)


# --- by invariance ---


@each_member
def test_padding_changes_nothing(name):
    config = MEMBERS[name]
    encoder, ids = randomised(Encoder(config)), texts()
    keep = torch.arange(11) < torch.tensor([[11], [6], [1]])
    ids = ids.masked_fill(~keep, config.pad)
    padded = encoder(ids, keep=keep, with_states=True)
    for row, length in enumerate((11, 6, 1)):
        alone = encoder(ids[row : row + 1, :length], with_states=True)
        for i, (a, b) in enumerate(zip(alone.states, padded.states, strict=True)):
            assert_close(a[0], b[row, :length], msg=f"padding reaches the real tokens in layer {i}")
    without = encoder(ids).output
    assert (without - padded.output)[1, :6].abs().max() > 1e-3, "the mask is not used"


@each_member
def test_weights_on_request_change_no_output(name):
    encoder, ids = randomised(Encoder(MEMBERS[name])), texts()
    asked = encoder(ids, with_states=True, with_weights=True)
    plain = encoder(ids)
    assert_close(asked.output, plain.output)
    assert plain.states == plain.weights == ()
    assert len(asked.states) == 4 and len(asked.weights) == 3
    assert_close(asked.states[-1], asked.output, rtol=0, atol=0)
    for weights in asked.weights:
        assert_close(weights.sum(dim=-1), torch.ones(3, 4, 11, dtype=torch.float64))


@each_member
def test_dropout_acts_in_training_only(name):
    config = replace(MEMBERS[name], dropout=0.5)
    encoder, ids = randomised(Encoder(config)), texts()
    assert_close(encoder(ids).output, encoder(ids).output, rtol=0, atol=0)
    encoder.train()
    assert not torch.equal(encoder(ids).output, encoder(ids).output)


def test_both_dropouts_reach_every_layer():
    for kind in ("dropout", "attention_dropout"):
        config = Bert(**SMALL, dropout=0.0, attention_dropout=0.0)
        encoder = randomised(Encoder(replace(config, **{kind: 0.5})))
        for layer in encoder.layers:
            x = torch.randn(1, 5, 24, dtype=torch.float64)
            assert_close(layer.eval()(x)[0], layer(x)[0], rtol=0, atol=0)
            assert not torch.equal(layer.train()(x)[0], layer(x)[0]), kind


def test_shared_layers_are_one_layer():
    assert len(Encoder(MEMBERS["albert"]).layers) == 1
    encoder = randomised(Encoder(MEMBERS["albert"]))
    calls = []
    encoder.layers[0].register_forward_hook(lambda *_: calls.append(1))
    encoder(texts())
    assert len(calls) == 3


@each_member
def test_every_parameter_gets_a_gradient(name):
    encoder = randomised(Encoder(MEMBERS[name]))
    segments = (torch.arange(11) > 5).long().expand(3, -1)
    output, pooled, *_ = encoder(texts(), segments if encoder.config.segments > 1 else None)
    loss = output.sin().sum() + (0 if pooled is None else pooled.sum())
    loss.backward()
    for key, p in encoder.named_parameters():
        assert p.grad is not None and (p.grad != 0).any(), f"{key} gets no gradient"


def test_chosen_tokens_get_the_same_logits():
    model, ids = randomised(MaskedTokenModel(MEMBERS["bert"])), texts()
    chosen = torch.rand(ids.shape, generator=torch.Generator().manual_seed(0)) < 0.3
    assert_close(model(ids, chosen=chosen), model(ids)[chosen])


def test_the_decoder_is_the_token_table():
    model, ids = randomised(MaskedTokenModel(MEMBERS["bert"])), texts()
    with torch.no_grad():
        before = model(ids)
        model.encoder.embeddings.token.weight[49] = 0.0  # an id that the text has not
        after = model(ids.clamp(max=48))
    changed = (model.masked_token.bias[49] - after[..., 49]).abs().max()
    assert changed < 1e-12 and not torch.equal(before[..., 49], after[..., 49])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_less_precision_gives_nearly_the_same(dtype):
    encoder, ids = randomised(Encoder(MEMBERS["bert"])), texts()
    exact = encoder(ids).output
    rounded = encoder.to(dtype)(ids).output
    assert rounded.dtype == dtype
    error = (rounded.double() - exact).std() / exact.std()
    assert error < (0.03 if dtype == torch.bfloat16 else 1e-5)


# --- bad input ---


@pytest.mark.parametrize("wrong", [50, -1, 10**6])
def test_an_id_without_a_row_is_named(wrong):
    encoder = Encoder(MEMBERS["bert"])
    with pytest.raises(ValueError, match=f"there is no id {wrong}: there are 50, from 0; do the"):
        encoder(torch.tensor([[7, wrong, 9]]))
    with pytest.raises(ValueError, match=f"there is no segment {wrong}: there are 2, from 0"):
        encoder(torch.tensor([[7, 8, 9]]), torch.tensor([[0, wrong, 1]]))
    with pytest.raises(ValueError, match="there is no segment 1: there are 1"):
        Encoder(MEMBERS["roberta"])(torch.tensor([[7, 8]]), torch.tensor([[0, 1]]))


def test_the_first_and_the_last_row_are_rows():
    table = torch.nn.Embedding(3, 2)
    _check_rows("id", torch.tensor([0, 2]), table, "")
    encoder = Encoder(MEMBERS["bert"])
    assert encoder(torch.tensor([[0, 49]]), torch.tensor([[0, 1]])).output.isfinite().all()


@pytest.mark.parametrize("shape", [(3,), (1, 0), (0, 3), (0,), (1, 2, 3)], ids=str)
def test_ids_of_another_shape_than_batch_and_seq_are_named(shape):
    read = Embeddings.forward
    while hasattr(read, "__wrapped__"):  # without the checks of shapes, as for a reader
        read = read.__wrapped__
    with pytest.raises(ValueError, match=r"ids has shape \(.*\); .* pass ids\[None\]"):
        read(Embeddings(MEMBERS["bert"]), torch.ones(shape, dtype=torch.long))


# --- masks of two axes: real tokens, or an error ---


def lengths_to_keep(*lengths):
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


OF_QUERIES = {
    "causal": causal_keep(4),
    "causal from the right": causal_keep(4).T,
    "a window": causal_keep(5) & ~causal_keep(5).tril(-2),
    "neighbours": (torch.arange(6)[:, None] - torch.arange(6)).abs() < 2,
    "two texts in a row": torch.block_diag(torch.ones(2, 2), torch.ones(3, 3)).bool(),
}


@pytest.mark.parametrize("keep", OF_QUERIES.values(), ids=OF_QUERIES)
def test_a_mask_of_queries_is_not_taken_for_padding(keep):
    """As many texts as tokens, so that its shape is that of a mask of real tokens."""
    encoder, ids = randomised(Encoder(MEMBERS["bert"])), texts(len(keep), len(keep))
    with pytest.raises(ValueError, match=r"looks like a mask of \(q, k\).* pass keep\[None\]"):
        encoder(ids, keep=keep)
    asked = encoder(ids, keep=keep[None], with_weights=True)
    assert all((weights[:, :, ~keep] == 0).all() for weights in asked.weights)


@pytest.mark.parametrize("lengths", [(4, 4, 4, 4), (3, 3, 4, 4), (4, 3, 2, 2), (1,), (2, 2)])
def test_as_many_padded_texts_as_tokens_are_read(lengths):
    encoder, right = randomised(Encoder(MEMBERS["bert"])), lengths_to_keep(*lengths)
    for keep in (right, right.flip(1)):  # padding on the right, and on the left
        ids, of_queries = texts(*keep.shape), keep[:, None].expand(-1, keep.shape[1], -1)
        assert_close(encoder(ids, keep=keep).output, encoder(ids, keep=of_queries).output)


def test_a_mask_of_another_shape_than_the_ids_is_named():
    with pytest.raises(ValueError, match=r"keep has shape \(5, 5\), ids \(3, 5\); pass True"):
        _check_real(causal_keep(5), torch.ones(3, 5))


# --- sizes ---


def test_512_tokens_fit_and_513_do_not():
    encoder = Encoder(replace(Bert(**SMALL), layers=1)).eval()
    assert encoder(torch.ones(1, 512).long()).output.shape == (1, 512, 24)
    with pytest.raises(ValueError, match="a text of 513 tokens is too long: .* positions for 512"):
        encoder(torch.ones(1, 513).long())
    roberta = Encoder(replace(Roberta(**SMALL), layers=1)).eval()
    assert roberta(torch.full((1, 512), 5)).output.shape == (1, 512, 24)
    with pytest.raises(ValueError, match="a text of 513 tokens is too long: .* positions for 512"):
        roberta(torch.full((1, 513), 5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 5}, "hidden=768 is not a multiple of heads=5"),
        ({"layers": 0}, "layers=0"),
        ({"pad": 30_522}, "pad=30522 is not an id"),
        ({"dropout": 1.5}, "dropout"),
    ],
    ids=str,
)
def test_sizes_that_cannot_be_are_named(change, message):
    with pytest.raises(ValueError, match=message), torch.device("meta"):
        Encoder(Bert(**change))


def test_a_config_cannot_be_changed_behind_a_model():
    with pytest.raises(FrozenInstanceError):
        Bert().hidden = 3


PUBLISHED = {
    "bert-base-uncased": 109_482_240,
    "bert-base-cased": 108_310_272,
    "bert-base-multilingual-cased": 177_853_440,
    "bert-large-uncased": 335_141_888,
    "bert-large-cased": 333_579_264,
    "roberta-base": 124_645_632,
    "roberta-large": 355_359_744,
    "distilroberta-base": 82_118_400,
    "distilbert-base-uncased": 66_362_880,
    "distilbert-base-cased": 65_190_912,
    "albert-base-v2": 11_683_584,
    "albert-large-v2": 17_683_968,
    "albert-xlarge-v2": 58_724_864,
    "albert-xxlarge-v2": 222_595_584,
    "google/electra-small-discriminator": 13_483_008,
    "google/electra-base-discriminator": 108_891_648,
    "google/electra-large-discriminator": 334_092_288,
    "SpanBERT/spanbert-large-cased": 333_579_264,
    "huawei-noah/TinyBERT_General_4L_312D": 14_350_248,
}
HEADS = [
    ("bert-base-uncased", PretrainingModel, (), 110_106_428),
    ("bert-base-cased", PretrainingModel, (), 108_932_934),
    ("bert-large-uncased", PretrainingModel, (), 336_226_108),
    ("bert-large-cased", PretrainingModel, (), 334_661_958),
    ("bert-base-uncased", MaskedTokenModel, (), 109_514_298),
    ("bert-base-cased", MaskedTokenModel, (), 108_340_804),
    ("bert-large-uncased", MaskedTokenModel, (), 335_174_458),
    ("bert-base-uncased", PairModel, (), 109_483_778),
    ("bert-base-uncased", SequenceModel, (2,), 109_483_778),
    ("bert-large-uncased", SequenceModel, (2,), 335_143_938),
    ("bert-base-uncased", SpanModel, (), 108_893_186),
    ("bert-base-uncased", TokenModel, (9,), 108_898_569),
    ("roberta-base", MaskedTokenModel, (), 124_697_433),
    ("roberta-large", MaskedTokenModel, (), 355_412_057),
    ("distilroberta-base", MaskedTokenModel, (), 82_170_201),
    ("roberta-base", SequenceModel, (2,), 124_647_170),
    ("albert-base-v2", MaskedTokenModel, (), 11_221_680),
    ("albert-base-v2", PretrainingModel, (), 11_813_810),
    ("google/electra-small-discriminator", ReplacedTokenModel, (), 13_549_057),
    ("google/electra-base-discriminator", ReplacedTokenModel, (), 109_483_009),
    ("google/electra-large-discriminator", ReplacedTokenModel, (), 335_142_913),
    ("google/electra-small-generator", MaskedTokenModel, (), 13_546_682),
    ("google/electra-base-generator", MaskedTokenModel, (), 33_740_602),
    ("google/electra-large-generator", MaskedTokenModel, (), 51_295_290),
    ("distilbert-base-uncased", MaskedTokenModel, (), 66_985_530),
    ("distilbert-base-uncased", SequenceModel, (2,), 66_955_010),
    ("distilbert-base-uncased", SpanModel, (), 66_364_418),
]


@pytest.mark.parametrize(("name", "expected"), PUBLISHED.items())
def test_the_published_counts_of_bodies_come_out(name, expected):
    assert count(FLAVORS[name]) == expected


@pytest.mark.parametrize(("name", "model", "arguments", "expected"), HEADS, ids=str)
def test_the_published_counts_of_models_come_out(name, model, arguments, expected):
    assert count(FLAVORS[name], model, *arguments) == expected


# What the config.json files on the hub say, which no count of parameters sees.
# layers, hidden, heads, inner, embedding
SHAPES = {
    "bert-base-uncased": (12, 768, 12, 3072, None),
    "bert-base-cased": (12, 768, 12, 3072, None),
    "bert-base-multilingual-cased": (12, 768, 12, 3072, None),
    "bert-large-uncased": (24, 1024, 16, 4096, None),
    "bert-large-cased": (24, 1024, 16, 4096, None),
    "google/bert_uncased_L-2_H-128_A-2": (2, 128, 2, 512, None),
    "google/bert_uncased_L-4_H-256_A-4": (4, 256, 4, 1024, None),
    "google/bert_uncased_L-4_H-512_A-8": (4, 512, 8, 2048, None),
    "google/bert_uncased_L-8_H-512_A-8": (8, 512, 8, 2048, None),
    "roberta-base": (12, 768, 12, 3072, None),
    "roberta-large": (24, 1024, 16, 4096, None),
    "distilroberta-base": (6, 768, 12, 3072, None),
    "distilbert-base-uncased": (6, 768, 12, 3072, None),
    "distilbert-base-cased": (6, 768, 12, 3072, None),
    "albert-base-v2": (12, 768, 12, 3072, 128),
    "albert-large-v2": (24, 1024, 16, 4096, 128),
    "albert-xlarge-v2": (24, 2048, 16, 8192, 128),
    "albert-xxlarge-v2": (12, 4096, 64, 16384, 128),
    "google/electra-small-discriminator": (12, 256, 4, 1024, 128),
    "google/electra-small-generator": (12, 256, 4, 1024, 128),
    "google/electra-base-discriminator": (12, 768, 12, 3072, None),
    "google/electra-base-generator": (12, 256, 4, 1024, 768),
    "google/electra-large-discriminator": (24, 1024, 16, 4096, None),
    "google/electra-large-generator": (24, 256, 4, 1024, 1024),
    "SpanBERT/spanbert-base-cased": (12, 768, 12, 3072, None),
    "SpanBERT/spanbert-large-cased": (24, 1024, 16, 4096, None),
    "huawei-noah/TinyBERT_General_4L_312D": (4, 312, 12, 1200, None),
    "huawei-noah/TinyBERT_General_6L_768D": (6, 768, 12, 3072, None),
    "microsoft/MiniLM-L12-H384-uncased": (12, 384, 12, 1536, None),
    "sentence-transformers/all-MiniLM-L6-v2": (6, 384, 12, 1536, None),
}
# eps, dropout, attention_dropout, activation, positions, segments, pad
RATES = {
    Bert: (1e-12, 0.1, 0.1, F.gelu, 512, 2, 0),
    Roberta: (1e-5, 0.1, 0.1, F.gelu, 514, 1, 1),
    Distilbert: (1e-12, 0.1, 0.1, F.gelu, 512, 0, 0),
    Albert: (1e-12, 0.0, 0.0, gelu_tanh, 512, 2, 0),
    Electra: (1e-12, 0.1, 0.1, F.gelu, 512, 2, 0),
}
VOCABULARIES = {Bert: 30_522, Roberta: 50_265, Distilbert: 30_522, Albert: 30_000, Electra: 30_522}


@pytest.mark.parametrize("name", FLAVORS)
def test_sizes_and_rates_are_the_published_ones(name):
    config = FLAVORS[name]
    shape = config.layers, config.hidden, config.heads, config.inner, config.embedding
    assert shape == SHAPES[name]
    rates = config.eps, config.dropout, config.attention_dropout, config.activation
    assert (*rates, config.positions, config.segments, config.pad) == RATES[type(config)]
    cased = name.endswith("-cased") and "roberta" not in name
    vocab = 28_996 if cased else VOCABULARIES[type(config)]
    assert config.vocab == (119_547 if "multilingual" in name else vocab)


# In a text head: the map between, its activation and the dropout before the classes (and before
# the map); the dropout of tagging; the activation of the masked-token head.
HEADS_OF = {
    Bert: (None, [0.1], 0.1, F.gelu),
    Roberta: (torch.tanh, [0.1, 0.1], 0.1, F.gelu),
    Distilbert: (F.relu, [0.2], 0.1, F.gelu),
    Albert: (None, [0.1], 0.1, gelu_tanh),
    Electra: (F.gelu, [0.1, 0.1], 0.1, F.gelu),
}


@pytest.mark.parametrize("kind", HEADS_OF)
def test_rates_and_activations_of_heads_are_the_published_ones(kind):
    activation, drops, tagging, masked = HEADS_OF[kind]
    config, seen = kind(**SMALL, positions=514), []
    model = SequenceModel(config, 3).train()
    model.dropout.register_forward_hook(lambda module, *_: seen.append(module.p))
    model(texts())
    assert (model.activation, seen) == (activation, drops)
    assert (model.dense is None) == (model.encoder.pooler is not None) == (activation is None)
    assert TokenModel(config, 3).dropout.p == tagging
    assert MaskedTokenModel(config).masked_token.activation is masked
    other = replace(config, activation=torch.sin)
    expected = torch.sin if kind in (Bert, Distilbert, Albert) else F.gelu
    assert MaskedTokenModel(other).masked_token.activation is expected
    for model in (SequenceModel(config, 3, 0.7), TokenModel(config, 3, 0.7)):
        assert model.dropout.p == 0.7
    assert SequenceModel(config, 3, dropout=0.0).dropout.p == 0.0


def test_bert_without_its_pooler():
    assert count(without_pooler(Bert())) == 108_891_648
    assert count(without_pooler(FLAVORS["roberta-base"])) == 124_055_040


def test_a_variant_states_only_what_it_changes():
    default = Config()
    for member in (Bert(), Roberta(), Distilbert(), Albert(), Electra()):
        stated = {k for k in type(member).__annotations__ if k in vars(type(member))}
        changed = {k for k, v in vars(member).items() if v != getattr(default, k)}
        assert {k for k in changed if k in stated} == changed

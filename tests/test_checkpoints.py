"""The oracle: whatever `transformers` saves we load, and every number agrees; and back again.

Tiny models with random biases and norms and a large eps: as initialised, two exchanged norms, a
forgotten bias or a wrong eps would not show.
"""

import copy
import json

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from bertfamily.checkpoints import load, read_config, save
from bertfamily.corpora import MINILM, RXNFP, RXNMAPPER, carried
from bertfamily.encoder import Config, Encoder
from bertfamily.heads import (
    IGNORE_INDEX,
    MaskedTokenModel,
    PairModel,
    PretrainingModel,
    ReplacedTokenModel,
    SequenceModel,
    SpanModel,
    TokenModel,
    replaced_loss,
    span_loss,
    token_loss,
)

torch.set_num_threads(1)
transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

SIZES = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 50}
SIZES |= {"intermediate_size": 36, "max_position_embeddings": 20, "layer_norm_eps": 0.1}
CONFIGS = {
    "bert": transformers.BertConfig(**SIZES, hidden_act="gelu"),
    "bert-relu": transformers.BertConfig(**SIZES, hidden_act="relu", type_vocab_size=3),
    "bert-wide": transformers.BertConfig(**SIZES | {"num_attention_heads": 12}, pad_token_id=3),
    "roberta": transformers.RobertaConfig(**SIZES | {"max_position_embeddings": 22}),
    "roberta-tanh": transformers.RobertaConfig(
        **SIZES, hidden_act="gelu_new", type_vocab_size=1, pad_token_id=4
    ),
    "electra": transformers.ElectraConfig(**SIZES, embedding_size=16),
    "electra-wide": transformers.ElectraConfig(**SIZES, embedding_size=24, hidden_act="relu"),
    "albert": transformers.AlbertConfig(**SIZES, embedding_size=16),
    "albert-gelu": transformers.AlbertConfig(**SIZES, embedding_size=24, hidden_act="gelu"),
    "distilbert": transformers.DistilBertConfig(
        dim=24, n_layers=3, n_heads=4, hidden_dim=36, vocab_size=50, max_position_embeddings=20
    ),
    "distilbert-relu": transformers.DistilBertConfig(
        dim=24, n_layers=2, n_heads=2, hidden_dim=20, vocab_size=50, activation="relu"
    ),
}  # fmt: skip
HEADS = ("Model", "ForMaskedLM", "ForPreTraining", "ForNextSentencePrediction")
HEADS += ("ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")


def their_class(config, head):
    name = type(config).__name__.removesuffix("Config")
    return getattr(transformers, name + head, None)


CASES = [(n, h) for n, c in CONFIGS.items() for h in HEADS if their_class(c, h)]
PRECISE = {torch.float64: 1e-10, torch.float32: 1e-5}


def make(name, head, dtype=torch.float64, **settings):
    """A model of `transformers` with random parameters, in eval mode."""
    config = copy.deepcopy(CONFIGS[name])
    config.update({key: value for key, value in settings.items() if hasattr(config, key)})
    config.num_labels = 5 if "Classification" in head else 2
    config._attn_implementation = "eager"
    torch.manual_seed(len(name + head))
    theirs = their_class(config, head)(config)
    for p in theirs.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return theirs.to(dtype).eval()


def batch(name):
    """Ids, segments and a ragged attention mask; padding has the padding id."""
    generator = torch.Generator().manual_seed(1)
    pad = CONFIGS[name].pad_token_id
    ids = torch.randint(5, 50, (3, 11), generator=generator)
    mask = (torch.arange(11) < torch.tensor([[11], [7], [1]])).long()
    ids = ids.masked_fill(mask == 0, pad)
    segments = (torch.arange(11) >= 5).long().expand(3, -1).contiguous()
    if getattr(CONFIGS[name], "type_vocab_size", 1) < 2:
        segments = torch.zeros_like(ids)
    return ids, segments, mask


def compare(pairs, tolerance):
    """Fail at the first tensor that differs, and name it."""
    for what, ours, theirs in pairs:
        assert ours.shape == theirs.shape, f"{what}: {ours.shape}, not {theirs.shape}"
        difference = (ours - theirs).abs().max().item()
        assert difference < tolerance, f"{what} is the first that differs: by {difference}"


def their_call(name, theirs, ids, segments, mask):
    call = {"input_ids": ids, "attention_mask": mask, "return_dict": True}
    call |= {} if name.startswith("distilbert") else {"token_type_ids": segments}
    return theirs(**call, output_hidden_states=True, output_attentions=True)


def logits_of(output):
    """Every logit of an output of theirs, in the order of ours."""
    names = ("logits", "prediction_logits", "seq_relationship_logits", "sop_logits")
    names += ("start_logits", "end_logits")
    return [getattr(output, name) for name in names if getattr(output, name, None) is not None]


def ours_as_list(output):
    return list(output) if isinstance(output, tuple) else [output]


@pytest.fixture(params=CASES, ids="-".join)
def case(request, tmp_path):
    name, head = request.param
    theirs = make(name, head)
    theirs.save_pretrained(tmp_path)
    return name, head, theirs, load(tmp_path)


@pytest.mark.parametrize("dtype", PRECISE, ids=str)
def test_every_number_agrees(case, dtype):
    name, head, theirs, ours = case
    theirs, ours = theirs.to(dtype), ours.to(dtype)
    ids, segments, mask = batch(name)
    keep = mask.bool()
    encoder = ours if head == "Model" else ours.encoder
    with torch.no_grad():
        expected = their_call(name, theirs, ids, segments, mask)
        seen = encoder(ids, segments, keep, with_states=True, with_weights=True)
        fast = encoder(ids, segments, keep)
        output = ours(ids, segments, keep)
    pairs = [
        (f"state {i}", *p)
        for i, p in enumerate(zip(seen.states, expected.hidden_states, strict=True))
    ]
    maps = zip(seen.weights, expected.attentions, strict=True)
    pairs += [(f"map of layer {i}", *p) for i, p in enumerate(maps, 1)]
    pairs += [("fast path", fast.output[keep], seen.output[keep])]
    if head == "Model":
        pairs += [("output", seen.output, expected.last_hidden_state)]
        if getattr(expected, "pooler_output", None) is not None:
            pairs += [("pooled", seen.pooled, expected.pooler_output)]
    else:
        both = zip(ours_as_list(output), logits_of(expected), strict=True)
        pairs += [(f"logits {i}", *p) for i, p in enumerate(both)]
    compare(pairs, PRECISE[dtype])


def test_the_gradient_of_every_parameter_agrees(case, tmp_path):
    name, head, theirs, ours = case
    ids, segments, mask = batch(name)
    expected = their_call(name, theirs, ids, segments, mask)
    extra = {"with_weights": True} if head == "Model" else {}  # by the formula, not the kernel
    output = ours(ids, segments, mask.bool(), **extra)

    def scalar(tensors):
        return sum(
            (t * torch.linspace(-1, 1, t.numel(), dtype=t.dtype).view_as(t)).sum() for t in tensors
        )

    if head == "Model":
        tensors = [output.output], [expected.last_hidden_state]
        if getattr(expected, "pooler_output", None) is not None:
            tensors = [*tensors[0], output.pooled], [*tensors[1], expected.pooler_output]
    else:
        tensors = ours_as_list(output), logits_of(expected)
    for side in tensors:
        scalar(side).backward()
    for model in (ours, theirs):  # what was saved was the parameters; now their gradients
        for p in model.parameters():
            p.data = torch.zeros_like(p) if p.grad is None else p.grad.clone()
    theirs.save_pretrained(tmp_path / "gradients")
    expected_gradients = load(tmp_path / "gradients").state_dict()
    pairs = [(f"gradient of {k}", v, expected_gradients[k]) for k, v in ours.state_dict().items()]
    compare(pairs, 1e-9)


@pytest.mark.parametrize(("name", "head"), CASES, ids=str)
def test_dropout_acts_where_it_acts_in_transformers(name, head, tmp_path):
    """With the same random numbers both drop the same, so every number agrees in training too."""
    # In theirs ALBERT drops nothing after the feed-forward part, DistilBERT after attention.
    albert = name.startswith("albert")
    rates = {"hidden_dropout_prob": 0.0 if albert else 0.2, "attention_probs_dropout_prob": 0.0}
    rates |= {"dropout": 0.0, "attention_dropout": 0.0, "qa_dropout": 0.0}
    rates |= {"classifier_dropout": 0.3, "seq_classif_dropout": 0.4}
    rates |= {"classifier_dropout_prob": 0.0 if head == "ForPreTraining" else 0.3}
    theirs = make(name, head, **rates).train()
    theirs.save_pretrained(tmp_path)
    ours, (ids, segments, mask) = load(tmp_path).train(), batch(name)
    torch.manual_seed(5)
    expected = their_call(name, theirs, ids, segments, mask)
    torch.manual_seed(5)
    if head == "Model":
        pairs = [("output", ours(ids, segments, mask.bool()).output, expected.last_hidden_state)]
    else:
        got = ours_as_list(ours(ids, segments, mask.bool()))
        pairs = zip(["logits"] * len(got), got, logits_of(expected), strict=True)
    compare(pairs, 1e-10)


@pytest.mark.parametrize("name", ["bert", "roberta", "electra", "distilbert"])
def test_attention_drops_the_weights_that_transformers_drops(name, tmp_path):
    rates = {"attention_dropout": 0.4, "attention_probs_dropout_prob": 0.4, "dropout": 0.0}
    theirs = make(name, "Model", **rates).train()
    theirs.save_pretrained(tmp_path)
    ours, (ids, segments, mask) = load(tmp_path).train(), batch(name)
    torch.manual_seed(5)
    expected = their_call(name, theirs, ids, segments, mask).last_hidden_state
    torch.manual_seed(5)
    compare(
        [("output", ours(ids, segments, mask.bool(), with_weights=True).output, expected)], 1e-10
    )


@pytest.mark.parametrize("case", [c for c in CASES if c[1] != "Model"], ids="-".join, indirect=True)
def test_the_loss_agrees(case):
    name, _, theirs, ours = case
    ids, segments, mask = batch(name)
    generator = torch.Generator().manual_seed(2)

    def draw(high, *shape):
        return torch.randint(high, shape, generator=generator)

    tokens = draw(50, *ids.shape).masked_fill(draw(3, *ids.shape) > 0, IGNORE_INDEX)
    pairs, tags, classes = draw(2, 3), draw(5, *ids.shape), draw(5, 3)
    start, end, replaced = draw(11, 3), draw(11, 3), draw(2, *ids.shape)
    output, kind = ours(ids, segments, mask.bool()), type(ours)
    if kind is MaskedTokenModel:
        loss, labels = token_loss(output, tokens), {"labels": tokens}
    elif kind is PretrainingModel:
        loss = token_loss(output.tokens, tokens) + token_loss(output.pairs, pairs)
        second = "sentence_order_label" if name.startswith("albert") else "next_sentence_label"
        labels = {"labels": tokens, second: pairs}
    elif kind is PairModel:
        loss, labels = token_loss(output, pairs), {"labels": pairs}
    elif kind is SequenceModel:
        loss, labels = token_loss(output, classes), {"labels": classes}
    elif kind is TokenModel:
        loss, labels = token_loss(output, tags), {"labels": tags}
    elif kind is SpanModel:
        loss = span_loss(output, start, end)
        labels = {"start_positions": start, "end_positions": end}
    else:
        loss = replaced_loss(output, replaced.bool(), mask.bool())
        labels = {"labels": replaced}
    call = {"input_ids": ids, "attention_mask": mask, **labels}
    call |= {} if name.startswith("distilbert") else {"token_type_ids": segments}
    tolerance = 1e-7 if kind is ReplacedTokenModel else 1e-10  # theirs takes float32 labels there
    compare([("loss", loss, theirs(**call).loss)], tolerance)


def test_what_we_save_transformers_loads(case, tmp_path):
    name, head, theirs, ours = case
    save(ours, tmp_path / "ours")
    again, report = type(theirs).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"], report
    assert not report["mismatched_keys"], report
    ids, segments, mask = batch(name)
    again = again.to(torch.float64).eval()
    with torch.no_grad():
        before = their_call(name, theirs, ids, segments, mask)
        after = their_call(name, again, ids, segments, mask)
    compare([("last state", after.hidden_states[-1], before.hidden_states[-1])], 1e-10)
    both = zip(logits_of(after), logits_of(before), strict=True)
    compare([(f"logits {i}", *p) for i, p in enumerate(both)], 1e-10)
    assert sorted(p.name for p in (tmp_path / "ours").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]


# --- real checkpoints, out of the pinned archives


# Acetic acid and ethanol give ethyl acetate: atoms, bonds and brackets are tokens.
REACTION = [*"CC(=O)O.OCC", ">>", *"CC(=O)OCC"]


def test_minilm_equals_transformers_on_real_text():
    folder = carried(MINILM)
    sha256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    ours = load(folder, sha256=sha256).double()
    theirs = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager")
    theirs = theirs.double().eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    texts = ["If you don't stop at the sign, you will get a ticket.", "Another beautiful day"]
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    ids, keep = inputs["input_ids"], inputs["attention_mask"].bool()
    with torch.no_grad():
        seen = ours(ids, inputs["token_type_ids"], keep, with_states=True, with_weights=True)
        expected = theirs(**inputs, output_hidden_states=True, output_attentions=True)
    pairs = zip(seen.states, expected.hidden_states, strict=True)
    compare([(f"state {i}", a[keep], b[keep]) for i, (a, b) in enumerate(pairs)], 1e-9)
    pairs = zip(seen.weights, expected.attentions, strict=True)
    compare([(f"map of layer {i}", *p) for i, p in enumerate(pairs, 1)], 1e-9)
    compare([("pooled", seen.pooled, expected.pooler_output)], 1e-9)


@pytest.mark.parametrize(
    ("archive", "model", "theirs"),
    [
        (RXNMAPPER, MaskedTokenModel, transformers.AlbertForMaskedLM),
        (RXNFP, PretrainingModel, transformers.BertForPreTraining),
    ],
    ids=["rxnmapper", "rxnfp"],
)
def test_reaction_models_equal_transformers(archive, model, theirs):
    folder = carried(archive)
    with pytest.raises(ValueError, match="is a pickled file.*allow_pickle=True"):
        load(folder)
    ours = load(folder, model, allow_pickle=True).double()
    theirs = theirs.from_pretrained(folder).double().eval()
    vocab = (folder / "vocab.txt").read_text("utf-8").splitlines()
    ids = torch.tensor([[vocab.index(token) for token in ["[CLS]", *REACTION, "[SEP]"]]])
    masked = ids.clone()
    masked[0, 5] = vocab.index("[MASK]")
    with torch.no_grad():
        pairs = zip(ours_as_list(ours(masked)), logits_of(theirs(masked)), strict=True)
        compare([(f"logits {i}", *p) for i, p in enumerate(pairs)], 1e-8)
        guess = ours_as_list(ours(masked))[0][0, 5].argmax()
    assert vocab[guess] == "O", "the models know what stands behind a double bond"


# --- what is damaged, old, foreign or dangerous


@pytest.fixture
def saved(tmp_path):
    """A small BERT with a masked-token head, saved by transformers."""
    theirs = make("bert", "ForMaskedLM", torch.float32)
    theirs.save_pretrained(tmp_path)
    return tmp_path


def change(folder, **settings):
    path = folder / "config.json"
    text = json.loads(path.read_text("utf-8")) | settings
    path.write_text(json.dumps(text), "utf-8")


def rewrite(folder, function):
    path = folder / "model.safetensors"
    tensors = function({k: v.clone() for k, v in load_file(path).items()})
    save_file(tensors, path, metadata={"format": "pt"})


def refused(folder, *parts, error=ValueError, **options):
    with pytest.raises(error) as refusal:
        load(folder, **options)
    for part in parts:
        assert part in str(refusal.value), f"{part!r} is not in: {refusal.value}"


def test_a_missing_tensor_is_named(saved):
    key = "bert.encoder.layer.1.output.LayerNorm.bias"
    rewrite(saved, lambda t: {k: v for k, v in t.items() if k != key})
    refused(saved, "lacks 1 tensors", key.removeprefix("bert."), str(saved))


def test_a_tensor_without_a_place_is_named(saved):
    rewrite(saved, lambda t: t | {"bert.encoder.layer.9.extra": torch.zeros(2)})
    refused(saved, "1 tensors that MaskedTokenModel has no place for", "encoder.layer.9.extra")


def test_a_wrong_shape_is_named_with_both_shapes(saved):
    change(saved, intermediate_size=40)
    refused(saved, "intermediate.dense", "(36, 24)", "(40, 24)", "do not belong together")


@pytest.mark.parametrize("part", ["query", "key", "value"])
def test_the_one_of_three_that_has_a_wrong_shape_is_named(saved, part):
    key = f"bert.encoder.layer.0.attention.self.{part}.weight"
    rewrite(saved, lambda t: t | {key: torch.zeros(48, 24)})
    refused(saved, f"{part}.weight has shape (48, 24)", "makes it (24, 24)")
    rewrite(saved, lambda t: t | {key: torch.tensor(1.0)})
    refused(saved, f"{part}.weight has shape ()", "makes it (24, 24)")


TABLE = "bert.embeddings.word_embeddings.weight"


@pytest.mark.parametrize("off", [1.0, 1e-7])
def test_a_tensor_that_is_not_its_twin_is_refused(saved, off):
    def nearly(tensors):
        copy = tensors[TABLE].clone()
        copy[7, 3] += off
        return tensors | {"cls.predictions.decoder.weight": copy}

    rewrite(saved, nearly)
    refused(saved, "cls.predictions.decoder.weight differs from embeddings.word_embeddings.weight")


@pytest.mark.parametrize("key", [TABLE, "bert.encoder.layer.2.output.dense.bias"])
def test_a_nan_is_named(saved, key):
    def broken(tensors):
        tensors[key].view(-1)[5] = torch.nan
        return tensors | {"cls.predictions.decoder.weight": tensors[TABLE].clone()}

    rewrite(saved, broken)
    refused(saved, " has nan in it", key.removeprefix("bert.") if key != TABLE else "")


@pytest.mark.parametrize("kind", [torch.int64, torch.bool], ids=str)
def test_weights_are_fractions(saved, kind):
    key = "bert.encoder.layer.1.output.dense.weight"
    rewrite(saved, lambda t: t | {key: t[key].to(kind)})
    refused(saved, f"encoder.layer.1.output.dense.weight is of {kind}")


# --- numbers of several types


@pytest.mark.parametrize("store", [torch.float32, torch.float16, torch.bfloat16, torch.int8])
def test_what_is_stored_in_fewer_bits_can_be_used_as_it_is_loaded(saved, store, tmp_path):
    model = load(saved).float()
    save(model, tmp_path / "again", store=store)
    again = load(tmp_path / "again")
    (kind,) = {p.dtype for p in again.parameters()}
    assert kind == (torch.float32 if store == torch.int8 else store)
    ids, _, mask = batch("bert")
    exact = model(ids, keep=mask.bool())
    error = (again(ids, keep=mask.bool()).float() - exact)[mask.bool()].std() / exact.std()
    assert error < {torch.float32: 1e-6, torch.float16: 2e-3}.get(store, 0.03)


def test_int8_keeps_each_number_to_half_a_step_and_the_largest_exactly(saved, tmp_path):
    model = load(saved).float()
    with torch.no_grad():
        table = model.encoder.embeddings.token.weight
        table[3], table[4] = -table[3].abs(), 0.0  # the largest is negative; a row of zeros
    save(model, tmp_path / "again", store=torch.int8)
    stored = load_file(tmp_path / "again" / "model.safetensors")
    again = load(tmp_path / "again")
    whole, scale = stored[TABLE], stored[TABLE + ".scale"]
    assert whole.dtype == torch.int8 and scale.dtype == torch.float32
    assert (whole.int().abs().amax(dim=1)[[0, 1, 2, 3]] == 127).all() and whole.min() >= -127
    for (name, before), after in zip(model.named_parameters(), again.parameters(), strict=True):
        if before.dim() == 2:
            largest = before.abs().amax(dim=1)
            assert ((after - before).abs() <= largest[:, None] / 127 / 2 * 1.001).all(), name
            assert_close(after.abs().amax(dim=1), largest, rtol=1e-6, atol=0)
        else:
            assert_close(after, before, rtol=1e-3, atol=1e-6)


def test_a_file_of_two_types_takes_the_wider(saved):
    key = "bert.encoder.layer.0.intermediate.dense.weight"
    rewrite(saved, lambda t: {k: v.half() if k == key else v.float() for k, v in t.items()})
    model = load(saved)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    ids, segments, mask = batch("bert")
    assert model(ids, segments, mask.bool()).isfinite().all()


@pytest.mark.parametrize("scale", [None, torch.ones(3), torch.ones(36, 1)], ids=str)
def test_whole_numbers_without_their_scale_are_refused(saved, scale):
    key = "bert.encoder.layer.0.intermediate.dense.weight"
    more = {} if scale is None else {key + ".scale": scale}
    rewrite(saved, lambda t: t | {key: t[key].to(torch.int8)} | more)
    refused(saved, "intermediate.dense.weight is int8 and needs", ".scale, a number for each")


# --- weights in several files, and wrapped ones


def in_parts(folder, **changes):
    """The weights of a folder in two files with an index."""
    tensors = load_file(folder / "model.safetensors")
    half, where = sorted(tensors)[::2], {}
    for name, keys in {
        "model-00001-of-00002.safetensors": half,
        "model-00002-of-00002.safetensors": sorted(tensors.keys() - set(half)),
    }.items():
        save_file({key: tensors[key] for key in keys}, folder / name)
        where |= dict.fromkeys(keys, name)
    (folder / "model.safetensors").unlink()
    index = {"metadata": {"total_size": 1}, "weight_map": where | changes}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")


def test_weights_in_several_files_are_read(saved):
    expected = load(saved).state_dict()
    in_parts(saved)
    again = load(saved).state_dict()
    assert all(torch.equal(again[key], tensor) for key, tensor in expected.items())
    refused(saved, "has 2 files of weights", sha256="0" * 64)
    (saved / "model-00002-of-00002.safetensors").unlink()
    refused(saved, "model-00002-of-00002.safetensors is not there", error=FileNotFoundError)


def test_what_transformers_saves_in_parts_is_read(tmp_path):
    theirs = make("bert", "ForMaskedLM")
    theirs.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    ours, (ids, segments, mask) = load(tmp_path), batch("bert")
    expected = their_call("bert", theirs, ids, segments, mask).logits
    compare([("logits", ours(ids, segments, mask.bool()), expected)], 1e-10)


@pytest.mark.parametrize(
    "name",
    ["../other/model.safetensors", "/etc/model.safetensors", "model.bin", "", 3, "..", "a\\b"],
)
def test_an_index_names_safetensors_beside_it_and_nothing_else(saved, name):
    in_parts(saved, **{TABLE: name})
    refused(saved, f"names {name!r} for a file of weights")


@pytest.mark.parametrize("index", [[], {}, {"weight_map": []}, {"weight_map": {}}], ids=str)
def test_an_index_without_a_map_is_refused(saved, index):
    in_parts(saved)
    (saved / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    refused(saved, "model.safetensors.index.json")


@pytest.mark.parametrize(
    "wrapper", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."]
)
def test_names_of_a_wrapped_model_are_understood(saved, wrapper):
    expected = load(saved).state_dict()
    rewrite(saved, lambda t: {wrapper + key: tensor for key, tensor in t.items()})
    again = load(saved).state_dict()
    assert all(torch.equal(again[key], tensor) for key, tensor in expected.items())


# --- what a config.json may hold


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"hidden_size": "12"}, "hidden_size='12'; it must be a whole number"),
        ({"hidden_size": None}, "hidden_size=None; it must be a whole number"),
        ({"num_hidden_layers": 3.0}, "num_hidden_layers=3.0; it must be a whole number"),
        ({"num_attention_heads": True}, "num_attention_heads=True; it must be a whole number"),
        ({"layer_norm_eps": "1e-12"}, "layer_norm_eps='1e-12'; it must be a number"),
        ({"hidden_dropout_prob": None}, "hidden_dropout_prob=None; it must be a number"),
        ({"hidden_act": ["gelu"]}, "unknown activation ['gelu']"),
        ({"hidden_act": None}, "unknown activation None"),
        ({"model_type": ["bert"]}, "unknown model_type ['bert']"),
        ({"model_type": None}, "unknown model_type None"),
        ({"architectures": "BertForAll"}, "architectures=BertForAll has no counterpart"),
        ({"architectures": [3]}, "architectures=[3] has no counterpart"),
        ({"type_vocab_size": -1}, "segments=-1"),
        ({"classifier_dropout": "much"}, "classifier_dropout='much'; it must be a number"),
        ({"id2label": 3}, "id2label=3"),
        ({"num_labels": "two"}, "num_labels='two'"),
    ],
    ids=str,
)
def test_a_setting_of_a_wrong_type_is_named(settings, part, tmp_path):
    theirs = make("bert", "ForSequenceClassification")
    theirs.save_pretrained(tmp_path)
    if "num_labels" in settings:
        change(tmp_path, id2label=None, label2id=None)
    change(tmp_path, **settings)
    refused(tmp_path, part)


@pytest.mark.parametrize("content", ["[]", "3", '"Not Found"', "null", "Not Found", "<html>", ""])
def test_a_config_that_holds_no_settings_is_refused(saved, content):
    (saved / "config.json").write_text(content, "utf-8")
    refused(saved, "config.json", "fetch it again")


@pytest.mark.parametrize("length", [0, 5, 100, 20_000])
def test_a_file_cut_off_is_refused(saved, length):
    with (saved / "model.safetensors").open("r+b") as file:
        file.truncate(length)
    refused(saved, "model.safetensors is damaged or cut off", "fetch it again")


def test_a_wrong_hash_is_refused(saved):
    refused(saved, "has SHA-256", "not " + "0" * 64, sha256="0" * 64)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(saved, name):
    (saved / name).unlink()
    refused(saved, name, "is not there", error=FileNotFoundError)


def test_a_config_that_is_not_json_is_refused(saved):
    (saved / "config.json").write_text("{", "utf-8")
    refused(saved, "config.json is not JSON")


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"model_type": "llama"}, ("unknown model_type 'llama'", "bert, roberta")),
        ({"auto_map": {"AutoModel": "x.Y"}}, ("asks for code of its own", "never run")),
        ({"hidden_act": "mish"}, ("unknown activation 'mish'", "gelu_new")),
        ({"position_embedding_type": "relative_key"}, ("position_embedding_type='relative_key'",)),
        ({"is_decoder": True}, ("is_decoder=True",)),
        ({"architectures": ["BertLMHeadModel"]}, ("BertLMHeadModel", "load(…, model=Encoder)")),
        ({"num_attention_heads": 7}, ("hidden=24 is not a multiple of heads=7",)),
    ],
    ids=str,
)
def test_a_config_that_we_do_not_build_is_refused(saved, settings, parts):
    change(saved, **settings)
    refused(saved, *parts)


def test_a_pickled_file_is_read_only_when_asked_for_and_runs_nothing(saved, capsys):
    tensors = load_file(saved / "model.safetensors")
    expected = load(saved).state_dict()
    (saved / "model.safetensors").unlink()
    torch.save(tensors, saved / "pytorch_model.bin")
    refused(saved, "pytorch_model.bin is a pickled file", "allow_pickle=True")
    again = load(saved, allow_pickle=True).state_dict()
    assert all(torch.equal(again[k], v) for k, v in expected.items())

    class Evil:
        def __reduce__(self):
            return (print, ("code was run",))

    torch.save({"x": Evil()}, saved / "pytorch_model.bin")
    refused(saved, "more than tensors", "nothing of it was run", allow_pickle=True)
    assert "code was run" not in capsys.readouterr().out
    for wrong in ([torch.zeros(1)], {"model": {"x": torch.zeros(1)}}):
        torch.save(wrong, saved / "pytorch_model.bin")
        refused(saved, "other things than tensors by name; save a state_dict", allow_pickle=True)


@pytest.mark.parametrize("length", [0, 1, 10, 0.5, 0.99])
def test_a_pickled_file_cut_off_is_refused(saved, length):
    for new in (True, False):
        path = saved / "pytorch_model.bin"
        tensors = load_file(saved / "model.safetensors")
        torch.save(tensors, path, _use_new_zipfile_serialization=new)
        with path.open("r+b") as file:
            file.truncate(
                length if length >= 1 or not length else int(path.stat().st_size * length)
            )
        hidden = (saved / "model.safetensors").rename(saved / "hidden")
        refused(saved, "pytorch_model.bin is damaged, cut off", "Fetch it again", allow_pickle=True)
        hidden.rename(saved / "model.safetensors")


def test_early_names_of_layer_norms_are_understood(saved):
    expected = load(saved).state_dict()

    def early(tensors):
        names = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
        return {
            next((k.replace(a, b) for a, b in names.items() if k.endswith(a)), k): v
            for k, v in tensors.items()
        }

    rewrite(saved, early)
    again = load(saved).state_dict()
    assert all(torch.equal(again[k], v) for k, v in expected.items())


def test_counters_of_old_files_are_left_out(saved):
    rewrite(saved, lambda t: t | {"bert.embeddings.position_ids": torch.arange(20)[None]})
    load(saved)


@pytest.mark.parametrize("name", ["bert", "roberta", "electra", "albert", "distilbert"])
def test_settings_that_a_file_leaves_out_fall_back_to_their_class(name):
    """To that of transformers, not always a published size: AlbertConfig() is xxlarge."""
    reference = type(CONFIGS[name])()
    config = read_config({"model_type": name})
    assert (config.vocab, config.pad) == (reference.vocab_size, reference.pad_token_id)
    assert (config.hidden, config.layers) == (reference.hidden_size, reference.num_hidden_layers)
    assert config.heads == reference.num_attention_heads
    assert config.positions == reference.max_position_embeddings
    assert config.segments == getattr(reference, "type_vocab_size", 0)
    assert config.eps == getattr(reference, "layer_norm_eps", 1e-12)
    inner = "hidden_dim" if name == "distilbert" else "intermediate_size"
    assert config.inner == getattr(reference, inner)
    rate = "dropout" if name == "distilbert" else "hidden_dropout_prob"
    assert config.dropout == getattr(reference, rate)


def test_the_body_of_a_model_may_be_asked_for_alone(saved):
    whole, body = load(saved), load(saved, Encoder)
    ids, segments, mask = batch("bert")
    assert body.pooler is None, "a masked-token model has no pooler to load"
    keep = mask.bool()
    assert_close(body(ids, segments, keep).output, whole.encoder(ids, segments, keep).output)


def test_a_file_may_hold_more_heads_than_its_config_names(tmp_path):
    """bert-base-uncased on the hub: the file of a BertForPreTraining under the name of another."""
    theirs = make("bert", "ForPreTraining", torch.float32)
    theirs.save_pretrained(tmp_path)
    change(tmp_path, architectures=["BertForMaskedLM"])
    ours, whole = load(tmp_path), load(tmp_path, PretrainingModel)
    assert type(ours) is MaskedTokenModel
    ids, segments, mask = batch("bert")
    assert_close(ours(ids, segments, mask.bool()), whole(ids, segments, mask.bool()).tokens)
    assert load(tmp_path, Encoder).pooler is not None


def test_a_head_that_the_checkpoint_lacks_is_named(saved):
    refused(saved, "lacks", "classifier.weight", model=SequenceModel, classes=3)


def test_a_name_that_is_neither_folder_nor_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    refused(tmp_path / "nothing", "nothing is no folder", error=FileNotFoundError)
    refused("no-such/name", "could not be had from the hub", error=FileNotFoundError)


def test_a_name_on_the_hub_is_read_from_the_cache(saved, tmp_path, monkeypatch):
    """As it lies there after it was fetched once: no network is needed any more."""
    import huggingface_hub

    def cached(name, revision, allow_patterns):
        assert (name, revision) == ("somebody/tiny", "v1")
        assert "config.json" in allow_patterns and not any("bin" in p for p in allow_patterns)
        return str(saved)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", cached)
    again = load("somebody/tiny", revision="v1").state_dict()
    assert all(torch.equal(again[k], v) for k, v in load(saved).state_dict().items())


def test_a_save_that_fails_leaves_the_old_files(saved, monkeypatch):
    model, before = load(saved), (saved / "model.safetensors").read_bytes()

    def full(tensors, path, metadata):
        with open(path, "wb") as file:
            file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr("bertfamily.checkpoints.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        save(model, saved)
    assert (saved / "model.safetensors").read_bytes() == before
    assert sorted(p.name for p in saved.iterdir()) == ["config.json", "model.safetensors"]


def test_a_model_without_a_name_of_its_own_cannot_be_saved(tmp_path):
    with pytest.raises(ValueError, match="a Config has no model_type; use one of Bert, Roberta"):
        save(Encoder(Config(vocab=9, hidden=4, layers=1, heads=1, inner=4)), tmp_path)


@pytest.mark.parametrize("head", ["Model", "ForSequenceClassification"])
def test_where_there_is_no_decoder_it_does_not_matter_whether_it_is_tied(tmp_path, head):
    make("bert", head, torch.float32).save_pretrained(tmp_path)
    expected = load(tmp_path).state_dict()
    change(tmp_path, tie_word_embeddings=False)
    again = load(tmp_path).state_dict()
    assert all(torch.equal(again[k], v) for k, v in expected.items())


def test_an_untied_decoder_is_refused(tmp_path):
    config = transformers.BertConfig(**SIZES, tie_word_embeddings=False)
    theirs = transformers.BertForMaskedLM(config)
    torch.nn.init.normal_(theirs.cls.predictions.decoder.weight)
    theirs.save_pretrained(tmp_path)
    refused(tmp_path, "cls.predictions.decoder.weight differs from", "only tied ones are known")


# --- in part


def test_what_was_trained_is_stored_alone_and_the_rest_comes_from_where_it_was(tmp_path):
    make("distilbert", "Model", torch.float32).save_pretrained(tmp_path / "base")
    model = MaskedTokenModel(load(tmp_path / "base", Encoder).config)
    model.encoder.load_state_dict(load(tmp_path / "base", Encoder).state_dict())
    model.encoder.requires_grad_(False)
    model.encoder.layers[-1:].requires_grad_(True)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.normal_(std=0.3)
    save(model, tmp_path / "part", trained_only=True)
    stored = load_file(tmp_path / "part" / "model.safetensors")
    trained = {".2.", "vocab_transform", "vocab_layer_norm", "vocab_projector"}
    assert all(any(part in name for part in trained) for name in stored) and len(stored) == 21
    again = load(tmp_path / "part", rest=tmp_path / "base")
    ids = torch.randint(50, (2, 9), generator=torch.Generator().manual_seed(0))
    assert_close(again(ids), model.eval()(ids))
    with pytest.raises(ValueError, match=r"lacks .* load\(…, rest=…\) the rest from another"):
        load(tmp_path / "part")

"""The carried DistilBERT is what its ONNX file says, read without a runtime of ONNX.

The graph rounds what passes between its operations to whole numbers, which weights cannot show.
With these roundings taken out it is compared number by number, as it is by the edits it proposes.
"""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import transformers

from bertfamily import corpora
from bertfamily.checkpoints import load
from bertfamily.encoder import Encoder
from bertfamily.heads import TokenModel
from bertfamily.wordpiece import fast, load_tokenizer

SENTENCES = [
    "I should of went to there house.",
    "She dont know wether its true.",
    "We was walking in Istanbul – a great city.",
    "If you don’t stop at the sign, you will get a ticket",
]


@pytest.fixture(scope="module")
def folder():
    return corpora.grammar_tagger()


@pytest.fixture(scope="module")
def graph():
    return corpora._read(corpora.GRAMMAR, "tagger.onnx")


@pytest.fixture(scope="module")
def ours(folder):
    """What our model says of the sentences, by sentence."""
    model, tokenizer = load(folder), load_tokenizer(folder)
    assert type(model) is TokenModel
    rows = [torch.tensor([tokenizer.encode(s).ids]) for s in SENTENCES]
    with torch.no_grad():
        return [(row.numpy(), model(row).numpy()) for row in rows]


def logits(graph, rows, optimise):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    ids, keep = (i.name for i in session.get_inputs())
    return [session.run(None, {ids: r, keep: np.ones_like(r)})[0] for r in rows]


def without_roundings(graph):
    """The graph in which what is rounded and at once widened again passes as it is."""
    model = onnx.load_from_string(graph)
    nodes, rounded = model.graph.node, {}
    for node in nodes:
        if node.op_type == "QuantizeLinear":
            rounded[node.output[0]] = node.input[0]
    passed = {
        n.output[0]: rounded[n.input[0]]
        for n in nodes
        if n.op_type == "DequantizeLinear" and n.input[0] in rounded
    }
    assert len(rounded) == len(passed) >= 100
    kept = [n for n in nodes if n.output[0] not in rounded and n.output[0] not in passed]
    for node in kept:
        for i, name in enumerate(node.input):
            node.input[i] = passed.get(name, name)
    for out in model.graph.output:  # the last rounding is that of the answer itself
        if out.name in passed:
            kept.append(onnx.helper.make_node("Identity", [passed[out.name]], [out.name]))
    del nodes[:]
    nodes.extend(kept)
    return model.SerializeToString()


def test_every_logit_is_that_of_the_graph_without_its_roundings(ours, graph):
    theirs = logits(without_roundings(graph), [row for row, _ in ours], optimise=False)
    for (_, mine), other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-4)


def test_every_edit_is_that_of_the_graph_as_it_is(ours, graph):
    theirs = logits(graph, [row for row, _ in ours], optimise=True)
    for (_, mine), other in zip(ours, theirs, strict=True):
        assert (mine.argmax(axis=-1) == other.argmax(axis=-1)).all()


def test_it_mends_what_it_was_made_for(ours, folder):
    edits = json.loads((folder / "config.json").read_text("utf-8"))["id2label"]
    found = {edits[str(i)] for _, mine in ours for i in mine.argmax(axis=-1).ravel()}
    assert {"$REPLACE_their", "$REPLACE_don't", "$REPLACE_it's", "$REPLACE_were"} <= found


def test_transformers_reads_the_same_folder(ours, folder):
    theirs, state = transformers.AutoModelForTokenClassification.from_pretrained(
        folder, output_loading_info=True
    )
    assert not state["missing_keys"] and not state["unexpected_keys"]
    with torch.no_grad():
        for row, mine in ours:
            other = theirs.eval()(torch.from_numpy(row)).logits.numpy()
            np.testing.assert_allclose(mine, other, rtol=0, atol=1e-4)


def test_its_encoder_loads_alone_and_it_is_made_once(folder):
    encoder = load(folder, Encoder)
    assert encoder.config.vocab == 28_996 and encoder.config.layers == 6
    before = (folder / "model.safetensors").stat()
    assert corpora.grammar_tagger() == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before.st_mtime_ns


def test_its_tokenizer_is_read_from_json_alone_keeps_the_case_and_cuts_nothing(folder):
    assert not (folder / "vocab.txt").exists()
    ours = load_tokenizer(folder)
    assert not ours.lowercase and len(ours.vocabulary) == 28_996
    import tokenizers

    theirs = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    long = "A sentence of São Paulo that goes on and on. " * 40
    for text in [*SENTENCES, "Überraschung in Ankara’s cafés"]:
        assert ours.encode(text).ids == fast(ours).encode(text).ids == theirs.encode(text).ids
    assert len(theirs.encode(long).ids) == 128 < len(ours.encode(long).ids)

"""What chapter 5 says of tables beyond its own cells: the recorded run, and what relatives do."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from bertfamily.corpora import MINILM, carried, data_path
from bertfamily.encoder import Albert, Bert, Embeddings, Encoder, Roberta

IDS = torch.tensor([[101, 7, 102, 8, 102, 0]])


def test_the_rows_that_moved_are_those_of_the_record():
    """As long as the tuned encoder of the record is the one in data/checkpoints."""
    run = json.loads(data_path("runs/rows-moved.json").read_text("utf-8"))
    config = json.loads(data_path("checkpoints/fill-mask/config.json").read_text("utf-8"))
    if config.get("hidden_size") != 384:
        pytest.skip("data/checkpoints/fill-mask is a later one; the record names the commit")
    before = load_file(carried(MINILM) / "model.safetensors")
    after = load_file(data_path("checkpoints/fill-mask/model.safetensors"))
    for name, key in (("position", "position"), ("segment", "token_type")):
        key = f"embeddings.{key}_embeddings.weight"
        tuned = after[f"bert.{key}"].float() * after[f"bert.{key}.scale"][:, None]
        moved = (tuned - before[key]).norm(dim=-1) / before[key].norm(dim=-1)
        torch.testing.assert_close(moved, torch.tensor(run[name]), rtol=0, atol=1e-4)


def test_no_segment_ids_means_the_first_text():
    embeddings = Embeddings(Bert(vocab=200, hidden=8)).eval()
    zeros = torch.zeros_like(IDS)
    assert torch.equal(embeddings(IDS), embeddings(IDS, zeros))
    assert not torch.allclose(embeddings(IDS), embeddings(IDS, 1 - zeros))


def test_the_token_row_of_padding_gets_no_gradient():
    embeddings = Embeddings(Bert(vocab=200, hidden=8)).eval()
    made = torch.Generator().manual_seed(0)
    (embeddings(IDS) * torch.randn(1, 6, 8, generator=made)).sum().backward()
    rows = embeddings.token.weight.grad.any(dim=-1).nonzero().flatten().tolist()
    assert rows == [7, 8, 101, 102]


@torch.no_grad()
def test_a_single_segment_row_can_be_moved_into_the_position_table():
    config = Roberta(vocab=200, hidden=8)
    one, none = Embeddings(config).eval(), Embeddings(replace(config, segments=0)).eval()
    none.token.weight.copy_(one.token.weight)
    none.position.weight.copy_(one.position.weight + one.segment.weight[0])
    torch.testing.assert_close(none(IDS), one(IDS))


def test_alberts_small_table_and_map_have_a_sixth_of_a_full_table():
    with torch.device("meta"):
        small, full = Embeddings(Albert()), Embeddings(replace(Albert(), embedding=None))
    assert small.token.weight.numel() + small.map.weight.numel() == 3_938_304
    assert full.token.weight.numel() == 23_040_000


@torch.no_grad()
def test_without_positions_an_encoder_reads_a_bag():
    config = Bert(vocab=200, hidden=16, layers=2, heads=2, inner=32, positions=8)
    torch.manual_seed(0)
    encoder, order = Encoder(config).eval(), torch.tensor([3, 0, 5, 1, 4, 2])
    ids = IDS + 1
    assert not torch.allclose(
        encoder(ids[:, order]).output, encoder(ids).output[:, order], atol=1e-3
    )
    encoder.embeddings.position.weight.zero_()
    torch.testing.assert_close(encoder(ids[:, order]).output, encoder(ids).output[:, order])


def test_the_story_of_row_63_is_that_of_the_card():
    """The chapter draws these four numbers."""
    card = data_path("README.md").read_text("utf-8")
    assert "8 % right of some 140 blanks in the Bible" in card
    assert "the places beside it had 53 % and 44 %" in card
    assert "made anew from its neighbours (`mend_position`): 53 %" in card

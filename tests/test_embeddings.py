"""What chapter 5 says of tables beyond its own cells: the recorded run, and what relatives do."""

import json
from dataclasses import replace

import torch
from safetensors.torch import load_file

from bertfamily.corpora import MINILM, carried, data_path
from bertfamily.encoder import Albert, Bert, Embeddings, Encoder, Roberta

IDS = torch.tensor([[101, 7, 102, 8, 102, 0]])


def test_what_decay_and_rounding_alone_do_is_that_of_the_record():
    """A row without a gradient shrinks by a hundredth and is stored in int8, with a scale for it.

    The tuned encoder itself is in the history, at the commit that the record names.
    """
    run = json.loads(data_path("runs/rows-moved.json").read_text("utf-8"))
    before = load_file(carried(MINILM) / "model.safetensors")
    for name, key in (("position", "position"), ("segment", "token_type")):
        table = before[f"embeddings.{key}_embeddings.weight"]
        scale = 0.99 * table.abs().amax(dim=-1, keepdim=True) / 127
        stored = (0.99 * table / scale).round() * scale
        moved = (stored - table).norm(dim=-1) / table.norm(dim=-1)
        recorded = torch.tensor(run[f"{name} untouched"])
        torch.testing.assert_close(moved, recorded, rtol=0, atol=1e-4)
        assert len(run[name]) == len(table)
    unread = torch.tensor(run["position"])[64:]  # the texts had 64 tokens
    torch.testing.assert_close(
        unread, torch.tensor(run["position untouched"])[64:], rtol=0, atol=1e-3
    )
    assert "commit 5bea3e3" in run["what"]


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

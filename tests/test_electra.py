"""ELECTRA's pretraining: what is drawn, what counts as replaced, which loss moves which part."""

import math

import pytest
import torch
import torch.nn.functional as F

from bertfamily.electra import WEIGHT, ElectraLosses, ElectraModel, corrupt
from bertfamily.encoder import Electra
from bertfamily.heads import IGNORE_INDEX
from bertfamily.pretraining import Examples
from bertfamily.training import initialize

SIZES = {"vocab": 11, "layers": 1, "heads": 2, "inner": 8, "positions": 6, "eps": 0.1}
PLAIN = {"dropout": 0.0, "attention_dropout": 0.0}
LARGE = Electra(hidden=8, **SIZES, **PLAIN)
SMALL = Electra(hidden=4, embedding=8, **SIZES, **PLAIN)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def model():
    made = ElectraModel(SMALL, LARGE)
    with torch.no_grad():
        initialize(made, seeded(), std=0.5)
    return made.eval()


@pytest.fixture
def examples():
    ids = torch.tensor([[2, 5, 4, 7, 3, 0], [2, 4, 6, 9, 4, 3]])  # 4 is [MASK], 0 padding
    labels = torch.full_like(ids, IGNORE_INDEX)
    labels[0, 2], labels[1, 1], labels[1, 4] = 8, 10, 5
    labels[1, 3] = 9  # chosen, and left as it is
    return Examples(ids, labels, None, ids != 0)


# --- what is drawn


def test_only_chosen_tokens_are_drawn_and_a_right_guess_is_original():
    ids = torch.tensor([[5, 6, 7], [8, 9, 10]])
    chosen = torch.tensor([[True, False, True], [False, True, False]])
    logits = torch.full((3, 11), -torch.inf)
    logits[0, 5], logits[1, 3], logits[2, 2] = 0, 0, 0  # right, wrong, wrong
    read, replaced = corrupt(ids, chosen, logits)
    assert read.tolist() == [[5, 6, 3], [8, 2, 10]]
    assert replaced.tolist() == [[False, False, True], [False, True, False]]
    assert ids.tolist() == [[5, 6, 7], [8, 9, 10]]


def test_draws_have_the_probabilities_of_the_softmax_and_not_those_of_argmax():
    many = 20_000
    ids, chosen = torch.zeros(1, many, dtype=torch.long), torch.ones(1, many, dtype=torch.bool)
    logits = torch.tensor([0.0, math.log(2), math.log(5)]).expand(many, 3)
    read = corrupt(ids, chosen, logits, seeded()).ids
    found = torch.bincount(read[0], minlength=3) / many
    torch.testing.assert_close(found, torch.tensor([1, 2, 5]) / 8, atol=0.02, rtol=0)
    assert torch.equal(read, corrupt(ids, chosen, logits, seeded()).ids)


def test_nothing_chosen_is_nothing_replaced():
    ids, none = torch.tensor([[5, 6]]), torch.zeros(1, 2, dtype=torch.bool)
    read, replaced = corrupt(ids, none, torch.zeros(0, 11))
    assert torch.equal(read, ids) and not replaced.any()


def test_logits_must_be_those_of_the_chosen_tokens():
    with pytest.raises(ValueError, match="6 rows of logits for 2 chosen"):
        corrupt(torch.zeros(2, 3, dtype=torch.long), torch.eye(2, 3).bool(), torch.zeros(6, 11))


# --- the losses


def test_the_losses_are_those_of_the_two_networks_by_hand(model, examples):
    chosen = examples.labels != IGNORE_INDEX
    logits = model.generator(examples.ids, keep=examples.keep)[chosen]
    told = examples.labels[chosen]  # 8, 10, 9, 5
    drawn = torch.multinomial(logits.softmax(dim=-1), 1, generator=seeded(3))[:, 0]
    read = torch.tensor([[2, 5, 8, 7, 3, 0], [2, 10, 6, 9, 5, 3]])
    read[chosen] = drawn
    original = torch.tensor([[2, 5, 8, 7, 3, 0], [2, 10, 6, 9, 5, 3]])
    p = torch.sigmoid(model.discriminator(read, keep=examples.keep))
    each = -torch.where(read != original, p, 1 - p).log()
    found = model.losses(examples, generator=seeded(3))
    torch.testing.assert_close(found.generator, F.cross_entropy(logits, told))
    torch.testing.assert_close(found.discriminator, each[examples.keep].mean())
    some = model.losses(examples, ask_all=False, generator=seeded(3))
    torch.testing.assert_close(some.discriminator, each[chosen].mean())
    torch.testing.assert_close(some.generator, found.generator)


def test_the_total_is_fifty_times_the_second_more():
    losses = ElectraLosses(torch.tensor(2.0), torch.tensor(0.5))
    assert WEIGHT == 50 and losses.total() == 27 and losses.total(10.0) == 7


def test_the_discriminator_moves_of_the_generator_only_the_shared_tables(model, examples):
    apart = ElectraModel(SMALL, LARGE, tied=False)
    for made, shared in (model, True), (apart, False):
        made.zero_grad()
        made.losses(examples, generator=seeded()).discriminator.backward()
        moved = {n for n, p in made.named_parameters() if p.grad is not None and p.grad.any()}
        own = {n for n, p in made.generator.named_parameters() if p.grad is not None}
        tables = {f"encoder.embeddings.{t}.weight" for t in ("token", "position", "segment")}
        assert own == (tables if shared else set())
        assert any(n.startswith("discriminator.encoder.layers") for n in moved)


def test_the_generator_learns_from_its_own_loss(model, examples):
    model.losses(examples, generator=seeded()).generator.backward()
    assert model.generator.encoder.layers[0].attention.query_key_value.weight.grad.any()
    assert model.discriminator.replaced.weight.grad is None


# --- what is shared


def test_tied_tables_are_one_and_counted_once(model):
    ours, theirs = (m.encoder.embeddings for m in (model.generator, model.discriminator))
    for table in ("token", "position", "segment"):
        assert getattr(ours, table) is getattr(theirs, table)
    assert ours.norm is not theirs.norm
    apart = ElectraModel(SMALL, LARGE, tied=False)
    count = sum(p.numel() for p in model.parameters())
    assert sum(p.numel() for p in apart.parameters()) - count == 8 * (11 + 6 + 2)


@pytest.mark.parametrize(
    ("small", "words"),
    [
        (Electra(hidden=4, embedding=8, **SIZES | {"vocab": 12}), "vocab=12 and 11"),
        (Electra(hidden=4, embedding=8, **SIZES | {"positions": 7}), "positions=7 and 6"),
        (Electra(hidden=4, **SIZES), "embedding=8"),
    ],
)
def test_networks_that_do_not_fit_are_refused(small, words):
    with pytest.raises(ValueError, match=words):
        ElectraModel(small, LARGE)


def test_the_published_small_sizes_fit_together():
    from bertfamily.flavors import FLAVORS

    with torch.device("meta"):
        made = ElectraModel(
            FLAVORS["google/electra-small-generator"], FLAVORS["google/electra-small-discriminator"]
        )
    head = sum(p.numel() for n, p in made.discriminator.named_parameters() if n[:8] != "encoder.")
    assert head == 256 * 256 + 256 + 256 + 1
    assert sum(p.numel() for p in made.discriminator.parameters()) == 13_483_008 + head

"""What must be true of the objectives and the loop: they ask the right thing and go on exactly."""

import math
import random
import re
import time
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bertfamily import training
from bertfamily.checkpoints import load
from bertfamily.encoder import Bert
from bertfamily.feeds import Stream, masked_pairs, masked_rows, shuffled
from bertfamily.heads import (
    IGNORE_INDEX,
    IS_NEXT,
    IS_RANDOM,
    MaskedTokenModel,
    PretrainingModel,
    token_loss,
)
from bertfamily.pairs import Pair
from bertfamily.pretraining import Examples, evaluate, pretraining_losses
from bertfamily.training import Settings, adamw, initialize, rate_at, read_curve, sinusoids, train
from bertfamily.wordpiece import SPECIAL, Tokenizer

TOKENIZER = Tokenizer([*SPECIAL, *(chr(97 + i) for i in range(15))])
TINY = Bert(vocab=20, hidden=16, layers=2, heads=2, inner=32, positions=16)
STILL = replace(TINY, dropout=0.0, attention_dropout=0.0)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def model_of(kind=MaskedTokenModel, seed=0, config=TINY):
    model = kind(config)
    initialize(model, torch.Generator().manual_seed(seed), std=0.2)
    return model


def random_rows(count=60, length=10, seed=0):
    """Rows of one letter each, so that there is something to learn."""
    generator = torch.Generator().manual_seed(seed)
    start = torch.randint(15, (count, 1), generator=generator)
    rows = start.repeat(1, length) + 5
    rows[:, 0], rows[:, -1] = TOKENIZER.cls, TOKENIZER.sep
    return rows


# --- what is asked


def examples(pairs=True, seed=0):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, 20, (4, 9), generator=generator)
    labels = ids.masked_fill(torch.rand(ids.shape, generator=generator) < 0.7, IGNORE_INDEX)
    segments = (torch.arange(9) > 4).long().expand(4, 9)
    keep = torch.arange(9) < torch.tensor([9, 7, 9, 8])[:, None]
    labels = labels.masked_fill(~keep, IGNORE_INDEX)
    return Examples(ids, labels, segments, keep, torch.tensor([0, 1, 1, 0]) if pairs else None)


def test_the_losses_are_those_of_transformers(tmp_path):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 32, "vocab_size": 20, "layer_norm_eps": 0.1}
    theirs = transformers.BertForPreTraining(transformers.BertConfig(**sizes)).eval()
    for p in theirs.parameters():
        nn.init.normal_(p, std=0.5)
    theirs.save_pretrained(tmp_path)
    ours = load(tmp_path)
    asked = examples()
    loss = theirs(
        asked.ids,
        asked.keep.long(),
        asked.segments,
        labels=asked.labels,
        next_sentence_label=asked.pairs,
    ).loss
    losses = pretraining_losses(ours, asked)
    torch.testing.assert_close(sum(losses), loss)
    assert losses.tokens > 0.1 and losses.pairs > 0.01


def test_the_mean_is_over_the_chosen_pieces_only():
    model, asked = model_of(seed=1).eval(), examples(pairs=False)
    loss = pretraining_losses(model, asked).tokens
    everywhere = model(asked.ids, asked.segments, asked.keep)
    torch.testing.assert_close(loss, token_loss(everywhere, asked.labels))
    # the slip of a famous course: weights of 0 inside a mean over all positions
    each = F.cross_entropy(everywhere.flatten(0, 1), asked.labels.flatten(), reduction="none")
    assert abs(each.mean() - loss) > 0.1


def test_logits_in_bfloat16_are_widened_before_the_softmax():
    """bfloat16 has three digits: a loss in it is off by up to a hundredth."""
    model, asked = model_of(PretrainingModel).eval(), examples()
    logits = model.bfloat16()(asked.ids, asked.segments, asked.keep)
    losses = pretraining_losses(model, asked)
    torch.testing.assert_close(losses.tokens, token_loss(logits.tokens.float(), asked.labels))
    torch.testing.assert_close(losses.pairs, F.cross_entropy(logits.pairs.float(), asked.pairs))


def test_the_decoder_runs_on_chosen_positions_only():
    model, asked = model_of(), examples(pairs=False)
    seen = []
    model.masked_token.register_forward_hook(lambda _, args, out: seen.append(out.shape))
    pretraining_losses(model, asked)
    assert seen == [(int((asked.labels != IGNORE_INDEX).sum()), 20)]


def test_both_pair_labels_count():
    """Another famous slip leaves out label 0, so that always saying "next" costs nothing."""
    model = model_of(PretrainingModel).eval()
    nn.init.zeros_(model.pair.weight)
    model.pair.bias.data = torch.tensor([9.0, -9.0])  # always IS_NEXT
    asked = examples()
    for label, expected in ((IS_NEXT, 0.0), (IS_RANDOM, 18.0)):
        loss = pretraining_losses(model, asked._replace(pairs=torch.full((4,), label))).pairs
        assert loss.item() == pytest.approx(expected, abs=1e-4)


def test_a_batch_in_which_nothing_is_chosen_costs_nothing():
    model = model_of()
    asked = examples(pairs=False)._replace(labels=torch.full((4, 9), IGNORE_INDEX))
    loss = pretraining_losses(model, asked).tokens
    loss.backward()
    assert loss == 0 and all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_pair_labels_without_a_head_are_refused():
    with pytest.raises(ValueError, match="the model has no head for them"):
        pretraining_losses(model_of(), examples())


# --- the order of the data


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 5))
def test_an_epoch_has_each_item_once(count, size, seed):
    size = min(size, count)
    steps = count // size
    for epoch in range(2):
        seen = [i for s in range(steps) for i in shuffled(count, size, seed, epoch * steps + s)]
        assert len(seen) == len(set(seen)) == steps * size and set(seen) <= set(range(count))


def test_each_epoch_has_an_order_of_its_own_and_each_seed():
    epochs = [shuffled(50, 50, seed, step) for seed in (0, 1) for step in (0, 1)]
    assert len({tuple(order) for order in epochs}) == 4
    assert shuffled(50, 50, 0, 1) == epochs[1]


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(ValueError, match="size=5: a batch has .* and 3, all, at most"):
        shuffled(3, 5, 0, 0)


def test_rows_are_masked_anew_each_time_and_alike_for_the_same_step():
    rows = random_rows()
    feed = masked_rows(rows, 8, TOKENIZER, seed=0, rate=0.3)
    again = masked_rows(rows, 8, TOKENIZER, seed=0, rate=0.3)
    masks = {}
    for step in range(30):  # ten epochs
        asked = feed(step)
        assert all(torch.equal(a, b) for a, b in zip(asked[:2], again(step)[:2], strict=True))
        chosen = asked.labels != IGNORE_INDEX
        original = torch.where(chosen, asked.labels, asked.ids)
        for row, where in zip(original, chosen, strict=True):
            masks.setdefault(tuple(row.tolist()), set()).add(tuple(where.tolist()))
    assert {tuple(row.tolist()) for row in rows} == masks.keys()
    assert min(map(len, masks.values())) >= 3
    other = masked_rows(rows, 8, TOKENIZER, seed=1, rate=0.3)(0)
    assert not torch.equal(other.labels, feed(0).labels)


def test_pairs_become_examples():
    pairs = [Pair([5, 6], [7], IS_NEXT), Pair([8], [9, 10, 11], IS_RANDOM)]
    asked = masked_pairs(pairs, 2, TOKENIZER, seed=0, rate=0.9)(0)
    original = torch.where(asked.labels != IGNORE_INDEX, asked.labels, asked.ids)
    first = original[:, 1].tolist().index(5)  # the row that the first pair is in
    assert original[first].tolist() == [2, 5, 6, 3, 7, 3, 0]
    assert asked.segments[first].tolist() == [0, 0, 0, 0, 1, 1, 0]
    assert asked.keep[first].tolist() == [True] * 6 + [False]
    assert original[1 - first].tolist() == [2, 8, 3, 9, 10, 11, 3]
    assert asked.segments[1 - first].tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert asked.pairs[first] == 0 and asked.pairs[1 - first] == 1
    assert (asked.labels != IGNORE_INDEX).any()


def test_a_stream_is_read_in_order_from_the_start_and_from_the_middle():
    rows = random_rows(10)
    begun = []

    class Source:
        def __iter__(self):
            begun.append(1)
            return iter(rows)

    def original(asked):
        return torch.where(asked.labels != IGNORE_INDEX, asked.labels, asked.ids)

    stream = Stream(Source(), 4, TOKENIZER, seed=0)
    expected = torch.cat([rows, rows])[:16].split(4)  # the source begins anew at its end
    for step in range(4):
        assert torch.equal(original(stream(step)), expected[step])
    assert len(begun) == 2
    later, third = Stream(Source(), 4, TOKENIZER, seed=0), stream(3)  # it goes back for this one
    for batch in later(3), third:
        assert torch.equal(original(batch), expected[3])
    assert torch.equal(later(1).ids, stream(1).ids)


def test_an_empty_stream_is_refused():
    with pytest.raises(ValueError, match="the source of rows is empty"):
        Stream([], 4, TOKENIZER, seed=0)(0)


# --- how it is trained


def test_the_rate_goes_up_and_down_in_lines():
    plan = Settings(steps=10, rate=1.0, warmup=0.4)
    expected = [1 / 4, 2 / 4, 3 / 4, 1, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    assert [rate_at(plan, s) for s in range(10)] == pytest.approx(expected)
    assert rate_at(plan, 10) == 0
    assert rate_at(Settings(steps=10, rate=1.0, warmup=0.0), 0) == 1


def test_decay_pulls_weights_and_tables_and_not_biases_and_norms():
    model = model_of()
    decayed, spared = adamw(model, Settings(steps=1, decay=0.3)).param_groups
    assert decayed["weight_decay"] == 0.3 and spared["weight_decay"] == 0
    names = {id(p): name for name, p in model.named_parameters()}
    spared = {names[id(p)] for p in spared["params"]}
    assert all("norm" in n or n.endswith("bias") for n in spared)
    decayed = {names[id(p)] for p in decayed["params"]}
    assert not any("norm" in n or n.endswith("bias") for n in decayed)
    assert spared | decayed == set(names.values())


def test_what_is_frozen_stays_and_what_is_fresh_learns_faster():
    """Adam's first step is as long as its rate, whatever the gradient: so the rates can be read."""
    model = model_of(config=STILL)
    model.encoder.requires_grad_(False)
    model.encoder.layers[-1:].requires_grad_(True)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    settings = Settings(steps=1, rate=1e-3, warmup=0.0, decay=0.0, fresh=10.0)
    train(model, masked_rows(random_rows(), 8, TOKENIZER, seed=0), settings)
    moved = {name: (p - before[name]).abs().max().item() for name, p in model.named_parameters()}
    last = f"encoder.layers.{STILL.layers - 1}."
    for name, length in moved.items():
        if name.startswith(last):
            assert length == pytest.approx(1e-3, rel=0.02), name
        elif name.startswith("encoder."):
            assert length == 0, name
        else:
            assert length == pytest.approx(1e-2, rel=0.02), name


def test_sinusoids_by_hand():
    """Dimensions 0 and 1 turn by 1 from place to place, dimensions 2 and 3 by 1/100."""
    second = [math.sin(1), math.cos(1), math.sin(0.01), math.cos(0.01)]
    third = [math.sin(2), math.cos(2), math.sin(0.02), math.cos(0.02)]
    expected = torch.tensor([[0.0, 1, 0, 1], second, third])
    torch.testing.assert_close(sinusoids(3, 4), expected)


def test_a_run_has_the_rates_and_the_betas_of_its_settings(monkeypatch):
    rates = []

    def watched(model, settings):
        optimizer = adamw(model, settings)
        assert {group["betas"] for group in optimizer.param_groups} == {(0.8, 0.95)}
        optimizer.register_step_pre_hook(
            lambda o, *_: rates.append({group["lr"] for group in o.param_groups})
        )
        return optimizer

    monkeypatch.setattr(training, "adamw", watched)
    plan = Settings(steps=6, rate=1e-2, warmup=0.5, betas=(0.8, 0.95), every=6)
    train(model_of(), masked_rows(random_rows(), 4, TOKENIZER, seed=0), plan)
    assert rates == [{rate_at(plan, step)} for step in range(6)]


def test_a_point_is_the_mean_since_the_last_also_where_the_last_stretch_is_short():
    feed = masked_rows(random_rows(), 4, TOKENIZER, seed=0)
    each = train(model_of(config=STILL), feed, Settings(steps=5, every=1))
    model = model_of(config=STILL)
    points = train(model, feed, Settings(steps=5, every=2))
    losses = [point.loss for point in each]
    expected = [sum(losses[:2]) / 2, sum(losses[2:4]) / 2, losses[4]]
    assert [point.step for point in points] == [2, 4, 5]
    assert [point.loss for point in points] == pytest.approx(expected, rel=1e-5)
    assert not model.training  # ready to be asked


def test_the_time_of_a_run_that_goes_on_is_added_to_that_before(tmp_path):
    feed = masked_rows(random_rows(), 4, TOKENIZER, seed=0)

    def slow_then_cut(step):
        if step == 1:
            raise KeyboardInterrupt
        time.sleep(0.5)
        return feed(step)

    plan = Settings(steps=2, every=1)
    with pytest.raises(KeyboardInterrupt):
        train(model_of(), slow_then_cut, plan, folder=tmp_path)
    first, last = train(model_of(), feed, plan, folder=tmp_path)
    assert last.seconds > first.seconds > 0.5


def test_fresh_weights():
    model = MaskedTokenModel(Bert(vocab=3_000, hidden=64, layers=1, heads=2, inner=128))
    for p in model.parameters():
        nn.init.constant_(p, 7.0)  # whatever was there
    initialize(model, torch.Generator().manual_seed(0))
    table = model.encoder.embeddings.token.weight
    assert table[1:].std().item() == pytest.approx(0.0176, rel=0.02)  # 0.02, cut at 2 of them
    assert table.abs().max() <= 0.04 and not table[0].any()
    for name, p in model.named_parameters():
        if name.endswith("bias"):
            assert not p.any(), name
        elif "norm" in name:
            assert (p == 1).all(), name
        else:
            assert 0.015 < p.std() < 0.02, name
    again = MaskedTokenModel(model.encoder.config)
    initialize(again, torch.Generator().manual_seed(0))
    assert all(map(torch.equal, model.state_dict().values(), again.state_dict().values()))


def plan(steps=12, every=4, seed=0, **changes):
    return Settings(steps=steps, every=every, seed=seed, rate=5e-3, warmup=0.1, **changes)


def run(folder=None, feed=None, settings=None, seed=0):
    model = model_of(seed=seed)
    feed = feed or masked_rows(random_rows(), 8, TOKENIZER, seed=0, rate=0.3)
    held_out = [masked_rows(random_rows(seed=9), 16, TOKENIZER, seed=5)(0)]
    curve = train(model, feed, settings or plan(), held_out, folder)
    return model, curve


def same(one, two):
    """Equal weights and equal points, but for the seconds."""
    assert [p[:-1] for p in one[1]] == [p[:-1] for p in two[1]]
    assert all(map(torch.equal, one[0].state_dict().values(), two[0].state_dict().values()))


def test_it_learns():
    _, curve = run(settings=plan(steps=150, every=50))
    assert curve[-1].loss < 1.0 < 2.0 < curve[0].loss
    assert curve[-1].held_out < 1.6 and curve[-1].accuracy > 0.4  # chance: ln 15 = 2.7, 0.07
    assert [p.step for p in curve] == [50, 100, 150] and curve[-1].tokens == 150 * 8 * 10
    assert curve[0].seconds < curve[1].seconds < curve[2].seconds


def test_the_same_seed_gives_the_same_run_whatever_the_global_state():
    models, curves = [model_of(), model_of()], []
    for seed, model in enumerate(models):
        state = torch.manual_seed(seed).get_state()
        curves.append(train(model, masked_rows(random_rows(), 8, TOKENIZER, seed=0), plan()))
        assert torch.equal(torch.random.get_rng_state(), state), "the global state was touched"
    assert [p.loss for p in curves[0]] == [p.loss for p in curves[1]]
    assert all(map(torch.equal, models[0].state_dict().values(), models[1].state_dict().values()))
    one = run()
    other = run(settings=plan(seed=1))[1]
    assert other[-1].loss != one[1][-1].loss


def test_dropout_is_on_in_training_and_off_in_evaluation():
    model, curve = run()
    assert not model.training
    asked = [examples(pairs=False)]
    assert evaluate(model, asked) == evaluate(model, asked)
    calm = model_of(config=STILL)
    feed = masked_rows(random_rows(), 8, TOKENIZER, seed=0, rate=0.3)
    assert train(calm, feed, plan())[-1].loss != curve[-1].loss


def test_without_held_out_text_there_is_no_score():
    curve = train(model_of(), masked_rows(random_rows(), 8, TOKENIZER, seed=0), plan(steps=2))
    assert math.isnan(curve[-1].held_out) and math.isnan(curve[-1].accuracy)


class Killed(Exception):
    pass


def dies(feed, when):
    def mortal(step):
        if step == when:
            raise Killed
        return feed(step)

    return mortal


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(0, 11), max_size=3))
def test_a_run_that_is_killed_goes_on_exactly(tmp_path_factory, deaths):
    folder = tmp_path_factory.mktemp("run")
    feed = masked_rows(random_rows(), 8, TOKENIZER, seed=0, rate=0.3)
    for when in deaths:
        try:
            run(folder, dies(feed, when))
        except Killed:
            pass
    same(run(folder, feed), run())
    assert [p[:-1] for p in read_curve(folder / "curve.csv")] == [
        tuple(round(x, 4) for x in p[:-1]) for p in run()[1]
    ]


def test_a_run_killed_while_it_writes_goes_on_exactly(tmp_path, monkeypatch):
    whole = torch.save

    def half(state, path):
        if state["curve"][-1][0] == 8:
            whole(state, path)
            with open(path, "r+b") as file:
                file.truncate(1_000)
            raise Killed
        whole(state, path)

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(Killed):
        run(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["curve.csv", "training.pt"]
    assert [p.step for p in read_curve(tmp_path / "curve.csv")] == [4]
    monkeypatch.setattr(torch, "save", whole)
    same(run(tmp_path), run())


def test_a_run_that_is_over_is_not_run_again(tmp_path):
    first = run(tmp_path)
    feed = masked_rows(random_rows(), 8, TOKENIZER, seed=0, rate=0.3)
    same(run(tmp_path, feed=lambda step: 1 / 0 if step else feed(step)), first)


@pytest.mark.parametrize(
    "changes",
    [{"steps": 13}, {"rate": 1e-3}, {"warmup": 0.2}, {"decay": 0.0}, {"betas": (0.9, 0.98)}]
    + [{"clip": 2.0}, {"fresh": 2.0}, {"seed": 1}, {"every": 6}],
    ids=str,
)
def test_other_settings_are_refused(tmp_path, changes):
    run(tmp_path)
    ((name, now),) = changes.items()
    was = getattr(plan(), name)
    with pytest.raises(ValueError, match=f"was begun with {re.escape(f'{name}={was}, not {now}')}"):
        run(tmp_path, settings=replace(plan(), **changes))


def test_another_text_model_or_held_out_text_is_refused(tmp_path):
    """A run is all that made it; else a second one trains nothing and passes for the first."""
    model, held_out = model_of(), [examples(False)]
    feed = masked_rows(random_rows(), 8, TOKENIZER, seed=0, rate=0.3)
    train(model, feed, plan(), held_out, tmp_path)

    def go_on(model=model, feed=feed, held_out=held_out):
        train(model, feed, plan(), held_out, tmp_path)

    go_on()
    for other in (
        masked_rows(random_rows(seed=1), 8, TOKENIZER, seed=0, rate=0.3),
        masked_rows(random_rows(), 7, TOKENIZER, seed=0, rate=0.3),
        masked_rows(random_rows(), 8, TOKENIZER, seed=0, rate=0.2),
        masked_rows(random_rows(), 8, TOKENIZER, seed=1, rate=0.3),
    ):
        with pytest.raises(ValueError, match="was begun with another text or batch; go on with"):
            go_on(feed=other)
    for other in ([], held_out * 2, [examples(False, seed=1)]):
        with pytest.raises(ValueError, match="was begun with another held-out text"):
            go_on(held_out=other)
    frozen = model_of()
    frozen.encoder.embeddings.requires_grad_(False)
    kinds = {"dropout": 0.0, "attention_dropout": 0.0, "heads": 4, "activation": torch.tanh}
    for other in (frozen, *(model_of(config=replace(TINY, **{k: v})) for k, v in kinds.items())):
        with pytest.raises(ValueError, match="was begun with another model"):
            go_on(other)


def test_a_run_goes_on_on_a_machine_that_is_not_fast_in_bfloat16(tmp_path):
    feed = masked_rows(random_rows(), 8, TOKENIZER, seed=0, rate=0.3)
    with pytest.raises(Killed):
        run(tmp_path, dies(feed, 9), plan(bfloat16=True))
    _, curve = run(tmp_path, feed, plan(bfloat16=False))
    assert [point.step for point in curve] == [4, 8, 12]
    assert curve[-1].loss == pytest.approx(run()[1][-1].loss, rel=0.05)


# --- what is random in a step


def constant(rows=8):
    """A feed of one batch, always the same."""
    feed = masked_rows(random_rows(count=rows), rows, TOKENIZER, seed=0, rate=0.5)(0)
    return lambda step: feed


def test_dropout_differs_from_step_to_step_and_is_the_same_for_the_same_step():
    """At a rate of 0 the model stays what it is, so that only dropout moves the loss."""
    still = replace(plan(steps=6, every=1), rate=0.0)
    losses = [[p.loss for p in train(model_of(), constant(), still)] for _ in range(2)]
    assert losses[0] == losses[1] and len(set(losses[0])) == 6


def test_dropout_differs_from_process_to_process(monkeypatch):
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda losses: None)
    batch = constant()(0)
    twice = Examples(*(x if x is None else x.repeat_interleave(2, dim=0) for x in batch))
    model, seen = model_of(), []
    model.encoder.register_forward_hook(lambda _, __, out: seen.append(out.output.detach()))
    for number in (0, 1, 0):  # each takes every second row, so both have the same rows
        train(model, lambda step: twice, replace(plan(steps=1), rate=0.0), share=(number, 2))
    assert torch.equal(seen[0], seen[2]) and not torch.equal(seen[0], seen[1])


@pytest.mark.parametrize("kind", ["rows", "pairs", "stream"])
def test_what_comes_again_is_masked_anew(kind):
    feed = {
        "rows": lambda: masked_rows(random_rows(8), 8, TOKENIZER, seed=0, rate=0.5),
        "pairs": lambda: masked_pairs([Pair([5] * 4, [6] * 4, 0)] * 8, 8, TOKENIZER, 0, rate=0.5),
        "stream": lambda: Stream(random_rows(8), 8, TOKENIZER, seed=0, rate=0.5),
    }[kind]()
    batches = [feed(step) for step in range(4)]
    places = [torch.cat([b.labels != IGNORE_INDEX, b.ids == 0], dim=1) for b in batches]
    assert len({str(p.sum(dim=0).tolist()) for p in places}) == 4, "the same mask at another step"
    again = feed(1)
    assert torch.equal(again.ids, batches[1].ids) and torch.equal(again.labels, batches[1].labels)


class Wrapped(nn.Module):
    """Stands for what shares a model among processes: its own forward has to be called."""

    def __init__(self, module):
        super().__init__()
        self.module, self.calls = module, 0

    def forward(self, *inputs, **options):
        self.calls += self.training
        return self.module(*inputs, **options)


def test_a_wrapped_model_is_trained_through_its_wrapper_and_kept_without(tmp_path):
    feed = masked_rows(random_rows(), 8, TOKENIZER, seed=0, rate=0.3)
    wrapped = Wrapped(model_of())
    with pytest.raises(Killed):
        train(wrapped, dies(feed, 9), plan(), (), tmp_path)
    assert wrapped.calls == 9
    wrapped = Wrapped(model_of(seed=3))
    curve = train(wrapped, feed, plan(), (), tmp_path)
    assert wrapped.calls == 4
    plain = model_of()
    same((wrapped.module, curve[:0]), (plain, train(plain, feed, plan())[:0]))


@pytest.mark.parametrize("terminal, number", [(False, 0), (True, 0), (True, 1)])
def test_a_bar_is_drawn_on_a_terminal_and_by_one_process(capsys, monkeypatch, terminal, number):
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    train(model_of(), constant(), plan(steps=2, every=1), share=(number, 1))
    told = capsys.readouterr()
    assert ("2/2" in told.err) == (terminal and number == 0)
    assert ("step      2  loss " in told.out) == (number == 0)
    assert terminal or told.err == ""


def test_the_gradient_is_clipped():
    model, before = model_of(), model_of()
    longest = []

    def watch(*_):
        norms = [p.grad.norm() for p in model.parameters() if p.grad is not None]
        longest.append(torch.stack(norms).norm().item())

    original = torch.optim.AdamW.step
    torch.optim.AdamW.step = lambda self, *a: (watch(), original(self, *a))[1]
    try:
        train(model, masked_rows(random_rows(), 8, TOKENIZER, seed=0), plan(clip=0.01))
    finally:
        torch.optim.AdamW.step = original
    assert max(longest) == pytest.approx(0.01, rel=1e-3)
    assert not torch.equal(model.masked_token.bias, before.masked_token.bias)


def test_pairs_are_learnt_beside_masks():
    """Here a second text of letters up to the tenth id is the next one."""
    rng = random.Random(0)
    pairs = []
    for _ in range(64):
        label = rng.randrange(2)
        letters = [rng.randrange(5, 10) + 8 * label for _ in range(3)]
        pairs.append(Pair([rng.randrange(5, 20)], letters, label))
    model = model_of(PretrainingModel)
    feed = masked_pairs(pairs, 16, TOKENIZER, seed=0)
    curve = train(model, feed, plan(steps=100, every=50))
    assert curve[-1].pair_loss < 0.3


def test_evaluation_weighs_each_chosen_piece_alike():
    model = model_of().eval()
    one, two = examples(False, seed=4), examples(False, seed=6)
    counts = [(e.labels != IGNORE_INDEX).sum().item() for e in (one, two)]
    losses = [pretraining_losses(model, e).tokens.item() for e in (one, two)]
    assert counts[0] != counts[1]
    mean = sum(c * x for c, x in zip(counts, losses, strict=True)) / sum(counts)
    assert evaluate(model, [one, two]).loss == pytest.approx(mean, rel=1e-5)
    always = one.labels[one.labels != IGNORE_INDEX][0]
    model.masked_token.bias.data[always] = 99.0  # whatever is asked, it says this
    right = sum((e.labels == always).sum().item() for e in (one, two))
    assert 0 < right < sum(counts)
    assert evaluate(model, [one, two]).accuracy == pytest.approx(right / sum(counts))


def run_shared(number, count, folder):
    """One of several processes that share a run; the first leaves its curve and weights."""
    torch.set_num_threads(1)
    model = model_of(config=STILL).double()
    if count > 1:
        store = torch.distributed.FileStore(f"{folder}/store", count)
        torch.distributed.init_process_group("gloo", store=store, rank=number, world_size=count)
        model = nn.parallel.DistributedDataParallel(model)
    feed = masked_rows(random_rows(), 8, TOKENIZER, seed=0, rate=0.3)
    curve = train(model, feed, plan(), share=(number, count))
    if number == 0:
        state = getattr(model, "module", model).state_dict()
        torch.save((state, [p[:4] for p in curve]), f"{folder}/{count}.pt")
    if count > 1:
        torch.distributed.destroy_process_group()


def test_two_processes_have_the_losses_of_one(tmp_path):
    run_shared(0, 1, tmp_path)
    torch.multiprocessing.spawn(run_shared, (2, tmp_path), nprocs=2)
    (one, curve), (two, shared) = (torch.load(tmp_path / f"{n}.pt") for n in (1, 2))
    for a, b in zip(curve, shared, strict=True):
        assert a == pytest.approx(b, rel=1e-6)
    for key in one:
        torch.testing.assert_close(one[key], two[key], rtol=1e-6, atol=1e-8)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="steps=0"):
        Settings(steps=0)
    with pytest.raises(ValueError, match="warmup=1.5 is not a share"):
        Settings(steps=1, warmup=1.5)


def test_bfloat16_is_near_float32():
    curves = [run(settings=plan(bfloat16=b))[1] for b in (False, True)]
    assert curves[0][-1].loss == pytest.approx(curves[1][-1].loss, rel=0.05)
    assert curves[0][-1].loss != curves[1][-1].loss
    assert training.fast_in_bfloat16() in (True, False)

"""Fine-tuning: what learns and how fast, what is scored, and that a run goes on exactly."""

import math
from dataclasses import asdict, replace

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

from bertfamily import finetuning
from bertfamily.checkpoints import save
from bertfamily.encoder import Albert, Bert, Distilbert, Encoder
from bertfamily.finetuning import (
    Example,
    Look,
    Tuning,
    balanced,
    batches_of,
    best_of,
    collate,
    finetune,
    let_learn,
    predict,
    task_loss,
    trainable,
    under_head,
)
from bertfamily.heads import IGNORE_INDEX, SequenceModel, Span, SpanModel, TokenModel
from bertfamily.training import initialize
from bertfamily.wordpiece import SPECIAL, Encoding

SIZES = {"vocab": 24, "hidden": 16, "layers": 3, "heads": 2, "inner": 24, "positions": 16}
STILL = {"dropout": 0.0, "attention_dropout": 0.0}
CONFIG = Bert(**SIZES)
CLS, SEP, FEW = SPECIAL.index("[CLS]"), SPECIAL.index("[SEP]"), len(SPECIAL)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def encoder_of(config=CONFIG, seed=0):
    encoder = Encoder(config)
    initialize(encoder, seeded(seed), std=0.1)
    return encoder


def model_of(head=SequenceModel, *arguments, config=CONFIG, seed=0):
    arguments = arguments or ((2,) if head is not SpanModel else ())
    return under_head(encoder_of(config), head, *arguments, generator=seeded(seed))


def encoding(ids):
    ids = [CLS, *ids, SEP]
    return Encoding(ids, [0] * len(ids), [(0, 0)] * len(ids), [str(i) for i in ids])


def texts(count, seed=0, longest=9):
    generator = seeded(seed)
    for _ in range(count):
        length = int(torch.randint(1, longest + 1, (1,), generator=generator))
        yield torch.randint(FEW, 24, (length,), generator=generator).tolist()


def classified(count, seed=0):
    """The class is whether most words are of the upper half."""
    return [
        Example(encoding(ids), int(2 * sum(i >= 15 for i in ids) > len(ids)))
        for ids in texts(count, seed)
    ]


def tagged(count, seed=0):
    """Each word is tagged by its half; the ends are not asked."""
    return [
        Example(encoding(ids), [IGNORE_INDEX, *(int(i >= 15) for i in ids), IGNORE_INDEX])
        for ids in texts(count, seed)
    ]


def pointed(count, seed=0):
    """The answer is the largest number, alone."""
    found = []
    for ids in texts(count, seed):
        at = 1 + ids.index(max(ids))
        found.append(Example(encoding(ids), (at, at)))
    return found


def measured(count, seed=0):
    """The number is the proportion of words of the upper half."""
    return [
        Example(encoding(ids), sum(i >= 15 for i in ids) / len(ids)) for ids in texts(count, seed)
    ]


# --- the model


@pytest.mark.parametrize("pooled", [True, False])
def test_the_encoder_is_copied_and_the_head_is_fresh(pooled):
    encoder = encoder_of(replace(CONFIG, pooled=pooled))
    model = under_head(encoder, SequenceModel, 3, generator=seeded())
    for name, p in encoder.state_dict().items():
        torch.testing.assert_close(model.encoder.state_dict()[name], p, rtol=0, atol=0)
    assert model.classes.weight.shape == (3, 16) and model.classes.weight.std() > 0.01
    assert model.classes.weight.abs().max() <= 0.04 and not model.classes.bias.any()
    assert model.encoder.pooler is not None
    model.encoder.embeddings.token.weight.data += 1
    assert not torch.equal(model.encoder.embeddings.token.weight, encoder.embeddings.token.weight)


def test_a_head_is_drawn_from_its_generator_alone():
    torch.manual_seed(0)
    one, state = model_of(seed=3), torch.get_rng_state()
    torch.manual_seed(1)
    two = model_of(seed=3)
    assert torch.equal(one.classes.weight, two.classes.weight)
    assert not torch.equal(one.classes.weight, model_of(seed=4).classes.weight)
    torch.manual_seed(0)
    model_of(seed=3)
    assert torch.equal(state, torch.get_rng_state()), "the global state moved"


def test_a_distilbert_has_no_pooler_and_gets_none():
    config = Distilbert(**SIZES)
    model = under_head(encoder_of(config), SequenceModel, 2, generator=seeded())
    assert model.encoder.pooler is None and model.dense.weight.std() > 0.01


@pytest.mark.parametrize("layers, learns", [(None, "all"), (3, "123"), (1, "3"), (0, "")])
def test_what_learns(layers, learns):
    model = model_of()
    let_learn(model, 2)  # what was chosen before makes no difference
    let_learn(model, layers)
    for name, p in model.named_parameters():
        if name.startswith("encoder.embeddings"):
            expected = learns == "all"
        elif name.startswith("encoder.layers"):
            expected = learns == "all" or str(int(name.split(".")[2]) + 1) in learns
        else:  # pooler and head
            expected = layers != 0 or not name.startswith("encoder.")
        assert p.requires_grad == expected, name


def test_the_parameters_that_learn_are_counted():
    model = model_of()
    let_learn(model, 0)
    assert trainable(model) == 16 * 2 + 2
    let_learn(model)
    assert trainable(model) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("layers", [-1, 4])
def test_layers_that_are_not_there_are_refused(layers):
    with pytest.raises(ValueError, match=f"layers={layers}: the encoder has 3"):
        let_learn(model_of(), layers)


def test_shared_layers_cannot_be_frozen_in_part():
    model = model_of(config=Albert(**SIZES, embedding=8))
    with pytest.raises(ValueError, match="share one set of weights"):
        let_learn(model, 1)
    assert let_learn(model, 0) == [model.encoder]


@pytest.mark.parametrize("name", ["epochs", "size", "every", "patience", "rate", "fall", "fresh"])
def test_settings_that_make_no_sense_are_refused(name):
    nothing = 0 if name in ("epochs", "size", "every", "patience") else 0.0
    with pytest.raises(ValueError, match=f"{name}={nothing}: it must be"):
        Tuning(**{name: nothing})


# --- the batches


def test_an_epoch_has_each_text_once_and_like_lengths_together():
    lengths = [int(n) for n in torch.randint(1, 60, (500,), generator=seeded())]
    batches = batches_of(lengths, 16, seeded(1))
    assert sorted(i for batch in batches for i in batch) == list(range(500))
    assert len(batches) == math.ceil(500 / 16)
    spread = [max(lengths[i] for i in b) - min(lengths[i] for i in b) for b in batches]
    assert sum(spread) / len(spread) < 4, "of 60"
    assert batches != batches_of(lengths, 16, seeded(2))
    assert batches == batches_of(lengths, 16, seeded(1))
    firsts = [lengths[batch[0]] for batch in batches]
    assert firsts != sorted(firsts), "short texts come first"


def test_another_epoch_has_other_batches():
    lengths = list(
        range(1, 401)
    )  # all different: sorted as a whole, they would come together again
    groups = [{frozenset(b) for b in batches_of(lengths, 8, seeded(s), pool=5)} for s in (1, 2)]
    assert len(groups[0] & groups[1]) < 5


def test_labels_are_collated_by_hand():
    one, two = encoding([7, 8]), encoding([9])
    batch, labels = collate([Example(one, 1), Example(two, 0)])
    assert batch.ids.tolist() == [[CLS, 7, 8, SEP], [CLS, 9, SEP, 0]] and labels.tolist() == [1, 0]
    _, labels = collate([Example(one, [-100, 1, 0, -100]), Example(two, [-100, 1, -100])])
    assert labels.tolist() == [[-100, 1, 0, -100], [-100, 1, -100, -100]]
    _, labels = collate([Example(one, (1, 2)), Example(two, (1, 1))])
    assert labels.tolist() == [[1, 2], [1, 1]]
    _, labels = collate([Example(one, 2.5), Example(two, 0.0)])
    assert labels.is_floating_point() and labels.tolist() == [2.5, 0]


@pytest.mark.parametrize(
    "label, words",
    [([1, 2], "2 labels for the 3 tokens"), ((2, 1), "no span"), ((0, 3), "no span")],
)
def test_labels_that_do_not_fit_their_text_are_refused(label, words):
    with pytest.raises(ValueError, match=words):
        collate([Example(encoding([9]), label)])


# --- the loss


def test_the_loss_of_classes_by_hand():
    """Probabilities ¼ and ¾ of the right class; the label that is not asked does not count."""
    logits = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)], [5.0, 5.0]])
    labels = torch.tensor([0, 1, IGNORE_INDEX])
    expected = -(math.log(1 / 4) + math.log(3 / 4)) / 2
    assert task_loss(logits, labels).item() == pytest.approx(expected)
    weighed = task_loss(logits, labels, torch.tensor([3.0, 1.0])).item()
    assert weighed == pytest.approx(-(3 * math.log(1 / 4) + math.log(3 / 4)) / 4)


def test_the_loss_of_tags_counts_each_token_the_same():
    logits = torch.randn(2, 3, 4, generator=seeded())
    labels = torch.tensor([[1, 2, 3], [0, IGNORE_INDEX, IGNORE_INDEX]])
    each = [F.cross_entropy(logits[0, i], labels[0, i]) for i in range(3)]
    each.append(F.cross_entropy(logits[1, 0], labels[1, 0]))
    torch.testing.assert_close(task_loss(logits, labels), sum(each) / 4)


def test_the_loss_of_numbers_and_of_spans():
    assert task_loss(torch.tensor([[1.0], [2.0]]), torch.tensor([3.0, 2.0])).item() == 2
    span = Span(*torch.randn(2, 3, 5, generator=seeded()))
    labels = torch.tensor([[0, 2], [1, 1], [3, 4]])
    start, end = (F.cross_entropy(span[i], labels[:, i]) for i in (0, 1))
    torch.testing.assert_close(task_loss(span, labels), (start + end) / 2)


def test_weights_that_make_classes_count_the_same():
    assert balanced([0, 0, 0, 1], 2).tolist() == pytest.approx([4 / 6, 4 / 2])
    for classes in (1, 3):
        with pytest.raises(ValueError, match=r"these occur so often: \[3, 1"):
            balanced([0, 0, 0, 1], classes)


# --- the loop

QUICK = Tuning(epochs=3, size=8, rate=3e-3, seed=1)


@pytest.mark.parametrize(
    "make, head, least",
    [(classified, SequenceModel, 0.95), (tagged, TokenModel, 0.95), (pointed, SpanModel, 0.7)],
)
def test_a_task_is_learned_and_answered(make, head, least):
    model, asked = model_of(head, config=Bert(**SIZES, **STILL)), make(80, seed=5)
    finetune(model, make(400), Tuning(epochs=8, size=16, rate=5e-3), report=False)
    hits = []
    for answer, example in zip(predict(model, [e.encoding for e in asked]), asked, strict=True):
        if head is TokenModel:
            guesses = answer.argmax(dim=-1).tolist()
            hits += [g == t for g, t in zip(guesses, example.label, strict=True) if t >= 0]
        elif head is SpanModel:
            hits.append((int(answer.start.argmax()), int(answer.end.argmax())) == example.label)
        else:
            hits.append(int(answer.argmax()) == example.label)
    assert sum(hits) / len(hits) > least


def test_a_number_is_learned():
    model = model_of(SequenceModel, 1, config=Bert(**SIZES, **STILL))
    curve = finetune(model, measured(300), Tuning(epochs=8, size=16, rate=1e-2), measured(50, 5))
    assert curve[-1].loss < 0.2 * curve[0].loss
    assert best_of(curve).score > -0.02, "minus the squared error; that of the mean is 0.07"


def test_what_is_frozen_stays_to_the_bit_and_does_not_drop_out(monkeypatch):
    model, seen = model_of(), []
    before = {name: p.clone() for name, p in model.state_dict().items()}
    model.encoder.layers[1].register_forward_hook(lambda layer, *_: seen.append(layer.training))
    finetune(model, classified(40), replace(QUICK, layers=1, epochs=1), report=False)
    for name, p in model.state_dict().items():
        moves = name.startswith(("encoder.layers.2", "encoder.pooler", "classes"))
        assert torch.equal(p, before[name]) != moves, name
    assert seen and not any(seen) and not model.training


def test_layers_learn_at_falling_rates():
    """Adam's first step is as long as its rate, whatever the gradient: so the rates can be read."""
    model = model_of(config=Bert(**SIZES, **STILL))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    tuning = Tuning(epochs=1, size=64, rate=1e-3, warmup=0.0, decay=0.0, fall=0.5, fresh=8.0)
    finetune(model, classified(64), tuning, report=False)
    places = {"classes": 8, "encoder.pooler": 1, "encoder.layers.2": 1, "encoder.layers.1": 0.5}
    places |= {"encoder.layers.0": 0.25, "encoder.embeddings": 0.125}
    for name, p in model.named_parameters():
        factor = next(f for place, f in places.items() if name.startswith(place))
        moved = (p - before[name]).abs().max().item()
        assert moved == pytest.approx(1e-3 * factor, rel=0.03), name


def test_the_rate_rises_and_falls_over_all_epochs(monkeypatch):
    rates, make = [], finetuning.adamw

    def watched(*arguments):
        optimizer = make(*arguments)
        optimizer.register_step_pre_hook(lambda o, *_: rates.append(o.param_groups[0]["lr"]))
        return optimizer

    monkeypatch.setattr(finetuning, "adamw", watched)
    finetune(model_of(), classified(20), replace(QUICK, epochs=2, warmup=0.5), report=False)
    assert rates == pytest.approx([1e-3, 2e-3, 3e-3, 3e-3, 2e-3, 1e-3])


def test_a_long_gradient_is_cut(monkeypatch):
    lengths = []

    def watched(parameters, most):
        lengths.append(most)
        return clip(parameters, most)

    clip = torch.nn.utils.clip_grad_norm_
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", watched)
    finetune(model_of(), classified(16), replace(QUICK, epochs=1, clip=0.5), report=False)
    assert lengths == [0.5, 0.5]


def test_the_seed_decides_and_nothing_else():
    def state(seed, noise):
        torch.manual_seed(noise)
        model = model_of()
        finetune(model, classified(40), replace(QUICK, seed=seed), report=False)
        return model.classes.weight

    assert torch.equal(state(1, 0), state(1, 1))
    assert not torch.equal(state(1, 0), state(2, 0))


def test_the_global_state_stays_as_it_was():
    model = model_of()
    torch.manual_seed(7)
    before = torch.get_rng_state()
    finetune(model, classified(16), replace(QUICK, epochs=1), report=False)
    assert torch.equal(before, torch.get_rng_state())


# --- what is held out


def test_the_model_is_left_as_it_was_at_its_best_look():
    """Scores are given by hand: the second look is best, and an equal one later does not count."""
    marks, states = iter([0.1, 0.9, 0.5, 0.9, 0.2]), []
    model = model_of()

    def score(answers, labels):
        assert len(answers) == len(labels) == 10
        states.append(model.classes.weight.detach().clone())
        return next(marks)

    curve = finetune(
        model, classified(40), replace(QUICK, epochs=5), classified(10), score, report=False
    )
    assert [look.score for look in curve] == [0.1, 0.9, 0.5, 0.9, 0.2]
    assert torch.equal(model.classes.weight, states[1])
    assert not torch.equal(states[1], states[3])
    assert best_of(curve) == curve[1]


@pytest.mark.parametrize("patience, looks", [(1, 3), (2, 4), (None, 6)])
def test_it_stops_when_the_score_does_not_rise(patience, looks):
    marks = iter([0.1, 0.5, 0.5, 0.4, 0.3, 0.2])
    curve = finetune(
        model_of(),
        classified(40),
        replace(QUICK, epochs=6, patience=patience),
        classified(10),
        lambda *_: next(marks),
        report=False,
    )
    assert len(curve) == looks


def test_classes_are_scored_by_accuracy():
    model, asked = model_of(), classified(30, seed=5)
    curve = finetune(model, classified(60), replace(QUICK, epochs=1), asked, report=False)
    answers = predict(model, [e.encoding for e in asked])
    right = sum(int(a.argmax()) == e.label for a, e in zip(answers, asked, strict=True))
    assert curve[-1].score == right / 30


def test_without_held_out_texts_the_last_state_is_kept_and_nothing_is_scored():
    curve = finetune(model_of(), classified(24), replace(QUICK, every=2, epochs=2), report=False)
    assert [look.step for look in curve] == [2, 4, 6]
    assert [look.epoch for look in curve] == pytest.approx([2 / 3, 4 / 3, 2])
    assert all(math.isnan(look.score) for look in curve) and best_of(curve) == curve[-1]


def test_a_look_is_the_mean_since_the_last(capsys):
    learn, still = classified(24), Bert(**SIZES, **STILL)
    each = finetune(model_of(config=still), learn, replace(QUICK, epochs=2, every=1))
    some = finetune(model_of(config=still), learn, replace(QUICK, epochs=2, every=4), report=False)
    losses = [look.loss for look in each]
    expected = [sum(losses[:4]) / 4, sum(losses[4:]) / 2]
    assert [look.loss for look in some] == pytest.approx(expected)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6 and lines[0] == f"epoch 0.3  loss {losses[0]:.2f}"


def test_answers_come_in_the_order_of_the_texts_and_without_padding():
    model, asked = model_of(TokenModel, 3), [encoding(ids) for ids in texts(20, longest=9)]
    for answer, text in zip(predict(model, asked, size=4), asked, strict=True):
        assert answer.shape == (len(text.ids), 3)
        alone = model(torch.tensor([text.ids]))[0]
        torch.testing.assert_close(answer, alone, rtol=1e-4, atol=1e-5)


def test_answers_do_not_drop_out():
    model, asked = model_of(), [encoding([7, 8])]
    model.train()
    assert torch.equal(predict(model, asked)[0], predict(model, asked)[0])


# --- bad input


def test_no_example_and_examples_that_ask_nothing_are_refused():
    model = model_of(TokenModel, 2)
    with pytest.raises(ValueError, match="no example"):
        finetune(model, [], QUICK)
    nothing = Example(encoding([9]), [IGNORE_INDEX] * 3)
    with pytest.raises(ValueError, match="example 1 asks nothing"):
        finetune(model, [tagged(1)[0], nothing], QUICK)
    with pytest.raises(ValueError, match="example 1 has the label 1, the first"):
        finetune(model, [tagged(1)[0], Example(encoding([9]), 1)], QUICK)


def test_a_loss_that_is_no_number_stops_the_run():
    model = model_of()
    model.classes.weight.data.fill_(math.nan)
    with pytest.raises(ValueError, match="the loss is nan at step 0; lower the rate, 0.003"):
        finetune(model, classified(8), QUICK)


# --- what is kept


class Cut(Exception):
    pass


def cut_after(looks):
    """A score that ends the run like a power cut, while its second look is taken."""
    count = iter(range(looks + 1))

    def score(answers, labels):
        if next(count) == looks:
            raise Cut
        return accuracy_of(answers, labels)

    return score


def accuracy_of(answers, labels):
    return sum(int(a.argmax()) == t for a, t in zip(answers, labels, strict=True)) / len(labels)


def test_a_run_that_was_cut_goes_on_exactly(tmp_path):
    arguments = classified(40), replace(QUICK, epochs=4), classified(12, 5)
    whole = model_of()
    expected = finetune(whole, *arguments, accuracy_of, report=False)
    with pytest.raises(Cut):
        finetune(model_of(), *arguments, cut_after(2), folder=tmp_path, report=False)
    model = model_of()
    curve = finetune(model, *arguments, accuracy_of, folder=tmp_path, report=False)
    assert [look[:4] for look in curve] == [look[:4] for look in expected]
    for name, p in model.state_dict().items():
        assert torch.equal(p, whole.state_dict()[name]), name
    again = model_of()
    assert finetune(again, *arguments, accuracy_of, folder=tmp_path, report=False) == curve
    assert torch.equal(again.classes.weight, whole.classes.weight), "a finished run is made again"


@pytest.mark.parametrize("change", ["rate", "text", "held-out text", "model", "weights"])
def test_another_run_is_not_taken_for_this_one(tmp_path, change):
    learn, held_out = classified(16), classified(4, 5)
    tuning = replace(QUICK, epochs=1)
    finetune(model_of(), learn, tuning, held_out, folder=tmp_path, report=False)
    model, weights, words = model_of(seed=9 if change == "model" else 0), None, f"another {change}"
    if change == "rate":
        tuning, words = replace(tuning, rate=1e-2), "rate=0.003, not 0.01"
    elif change == "text":
        learn = classified(16, 3)
    elif change == "held-out text":
        held_out = classified(4, 3)
    elif change == "weights":
        weights, words = torch.tensor([1.0, 2.0]), "another weights of the classes"
    with pytest.raises(ValueError, match=words):
        finetune(model, learn, tuning, held_out, weights=weights, folder=tmp_path, report=False)


@pytest.mark.parametrize("config", [CONFIG, Distilbert(**SIZES)])
@pytest.mark.parametrize("head", [SequenceModel, TokenModel])
def test_transformers_loads_what_was_fine_tuned(tmp_path, config, head):
    model = model_of(head, 3, config=config)
    make = classified if head is SequenceModel else tagged
    finetune(model, make(16), replace(QUICK, epochs=1), report=False)
    save(model, tmp_path)
    auto = {
        SequenceModel: AutoModelForSequenceClassification,
        TokenModel: AutoModelForTokenClassification,
    }[head]
    theirs = auto.from_pretrained(tmp_path)
    ids = torch.tensor([[CLS, 7, 8, 9, SEP]])
    torch.testing.assert_close(theirs(ids).logits, model(ids), rtol=1e-4, atol=1e-5)


def test_the_defaults_lie_in_the_ranges_of_the_paper():
    """Section A.3: batches of 16 or 32, 2 to 4 epochs, rates of 2e-5 to 5e-5."""
    plan = asdict(Tuning())
    assert plan["size"] in (16, 32) and plan["epochs"] in (2, 3, 4) and 2e-5 <= plan["rate"] <= 5e-5
    assert plan["layers"] is None and plan["fall"] == plan["fresh"] == 1
    assert Look._fields == ("step", "epoch", "loss", "score", "seconds")

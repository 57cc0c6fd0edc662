"""Our pretraining beside `transformers`' Trainer with its collator, and beside a textbook's recipe.

Model, data, batch, optimiser and precision are the same, dropout is off, one thread. First tokens a
second: a run of some steps of each in turn. Then the held-out loss after the same time, measured
for each on the same masks; the recipe is that of Dive into Deep Learning, section 15.10: 2 layers,
128 wide, Adam, 50 steps of 512 texts of 64 tokens, here cut to 64 texts a step.
"""

import sys
import tempfile
import time

import torch
from transformers import (
    BertForMaskedLM,
    BertTokenizer,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from bertfamily.batches import pack
from bertfamily.checkpoints import load, save
from bertfamily.corpora import basic_english, data_path, hold_out
from bertfamily.encoder import Bert
from bertfamily.feeds import masked_rows
from bertfamily.heads import MaskedTokenModel
from bertfamily.masking import mask_tokens
from bertfamily.pretraining import Examples, evaluate
from bertfamily.training import Settings, fast_in_bfloat16, initialize, train
from bertfamily.wordpiece import fast, load_tokenizer

LENGTH, SIZE, STEPS = 64, 32, 40
RATE, SECONDS = 1e-3, float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
CONFIG = Bert(8_192, 256, 4, 4, 1_024, positions=128, dropout=0.0, attention_dropout=0.0)


class Stop(TrainerCallback):
    """End the Trainer's run when its time is over."""

    def __init__(self, seconds):
        self.seconds = seconds

    def on_train_begin(self, args, state, control, **_):
        self.start = time.perf_counter()

    def on_step_end(self, args, state, control, **_):
        control.should_training_stop = time.perf_counter() - self.start > self.seconds


def theirs_of(ours: MaskedTokenModel) -> BertForMaskedLM:
    """The same model in `transformers`, dropout off."""
    with tempfile.TemporaryDirectory() as folder:
        save(ours, folder)
        return BertForMaskedLM.from_pretrained(
            folder, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
        )


def fresh(config: Bert = CONFIG) -> MaskedTokenModel:
    model = MaskedTokenModel(config)
    initialize(model, torch.Generator().manual_seed(0), std=0.05)
    return model


def run_ours(model, rows, tokenizer, steps, seconds=None) -> tuple[MaskedTokenModel, float, int]:
    """Train by our loop; returns the model, the seconds it took and the steps."""
    settings = Settings(steps, RATE, warmup=0.0, every=steps, bfloat16=fast_in_bfloat16())
    feed, start, done = masked_rows(rows, SIZE, tokenizer, seed=0), time.perf_counter(), [0]

    def until(step):
        if seconds is not None and time.perf_counter() - start > seconds:
            raise TimeoutError
        done[0] = step + 1
        return feed(step)

    try:
        train(model, until, settings)
    except TimeoutError:
        pass
    return model.eval(), time.perf_counter() - start, done[0]


def run_theirs(model, rows, tokenizer, steps, seconds=None) -> tuple[MaskedTokenModel, float, int]:
    """Train by the Trainer; returns the model as ours, the seconds it took and the steps."""
    collate = DataCollatorForLanguageModeling(BertTokenizer(vocab=tokenizer.ids), seed=0)
    arguments = TrainingArguments(
        output_dir=tempfile.gettempdir(),
        per_device_train_batch_size=SIZE,
        max_steps=steps,
        learning_rate=RATE,
        lr_scheduler_type="linear",
        weight_decay=0.01,
        max_grad_norm=1.0,
        bf16=fast_in_bfloat16(),
        use_cpu=True,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    data = [{"input_ids": row} for row in rows]
    calls = [] if seconds is None else [Stop(seconds)]
    trainer = Trainer(model, arguments, collate, data, callbacks=calls)
    start = time.perf_counter()
    trainer.train()
    spent = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return load(folder).float(), spent, trainer.state.global_step


def run_textbook(rows, tokenizer, vocab, seconds) -> tuple[MaskedTokenModel, float, int]:
    """2 layers, 128 wide, plain Adam at 0.01, fresh weights as PyTorch makes them, float32."""
    torch.manual_seed(0)
    model = MaskedTokenModel(Bert(vocab, 128, 2, 2, 256, LENGTH, dropout=0.2)).train()
    optimizer, start, step = torch.optim.Adam(model.parameters(), lr=0.01), time.perf_counter(), 0
    feed = masked_rows(rows, 64, tokenizer, seed=0)
    while step < 50 and time.perf_counter() - start < seconds:
        asked = feed(step)
        chosen = asked.labels >= 0
        loss = torch.nn.functional.cross_entropy(
            model(asked.ids, chosen=chosen), asked.labels[chosen]
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
    return model.eval(), time.perf_counter() - start, step


def main() -> None:
    torch.set_num_threads(1)
    tokenizer = fast(load_tokenizer(data_path("checkpoints/mini")))
    learn, held_out = (
        torch.stack(list(pack(tokenizer.ids_of(texts), LENGTH, tokenizer.cls, tokenizer.sep)))
        for texts in hold_out([" ".join(d.sentences) for d in basic_english()])
    )
    print(
        f"{STEPS} steps of {SIZE} x {LENGTH}, bfloat16: {fast_in_bfloat16()}, one thread, in turn"
    )
    speeds = {"ours": [], "Trainer": []}
    for _ in range(3):
        _, spent, steps = run_ours(fresh(), learn, tokenizer, STEPS)
        speeds["ours"].append(steps * SIZE * LENGTH / spent)
        _, spent, steps = run_theirs(theirs_of(fresh()), learn, tokenizer, STEPS)
        speeds["Trainer"].append(steps * SIZE * LENGTH / spent)
    ours, theirs = (sorted(s)[1] for s in speeds.values())
    print(f"tokens a second: ours {ours:.0f}, Trainer {theirs:.0f}, ratio {ours / theirs:.2f}")

    generator, hidden = torch.Generator().manual_seed(1), (1.0, 0.0, 0.0)  # all that is chosen
    masks = [
        Examples(*mask_tokens(part, tokenizer.mask, tokenizer.ordinary, generator, shares=hidden))
        for part in held_out[:512].split(64)
    ]
    plenty = round(SECONDS * ours / (SIZE * LENGTH))  # what the loop manages in this time
    print(f"held-out loss after {SECONDS:.0f} s each, in nats (and accuracy):")
    for name, (model, spent, steps) in {
        "ours": run_ours(fresh(), learn, tokenizer, plenty, SECONDS),
        "Trainer": run_theirs(theirs_of(fresh()), learn, tokenizer, plenty, SECONDS),
        "textbook": run_textbook(learn, tokenizer, CONFIG.vocab, SECONDS),
    }.items():
        score = evaluate(model, masks)
        print(f"  {name:9}{score.loss:6.2f} ({score.accuracy:.1%}), {steps} steps, {spent:.0f} s")


if __name__ == "__main__":
    main()

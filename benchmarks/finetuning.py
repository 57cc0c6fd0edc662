"""Our fine-tuning beside `transformers`' Trainer: the same model, texts, batch size and settings.

Sentences of critics, of very different lengths. Each trains three times in turn, with three seeds,
on one thread; then both are asked about the same sentences. The Trainer runs as it comes, with
batches in random order, and once more with its own grouping by length.
"""

import random
import statistics
import sys
import tempfile
import time

import torch
from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments
from transformers.utils import logging

from bertfamily.checkpoints import load, save
from bertfamily.corpora import MINILM, carried, film_reviews, hold_out
from bertfamily.finetuning import Example, Tuning, finetune, predict, under_head
from bertfamily.heads import SequenceModel
from bertfamily.wordpiece import fast, load_tokenizer

TEXTS, ASKED, LONGEST, SEEDS = int(sys.argv[1]) if len(sys.argv) > 1 else 640, 600, 128, 3
PLAN = {"epochs": 2, "size": 32, "rate": 2e-4}


def collated(rows: list[dict]) -> dict[str, torch.Tensor]:
    """Padded to the longest of the batch, as the Trainer's own collator does."""
    width = max(len(row["input_ids"]) for row in rows)
    ids = torch.tensor([row["input_ids"] + [0] * (width - len(row["input_ids"])) for row in rows])
    labels = torch.tensor([row["labels"] for row in rows])
    return {"input_ids": ids, "attention_mask": (ids > 0).long(), "labels": labels}


def ours_of(model: SequenceModel, learn: list[Example], seed: int) -> float:
    start = time.perf_counter()
    finetune(model, learn, Tuning(**PLAN, seed=seed), report=False)
    return time.perf_counter() - start


def theirs_of(
    model: SequenceModel, learn: list[Example], seed: int, order: str
) -> tuple[float, SequenceModel]:
    """The seconds of the Trainer, and what it made, as a model of ours."""
    rows = [{"input_ids": e.encoding.ids, "labels": e.label} for e in learn]
    with tempfile.TemporaryDirectory() as folder:
        save(model, folder)
        theirs = AutoModelForSequenceClassification.from_pretrained(folder)
        arguments = TrainingArguments(
            folder,
            num_train_epochs=PLAN["epochs"],
            per_device_train_batch_size=PLAN["size"],
            learning_rate=PLAN["rate"],
            warmup_steps=0.1,
            weight_decay=0.01,
            max_grad_norm=1.0,
            seed=seed,
            train_sampling_strategy=order,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            logging_strategy="no",
            use_cpu=True,
        )
        trainer = Trainer(theirs, arguments, train_dataset=rows, data_collator=collated)
        start = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - start
        theirs.save_pretrained(folder)
        return seconds, load(folder)


def accuracy_of(model: SequenceModel, asked: list[Example]) -> float:
    answers = predict(model, [e.encoding for e in asked])
    return statistics.mean(int(a.argmax()) == e.label for a, e in zip(answers, asked, strict=True))


def main() -> None:
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    tokenizer = fast(load_tokenizer(carried(MINILM)))
    encoder = load(carried(MINILM))
    critics = [r for r in film_reviews() if r.source == "rotten_tomatoes"]
    parts = hold_out(critics, every=5)
    learn, asked = (
        [Example(tokenizer.encode(r.text, longest=LONGEST), int(r.positive)) for r in part]
        for part in (random.Random(0).sample(parts[0], TEXTS), parts[1][: 2 * ASKED : 2])
    )
    told: dict[str, list[tuple[float, float]]] = {}
    for seed in range(SEEDS):
        start = under_head(encoder, SequenceModel, 2, generator=torch.Generator().manual_seed(seed))
        model = under_head(encoder, SequenceModel, 2, generator=torch.Generator().manual_seed(seed))
        seconds = ours_of(model, learn, seed)
        told.setdefault("ours", []).append((seconds, accuracy_of(model, asked)))
        for order in ("random", "group_by_length"):
            seconds, made = theirs_of(start, learn, seed, order)
            told.setdefault(f"Trainer, {order}", []).append((seconds, accuracy_of(made, asked)))
    print(f"{TEXTS} sentences, {PLAN}, one thread, median and mean of {SEEDS} seeds")
    print(f"{'':28}{'seconds':>9}{'theirs/ours':>13}{'right':>8}")
    for name, found in told.items():
        ratio = statistics.median(t / o for (t, _), (o, _) in zip(found, told["ours"], strict=True))
        seconds, right = (
            f([x[i] for x in found]) for i, f in enumerate((statistics.median, statistics.mean))
        )
        print(f"{name:28}{seconds:9.1f}{ratio:13.2f}{right:8.3f}")


if __name__ == "__main__":
    main()

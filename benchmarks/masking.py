"""Masking beside `transformers`' DataCollatorForLanguageModeling, in tokens a second.

Each figure is a median of runs that take turns. The collator is measured as its Trainer calls it,
with a dict for each row; with bare rows; and with nothing left to do but to mask, when it is handed
a batch and where its special tokens are. For whole words it has a mode of its own, all [MASK].
"""

from functools import partial

import torch
from attention import milliseconds  # the script beside this one
from torch import Tensor
from transformers import BertTokenizer, DataCollatorForLanguageModeling

from bertfamily.masking import (
    choose_exactly,
    choose_ngrams,
    choose_spans,
    choose_words,
    hide,
    mask_tokens,
)

THREADS, RUNS, VOCAB, CLS, SEP, MASK = 1, 31, 30_522, 101, 102, 103
ORDINARY = torch.arange(VOCAB) >= 1000
SPECIAL = {0: "[PAD]", 100: "[UNK]", CLS: "[CLS]", SEP: "[SEP]", MASK: "[MASK]"}


def collator(**settings) -> DataCollatorForLanguageModeling:
    """With a tokenizer of BERT's size, whose ids below 1,000 are special or unused."""
    names = [SPECIAL.get(i, f"[unused{i}]" if i < 1000 else f"w{i}") for i in range(VOCAB)]
    tokenizer = BertTokenizer(vocab={name: i for i, name in enumerate(names)})
    assert (tokenizer.mask_token_id, len(tokenizer)) == (MASK, VOCAB)
    return DataCollatorForLanguageModeling(tokenizer, seed=0, **settings)


def with_offsets(row: Tensor, continues: Tensor) -> dict:
    """What the collator reads to mask whole words: pieces of one word touch each other."""
    ends = (torch.arange(len(row)) + (~continues).cumsum(dim=0)).tolist()
    offsets = torch.tensor([(end - 1, end) for end in ends])
    return {"input_ids": row, "offset_mapping": offsets, "special_tokens_mask": ~ORDINARY[row]}


def main() -> None:
    torch.set_num_threads(THREADS)
    generator = torch.Generator().manual_seed(0)
    collate = collator()
    whole = collator(whole_word_mask=True, mask_replace_prob=1.0, random_replace_prob=0.0)
    print(f"tokens a second, {THREADS} thread, median of {RUNS} runs in turn")
    print(f"{'batch':>5}{'seq':>5}  {'what':32}{'ours':>12}{'collator':>12}{'ratio':>7}")
    for batch, seq in ((32, 128), (256, 128), (32, 512)):
        ids = torch.randint(1000, VOCAB, (batch, seq), generator=generator)
        ids[:, 0], ids[:, -1] = CLS, SEP
        may, continues = ORDINARY[ids], torch.rand(batch, seq, generator=generator) < 0.2
        rows = [with_offsets(*row) for row in zip(ids, continues, strict=True)]
        ours = partial(mask_tokens, ids, MASK, ORDINARY, generator)

        def chosen_by(choose, *where, ids=ids):
            hide(ids, choose(*where, generator), MASK, ORDINARY, generator)

        def by_rows(collate, rows):
            collate([dict(row) for row in rows])  # it takes its rows apart

        def only_mask(ids=ids, may=may):
            collate.torch_mask_tokens(ids.clone(), special_tokens_mask=~may)

        for what, call, theirs in (
            ("mask_tokens", ours, partial(by_rows, collate, [{"input_ids": row} for row in ids])),
            ("mask_tokens, bare rows", ours, partial(collate, list(ids))),
            ("mask_tokens, special ones known", ours, only_mask),
            ("choose_exactly", partial(chosen_by, choose_exactly, may), None),
            (
                "choose_words",
                partial(chosen_by, choose_words, may, continues),
                partial(by_rows, whole, rows),
            ),
            ("choose_ngrams", partial(chosen_by, choose_ngrams, may, continues), None),
            ("choose_spans", partial(chosen_by, choose_spans, may, continues), None),
        ):
            calls = [call] if theirs is None else [call, theirs]
            a, *b = (1e3 * ids.numel() / ms for ms in milliseconds(calls, RUNS))
            line = f"{batch:5}{seq:5}  {what:32}{a:12,.0f}"
            print(line + (f"{b[0]:12,.0f}{a / b[0]:7.1f}" if b else ""), flush=True)


if __name__ == "__main__":
    main()

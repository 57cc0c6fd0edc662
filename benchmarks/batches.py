"""Batches a second beside `transformers`' padding collator, and how much of a batch is padding."""

from functools import partial

import torch
from attention import milliseconds  # the script beside this one
from transformers import BertTokenizer, DataCollatorWithPadding

from bertfamily.batches import buckets, pack, pad, padding_share
from bertfamily.corpora import MINILM, carried, film_reviews
from bertfamily.wordpiece import fast, load_tokenizer

THREADS, RUNS, TEXTS, SIZE, LONGEST = 1, 15, 2_048, 32, 128


def main() -> None:
    torch.set_num_threads(THREADS)
    tokenizer = fast(load_tokenizer(carried(MINILM)))
    texts = [review.text for review in film_reviews()[::16]][:TEXTS]
    encodings = [tokenizer.encode(text, longest=LONGEST) for text in texts]
    lengths = [len(encoding.ids) for encoding in encodings]
    as_they_come = [list(range(i, min(i + SIZE, len(texts)))) for i in range(0, len(texts), SIZE)]

    collate = DataCollatorWithPadding(BertTokenizer(vocab=tokenizer.ids))
    rows = [
        {"input_ids": e.ids, "token_type_ids": e.segments, "attention_mask": [1] * len(e.ids)}
        for e in encodings
    ]

    def ours():
        for batch in as_they_come:
            pad([encodings[i] for i in batch])

    def theirs():
        for batch in as_they_come:
            collate([rows[i] for i in batch])

    a, b = milliseconds([ours, theirs], RUNS)
    count = len(as_they_come)
    print(f"{count} batches of {SIZE} film reviews of at most {LONGEST} pieces, {THREADS} thread")
    print(f"batches a second: ours {1e3 * count / a:.0f}, collator {1e3 * count / b:.0f}")
    print(f"ratio {b / a:.2f}")

    to_512 = 1 - sum(lengths) / (512 * len(lengths))
    sorted_ones = buckets(lengths, SIZE, torch.Generator().manual_seed(0))
    packing = partial(pack, [e.ids[1:-1] for e in encodings], LONGEST)
    full = sum(1 for _ in packing(cls=tokenizer.cls, sep=tokenizer.sep))
    print("share of padding:")
    print(f"  to 512                  {to_512:6.1%}")
    print(f"  to the longest of {SIZE}    {padding_share(lengths, as_they_come):6.1%}")
    print(f"  the same, in buckets    {padding_share(lengths, sorted_ones):6.1%}")
    print(f"  packed                  {0:6.1%} ({full} rows in place of {len(texts)})")


if __name__ == "__main__":
    main()

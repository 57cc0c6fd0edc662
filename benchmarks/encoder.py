"""Our encoder beside that of `transformers`: a forward pass, and a training step.

Each figure is a median of runs that take turns; the ratio says how many times as fast we are.
Ragged batches hold texts of 8 to 128 tokens; ours are read by length.
"""

import itertools
import statistics
import time
from functools import partial

import torch
import transformers

from bertfamily.encoder import Encoder, encode_by_length
from bertfamily.flavors import FLAVORS

THREADS, RUNS, BATCH, SEQ = 2, 7, 8, 128
NAMES = {"base": "bert-base-uncased", "mini": "google/bert_uncased_L-4_H-256_A-4"}


def milliseconds(*calls) -> list[float]:
    """The median time of each call; the calls take turns, after one round to warm up."""
    times = [[] for _ in calls]
    for _ in range(RUNS + 1):
        for call, spent in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            spent.append(1e3 * (time.perf_counter() - start))
    return [statistics.median(spent[1:]) for spent in times]


def theirs(config, attention):
    """The same sizes in transformers."""
    sizes = {"hidden_size": config.hidden, "num_hidden_layers": config.layers}
    sizes |= {"num_attention_heads": config.heads, "intermediate_size": config.inner}
    return transformers.BertModel(transformers.BertConfig(**sizes, attn_implementation=attention))


def step(model, read):
    """Forward, a loss on every output, backward."""
    model.zero_grad()
    read().float().pow(2).mean().backward()


def main() -> None:
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    print(f"batch {BATCH}, up to {SEQ} tokens, {THREADS} threads, median of {RUNS} runs in turn")
    print(
        f"{'size':>5}{'lengths':>9}{'dtype':>10}{'what':>9}{'ours ms':>10}{'sdpa':>7}{'eager':>7}"
    )
    cases = itertools.product(NAMES, ("full", "ragged"), ("float32", "bfloat16"))
    for size, lengths, name in cases:
        dtype = getattr(torch, name)
        config = FLAVORS[NAMES[size]]
        ours = Encoder(config).to(dtype)
        others = [theirs(config, attention).to(dtype) for attention in ("sdpa", "eager")]
        ids = torch.randint(1000, 2000, (BATCH, SEQ))
        length = (
            torch.full((BATCH,), SEQ) if lengths == "full" else torch.randint(8, SEQ + 1, (BATCH,))
        )
        length[0] = SEQ
        keep = torch.arange(SEQ) < length[:, None]
        if lengths == "full":
            read = lambda: ours(ids, None, None).output  # noqa: E731, B023
        else:
            read = lambda: encode_by_length(ours, ids, None, keep).output  # noqa: E731, B023
        mask = None if lengths == "full" else keep.long()
        reads = [
            partial(lambda m, i, k: m(i, attention_mask=k).last_hidden_state, m, ids, mask)
            for m in others
        ]
        for model in (ours, *others):
            model.eval()
        with torch.inference_mode():
            report(size, lengths, name, "forward", milliseconds(read, *reads))
        for model in (ours, *others):
            model.train()
        calls = [partial(step, m, r) for m, r in zip((ours, *others), (read, *reads), strict=True)]
        report(size, lengths, name, "step", milliseconds(*calls))


def report(size, lengths, name, what, times) -> None:
    ours, sdpa, eager = times
    row = f"{size:>5}{lengths:>9}{name:>10}{what:>9}{ours:10.1f}"
    print(f"{row}{sdpa / ours:7.2f}{eager / ours:7.2f}", flush=True)


if __name__ == "__main__":
    main()

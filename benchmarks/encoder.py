"""Our encoder beside that of `transformers`: a forward pass, and a training step.

Each figure is a median of runs that take turns; the ratios say how many times as fast as theirs we
are. Ragged batches hold texts of 8 to 128 tokens, which we read by length. Base takes minutes.
"""

import itertools
from functools import partial

import torch
import transformers
from attention import milliseconds  # the script beside this one

from bertfamily.batches import encode_by_length
from bertfamily.encoder import Config, Encoder
from bertfamily.flavors import FLAVORS

THREADS, BATCH, SEQ = 2, 16, 128
SIZES = {"mini": ("google/bert_uncased_L-4_H-256_A-4", 9), "base": ("bert-base-uncased", 3)}


def reference(config: Config, attention: str) -> torch.nn.Module:
    """The same sizes in transformers."""
    sizes = {"hidden_size": config.hidden, "num_hidden_layers": config.layers}
    sizes |= {"num_attention_heads": config.heads, "intermediate_size": config.inner}
    return transformers.BertModel(transformers.BertConfig(**sizes, attn_implementation=attention))


def read_ours(model, ids, keep):
    if keep is None:
        return model(ids).output
    return encode_by_length(model, ids, None, keep).output


def read_theirs(model, ids, keep):
    mask = None if keep is None else keep.long()
    return model(ids, attention_mask=mask).last_hidden_state


def step(model, read):
    """Forward, a loss on every output, backward."""
    model.zero_grad()
    read().float().pow(2).mean().backward()


def main() -> None:
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    ids = torch.randint(1000, 2000, (BATCH, SEQ))
    lengths = torch.randint(8, SEQ + 1, (BATCH,)).index_fill(0, torch.tensor([0]), SEQ)
    keeps = {"full": None, "ragged": torch.arange(SEQ) < lengths[:, None]}
    print(f"batch {BATCH}, up to {SEQ} tokens, {THREADS} threads, median of runs in turn")
    print(f"{'size':>5}{'texts':>8}{'dtype':>10}{'what':>9}{'ours ms':>9}{'sdpa':>7}{'eager':>7}")
    for size, dtype in itertools.product(SIZES, ("float32", "bfloat16")):
        name, runs = SIZES[size]
        models = [Encoder(FLAVORS[name])]
        models += [reference(FLAVORS[name], attention) for attention in ("sdpa", "eager")]
        models = [model.to(getattr(torch, dtype)) for model in models]
        for texts, keep in keeps.items():
            reads = [partial(read_ours, models[0], ids, keep)]
            reads += [partial(read_theirs, model, ids, keep) for model in models[1:]]
            steps = [partial(step, *pair) for pair in zip(models, reads, strict=True)]
            for what, calls in (("forward", reads), ("step", steps)):
                for model in models:
                    model.train(what == "step")
                with torch.inference_mode(what == "forward"):
                    ours, *others = milliseconds(calls, runs)
                row = f"{size:>5}{texts:>8}{dtype:>10}{what:>9}{ours:9.1f}"
                print(row + "".join(f"{other / ours:7.2f}" for other in others), flush=True)


if __name__ == "__main__":
    main()

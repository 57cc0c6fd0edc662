"""What each head of the fill-mask is worth: its loss on hidden words with that head switched off.

python experiments/head_costs.py

The words are hidden in the passages of `data/passages.jsonl`, as in chapter 8, which asks `mini`
the same. The cheapest heads are chosen on every second passage, and switched off together on the
others.
"""

import json

import torch
import torch.nn.functional as F
from runs import ROOT, made_with, write_record

from bertfamily import corpora
from bertfamily.batches import pad
from bertfamily.checkpoints import load
from bertfamily.counts import interval
from bertfamily.inspection import cost_of_heads, heads_off
from bertfamily.wordpiece import load_tokenizer

FOLDER, TARGET = "data/checkpoints/fill-mask", "data/runs/head-costs.json"
SEED, HIDDEN, LONGEST, COUNTS = 0, 0.15, 128, (6, 12, 18, 24, 36, 48, 60, 72)


def main() -> None:
    torch.set_num_threads(1)
    model = load(ROOT / FOLDER, rest=corpora.grammar_tagger()).float()
    tokenizer = load_tokenizer(ROOT / FOLDER)
    lines = corpora.data_path("passages.jsonl").read_text("utf-8").splitlines()
    encodings = [tokenizer.encode(json.loads(line)["text"], longest=LONGEST) for line in lines]
    ids, segments, keep = pad(encodings, tokenizer.pad)
    drawn = torch.rand(ids.shape, generator=torch.Generator().manual_seed(SEED))
    blanks = tokenizer.ordinary[ids] & (drawn < HIDDEN)
    read = ids.masked_fill(blanks, tokenizer.mask)
    passage = torch.arange(len(ids))[:, None].expand_as(ids)[blanks]

    @torch.no_grad()
    def losses() -> torch.Tensor:
        scores = model(read, segments, keep, chosen=blanks)
        return F.cross_entropy(scores, ids[blanks], reduction="none")

    def rounded(values: torch.Tensor, of: torch.Tensor) -> list[float]:
        return [round(x, 4) for x in interval(values, of)]

    whole, costs = losses(), cost_of_heads(model.encoder, losses)
    layers, heads = costs.shape[:2]
    choose, ask = passage % 2 == 0, passage % 2 == 1
    order = costs[..., choose].mean(dim=-1).flatten().argsort().tolist()
    together = {}
    for count in COUNTS:
        off = [divmod(i, heads) for i in order[:count]]
        with heads_off(model.encoder, off):
            joint = losses() - whole
        singly = costs.flatten(0, 1)[order[:count]].sum(dim=0)
        together[count] = {
            "cost": rounded(joint[ask], passage[ask]),
            "more than singly": rounded((joint - singly)[ask], passage[ask]),
        }
    record = {
        "model": FOLDER,
        "passages": len(ids),
        "blanks": len(whole),
        "seed": SEED,
        "hidden": HIDDEN,
        "loss": rounded(whole, passage),
        "costs": [[rounded(costs[i, j], passage) for j in range(heads)] for i in range(layers)],
        "cheapest together": together,
        "made with": made_with(1, torch.device("cpu")),
    }
    write_record(ROOT / TARGET, record)


if __name__ == "__main__":
    main()

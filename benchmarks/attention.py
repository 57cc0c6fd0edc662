"""Our MultiHeadAttention beside torch.nn.MultiheadAttention, and its time by length.

Each figure is the median of runs that take turns, so that a machine that slows down slows both.
`python benchmarks/attention.py --record` also stores the times by length for chapter 2.
"""

import argparse
import datetime
import json
import platform
import statistics
import time
from functools import partial
from pathlib import Path

import torch

from bertfamily.attention import MultiHeadAttention

HIDDEN, HEADS, THREADS, RUNS = 768, 12, 2, 15  # the sizes of BERT-base
RECORD = Path(__file__).resolve().parents[1] / "data" / "runs" / "attention.json"


def milliseconds(calls, runs) -> list[float]:
    """The median time of each call; the calls take turns, after one round to warm up."""
    times = [[] for _ in calls]
    for _ in range(runs + 1):
        for call, spent in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            spent.append(1e3 * (time.perf_counter() - start))
    return [statistics.median(spent[1:]) for spent in times]


def beside_torch() -> None:
    print(
        f"forward, {THREADS} threads, hidden {HIDDEN}, heads {HEADS}; median of {RUNS} runs in turn"
    )
    print(f"{'dtype':>10}{'batch':>7}{'seq':>6}{'ours ms':>10}{'torch ms':>10}{'torch/ours':>12}")
    for dtype in (torch.float32, torch.bfloat16):
        ours = MultiHeadAttention(HIDDEN, HEADS).to(dtype).eval()
        theirs = torch.nn.MultiheadAttention(HIDDEN, HEADS, batch_first=True).to(dtype).eval()
        for batch, seq in ((1, 16), (8, 128), (2, 512)):
            x = torch.randn(batch, seq, HIDDEN, dtype=dtype)
            a, b = milliseconds(
                [partial(ours, x), partial(theirs, x, x, x, need_weights=False)], RUNS
            )
            name = str(dtype).removeprefix("torch.")
            print(f"{name:>10}{batch:7}{seq:6}{a:10.2f}{b:10.2f}{b / a:12.2f}")


def by_length() -> dict:
    """Milliseconds of one layer for one text of growing length, with and without its weights."""
    layer = MultiHeadAttention(HIDDEN, HEADS).eval()
    lengths, rows = [64, 128, 256, 512, 1024, 2048, 4096], []
    for seq in lengths:
        x = torch.randn(1, seq, HIDDEN)
        calls = [partial(layer, x), partial(layer, x, with_weights=True)]
        rows.append(milliseconds(calls, RUNS))
        print(f"length {seq:5}: fused {rows[-1][0]:8.2f} ms, formula {rows[-1][1]:8.2f} ms")
    settings = {
        "what": "forward of one MultiHeadAttention, batch 1, float32, median milliseconds",
        "hidden": HIDDEN, "heads": HEADS, "threads": THREADS, "runs": RUNS,
        "torch": torch.__version__, "processor": processor(),
        "date": datetime.date.today().isoformat(),
    }  # fmt: skip
    fused, formula = zip(*[[round(ms, 2) for ms in row] for row in rows], strict=True)
    return {"settings": settings, "length": lengths, "fused": fused, "formula": formula}


def processor() -> str:
    """The processor's own name, where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="store the times by length")
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    with torch.inference_mode():
        beside_torch()
        record = by_length()
    if options.record:
        RECORD.write_text(json.dumps(record, indent=1) + "\n")

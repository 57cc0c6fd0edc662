"""Chapter 1's small network on each choice of four neighbours, with more seeds and more training.

    python experiments/neighbours.py

The network, its training, the blanks and the intervals are the chapter's own: its cells are run up
to the one that defines `ask`. Recorded are the perplexities, and the differences in nats a blank
from four neighbours on the left and on the right, of each seed and of the mean of all seeds. A
difference is an interval over documents: its mean and its ends.
"""

import json
import time

from runs import ROOT, made_with, write_record

CHAPTER, TARGET = "chapters/01_guessing.ipynb", "data/runs/neighbours.json"
RUNS = {600: range(3), 1800: range(3)}  # the seeds by the steps


def cells_of_the_chapter() -> dict:
    """What is defined once the chapter has run as far as `ask`, its pictures left out."""
    defined: dict = {}
    for cell in json.loads((ROOT / CHAPTER).read_text("utf-8"))["cells"]:
        if cell["cell_type"] == "code" and "figure" not in cell["metadata"].get("tags", []):
            source = "".join(cell["source"])
            exec(source, defined)
            if "def ask(" in source:
                return defined
    raise ValueError(f"{CHAPTER} defines no ask")


def main() -> None:
    start = time.perf_counter()
    chapter = cells_of_the_chapter()
    near, group, in_bible = chapter["NEAR"], chapter["group"], chapter["in_bible"]
    parts = {"all": group >= 0, "Bible": in_bible, "addresses": ~in_bible}
    record = {"near": near, "blanks": {name: int(part.sum()) for name, part in parts.items()}}
    for steps, seeds in RUNS.items():
        losses = {}
        for name, steps_away in near.items():
            losses[name] = [
                chapter["ask"](chapter["train"](steps_away, seed, steps), steps_away)
                for seed in seeds
            ]
            print(f"{steps} steps, {name}: {time.perf_counter() - start:.0f} s", flush=True)
        record[str(steps)] = {
            "seeds": [*seeds],
            "perplexity": {
                name: {
                    of: [round(chapter["perplexity_of"](nats[part]), 2) for nats in found]
                    for of, part in parts.items()
                }
                for name, found in losses.items()
            },
            "gain": {
                f"{one} on {other}": {
                    of: [
                        [
                            round(x, 4)
                            for x in chapter["interval"](apart.double()[part], group[part])
                        ]
                        for apart in differences(losses[one], losses[other])
                    ]
                    for of, part in parts.items()
                }
                for one in near
                for other in ("four left", "four right")
                if one != other
            },
        }
        record["made with"] = made_with(1, chapter["torch"].device("cpu"))
        record["seconds"] = round(time.perf_counter() - start)
        write_record(ROOT / TARGET, record)


def differences(one: list, other: list) -> list:
    """By how many nats the first is better at each blank: by each seed, and last by their mean."""
    apart = [b - a for a, b in zip(one, other, strict=True)]
    return [*apart, sum(apart) / len(apart)]


if __name__ == "__main__":
    main()

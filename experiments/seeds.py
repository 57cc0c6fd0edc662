"""Make one run with several seeds, and record how far their results lie apart.

    python experiments/seeds.py experiments/mini_short.toml data/runs/mini-seeds.json 0 1 2

The models themselves are not kept in the course; they lie in folders beside the one that the
settings name, and a seed whose record lies there is not run again.
"""

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

from runs import ROOT, read_record, read_settings, write_record

from bertfamily.training import read_curve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("record", type=Path)
    parser.add_argument("seeds", type=int, nargs="+")
    options = parser.parse_args()
    config, records = read_settings(options.config), {}
    for seed in options.seeds:
        folder = ROOT / f"{config['folder']}-{seed}"
        if not (folder / "record.json").exists():
            script = [sys.executable, str(ROOT / "experiments" / "pretrain.py"), options.config]
            subprocess.run([*script, "--folder", folder, "--seed", str(seed)], check=True)
        curve = [point._asdict() for point in read_curve(folder / "curve.csv")]
        records[str(seed)] = read_record(folder / "record.json") | {"curve": curve}
    spread = {
        corpus: {
            what: [
                round(f(r["held out"][corpus][what] for r in records.values()), 4)
                for f in (statistics.mean, statistics.stdev)
            ]
            for what in ("loss", "accuracy")
        }
        for corpus in records[str(options.seeds[0])]["held out"]
    }
    write_record(options.record, {"mean and standard deviation": spread, "runs": records})


if __name__ == "__main__":
    main()

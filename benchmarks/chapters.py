"""Seconds and memory that each chapter takes, its start and that of Python included.

These are the figures at the head of the chapters. Memory is that of the largest process, the
kernel, and is known only where the system accounts for it (not on Windows).
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHAPTERS = sorted((Path(__file__).resolve().parents[1] / "chapters").glob("*.ipynb"))
# Runs one chapter and prints the largest memory of the processes that this took, in bytes.
RUN = """
import subprocess, sys
subprocess.run([sys.executable, "-m", "jupyter", "execute", *sys.argv[1:]], check=True)
try:
    import resource
    unit = 1 if sys.platform == "darwin" else 1024
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit)
except ImportError:
    print("nan")
"""

for chapter in CHAPTERS:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        output = f"--output={Path(folder) / chapter.name}"
        done = subprocess.run(
            [sys.executable, "-c", RUN, output, chapter], capture_output=True, text=True
        )
        seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{chapter.stem} fails: {done.stderr[-600:]}")
    print(f"{chapter.stem}: {seconds:.0f} s, {float(done.stdout.split()[-1]) / 1e9:.1f} GB")

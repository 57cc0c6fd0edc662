"""What holds for every test and every chapter that is re-run: one thread and no network."""

import os
from pathlib import Path

from tasks import KERNEL

# Python processes that are started by the tests, the chapters' kernels among them, find
# tests/offline/sitecustomize.py on their path; it refuses every connection.
os.environ["PYTHONPATH"] = str(Path(__file__).parent / "tests" / "offline")
os.environ |= KERNEL

"""What holds for every test and every chapter that is re-run: one thread and no network."""

import os
import shutil
from pathlib import Path

import pytest

from tasks import KERNEL

# Python processes that are started by the tests, the chapters' kernels among them, find this
# checkout's package on their path, whatever is installed, and tests/offline/sitecustomize.py, which
# refuses every connection.
ROOT = Path(__file__).resolve().parent
os.environ["PYTHONPATH"] = os.pathsep.join(map(str, [ROOT / "tests" / "offline", ROOT / "src"]))
os.environ |= KERNEL

CHROMIUM = list(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])))
FLAGS = """--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync""".split()


@pytest.fixture(scope="session")
def browser():
    """One for all files of tests: a process cannot have two of Playwright's loops."""
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright  # here: most runs of pytest need no browser

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM[0], args=FLAGS)
        yield browser
        browser.close()

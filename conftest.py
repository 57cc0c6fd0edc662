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


def pytest_collection_modifyitems(items):
    """A busy machine may bring the output of a cell late: nbval waits for five seconds."""
    for item in items:
        if hasattr(item, "output_timeout"):
            item.output_timeout = 60


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """What ran out of time says what that means."""
    report = yield
    if report.failed and "Timeout of" in str(report.longrepr):
        limit = item.config.option.nbval_cell_timeout
        report.longrepr = (
            f"{report.longrepr}\n{item.nodeid} was stopped: it took more than {limit:g} seconds, "
            "the limit for what hangs. Nothing is said of what it puts out, nor of the cells after "
            "it. Run it alone; what a chapter may take is measured by `make bench`."
        )
    return report

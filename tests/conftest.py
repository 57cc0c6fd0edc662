"""The built site, served on this machine, and a visit to it in a real browser."""

import contextlib
import functools
import http.server
import re
import threading
from collections import namedtuple

import pytest
from filelock import FileLock

import tasks

Opened = namedtuple("Opened", "name page problems weights")


@pytest.fixture(scope="session")
def site(testrun_uid):
    """Built once in a run of the tests, however many processes share it."""
    tasks.SITE.parent.mkdir(exist_ok=True)
    built = tasks.SITE.parent / "tested"
    with FileLock(f"{built}.lock"):
        if not built.exists() or built.read_text() != testrun_uid:
            tasks.build()
            built.write_text(testrun_uid)
    return tasks.SITE


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@contextlib.contextmanager
def served(folder):
    """The address at which a folder is served on this machine."""
    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def serve():
    return served


@pytest.fixture(scope="session")
def address(site, serve):
    with serve(site) as address:
        yield address


@pytest.fixture(scope="module")
def visit(browser, address):
    """Open a page of the site; what goes wrong and what weighs how much is written down."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, color_scheme="light", reduced_motion="reduce"
    )

    def visit(name, address=address):
        page, problems, requests = context.new_page(), [], []

        def route(route):
            if route.request.url.startswith(address):
                route.continue_()
            else:
                problems.append(f"asks for {route.request.url}")
                route.abort()

        page.route(re.compile("^(?!file:|data:)"), route)
        page.on("requestfinished", lambda r: requests.append(r))
        page.on("response", lambda r: problems.append(r.url) if r.status >= 400 else None)
        page.on("requestfailed", lambda r: problems.append(f"failed: {r.url}"))
        page.on("pageerror", lambda e: problems.append(str(e)))
        page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
        page.goto(f"{address}/{name}", wait_until="networkidle")
        weights = {request.url: len(request.response().body()) for request in requests}
        return Opened(name, page, problems, weights)

    yield visit
    context.close()

"""The built site: links, claims and weight from its files; what a reader meets in a real browser.

The site is built here from the stored notebooks and served on this machine; every request to
another host is stopped and counts as an error. Without Chromium the browser's tests are skipped.
"""

import functools
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from axe_playwright_python.base import AXE_SCRIPT
from bs4 import BeautifulSoup

ROOT = Path(__file__).parents[1]
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
FILES = [TOC["root"]] + [item["file"] for part in TOC["parts"] for item in part["chapters"]]
CHAPTERS = [name for name in FILES if (ROOT / f"{name}.ipynb").exists()]
# One page of the package stands for those of all modules.
PAGES = [*FILES, "book/api/attention", "search", "genindex", "py-modindex"]
PAGES = [f"{name}.html" for name in PAGES]
# What we write by hand or make ourselves is looked at in every mode, the rest in one.
THOROUGH = ["book/intro", "book/claims", "book/corrections", "book/api/attention", *CHAPTERS]
THOROUGH = [f"{name}.html" for name in THOROUGH]
HEAVY = 1_500_000  # bytes, uncompressed, of a chapter's page with all that it loads


@functools.cache
def soup(path):
    return BeautifulSoup(path.read_text("utf-8"), "html.parser")


@functools.cache
def places(path):
    return {tag["id"] for tag in soup(path).find_all(id=True)}


# --- the files


def test_no_internal_link_is_dead(site):
    pages = [p for p in site.rglob("*.html") if "_static" not in p.parts]
    assert {site / name for name in PAGES} <= set(pages)
    dead = []
    for page in pages:
        for tag in soup(page).find_all(["a", "link", "img", "script", "source", "iframe"]):
            target = tag.get("href") or tag.get("src")
            url = urlsplit(target or "")
            if not target or url.scheme or url.netloc:
                continue
            path = (page.parent / unquote(url.path)).resolve() if url.path else page
            if path.is_dir():
                path /= "index.html"
            if not path.is_file():
                dead.append(f"{page.relative_to(site)}: {target}")
            elif url.fragment and path.suffix == ".html":
                if unquote(url.fragment) not in places(path):
                    dead.append(f"{page.relative_to(site)}: {target} (no such place)")
    assert dead == []


@pytest.mark.parametrize("name", PAGES)
def test_images_say_what_they_show(site, name):
    for image in soup(site / name).select("article img"):
        alt = image.get("alt", "").strip()
        named = re.search(r"\.(png|svg|jpe?g|gif)$", alt)
        assert alt and not named, f"alt={alt!r} of {str(image)[:300]}"


@pytest.mark.parametrize("name", CHAPTERS)
def test_launch_buttons_lead_to_the_notebook(site, name):
    repository = CONFIG["repository"]
    owner = urlsplit(repository["url"]).path
    links = {a.get("href") for a in soup(site / f"{name}.html").find_all("a")}
    branch = repository["branch"]
    assert f"https://colab.research.google.com/github{owner}/blob/{branch}/{name}.ipynb" in links
    assert f"https://mybinder.org/v2/gh{owner}/{branch}?urlpath=lab/tree/{name}.ipynb" in links


# --- the browser


@pytest.fixture(scope="module", params=PAGES)
def opened(request, visit):
    """Each page, opened once for the tests that ask something of every page."""
    opened = visit(request.param)
    yield opened._replace(problems=list(opened.problems))  # axe has requests of its own, later
    opened.page.close()


def show(page, scheme, width):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    # The theme's script looks at a new width after 300 ms, and some colours fade.
    page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 350)))")


def is_dark(page):
    """Light letters on a dark ground; anything but that or its opposite cannot be read."""
    style = page.evaluate("(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))")
    ground, letters = ([int(n) for n in re.findall(r"\d+", color)[:3]] for color in style)
    assert max(ground) < 60 and min(letters) > 180 or min(ground) > 200 and max(letters) < 100
    return max(ground) < 60


def test_opens_without_an_error(opened):
    assert opened.problems == []
    assert opened.page.locator("main").inner_text().strip()


def test_formulas_are_drawn(opened):
    formulas = opened.page.locator(".math").all()
    assert formulas or opened.name.removesuffix(".html") not in CHAPTERS
    for formula in formulas:
        drawn = formula.locator("math").first
        if drawn.is_visible():
            assert min(drawn.bounding_box()[side] for side in ("width", "height")) > 4
        assert not re.search(r"\\[a-zA-Z(\[]", formula.inner_text())  # no TeX is left


def test_a_chapter_is_light(opened):
    if opened.name.removesuffix(".html") in CHAPTERS:
        heaviest = sorted(((size, url) for url, size in opened.weights.items()), reverse=True)[:6]
        total = sum(opened.weights.values())
        assert total > 300_000  # the styles, the font of the formulas and the text are counted
        assert total < HEAVY, f"{total:,} bytes; the heaviest: {heaviest}"


def test_has_no_axe_violation(opened):
    contrast = "color-contrast"  # takes the longest, and depends on the scheme, not on the width
    modes = {
        ("light", 1280): {},
        ("dark", 390): {"runOnly": [contrast]},
        ("light", 390): {"rules": {contrast: {"enabled": False}}},
    }
    for frame in opened.page.frames:  # from the page's own, axe asks those in the viewers
        frame.evaluate(AXE_SCRIPT)
    for mode in modes if opened.name in THOROUGH else [("light", 1280)]:
        show(opened.page, *mode)
        options = {"resultTypes": ["violations"], **modes[mode]}
        result = opened.page.evaluate("axe.run", options)
        assert result["passes"]
        assert [
            f"{mode} {found['id']}: {node['html'][:200]} {node['failureSummary']}"
            for found in result["violations"]
            for node in found["nodes"]
        ] == []


def test_fits_a_phone(opened):
    show(opened.page, "light", 390)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_search_finds_softmax(visit):
    told = [c for c in CHAPTERS if "softmax" in (ROOT / f"{c}.ipynb").read_text("utf-8")]
    assert told
    page = visit(f"{TOC['root']}.html").page
    page.keyboard.press("Control+k")
    page.locator("dialog[open] input[name=q]").fill("softmax")
    page.keyboard.press("Enter")
    for chapter in told:
        page.locator(f"#search-results a[href*='{chapter}.html']").first.wait_for(timeout=10_000)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_viewers_work_by_keyboard(visit, chapter):
    page = visit(f"{chapter}.html").page
    viewers = page.locator("iframe[title^='Attention']").all()
    assert viewers or "AttentionView(" not in page.content()
    for viewer in viewers:
        for _ in range(300):  # as a reader comes to it, by Tab alone
            page.keyboard.press("Tab")
            if viewer.evaluate("frame => frame === document.activeElement"):
                break
        said = viewer.content_frame.locator("[aria-live]")
        heard = [said.inner_text()]
        for key in ["ArrowDown", "ArrowRight", "ArrowUp", "ArrowLeft", "Tab", "ArrowDown"]:
            page.keyboard.press(key)
            heard.append(said.inner_text())
        assert len(set(heard)) > 1 and "looks at" in heard[-1], heard


# What the theme does is the same in every chapter, so one is enough.


def test_dark_follows_the_system_and_the_button(visit):
    page = visit(f"{CHAPTERS[0]}.html").page
    assert not is_dark(page)
    show(page, "dark", 1280)
    assert is_dark(page)
    show(page, "light", 1280)
    seen = []
    for _ in range(3):  # the button goes from automatic to light to dark
        page.locator("button.theme-switch-button:visible").first.click()
        page.wait_for_timeout(100)
        seen.append(is_dark(page))
    page.evaluate("localStorage.clear()")
    assert sorted(seen) == [False, False, True]


def test_reads_by_keyboard(visit):
    page = visit(f"{CHAPTERS[0]}.html").page
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to main content"
    page.wait_for_function("document.activeElement.getBoundingClientRect().y >= 0")  # slides in
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#main-content"
    cell = page.locator("details.fold").first
    assert not cell.locator("pre").first.is_visible()
    cell.locator("summary").focus()
    page.keyboard.press("Enter")
    assert cell.locator("pre").first.is_visible()


def test_works_from_the_disk(visit, site):
    """As after a download: there is no server, and a script may not ask for a file."""
    opened = visit(f"{CHAPTERS[0]}.html", address=site.as_uri())
    opened.page.locator(".math math").first.wait_for()
    assert opened.problems == []

"""What the pages owe their readers beyond the text: colours, paper, formulas, search, a home."""

import json
import re
from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup

ROOT = Path(__file__).parents[1]
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
LISTED = [item for part in TOC["parts"] for item in part["chapters"]]
CHAPTERS = [item["file"] for item in LISTED if item["file"].startswith("chapters/")]
MODULES = [page["file"] for item in LISTED for page in item.get("sections", [])]
ATTENTION = "chapters/02_attention"
HOME = f"{TOC['root']}.html"


def soup(path):
    return BeautifulSoup(path.read_text("utf-8"), "html.parser")


def brightness(element, what):
    """0 to 255, of the colour of an element or of the ground under it."""
    return element.evaluate(
        """(element, what) => {
            let colour;
            do {
                colour = getComputedStyle(element)[what].match(/[\\d.]+/g).map(Number);
                element = element.parentElement;
            } while (element && colour[3] === 0);
            return Math.max(...colour.slice(0, 3));
        }""",
        what,
    )


def is_dark(page, selector="body"):
    """Light letters on a dark ground; anything but that or its opposite cannot be read."""
    element = page.locator(selector).first
    ground, letters = (brightness(element, what) for what in ("backgroundColor", "color"))
    assert ground < 70 and letters > 150 or ground > 200 and letters < 120, (ground, letters)
    return ground < 70


@pytest.fixture
def fresh(browser):
    """Makes a first visit: a browser with nothing stored, and perhaps with less than most have."""
    made = []

    def fresh(**wishes):
        made.append(browser.new_context(viewport={"width": 1280, "height": 900}, **wishes))
        return made[-1].new_page()

    yield fresh
    for context in made:
        context.close()


# --- colours and paper


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_is_there_before_any_script_has_come(fresh, address, scheme):
    page = fresh(color_scheme=scheme)
    page.route("**/*.js*", lambda route: route.abort())
    page.goto(f"{address}/{ATTENTION}.html")
    assert is_dark(page) == (scheme == "dark")
    page.evaluate("localStorage.setItem('mode', 'light')")
    page.reload()
    assert not is_dark(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_read_without_javascript(fresh, address, scheme):
    page = fresh(color_scheme=scheme, java_script_enabled=False)
    page.goto(f"{address}/{ATTENTION}.html")
    for selector in ("body", "div.highlight pre"):
        assert is_dark(page, selector) == (scheme == "dark")
    for formula in page.locator("span.math").all():
        assert "\\" not in formula.inner_text()
        assert formula.locator("math").bounding_box()["width"] > 4


@pytest.mark.parametrize("name", [ATTENTION, "book/api/attention", "book/notation"])
def test_paper_is_white_and_nothing_is_cut(fresh, address, name):
    page = fresh(color_scheme="dark")
    page.goto(f"{address}/{name}.html")
    assert is_dark(page)
    page.emulate_media(media="print", color_scheme="dark")
    page.set_viewport_size({"width": 700, "height": 1000})
    assert not is_dark(page)
    for block in page.locator("article pre:visible").all():
        assert not is_dark(page, "article pre:visible")
        assert block.evaluate("pre => pre.scrollWidth <= pre.clientWidth + 1"), block.inner_text()


# --- formulas


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("name", CHAPTERS)
def test_formulas_are_whole(visit, name, width):
    page = visit(f"{name}.html").page
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate("document.fonts.ready")
    cut = page.evaluate(
        """() => [...document.querySelectorAll("article .math")].flatMap(formula => {
            if (!formula.checkVisibility()) return [];
            if (!formula.querySelector(":scope > math")) return [formula.textContent];
            const box = formula.getBoundingClientRect();
            const more = formula.scrollWidth - formula.clientWidth;
            const scrolls = formula.matches("div") && more > 0;
            const stops = [formula, ...formula.querySelectorAll("*")].some(e => e.tabIndex >= 0);
            const signs = [...formula.querySelectorAll("mi, mn, mo")]
                .map(sign => sign.getBoundingClientRect());
            const whole = !formula.matches("div") || signs.every(sign =>
                sign.left >= box.left - 1 && sign.right <= box.right + more + 1 &&
                sign.top >= box.top - 1 && sign.bottom <= box.bottom + 1);
            return whole && stops === scrolls ? [] : [formula.textContent];
        })"""
    )
    assert cut == []


def test_a_formula_that_scrolls_is_reached_by_tab(visit):
    page = visit(f"{ATTENTION}.html").page
    page.set_viewport_size({"width": 220, "height": 900})
    page.wait_for_function("document.querySelector('div.math[tabindex]')")
    wide = page.locator("div.math[tabindex]").first
    assert wide.evaluate("f => f.scrollWidth > f.clientWidth")
    page.set_viewport_size({"width": 1280, "height": 900})
    page.wait_for_function("!document.querySelector('div.math[tabindex]')")


def test_the_font_has_every_sign_of_every_formula(site):
    recipe = (ROOT / "book/_static/math/ORIGIN.txt").read_text("utf-8")
    ranges = recipe.replace("\\\n", "").split("--unicodes=")[1].split()[0].split(",")
    ends = [[int(end, 16) for end in part.split("-")] for part in ranges]
    known = {chr(sign) for end in ends for sign in range(end[0], end[-1] + 1)} | {"\n"}
    for page in site.rglob("*.html"):
        for formula in soup(page).select("article math"):
            missing = set(formula.get_text()) - known
            assert not missing, f"{page.name}: {missing} in {formula.get_text()}"


def test_a_formula_that_is_none_is_an_error():
    import sys

    sys.path.insert(0, str(ROOT / "book/_ext"))
    from formulas import mathml

    assert "<msup>" in mathml("W^O")
    with pytest.raises(ValueError, match="foo"):
        mathml(r"\foo{x}")


# --- keys, tables, images, files


def test_what_has_the_focus_in_the_header_shows_it(visit):
    page = visit(f"{ATTENTION}.html").page
    buttons = page.locator(
        ".bd-header-article :is(button, a):visible, .search-button-field:visible"
    )
    assert buttons.count() >= 5
    page.keyboard.press("Tab")  # from now on, focus is shown
    for button in buttons.all():
        button.focus()
        style = button.evaluate(
            "b => { const s = getComputedStyle(b); return [s.outlineStyle, s.outlineWidth] }"
        )
        assert style == ["solid", "3px"], button.evaluate("b => b.outerHTML")


@pytest.mark.parametrize("name", ["book/notation", "chapters/04_wordpiece"])
def test_no_table_breaks_a_word(visit, name):
    page = visit(f"{name}.html").page
    page.set_viewport_size({"width": 390, "height": 900})
    broken = page.evaluate(
        """() => [...document.querySelectorAll("article :is(td, th) :is(.pre, a)")].filter(part => {
            const range = document.createRange();
            range.selectNodeContents(part);
            const lines = [...range.getClientRects()].map(line => Math.round(line.top));
            return !/[\\s/-]/.test(part.textContent) && new Set(lines).size > 1;
        }).map(part => part.textContent)"""
    )
    assert broken == []


def test_images_keep_their_place_and_come_when_they_are_needed(site):
    for page in site.rglob("*.html"):
        images = [i for i in soup(page).select("article img") if not i["src"].startswith("data:")]
        for number, image in enumerate(images):
            assert int(image["width"]) > 0 and int(image["height"]) > 0, image
            assert (image.get("loading") == "lazy") == (number > 0), f"{page.name}: {image}"


def test_what_no_page_uses_is_not_published(site):
    files = {path for path in (site / "_static").rglob("*") if path.is_file()}
    assert not {path.name for path in files if "awesome" in str(path) or path.suffix == ".map"}
    text = "".join(p.read_text("utf-8") for p in site.rglob("*") if p.suffix in (".html", ".css"))
    assert {path.name for path in files if path.name not in text} <= {"LICENSE"}


def test_each_module_has_a_page_and_old_links_lead_there(site, fresh, address):
    heaviest = {
        page: len(soup(site / f"{page}.html").find_all()) for page in ["book/api", *MODULES]
    }
    assert max(heaviest.values()) < 3500, heaviest
    links = {a["href"] for a in soup(site / "book/api.html").select("article li a")}
    assert links >= {f"{page.removeprefix('book/')}.html" for page in MODULES}
    page = fresh()
    page.goto(f"{address}/book/api.html#bertfamily.attention.attention_weights")
    page.wait_for_url("**/api/attention.html#bertfamily.attention.attention_weights")
    assert page.locator("[id='bertfamily.attention.attention_weights']").count() == 1


# --- search


@pytest.fixture(scope="module")
def search(visit):
    page, problems = visit("search.html")[1:3]

    def search(words):
        """The pages that are found, in their order, and the whole of what is shown."""
        page.locator("article input[name=q], .bd-search-container input[name=q]").first.fill(words)
        asked = f"document.querySelector('[role=status]').dataset.asked === {json.dumps(words)}"
        page.wait_for_function(asked)
        assert problems == []
        results = page.locator("#search-results")
        assert all(heading.is_visible() for heading in results.locator("h2").all())
        links = [a.get_attribute("href") for a in results.locator("a").all()]
        return list(dict.fromkeys(link.split("#")[0].split("?")[0] for link in links)), links, page

    return search


@pytest.mark.parametrize(
    "words, first",
    {
        "80/10/10": "09_masking",
        "softmax": "02_attention",
        "wordpiece": "04_wordpiece",
        "[MASK]": "09_masking",
        "NSP": "10_pretraining",
        "perplexity": "01_guessing",
        "layer norm": "03_encoder",
        "position embeddings": "05_embeddings",
        "masked language model": "09_masking",
        "tokeniser": "04_wordpiece",
    }.items(),
)
def test_search_leads_with_the_chapter_that_is_about_it(search, words, first):
    pages, links, page = search(words)
    assert first in pages[0], pages
    assert any("#" in link for link in links), links  # sections, and not the tops of chapters
    text = page.locator("#search-results").inner_text()
    assert ".pdf" not in text and ".ipynb" not in text
    kinds = ["/api/" in link for link in pages]
    assert kinds == sorted(kinds), f"a chapter below the package: {pages}"


def test_a_hit_opens_its_section(fresh, address, site):
    page = fresh()
    page.goto(f"{address}/search.html?q=softmax")
    hit = page.locator("#search-results li a[href*='#']").first
    name, anchor = hit.get_attribute("href").split("#")
    assert "softmax" in soup(site / name).find(id=anchor).get_text()
    hit.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/{name}#{anchor}")


def test_search_says_how_much_it_found(search):
    pages, _, page = search("attention")
    said = page.locator("[role=status]").inner_text()
    assert re.fullmatch(rf"\d+ places on {len(pages)} pages\.", said)
    _, links, page = search("zebrafish")
    assert page.locator("[role=status]").inner_text() == "Nothing was found for zebrafish."
    assert links == []


def test_search_works_from_the_disk(visit, site):
    opened = visit("search.html?q=softmax", address=site.as_uri())
    opened.page.locator("#search-results a[href*='02_attention']").first.wait_for()
    assert opened.problems == []


# --- the home page, previews and the page for those who are lost


def test_the_home_page_shows_the_blank_and_its_guesses(site):
    stored = json.loads((ROOT / "data/runs/ticket.json").read_text("utf-8"))
    assert "[MASK]" in stored["sentence"] and all(0 < share < 1 for _, share in stored["guesses"])
    drawing = soup(site / HOME).select_one(".ticket svg")
    said = [text.get_text() for text in drawing.select("text")]
    for word, share in stored["guesses"][:6]:
        assert word in said and f"{100 * share:.0f} %" in said


def test_the_home_page_leads_on(site):
    page = soup(site / HOME)
    first, second = page.select(".buttons a")
    assert first["href"].endswith("01_guessing.html") and "Colab" in second.get_text()
    assert second["href"].endswith("01_guessing.ipynb")
    assert len(page.select(".thumbnails li .picture :is(img, svg)")) == 3
    cards = page.select("a.chapter-card")
    assert [card["href"] for card in cards] == [f"../{name}.html" for name in CHAPTERS]
    assert all(
        re.search(r"\d+ minutes", card.get_text()) and card.select("img, svg") for card in cards
    )
    assert len(page.select(".to-come li")) + len(cards) == 26
    counted = re.search(r"(\d+) claims", soup(site / "book/claims.html").article.get_text())[1]
    assert page.select_one(".claimed strong").get_text() == counted


def test_a_link_to_a_page_is_shown_with_its_words_and_the_picture(site):
    from PIL import Image

    said = set()
    for name in [HOME, *(f"{name}.html" for name in CHAPTERS)]:
        meta = {
            m.get("property", m.get("name")): m.get("content") for m in soup(site / name)("meta")
        }
        assert (
            40 < len(meta["description"]) <= 202 and meta["description"] == meta["og:description"]
        )
        assert meta["og:url"].endswith(name) and meta["og:title"]
        said.add(meta["description"])
    assert len(said) == 1 + len(CHAPTERS)
    picture = Image.open(site / "_static" / meta["og:image"].rpartition("/")[2])
    assert picture.size == (1200, 630)
    stored = json.loads((ROOT / "data/runs/ticket.json").read_text("utf-8"))
    assert json.loads(picture.text["Guesses"]) == stored["guesses"], "python book/_ext/home.py"


def test_who_is_lost_is_led_back(site):
    base = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["html"]["baseurl"]
    links = [a["href"] for a in soup(site / "404.html")("a")]
    assert len(links) >= 3
    for link in links:
        name, _, anchor = link.removeprefix(base).partition("#")
        assert link.startswith(base) and (site / name).is_file()
        assert not anchor or soup(site / name).find(id=anchor)

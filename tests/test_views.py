"""The views say what the weights say: to mouse, keyboard and voice, with and without scripts."""

import base64
import io
import re

import matplotlib.image
import numpy as np
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe

from bertfamily.views import AttentionView, TokenStrip, show_source

TOKENS = "[CLS] another beautiful day [SEP]".split()
HOSTILE = [
    "<s>",
    "</script>",
    "<!--",
    '"><b>&amp;',
    "it's",
    "`${x}`",
    "\\u003c",
    "🙂",
    "שלום",
    "\u2028x",
]


def maps(*shape):
    """Random attention maps, the same each time."""
    scores = np.exp(2 * np.random.default_rng(0).normal(size=shape))
    return scores / scores.sum(-1, keepdims=True)


def looks(weights, query, queries, keys):
    """What the viewer must say of one row, by sorting it here."""
    row = weights[query]
    most = [f"“{keys[j]}” ({row[j]:.2f})" for j in np.argsort(-row)[:3]]
    return f"“{queries[query]}” looks at {', '.join(most)}."


def html_of(*views):
    return "".join(view._repr_mimebundle_()["text/html"] for view in views)


@pytest.fixture
def show(browser):
    """Put views on a page; no script may then fail, ask the net or open a dialog."""
    pages, trouble = [], []

    def show(*views, body="", root="", width=700, **context):
        page = browser.new_page(viewport={"width": width, "height": 800}, **context)
        pages.append(page)
        page.on("pageerror", lambda error: trouble.append(f"error: {error}"))
        page.on("console", lambda message: trouble.append(f"console: {message.text}"))
        page.on("dialog", lambda dialog: (trouble.append("dialog"), dialog.dismiss()))
        page.on(
            "request", lambda r: r.url.startswith("data:") or trouble.append(f"request: {r.url}")
        )
        dark = "dark" in root + body  # as a real page would be painted
        paint = "color-scheme:dark;background:#121212;color:#eee" if dark else "background:#fff"
        page.set_content(
            f'<!doctype html><html lang="en" {root} style="{paint}"><title>A page</title>'
            '<meta name="viewport" content="width=device-width">'
            f"<body {body}><main><h1>A page</h1>{html_of(*views)}</main>"
        )
        for frame in page.frames[1:]:
            frame.wait_for_selector("summary", state="attached")
        page.wait_for_timeout(50)  # the frame measures itself
        return page

    yield show
    for page in pages:
        page.close()
    assert trouble == []


def said(frame):
    return frame.inner_text("[aria-live]")


def table(frame, selector="details table"):
    """Column heads, row heads and numbers of the table, as texts, which is opened for it."""
    frame.evaluate("document.querySelector('details').open = true")
    frame.wait_for_selector(selector, state="attached")
    rows = frame.locator(f"{selector} tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    )
    return rows[0][1:], [row[0] for row in rows[1:]], [row[1:] for row in rows[1:]]


def decimals(weights):
    return [[f"{w:.2f}" for w in row] for row in weights.tolist()]


# Without a browser


def test_a_view_comes_as_page_picture_and_text():
    bundle = AttentionView(maps(2, 3, 5, 5), TOKENS)._repr_mimebundle_(include=None, exclude=None)
    assert set(bundle) == {"text/html", "image/png", "text/plain"}
    assert bundle["text/plain"].startswith(
        "AttentionView(layers=2, heads=3, queries=5, keys=5): Layer 1, head 1: “"
    )
    assert bundle["image/png"] in bundle["text/html"]


def test_the_same_view_twice_is_the_same_to_the_byte():
    first, second = (AttentionView(maps(2, 2, 5, 5), TOKENS, query=1) for _ in range(2))
    assert first._repr_mimebundle_() == second._repr_mimebundle_()


def test_all_but_the_data_is_under_20_kilobytes():
    assert len(html_of(AttentionView(np.ones((1, 1)), ["a"])).encode()) < 20_000


def test_the_picture_shows_every_map_in_its_place():
    weights = np.zeros((2, 3, 4, 5))
    weights[1, 2, 3, 0] = 1  # one weight, in the last map's last row and first column
    view = AttentionView(weights, list("abcd"), list("vwxyz"))
    picture = matplotlib.image.imread(
        io.BytesIO(base64.b64decode(view._repr_mimebundle_()["image/png"]))
    )
    rows, columns = 2 * 5 - 1, 3 * 6 - 1  # a gap after each map but the last
    size = picture.shape[0] // rows
    assert picture.shape[:2] == (rows * size, columns * size)
    row, column = np.argwhere(picture[..., 0] < 0.5)[0] // size
    assert (row, column) == (5 + 3, 12 + 0)
    white = picture[::size, ::size, 0] == 1
    assert white[4].all() and white[:, 5].all() and not white[0, 0]


def test_the_alternative_text_says_what_is_to_be_seen_and_is_short():
    one = AttentionView(np.array([[0.48, 0.52], [0.9, 0.1]]), ["day", "beautiful"], query=0)
    assert (
        'alt="Attention map; darker is more. “day” looks most at “beautiful” (0.52)."'
        in html_of(one)
    )
    strongest = AttentionView(np.array([[0.48, 0.52], [0.9, 0.1]]), ["day", "beautiful"])
    assert "“beautiful” looks most at “day” (0.90)." in html_of(strongest)
    assert 'alt="2 attention maps, one for each head; ' in html_of(
        AttentionView(maps(2, 5, 5), TOKENS)
    )
    many = html_of(AttentionView(maps(6, 12, 3, 3), ["a" * 500, "b" * 500, "c" * 500], head=11))
    alt = re.search('alt="([^"]*)"', many)[1]
    assert alt.startswith("6 × 12 attention maps") and "Layer 1, head 12:" in alt and len(alt) < 300


def test_a_tensor_is_taken_whatever_its_dtype_and_gradient():
    weights = torch.tensor([[0.25, 0.75], [1.0, 0.0]], dtype=torch.bfloat16, requires_grad=True)
    expected = html_of(AttentionView(np.array([[0.25, 0.75], [1.0, 0.0]]), ["a", "b"]))
    assert html_of(AttentionView(weights, ["a", "b"])) == expected
    assert html_of(AttentionView(weights.detach().int().float(), ["a", "b"])) != expected


@pytest.mark.parametrize(
    ("weights", "tokens", "options", "message"),
    [
        (np.ones(5), TOKENS, {}, r"shape \(5,\).*pick one sentence"),
        (maps(1, 1, 1, 5, 5), TOKENS, {}, r"shape \(1, 1, 1, 5, 5\)"),
        (maps(5, 5), TOKENS[:4], {}, "needs 5 queries, but 4 tokens"),
        (maps(5, 4), TOKENS, {}, "needs 4 keys, but 5 tokens"),
        (maps(5, 4), TOKENS, {"keys": TOKENS[:3]}, "needs 4 keys, but 3 tokens"),
        (maps(5, 5) - 0.5, TOKENS, {}, r"weights\[0, 0\]=-0\.\d+ is outside \[0, 1\].*softmax"),
        (np.array([[0.5, 1.002]] * 2), ["a", "b"], {}, r"weights\[0, 1\]=1.002 is outside"),
        (np.array([[0.5, 0.5], [np.nan, 0.5]]), ["a", "b"], {}, r"weights\[1, 0\]=nan is outside"),
        (maps(2, 5, 5), TOKENS, {"head": 2}, "head=2 is out of range: it goes from 0 to 1"),
        (maps(2, 3, 5, 5), TOKENS, {"layer": 2}, "layer=2 is out of range: it goes from 0 to 1"),
        (maps(2, 3, 5, 5), TOKENS, {"layer": -1}, "layer=-1 is out of range"),
        (maps(5, 5), TOKENS, {"query": 5}, "query=5 is out of range: it goes from 0 to 4"),
        (np.ones((0, 0)), [], {}, "queries=.* holds no token"),
        (np.ones((2, 2)), ["a", ""], {}, r"queries=\['a', ''\] holds no token or an empty one"),
        (np.ones((2, 2)), "ab", {}, "queries='ab' is one string"),
    ],
)
def test_wrong_input_is_named_with_its_remedy(weights, tokens, options, message):
    with pytest.raises(ValueError, match=message):
        AttentionView(weights, tokens, **options)


def test_what_rounding_adds_to_a_weight_is_no_error():
    almost = AttentionView(np.array([[1.0005, -0.0005], [0.0, 1.0]]), ["a", "b"])
    assert html_of(almost) == html_of(AttentionView(np.eye(2), ["a", "b"]))


# In the browser


def test_arrows_walk_the_heads_and_the_sentence_and_table_follow(show):
    weights = maps(3, 4, 5, 5)
    frame = show(AttentionView(weights, TOKENS, layer=1, head=2, query=3)).frames[1]
    assert said(frame) == "Layer 2, head 3 (weights[1, 2]). " + looks(
        weights[1, 2], 3, TOKENS, TOKENS
    )
    assert table(frame) == (TOKENS, TOKENS, decimals(weights[1, 2]))
    frame.focus('[role=gridcell][aria-selected="true"]')
    steps = [("ArrowRight", 1, 3), ("ArrowUp", 0, 3), ("ArrowRight", 0, 3), ("ArrowUp", 0, 3)]
    steps += [("ArrowLeft", 0, 2), ("ArrowDown", 1, 2), ("ArrowDown", 2, 2), ("ArrowDown", 2, 2)]
    for key, layer, head in steps:
        frame.page.keyboard.press(key)
        where = f"Layer {layer + 1}, head {head + 1} (weights[{layer}, {head}]). "
        assert said(frame) == where + looks(weights[layer, head], 3, TOKENS, TOKENS)
        assert table(frame) == (TOKENS, TOKENS, decimals(weights[layer, head]))
        focused = frame.evaluate("document.activeElement.getAttribute('aria-label')")
        assert focused == f"layer {layer + 1}, head {head + 1}"


def test_tab_and_arrows_walk_the_tokens_and_escape_clears(show):
    weights = maps(2, 3, 5, 5)
    page = show(AttentionView(weights, TOKENS, layer=1))
    frame, press = page.frames[1], page.keyboard.press
    start = "Layer 2, head 1 (weights[1, 0]). "
    assert said(frame).startswith(start + "Choose a token")
    lines = frame.locator("line").count()
    press("Tab")  # the grid
    press("Tab")  # the tokens
    for key, query in (
        ("ArrowDown", 1),
        ("ArrowDown", 2),
        ("ArrowUp", 1),
        ("ArrowUp", 0),
        ("ArrowUp", 0),
    ):
        press(key)
        assert said(frame) == start + looks(weights[1, 0], query, TOKENS, TOKENS)
    numbers = frame.locator("[role=listitem] b").all_inner_texts()
    assert numbers == decimals(weights[1, 0])[0]
    assert 0 < frame.locator("line").count() <= 5 < lines
    press("Escape")
    assert said(frame).startswith(start + "Choose a token")
    assert frame.locator("line").count() == lines
    for key in "ArrowDown", "ArrowDown", "Escape", "ArrowUp":
        press(key)
    assert said(frame) == start + looks(weights[1, 0], 1, TOKENS, TOKENS)  # one above the focus
    press("Tab")  # the words "Weights as a table"
    press("Enter")
    assert frame.locator("details").get_attribute("open") is not None


def test_the_mouse_shows_a_token_while_over_it_and_keeps_it_when_pressed(show):
    weights = maps(2, 5, 5)
    frame = show(AttentionView(weights, TOKENS)).frames[1]
    option = frame.locator("[role=option]")
    option.nth(2).hover()
    assert said(frame) == "Head 1 (weights[0]). " + looks(weights[0], 2, TOKENS, TOKENS)
    frame.hover("summary")
    assert "Choose a token" in said(frame)
    option.nth(3).click()
    assert said(frame) == "Head 1 (weights[0]). " + looks(weights[0], 3, TOKENS, TOKENS)
    option.nth(1).hover()  # the mouse rests there while the keyboard goes on
    assert said(frame) == "Head 1 (weights[0]). " + looks(weights[0], 1, TOKENS, TOKENS)
    frame.page.keyboard.press("ArrowUp")
    assert said(frame) == "Head 1 (weights[0]). " + looks(weights[0], 2, TOKENS, TOKENS)
    frame.locator("[role=gridcell]").nth(1).click()
    assert said(frame) == "Head 2 (weights[1]). " + looks(weights[1], 2, TOKENS, TOKENS)
    frame.locator("svg").click(position={"x": 30, "y": 100})
    assert "Choose a token" in said(frame)


def test_lines_are_as_strong_as_the_weights(show):
    weights = np.array([[0.1, 0.9], [1.0, 0.0]])
    frame = show(AttentionView(weights, ["a", "b"])).frames[1]
    lines = frame.locator("line").evaluate_all(
        "lines => lines.map(l => ['y1', 'y2', 'stroke-opacity'].map(a => +l.getAttribute(a)))"
    )
    assert lines == [[13, 13, 0.1], [13, 39, 0.9], [39, 13, 1.0]]  # 26 pixels a token; none for 0


def test_the_table_rounds_as_python_does(show):
    ties = [0.125, 0.375, 0.625, 0.875, 0.015, 0.045, 0.285, 0.575, 0.005, 0.995, 0.01500001, 1 / 3]
    tokens = [str(w) for w in ties]
    weights = np.tile(ties, (len(ties), 1))
    frame = show(AttentionView(weights, tokens)).frames[1]
    assert table(frame) == (tokens, tokens, decimals(weights))
    for scope in "row", "col":
        heads = frame.locator(f"details th[scope={scope}]").all_text_contents()
        assert heads == tokens


def test_a_map_of_512_tokens_is_drawn_before_its_table(show):
    """The table of as many weights takes seconds, so it waits until somebody opens it."""
    weights = torch.rand(512, 512, generator=torch.Generator().manual_seed(0)).div(512)
    tokens = [f"token {i}" for i in range(512)]
    frame = show(AttentionView(weights, tokens)).frames[1]
    assert frame.evaluate("document.querySelectorAll('*').length") < 4_000
    assert frame.locator("td").count() == 0
    frame.locator("[role=option]").nth(511).focus()
    frame.page.keyboard.press("ArrowUp")
    assert said(frame).startswith("“token 510” looks at ")


def test_one_map_has_no_grid_and_no_number_of_a_head(show):
    weights = maps(5, 5)
    frame = show(AttentionView(weights, TOKENS, query=4)).frames[1]
    assert frame.locator("[role=grid]").count() == 0
    assert said(frame) == looks(weights, 4, TOKENS, TOKENS)


def test_queries_and_keys_may_differ(show):
    weights, queries, keys = maps(2, 3, 7), "la belle journée".split(), "a b c d e f g".split()
    frame = show(AttentionView(weights, queries, keys, head=1, query=2)).frames[1]
    assert said(frame) == "Head 2 (weights[1]). " + looks(weights[1], 2, queries, keys)
    assert table(frame) == (keys, queries, decimals(weights[1]))
    wide = frame.locator("canvas").first.evaluate("canvas => [canvas.width, canvas.height]")
    assert wide == [7, 3]


def test_a_token_that_comes_twice_is_told_apart_and_a_row_of_zeros_is_said(show):
    weights = np.array([[0.0, 0.3, 0.7], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    frame = show(AttentionView(weights, ["a", "the", "the"], query=0)).frames[1]
    assert said(frame) == "“a” looks at “the” #2 (0.70), “the” #1 (0.30)."
    frame.locator("[role=option]").nth(1).click()
    assert said(frame) == "“the” #1 looks at no token."


def test_the_small_maps_are_painted_from_the_weights(show):
    weights = maps(2, 3, 5, 5)
    frame = show(AttentionView(weights, TOKENS)).frames[1]
    alpha = frame.locator("canvas").evaluate_all(
        "all => all.map(c => [...c.getContext('2d').getImageData(0, 0, 5, 5).data]"
        ".filter((_, i) => i % 4 === 3))"
    )
    drawn = np.array(alpha).reshape(2, 3, 5, 5) / 255
    np.testing.assert_allclose(drawn, np.sqrt(weights), atol=0.005)


def test_tokens_are_text_wherever_they_stand(show):
    weights = maps(len(HOSTILE), len(HOSTILE))
    page = show(AttentionView(weights, HOSTILE, query=3), TokenStrip(HOSTILE, label="<i>"))
    frame = page.frames[1]
    assert [t.text_content() for t in frame.locator("[role=option]").all()] == HOSTILE
    assert [t.text_content() for t in frame.locator("[role=listitem] span").all()] == HOSTILE
    assert table(frame)[:2] == (HOSTILE, HOSTILE)
    assert table(page, "details table")[:2] == (HOSTILE, HOSTILE)  # the one without scripts
    assert frame.text_content("[aria-live]") == looks(weights, 3, HOSTILE, HOSTILE)
    most = weights[3].argmax()
    sentence = f"“{HOSTILE[3]}” looks most at “{HOSTILE[most]}” ({weights[3, most]:.2f})."
    assert page.text_content("p").startswith(sentence + " (A picture")
    assert page.locator("img").get_attribute("alt").endswith(sentence)
    assert page.locator("iframe").get_attribute("title").endswith(sentence)
    assert [t.text_content() for t in page.locator("ol b").all()] == HOSTILE
    assert page.locator("b").count() == len(HOSTILE) and page.locator("i, s").count() == 0


def test_two_views_on_a_page_leave_each_other_alone(show):
    first, second = maps(2, 5, 5), maps(4, 3, 3)
    page = show(AttentionView(first, TOKENS), AttentionView(second, ["x", "y", "z"], query=0))
    one, two = page.frames[1:]
    one.focus('[role=gridcell][aria-selected="true"]')
    page.keyboard.press("ArrowRight")
    one.locator("[role=option]").nth(4).focus()
    assert said(one) == "Head 2 (weights[1]). " + looks(first[1], 4, TOKENS, TOKENS)
    assert said(two) == "Head 1 (weights[0]). " + looks(second[0], 0, list("xyz"), list("xyz"))


THEMES = [
    ("data-theme=dark", "", "light", "dark"),  # the book
    ("data-theme=light", "", "dark", "light"),
    ("", "data-jp-theme-light=false", "light", "dark"),  # JupyterLab
    ("", "data-jp-theme-light=true", "dark", "light"),
    ("theme=dark", "", "light", "dark"),  # Colab
    ("", "class=vscode-dark", "light", "dark"),
    ("", 'class="vscode-body vscode-light"', "dark", "light"),
    ("", 'class="vscode-high-contrast-light vscode-high-contrast"', "dark", "light"),
    ("", "class=vscode-high-contrast", "light", "dark"),
    ("", "", "dark", "dark"),  # nobody says: as the system wishes
    ("", "", "light", "light"),
]


@pytest.mark.parametrize(("root", "body", "system", "expected"), THEMES)
def test_the_theme_is_that_of_the_page(show, root, body, system, expected):
    page = show(AttentionView(maps(5, 5), TOKENS), root=root, body=body, color_scheme=system)
    color = page.frames[1].evaluate("getComputedStyle(document.body).backgroundColor")
    assert color == {"dark": "rgb(18, 18, 18)", "light": "rgb(255, 255, 255)"}[expected]


def test_the_theme_follows_a_change(show):
    page = show(AttentionView(maps(5, 5), TOKENS), root="data-theme=light")
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    page.frames[1].wait_for_selector("html[data-theme=dark]", timeout=2000)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(show, theme):
    weights = np.eye(5) * 0.8 + 0.04  # strong shades, the hardest for contrast
    page = show(
        AttentionView(np.stack([[weights, maps(5, 5)]] * 2), TOKENS, query=1),
        AttentionView(maps(2, 3, 5), TOKENS[:3], TOKENS),
        TokenStrip(TOKENS, [0.0, 0.25, 0.5, 0.75, 1.0], label="How often"),
        root=f"data-theme={theme}",
    )
    # Asked on its own, a frame lacks the landmarks and the heading that the page around it has.
    around = dict.fromkeys(
        ("region", "landmark-one-main", "page-has-heading-one"), {"enabled": False}
    )
    for frame in page.frames:
        if frame.parent_frame:
            frame.click("summary")
        options = {"resultTypes": ["violations"], "rules": around if frame.parent_frame else {}}
        found = Axe().run(frame, options=options)
        assert found.violations_count == 0, found.generate_report()
        passed = {rule["id"] for rule in found.response["passes"]}
        assert "color-contrast" in passed  # axe did look
    for target in page.frames[1].locator("[role=gridcell], [role=option], summary").all():
        assert target.bounding_box()["height"] >= 24 and target.bounding_box()["width"] >= 24


def test_focus_can_be_seen(show):
    frame = show(AttentionView(maps(2, 5, 5), TOKENS)).frames[1]
    for _ in range(3):  # grid, tokens, table
        frame.page.keyboard.press("Tab")
        style = frame.evaluate("getComputedStyle(document.activeElement).outline")
        assert "solid 3px" in style


@pytest.mark.parametrize("tokens", [12, 64])
def test_a_phone_needs_no_sideways_scrolling(show, tokens):
    words = [f"word{i}" for i in range(tokens - 1)] + ["Donaudampfschifffahrt" * 3]
    weights = maps(2, 12, tokens, tokens)
    page = show(
        AttentionView(weights, words, query=0), TokenStrip(words, np.ones(tokens)), width=390
    )
    for frame in page.frames:
        wide = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        scroll, client = frame.evaluate(wide)
        assert scroll <= client
    frame = page.frames[1]
    tall, inner = page.locator("iframe").bounding_box()["height"], "document.body.offsetHeight"
    assert 0 <= tall - frame.evaluate(inner) < 10  # the frame fits what it shows
    frame.click("summary")
    page.wait_for_timeout(100)
    assert page.locator("iframe").bounding_box()["height"] > tall + 100
    assert 0 <= page.locator("iframe").bounding_box()["height"] - frame.evaluate(inner) < 10


def test_the_viewer_replaces_the_picture(show):
    page = show(AttentionView(maps(5, 5), TOKENS))
    assert not page.locator("img").is_visible()
    assert page.locator("iframe").get_attribute("title").startswith("Attention viewer. “")


def test_the_picture_the_sentence_and_the_table_remain_without_the_viewer(show):
    weights = maps(2, 5, 5)
    view = AttentionView(weights, TOKENS, head=1, query=2)

    class Sanitised:
        def _repr_mimebundle_(self):
            return {"text/html": re.sub("(?s)<iframe.*?</iframe>", "", html_of(view))}

    page = show(Sanitised())
    most = weights[1, 2].argmax()
    sentence = f"Head 2: “beautiful” looks most at “{TOKENS[most]}” ({weights[1, 2, most]:.2f})."
    assert page.locator("img").is_visible() and sentence in page.locator("img").get_attribute("alt")
    assert page.locator("img").evaluate("picture => picture.naturalWidth") > 200
    assert page.inner_text("p").startswith(sentence)
    assert table(page) == (TOKENS, TOKENS, decimals(weights[1]))


def test_the_light_box_that_the_book_draws_in_the_dark_is_taken_away(show):
    class Boxed:
        def _repr_mimebundle_(self):
            views = AttentionView(maps(5, 5), TOKENS), TokenStrip(TOKENS)
            boxes = "".join(f'<div class="text_html">{html_of(view)}</div>' for view in views)
            style = "<style>.bd-content .text_html{background:#ccc;padding:9px}</style>"
            return {"text/html": f'{style}<div class="bd-content">{boxes}</div>'}

    page = show(Boxed(), root="data-theme=dark")
    for box in page.locator(".text_html").all():
        color = box.evaluate("box => getComputedStyle(box).backgroundColor")
        assert color == "rgba(0, 0, 0, 0)"


# Strips and sources


def test_a_strip_shows_index_and_value_of_each_token(show):
    strip = TokenStrip(["a", "b"], torch.tensor([0.25, 1.0]), label="Share")
    page = show(strip, java_script_enabled=False)
    chips = page.locator("li")
    assert [" ".join(chip.split()) for chip in chips.all_inner_texts()] == ["a 0.25 0", "b 1.00 1"]
    shades = [chip.get_attribute("style") for chip in chips.all()]
    assert shades == ["background:rgba(47,123,255,0.113)", "background:rgba(47,123,255,0.450)"]
    assert page.inner_text("p") == "Share"
    assert repr(strip) == strip._repr_mimebundle_()["text/plain"] == "Share: 0 a 0.25, 1 b 1.00"


def test_a_strip_without_values_has_no_numbers():
    strip = TokenStrip(["a", "b"])
    assert repr(strip) == "0 a, 1 b"
    assert "rgba" not in html_of(strip).split("</style>")[1] and "<p>" not in html_of(strip)


@pytest.mark.parametrize(
    ("tokens", "values", "message"),
    [
        (["a", "b"], [0.5, -2.0], r"values\[1\]=-2 is outside \[0, 1\].*scale"),
        (["a", "b"], [1.5, 0.0], r"values\[0\]=1.5 is outside \[0, 1\].*scale"),
        (["a", "b"], [0.5], "1 values came for 2 tokens"),
        ([], None, "holds no token"),
        ("ab", None, "'ab' is one string"),
    ],
)
def test_a_strip_names_what_is_wrong(tokens, values, message):
    with pytest.raises(ValueError, match=message):
        TokenStrip(tokens, values)


def test_source_is_shown_as_it_stands_in_the_file():
    source = show_source(maps, looks)
    lines = 'def maps(*shape):\n    """Random attention maps, the same each time."""'
    assert repr(source).startswith(lines)
    assert '\n\n\ndef looks(weights, query, queries, keys):\n    """What' in repr(source)
    assert source._repr_markdown_() == f"```python\n{source!r}\n```"


def test_source_of_a_method_starts_at_the_margin():
    assert "\n    return" in repr(show_source(TokenStrip.__repr__))


def test_source_with_a_fence_in_it_does_not_break_out():
    def fenced():
        """```"""

    assert show_source(fenced)._repr_markdown_().startswith("````python\ndef fenced")


def test_source_of_what_has_none_is_an_error():
    with pytest.raises(ValueError, match="builtin.*show_source takes functions"):
        show_source(len)

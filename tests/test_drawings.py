"""What must be true of drawings: they show the numbers, fit their frame, and are read anywhere."""

import base64
import io
import re
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from bertfamily.drawings import PALETTE, ROLES, Drawing, millions, number, png, text_width

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def drawing():
    return Drawing("An idea", "All that is to be seen", square=100)


def gallery():
    """A drawing with every part, each as full as it gets."""
    d = Drawing("Every part", "All that is to be seen", square=100)
    words = "the old sailor painted the boat".split()
    first = d.row(words, {2: "kept", 3: "hidden", 5: "swapped"}, x=150, size=12, name="ids")
    second = d.row(words, {0: "token", 1: "absent", 2: "chosen", 3: "chosen"})
    d.arrow(first[2], second[2])
    d.arrow(first[5], second[3], hue="swapped", label="(batch, seq, 768)", beside="left")
    d.under(second[2], "kept", "kept", bold=True)
    x = d.matrix([[0, 1], [1, 0], [-1, 1]], "X", words[:3], hot=2, x=90)
    weights = [[0.07, 0.62, 0.31], [0.2, 0.4, 0.4]]
    w = d.matrix(weights, "weights", (), words[:3], x=270, y=x.y, shade=True, hue="attention")
    d.arrow(x.right(), w.left(), label="softmax")
    frozen = d.stack(["1", "2"], state="frozen", x=70)
    moving = d.stack(["1", "2"], state="moving", x=290, y=frozen.y)
    d.curve(frozen[0], moving[1], hue="student")
    d.frame(frozen, label="12 layers")
    loss = d.box("masked-token loss", "× 2", state="chosen", round=8, y=d.lowest + 40)
    d.arrow(
        loss.right(),
        (350, loss.middle[1]),
        (350, moving.y),
        hue="red",
        label="tied",
        beside="along",
    )
    area = d.area("token table", 6_000, width=192, hue="token", x=110)
    d.area("segments", 0.5, x=240, y=area.y + 10, hue="segment")
    d.area("small", 400, x=240, y=area.y + 35, beside="below")
    d.arrow(area, d.box("sum, then norm", x=110), label="× 12", beside="on")
    top = d.squares(15, {1: "chosen"})
    d.band(top.between(0, 0.1), d.squares(1.5, state="hidden"), hue="hidden")
    d.rule()
    d.upright([0.5, 0.25, 0.25], x=60)
    d.bars(words[1:4], [0.61, 0.2, 0.05], hot=0, hue="blue")
    d.note("109,482,240 in all", "(norms not drawn)", bold=True)
    return d


def shapes(drawing, name):
    return list(ElementTree.fromstring(drawing.svg()).iter(SVG + name))


def words(drawing):
    return [text.text for text in shapes(drawing, "text")]


def luminance(hue):
    r, g, b = (int(hue[i : i + 2], 16) / 255 for i in (1, 3, 5))
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (r, g, b))
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(a, b):
    dark, light = sorted((luminance(a), luminance(b)))
    return (light + 0.05) / (dark + 0.05)


# --- colours ---


@pytest.mark.parametrize("hue", sorted(PALETTE.keys() - {"paper", "rule"}))
@pytest.mark.parametrize("mode, ground", [(0, "#ffffff"), (1, "#121212"), (1, "#14181e")])
def test_every_hue_can_be_read_on_the_grounds_of_both_modes(hue, mode, ground):
    assert contrast(PALETTE[hue][mode], ground) >= 4.5


def test_every_role_has_a_hue():
    assert set(ROLES.values()) < PALETTE.keys()


# --- numbers ---


def test_numbers_have_a_real_minus_and_no_negative_zero():
    assert [number(-0.714), number(-0.001), number(2.0), number(30_522)] == [
        "−0.71", "0.00", "2", "30,522",
    ]  # fmt: skip
    assert [millions(23_440_896), millions(1_536)] == ["23.44 M", "0.0015 M"]


def test_the_numbers_of_a_picture_add_up_as_they_are_shown():
    base = [23_440_896, 393_216, 1_536, 28_348_416, 56_669_184, 590_592, 38_400]
    shown = sum(float(millions(part).split()[0]) for part in base)
    assert f"{shown:.2f} M" == millions(sum(base)) == "109.48 M"


def test_an_area_is_proportional_to_its_number(drawing):
    sizes = {"wide": 40_000, "small": 2_500, "speck": 0.5}
    for name, size in sizes.items():
        drawing.area(name, size, width=192 if name == "wide" else None)
    rects = [r for r in shapes(drawing, "rect") if r.get("class") is None and r.get("rx") != "4"]
    areas = {float(r.get("width")) * float(r.get("height")) for r in rects}
    for size in sizes.values():
        assert any(a == pytest.approx(size / 100 * 256, rel=0.02) for a in areas), (size, areas)
    assert len(shapes(drawing, "circle")) == 1, "what is too small to be seen has a ring"


def test_a_matrix_shows_its_numbers_and_outlines_the_hot_row(drawing):
    weights = torch.tensor([[0.25, 0.75], [-0.125, 2.0]])
    m = drawing.matrix(weights, "weights", ["a", "b"], ["x", "y"], hot=1)
    assert words(drawing) == ["weights", "x", "y", "0.25", "0.75", "a", "−0.12", "2.00", "b"]
    (hot,) = [r for r in shapes(drawing, "rect") if r.get("stroke-width") == "2.75"]
    assert float(hot.get("y")) == pytest.approx(m[1].y)
    muted = [t.text for t in shapes(drawing, "text") if "muted" in t.get("fill", "")]
    assert muted == ["0.25", "0.75", "a"]


@pytest.mark.parametrize("hue", sorted(PALETTE.keys() - {"ink", "muted", "paper", "rule"}))
@pytest.mark.parametrize("mode", [0, 1])
def test_the_numbers_of_a_matrix_can_be_read_on_every_tint(drawing, hue, mode):
    drawing.matrix([[0.0, 1.0], [0.5, 0.5]], shade=True, hot=1, hue=hue)
    drawing.matrix([[0.0, 1.0], [0.5, 0.5]], hot=1, hue=hue)
    ground = PALETTE["paper"][mode]
    for part, tints in [(0, (0.05, 0.185, 0.32)), (4, (0.08,)), (6, (0.22,))]:
        name = re.search(r"--(\w+)", shapes(drawing, "text")[part].get("fill", "--ink"))[1]
        for tint in tints:
            under = [tint * int(PALETTE[hue][mode][i : i + 2], 16)
                     + (1 - tint) * int(ground[i : i + 2], 16) for i in (1, 3, 5)]  # fmt: skip
            mixed = "#" + "".join(f"{round(c):02x}" for c in under)
            assert contrast(PALETTE[name][mode], mixed) >= 4.5, (name, tint)


def test_bars_are_as_long_as_their_numbers(drawing):
    bars = drawing.bars(["sailor", "boat"], torch.tensor([0.5, 0.125]), most=2)
    assert [bar.width / bars.width for bar in bars.parts] == pytest.approx([0.25, 0.0625])


def test_the_states_of_pieces_look_different(drawing):
    states = ["plain", "chosen", "hidden", "swapped", "kept", "frozen", "moving", "token"]
    drawing.row(["piece"] * 4, dict(enumerate(states[:4])))
    drawing.row(["piece"] * 4, dict(enumerate(states[4:])))
    rects = [r.attrib for r in shapes(drawing, "rect") if r.get("class") is None]
    looks = {
        tuple((k, v) for k, v in r.items() if k not in ("x", "y", "width", "height")) for r in rects
    }
    assert len(looks) == 8


# --- where things stand ---


def test_parts_stand_below_each_other_and_arrows_join_them(drawing):
    row = drawing.row(["a", "b", "c"])
    box = drawing.box("below")
    assert box.y >= row.y + row.height
    drawing.arrow(row, box, label="(batch, seq)")
    line = shapes(drawing, "path")[0].get("d")
    assert line == f"M180 {row.y + 24:g}L180 {box.y - 5:g}"
    (shape,) = [t for t in shapes(drawing, "text") if t.text == "(batch, seq)"]
    assert 180 < float(shape.get("x")) < 190 and row.y + 24 < float(shape.get("y")) < box.y


def test_an_arrow_is_straight_where_one_box_faces_the_middle_of_the_other(drawing):
    small, large = drawing.box("a", x=150), drawing.box("large", x=180, width=120)
    drawing.arrow(small, large)
    assert shapes(drawing, "path")[0].get("d") == "M150 32L150 51"
    high, low = drawing.box("b", "c", x=60), drawing.box("d", x=300, y=drawing.lowest - 34)
    drawing.arrow(low, high)
    assert shapes(drawing, "path")[2].get("d").count("L") == 1


def test_an_arrow_goes_around_a_corner_to_a_box_that_is_not_in_line(drawing):
    a, b = drawing.box("a", x=60), drawing.box("b", x=300)
    drawing.arrow(a, b)
    assert shapes(drawing, "path")[0].get("d").count("Q") == 2


@pytest.mark.parametrize("bold", [False, True])
def test_words_have_room_in_the_widest_font(bold):
    import matplotlib
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    font = ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/{name}", 100)
    for text in ["masked-token loss", "(batch, seq, 768)", "109,482,240", "Q Kᵀ / √2", "[MASK]",
                 "feed-forward", "illicit", "WWW MMM", "0.07 × −1.5", "“token” table"]:  # fmt: skip
        true = font.getlength(text) / 100
        assert true <= text_width(text, 1, bold) * 1.03 <= true * 1.25, text


@pytest.mark.parametrize("font", ["DejaVu Sans", "Liberation Sans"])
def test_no_words_leave_the_picture_or_meet_others(browser, font):
    page = browser.new_page(viewport={"width": 360, "height": 800})
    page.set_content(f"<body style='margin:0'>{gallery().svg().replace('system-ui', font)}")
    find = "b => [b.left, b.right, b.top, b.bottom, t.textContent]"
    (*_, lowest, _), *boxes = page.locator("svg, text").evaluate_all(
        f"all => all.map(t => ({find})(t.getBoundingClientRect()))"
    )
    for i, (left, right, top, bottom, text) in enumerate(boxes):
        assert 0 < left and right < 360 and 0 < top and bottom < lowest, text
        for left_, right_, top_, bottom_, other in boxes[:i]:
            wide, high = (
                min(right, right_) - max(left, left_),
                min(bottom, bottom_) - max(top, top_),
            )
            assert wide < 0.5 or high < 3.5, (text, other)
    page.close()


# --- what comes out ---


def test_a_notebook_gets_vectors_pixels_and_the_title_and_always_the_same(drawing):
    drawing.row(["the", "sailor"], {1: "hidden"})
    data, _ = drawing._repr_mimebundle_()
    assert data.keys() == {"image/svg+xml", "image/png", "text/plain"}
    assert data["text/plain"] == "An idea"
    assert drawing._repr_mimebundle_()[0] == data
    image = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    assert image.size[0] == 720
    colours = {image.convert("RGB").getpixel((x, 40)) for x in range(720)}
    assert (0xAD, 0x0F, 0x26) in colours, "the red of the palette"


def test_words_are_escaped_and_stay_words(drawing):
    drawing.text(180, 20, "<a> & 'b'")
    assert "<a> & 'b'" in words(drawing)
    assert "&lt;a&gt; &amp;" in drawing.svg()
    Drawing("a < b", 'say "&"').svg()


def test_nothing_in_it_clashes_with_another_drawing_or_needs_a_style_sheet(drawing):
    text = gallery().svg()
    assert not re.search(r'\bid=|url\(|<tspan|<marker|<script|href|style="', text)
    root = ElementTree.fromstring(text)
    assert (root.get("role"), root.get("class")) == ("img", "bf")
    assert [e.tag for e in root][:3] == [SVG + "title", SVG + "desc", SVG + "style"]
    for shape in root.iter():
        for key in ("fill", "stroke"):
            value = shape.get(key, "none")
            assert value == "none" or re.fullmatch(r"var\(--\w+,#[0-9a-f]{6}\)", value)


def test_the_module_needs_nothing_but_the_standard_library_until_pixels_are_asked_for():
    code = (
        "import sys; from bertfamily.drawings import Drawing; Drawing('t', 'd').box('x');"
        "assert not {'torch', 'numpy', 'matplotlib', 'PIL', 'resvg_py'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_pixels_have_the_words_too(drawing):
    drawing.text(180, 20, "words", hue="red")
    pixels = np.asarray(Image.open(io.BytesIO(png(drawing.svg()))).convert("RGB")).astype(int)
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert (pixels[..., 0] - pixels[..., 1] > 90).sum() > 100, "strokes of red"


# --- errors name the value and the remedy ---


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda d: d.text(180, 20, "long " * 30), "long.*leaves the 360.*shorten it"),
        (lambda d: d.box("a long label", width=20), "'a long label'.*its box is 20"),
        (lambda d: d.squares(0), "0 squares"),
        (lambda d: d.row(["sailor"] * 12), "12 pieces.*size=12"),
        (lambda d: d.row(["a"], {1: "hidden"}), "piece 1.*there are 1"),
        (lambda d: d.box("a", hue="purple"), "'purple'.*violet"),
        (lambda d: d.box("a", state="cold"), "state='cold'.*frozen"),
        (lambda d: d.matrix([[1, 2]], rows=["a", "b"]), "2 names for 1 of a 1 by 2"),
        (lambda d: d.matrix([[1, 2]], shade=True), "between 0 and 1"),
        (lambda d: d.matrix(torch.ones(2)), r"\[1.0, 1.0\] has no rows.*numbers\[None\]"),
        (lambda d: d.matrix([]), "no rows"),
        (lambda d: d.matrix([[1, 2]], hot=1), "hot=1.*1 rows"),
        (lambda d: d.bars(["a"], [1, 2]), "1 labels for 2 bars"),
        (lambda d: d.area("a", 0), "'a' has 0 parameters"),
        (lambda d: Drawing("t", "d").area("a", 1), "square="),
        (lambda d: Drawing("t", " "), "description=' '"),
        (lambda d: d.arrow((0, 0)), "two points"),
    ],
)
def test_errors_name_the_value(drawing, wrong, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        wrong(drawing)

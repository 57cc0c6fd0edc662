"""What must be true of the pictures: they show the numbers and shapes that were given."""

import re
from xml.etree import ElementTree

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import pytest
import torch

from bertfamily.drawings import PALETTE, Picture, colour
from bertfamily.plots import STYLE, draw, draw_product, draw_weights, hue, name_lines, size

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def ax():
    with plt.rc_context(STYLE):
        figure, ax = plt.subplots(figsize=size(240))
        yield ax
        plt.close(figure)


def words(ax):
    return [text.get_text() for text in ax.texts]


def shade(ax):
    """The colours of the squares of the first map, as red, green, blue and alpha."""
    ax.figure.canvas.draw()
    return ax.collections[0].get_facecolor()


# --- maps and products ---


def test_weights_stand_in_their_rows_and_columns(ax):
    weights = torch.tensor([[0.25, 0.75, 0.0], [1.0, 0.0, 0.0]])
    assert draw_weights(ax, weights, ["a", "b"], ["x", "y", "z"]) is ax
    assert words(ax) == ["0.25", "0.75", "0.00", "1.00", "0.00", "0.00"]
    assert [t.get_position() for t in ax.texts][:3] == [(0.5, 0.5), (1.5, 0.5), (2.5, 0.5)]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["x", "y", "z"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("key", "query")
    assert ax.collections[0].get_array().tolist() == weights.tolist()
    assert ax.get_ylim() == (2, 0), "the first row is the upper one"


@pytest.mark.parametrize("digits", [2, None])
def test_a_weight_has_the_same_shade_in_every_figure(ax, digits):
    """Whatever else is in it: shades are of weights from 0 to 1, and not of what there is."""
    shades = []
    for others in ([0.0, 0.0], [0.3, 0.1], [1.0, 1.0]):
        ax.clear()
        draw_weights(ax, torch.tensor([[0.2, *others]]), ["a"], ["x", "y", "z"], digits)
        shades.append(shade(ax)[0].tolist())
    assert shades[0] == shades[1] == shades[2]


@pytest.mark.parametrize("mode, ground", [(0, "#ffffff"), (1, "#121212")])
def test_numbers_can_be_read_on_their_shade_in_both_modes(ax, mode, ground):
    def channels(name):
        return [int(name[i : i + 2], 16) / 255 for i in (1, 3, 5)]

    def luminance(rgb):
        r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    draw_weights(ax, torch.tensor([[0.0, 0.5, 0.75, 1.0]]), ["q"], list("wxyz"))
    ink = luminance(channels(PALETTE["ink"][mode]))
    assert {text.get_color() for text in ax.texts} == {hue("ink")}
    for *_, alpha in shade(ax):
        mixed = zip(channels(PALETTE["blue"][mode]), channels(ground), strict=True)
        under = luminance([alpha * top + (1 - alpha) * below for top, below in mixed])
        dark, light = sorted((ink, under))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, f"at {alpha}"


def test_booleans_are_words_and_gradients_are_drawn_too(ax):
    draw_weights(ax, torch.eye(2, dtype=torch.bool), ["a", "b"], ["x", "y"])
    assert words(ax) == ["yes", "no", "no", "yes"]
    draw_weights(ax, torch.eye(2) == 1, ["a", "b"], ["x", "y"], words=("hidden", "seen"))
    assert words(ax)[4:] == ["seen", "hidden", "hidden", "seen"]
    draw_weights(ax, torch.eye(2, requires_grad=True), ["a", "b"], ["x", "y"], digits=None)
    assert len(words(ax)) == 8


def test_labels_that_do_not_fit_are_named(ax):
    with pytest.raises(ValueError, match=r"shape \(2, 2\).*1 queries and 3 keys"):
        draw_weights(ax, torch.eye(2), ["a"], ["x", "y", "z"])


def test_a_product_shows_names_and_sizes(ax):
    assert draw_product(ax, ("Q", 3, 4), ("Kᵀ", 4, 5), ("scores", 3, 5)) is ax
    assert words(ax) == ["Q", "3 × 4", "×", "Kᵀ", "4 × 5", "=", "scores", "3 × 5"]
    assert [mesh.get_array().shape for mesh in ax.collections] == [(3, 4), (4, 5), (3, 5)]


def test_the_names_of_lines_stand_at_their_ends_and_apart(ax):
    for i, name in enumerate(["low", "middle", "high"]):
        ax.plot([0, 1], [0, 1 + 0.01 * i], label=name)
    ax.plot([0, 1], [0, -5], label="_unnamed")
    name_lines(ax)
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert words(ax) == ["low", "middle", "high"]
    for below, above in zip(boxes, boxes[1:], strict=False):
        assert above.y0 + above.height / 2 > below.y0 + below.height / 2 + 0.7 * above.height
    assert [t.get_color() for t in ax.texts] == [line.get_color() for line in ax.lines[:3]]


# --- a figure becomes a drawing ---


def picture(ax, title="An idea") -> Picture:
    return draw(ax.figure, title, "All that is to be seen")


def test_a_figure_is_a_drawing_with_its_words_and_the_colours_of_the_theme(ax):
    ax.semilogy([1, 2], [1e-3, 1e-1], "o-", color=hue("key"), label="a <b> & c")
    ax.legend()
    ax.set_xlabel("layer")
    made = picture(ax)
    assert not plt.fignum_exists(ax.figure.number), "it would be shown twice"
    root = ElementTree.fromstring(made.svg())
    assert root.get("viewBox") == "0 0 360 240"
    assert (root.get("class"), root.get("role")) == ("bf", "img")
    shown = [text.text for text in root.iter(SVG + "text")]
    assert {"layer", "a <b> & c", "10⁻³", "10⁻¹"} <= set(shown)
    assert f'stroke="{colour("orange")}"' in made.svg()
    for node in root.iter():
        assert "style" not in node.attrib
        for key in ("fill", "stroke"):
            assert node.get(key, "none").startswith(("none", "var(--")), node.attrib
    data, _ = made._repr_mimebundle_()
    assert data.keys() == {"image/svg+xml", "image/png", "text/plain"}


def test_the_same_figure_gives_the_same_bytes_and_another_no_id_of_it():
    def made(title):
        with plt.rc_context(STYLE):
            _, ax = plt.subplots(figsize=size(240))
            ax.plot([1, 2], [3, 4], "o")
        return picture(ax, title).svg()

    def ids(text):
        return set(re.findall(r'\bid="(\w+)"', text))

    assert made("one") == made("one")
    assert ids(made("one")) and not ids(made("one")) & ids(made("two"))


def test_lines_that_leave_the_axes_are_cut_there(ax):
    ax.plot([0, 1], [0, 100])
    ax.set_ylim(0, 1)
    assert re.search(r'clip-path="url\(#(\w+)\)".*<clipPath id="\1"', picture(ax).svg(), re.S)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda ax: ax.figure.set_size_inches(8, 3), "576 units wide.*figsize=size"),
        (lambda ax: ax.plot([1, 2], color="tab:blue"), "#1f77b4.*hue"),
        (lambda ax: ax.set_title("small", fontsize=8), "'small' is 8 units.*take 12"),
        (lambda ax: ax.figure.text(0.5, 0.5, "long " * 20), "leaves the figure by"),
    ],
)
def test_what_a_phone_or_the_theme_cannot_show_is_refused(ax, wrong, message):
    wrong(ax)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        picture(ax)


def test_a_hue_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="'purple'.*violet"):
        hue("purple")

"""Figures of matplotlib in the colours of module drawings, and as such drawings.

A figure is 360 units wide, the width of a phone, and its text 12 or 13 high; two panels are drawn
one below the other. In the set-up of a chapter stands `plt.rcParams.update(STYLE)`; then

    figure, ax = plt.subplots(figsize=size(240))
    ...
    draw(figure, "its idea", "all that is to be seen in it")
"""

import io
import re
from collections.abc import Sequence
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogFormatter
from torch import Tensor

from bertfamily.drawings import PALETTE, ROLES, WIDTH, Picture, Units, colour, svg


def hue(name: str) -> str:
    """A hue or a role as a colour for matplotlib; `draw` lets it follow the theme."""
    colour(name)
    return PALETTE[ROLES.get(name, name)][0]


STYLE = {
    "figure.figsize": (WIDTH / 72, 3.4),
    "figure.constrained_layout.use": True,
    "font.size": 12, "axes.titlesize": 13, "axes.titleweight": "bold",
    "figure.facecolor": "none", "axes.facecolor": "none", "legend.frameon": False,
    "text.color": hue("ink"), "axes.labelcolor": hue("ink"), "axes.edgecolor": hue("muted"),
    "xtick.color": hue("muted"), "ytick.color": hue("muted"), "grid.color": hue("rule"),
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
    "lines.linewidth": 2, "patch.edgecolor": hue("paper"),
    "axes.prop_cycle": cycler(
        color=[hue(h) for h in "blue orange green violet ochre pink red slate".split()]
    ),
}  # fmt: skip

# The one colour map of the course: nothing is the ground, one is blue.
SHADES = LinearSegmentedColormap.from_list("shades", [hue("blue") + "00", hue("blue")])


def size(height: Units) -> tuple[float, float]:
    """The `figsize` of a figure 360 units wide and `height` high."""
    return WIDTH / 72, height / 72


def draw(figure: Figure, title: str, description: str) -> Picture:
    """The figure as a drawing, which follows the theme; the same figure gives the same bytes.

    `title` says its idea, `description` all that is to be seen. Refuses a figure that is not 360
    units wide, text that is too small for a phone or leaves the figure, and colours that are not
    of the palette. Closes the figure, so that it is not shown twice.
    """
    width, height = figure.get_size_inches() * 72
    if round(width) != WIDTH:
        raise ValueError(f"the figure is {width:.0f} units wide, not {WIDTH}: figsize=size(240)")
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            if isinstance(axis.get_major_formatter(), LogFormatter):
                axis.set_major_formatter(FuncFormatter(_power))
    figure.draw_without_rendering()
    taken = figure.get_tightbbox()  # in inches
    beyond = 72 * max(-taken.x0, -taken.y0, taken.x1 - width / 72, taken.y1 - height / 72)
    if beyond > 1:
        raise ValueError(f"text leaves the figure by {beyond:.0f} units: shorten it, or make room")
    out = io.StringIO()
    # the salt names clips and markers; another title, another name, so that no two pictures clash
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    plt.close(figure)
    root = ElementTree.fromstring(
        re.sub(r"<metadata>.*?</metadata>", "", out.getvalue(), flags=re.S)
    )
    used = set(re.findall(r'(?:href="#|url\(#)(\w+)', out.getvalue()))
    inside = "".join(_themed(node, used) for node in root)
    inside = f'<g text-anchor="start" stroke-linejoin="round">{inside}</g>'
    return Picture(title, svg(title, description, round(height), inside))


def name_lines(ax: Axes, apart: Units = 15) -> Axes:
    """Each line's label at its right end, in its colour, moved where two would meet."""
    ax.figure.draw_without_rendering()  # only now it is known where a line ends
    lines = [line for line in ax.lines if not line.get_label().startswith("_")]
    lines.sort(key=lambda line: line.get_ydata()[-1])
    ends = [(line.get_xdata()[-1], line.get_ydata()[-1]) for line in lines]
    heights = np.array([ax.transData.transform(end)[1] for end in ends]) * 72 / ax.figure.dpi
    ranks = apart * np.arange(len(lines))
    # pushed up from below, and down from above; between the two they stay apart
    up = np.maximum.accumulate(heights - ranks) + ranks
    down = np.minimum.accumulate((heights - ranks)[::-1])[::-1] + ranks
    for line, end, move in zip(lines, ends, (up + down) / 2 - heights, strict=True):
        ax.annotate(
            line.get_label(), end, (8, move), textcoords="offset points",
            va="center_baseline", color=line.get_color(), annotation_clip=False,
        )  # fmt: skip
    return ax


def _power(value: float, _=None) -> str:
    """A power of ten as plain text: 10⁻³."""
    exponent = str(round(np.log10(value)))
    return "10" + exponent.translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _themed(node: ElementTree.Element, used: set[str]) -> str:
    """An element of matplotlib's SVG, short, with attributes in place of styles and our colours."""
    name = node.tag.split("}")[-1]
    if name == "style":
        return ""
    given = {key.split("}")[-1]: value for key, value in node.attrib.items()}
    given |= dict(re.findall(r"([\w-]+): ([^;]+)", given.pop("style", "")))
    given.pop("font-family", None)
    if given.get("id") not in used:
        given.pop("id", None)
    if "font-size" in given:
        given["font-size"] = given["font-size"].removesuffix("px")
        if name == "text" and float(given["font-size"]) < 11:
            raise ValueError(
                f"{node.text!r} is {given['font-size']} units high, too small for a phone: take 12"
            )
    if given.get("transform", "").startswith("rotate(-0 "):
        del given["transform"]
    for key in ("fill", "stroke"):
        if given.get(key, "none") != "none":
            given[key] = _hue_of(given[key])
    inside = "".join(_themed(child, used) for child in node)
    words = (node.text or "").strip()
    inside = words.replace("&", "&amp;").replace("<", "&lt;") + inside
    paints = given.get("fill") != "none" or "stroke" in given
    if (name in ("g", "defs", "text") and not inside) or (name == "path" and not paints):
        return ""
    if name == "g" and not given:
        return inside
    text = "".join(f' {key}="{_short(value)}"' for key, value in given.items())
    return f"<{name}{text}>{inside}</{name}>" if inside else f"<{name}{text}/>"


def _hue_of(shade: str) -> str:
    """A colour that matplotlib wrote as the one of the palette that follows the theme."""
    shade = {"#000000": PALETTE["ink"][0]}.get(shade, shade)
    for name, (light, _) in PALETTE.items():
        if light == shade:
            return colour(name)
    raise ValueError(
        f"the colour {shade} is not of the palette and would not follow the theme: "
        "take hue('blue') or another, and alpha=… for a tint"
    )


def _short(value: str) -> str:
    """Coordinates to two digits after the point, and no line breaks."""
    if "#" in value:
        return value
    value = re.sub(r"-?\d+\.\d+", lambda m: f"{float(m[0]):.2f}".rstrip("0").rstrip("."), value)
    return " ".join(value.split())


def draw_weights(
    ax: Axes,
    weights: Float[Tensor, "q k"] | Bool[Tensor, "q k"],
    queries: Sequence[str],
    keys: Sequence[str],
    digits: int | None = 2,
    words: tuple[str, str] = ("no", "yes"),
) -> Axes:
    """A map of weights between 0 and 1: a row for each query, a column for each key.

    Each square carries its number to `digits` decimals, or for booleans one of two `words`, so
    that no colour has to be read; `digits=None` leaves them out. Refuses labels that do not match
    the shape.
    """
    if tuple(weights.shape) != (len(queries), len(keys)):
        raise ValueError(
            f"weights of shape {tuple(weights.shape)} need as many labels: "
            f"there are {len(queries)} queries and {len(keys)} keys"
        )
    numbers = weights.detach().float().numpy()
    # under a number the darkest square is a tint, on which ink can be read in both modes
    darkest = 1 if digits is None else 1 / 0.55
    ax.pcolormesh(
        numbers, cmap=SHADES, vmin=0, vmax=darkest, edgecolors=hue("paper"), linewidth=1
    )  # fmt: skip
    ax.set(aspect="equal", ylim=(len(queries), 0))
    ax.set_xticks(np.arange(len(keys)) + 0.5, keys, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(np.arange(len(queries)) + 0.5, queries)
    ax.set_xlabel("key", color=hue("key"))
    ax.set_ylabel("query", color=hue("query"))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    if digits is not None:
        for (row, column), value in np.ndenumerate(weights.detach().numpy()):
            shown = words[int(value)] if value.dtype == bool else f"{value:.{digits}f}"
            ax.text(
                column + 0.5, row + 0.5, shown, ha="center", va="center_baseline", color=hue("ink")
            )  # fmt: skip
    return ax


def draw_product(ax: Axes, *matrices: tuple[str, int, int], symbols: Sequence[str] = "×=") -> Axes:
    """A product of matrices as boxes to scale, with `symbols` between them.

    Each matrix is (name, rows, columns); rows and columns are also written beside the box. Q, K and
    V have their colours.
    """
    roles = {"Q": "query", "K": "key", "Kᵀ": "key", "V": "value"}
    unit = max(rows for _, rows, _ in matrices)
    x = 0.0
    for i, (name, rows, columns) in enumerate(matrices):
        if i:
            ax.text(x + 0.5, 0, symbols[i - 1], ha="center", va="center", fontsize=14)
            x += 1.6
        ax.pcolormesh(
            [x + j for j in range(columns + 1)],
            [rows / 2 - j for j in range(rows + 1)],
            np.ones((rows, columns)),
            cmap=LinearSegmentedColormap.from_list(name, [hue(roles.get(name, "slate"))] * 2),
            alpha=0.3, edgecolors=hue("paper"), linewidth=1,
        )  # fmt: skip
        ax.text(x + columns / 2, unit / 2 + 0.3, name, ha="center", va="bottom")
        ax.text(x + columns / 2, -unit / 2 - 0.3, f"{rows} × {columns}", ha="center", va="top")
        x += columns + 0.6
    ax.set(xlim=(-0.5, x), ylim=(-unit / 2 - 1.5, unit / 2 + 1.5), aspect="equal")
    ax.axis("off")
    return ax

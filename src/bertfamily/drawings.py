"""Drawings as vector graphics, made of a few parts: pieces, matrices, areas, bars and arrows.

A `Drawing` is 360 units wide, one unit for each pixel of a phone. Its parts are placed from top to
bottom: each stands under those before it, in the middle, unless `x` (its middle) and `y` (its top)
say otherwise, and returns its `Box`, to which arrows lead.

A notebook stores it as SVG, as PNG and as its title. The site puts the SVG into the page, where it
follows the theme; JupyterLab shows the SVG, or the PNG until the notebook is trusted; a viewer that
takes styles away leaves the light colours, which stand in the attributes.

Weighed: drawsvg and svg.py write elements as the ten lines of `_tag` do, but neither places a part,
measures a text or follows a theme.
"""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from pathlib import Path

# Each hue in light and dark mode; 4.5 : 1 at least on both grounds, so that it may colour text.
PALETTE = {
    "ink": ("#1f2933", "#e6e9ec"),
    "muted": ("#566472", "#a3b3c2"),
    "rule": ("#c3ccd5", "#47525e"),  # hairlines, never meaning alone
    "paper": ("#ffffff", "#121212"),  # the ground, and plates under a label
    "blue": ("#1d5fbf", "#79afff"),
    "orange": ("#b8530a", "#ff9f5a"),
    "green": ("#0b7a5b", "#4fc9a0"),
    "violet": ("#6b3fa0", "#bb9dff"),
    "ochre": ("#8f6c00", "#e8c558"),
    "pink": ("#c02f86", "#ff8ccb"),
    "red": ("#ad0f26", "#ff7a75"),
    "slate": ("#566472", "#a3b3c2"),
}
# What a hue means, in every chapter. Two roles of one hue never meet in one drawing.
ROLES = {
    "query": "blue", "key": "orange", "value": "green",
    "token": "violet", "segment": "ochre", "position": "pink",
    "left": "blue", "right": "orange",
    "chosen": "red", "hidden": "red", "kept": "red", "swapped": "blue",
    "attention": "blue", "feed_forward": "orange",
    "teacher": "slate", "student": "green",
    "generator": "ochre", "discriminator": "green",
    "frozen": "slate", "moving": "green",
}  # fmt: skip
# What state a part is in shows in its line: the opacity of its fill, the width of its line, dashes.
STATES = {
    "plain": (0.1, 1.5, None),
    "hollow": (None, 1.25, None),  # not chosen
    "chosen": (0.14, 2, None),
    "hidden": (1, 2, None),
    "swapped": (1, 2, None),
    "kept": (None, 2, None),  # chosen, and left as it is
    "frozen": (None, 1.5, "4 3"),
    "moving": (0.2, 2, None),  # trained
}
FONTS = "system-ui,-apple-system,Segoe UI,Roboto,Helvetica Neue,Arial,sans-serif"
WIDTH = 360  # of every drawing, in units
SHOWN = 480  # in pixels, where there is room
MARGIN = 8
GAP = 24  # between two parts, for an arrow

Units = int | float
Point = tuple[Units, Units]


def colour(name: str) -> str:
    """A hue or a role as a colour that follows the theme: `var(--blue,#1d5fbf)`."""
    hue = ROLES.get(name, name)
    if hue not in PALETTE:
        raise ValueError(f"{name!r} is no colour; there are {', '.join([*PALETTE, *ROLES])}")
    return f"var(--{hue},{PALETTE[hue][0]})"


def number(value: Units, digits: int | None = None) -> str:
    """A number with a real minus; without `digits`, none after the point if whole, else two."""
    if digits is None:
        digits = 0 if float(value).is_integer() else 2
    shown = f"{value:,.{digits}f}"
    return shown.replace("-", "−") if re.search("[1-9]", shown) else shown.lstrip("-")


def millions(parameters: Units) -> str:
    """A count of parameters to two digits after the point: 23,440,896 is `23.44 M`."""
    digits = 2 if parameters >= 10_000 or not parameters else 4
    return f"{parameters / 1e6:.{digits}f} M"


# Widths of letters in hundredths of the size, those of DejaVu Sans, the widest of the fonts that a
# reader may have. What is not listed is 64 wide.
_WIDTHS = {
    28: "'ijl", 30: "IJ", 32: " ,.·’", 34: "/:;\\|", 36: "f-", 39: "()[]tᵀ", 41: "!r²",
    53: '"*_`–“”sz?', 58: "cLFk", 70: "KAVXZBRC√∑", 82: "UNHDGOQ&w", 84: "#+<=>^~−×→←≤≥≈✓",
    100: "MmW%@…",
}  # fmt: skip
_WIDTH = {letter: width for width, letters in _WIDTHS.items() for letter in letters}


def text_width(words: str, size: Units = 13, bold: bool = False) -> Units:
    """The room that `words` need in any usual font, in units."""
    return sum(_WIDTH.get(c, 64) for c in words) / 100 * size * (1.15 if bold else 1)


@dataclass(frozen=True)
class Box:
    """Where a part stands: its left edge, top and size. `box[2]` is the third of its pieces."""

    x: Units
    y: Units
    width: Units
    height: Units
    parts: tuple["Box", ...] = ()

    def __getitem__(self, i: int) -> "Box":
        return self.parts[i]

    # The points where arrows join; `share` goes along the side, from the left or from the top.
    def top(self, share: Units = 0.5) -> Point:
        return self.x + share * self.width, self.y

    def bottom(self, share: Units = 0.5) -> Point:
        return self.x + share * self.width, self.y + self.height

    def left(self, share: Units = 0.5) -> Point:
        return self.x, self.y + share * self.height

    def right(self, share: Units = 0.5) -> Point:
        return self.x + self.width, self.y + share * self.height

    def grow(self, left: Units = 0, top: Units = 0, right: Units = 0, bottom: Units = 0) -> "Box":
        """The same box with room around it, such as for the lines that run beside it."""
        return Box(
            self.x - left, self.y - top, self.width + left + right, self.height + top + bottom
        )

    def between(self, start: Units, end: Units) -> "Box":
        """The piece of the box from one share of its width to another."""
        return Box(self.x + start * self.width, self.y, (end - start) * self.width, self.height)

    @property
    def middle(self) -> Point:
        return self.x + self.width / 2, self.y + self.height / 2


@dataclass(frozen=True)
class Picture:
    """A finished picture: its title and its SVG."""

    title: str
    text: str

    def svg(self) -> str:
        return self.text

    def _repr_mimebundle_(self, include=None, exclude=None):
        """What a notebook stores: vectors, pixels for those who may not show them, the title."""
        pixels = base64.b64encode(png(self.text)).decode()
        data = {"image/svg+xml": self.text, "image/png": pixels, "text/plain": self.title}
        return data, {"image/png": {"width": SHOWN}}


@dataclass
class Drawing:
    """A picture with a `title`, its idea, and a `description`, all that is to be seen in it.

    A notebook shows it as vector graphics, or as pixels where it may not. `square` is the number of
    parameters that a square of 16 units stands for; all areas of a drawing share it.
    """

    title: str
    description: str
    square: Units | None = None
    lowest: Units = field(default=MARGIN - GAP, init=False)  # the bottom of what is drawn so far
    elements: list[str] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self):
        for name in ("title", "description"):
            if not getattr(self, name).strip():
                raise ValueError(
                    f"{name}={getattr(self, name)!r}: who cannot see the picture reads it"
                )

    # --- what comes out ---

    def svg(self) -> str:
        """The drawing as SVG: a file of its own, or to be put into a page as it is."""
        height = round(self.lowest + MARGIN)
        return svg(self.title, self.description, height, "\n".join(self.elements))

    def _repr_mimebundle_(self, include=None, exclude=None):
        return Picture(self.title, self.svg())._repr_mimebundle_()

    # --- words and lines ---

    def text(
        self, x: Units, y: Units, words: str, *, size: Units = 13, bold: bool = False,
        hue: str = "ink", anchor: str = "middle", turned: bool = False,
    ) -> Box:  # fmt: skip
        """Words at a point: `y` is their middle; `anchor` is the part at `x`: start, middle or end.

        `turned` words read from bottom to top, around the point.
        """
        wide = text_width(words, size, bold)
        left = x - {"start": 0, "middle": 0.5, "end": 1}[anchor] * wide
        if turned:
            box = Box(x - size / 2, y - wide / 2, size, wide)
        else:
            box = Box(left, y - size / 2, wide, size)
        if box.x < 0 or box.x + box.width > WIDTH:
            raise ValueError(
                f"{words!r} needs {box.width:.0f} units from {box.x:.0f} and leaves the {WIDTH} of "
                f"the drawing: shorten it, or move it"
            )
        turn = f"rotate(-90 {_n(x)} {_n(y)})" if turned else None
        self._add(_tag(
            "text", words, x=x, y=y + 0.36 * size, font_size=None if size == 13 else size,
            text_anchor=None if anchor == "middle" else anchor,
            fill=None if hue == "ink" else colour(hue),
            font_weight=600 if bold else None, transform=turn,
        ), box.y + box.height)  # fmt: skip
        return box

    def arrow(
        self, *points: Point | Box, hue: str = "slate", label: str = "", beside: str = "right",
        at: Units = 0.5, dashed: bool = False, head: bool = True, turn: Units = 0.5,
    ) -> None:  # fmt: skip
        """An arrow through `points`, its corners rounded; `label` stands beside its longest part.

        Two boxes are joined by the sides that face each other; where they are not in line the arrow
        goes around two corners, a share `turn` of the way; so it does between points, at first up
        or down. The label is to the `right` or `left` of the line, `along` it or `on` it, a share
        `at` of the way. Without a `head` it is a line.
        """
        path = _join(points, turn)
        drawn = path
        if head:  # the line ends inside the head
            (x0, y0), (x, y) = path[-2:]
            dx, dy = _sign(x - x0), _sign(y - y0)
            drawn = [*path[:-1], (x - 5 * dx, y - 5 * dy)]
        self._add(_tag(
            "path", d=_rounded(drawn), fill="none", stroke=colour(hue), stroke_width=1.75,
            stroke_linejoin="round", stroke_dasharray="4 3" if dashed else None,
        ), max(y for _, y in path))  # fmt: skip
        if head:
            self._head(x, y, dx, dy, hue)
        if label:
            a, b = max(
                pairwise(path), key=lambda s: abs(s[0][0] - s[1][0]) + abs(s[0][1] - s[1][1])
            )
            middle = (a[0] + at * (b[0] - a[0]), a[1] + at * (b[1] - a[1]))
            upright = a[0] == b[0]
            self._label(*middle, upright, label, beside, "muted" if hue == "slate" else hue)

    def curve(self, a: Box, b: Box, *, hue: str = "slate") -> None:
        """A curved arrow from the right side of a box to the left side of another."""
        (x0, y0), (x1, y1) = a.right(), b.left()
        bend = (x0 + x1) / 2
        d = f"M{_n(x0)} {_n(y0)}C{_n(bend)} {_n(y0)} {_n(bend)} {_n(y1)} {_n(x1 - 5)} {_n(y1)}"
        self._add(_tag("path", d=d, fill="none", stroke=colour(hue), stroke_width=1.75))
        self._head(x1, y1, 1, 0, hue)

    def _head(self, x: Units, y: Units, dx: int, dy: int, hue: str) -> None:
        """The head of an arrow at a point, towards (dx, dy)."""
        bx, by = x - 7 * dx, y - 7 * dy
        corners = f"M{_n(x)} {_n(y)}L{_n(bx - 4 * dy)} {_n(by + 4 * dx)}"
        corners += f"L{_n(bx + 4 * dy)} {_n(by - 4 * dx)}Z"
        self._add(_tag("path", d=corners, fill=colour(hue)))

    def _label(self, x: Units, y: Units, upright: bool, label: str, beside: str, hue: str) -> None:
        if beside == "on":
            wide = text_width(label, 13, bold=True) + 6
            self._rect(x - wide / 2, y - 10, wide, 20, fill=colour("paper"))
            self.text(x, y, label, bold=True)
        elif beside == "along" and upright:
            self.text(x - 9, y, label, size=12, hue=hue, turned=True)
        elif upright:
            side, anchor = (8, "start") if beside == "right" else (-8, "end")
            self.text(x + side, y - 1, label, size=12, hue=hue, anchor=anchor)
        else:
            self.text(x, y - 10, label, size=12, hue=hue)

    def frame(self, *boxes: Box, label: str = "", pad: Units = 10, hue: str = "slate") -> Box:
        """A rounded line around boxes, with a label above its left corner."""
        left, top = min(b.x for b in boxes) - pad, min(b.y for b in boxes) - pad
        right, bottom = (max(b.right()[0] for b in boxes), max(b.bottom()[1] for b in boxes))
        box = Box(left, top, right + pad - left, bottom + pad - top)
        self._rect(*_of(box), rx=8, fill="none", stroke=colour(hue), stroke_width=1.5)
        if label:
            self.text(left + 2, top - 10, label, bold=True, anchor="start")
        return box

    # --- boxes and pieces ---

    def box(
        self, label: str = "", note: str = "", *, x: Units = WIDTH / 2, y: Units | None = None,
        width: Units | None = None, height: Units | None = None, hue: str = "",
        state: str = "plain", round: Units = 4, bold: bool | None = None, size: Units = 13,
    ) -> Box:  # fmt: skip
        """A box with a label, and a smaller note under it; `round=8` makes the pill of a loss.

        `state` is one of `STATES`, or a role, which gives the box its colour; so does `hue`.
        """
        bold = bool(note) or state in ("hidden", "swapped") if bold is None else bold
        room = max(text_width(label, size, bold), text_width(note, 12))
        if width and room and room > width - 2:
            raise ValueError(
                f"{label!r} with {note!r} needs {room + 2:.0f} units, its box is {width:.0f} wide"
            )
        place = self._place(
            label, x, y, width or room + 16, height or (40 if note else 24 if size > 12 else 20)
        )
        if state not in STATES and state not in ROLES:
            raise ValueError(f"state={state!r}: there are {', '.join([*STATES, *ROLES])}")
        opacity, line, dashes = STATES.get(state, STATES["plain"])
        own = colour(hue or (state if state in ROLES else "slate"))
        self._rect(
            *_of(place), rx=round, fill=own if opacity else "none",
            fill_opacity=None if opacity == 1 else opacity,
            stroke=own, stroke_width=line, stroke_dasharray=dashes,
        )  # fmt: skip
        mx, my = place.middle
        ink = "paper" if opacity == 1 else "ink"
        if label:
            self.text(mx, my - 8 if note else my, label, size=size, bold=bold, hue=ink)
        if note:
            self.text(mx, my + 8, note, size=12, hue=ink)
        return place

    def row(
        self, pieces: Sequence[str], states: Mapping[int, str] | None = None, *,
        x: Units = WIDTH / 2, y: Units | None = None, hue: str = "", size: Units = 13,
        gap: Units = 4, widths: Sequence[Units] = (), name: str = "", note: str = "",
    ) -> Box:  # fmt: skip
        """A row of pieces of text, the parts of the box that is returned.

        `states[i]` is the state or the role of piece `i`; `absent` leaves its place empty. `name`
        and `note` stand to the right. `widths` puts the pieces of several rows in columns.
        """
        states = states or {}
        if wrong := [i for i in states if not 0 <= i < len(pieces)]:
            raise ValueError(f"states names piece {wrong[0]}, and there are {len(pieces)}, from 0")
        bold = [states.get(i) in ("hidden", "swapped") for i in range(len(pieces))]
        widths = widths or [text_width(p, size, b) + 10 for p, b in zip(pieces, bold, strict=True)]
        total = sum(widths) + gap * (len(pieces) - 1)
        left = x - total / 2
        if left < 0 or left + total > WIDTH:
            raise ValueError(
                f"a row of {len(pieces)} pieces is {total:.0f} units wide around {x:g} and leaves "
                f"the {WIDTH} of the drawing: use size=12, fewer pieces or two rows"
            )
        y = self._next(y)
        parts = []
        for i, (piece, width) in enumerate(zip(pieces, widths, strict=True)):
            state = states.get(i, "plain")
            part = Box(left, y, width, 24)
            if state != "absent":
                self.box(
                    piece, x=part.middle[0], y=y, width=width, height=24, size=size,
                    hue=hue if state == "plain" else "", state=state,
                )  # fmt: skip
            parts.append(part)
            left += width + gap
        row = Box(parts[0].x, y, total, 24, tuple(parts))
        right, middle = row.right()
        if name:
            right = self.text(right + 10, middle, name, bold=True, anchor="start").right()[0] - 4
        if note:
            self.text(right + 10, middle, note, size=12, hue="muted", anchor="start")
        return row

    def stack(
        self, labels: Sequence[str], states: Mapping[int, str] | None = None, *,
        x: Units = WIDTH / 2, y: Units | None = None, width: Units = 104, height: Units = 18,
        gap: Units = 4, hue: str = "", state: str = "plain",
    ) -> Box:  # fmt: skip
        """Boxes of one size below each other, such as layers; the parts of the result.

        `states[i]` is the state of box `i`, `state` that of all others.
        """
        y = self._next(y)
        parts = tuple(
            self.box(
                label, x=x, y=y + i * (height + gap), width=width, height=height, hue=hue,
                state=(states or {}).get(i, state), size=12,
            )
            for i, label in enumerate(labels)
        )  # fmt: skip
        high = len(parts) * (height + gap) - gap
        return Box(x - width / 2, y, width, high, parts)

    def under(self, piece: Box, words: str, hue: str = "muted", bold: bool = False) -> Box:
        """A small word under a piece."""
        x, y = piece.bottom()
        return self.text(x, y + 12, words, size=12, hue=hue, bold=bold)

    def note(
        self, words: str, more: str = "", *, x: Units = MARGIN, y: Units | None = None,
        size: Units = 12, bold: bool = False, hue: str = "ink",
    ) -> Box:  # fmt: skip
        """A line of text from `x` to the right; `y` is its top; `more` goes on in muted ink."""
        y = max(self.lowest + 10, MARGIN) if y is None else y
        size = 13 if bold else size
        box = self.text(x, y + size / 2, words, size=size, bold=bold, hue=hue, anchor="start")
        if more:
            right = box.right()[0] + 6
            self.text(right, y + size / 2, more, size=12, hue="muted", anchor="start")
        return box

    def rule(self, y: Units | None = None) -> None:
        """A hairline across the drawing."""
        y = self.lowest + 14 if y is None else y
        across = f"M{MARGIN} {_n(y)}H{WIDTH - MARGIN}"
        self._add(_tag("path", d=across, stroke=colour("rule"), stroke_width=1.25), y)

    # --- numbers ---

    def matrix(
        self, numbers, head: str = "", rows: Sequence[str] = (), columns: Sequence[str] = (), *,
        x: Units = WIDTH / 2, y: Units | None = None, hue: str = "slate", hot: int | None = None,
        shade: bool = False, digits: int = 2, cell: tuple[Units, Units] | None = None,
        row_hue: str = "ink", column_hue: str = "ink",
    ) -> Box:  # fmt: skip
        """A matrix: a head, names of its rows and columns, and its real numbers.

        `numbers` is a tensor or a list of rows. Row `hot` is outlined and the others are muted.
        `shade` darkens each cell by its number, which must lie between 0 and 1. Returns the box of
        head and numbers, without the names of the rows; `m[2]` is the third row, `m[2][0]` a cell.
        """
        values = numbers.tolist() if hasattr(numbers, "tolist") else list(numbers)
        if not values or not all(hasattr(row, "__len__") and len(row) for row in values):
            raise ValueError(
                f"{values} has no rows of numbers; numbers[None] makes one of a vector"
            )
        high, wide = len(values), len(values[0])
        for name, labels, needed in (("rows", rows, high), ("columns", columns, wide)):
            if labels and len(labels) != needed:
                raise ValueError(
                    f"{name}: {len(labels)} names for {needed} of a {high} by {wide} matrix"
                )
        if hot is not None and not 0 <= hot < high:
            raise ValueError(f"hot={hot}: there are {high} rows, from 0")
        if shade and not all(0 <= v <= 1 for r in values for v in r):
            raise ValueError("shade needs numbers between 0 and 1, such as weights")
        whole = all(float(v).is_integer() for r in values for v in r)
        shown = [[number(v, 0 if whole else digits) for v in r] for r in values]
        size = 13 if whole else 12.5
        if cell is None:
            room = max(text_width(s, size) for r in shown for s in r) + 8
            room = max([room, 28, *(text_width(c, 12) + 4 for c in columns)])
            if head:
                room = max(room, (text_width(head, 13, bold=True) + 12) / wide)
            cell = (room, 24)
        w, h = cell
        y = self._next(y)
        left, top = x - w * wide / 2, y + (20 if head else 0) + (18 if columns else 0)
        line = colour(hue)
        if head:
            edge = left + w * wide
            self._add(_tag(
                "path", fill=line, stroke=line, stroke_width=1.5, stroke_linejoin="round",
                d=f"M{_n(left)} {_n(y + 20)}v-16q0-4 4-4H{_n(edge - 4)}q4 0 4 4v16Z",
            ))  # fmt: skip
            self.text(x, y + 10, head, bold=True, hue="paper")
        for j, name in enumerate(columns):
            self.text(left + (j + 0.5) * w, top - 9, name, size=12, hue=column_hue)
        boxes = []
        for i, line_of in enumerate(values):
            cells = tuple(Box(left + j * w, top + i * h, w, h) for j in range(wide))
            for box, value in zip(cells, line_of, strict=True):
                tint = 0.05 + 0.27 * value if shade else 0.22 if i == hot else 0.08
                self._rect(*_of(box), fill=line, fill_opacity=tint)
            boxes.append(Box(left, top + i * h, w * wide, h, cells))
        inner = "".join(f"M{_n(left)} {_n(top + i * h)}h{_n(w * wide)}" for i in range(1, high))
        inner += "".join(f"M{_n(left + j * w)} {_n(top)}v{_n(h * high)}" for j in range(1, wide))
        if inner:
            self._add(_tag("path", d=inner, stroke=line, stroke_opacity=0.35, stroke_width=1))
        self._rect(left, top, w * wide, h * high, rx=2, fill="none", stroke=line, stroke_width=1.5)
        for i, row in enumerate(boxes):
            hue_of = "ink" if shade or hot in (None, i) else "muted"  # muted is too pale on a shade
            for box, words in zip(row.parts, shown[i], strict=True):
                self.text(*box.middle, words, size=size, hue=hue_of)
            if rows:
                name_hue = hue_of if row_hue == "ink" else row_hue
                self.text(
                    left - 7, row.middle[1], rows[i], bold=i == hot, hue=name_hue, anchor="end"
                )
        if hot is not None:
            self._rect(*_of(boxes[hot]), rx=2, fill="none", stroke=line, stroke_width=2.75)
        return Box(left, y, w * wide, top + h * high - y, tuple(boxes))

    def area(
        self, name: str, parameters: Units, *, x: Units = WIDTH / 2, y: Units | None = None,
        width: Units | None = None, hue: str = "slate", beside: str = "", note: str | None = None,
    ) -> Box:  # fmt: skip
        """A block whose area is its number of parameters, by the scale of the drawing (`square`).

        It is `width` wide, or a square; lines divide it into squares of 16 units. Its name and its
        number (`note`) stand on a plate in it where there is room, else to the right; `beside` says
        `right`, `below` or `nothing`. What is too small to be seen gets a ring.
        """
        if not self.square:
            raise ValueError("an area needs a scale: Drawing(…, square=parameters of one square)")
        if not parameters > 0:
            raise ValueError(f"{name!r} has {parameters} parameters: leave it out")
        note = millions(parameters) if note is None else note
        units = parameters / self.square * 256
        width = width or units**0.5
        height = units / width
        place = self._place(name, x, y, width, height)
        line = colour(hue)
        if units < 4:
            self._rect(*_of(place), fill=line)
            mx, my = place.middle
            place = Box(mx - 5, my - 5, 10, 10)
            self._add(_tag("circle", cx=mx, cy=my, r=5, fill="none", stroke=line, stroke_width=1.5))
        else:
            self._rect(*_of(place), fill=line, fill_opacity=0.2)
            x0, y0 = place.x, place.y
            grid = "".join(f"M{_n(x0 + s)} {_n(y0)}v{_n(height)}" for s in _steps(width))
            grid += "".join(f"M{_n(x0)} {_n(y0 + s)}h{_n(width)}" for s in _steps(height))
            if grid:
                self._add(_tag("path", d=grid, stroke=colour("paper"), stroke_width=1.5))
            self._rect(
                *_of(place), rx=min(2, width / 8), fill="none", stroke=line, stroke_width=1.75
            )
        mx, my = place.middle
        plate = max(text_width(name, 13, bold=True), text_width(note)) + 12
        if not beside:
            beside = "inside" if plate + 8 <= width and height >= 46 else "right"
        if beside == "inside":
            self._rect(mx - plate / 2, my - 19, plate, 38, rx=4, fill=colour("paper"))
            self.text(mx, my - 8, name, bold=True)
            self.text(mx, my + 9, note)
        elif beside == "right":
            right = max(place.right()[0], mx + 8) + 10
            self.text(right, my - 7, name, size=12, anchor="start")
            self.text(right, my + 7, note, size=12, hue="muted", anchor="start")
        elif beside == "below":
            down = place.bottom()[1]
            self.text(mx, down + 11, name, size=12, bold=True)
            self.text(mx, down + 26, note, size=12, hue="muted")
        return place

    def bars(
        self, labels: Sequence[str], values, *, y: Units | None = None, hue: str = "slate",
        hues: Mapping[int, str] | None = None, hot: int | None = None, most: Units | None = None,
        shown: Sequence[str] | None = None, digits: int = 2, x: Units = MARGIN,
        width: Units = WIDTH - 2 * MARGIN,
    ) -> Box:  # fmt: skip
        """Bars to the right, a label before each and its number behind it; bar `hot` is solid.

        `most` is the number of the longest bar there could be; without it, the largest value.
        `shown` replaces the numbers as they are written. `x` is the left edge, labels included. The
        parts of the box are the bars.
        """
        values = values.tolist() if hasattr(values, "tolist") else list(values)
        if len(labels) != len(values):
            raise ValueError(f"{len(labels)} labels for {len(values)} bars")
        if not all(v >= 0 for v in values):
            raise ValueError(f"a bar cannot be negative: {min(values)}")
        shown = shown or [number(v, digits) for v in values]
        before = max(text_width(label, 13, i == hot) for i, label in enumerate(labels)) + 7
        behind = max(text_width(s, 12.5) for s in shown) + 6
        room = width - before - behind
        if room < 40:
            longest = max(labels, key=len)
            raise ValueError(f"the labels leave {room:.0f} units for the bars: shorten {longest!r}")
        most = most or max(values) or 1
        y = self._next(y)
        parts = []
        for i, (label, value) in enumerate(zip(labels, values, strict=True)):
            bar = Box(x + before, y + 24 * i, room * value / most, 18)
            own = colour((hues or {}).get(i, hue))
            self.text(bar.x - 7, bar.y + 9, label, bold=i == hot, anchor="end")
            solid = i == hot
            if bar.width:
                self._rect(
                    *_of(bar), rx=min(2, bar.width / 2), fill=own,
                    fill_opacity=None if solid else 0.25, stroke=own, stroke_width=1.5,
                )  # fmt: skip
            self.text(
                bar.right()[0] + 6, bar.y + 9, shown[i], size=12.5, anchor="start", bold=False
            )
            parts.append(bar)
        line = f"M{_n(x + before)} {_n(y - 3)}v{_n(24 * len(values))}"
        self._add(_tag("path", d=line, stroke=colour("muted"), stroke_width=1.5))
        return Box(x + before, y, room, 24 * len(values) - 6, tuple(parts))

    def upright(
        self, values, *, x: Units = WIDTH / 2, y: Units | None = None, width: Units = 104,
        height: Units = 40, hue: str = "slate", most: Units | None = None, hot: int | None = None,
    ) -> Box:  # fmt: skip
        """Small bars side by side on a line, without words: the shape of a distribution."""
        values = values.tolist() if hasattr(values, "tolist") else list(values)
        most = most or max(values)
        place = self._place("the bars", x, y, width, height)
        step, line = width / len(values), colour(hue)
        parts = []
        for i, value in enumerate(values):
            high = height * value / most
            bar = Box(place.x + (i + 0.15) * step, place.y + height - high, 0.7 * step, high)
            own = None if hot in (None, i) else 0.4
            self._rect(*_of(bar), rx=min(1, high / 2), fill=line, fill_opacity=own)
            parts.append(bar)
        foot = f"M{_n(place.x)} {_n(place.y + height)}h{_n(width)}"
        self._add(_tag("path", d=foot, stroke=line, stroke_width=1.5))
        return Box(*_of(place), tuple(parts))

    # --- shares ---

    def squares(
        self, count: Units, states: Mapping[int, str] | None = None, *, x: Units = WIDTH / 2,
        y: Units | None = None, columns: int = 20, side: Units = 13, gap: Units = 4,
        state: str = "hollow",
    ) -> Box:  # fmt: skip
        """As many squares as there are things; of 1.5 the second is half as wide.

        `states[i]` is the state of square `i`, `state` that of all others.
        """
        if not count > 0:
            raise ValueError(f"{count} squares: there must be some")
        sides = [side] * int(count) + ([side * (count % 1)] if count % 1 else [])
        width = sum(sides[:columns]) + gap * (len(sides[:columns]) - 1)
        left, y = x - width / 2, self._next(y)
        parts = []
        for i, wide in enumerate(sides):
            part = Box(
                left + i % columns * (side + gap), y + i // columns * (side + gap), wide, side
            )
            kind = (states or {}).get(i, state)
            self.box(
                x=part.middle[0], y=part.y, width=wide, height=side, round=2,
                state=kind, hue="rule" if kind == "hollow" else "",
            )  # fmt: skip
            parts.append(part)
        return Box(left, y, width, parts[-1].bottom()[1] - y, tuple(parts))

    def band(self, above: Box, below: Box, *, hue: str = "slate") -> None:
        """A curved band from the lower side of a box to the upper side of another."""
        (x0, y0), (x1, _) = above.bottom(0), above.bottom(1)
        (x2, y1), (x3, _) = below.top(0), below.top(1)
        y0, y1 = y0 + 2, y1 - 2
        middle = (y0 + y1) / 2
        d = f"M{_n(x0)} {_n(y0)}C{_n(x0)} {_n(middle)} {_n(x2)} {_n(middle)} {_n(x2)} {_n(y1)}"
        d += f"H{_n(x3)}C{_n(x3)} {_n(middle)} {_n(x1)} {_n(middle)} {_n(x1)} {_n(y0)}Z"
        self._add(_tag("path", d=d, fill=colour(hue), fill_opacity=0.14))

    # --- how it is written ---

    def _next(self, y: Units | None) -> Units:
        return self.lowest + GAP if y is None else y

    def _place(self, name: str, x: Units, y: Units | None, width: Units, height: Units) -> Box:
        """The box of a part around `x`, under what is drawn so far unless `y` is given."""
        box = Box(x - width / 2, self._next(y), width, height)
        if box.x < 0 or box.x + width > WIDTH:
            raise ValueError(
                f"{name!r}, {width:.0f} wide around x={x:g}, leaves the {WIDTH} of the drawing"
            )
        self.lowest = max(self.lowest, box.y + height)
        return box

    def _rect(self, x: Units, y: Units, width: Units, height: Units, **attributes) -> None:
        self._add(_tag("rect", x=x, y=y, width=width, height=height, **attributes), y + height)

    def _add(self, element: str, bottom: Units = 0) -> None:
        self.elements.append(element)
        self.lowest = max(self.lowest, bottom)


# --- SVG as text, shared with the figures of module plots ---


def svg(title: str, description: str, height: int, inside: str) -> str:
    """The frame of every picture: size, names for screen readers, and the colours of both modes.

    A picture that is a file of its own has a ground; one that stands in a page has the page's.
    """
    ground = _tag("rect", cls="paper", width=WIDTH, height=height, fill=colour("paper"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="bf" role="img" '
        f'viewBox="0 0 {WIDTH} {height}" width="{SHOWN}" height="{round(height * SHOWN / WIDTH)}" '
        f'font-family="{FONTS}" font-size="13" text-anchor="middle" fill="{colour("ink")}">\n'
        f"<title>{escape(title)}</title>\n<desc>{escape(description)}</desc>\n"
        f"<style>{_style()}</style>\n{ground}\n{inside}\n</svg>"
    )


def _style() -> str:
    light, dark = (
        ";".join(f"--{name}:{hues[mode]}" for name, hues in PALETTE.items()) for mode in (0, 1)
    )
    light, dark = (  # the ground of the page, where the page names one
        re.sub(r"--paper:(#\w+)", r"--paper:var(--pst-color-background,\1)", mode)
        for mode in (light, dark)
    )
    return (
        f".bf{{max-width:100%;height:auto;display:block;margin:0 auto;{light}}}"
        f"[data-theme=dark] .bf,[data-jp-theme-light=false] .bf,[theme=dark] .bf{{{dark}}}"
        f"@media (prefers-color-scheme:dark){{.bf:root{{{dark}}}}}"
        ".bf text{font-variant-numeric:tabular-nums}"
        ".bf .paper{display:none}.bf:root .paper{display:inline}"
    )


def png(picture: str) -> bytes:
    """A picture in light colours as PNG, 720 pixels wide, in the fonts that matplotlib brings.

    The same text gives the same bytes on every machine. Weighed: CairoSVG needs a library of the
    system; resvg is one wheel.
    """
    import matplotlib
    import resvg_py
    from PIL import Image

    plain = re.sub(r"var\(--\w+,(#\w+)\)", r"\1", re.sub(r"<style>.*?</style>", "", picture))
    plain = plain.replace(FONTS, "DejaVu Sans")
    fonts = Path(matplotlib.get_data_path()) / "fonts/ttf"
    files = [str(fonts / name) for name in ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf")]
    pixels = bytes(resvg_py.svg_to_bytes(
        svg_string=plain, width=720, background="#ffffff", skip_system_fonts=True,
        font_files=files, sans_serif_family="DejaVu Sans", font_family="DejaVu Sans",
    ))  # fmt: skip
    # each hue in 15 steps from white: a palette found in the picture would lose the rare hues
    hues = dict.fromkeys(light for light, _ in PALETTE.values())
    rgb = [[int(hue[i : i + 2], 16) for i in (1, 3, 5)] for hue in hues]
    steps = [255 - (255 - c) * i // 16 for hue in rgb for i in range(2, 17) for c in hue]
    palette = Image.new("P", (1, 1))
    palette.putpalette(steps)
    few = Image.open(io.BytesIO(pixels)).convert("RGB")
    few = few.quantize(palette=palette, dither=Image.Dither.NONE)
    out = io.BytesIO()
    few.save(out, "PNG", optimize=True)
    return out.getvalue()


def _tag(name: str, words: str | None = None, cls: str | None = None, **attributes) -> str:
    """One element; `stroke_width=2` becomes `stroke-width="2"`, None is left out."""
    given = {"class": cls, **attributes}
    text = "".join(
        f' {key.replace("_", "-")}="{_n(v) if isinstance(v, int | float) else escape(v)}"'
        for key, v in given.items()
        if v is not None
    )
    return f"<{name}{text}/>" if words is None else f"<{name}{text}>{escape(words)}</{name}>"


def _n(value: Units) -> str:
    """A coordinate, to two digits after the point at most."""
    shown = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if shown == "-0" else shown


def _of(box: Box) -> tuple[Units, Units, Units, Units]:
    return box.x, box.y, box.width, box.height


def _steps(length: Units) -> list[Units]:
    """Where lines divide a length into squares of 16; none at its ends."""
    return [16.0 * i for i in range(1, int(length / 16) + 1) if 16 * i < length - 1]


def _sign(value: Units) -> int:
    return (value > 1e-6) - (value < -1e-6)


def _join(points: Sequence[Point | Box], turn: Units) -> list[Point]:
    """The corners of an arrow through points and boxes, each part of it upright or level."""
    if len(points) < 2:
        raise ValueError(f"an arrow needs two points at least, not {len(points)}")
    a, b = points[0], points[-1]
    level = False
    if isinstance(a, Box) and isinstance(b, Box) and len(points) == 2:
        level = not (a.y + a.height <= b.y or b.y + b.height <= a.y)
        if level:
            y0, y1 = _facing(a.y, a.height, b.y, b.height)
            x0, x1 = (a.x, b.x + b.width) if a.x > b.x else (a.x + a.width, b.x)
        else:
            x0, x1 = _facing(a.x, a.width, b.x, b.width)
            y0, y1 = (a.y, b.y + b.height) if a.y > b.y else (a.y + a.height, b.y)
        a, b = (x0, y0), (x1, y1)
    given = [a, *points[1:-1], b]
    given = [p.middle if isinstance(p, Box) else p for p in given]
    path = [given[0]]
    for (x0, y0), (x, y) in pairwise(given):
        if abs(x - x0) > 1e-6 and abs(y - y0) > 1e-6:  # not in line: around two corners
            if level:
                corner = x0 + turn * (x - x0)
                path += [(corner, y0), (corner, y)]
            else:
                corner = y0 + turn * (y - y0)
                path += [(x0, corner), (x, corner)]
        path.append((x, y))
    return [p for i, p in enumerate(path) if i == 0 or p != path[i - 1]]


def _facing(start0: Units, length0: Units, start1: Units, length1: Units) -> tuple[Units, Units]:
    """Where an arrow leaves one side and reaches another: straight, if one faces a middle."""
    middle0, middle1 = start0 + length0 / 2, start1 + length1 / 2
    if length0 <= length1 and start1 + 6 <= middle0 <= start1 + length1 - 6:
        return middle0, middle0
    if length1 <= length0 and start0 + 6 <= middle1 <= start0 + length0 - 6:
        return middle1, middle1
    return middle0, middle1


def _rounded(path: Sequence[Point], radius: Units = 6) -> str:
    """A line through the points, its corners rounded."""
    out = f"M{_n(path[0][0])} {_n(path[0][1])}"
    for (x0, y0), (x, y), (x1, y1) in zip(path, path[1:], path[2:], strict=False):
        before, after = abs(x - x0) + abs(y - y0), abs(x1 - x) + abs(y1 - y)
        r = min(radius, before / 2, after / 2)
        ax, ay = x - r * _sign(x - x0), y - r * _sign(y - y0)
        bx, by = x + r * _sign(x1 - x), y + r * _sign(y1 - y)
        out += f"L{_n(ax)} {_n(ay)}Q{_n(x)} {_n(y)} {_n(bx)} {_n(by)}"
    return out + f"L{_n(path[-1][0])} {_n(path[-1][1])}"

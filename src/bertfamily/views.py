"""Look at attention and tokens: one call, alike in the book, JupyterLab, VS Code and Colab.

A view carries all it needs: no package beside torch and numpy, no script from another host, no
running kernel. Where scripts may not run (an untrusted notebook, a PDF) a picture, a sentence and,
for a short text, a table stand in. Left out: comparing two models, averaging heads, and anything
that needs the kernel again after the cell has run. Compute it first, then view it.
"""

import base64
import html
import inspect
import json
import struct
import textwrap
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Num
from torch import Tensor

SCRIPT = Path(__file__).with_name("views.js").read_text(encoding="utf-8")
STRIP = """
.bertfamily-strip{--fg:#1b1f24;--rule:#d0d7de;color:var(--fg);background:#fff}
:is([data-theme=dark],[theme=dark],[data-jp-theme-light=false],.vscode-dark) .bertfamily-strip{
--fg:#e6e8eb;--rule:#3d4650;background:#121212}
.text_html:has(>.bertfamily-strip){background:none!important;padding:0!important}
.bertfamily-strip p{margin:0 0 4px}
.bertfamily-strip ol{display:flex;flex-wrap:wrap;gap:6px;margin:0;padding:2px!important;
list-style:none}
.bertfamily-strip li{display:grid;justify-items:center;margin:0;padding:3px 8px;color:var(--fg);
border:1px solid var(--rule);border-radius:6px;font:14px/1.4 system-ui,sans-serif}
.bertfamily-strip b{font-weight:400;white-space:pre-wrap;overflow-wrap:anywhere}
.bertfamily-strip small{font-size:12px}"""
SMALL = 144  # the largest map, in weights, whose table also stands in for the viewer


class AttentionView:
    """Attention maps to walk through by mouse or keyboard.

    `weights` is one map (q, k), the heads of a layer (heads, q, k) or all of a model (layers,
    heads, q, k); each row says how much one query looks at each key. `keys` are the queries unless
    given. `layer`, `head` and `query` count from 0 and choose what is shown first.
    """

    def __init__(
        self,
        weights: Num[Tensor, "..."] | Num[np.ndarray, "..."],
        queries: Sequence[str],
        keys: Sequence[str] | None = None,
        *,
        layer: int = 0,
        head: int = 0,
        query: int | None = None,
    ):
        shape = tuple(weights.shape)
        if len(shape) not in (2, 3, 4):
            raise ValueError(
                f"weights has shape {shape}; a view takes (q, k), (heads, q, k) or "
                "(layers, heads, q, k): pick one sentence of a batch first"
            )
        self.queries = _tokens("queries", queries)
        self.keys = self.queries if keys is None else _tokens("keys", keys)
        for name, tokens, size in (
            ("queries", self.queries, shape[-2]),
            ("keys", self.keys, shape[-1]),
        ):
            if len(tokens) != size:
                raise ValueError(
                    f"weights of shape {shape} needs {size} {name}, but {len(tokens)} tokens came"
                )
        self.rank = len(shape)
        self.weights = _shares("weights", weights).reshape((1,) * (4 - self.rank) + shape)
        layers, heads = self.weights.shape[:2]
        self.layer, self.head, self.query = layer, head, query
        for name, index, size in (
            ("layer", layer, layers),
            ("head", head, heads),
            ("query", 0 if query is None else query, len(self.queries)),
        ):
            if not 0 <= index < size:
                raise ValueError(f"{name}={index} is out of range: it goes from 0 to {size - 1}")

    def __repr__(self) -> str:
        layers, heads, queries, keys = self.weights.shape
        return f"AttentionView({layers=}, {heads=}, {queries=}, {keys=}): {self._sentence()}"

    def _sentence(self) -> str:
        """Where the chosen query looks most; without one, the strongest link of the map."""
        chosen = self.weights[self.layer, self.head]
        q = chosen.max(axis=1).argmax() if self.query is None else self.query
        k = chosen[q].argmax()
        at = {
            2: "",
            3: f"Head {self.head + 1}: ",
            4: f"Layer {self.layer + 1}, head {self.head + 1}: ",
        }
        query, key = (t if len(t) <= 24 else t[:23] + "…" for t in (self.queries[q], self.keys[k]))
        return f"{at[self.rank]}“{query}” looks most at “{key}” ({chosen[q, k]:.2f})."

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        layers, heads, queries, keys = self.weights.shape
        said, page = html.escape(self._sentence()), html.escape(self._page())
        what = {
            2: "Attention map",
            3: f"{heads} attention maps, one for each head",
            4: f"{layers} × {heads} attention maps, a row for each layer, a column for each head",
        }[self.rank]
        picture = base64.b64encode(_png(self.weights)).decode()
        height = 190 + 26 * min(24, max(queries, keys))  # until the frame measures itself
        shown = (
            f'<div class="bertfamily-view"><div><p>{said} (A picture: run or trust the notebook, '
            "or allow scripts, to walk through the map.)</p>"
            f'<img alt="{what}; darker is more. {said}" src="data:image/png;base64,{picture}">'
            f"{self._table()}</div>"
            f'<iframe title="Attention viewer. {said}" srcdoc="{page}" '
            f'style="display:block;width:100%;height:{height}px;border:0"></iframe></div>'
        )
        return {"text/html": shown, "image/png": picture, "text/plain": repr(self)}

    def _table(self) -> str:
        """The chosen map for a page without scripts; nothing where it would be long."""
        if len(self.queries) * len(self.keys) > SMALL:
            return ""
        head = "".join(f'<th scope="col">{html.escape(t)}</th>' for t in self.keys)
        rows = f"<tr><td></td>{head}</tr>"
        for token, row in zip(self.queries, self.weights[self.layer, self.head], strict=True):
            numbers = "".join(f"<td>{w:.2f}</td>" for w in row)
            rows += f'<tr><th scope="row">{html.escape(token)}</th>{numbers}</tr>'
        return f"<details><summary>Weights as a table</summary><table>{rows}</table></details>"

    def _page(self) -> str:
        """The document inside the frame."""
        # The high bits of a code are the hundredths as Python rounds them, so that the table and a
        # chapter's own numbers agree to the digit; the nine low bits are for drawing and sorting.
        rounded = np.array([round(w, 2) for w in self.weights.ravel().tolist()])
        low = 512 * np.rint(100 * rounded)
        codes = np.clip(512 * (100 * self.weights.ravel() + 0.5), low, low + 511)
        layers, heads = self.weights.shape[:2]
        data = {
            "queries": self.queries,
            "keys": self.keys,
            "layers": layers,
            "heads": heads,
            "rank": self.rank,
            "layer": self.layer,
            "head": self.head,
            "query": -1 if self.query is None else self.query,
            "weights": base64.b64encode(codes.astype("<u2").tobytes()).decode(),
        }
        # Inside a script no entity is read, so a token </script> must hide its bracket from HTML.
        told = json.dumps(data).replace("<", "\\u003c")
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Attention viewer'
            "</title></head><body><noscript>The viewer needs JavaScript; the picture above shows "
            f"the same.</noscript><script>const data = {told};\n{SCRIPT}</script></body></html>"
        )


class TokenStrip:
    """A row of tokens, each with its index and, if given, a value in [0, 1] as number and shade."""

    def __init__(
        self,
        tokens: Sequence[str],
        values: Num[Tensor, " tokens"] | Num[np.ndarray, " tokens"] | Sequence[float] | None = None,
        *,
        label: str = "",
    ):
        self.tokens, self.label = _tokens("tokens", tokens), label
        self.values = None if values is None else _shares("values", values)
        if self.values is not None and self.values.shape != (len(self.tokens),):
            raise ValueError(f"{len(self.values)} values came for {len(self.tokens)} tokens")

    def _number(self, i: int) -> str:
        return "" if self.values is None else f"{self.values[i]:.2f}"

    def __repr__(self) -> str:
        chips = [f"{i} {t} {self._number(i)}".rstrip() for i, t in enumerate(self.tokens)]
        return f"{self.label}: " * bool(self.label) + ", ".join(chips)

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        chips = ""
        for i, token in enumerate(self.tokens):
            number = self._number(i) and f" <span>{self._number(i)}</span>"
            shade = number and f' style="background:rgba(47,123,255,{0.45 * self.values[i]:.3f})"'
            token = f'<b dir="auto">{html.escape(token)}</b>'
            chips += f"<li{shade}>{token}{number} <small>{i}</small></li>"
        label = self.label and f"<p>{html.escape(self.label)}</p>"
        strip = f'<style>{STRIP}</style>{label}<ol start="0">{chips}</ol>'
        return {
            "text/html": f'<div class="bertfamily-strip">{strip}</div>',
            "text/plain": repr(self),
        }


class Source(str):
    """Source code that a notebook shows as a block of Python."""

    def __repr__(self) -> str:
        return str(self)

    def _repr_markdown_(self) -> str:
        fence = "````" if "```" in self else "```"
        return f"{fence}python\n{self}\n{fence}"


def show_source(*objects) -> Source:
    """The source of functions and classes, as it stands in the file."""
    try:
        blocks = [textwrap.dedent(inspect.getsource(o)).strip() for o in objects]
    except (TypeError, OSError) as error:
        raise ValueError(f"{error}; show_source takes functions and classes in Python") from None
    return Source("\n\n\n".join(blocks))


def _tokens(name: str, tokens: Sequence[str]) -> list[str]:
    if isinstance(tokens, str):
        raise ValueError(
            f"{name}={tokens!r} is one string; give a list with a string for each token"
        )
    tokens = [str(token) for token in tokens]
    if not tokens or "" in tokens:
        raise ValueError(
            f"{name}={tokens} holds no token or an empty one; every token needs a name"
        )
    return tokens


def _shares(name: str, values) -> np.ndarray:
    """`values` as float64, each in [0, 1]; what rounding adds, up to 1e-3, is cut off."""
    if isinstance(values, Tensor):
        values = values.detach().cpu().double().numpy()
    values = np.asarray(values, dtype=np.float64)
    wrong = np.argwhere(~((values >= -1e-3) & (values <= 1 + 1e-3)))  # nan is wrong, too
    if len(wrong):
        at = tuple(wrong[0].tolist())
        raise ValueError(
            f"{name}[{', '.join(map(str, at))}]={values[at]:g} is outside [0, 1]: "
            "pass weights after the softmax, or scale first"
        )
    return values.clip(0, 1)


def _png(weights: np.ndarray) -> bytes:
    """All maps side by side as a picture, without an imaging library: pale is 0, blue is 1."""
    layers, heads, queries, keys = weights.shape
    shade = np.full((layers, queries + 1, heads, keys + 1), -1.0)  # -1: the gap between the maps
    levels = np.rint(15 * np.sqrt(weights))  # the root shows weak weights; few shades pack well
    shade[:, :-1, :, :-1] = levels.swapaxes(1, 2) / 15
    shade = shade.reshape(layers * (queries + 1), heads * (keys + 1))[:-1, :-1, None]
    pale, blue = np.array([236.0, 240, 247]), np.array([26.0, 95, 208])
    colors = np.where(shade < 0, 255, pale + shade * (blue - pale)).round().astype(np.uint8)
    size = max(1, min(40, 480 // colors.shape[1]))
    colors = colors.repeat(size, axis=0).repeat(size, axis=1)
    rows = b"".join(b"\0" + row.tobytes() for row in colors)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", colors.shape[1], colors.shape[0], 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows, 9)), chunk(b"IEND", b"")]
    )

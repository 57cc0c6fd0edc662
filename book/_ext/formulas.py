"""Formulas as MathML, written into the pages when the site is built.

A browser draws them by itself: no script, one font, and a screen reader finds the formula. Temml
translates the TeX; it is JavaScript, and dukpy brings what runs it, without Node. Weighed:
latex2mathml is Python alone, but spaces log x, -x and named operators wrongly; MathJax costs every
page with a formula 0.4 MB and shows TeX where there is no script.
"""

import functools
import html
import re
import zlib
from pathlib import Path
from xml.etree import ElementTree

import dukpy
from docutils import nodes
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

TEMML = Path(__file__).parent / "temml/temml.min.js"
logger = logging.getLogger(__name__)

# Where Temml is wider than TeX (big brackets, dots, a prime) or narrower (log after an index).
SPACES = [
    (r'<mo fence="true" symmetric="true"', r'\g<0> lspace="0em" rspace="0em"'),
    (r"<mo>…</mo>", r"<mi>…</mi>"),
    (r"<msup>(<mi>\w</mi>)(<mo[^>]*tml-prime[^>]*>′</mo>)</msup>", r"\1\2"),
    (r"</ms\w+>(?=<mrow><mi>\w\w+</mi><mo>\u2061</mo></mrow>)", r'\g<0><mspace width="0.1667em"/>'),
]


@functools.cache
def engine():
    javascript = dukpy.JSInterpreter()
    javascript.evaljs(f"{TEMML.read_text('utf-8')}; 0")
    return javascript


@functools.cache
def mathml(tex, display=False):
    """TeX -> one <math> element; what Temml does not understand is a ValueError."""
    options = {"displayMode": display, "throwOnError": True, "wrap": "none" if display else "tex"}
    try:
        text = engine().evaljs("temml.renderToString(dukpy.tex, dukpy.to)", tex=tex, to=options)
    except dukpy.JSRuntimeError as error:
        raise ValueError(f"{tex!r} is no formula: {str(error).splitlines()[0]}") from error
    for found, put in SPACES:
        text = re.sub(found, put, text)
    return in_terms(text) if display else text


def in_terms(text):
    """A displayed formula as a row for each of its terms, so that it can break after a sign."""
    math = ElementTree.fromstring(text)
    del math.attrib["style"]
    if [child.tag for child in math] == ["mrow"]:
        parts = list(math[0])
        math.remove(math[0])
        ends = [i for i, part in enumerate(parts, 1) if part.text in list("=+−∝←")] + [len(parts)]
        for start, end in zip([0, *ends], ends, strict=False):
            ElementTree.SubElement(math, "mrow").extend(parts[start:end])
    return ElementTree.tostring(math, "unicode")


def drawn(node, display):
    """The formula; a display is cut at \\qquad, so that its parts can stand below each other."""
    tex = node.astext()
    parts = tex.split(r"\qquad") if display and r"\begin" not in tex else [tex]
    try:
        return "".join(mathml(part, display) for part in parts)
    except ValueError as error:
        logger.warning("%s", error, location=node)
        return f"<code>{html.escape(tex)}</code>"


def visit_inline(self, node):
    self.body.append(f'<span class="math">{drawn(node, False)}</span>')
    raise nodes.SkipNode


def visit_display(self, node):
    self.body.append(self.starttag(node, "div", CLASS="math"))
    self.body.append(drawn(node, True))
    if node["number"]:
        number = get_node_equation_number(self, node)
        self.body.append(f'<span class="eqno">({number})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    self.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("temml", (visit_inline, None), (visit_display, None))
    changed = zlib.crc32(Path(__file__).read_bytes())
    return {"env_version": changed, "parallel_read_safe": True, "parallel_write_safe": True}

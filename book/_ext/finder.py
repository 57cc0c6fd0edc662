"""Search: an index of the sections of all pages, which a script of the search page reads.

The index is a script that sets a variable, so that search works from a folder, where no page may
fetch a file. MiniSearch ranks. Weighed: Sphinx's own search cuts 80/10/10 and [MASK] into what it
then drops, and knows pages only, not sections; Pagefind fetches its index, which needs a server;
lunr has not been changed for years.
"""

import json
import re
import zlib
from pathlib import Path

from docutils import nodes
from sphinx import addnodes

# What readers type, and what the pages say.
ALSO = {
    "mlm": "masked language",
    "nsp": "next sentence",
    "sop": "sentence order",
    "ffn": "feed-forward",
    "bpe": "byte pair",
    "ppl": "perplexity",
    "wordpiece": "word pieces",
}
SCRIPTS = "index.js", "minisearch.js", "find.js"
CODE = nodes.literal_block, addnodes.desc_signature


def entries(doctree, docname):
    """A list for each section of a page: its anchor, its title, its text and its words of code."""
    found = []
    for part in doctree.findall(lambda n: isinstance(n, (nodes.section, addnodes.desc))):
        if isinstance(part, nodes.section):
            anchor, title = part["ids"][0], part.next_node(nodes.title).astext()
            text, code = [], []
            for child in part.children[1:]:
                gather(child, text, code)
        elif signature := next(
            (s for s in part.findall(addnodes.desc_signature) if s["ids"]), None
        ):
            anchor = signature["ids"][0]
            _, module, name = [*anchor.split(".", 2), ""][:3]
            title, text, code = f"{name} ({module})" if name else module, [], []
            for child in part.children[1:]:
                gather(child, text, code)
        else:
            continue
        words = sorted(set(re.findall(r"[^\W\d_]\w{2,}", " ".join(code))))
        found.append([anchor, title, " ".join(" ".join(text).split()), " ".join(words)])
    return found


def gather(node, text, code):
    """The words of a part of a page, but not those of the sections and definitions in it."""
    if isinstance(node, (nodes.section, addnodes.desc, nodes.raw, nodes.math_block)):
        return
    if isinstance(node, CODE):
        code.append(node.astext())
    elif isinstance(node, nodes.TextElement):
        text.append("".join(map(said, node.findall(nodes.Text))))
    else:
        for child in node.children:
            gather(child, text, code)


def said(words):
    """Words as they are read: no HTML, and dots for a formula with commands of TeX."""
    if isinstance(words.parent, nodes.raw):
        return ""
    return "…" if isinstance(words.parent, nodes.math) and "\\" in words else words.astext()


def no_index_of_sphinx(app):
    if app.builder.format == "html":
        app.builder.search = False


def search_page(app):
    yield "search", {}, "search.html"


def write(app, exception):
    """Put the index beside the scripts and the scripts into the search page."""
    if exception or app.builder.name != "html":
        return
    out = Path(app.outdir)
    pages = []
    for docname in app.config.external_site_map:
        doctree = app.env.get_doctree(docname)
        title = app.env.titles[docname].astext()
        kind = docname.split("/")[-2] if "/api" in docname else docname.split("/")[0]
        pages.append([app.builder.get_target_uri(docname), title, kind, entries(doctree, docname)])
    data = json.dumps({"pages": pages, "also": ALSO}, ensure_ascii=False, separators=(",", ":"))
    (out / "_static/search/index.js").write_text(f"const BOOK = {data};\n", "utf-8")
    page = out / "search.html"
    scripts = "".join(f'<script defer src="_static/search/{name}"></script>' for name in SCRIPTS)
    text = page.read_text("utf-8")
    if scripts not in text:
        page.write_text(text.replace("</head>", f"{scripts}</head>", 1), "utf-8")


def setup(app):
    app.connect("builder-inited", no_index_of_sphinx)
    app.connect("html-collect-pages", search_page)
    app.connect("build-finished", write)
    changed = zlib.crc32(Path(__file__).read_bytes())
    return {"env_version": changed, "parallel_read_safe": True, "parallel_write_safe": True}

"""How a chapter's parts look on the site: head, folded cells, outputs, claims, figures, exercises.

The notebooks stay plain: everything here is read off their tags, their code and their Markdown.
Works alike in Jupyter Book 1 (`_config.yml`) and in plain Sphinx (`conf.py`).
"""

import json
import posixpath
import re
import sys
import zlib
from html import escape
from pathlib import Path

import nbformat
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))  # a site needs no installed package
from bertfamily.claims import TICK, read_claim  # noqa: E402

COST = {  # the chips of a chapter's head, in this order, and what they say in full
    "reading": "reading time",
    "running": "time to run all cells, on two CPU cores",
    "memory": "memory that the cells take",
    "download": "download, once",
}


def html(*text):
    return nodes.raw("", "".join(text), format="html")


def chapter_of(docname):
    """chapters/02_attention -> 02; None for a page that is no chapter"""
    found = re.match(r"chapters/(\d\d)_", docname)
    return found and found[1]


# --- drawings: an SVG of the class bf becomes part of the page, so that it follows its theme


def inline_drawings(app, docname, source):
    """Drawings that one cell puts out stand side by side, in one figure, or stacked on a phone."""
    if "image/svg+xml" not in source[0] or not chapter_of(docname):
        return
    notebook = json.loads(source[0])
    for cell in notebook["cells"]:
        first, others = None, []
        for output in cell.get("outputs", []):
            drawing = "".join(output.get("data", {}).get("image/svg+xml", ""))
            if not re.search(r'<svg\b[^>]*\bclass="bf\b', drawing):
                others.append(output)
                continue
            if not first:
                first = {**output, "data": {"text/html": ""}}
                others.append(first)
            first["data"]["text/html"] += drawing[drawing.index("<svg") :]
        if first:
            panels = f'<div class="panels">{first["data"]["text/html"]}</div>'
            first["data"]["text/html"] = panels
            cell["outputs"] = others
    source[0] = json.dumps(notebook)


def number_figures(app, env):
    """Figure 6.1, 6.2, … from the name of the file: a chapter put in between changes no number."""
    for docname, numbers in env.toc_fignumbers.items():
        if chapter := chapter_of(docname):
            names = numbers.get("figure", {})
            numbers["figure"] = {name: (int(chapter), i) for i, name in enumerate(names, 1)}
    return []


# --- the head, optional sections and exercises


def chips(*pairs):
    """Each pair is what stands on a chip and what it says in full."""
    spans = (f'<span class="chip" title="{escape(full)}">{escape(on)}</span>' for on, full in pairs)
    return html(f'<span class="chips">{" ".join(spans)}</span>')


def strip_left(text, index):
    if len(text) > index and isinstance(text[index], nodes.Text):
        text[index] = nodes.Text(text[index].lstrip())


def make_card(doctree):
    """The list under the title that begins with **Question.** is a card, with the cost as chips."""
    lists = list(doctree.findall(nodes.bullet_list))
    if not lists or not lists[0].astext().startswith("Question."):
        return
    lists[0]["classes"].append("head-card")
    for item in lists[0]:
        strong = next(iter(item.findall(nodes.strong)), None)
        if strong is None:
            continue
        text = strong.parent
        name = strong.astext().rstrip(".")
        strong.children = [nodes.Text(f"{name} ")]
        strip_left(text, text.index(strong) + 1)
        if name == "Cost":
            costs = [cost.strip() for cost in text.astext().removeprefix(f"{name} ").split("·")]
            named = zip(costs, COST.items(), strict=False)
            text.children = [strong, chips(*((f"{cost} {on}", full) for cost, (on, full) in named))]


def mark_optional(doctree):
    for section in doctree.findall(nodes.section):
        if section.next_node(nodes.title).astext().startswith("★"):
            section["classes"].append("deeper")
            note = "Optional: nothing later depends on this section."
            section.insert(1, nodes.paragraph("", note, classes=["deeper-note"]))


def make_exercises(doctree):
    """*Find the bug · 15 minutes · medium.* at the head of an exercise become chips of its card."""
    for section in doctree.findall(nodes.section):
        if not re.match(r"Exercise \d+\. ", section.next_node(nodes.title).astext()):
            continue
        section["classes"].append("exercise")
        text = section[1]
        if isinstance(text[0], nodes.emphasis):
            said = re.split(r" · |, ", text.pop(0).astext().rstrip("."))
            names = ["kind of exercise", "time", "difficulty"][-len(said) :]
            section.insert(1, nodes.paragraph("", "", chips(*zip(said, names, strict=True))))
            strip_left(text, 0)


# --- cells: what is folded has a name, and text wraps unless it stands in columns


def label(cell):
    """What the site calls a folded cell, from its tags and its code; None if nothing is folded."""
    tags = cell["cell_metadata"].get("tags", [])
    if "solution" in tags:
        return "A solution"
    if "check" in tags:
        return "The check"
    if "hide-cell" in tags:
        return "Set-up"
    if "source" in tags:
        return "From the package"
    if "hide-input" not in tags:
        return None
    if "figure" in tags:
        return "How the picture is drawn"
    checks = re.search(r"\bclaim\(|\bassert(_\w+)?\b", cell[0].astext())
    return "The check" if checks else "The code"


def folded(name, *content):
    fold = html(f'<details class="fold"><summary>{name}</summary>')
    return [fold, *content, html("</details>")]


def fold_cells(doctree):
    """Set-up cells in a row are one fold; what was put out stands above the code that is folded."""
    cells = [c for c in doctree.findall(nodes.container) if c.get("nb_element") == "cell_code"]
    set_up = None
    for cell in cells:
        cell.attributes.pop("hide_mode", None)
        name = label(cell)
        index = cell.parent.index(cell)
        if name == "Set-up" and set_up and cell.parent is set_up.parent:
            if cell.parent.index(set_up) == index - 1:
                cell.parent.remove(cell)
                set_up.insert(-1, cell)
                continue
        if name in ("Set-up", "A solution", "From the package"):
            parent = cell.parent
            kind = "set-up" if name == "Set-up" else "solution"
            whole = nodes.container("", *folded(name, cell), classes=["folded", kind])
            parent[index] = whole
            set_up = whole if name == "Set-up" else None
        elif name and cell[0].get("nb_element") == "cell_code_source":
            cell.children = [*cell[1:], *folded(name, cell[0])]


def move_set_up(doctree):
    """A notebook begins with its set-up; on the page the picture and *In short* come first."""
    top = doctree.next_node(nodes.section)
    set_ups = [part for part in top if "set-up" in part["classes"]]
    sections = [part for part in top if isinstance(part, nodes.section)]
    if not (set_ups and sections and "head-card" in top[1]["classes"]):
        return
    top.remove(set_ups[0])
    if sections[0].next_node(nodes.title).astext() == "In short":
        sections[0].append(set_ups[0])
    else:
        top.insert(top.index(sections[0]), set_ups[0])


def mark_outputs(doctree):
    """Lines of a table keep their columns and scroll if they must; everything else wraps."""
    for block in doctree.findall(nodes.literal_block):
        lines = block.astext().splitlines()
        if "output" in block["classes"]:
            columns = len(lines) > 1 and any(re.search(r"^ |\S {2,}\S", line) for line in lines)
            block["classes"].append("columns" if columns else "prose")


# --- claims, and the ledger: `{claims}` lists every claim that the stored notebooks print


def claim_id(docname, number):
    """chapters/02_attention, 3 -> claim-02-3"""
    return f"claim-{chapter_of(docname)}-{number}"


def pill(control):
    """What the control was asked of; the brackets of the printed form are kept for the ear."""
    if not control:
        return []
    kind = "named" if control.startswith("fails for: ") else "unnamed"
    hidden = '<span class="visually-hidden">{}</span>'.format
    words = hidden("[") + escape(control) + hidden("]")
    return [nodes.Text(" "), html(f'<span class="control {kind}">{words}</span>')]


def mark_claims(app, doctree):
    """Give each claim in the outputs of a chapter a paragraph with an anchor of its own."""
    docname, number = app.env.docname, 0
    for block in list(doctree.findall(nodes.literal_block)):
        lines = block.astext().splitlines()
        if "stream" not in block["classes"] or not any(map(read_claim, lines)):
            continue
        parts = []
        for line in lines:
            if claim := read_claim(line):
                number += 1
                name = claim_id(docname, number)
                app.env.get_domain("std").note_hyperlink_target(name, docname, name, claim.text)
                link = nodes.reference("", "#", refid=name, classes=["headerlink"])
                link["reftitle"] = "Link to this claim"
                content = [nodes.Text(f"{TICK} {claim.text}"), *pill(claim.control), link]
                parts.append(nodes.paragraph("", "", *content, ids=[name], classes=["claim"]))
            elif parts and isinstance(parts[-1], nodes.literal_block):
                parts[-1] += nodes.Text(f"\n{line}")
            else:
                parts.append(nodes.literal_block(line, line, **block.attributes))
        index = block.parent.index(block)
        block.parent[index : index + 1] = parts


def claims_in(cells):
    """The claims that the stored cells of a notebook print, in their order."""
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    text = "".join("".join(o["text"]) for o in outputs if o.get("name") == "stdout")
    return list(filter(None, map(read_claim, text.splitlines())))


class Ledger(SphinxDirective):
    """Every claim of every chapter, in the order of _toc.yml, with a link to its place."""

    def run(self):
        self.env.note_dependency("_toc.yml")
        sections, every = [], []
        for docname in filter(chapter_of, self.config.external_site_map):
            path = Path(self.env.doc2path(docname))
            self.env.note_dependency(str(path))
            notebook = nbformat.read(path, 4)
            claims = claims_in(notebook.cells)
            title = notebook.cells[0].source.splitlines()[0].removeprefix("# ")
            sections.append(self.chapter(docname, title, claims))
            every += claims
        return [nodes.paragraph("", self.total(every), classes=["total"]), *sections]

    def chapter(self, docname, title, claims):
        page = posixpath.relpath(docname, posixpath.dirname(self.env.docname)) + ".html"
        items = []
        for number, claim in enumerate(claims, 1):
            place = f"{page}#{claim_id(docname, number)}"
            place = html(f'<a href="{place}" aria-label="where it is checked">→</a>')
            content = [nodes.Text(f"{TICK} {claim.text}"), *pill(claim.control), nodes.Text(" ")]
            items.append(nodes.list_item("", nodes.paragraph("", "", *content, place)))
        listed = nodes.bullet_list("", *items, classes=["claims"])
        listed["support_smartquotes"] = False  # the very words of the chapter
        chapter = html(f'<a href="{page}">Read the chapter</a>')
        count = nodes.paragraph("", self.total(claims) + " ", chapter)
        name = f"chapter-{chapter_of(docname)}"
        return nodes.section("", nodes.title("", title), count, listed, ids=[name], names=[name])

    def total(self, claims):
        return f"{len(claims)} claims, {sum(bool(c.control) for c in claims)} with a control."


def add_filter(app, pagename, templatename, context, doctree):
    if pagename == "book/claims":
        app.add_js_file("claims.js", loading_method="defer")


def recast(app, doctree):
    if chapter_of(app.env.docname):
        make_card(doctree)
        mark_optional(doctree)
        make_exercises(doctree)
        fold_cells(doctree)
        move_set_up(doctree)
        mark_outputs(doctree)
        mark_claims(app, doctree)


def setup(app):
    app.add_directive("claims", Ledger)
    app.add_css_file("cells.css")
    app.connect("source-read", inline_drawings)
    app.connect("doctree-read", recast)
    app.connect("env-get-updated", number_figures)
    app.connect("html-page-context", add_filter)
    changed = zlib.crc32(Path(__file__).read_bytes())  # pages are read anew when this file changes
    return {"env_version": changed, "parallel_read_safe": True, "parallel_write_safe": True}

"""The page Corrections: what the sources of the course say, what is right, and where it is shown.

`{corrections}` makes it from data/quotations.toml and data/corrections.toml, topic by topic.
"""

import itertools
import tomllib
import zlib
from pathlib import Path

from docutils import nodes
from home import ROOT, cells_of, notebook_of
from myst_parser.mdit_to_docutils.base import default_slugify
from sphinx.util.docutils import SphinxDirective

QUOTATIONS, CORRECTIONS = (ROOT / f"data/{name}.toml" for name in ("quotations", "corrections"))


def quoted(sources, quotation):
    """A quotation and its place, in Markdown."""
    source = sources[quotation["source"]]
    place = f"{source['name']}, {source['place']} *{quotation['place']}*"
    return f"“{quotation['words']}” ({place})"


def named(source):
    """A line of the list of sources, in Markdown."""
    author = f", by {source['author']}" if "author" in source else ""
    return f"* {source['name']}: *{source['title']}*{author}"


def shown(correction):
    """Where a chapter shows what is right, in Markdown."""
    path = notebook_of(correction["chapter"])
    if path is None:
        return f"To come, in [chapter {correction['chapter']}](#the-map)."
    section = correction["section"]
    title = cells_of(path)[0]["source"][0].removeprefix("# ").strip()
    return f"Shown in [{title}: {section}](../chapters/{path.name}#{default_slugify(section)})."


class Corrections(SphinxDirective):
    def run(self):
        for path in (QUOTATIONS, CORRECTIONS, *sorted(ROOT.glob("chapters/*.ipynb"))):
            self.env.note_dependency(str(path))
        stored = tomllib.loads(QUOTATIONS.read_text("utf-8"))
        self.sources = stored["sources"]
        self.quotations = {quotation["id"]: quotation for quotation in stored["quotation"]}
        rows = tomllib.loads(CORRECTIONS.read_text("utf-8"))["correction"]
        ready = sum(notebook_of(row["chapter"]) is not None for row in rows)
        total = f"{len(rows)} corrections, {ready} of them shown in a chapter that is ready."
        sections = self.parse_text_to_nodes("\n".join(map(named, self.sources.values())))
        sections.append(nodes.paragraph("", total, classes=["total"]))
        for topic, those in itertools.groupby(rows, lambda row: row["topic"]):
            name = default_slugify(topic)
            title = nodes.title("", topic)
            listed = [self.correction(row) for row in those]
            sections.append(nodes.section("", title, *listed, ids=[name], names=[name]))
        return sections

    def paragraph(self, text, *classes):
        (made,) = self.parse_text_to_nodes(text)
        made["classes"] += classes
        return made

    def correction(self, row):
        said = [self.quotations[name] for name in row["quotes"]]
        said = [self.paragraph(quoted(self.sources, quotation), "said") for quotation in said]
        for paragraph in said:
            paragraph["support_smartquotes"] = False  # the very words of the source
        right = self.paragraph(row["right"])
        where = self.paragraph(shown(row), "where")
        name = f"correction-{row['number']}"
        return nodes.container("", *said, right, where, ids=[name], classes=["correction"])


def setup(app):
    app.add_directive("corrections", Corrections)
    changed = zlib.crc32(Path(__file__).read_bytes())
    return {"env_version": changed, "parallel_read_safe": True, "parallel_write_safe": True}

"""What this book adds to Sphinx: the claims ledger and readable shapes in signatures.

Works alike in Jupyter Book 1 (`_config.yml`) and in plain Sphinx (`conf.py`).
"""

import re
import sys
import zlib
from pathlib import Path

import nbformat
from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.util.docutils import SphinxDirective

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))  # a site needs no installed package
from bertfamily.claims import CONTROL, TICK  # noqa: E402

# --- the claims ledger: `{claims}` lists every claim that the stored notebooks print


def is_claim(line):
    return line.startswith(f"{TICK} ")


def claim_id(docname, number):
    """chapters/02_attention, 3 -> claim-02-3"""
    return f"claim-{Path(docname).name.split('_')[0]}-{number}"


def parts_of(line):
    """What a claim says and, in a span of its own, the remark about its control, or no text."""
    text = line.removeprefix(f"{TICK} ").strip()
    said = text.removesuffix(CONTROL).strip()
    control = f" {CONTROL}" if said != text else ""
    return said, nodes.inline("", control, classes=["control"])


def mark_claims(app, doctree):
    """Give each claim in the outputs of a chapter a paragraph with an anchor of its own."""
    docname, number = app.env.docname, 0
    for block in list(doctree.findall(nodes.literal_block)):
        lines = block.astext().splitlines()
        if "stream" not in block["classes"] or not any(map(is_claim, lines)):
            continue
        parts = []
        for line in lines:
            if is_claim(line):
                number += 1
                name = claim_id(docname, number)
                said, control = parts_of(line)
                app.env.get_domain("std").note_hyperlink_target(name, docname, name, said)
                link = nodes.reference("", "#", refid=name, classes=["headerlink"])
                link["reftitle"] = "Link to this claim"
                content = [nodes.Text(f"{TICK} {said}"), control, link]
                parts.append(nodes.paragraph("", "", *content, ids=[name], classes=["claim"]))
            elif parts and isinstance(parts[-1], nodes.literal_block):
                parts[-1] += nodes.Text(f"\n{line}")
            else:
                parts.append(nodes.literal_block(line, line, **block.attributes))
        index = block.parent.index(block)
        block.parent[index : index + 1] = parts


class Ledger(SphinxDirective):
    """Every claim of every chapter, in the order of _toc.yml, with a link to its place."""

    def run(self):
        self.env.note_dependency("_toc.yml")
        content, count, controlled = [], 0, 0
        for docname in self.config.external_site_map:
            path = Path(self.env.doc2path(docname))
            if path.suffix != ".ipynb":
                continue
            self.env.note_dependency(str(path))
            outputs = [o for c in nbformat.read(path, 4).cells for o in c.get("outputs", [])]
            text = "".join(o.text for o in outputs if o.get("name") == "stdout")
            lines = [line for line in text.splitlines() if is_claim(line)]
            items = []
            for number, line in enumerate(lines, 1):
                said, control = parts_of(line)
                link = self.xref("ref", claim_id(docname, number), nodes.Text(said))
                items.append(nodes.list_item("", nodes.paragraph("", "", link, control)))
            if items:
                title = nodes.paragraph("", "", self.xref("doc", f"/{docname}"))
                listed = nodes.bullet_list("", *items, classes=["claims"])
                listed["support_smartquotes"] = False  # the very words of the chapter
                content += [title, listed]
            count += len(lines)
            controlled += sum(line.rstrip().endswith(CONTROL) for line in lines)
        total = f"{count} claims, {controlled} of them with a control."
        return [nodes.paragraph("", total), *content]

    def xref(self, kind, target, *children):
        return pending_xref(
            "",
            nodes.inline("", "", *children),
            refdomain="std",
            reftype=kind,
            reftarget=target,
            refdoc=self.env.docname,
            refexplicit=bool(children),
            refwarn=True,
        )


# --- the package reference: signatures as they are written


def as_written(annotation):
    """jaxtyping.Float[torch.Tensor, q d] -> Float[Tensor, "q d"]"""
    short = re.sub(r"\b(?!bertfamily)(?:[a-z_]+\.)+(?=[A-Z])", "", annotation or "")
    return re.sub(r"\b([A-Z]\w+)\[(Tensor|numpy\.ndarray), ([^\]\"]*)\]", r'\1[\2, "\3"]', short)


def signature(app, what, name, obj, options, args, returned):
    return as_written(args), as_written(returned)


def skip_member(app, what, name, obj, skip, options):
    """Hide what comes from elsewhere, constants and attributes that nothing is said about."""
    if getattr(obj, "imported", False) or (obj.type == "data" and not obj.docstring):
        return True
    if obj.type == "attribute":
        obj.annotation = as_written(obj.annotation)
        return skip or not obj.annotation


def setup(app):
    app.add_directive("claims", Ledger)
    app.connect("doctree-read", mark_claims)
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-skip-member", skip_member)
    changed = zlib.crc32(Path(__file__).read_bytes())  # pages are read anew when this file changes
    return {"env_version": changed, "parallel_read_safe": True, "parallel_write_safe": True}

"""What this book adds to Sphinx: the package's modules in order, and readable shapes in signatures.

Works alike in Jupyter Book 1 (`_config.yml`) and in plain Sphinx (`conf.py`).
"""

import ast
import re
import zlib
from pathlib import Path

from sphinx.util.docutils import SphinxDirective

PACKAGE = Path(__file__).parents[2] / "src/bertfamily"

# --- the package reference: the modules, in the order of _toc.yml


class Modules(SphinxDirective):
    """A link to the page of each module, with the first line of its docstring."""

    def run(self):
        pages = [name for name in self.config.external_site_map if name.startswith("book/api/")]
        lines = []
        for name in (page.removeprefix("book/api/") for page in pages):
            path = PACKAGE / f"{name}.py"
            self.env.note_dependency(str(path))
            said = ast.get_docstring(ast.parse(path.read_text("utf-8"))).splitlines()[0]
            lines.append(f"* [`{name}`](api/{name}.md): {said}")
        return self.parse_text_to_nodes("\n".join(lines))


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
    app.add_directive("modules", Modules)
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-skip-member", skip_member)
    changed = zlib.crc32(Path(__file__).read_bytes())  # pages are read anew when this file changes
    return {"env_version": changed, "parallel_read_safe": True, "parallel_write_safe": True}

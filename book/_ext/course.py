"""What this book adds to Sphinx: readable shapes in signatures, and light pages.

Works alike in Jupyter Book 1 (`_config.yml`) and in plain Sphinx (`conf.py`).
"""

import re
import zlib
from pathlib import Path

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


# --- light pages: what no page uses is taken out of the built site

# Jupyter Book loads thebe twice, an error, though it is off. The icons are drawn by course.css.
UNUSED = "thebe|kernelName|fontawesome|graphviz"
SEARCH = "searchtools|language_data|searchindex"


def slim(app, exception):
    if exception or app.builder.name != "html":
        return
    out = Path(app.outdir)
    for path in out.rglob("*.map"):
        path.unlink()
    words = set()
    for path in out.rglob("*.html"):
        names = UNUSED if path.name == "search.html" else f"{UNUSED}|{SEARCH}"
        text = path.read_text(encoding="utf-8")
        text = re.sub(rf"<script\b[^<]*({names})[^<]*</script>|<link[^>]*({names})[^>]*>", "", text)
        # Names and brackets of code have the colour of the text.
        text = re.sub(r'<span class="[npw]">([^<]*)</span>', r"\1", text)
        # The side bar holds the logo, and everything on a page should be inside a landmark.
        bar = 'id="pst-primary-sidebar"'
        text = text.replace(f"{bar} class", f'{bar} role="complementary" aria-label="Book" class')
        text = text.replace('role="doc-biblioentry"', 'role="listitem"')  # the former is deprecated
        path.write_text(text, encoding="utf-8")
        words.update(re.findall(r"[\w-]+", text))
    for path in (path for path in out.rglob("*.js") if path.name != "fontawesome.js"):
        words.update(re.findall(r"[\w-]+", path.read_text(encoding="utf-8")))
    for path in out.rglob("*.css"):
        text = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.S)
        text = re.sub(r"([^{};]+)\{([^{}]*)\}", lambda rule: used(rule, words), text)
        path.write_text(text, encoding="utf-8")


def used(rule, words):
    """A style rule, less its selectors with a class that neither a page nor a script mentions."""
    kept = [
        selector
        for selector in re.split(r",(?![^()]*\))", rule[1])
        if words.issuperset(re.findall(r"\.(-?[A-Za-z_][\w-]*)", re.sub(r"\(.*?\)", "", selector)))
    ]
    return f"{','.join(kept)}{{{rule[2]}}}" if kept else ""


def setup(app):
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-skip-member", skip_member)
    app.connect("build-finished", slim)
    changed = zlib.crc32(Path(__file__).read_bytes())  # pages are read anew when this file changes
    return {"env_version": changed, "parallel_read_safe": True, "parallel_write_safe": True}

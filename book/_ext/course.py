"""What this book adds to Sphinx: the package's modules in order, and readable shapes in signatures.

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


def setup(app):
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-skip-member", skip_member)
    changed = zlib.crc32(Path(__file__).read_bytes())  # pages are read anew when this file changes
    return {"env_version": changed, "parallel_read_safe": True, "parallel_write_safe": True}

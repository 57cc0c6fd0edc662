"""The BERT family in code: one module an idea, in the order in which the course introduces them."""

import sys

__version__ = "0.1.0"  # the first cell of a chapter asks for it

if hasattr(sys.stdout, "reconfigure"):  # a console that has no ✓ is to show \u2713, not an error
    sys.stdout.reconfigure(errors="backslashreplace")

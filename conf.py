"""A second door: plain Sphinx over the same `_config.yml` and `_toc.yml`, without Jupyter Book.

    pip install "sphinx>=9" myst-nb sphinx-book-theme sphinx-external-toc sphinx-design \
        sphinx-copybutton sphinx-togglebutton sphinxcontrib-bibtex sphinx-autoapi dukpy
    sphinx-build -W -n --keep-going . _build/sphinx

Jupyter Book ignores this file. A weekly job builds through it, so that we notice early what the end
of Jupyter Book 1 would break.
"""

import sys
from pathlib import Path

import yaml

HERE = Path(__file__).parent
book = yaml.safe_load((HERE / "_config.yml").read_text(encoding="utf-8"))
sys.path[:0] = [str(HERE / folder) for folder in book["sphinx"]["local_extensions"].values()]

project = html_title = book["title"]
author, copyright = book["author"], book["copyright"]
extensions = [
    "myst_nb",
    "sphinx_external_toc",
    "sphinx_book_theme",
    "sphinx_design",
    "sphinx_copybutton",
    "sphinx_togglebutton",
    "sphinxcontrib.bibtex",
    *book["sphinx"]["extra_extensions"],
    *book["sphinx"]["local_extensions"],
]
external_toc_path = "_toc.yml"
external_toc_exclude_missing = book["only_build_toc_files"]
exclude_patterns = ["_build", *book["exclude_patterns"]]
nb_execution_mode = book["execute"]["execute_notebooks"]
myst_enable_extensions = book["parse"]["myst_enable_extensions"]
bibtex_bibfiles = book["bibtex_bibfiles"]
numfig = True
suppress_warnings = ["misc.copy_overwrite"]  # a second build finds style sheets that course.py cut
html_theme, html_logo = "sphinx_book_theme", book["logo"]
html_favicon, html_baseurl = book["html"]["favicon"], book["html"]["baseurl"]
html_theme_options = {
    "repository_url": book["repository"]["url"],
    "repository_branch": book["repository"]["branch"],
    "path_to_docs": book["repository"]["path_to_book"],
    "launch_buttons": book["launch_buttons"],
    "home_page_in_toc": True,
    **{name: on for name, on in book["html"].items() if name.startswith("use_")},
    **book["sphinx"]["config"].pop("html_theme_options"),
}
globals().update(book["sphinx"]["config"])

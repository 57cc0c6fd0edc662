"""Pages as they are published: right colours before the first paint, and nothing that is unused.

All of it happens to the files of the finished site, after Sphinx has written them.
"""

import os
import re
import zlib
from pathlib import Path
from urllib.parse import unquote

import imagesize

# The theme of a page is set before anything is drawn. Without JavaScript it stays "light", and
# dark.css, made below, darkens it where the system asks for that.
THEME = """<script>
(root => {
  let kept = {};
  try { kept = {...localStorage}; } catch {}  // a reader may forbid it
  root.dataset.mode = kept.mode || "auto";
  root.dataset.theme = root.dataset.mode != "auto" ? root.dataset.mode
    : matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
})(document.documentElement)
</script>"""
DARK = '<noscript><link rel="stylesheet" href="{}_static/dark.css"></noscript>'

ONCE, TWICE = "[data-theme=dark]", "[data-theme=dark][data-theme]"

# Jupyter Book loads thebe twice, an error, though it is off. The icons are drawn by course.css.
# finder.py has its own search in place of Sphinx's.
UNUSED = "thebe|kernelName|fontawesome|graphviz|searchtools|language_data|searchindex"
KEPT = {"LICENSE", "preview.png"}  # no page refers to them; those who see a link to one do


def finish(app, exception):
    """Rewrite the pages and style sheets of a site; take out the files that no page asks for."""
    if exception or app.builder.name != "html":
        return
    out = Path(app.outdir)
    words, rules = set(), {}
    for path in out.rglob("*.html"):
        text, dark = page(path.read_text("utf-8"), path, out)
        path.write_text(text, "utf-8")
        words.update(re.findall(r"[\w-]+", text))
        rules |= dict.fromkeys(dark)  # each once, in their order
    remove_unused(out)  # the scripts that are left are asked for the names that they use
    for path in set(out.rglob("*.js")) - {out / "_static/search/index.js"}:
        words.update(re.findall(r"[\w-]+", path.read_text("utf-8")))
    for path in sorted(set(out.rglob("*.css")) - {out / "_static/dark.css"}):
        text, dark = style(path.read_text("utf-8"), words)
        path.write_text(text, "utf-8")
        rules |= dict.fromkeys(dark)
    remove_unused(out)  # once more, as the style sheets refer to less
    dark = "".join(rules).replace("=dark]", "=light]")
    dark = f"@media screen and (prefers-color-scheme: dark) {{{dark}}}"
    (out / "_static/dark.css").write_text(dark, "utf-8")


def page(text, path, out):
    """One page: the theme first, no unused scripts, landmarks, images with their sizes.

    The second result is the dark rules of its drawings.
    """
    up = "../" * (len(path.relative_to(out).parts) - 1)
    scripts = rf"<script\b[^<]*({UNUSED})[^<]*</script>|<link[^>]*({UNUSED})[^>]*>"
    text = re.sub(scripts, "", text)
    text = re.sub(r'<script data-cfasync="false">.*?</script>', THEME, text, count=1, flags=re.S)
    text = text.replace('data-theme="auto"', 'data-theme="light"', 1)
    if DARK.format(up) not in text:
        text = text.replace("</head>", f"{DARK.format(up)}</head>", 1)
    # The logo is the same in both modes.
    text = re.sub(r"<img[^>]*only-dark[^>]*>", "", text).replace(" only-light", "")
    # Names and brackets of code have the colour of the text.
    text = re.sub(r'<span class="[npw]">([^<]*)</span>', r"\1", text)
    # The side bar holds the logo, and everything on a page should be inside a landmark.
    bar = 'id="pst-primary-sidebar"'
    text = text.replace(f"{bar} class", f'{bar} role="complementary" aria-label="Book" class')
    toggle = '<summary><span class="toctree-toggle"'  # an arrow without a name
    text = text.replace(toggle, toggle.replace(">", ' aria-label="Pages below this one">', 1))
    text = text.replace('role="doc-biblioentry"', 'role="listitem"')  # the former is deprecated
    rules = []

    def lit(match):
        lighter, dark = style(match[2])
        rules.extend(dark)
        return f"{match[1]}<style>{lighter}</style>"

    text = re.sub(r"(<desc>[^<]*</desc>\s*)<style>(.*?)</style>", lit, text, flags=re.S)
    first = text.find("<img", text.find("<article"))

    def sized(match):
        file = path.parent / unquote(match[2])
        if match[2].startswith("data:") or " width=" in match[0] or not file.is_file():
            return match[0]
        width, height = size(file)
        later = ' loading="lazy"' if match.start() > first > 0 else ""
        return f'<img width="{width}" height="{height}"{later}{match[1]}src="{match[2]}"'

    return re.sub(r'<img\b([^>]*?\s)src="([^"]*)"', sized, text), rules


def size(image):
    """Width and height in pixels, as whole numbers."""
    if image.suffix == ".svg":  # imagesize does not read a viewBox
        box = re.search(r'viewBox="([^"]*)"', image.read_text("utf-8"))[1].split()
        return round(float(box[2])), round(float(box[3]))
    return imagesize.get(image)


def remove_unused(out):
    """Take out the files under _static/ that no page and no kept style sheet refers to."""
    linked = re.compile(r'(?:href|src)="((?:\.\./)*_static/[^"?]*)')
    pages = (path for path in out.rglob("*.html") if path.parts[-2] != "_static")
    todo = {out / link.replace("../", "") for p in pages for link in linked.findall(p.read_text())}
    kept = set()
    while todo:
        path = todo.pop()
        kept.add(path)
        text = path.read_text("utf-8") if path.suffix == ".css" and path.is_file() else ""
        for link in re.findall(r'(?:@import "|url\(["\']?)([^)"\'?#]*)', text):
            todo |= {Path(os.path.normpath(path.parent / link))} - kept
    for path in (out / "_static").rglob("*"):
        if path.is_file() and path not in kept and path.name not in KEPT:
            path.unlink()


def style(text, words=None):
    """A style sheet that is light unless told otherwise, and its dark rules by themselves.

    Paper is light: what is dark is for the screen alone. Selectors with a class that neither a page
    nor a script mentions are left out.
    """
    dark = []

    def rule(match):
        if "Font Awesome" in match[2]:
            return ""
        selectors = [s for s in re.split(r",(?![^()]*\))", match[1]) if used(s, words)]
        by_mode = {True: [], False: []}
        for selector in selectors:
            by_mode[ONCE in selector].append(selector)
        light = ",".join(by_mode[False]).replace("[data-theme=light]", ":not(.dark)")
        text = f"{light}{{{match[2]}}}" if light else ""
        if by_mode[True]:  # named twice, so that it stands above the same rule for light
            over = ",".join(by_mode[True]).replace(ONCE, TWICE)
            dark.append(f"{over}{{{match[2]}}}")
            text += f"@media screen{{{dark[-1]}}}"
        return text

    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S).replace(TWICE, ONCE)  # as it was, when
    text = re.sub(r"@media screen\{([^{}]*\{[^{}]*\})\}", r"\1", text)  # nothing is built anew
    text = re.sub(r"\[data-theme=[\"'](\w+)[\"']\]", r"[data-theme=\1]", text)
    return re.sub(r"([^{};]+)\{([^{}]*)\}", rule, text), dark


def used(selector, words):
    """Does a page or a script mention all classes that it names? Without words it is kept."""
    if words is None:
        return True
    classes = re.findall(r"\.(-?[A-Za-z_][\w-]*)", re.sub(r"\(.*?\)", "", selector))
    return words.issuperset(classes)


def setup(app):
    app.connect("build-finished", finish)
    changed = zlib.crc32(Path(__file__).read_bytes())
    return {"env_version": changed, "parallel_read_safe": True, "parallel_write_safe": True}

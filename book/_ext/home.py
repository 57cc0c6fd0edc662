"""The home page, made from what is stored: the blank and its guesses, pictures, claims, chapters.

    python book/_ext/home.py      draws _static/preview.png, which a link to the site is shown with

Every page also gets the lines by which a link to it is shown; a reader who is lost gets 404.html.
"""

import base64
import functools
import json
import re
import sys
import zlib
from html import escape
from pathlib import Path

from cells import claims_in, html
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "src"))  # a site needs no installed package
from bertfamily.drawings import Drawing  # noqa: E402

TICKET = ROOT / "data/runs/ticket.json"
PREVIEW = ROOT / "book/_static/preview.png"
SAID = (
    "A course that builds BERT and its relatives, loads real weights into what was built, "
    "and checks every statement in code."
)


@functools.cache
def ticket():
    """The sentence with its blank, and what the course's model puts there."""
    stored = json.loads(TICKET.read_text("utf-8"))
    guesses = stored["guesses"][:6]
    left, right = stored["sentence"].split("[MASK]")
    said = ", ".join(f"{word} {100 * share:.0f} %" for word, share in guesses)
    drawing = Drawing("A blank, and what BERT guesses", f"{left}… {right} Guesses: {said}.")
    first, second = right.split(", ", 1)
    words = [*left.split(), "[MASK]", *f"{first},".split()]
    drawing.row(words, {words.index("[MASK]"): "hidden"}, size=12)
    drawing.row(second.split(), size=12)
    words, shares = zip(*guesses, strict=True)
    shown = [f"{100 * share:.0f} %" for share in shares]
    drawing.bars(words, shares, hue="hidden", hot=0, shown=shown)
    return drawing


def preview():
    """Draw what a link is shown with: 1200 by 630 pixels, with the guesses in the metadata."""
    import io

    from PIL import Image, PngImagePlugin

    from bertfamily.drawings import png

    drawn = Image.open(io.BytesIO(png(ticket().svg()))).convert("RGB")
    drawn.thumbnail((1120, 600))
    paper = Image.new("RGB", (1200, 630), "white")
    paper.paste(drawn, ((1200 - drawn.width) // 2, (630 - drawn.height) // 2))
    about = PngImagePlugin.PngInfo()
    about.add_text("Guesses", json.dumps(json.loads(TICKET.read_text("utf-8"))["guesses"]))
    paper.quantize(64).save(PREVIEW, pnginfo=about, optimize=True)


def notebook_of(number):
    """2 -> the path of chapters/02_*.ipynb, or None if the chapter is to come"""
    return next((ROOT / "chapters").glob(f"{number:02}_*.ipynb"), None)


@functools.cache
def cells_of(path):
    return json.loads(path.read_text("utf-8"))["cells"]


class Home(SphinxDirective):
    """What the directives of this page share."""

    has_content = True

    def picture(self, path, name=""):
        """The picture of a chapter that has this name, or its first: HTML, and its place."""
        self.env.note_dependency(str(path))
        found = []
        for cell in cells_of(path):
            about = cell["metadata"].get("mystnb", {})
            for output in cell.get("outputs", []):
                data = output.get("data", {})
                if about.get("figure") and "image/png" in data:
                    found.append((about["figure"].get("name", ""), data, about["image"]["alt"]))
        named = [f for f in found if name in ("", f[0])]
        if not named:
            raise self.error(f"{path.name} has no {name}: {', '.join(f[0] for f in found)}")
        anchor, data, alt = named[0]
        drawing = "".join(data.get("image/svg+xml", ""))
        if 'class="bf' in drawing:
            return anchor, drawing[drawing.index("<svg") :]
        file = f"{path.stem}-{anchor}.png"
        folder = Path(self.env.app.outdir) / "_images"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(base64.b64decode("".join(data["image/png"])))
        return anchor, f'<img alt="{escape(alt)}" src="../_images/{file}"/>'


class Ticket(Home):
    def run(self):
        self.env.note_dependency(str(TICKET))
        return [html(f'<div class="ticket">{ticket().svg()}</div>')]


class Thumbnails(Home):
    """Lines such as `2 fig-cross What is seen there`."""

    def run(self):
        shown = []
        for line in self.content:
            number, name, said = line.split(" ", 2)
            path = notebook_of(int(number))
            anchor, picture = self.picture(path, name)
            link = f"../chapters/{path.stem}.html#{anchor}"
            shown.append(
                f'<li><a href="{link}"><span class="picture" aria-hidden="true">{picture}</span>'
                f"<span>{escape(said)}</span></a></li>"
            )
        return [html('<ul class="thumbnails">', *shown, "</ul>")]


class Claimed(Home):
    """How many claims the stored notebooks print."""

    def run(self):
        count = 0
        for path in sorted((ROOT / "chapters").glob("*.ipynb")):
            self.env.note_dependency(str(path))
            count += len(claims_in(cells_of(path)))
        link = f'<a href="claims.html"><strong>{count}</strong> checked claims</a>'
        return [html(f'<p class="claimed">✓ {link}, each run again after every change.</p>')]


class Chapters(Home):
    """A table of chapters: those that are ready become cards, those to come are folded."""

    def run(self):
        ready, to_come = [], []
        row = re.compile(r"^\| *(\d+) *\|(.*?)\|(.*)\|$", re.M)
        for number, title, said in row.findall("\n".join(self.content)):
            said = re.sub(r"\*(.+?)\*", r"<em>\1</em>", escape(said.strip()))
            if path := notebook_of(int(number)):
                title = re.search(r"\[(.+?)\]", title)[1]
                ready.append(
                    f'<li><a class="chapter-card" href="../chapters/{path.stem}.html">'
                    f'<span class="picture" aria-hidden="true">{self.picture(path)[1]}</span>'
                    f"<strong>{number} {escape(title)}</strong> <span>{said}</span> "
                    f'<span class="minutes">{minutes(path)} minutes</span></a></li>'
                )
            else:
                title = escape(title.replace("(to come)", "").strip())
                to_come.append(f'<li value="{number}"><strong>{title}.</strong> {said}</li>')
        cards = f'<ul class="chapter-cards">{"".join(ready)}</ul>' if ready else ""
        summary = f"{len(to_come)} chapter{'s' * (len(to_come) > 1)} to come"
        folded = f"<summary>{summary}</summary><ol>{''.join(to_come)}</ol>"
        folded = f'<details class="to-come">{folded}</details>'
        return [html(cards, folded if to_come else "")]


def minutes(path):
    """The reading time at the head of a chapter: 50 min on its card, or *Fifty minutes*."""
    head = "".join(cells_of(path)[0]["source"])
    in_words = {"An hour": 60, "Fifty minutes": 50}
    if found := re.search(r"\b(\d+) min\b", head):
        return int(found[1])
    return next(in_words[words] for words in in_words if words in head)


# --- every page: what a link to it is shown with


def describe(app, pagename, templatename, context, doctree):
    said = SAID
    if doctree is not None and pagename != app.config.root_doc:
        texts = [p.astext().replace("\n", " ") for p in doctree.findall(nodes.paragraph)]
        said = next((text for text in texts if len(text) > 60), SAID)
        said = re.sub(r"^(Question|What you will do)\.? ", "", said)
    said = said if len(said) < 200 else said[:200].rsplit(" ", 1)[0] + " …"
    title = re.sub(r"<.*?>", "", context.get("title") or app.config.html_title)
    base = app.config.html_baseurl
    lines = {
        "og:type": "website",
        "og:site_name": app.config.html_title,
        "og:title": title,
        "og:description": said,
        "og:url": f"{base}{pagename}.html",
        "og:image": f"{base}_static/{PREVIEW.name}",
        "og:image:alt": ticket().description,
    }
    metas = [f'<meta property="{name}" content="{escape(text)}"/>' for name, text in lines.items()]
    metas += [f'<meta name="description" content="{escape(said)}"/>']
    metas += ['<meta name="twitter:card" content="summary_large_image"/>']
    context["metatags"] = context.get("metatags", "") + "\n".join(metas)


# A host serves this page for any address that it does not know, however deep: nothing is relative.
LOST = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Page not found: {title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1.1rem/1.6 system-ui, sans-serif; margin: 15vh auto; max-width: 34rem; }}
main {{ padding: 0 1rem; }}
</style></head><body><main>
<h1>This page is a blank.</h1>
<p>There is nothing at this address. Perhaps it has moved:</p>
<ul><li><a href="{base}book/intro.html">The home page</a></li>
<li><a href="{base}search.html">Search</a></li>
<li><a href="{base}book/intro.html#the-map">All chapters</a></li></ul>
</main></body></html>
"""


def lost(app, exception):
    if not exception and app.builder.name == "html":
        page = LOST.format(title=escape(app.config.html_title), base=app.config.html_baseurl)
        (Path(app.outdir) / "404.html").write_text(page, "utf-8")


def setup(app):
    directives = {
        "ticket": Ticket,
        "thumbnails": Thumbnails,
        "claimed": Claimed,
        "chapters": Chapters,
    }
    for name, directive in directives.items():
        app.add_directive(name, directive)
    app.connect("html-page-context", describe)
    app.connect("build-finished", lost)
    changed = zlib.crc32(Path(__file__).read_bytes())
    return {"env_version": changed, "parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    preview()

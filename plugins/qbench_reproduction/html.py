"""A page of markdown as one HTML file that needs nothing from outside."""

from __future__ import annotations

from html import escape
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.token import Token

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src 'self'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --ink: #222; --paper: #fff; --line: #d8d8d8; --link: #1f4e8c; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ink: #e4e4e4; --paper: #16181b; --line: #3c4046; --link: #9cc4ff; }}
  img {{ background: #fff; border-radius: 4px; }}
}}
body {{ font: 16px/1.55 Georgia, "Times New Roman", serif; color: var(--ink);
  background: var(--paper); margin: 0 auto; padding: 1rem; max-width: 58rem; }}
h1, h2, h3 {{ line-height: 1.25; margin: 2em 0 0.6em; }}
h1 {{ margin-top: 0.5em; }}
a {{ color: var(--link); }}
img {{ max-width: 100%; height: auto; }}
code {{ font-size: 0.9em; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font: 13px/1.4 system-ui, sans-serif;
  font-variant-numeric: tabular-nums; margin: 1em 0; }}
th, td {{ border-bottom: 1px solid var(--line); padding: 0.3em 0.7em; vertical-align: top; }}
th {{ border-bottom-width: 2px; }}
.left {{ text-align: left; }} .right {{ text-align: right; }} .center {{ text-align: center; }}
@media print {{ body {{ max-width: none; }} }}
</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def to_html(markdown: str, title: str) -> str:
    """An HTML page of markdown text; HTML within the text is shown and not obeyed.

    Args:
        markdown: With tables; headings get anchors as GitHub makes them.
        title: Of the page.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    _anchor(tokens)
    _align(tokens)
    body = parser.renderer.render(tokens, parser.options, {})
    body = body.replace("<table>", '<div class="scroll" tabindex="0"><table>')
    return _PAGE.format(title=escape(title), body=body.replace("</table>", "</table></div>"))


def _anchor(tokens: list[Token]) -> None:
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            words = "".join(c for c in inline.content.lower() if c.isalnum() or c in " -_")
            opening.attrSet("id", words.strip().replace(" ", "-"))


def _align(tokens: list[Token]) -> None:
    """Classes instead of the style attributes, which are longer."""
    for token in tokens:
        if token.type in ("th_open", "td_open"):
            style = str(token.attrs.pop("style", "text-align:left"))
            token.attrSet("class", style.removeprefix("text-align:"))

"""Builds the documentation as a site: `make docs`, or `sphinx-build -c docs . build/manual`.

The pages are plain markdown that reads the same in the repository. The table of contents is made
from the lists of docs/index.md, so that there is one.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

project = "qbench"
author = "The qbench developers"
root_doc = "docs/index"
include_patterns = ["docs/**.md", "leaderboard/README.md", "leaderboard/boards/*/README.md", "*.md"]
exclude_patterns = [
    ".*", "build", "runs", "studies", "tests", "qbench", "plugins", "leaderboard/results",
    "README.md", "**/node_modules",
]  # fmt: skip

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 4
html_theme = "furo"
html_title = "qbench"
html_copy_source = False

default_role = "literal"  # docstrings quote code as markdown does
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_use_ivar = True

_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
_PAGE = re.compile(r"^- \[[^]]*\]\(([^):]+)\.md\)", re.MULTILINE)


def contents(text: str) -> str:
    """A hidden table of contents of every section of an index that lists pages."""
    _, *parts = _HEADING.split(text)
    tables = []
    for caption, section in zip(parts[::2], parts[1::2], strict=True):
        if pages := _PAGE.findall(section):
            lines = [":hidden:", f":caption: {caption}", "", *pages]
            tables.append("\n".join(["```{toctree}", *lines, "```"]))
    return "\n\n".join(tables)


def _add_contents(app: Any, docname: str, source: list[str]) -> None:
    if docname == root_doc:
        source[0] += "\n\n" + contents(source[0])
    boards = sorted((Path(app.srcdir) / "leaderboard").glob("boards/*/README.md"))
    if docname == "leaderboard/README" and boards:
        lines = [f"{page.parent.name} <boards/{page.parent.name}/README>" for page in boards]
        source[0] += "\n\n" + "\n".join(["```{toctree}", ":hidden:", "", *lines, "```"])


def _escape(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Bars and stars stand for themselves: docstrings hold formulas."""
    lines[:] = [re.sub(r"(?<![*\\])([*|])(?![*])", r"\\\1", line) for line in lines]


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _add_contents)
    app.connect("autodoc-process-docstring", _escape, priority=100)

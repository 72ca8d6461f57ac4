"""What a site is made of: boards, pages, and files beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from qbench.plugin_files import PluginFile
from qbench.protocols import Protocol
from qbench.records.results import Results
from qbench.report.board import Board
from qbench.report.text import slug


@dataclass(frozen=True)
class Source:
    """A board of the archive and where its pages go.

    Args:
        name: What the board is called in the list of boards, e.g. its protocol's name.
        folder: Of its pages, relative to the site's root: empty for the first board, else
            `"boards/NAME/"`.
        results: The records and outcomes behind the board.
        board: What the report says of them.
        protocol: None where nobody provides it.
        added: By model, the day (YYYY-MM-DD) on which its results were last committed; empty where
            the archive is not in a git repository.
        plugins: Files that provide what its records name.
    """

    name: str
    folder: str
    results: Results
    board: Board
    protocol: Protocol | None
    added: Mapping[str, str] = field(default_factory=dict)
    plugins: tuple[PluginFile, ...] = ()

    def page_of(self, model: str) -> str:
        """Path of a model's page, relative to the site's root."""
        return f"{self.folder}models/{slug(model)}.html"


@dataclass(frozen=True)
class Page:
    """A page, drawn from a template of this package by Jinja with autoescape.

    Args:
        path: Relative to the site's root, e.g. `"models/reup.html"`.
        template: Its file in `templates`, which extends `base.html.j2`.
        title: Plain text.
        section: The entry of the navigation that it belongs to, see `render.SECTIONS`.
        source: The board that it is about; None for a page about all of them.
        context: What the template may use beside `source`, `page` and `site`.
        data: What the page's scripts read with `qbench.data(name)`: anything that JSON knows.
        scripts: Files of `assets` or `vendor` beside `site.js`, loaded in this order.
        styles: Style sheets of `assets` or `vendor` beside `site.css`.
    """

    path: str
    template: str
    title: str
    section: str
    source: Source | None = None
    context: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    scripts: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()


@dataclass(frozen=True)
class File:
    """Anything else: a download, an image, or data too large for a page as `data/NAME.js`.

    Such data is a script `qbench.provide("NAME", ...)`, because a page opened from disk cannot
    fetch; see `render.as_script`.
    """

    path: str
    content: bytes

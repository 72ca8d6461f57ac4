"""From pages to HTML: the templates, what they may use, and what is embedded."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from qbench.records.record import Recipe
from qbench.report.table import Cell, Table
from qbench.report.text import Footnotes, mean, norm, spread
from qbench.text import one_line
from qbench_site.content import Page, Source

# Key, title and file of every entry of the navigation, in order; files within a board's folder.
SECTIONS = (
    ("ranking", "Ranking", "index.html"),
    ("transfer", "Transfer", "transfer.html"),
    ("compare", "Compare", "compare.html"),
    ("explorer", "Explorer", "explorer.html"),
    ("claims", "Claims", "claims.html"),
    ("methods", "Methods", "methods.html"),
    ("tables", "Tables", "tables.html"),
    ("downloads", "Downloads", "downloads.html"),
)
SHARED = frozenset({"claims"})  # sections with one page for all boards, in the site's root
# Nothing is loaded from elsewhere and nothing inline runs. 'self' is the site's folder on disk too.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; base-uri 'none'; form-action 'none'"
)


@dataclass(frozen=True)
class Navigation:
    """An entry of the navigation; `path` is relative to the site's root."""

    key: str
    title: str
    path: str


class Renderer:
    """Draws the pages of one site.

    Args:
        sources: Its boards, the one of the start page first.
        pages: Every page of the site: the navigation has those sections that have one.
    """

    def __init__(self, sources: Sequence[Source], pages: Sequence[Page]) -> None:
        self._sources = tuple(sources)
        self._paths = {page.path for page in pages}
        self._environment = Environment(
            loader=PackageLoader("qbench_site"),
            undefined=StrictUndefined,
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(
            line=partial(one_line, longest=None),
            norm=norm,
            spread=spread,
            mean=mean,
            capitalize_first=_capital,
        )
        self._environment.policies["json.dumps_kwargs"] = {
            "sort_keys": True,
            "ensure_ascii": False,
            "allow_nan": False,
            "separators": (",", ":"),
        }

    def html(self, page: Page) -> bytes:
        """The page, with links relative to where it lies."""
        link = partial(self._link, page)
        source = page.source or self._sources[0]
        text = self._environment.get_template(page.template).render(
            {
                "page": page,
                "source": source,
                "board": source.board,
                "sources": self._sources,
                "navigation": self._navigation(source),
                "link": link,
                "html": partial(self._table, link, source),
                "notes": Footnotes(source.board.about.seeds, plain=True),
                "policy": POLICY,
                "version": _version(),
                "recipe": _recipe,
                **page.context,
            }
        )
        return (text.strip() + "\n").encode()

    def _link(self, page: Page, path: str) -> str:
        return posixpath.relpath(path, posixpath.dirname(page.path) or ".")

    def _navigation(self, source: Source) -> list[Navigation]:
        entries = [
            Navigation(key, title, file if key in SHARED else source.folder + file)
            for key, title, file in SECTIONS
        ]
        return [entry for entry in entries if entry.path in self._paths]

    def _table(
        self,
        link: Callable[[str], str],
        source: Source,
        table: Table,
        notes: Footnotes | None = None,
        *,
        caption: str = "",
        label: str = "",
        sortable: bool = True,
    ) -> Markup:
        """A typed table as HTML; names of models become links to their pages.

        Args:
            link: From a path to a link.
            source: The board whose models are linked.
            table: What to draw.
            notes: Collects what is to be said about its cells; None leaves it out.
            caption: Above the table.
            label: Its name for who cannot see it; the caption unless given.
            sortable: Whether a click on a head sorts.
        """
        pages = {model.name: link(source.page_of(model.name)) for model in source.board.models}
        pages |= {row.name: pages[row.model] for row in source.board.noisy if row.model in pages}
        macro = self._environment.get_template("table.html.j2").module.table  # type: ignore[attr-defined]
        shown = [[_cell(cell, notes) for cell in row] for row in table.rows]
        return Markup(macro(table, shown, pages, caption or table.title, label, sortable))


def as_script(name: str, data: Any) -> bytes:
    """Data as a script that a page can load from disk, for `File("data/NAME.js", ...)`.

    Args:
        name: What `qbench.data` calls it.
        data: Anything that JSON knows, without NaN.
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    safe = text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return f"qbench.provide({json.dumps(name)},{safe});\n".encode()


def _cell(cell: Cell, notes: Footnotes | None) -> Mapping[str, Any]:
    shown = one_line(cell.shown, None if cell.whole else 300)
    marked = notes.mark(shown, cell.notes) if notes else shown
    return {"shown": shown, "mark": marked[len(shown) :].strip(), "bold": cell.bold}


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _recipe(recipe: Recipe) -> str:
    """How a model was trained, in words."""
    parts = [f"{recipe.epochs} epochs of {recipe.optimizer}", f"step size {recipe.learning_rate:g}"]
    parts.append(f"batches of {recipe.batch_size}")
    parts += [f"λ = {recipe.regularisation:g}"] * (recipe.regularisation > 0)
    if recipe.adversarial_eps:
        steps, eps = recipe.adversarial_steps, recipe.adversarial_eps
        parts.append(f"on images attacked by PGD of {steps} steps at ε = {eps:g}")
        warmup = recipe.adversarial_warmup
        parts += [f"reached in {warmup} epochs"] * (warmup > 0)
        parts += [f"by TRADES with β = {recipe.trades:g}"] * (recipe.trades > 0)
    penalty = recipe.gradient_penalty
    parts += [f"input gradients penalised by {penalty:g}"] * (penalty > 0)
    parts += [f"momentum {recipe.momentum:g}"] * (recipe.momentum > 0)
    parts += [f"weight decay {recipe.weight_decay:g}"] * (recipe.weight_decay > 0)
    return ", ".join(parts) if recipe.epochs else "not trained"


def _version() -> str:
    try:
        return version("qbench-robustness")
    except PackageNotFoundError:
        return "unknown"

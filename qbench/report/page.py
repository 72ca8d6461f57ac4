"""The leaderboard as a markdown page: the template, and what it may use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from jinja2 import Environment, PackageLoader, StrictUndefined

from qbench.report import render
from qbench.report.answer import answer
from qbench.report.board import Board
from qbench.report.boards import overview, sentence
from qbench.report.flag_meanings import MEANINGS
from qbench.report.flags import Flag
from qbench.report.pictures import Picture
from qbench.report.significance import LEVEL
from qbench.report.tables import accuracy, bounds, certified, other, transfer
from qbench.report.text import Footnotes, escape, listed, norm

FOLDED = 12  # a table with more rows is behind a line that opens it
# Protocols after a publication that counts attacked images without looking at the clean ones.
ATTACKED_ALONE = frozenset({"wendlinger2024"})


def page(
    board: Board, pictures: Sequence[Picture] = (), boards: Mapping[str, Board] | None = None
) -> str:
    """The whole page, ending in one newline.

    Args:
        board: What to show.
        pictures: Figures to embed, in order; their files are not read.
        boards: All that are compared at the start, by name, this one first.
    """
    notes = Footnotes(board.about.seeds)
    environment = Environment(
        loader=PackageLoader("qbench.report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Markdown is no HTML: what comes from outside goes through the filter `escape`.
        autoescape=False,
    )
    environment.filters.update(
        escape=escape,
        listed=listed,
        norm=norm,
        console=render.console,
        markdown=partial(render.markdown, notes=notes),
    )
    text = environment.get_template("page.md.j2").render(
        board=board,
        answer=answer(board),
        boards=list(boards or {}),
        holds=sentence(boards) if boards else None,
        overview=overview(boards) if boards else None,
        attacked_alone=board.about.protocol.name in ATTACKED_ALONE and bool(board.settings),
        single=_single(board),
        ranked=sum(row.rank is not None for row in board.rows),
        about=board.about,
        accuracy=accuracy,
        bounds=bounds,
        certified=certified,
        other=other,
        transfer=transfer,
        pictures=pictures,
        raised=_raised(board),
        meanings=MEANINGS,
        level=LEVEL,
        folded=render.folded,
        folds=FOLDED,
        notes=notes,
        sources=_sources(board),
    )
    return render.separated(text)


def _single(board: Board) -> list[str]:
    """Names of the ranked models with one seed only."""
    ranked = [row for row in board.rows if row.rank is not None]
    return [row.model.name for row in ranked if len(row.worst.by_seed) == 1]


def _raised(board: Board) -> dict[str, list[Flag]]:
    """Flags by name, each with its models in the order of the board's."""
    found: dict[str, list[Flag]] = {}
    rows = {row.model.name: row for row in board.rows}
    for model in board.models:
        for flag in rows[model.name].flags:
            found.setdefault(flag.name, []).append(flag)
    return dict(sorted(found.items()))


def _sources(board: Board) -> dict[str, list[tuple[str, str]]]:
    """Where certifiers come from: of Lipschitz bounds, and of single images' radii."""
    single = {c.certifier for row in board.rows for one in row.certified for c in one.by_certifier}
    single |= {one.certifier for row in board.rows for one in row.probabilistic}
    lipschitz = {entry.certifier for entry in board.bounds if entry.certifier is not None}
    named = {"lipschitz": lipschitz, "radii": single}
    return {
        kind: [(name, source) for name, source in board.about.certifiers if name in names]
        for kind, names in named.items()
    }

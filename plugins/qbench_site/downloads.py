"""Downloads: everything that the site shows, for other programs and for papers."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Iterator

from qbench.report import render
from qbench.report.board import Board
from qbench.report.export import export, to_json
from qbench.report.table import Table
from qbench.report.tables import accuracy, other
from qbench_site.content import File, Page, Source

_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
_TEX = re.compile(r"([&%$#_{}~^\\])")


def pages(source: Source) -> Iterator[Page | File]:
    """Files of a board, and the page that lists them."""
    board, folder = source.board, f"{source.folder}downloads/"
    files = [
        ("ranking.csv", "the ranking", _csv(accuracy.ranking(board))),
        (
            "ranking.tex",
            "the ranking for LaTeX, with booktabs",
            render.latex(accuracy.ranking(board)).encode(),
        ),
        ("tests.csv", "every paired test", _csv(other.comparisons(board))),
        ("leaderboard.json", "rows, tests, transfer and facts", to_json(board).encode()),
        (
            "records.csv.gz",
            "a row a record, with its id and environment; pandas reads it as it is",
            gzip.compress(export(source.results, "csv"), mtime=0),
        ),
        ("qbench.bib", "how to cite this board and what it stands on", _bibtex(source).encode()),
    ]
    for name, _, content in files:
        yield File(folder + name, content)
    yield Page(
        path=f"{source.folder}downloads.html",
        template="downloads.html.j2",
        title="Downloads",
        section="downloads",
        source=source,
        context={
            "files": [(folder + name, name, what, len(made)) for name, what, made in files],
            "bibtex": _bibtex(source),
        },
    )


def _csv(table: Table) -> bytes:
    """A typed table as it is shown; a cell that a spreadsheet would run is quoted by a blank."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(column.head for column in table.columns)
    for row in table.rows:
        writer.writerow(_harmless(cell.shown) for cell in row)
    return out.getvalue().encode()


def _harmless(value: str) -> str:
    return f" {value}" if value[:1] in ("=", "+", "-", "@") else value


def _bibtex(source: Source) -> str:
    """The board, and every arXiv paper that its cards and certifiers name."""
    about = source.board.about
    version = dict(source.board.versions).get("qbench-robustness", "unknown")
    days = sorted(source.added.values())
    entries = [
        _entry(
            f"qbench-{about.protocol.name}",
            {
                "title": f"{{qbench}}: adversarial robustness of quantum and classical "
                f"classifiers, board {_tex(source.name)}",
                "note": f"qbench {_tex(version)}, protocol SHA-256 {about.protocol.sha256[:12]}, "
                f"data SHA-256 {about.data.sha256[:12]}",
                **({"year": days[-1][:4]} if days else {}),
            },
        )
    ]
    for number, where in sorted(_papers(source.board).items()):
        fields = {"note": _tex(where), "eprint": number, "archiveprefix": "arXiv"}
        entries.append(_entry(f"arxiv-{number}", {"title": f"arXiv:{number}", **fields}))
    return "\n\n".join(entries) + "\n"


def _papers(board: Board) -> dict[str, str]:
    """arXiv numbers and what here refers to them."""
    named: list[tuple[str, str]] = [
        (where, f"certifier {name}") for name, where in board.about.certifiers
    ]
    named += [(m.card.paper, f"model {m.name}") for m in board.models if m.card is not None]
    found: dict[str, list[str]] = {}
    for text, what in named:
        for number in _ARXIV.findall(text):
            found.setdefault(number, []).append(what)
    return {number: ", ".join(whats) for number, whats in found.items()}


def _entry(key: str, fields: dict[str, str]) -> str:
    lines = "".join(f",\n  {name} = {{{value}}}" for name, value in fields.items())
    return f"@misc{{{re.sub('[^A-Za-z0-9.:-]', '-', key)}{lines}\n}}"


def _tex(text: str) -> str:
    return _TEX.sub(lambda match: rf"\char{ord(match[1])} ", text)

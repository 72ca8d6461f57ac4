"""The start page: the question, its answer, and the ranking."""

from __future__ import annotations

from collections.abc import Iterator

from qbench_site.content import File, Page, Source


def pages(source: Source) -> Iterator[Page | File]:
    """The ranking of a board."""
    yield Page(
        path=f"{source.folder}index.html",
        template="start.html.j2",
        title="Are quantum classifiers more robust?",
        section="ranking",
        source=source,
        scripts=("sortable.js", "sortable.a11y.js"),
    )

"""Every table of the leaderboard's markdown page, from the same typed tables."""

from __future__ import annotations

from collections.abc import Iterator

from qbench.report.board import Board
from qbench.report.table import Table
from qbench.report.tables import accuracy, bounds, certified, other
from qbench.report.text import norm
from qbench_site.content import File, Page, Source


def pages(source: Source) -> Iterator[Page | File]:
    """The long tables of a board on one page."""
    found = [(title, about, table) for title, about, table in _tables(source.board) if table.rows]
    yield Page(
        path=f"{source.folder}tables.html",
        template="tables.html.j2",
        title="Tables",
        section="tables",
        source=source,
        context={"tables": found},
        scripts=("sortable.js", "sortable.a11y.js"),
    )


def _tables(board: Board) -> Iterator[tuple[str, str, Table]]:
    """Title, explanation and table."""
    what = accuracy.measured(board)
    if board.budgets:
        yield (
            "Every budget",
            f"{what} accuracy, mean ± standard deviation over seeds; what ranks is in bold.",
            accuracy.budgets(board),
        )
    if board.several and board.reference is not None:
        about = "The attack that stands for all where they are not listed."
        yield f"Under {board.reference} alone", about, accuracy.reference(board)
    if board.rank_eps is not None and len(board.attacks) > 1:
        yield (
            f"Every attack at ε = {board.rank_eps:g}",
            "Robust accuracy, mean over seeds, the strongest attack on each model in bold. The "
            "worst case is per image, so it can lie below every line.",
            accuracy.attacks(board),
        )
    if board.trained_pairs and board.rank_eps is not None:
        about = "Models trained on attacked images, and those that they are variants of."
        yield "Adversarial training", about, accuracy.adversarial_training(board)
    for name in board.certified_norms:
        yield (
            f"Certified accuracy in {norm(name)}",
            "Beside the worst case where it is known; ≥ where no attack was run.",
            certified.intervals(board, name),
        )
        about = "Certified accuracy, median radius, and the share of images it is best for."
        yield f"Every certifier in {norm(name)}", about, certified.by_certifier(board, name)
        smoothed = certified.probabilistic(board, name)
        if smoothed is not None:
            about = "They hold with the confidence stated only, and enter no interval."
            yield f"Probabilistic certificates in {norm(name)}", about, smoothed
    if board.bounds:
        about = "A proven bound in ℓ2 beside the largest Jacobian norm found."
        yield "Lipschitz bounds", about, bounds.lipschitz(board)
        baselines = bounds.baselines(board)
        if baselines is not None:
            about = "On one scale: the difference of two scores."
            yield "Published bounds and the others", about, baselines
    if board.challenges:
        about = "They count in the worst case, as any attack."
        yield "Images sent by others", about, other.challenges(board)
    if board.noisy:
        about = "The same weights where circuits run elsewhere; never ranked."
        yield "On other engines", about, other.noisy_engines(board)
    yield "Models", "What each is, and how it was trained and tuned.", accuracy.models(board)

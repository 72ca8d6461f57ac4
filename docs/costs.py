"""What attacks and certifiers cost and give. It holds times, so it is no part of a leaderboard."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from qbench.protocols import Protocol
from qbench.records.results import Results
from qbench.report.board import Row
from qbench.report.collect import collect
from qbench.report.export import to_frame
from qbench.report.outcomes import NORMS
from qbench.report.render import markdown
from qbench.report.seed_values import SeedValues
from qbench.report.table import Cell, Table, left, right, score, text
from qbench.report.text import escape, norm

IMAGES = 200  # times are given for so many

Times = Mapping[tuple[str, str, str], float]
_MEANS = ["robust_accuracy", "seconds", "forward", "gradient"]


def attack_costs(
    results: Results, *, eps: float | None = None, protocol: Protocol | None = None
) -> str:
    """All attacks x all models: robust accuracy, seconds, and images passed, as markdown.

    Args:
        results: Of one protocol; attacks on the model itself are shown, on exact scores.
        eps: The budget to show; None for the ranking budget.
        protocol: Tells the ranking budget.

    Returns:
        The body of a page, without a title, ending in one newline.

    Raises:
        StoreError: The results do not belong together.
        UsageError: Nothing was attacked at `eps`.
    """
    board = collect(results, eps=eps, protocol=protocol, transferred=False)
    frame = to_frame(results)
    frame = frame[(frame["kind"] == "attack") & frame["exact"] & (frame["eps"] == board.rank_eps)]
    done = frame[frame["status"] == "done"].copy()
    if done.empty:
        return "No attack has a result.\n"
    per_image = done[["wall_s", "forward", "gradient"]].div(done["images"], axis=0)
    done[["seconds", "forward", "gradient"]] = per_image * [IMAGES, 1, 1]
    order = done.groupby("attack")["seconds"].mean().sort_index().sort_values(kind="stable").index
    means = done.groupby(["attack", "model"])[_MEANS].mean().to_dict("index")

    def matrix(shown: Callable[[Any], str]) -> str:
        names = [model.name for model in board.models]
        rows = [
            [text(a), *[text(shown(means[a, n]) if (a, n) in means else "") for n in names]]
            for a in order
        ]
        return markdown(Table(left("Attack") + right(*names), rows))

    parts = [
        f"At ε = {board.rank_eps:g}; attacks that take longest last.",
        "### Robust accuracy",
        matrix(lambda mean: f"{mean['robust_accuracy']:.3f}"),
        f"### Seconds for {IMAGES} images",
        "On the machine of the run, beside whatever else ran there.",
        matrix(lambda mean: _rounded(mean["seconds"])),
        "### Images passed forward / differentiated, for each image attacked",
        matrix(lambda mean: f"{mean['forward']:.0f} / {mean['gradient']:.0f}"),
    ]
    without = frame[frame["status"] != "done"].groupby(["attack", "status", "reason"])["model"]
    lines = [
        f"- {escape(attack)} {status} ({', '.join(map(escape, sorted(set(names))))}): {escape(why)}"
        for (attack, status, why), names in without
    ]
    parts += ["### Without a result", "\n".join(lines)] if lines else []
    return "\n\n".join(parts) + "\n"


def certificate_costs(results: Results) -> str:
    """All certifiers of single images x all models: seconds and what they prove, as markdown.

    Args:
        results: Of one protocol; its certificates are shown, in one table a norm.

    Returns:
        The body of a page, without a title, ending in one newline.

    Raises:
        StoreError: The results do not belong together.
    """
    board = collect(results, transferred=False)
    frame = to_frame(results)
    radii = frame[(frame["kind"] == "radii") & (frame["status"] == "done")].drop_duplicates("id")
    seconds = radii["wall_s"] / radii["images"] * IMAGES
    times = seconds.groupby([radii["model"], radii["norm"], radii["certifier"]]).mean().to_dict()
    rows = {row.model.name: row for row in board.rows}
    parts = []
    for about in NORMS:
        found = [line for model in board.models for line in _lines(rows[model.name], about, times)]
        if found:
            budgets = sorted({eps for _, accuracy in found for eps in accuracy})
            heads = ["Seconds", "Median radius", *[f"ε = {eps:g}" for eps in budgets]]
            lines = [
                [*cells, *[score(accuracy.get(e), std=False) for e in budgets]]
                for cells, accuracy in found
            ]
            table = Table(left("Model", "Certifier") + right(*heads), lines)
            parts += [f"### {norm(about)}", markdown(table)]
    if not parts:
        return "No certificate of single images has a result.\n"
    words = (
        f"Seconds for {IMAGES} images, on the machine of the run and beside whatever else ran "
        "there; the median radius of the images classified correctly; and certified accuracy at ε; "
        "means over seeds."
    )
    return "\n\n".join([words, *parts]) + "\n"


def _lines(
    row: Row, about: str, times: Times
) -> list[tuple[list[Cell], Mapping[float, SeedValues]]]:
    def line(
        name: Cell, time: float, median: SeedValues, accuracy: Mapping[float, SeedValues]
    ) -> tuple[list[Cell], Mapping[float, SeedValues]]:
        shown = text(_rounded(time)), score(median, digits=4, std=False)
        return [text(row.model.name), name, *shown], accuracy

    def time_of(certifier: str) -> float:
        return times.get((row.model.name, about, certifier), 0.0)

    found = []
    proved = row.proved(about)
    for one in proved.by_certifier if proved else ():
        time = time_of(one.certifier)
        found.append(line(text(one.certifier), time, one.median, one.accuracy))
    if proved and len(found) > 1:
        total = sum(time_of(one.certifier) for one in proved.by_certifier)
        name = text("best for each image", bold=True)
        found.append(line(name, total, proved.median, proved.accuracy))
    for guess in row.probabilistic:
        if guess.norm == about:
            what = "smoothed model, " if guess.smoothed else ""
            name = text(f"{guess.certifier} ({what}confidence {guess.confidence:g})")
            time = time_of(guess.certifier)
            found.append(line(name, time, SeedValues(), guess.accuracy))
    return found


def _rounded(time: float) -> str:
    """Seconds, to about three digits."""
    return f"{time:.{2 if time < 10 else 1 if time < 100 else 0}f}"

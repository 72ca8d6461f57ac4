"""What every attack costs on every model. It holds times, so it is no part of the leaderboard."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from qbench.metrics import mean_std
from qbench.records import Record
from qbench.reporting.select import answers, check_together, models_of
from qbench.reporting.table import PREFERRED_EPS, ranking_eps
from qbench.reporting.text import DASH, escape, table
from qbench.reporting.values import robust

IMAGES = 200  # times are given for so many

Cells = Mapping[tuple[str, str], Sequence[Record]]


def attack_costs(records: Sequence[Record], preferred_eps: float = PREFERRED_EPS) -> str:
    """All attacks x all models: robust accuracy, seconds, and images passed, as markdown.

    Args:
        records: Records of one protocol; those of attacks on the model itself are shown.
        preferred_eps: The budget to show, where it was measured.

    Returns:
        The body of a page, without a title, ending in one newline.

    Raises:
        StoreError: The records do not belong together.
    """
    check_together(records)
    asked = {q: by_seed for q, by_seed in answers(records).items() if q.task == "robust-accuracy"}
    eps = ranking_eps((q.eps for q in asked if q.eps is not None), preferred_eps)
    cells = {
        (question.attack, question.target): [r for _, r in sorted(by_seed.items())]
        for question, by_seed in asked.items()
        if question.eps == eps and question.attack is not None
    }
    done = {pair: [r for r in found if r.status == "done"] for pair, found in cells.items()}
    if eps is None or not any(done.values()):
        return "No attack has a result.\n"
    models = [model.name for model in models_of(records)]
    times = _matrix(done, models, lambda found: rounded(_mean(found, seconds)))
    return "\n\n".join(
        [
            f"At ε = {eps:g}, mean over seeds; attacks that take longest last.",
            "### Robust accuracy",
            _matrix(done, models, lambda found: f"{_mean(found, robust):.3f}"),
            f"### Seconds for {IMAGES} images",
            "On the machine of the run, beside whatever else ran there.",
            times,
            "### Images passed forward / differentiated, for each image attacked",
            _matrix(done, models, _passes),
            *_without_result(cells),
        ]
    ) + "\n"  # fmt: skip


def _matrix(
    done: Cells,
    models: Sequence[str],
    shown: Callable[[Sequence[Record]], str],
) -> str:
    rows = []
    for attack in _by_time(done):
        row = [escape(attack)]
        for model in models:
            found = done.get((attack, model), ())
            row.append(shown(found) if found else DASH)
        rows.append(row)
    head = ["Attack", *map(escape, models)]
    return table(head, rows, ["left", *["right"] * len(models)])


def _by_time(done: Cells) -> list[str]:
    times: dict[str, list[float]] = {}
    for (attack, _), found in done.items():
        times.setdefault(attack, []).extend(map(seconds, found))
    means = {attack: mean_std(found)[0] if found else 0.0 for attack, found in times.items()}
    return sorted(means, key=lambda attack: (means[attack], attack))


def _passes(found: Sequence[Record]) -> str:
    forward = _mean(found, lambda r: r.cost.forward / r.dataset.n)
    gradient = _mean(found, lambda r: r.cost.gradient / r.dataset.n)
    return f"{forward:.0f} / {gradient:.0f}"


def _without_result(cells: Cells) -> list[str]:
    reasons: dict[tuple[str, str, str], set[str]] = {}
    for (attack, model), found in cells.items():
        for record in found:
            if record.status != "done":
                why = (attack, record.status, record.reason or "no reason recorded")
                reasons.setdefault(why, set()).add(model)
    lines = [
        f"- {escape(attack)} {status} ({', '.join(map(escape, sorted(models)))}): {escape(reason)}"
        for (attack, status, reason), models in sorted(reasons.items())
    ]
    return ["### Without a result", "\n".join(lines)] if lines else []


def seconds(record: Record) -> float:
    """Wall time that a task would take for `IMAGES` images."""
    return record.cost.wall_s * IMAGES / record.dataset.n


def rounded(time: float) -> str:
    """Seconds, to about three digits."""
    return f"{time:.{2 if time < 10 else 1 if time < 100 else 0}f}"


def _mean(found: Sequence[Record], value: Callable[[Record], float]) -> float:
    return mean_std(map(value, found))[0]

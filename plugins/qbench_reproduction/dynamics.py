"""How robustness develops during training: every checkpoint measured, as curves and in words."""

from __future__ import annotations

from pathlib import Path

from qbench.datasets.base import load_data
from qbench.evaluation.parallel import Advance
from qbench.records.statistics import mean_std
from qbench.report.text import escape, listed, table
from qbench_claims.patterns import EPS, of_noise
from qbench_reproduction import kept
from qbench_reproduction.dynamics_figure import SHOWN, Shown, curves, having
from qbench_reproduction.figures import save
from qbench_reproduction.snapshots import (
    BASE,
    Dynamics,
    Moment,
    Snapshot,
    certifier,
    changes,
    measure,
)
from qbench_reproduction.trajectories import DATASET, Trajectories

IMAGES = 100
FIGURE = "dynamics"
_NOISE = 0.25  # cycles a pixel: frequencies above are high, see `qbench_claims.patterns`


def steps(found: Trajectories) -> int:
    """Models, seeds and epochs, for a progress bar."""
    return len(found.models) * len(found.seeds) * len(found.epochs)


def run(
    folder: Path, found: Trajectories, *, jobs: int, advance: Advance, images: int = IMAGES
) -> Dynamics:
    """Measure every checkpoint; what the folder holds of the same weights is read.

    Killed at any moment, the next call goes on.

    Args:
        folder: Of the results, one JSON file a seed and epoch.
        found: Finished trainings.
        jobs: Processes.
        advance: Told of the checkpoints of every seed and epoch.
        images: How many test images are attacked.

    Raises:
        WeightsError: A checkpoint is missing or damaged.
        StoreError: The folder cannot be read or written, or a process dies.
        Unsupported: No certifier covers a model.
        VerificationError: An attack or a certifier returns nothing valid.
    """
    work = [
        Moment(folder / f"seed{seed}-epoch{epoch}.json", found, seed, epoch, images)
        for seed in found.seeds
        for epoch in found.epochs
    ]
    snapshots: dict[tuple[str, int, int], Snapshot] = {}
    for one, answer, there in kept.answers(measure, work, jobs):
        for model, values in answer.items():
            snapshots[model, one.seed, one.epoch] = Snapshot(**values)
        what = "on record" if there else "attacked"
        advance(len(found.models), f"seed {one.seed}, epoch {one.epoch}: {what}")
    return Dynamics(found.models, found.seeds, found.epochs, images, snapshots)


def draw(found: Dynamics, folder: Path) -> list[str]:
    """Save the curves; the PNG's name."""
    return [save(curves(found), folder, FIGURE)]


def section_dynamics(found: Dynamics) -> str:
    """Markdown: what was measured during training, what changes, and all of it as a table."""
    first, last = _middle(found), found.epochs[-1]
    shown = [one for one in SHOWN if having(found, one)]
    parts = [
        f"Each of the {len(found.models) * len(found.seeds) * len(found.epochs)} checkpoints "
        f"({len(found.models)} models, seeds {listed(found.seeds)}, {len(found.epochs)} epochs) is "
        f"attacked anew: PGD at ε = {EPS:g}, as the protocol says, on the first {found.images} "
        "test images. Robust accuracy is the share of images that the model classifies correctly "
        "both before and after the attack; a model that always gives one answer has 0.25. The "
        "Lipschitz bound is that of Table I. It limits how fast the scores can change, and it is "
        "of another kind for each architecture ("
        + _kinds(found)
        + "), so its course says more than its height. The share of high frequencies is the part "
        "of the perturbation's energy at spatial frequencies above a quarter of a cycle a pixel: "
        f"it is {of_noise(load_data(DATASET)):.2f} for white noise, and lower for smooth patterns.",
        f"![Curves against the epoch, a line a model](figures/{FIGURE}.png)",
        f"*Lines are means over the seeds {listed(found.seeds)}, bands ± one standard deviation. "
        f"Panel e: each model on images that were made for {BASE} of the same seed and epoch. "
        f"Panel f: {BASE} on images made for each model.* [PDF](figures/{FIGURE}.pdf)",
    ]
    if len(found.seeds) > 1 and first != last:
        parts.append(
            f"Mean changes from epoch {first} to epoch {last}, taken seed by seed: a quantity "
            "rises or falls where the 95 % interval of its mean change (Student's) leaves out 0, "
            "and is undecided elsewhere."
        )
        parts.append("\n".join(_change(found, one, (first, last)) for one in shown))
    rows = [
        ["" if place else one.words.removeprefix("the "), escape(model), *_cells(found, one, model)]
        for one in shown
        for place, model in enumerate(having(found, one))
    ]
    head = ["quantity", "model", *(f"epoch {epoch}" for epoch in found.epochs)]
    parts.append(table(head, rows, ["left", "left", *["right"] * len(found.epochs)]))
    return "\n\n".join(parts)


def _middle(found: Dynamics) -> int:
    """Epoch 20, where most models of the paper end, or the first one that is there."""
    return 20 if 20 in found.epochs else found.epochs[0]


def _kinds(found: Dynamics) -> str:
    scopes: dict[str, list[str]] = {}
    for model in found.models:
        scope = found.snapshots[model, found.seeds[0], found.epochs[0]].scope
        scopes.setdefault(f"`{certifier(model).spec.name}`, of {_OF[scope]}", []).append(model)
    return "; ".join(f"{', '.join(map(escape, of))}: {kind}" for kind, of in scopes.items())


_OF = {"vector": "all scores together", "score": "each score", "margin": "score differences"}


def _change(found: Dynamics, shown: Shown, epochs: tuple[int, int]) -> str:
    said: dict[str, list[str]] = {"rises for": [], "falls for": [], "is undecided for": []}
    for model in having(found, shown):
        mean, half = changes(found, shown.what, model, epochs)
        number = f"{escape(model)} ({mean:+.{shown.digits}f})"
        if half is None or abs(mean) <= half:
            said["is undecided for"].append(number)
        else:
            said["rises for" if mean > 0 else "falls for"].append(number)
    told = [f"{verb} {', '.join(of)}" for verb, of in said.items() if of]
    return f"- {shown.words[0].upper()}{shown.words[1:]} {'; '.join(told)}."


def _cells(found: Dynamics, shown: Shown, model: str) -> list[str]:
    cells = []
    for values in found.values(shown.what, model).T:
        mean, spread = mean_std(values.tolist())
        more = "" if spread is None else f" ± {spread:.{shown.digits}f}"
        cells.append(f"{mean:.{shown.digits}f}{more}")
    return cells

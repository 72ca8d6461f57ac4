"""`qbench challenge`: adversarial images from others, scored by us and kept as evidence."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qbench.cli.options import plugin_option
from qbench.text import one_line

if TYPE_CHECKING:
    from qbench.evaluation.challenge import Judged
    from qbench.plugin_files import PluginFile
    from qbench.records.results import Results


@click.command()
@click.argument("model")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--by", "sender", required=True, help="Who sent the images: a name for the page.")
@click.option(
    "--results",
    "path",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("leaderboard/results"),
    show_default=True,
    help="The archive, or the folder of a run, that the model is in.",
)
@click.option("--seed", type=int, help="Of the model's training.  [default: the file's, or 0]")
@click.option(
    "--eps",
    type=float,
    help="Budget of the protocol that the images keep to.  [default: the file's, or the one that "
    "ranks]",
)
@click.option(
    "--weights",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Folder of weights ('qbench train' writes such) for models the shipped zoo does not hold.",
)
@plugin_option
def challenge(
    model: str,
    file: Path,
    sender: str,
    path: Path,
    seed: int | None,
    eps: float | None,
    weights: Path | None,
    plugins: tuple[PluginFile, ...],
) -> None:
    """Take over adversarial images for MODEL that somebody sent as FILE, an .npz.

    Anyone may send images that break a model of the leaderboard, however they were found. They
    must lie in the box of pixels and within ε of the images they stand for; the model is asked
    about them anew; and where they break it, they are kept with the name of who sent them and
    count in the model's worst case. Only numbers are read from the file: no code of the sender's
    runs.

    FILE holds x_adv, float32 (k, features), pixels as the data set has them; image, k integers,
    ascending: for which of the protocol's images each one stands, counted from 0; and, if you
    like, seed and eps, one number each. Three lines write it:

    \b
      import numpy as np
      image = np.array([3, 17])  # x_adv[0] stands for image 3
      x_adv = x_adv.astype(np.float32)
      np.savez("images.npz", x_adv=x_adv, image=image, seed=0, eps=0.1)

    The exit code is 0 where the images were kept, 1 where none of them breaks the model, and 2
    where the file cannot be used; the message says why. In the last two cases nothing is written.

    \b
    Example:
      qbench challenge reup mine.npz --by "Jane Doe" --results leaderboard/results/glyphs-linf-v1
    """
    from qbench.evaluation.challenge import judge
    from qbench.evaluation.evidence import find, keep
    from qbench.evaluation.sent import read_images
    from qbench.records.store import RunStore

    sent = read_images(file)
    place, results = find(path, model)
    judged = judge(
        results,
        sent,
        model,
        sender.strip(),
        seed=seed,
        eps=eps,
        weights=weights,
        trained=place.artifact if isinstance(place, RunStore) else lambda _: None,
        plugins=plugins,
    )
    images = f"{len(sent.image)} image{'s' if len(sent.image) > 1 else ''}"
    about = f"{model} seed {judged.task.model.seed} at ε = {judged.task.eps:g}"
    if not judged.breaks.any():
        click.echo(f"none of the {images} breaks {about}: nothing to keep", err=True)
        sys.exit(1)
    keep(judged, place, results)
    number, alone = int(judged.breaks.sum()), int(judged.alone.sum())
    click.echo(
        f"{images} sent by {one_line(sender)} for {about}: {number} "
        f"break{'s' if number == 1 else ''} it, {alone or 'none'} of them where nothing else does"
    )
    for line in _changes(judged, results, find(path, model)[1]):
        click.echo(line)
    where = place.path if isinstance(place, RunStore) else place.root / model
    click.echo(f"kept in {where}; the page changes with 'qbench leaderboard build'")


def _changes(judged: Judged, before: Results, after: Results) -> list[str]:
    """How the model's worst case falls, and its rank."""
    from qbench.report.collect import collect

    task = judged.task
    rows = []
    for results in (before, after):
        board = collect(results, transferred=False)
        rows.append(next(row for row in board.rows if row.model.name == task.model.name))
    old, new = (row.worst_at[task.eps] for row in rows)
    seed = [dict(one.by_seed)[task.model.seed] for one in (old, new)]
    lines = [f"worst case of seed {task.model.seed}: {seed[0]:.3f} -> {seed[1]:.3f}"]
    if len(old.by_seed) > 1:
        lines.append(f"mean over {len(old.by_seed)} seeds: {old.mean:.4f} -> {new.mean:.4f}")
    ranks = [row.rank for row in rows]
    if judged.ranks and None not in ranks:
        lines.append(f"rank: {ranks[0]} -> {ranks[1]}")
    return lines

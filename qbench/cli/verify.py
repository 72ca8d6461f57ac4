"""`qbench verify`: recompute what results say."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qbench.cli.options import plugin_option
from qbench.text import one_line

if TYPE_CHECKING:
    from qbench.plugin_files import PluginFile


@click.command()
@click.argument("results", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--weights",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Folder of weights ('qbench train' writes such) for models the shipped zoo does not hold.",
)
@plugin_option
def verify(results: Path, weights: Path | None, plugins: tuple[PluginFile, ...]) -> None:
    """Check RESULTS, the folder of a run or an archive, without trusting them.

    Schema, identities and hashes are checked; metrics are computed again from the outcomes of
    single images, and those of clean and of the worst adversarial images from the weights; images
    must lie in the box and the ball, one model and seed has one set of weights, no seed is missing,
    and nothing breaks a certificate. Each difference is named, and the exit code is then 2. On
    another processor an image may differ where its margin is below 1e-5 of the scores' scale.

    \b
    Examples:
      qbench verify leaderboard/results
      qbench verify runs/mine --plugin my_model.py
    """
    from qbench.evaluation.verification import verify as look

    def shown(model: str, seed: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r\x1b[Kverified {one_line(model)} seed {seed}", err=True, nl=False)

    verdict = look(results, weights=weights, plugins=plugins, on_model=shown)
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", err=True, nl=False)
    for note in verdict.notes:
        click.echo(f"note: {one_line(note, None)}")
    for problem in verdict.problems:
        click.echo(f"wrong: {one_line(problem, None)}")
    counted = ", ".join(f"{count} {what}" for what, count in verdict.counts.items())
    click.echo(f"{counted or 'nothing'} checked: {len(verdict.problems) or 'no'} problems")
    sys.exit(2 if verdict.problems else 0)

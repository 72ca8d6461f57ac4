"""`qbench verify`: recompute what results say."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qbench.cli.options import plugin_option
from qbench.text import one_line

if TYPE_CHECKING:
    from qbench.evaluation.verdict import Verdict
    from qbench.plugin_files import PluginFile

_file = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("results", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--weights",
    multiple=True,
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Folder of weights ('qbench train' writes such) for models the shipped zoo does not hold "
    "(repeatable). A submission has its own.",
)
@click.option(
    "--again",
    type=click.IntRange(min=1),
    metavar="N",
    help="Attack N images of each model and seed again, with more steps and starts, and N new ones "
    "beside them.",
)
@click.option("--report", "page", type=_file, help="Also write what was found as markdown.")
@click.option("--save", type=_file, help="Also write what was found as JSON, for --also.")
@click.option("--also", type=_file, help="What another job found and saved: counts as found here.")
@plugin_option
def verify(
    results: Path,
    weights: tuple[Path, ...],
    again: int | None,
    page: Path | None,
    save: Path | None,
    also: Path | None,
    plugins: tuple[PluginFile, ...],
) -> None:
    """Check RESULTS, the folder of a run, an archive or a submission, without trusting them.

    Schema, identities and hashes are checked; metrics are computed again from the outcomes of
    single images, and those of clean and of the worst adversarial images from the weights; images
    must lie in the box and the ball, one model and seed has one set of weights, no seed is missing,
    and nothing breaks a certificate. Each difference is named, and the exit code is then 2. On
    another processor an image may differ where its margin is below 1e-5 of the scores' scale.

    The plugin of a submission is loaded only if you name its file: without --plugin no code of the
    contributor's runs, and models that are not installed are not asked anything. So a submission is
    checked twice, with its code where nothing is to be lost, and then without.

    \b
    Examples:
      qbench verify leaderboard/results
      qbench verify runs/mine --plugin my_model.py
      qbench verify SUBMISSION --plugin SUBMISSION/plugins/mine/mine.py --again 50 --save found.json
      qbench verify SUBMISSION --also found.json --report report.md
    """
    from qbench.evaluation.submission import is_submission
    from qbench.evaluation.verification import verify as look
    from qbench.report import verdict as found
    from qbench.report.submission import blocked

    other = None if also is None else found.load(also)

    def shown(model: str, seed: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r\x1b[Kverified {one_line(model)} seed {seed}", err=True, nl=False)

    verdict = look(results, weights=weights, plugins=plugins, again=again or 0, on_model=shown)
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", err=True, nl=False)
    if is_submission(results) and not verdict.problems:
        verdict.problems += blocked(results, plugins)
    _show(verdict)
    if other is not None:
        click.echo("found by the other job:")
        _show(other)
    if save is not None:
        found.save(verdict, save)
    if page is not None:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(found.report(verdict, other))
    sys.exit(2 if verdict.problems or (other is not None and other.problems) else 0)


def _show(verdict: Verdict) -> None:
    for note in verdict.notes:
        click.echo(f"note: {one_line(note, None)}")
    for problem in verdict.problems:
        click.echo(f"wrong: {one_line(problem, None)}")
    counted = ", ".join(f"{count} {one_line(what)}" for what, count in verdict.counts.items())
    click.echo(f"{counted or 'nothing'} checked: {len(verdict.problems) or 'no'} problems")

"""`qbench leaderboard`: rebuilt from records alone."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("results", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to publish in; records go to OUT/results.  [default: RESULTS/leaderboard]",
)
def leaderboard(results: Path, out: Path | None) -> None:
    """Build the leaderboard of RESULTS, the output folder of a run, from its records.

    \b
    Examples:
      qbench leaderboard runs/glyphs-linf-v1                     look at it again
      qbench leaderboard runs/glyphs-linf-v1 --out leaderboard   publish it, records and all
      qbench leaderboard leaderboard/results --out leaderboard   rebuild the published one
    """
    from qbench import soundness
    from qbench.reporting import build, summary_table
    from qbench.store import Store

    store = Store(results)
    records = store.records()
    soundness.check(records, store.images)
    if out is not None:
        Store(out / "results").publish(store, records)
    build(records, store.images, out or results / "leaderboard")
    click.echo(summary_table(records, store.images))
    click.echo(f"\nleaderboard and pictures: {(out or results / 'leaderboard') / 'README.md'}")

"""`qbench export`: results for other programs."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("results", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "json", "latex", "model-index", "parquet"]),
    default="csv",
    show_default=True,
    help="csv, parquet: a row a record (radii: a budget); json: the leaderboard; latex: its table; "
    "model-index: YAML for model cards.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file.  [default: standard output]",
)
def export(results: Path, form: str, out: Path | None) -> None:
    """Write RESULTS, the folder of a run or an archive, in another format.

    \b
    Examples:
      qbench export leaderboard/results/glyphs-linf-v1 --format csv --out records.csv
      qbench export runs/glyphs-linf-v1 --format latex
    """
    from qbench.errors import UsageError
    from qbench.files import write_atomically
    from qbench.records.boards import open_results
    from qbench.report import export as made

    content = made(open_results(results), form)
    if out is not None:
        write_atomically(out, content)
        click.echo(f"wrote {out}", err=True)
    elif form == "parquet":
        raise UsageError("parquet is no text: say where it goes with --out FILE")
    else:
        click.echo(content.decode(), nl=False)

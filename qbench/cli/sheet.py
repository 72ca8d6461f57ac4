"""`qbench sheet`: a data set as a picture."""

from __future__ import annotations

from pathlib import Path

import click

from qbench.cli.options import plugin_option


@click.command()
@click.argument("dataset")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@plugin_option
def sheet(dataset: str, file: Path, plugin_paths: tuple[str, ...]) -> None:
    """Draw samples of each class of DATASET into FILE (a PNG).

    \b
    Example:
      qbench sheet glyphs glyphs.png
    """
    from qbench.reporting import write_sample_sheet
    from qbench.tasks import load_data

    write_sample_sheet(load_data(dataset, plugin_paths), file)
    click.echo(f"wrote {file}")

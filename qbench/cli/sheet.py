"""`qbench sheet`: a data set as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from qbench.cli.options import plugin_option

if TYPE_CHECKING:
    from qbench.plugin_files import PluginFile


@click.command()
@click.argument("dataset")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@plugin_option
def sheet(dataset: str, file: Path, plugins: tuple[PluginFile, ...]) -> None:
    """Draw samples of each class of DATASET into FILE (a PNG).

    \b
    Example:
      qbench sheet glyphs glyphs.png
    """
    from qbench.datasets.base import load_data
    from qbench.report import write_sample_sheet

    write_sample_sheet(load_data(dataset, plugins), file)
    click.echo(f"wrote {file}")

"""`qbench new`: write a plugin to begin with."""

from __future__ import annotations

from pathlib import Path

import click

from qbench.cli.options import HELP
from qbench_template.writing import KINDS, Kind, write


@click.command(context_settings=HELP)
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name")
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    show_default="the current folder",
    help="Where the folder NAME is made.",
)
def new(kind: Kind, name: str, into: Path) -> None:
    """Write a model, attack, certifier, dataset or engine named NAME, to be changed into your own.

    The folder NAME holds a distribution that works as it is: the plugin in one file, its tests
    (those of 'qbench check') and a README with every command.

    \b
    Examples:
      qbench new model my-mlp
      qbench new attack my-attack --into plugins
    """
    folder, module = write(kind, name, into)
    what = kind.replace("dataset", "data set")
    click.echo(f"wrote {folder}: {module}.py is the {what}, README.md has the commands; first")
    click.echo(f"  qbench check {folder / module}.py")

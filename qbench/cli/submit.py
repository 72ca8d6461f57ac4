"""`qbench submit`: models of a run as the folder that a pull request adds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from qbench.cli.options import Listed, plugin_option
from qbench.text import one_line

if TYPE_CHECKING:
    from qbench.plugin_files import PluginFile


@click.command()
@click.argument("run", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--models", type=Listed(str, "names"), required=True, help="Which models, separated by commas."
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="The folder; it must not be there yet.",
)
@click.option(
    "--archive",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("leaderboard/results"),
    show_default=True,
    help="The leaderboard that it is for: its attacks are required. Where it is not there, the "
    "protocol's first attack is.",
)
@plugin_option
def submit(
    run: Path,
    models: tuple[str, ...],
    out: Path,
    archive: Path,
    plugins: tuple[PluginFile, ...],
) -> None:
    """Pack models of RUN, the folder of a run, into one folder: a pull request adds it as it is.

    It holds their records, the outcomes of single images, the worst adversarial images, weights
    that do not ship with qbench, the plugin's file where it is a file, and README.md, the text of
    the pull request. What could not be accepted is refused, with what to do: a run on fewer images
    or seeds, a failed record, a required attack that is missing, a flag that blocks a rank.

    \b
    Examples:
      qbench submit runs/mine --models my-model --plugin my_model.py --out my-model
      qbench verify my-model
    """
    from qbench.errors import StoreError
    from qbench.records.archive import Archive
    from qbench.records.store import RunStore
    from qbench.report.submission import pack

    store = RunStore(run)
    if not store.path.is_file():
        raise StoreError(f"no run in {run}: name the folder that 'qbench run' wrote")
    name = store.results().records[0].task.protocol.name
    place = archive / name
    board = Archive.read(place).results() if place.is_dir() else None
    written = pack(store, models, out, plugins=plugins, board=board)
    size = sum((out / file).stat().st_size for file in written)
    click.echo(f"{out}: {len(written)} files, {size / 2**20:.1f} MiB")
    for file in written:
        click.echo(f"  {one_line(file)}")
    click.echo(f"check it with 'qbench verify {one_line(str(out))}', then open a pull request")

"""`qbench leaderboard site` and `qbench serve`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from qbench.cli.options import HELP, plugin_option

if TYPE_CHECKING:
    from qbench.plugin_files import PluginFile

archive_argument = click.argument(
    "archive",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("leaderboard/results"),
)


@click.command(context_settings=HELP)
@archive_argument
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder of the site: a new one, an empty one, or that of an earlier build.",
)
@click.option(
    "--recompute",
    is_flag=True,
    help="Judge also the claims about perturbations that no record holds: a minute more.",
)
@plugin_option
def site(archive: Path, out: Path, recompute: bool, plugins: tuple[PluginFile, ...]) -> None:
    """Write a site of ARCHIVE, or of the folder of a run, that one can explore.

    It needs no server and no network: open its index.html. ARCHIVE is leaderboard/results unless
    another one is named.

    \b
    Examples:
      qbench leaderboard site --out site
      qbench leaderboard site runs/mine --out /tmp/site
    """
    from qbench_site.build import build
    from qbench_site.reading import read

    written = build(read(archive, plugins), out, recompute=recompute)
    size = sum(path.stat().st_size for path in written) / 1e6
    click.echo(f"wrote {len(written)} files, {size:.1f} MB: open {out / 'index.html'}")


@click.command(context_settings=HELP)
@archive_argument
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Where it listens; 0 for any free port.",
)
@click.option("--open", "show", is_flag=True, help="Open it in the browser.")
@plugin_option
def serve(archive: Path, port: int, show: bool, plugins: tuple[PluginFile, ...]) -> None:
    """Show the site of ARCHIVE, or of the folder of a run, on this machine alone.

    It is built again when the archive changes; reload the page then. Port 0 takes any free one.

    \b
    Examples:
      qbench serve --open
      qbench serve runs/mine --port 9000
    """
    from qbench_site.serving import serve as run

    run(archive, port, plugins, show=show)

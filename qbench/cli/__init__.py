"""The command line: one file a group of commands, no logic of its own."""

from __future__ import annotations

import sys
import traceback
from importlib.metadata import PackageNotFoundError, version

import click

from qbench.cli import bench, certify, hardware, leaderboard, listing, run, sheet, train
from qbench.errors import QbenchError


def _version() -> str:
    try:
        return version("qbench-robustness")
    except PackageNotFoundError:
        return "unknown"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(_version(), prog_name="qbench")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Adversarial robustness of quantum and classical classifiers, side by side.

    \b
    Typical use:
      qbench models                                 what there is
      qbench run --models all --attacks pgd         attack everything, write a leaderboard
      qbench run --models reup,convnet --limit 20   a quick look
      qbench run --plugin ./my_model.py --models my-model
    """


for _command in (
    run.run,
    certify.certify,
    hardware.hardware,
    leaderboard.leaderboard,
    train.train,
    listing.models,
    listing.attacks,
    listing.certifiers,
    listing.datasets,
    listing.engines,
    listing.protocols,
    listing.plugins,
    sheet.sheet,
    bench.bench,
):
    cli.add_command(_command)


def main() -> None:
    """Entry point: errors a user can mend are one line and exit code 2."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    try:
        sys.exit(cli.main(arguments, prog_name="qbench", standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except QbenchError as error:
        if debug:
            traceback.print_exc()
        click.echo(f"error: {' '.join(str(error).split())}", err=True)
        sys.exit(2)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except Exception as error:
        if debug:
            raise
        click.echo(
            f"internal error: {type(error).__name__}: {error} (see --debug; please report it)",
            err=True,
        )
        sys.exit(1)

"""The command line: one file a group of commands, no logic of its own."""

from __future__ import annotations

import sys
import traceback
from importlib.metadata import PackageNotFoundError, version

import click

from qbench.cli import (
    certify,
    challenge,
    check,
    export,
    leaderboard,
    listing,
    run,
    sheet,
    submit,
    train,
    verify,
)
from qbench.cli.groups import Group
from qbench.cli.options import HELP
from qbench.errors import QbenchError
from qbench.text import one_line


def _version() -> str:
    try:
        return version("qbench-robustness")
    except PackageNotFoundError:
        return "unknown"


@click.group(
    cls=Group,
    context_settings={**HELP, "max_content_width": 100},
)
@click.version_option(_version(), prog_name="qbench")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Adversarial robustness of quantum and classical classifiers, side by side.

    \b
    Typical use:
      qbench models                                 what there is
      qbench run --models all --attacks pgd         attack all; a leaderboard
      qbench run --models reup,convnet --limit 20   a quick look
      qbench run --plugin ./my_model.py --models my-model
      qbench new model my-model                     a plugin to begin with
      qbench check ./my_model.py                    what must hold of a plugin
      qbench submit runs/mine --models my-model --out my-model   for a pull request
      qbench verify leaderboard/results             recompute what is published
    """


for _command in (
    run.run,
    certify.certify,
    check.check,
    leaderboard.leaderboard,
    submit.submit,
    verify.verify,
    challenge.challenge,
    export.export,
    train.train,
    listing.models,
    listing.attacks,
    listing.certifiers,
    listing.datasets,
    listing.engines,
    listing.protocols,
    listing.plugins,
    sheet.sheet,
):
    cli.add_command(_command)


def main() -> None:
    """Entry point: errors a user can mend are one line and exit code 2."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    try:
        sys.exit(cli.main(arguments, prog_name="qbench", standalone_mode=False, obj=arguments) or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt) as error:
        where = str(error.__cause__ or error) if isinstance(error, click.Abort) else str(error)
        click.echo(one_line(f"interrupted {where}"), err=True)
        sys.exit(130)
    except QbenchError as error:
        if debug:
            traceback.print_exc()
        click.echo(f"error: {one_line(str(error), None)}", err=True)
        sys.exit(2)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except Exception as error:
        if debug:
            raise
        what = one_line(f"{type(error).__name__}: {error}")
        click.echo(f"internal error: {what} (see --debug; please report it)", err=True)
        sys.exit(1)

"""`qbench reproduce`: redo a paper and judge what it says."""

from __future__ import annotations

from pathlib import Path

import click

from qbench.cli.options import HELP, Listed, default_jobs

_folder = click.Path(file_okay=False, path_type=Path)


@click.command(context_settings=HELP)
@click.argument("name", metavar="NAME")
@click.option(
    "--from",
    "archive",
    type=_folder,
    help="Take what the results of this archive or run hold, and train and attack nothing.",
)
@click.option(
    "--published",
    type=_folder,
    help="The authors' files: a folder with dataset/ and model_checkpoints/. Their checkpoints are "
    "evaluated on their images too.",
)
@click.option(
    "--seeds", type=Listed(int, "seeds"), help="Seeds of the models.  [default: the protocol's]"
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N images, for a look.")
@click.option(
    "--out",
    type=_folder,
    help="Folder of the page, and of all that the next call need not do again.  [default: "
    "runs/reproduce-NAME]",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=default_jobs,
    show_default="one a core",
    help="How many processes compute; results do not depend on it.",
)
def reproduce(
    name: str,
    archive: Path | None,
    published: Path | None,
    seeds: tuple[int, ...] | None,
    limit: int | None,
    out: Path | None,
    jobs: int,
) -> None:
    """Redo the experiments of paper NAME, and say what of it holds.

    Models are trained, attacked under the paper's protocol and under the leaderboard's, and looked
    at during their training; then every figure and table is drawn with our numbers, and every claim
    judged by the rule that is written down for it. An interrupted reproduction goes on with the
    same command.

    \b
    NAME is wendlinger2024: arXiv:2404.16154.

    \b
    Examples:
      qbench reproduce wendlinger2024
      qbench reproduce wendlinger2024 --seeds 0 --limit 20       a quick look
      qbench reproduce wendlinger2024 --from leaderboard/results
      qbench reproduce wendlinger2024 --published ../robust-analysis-qml-ml
    """
    from qbench.errors import UnknownNameError, UsageError
    from qbench_reproduction import paper
    from qbench_reproduction.study import Study

    if name != paper.NAME:
        raise UnknownNameError("paper", name, [paper.NAME])
    if seeds is not None and any(seed < 0 for seed in seeds):
        raise UsageError(f"seeds must be at least 0, got {list(seeds)}")
    if archive is not None and (seeds is not None or limit is not None):
        raise UsageError("--from takes the results as they are: leave out --seeds and --limit")
    from qbench.cli.tasks import typed

    study = Study(
        out=out or Path("runs") / f"reproduce-{name}",
        archive=archive,
        published=published,
        seeds=seeds,
        limit=limit,
        jobs=jobs,
        command=typed(),
    )
    for line in study.write():
        click.echo(line)

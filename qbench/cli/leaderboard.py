"""`qbench leaderboard`: pages from results, and the archive that keeps the results of many runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from qbench.cli.groups import Group
from qbench.cli.options import plugin_option
from qbench.text import one_line

if TYPE_CHECKING:
    from qbench.plugin_files import PluginFile
    from qbench.protocols import Protocol
    from qbench.records.results import Results

_results = click.Path(file_okay=False, path_type=Path)
archive_option = click.option(
    "--archive",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("leaderboard/results"),
    show_default=True,
    help="The archive.",
)


@click.group(cls=Group, path="leaderboard")
def leaderboard() -> None:
    """Build pages from results, and keep results of many runs together.

    An archive holds a folder a protocol, and in it a folder a model. What is in it is never changed
    by what is added: to replace a model, raise its revision or take it out first.

    \b
    Typical use:
      qbench leaderboard add runs/glyphs-linf-v1   take a run's models over
      qbench leaderboard build leaderboard/results --out leaderboard
      qbench leaderboard merge THEIRS --archive OURS
      qbench leaderboard remove my-model
    """


@leaderboard.command()
@click.argument("run", type=_results)
@archive_option
@click.option("--models", help="Only these models, separated by commas.  [default: all of the run]")
@click.option(
    "--weights",
    type=click.Path(file_okay=False, path_type=Path),
    help="Also put the weights that the run trained into this folder, but for those that ship with "
    "qbench: 'qbench verify --weights' takes it.",
)
def add(run: Path, archive: Path, models: str | None, weights: Path | None) -> None:
    """Take the models of RUN over into the archive.

    A model that is new gets a folder of its own, with the transfers between it and the models that
    are there; nothing else is written.

    \b
    Examples:
      qbench leaderboard add runs/glyphs-linf-v1
      qbench leaderboard add runs/mine --archive results --models my-model
      qbench leaderboard add runs/digits-linf-v1 --weights runs/zoo/digits
    """
    wanted = None if models is None else models.split(",")
    _take_over([run], archive, wanted)
    if weights is not None:
        _keep_weights(run, wanted, weights)


@leaderboard.command()
@click.argument("sources", type=_results, nargs=-1, required=True)
@archive_option
def merge(sources: tuple[Path, ...], archive: Path) -> None:
    """Take over everything that the runs or archives SOURCES hold.

    Transfers between models that never met in a run are missing afterwards: 'qbench run --models
    all --archive ARCHIVE' makes them, and 'qbench leaderboard add' takes them over.

    \b
    Example:
      qbench leaderboard merge runs/mine ../theirs/results --archive results
    """
    _take_over(list(sources), archive, None)


@leaderboard.command()
@click.argument("model")
@archive_option
def remove(model: str, archive: Path) -> None:
    """Take MODEL out of the archive, with every transfer from and to it.

    \b
    Example:
      qbench leaderboard remove my-model --archive leaderboard/results
    """
    from qbench.errors import StoreError
    from qbench.records.archive import Archive
    from qbench.records.boards import boards

    found = [Archive.read(path) for path in boards(archive)]
    holding = [one for one in found if model in one.entries]
    if not holding:
        raise StoreError(f"no model {model!r} in {archive}")
    for one in holding:
        sent = [r for r in one.entries[model].records if r.task.kind == "challenge"]
        others = one.remove(model)
        also = f"; transfers also from {', '.join(others)}" if others else ""
        click.echo(f"removed {model} from {one.root}{also}")
        for record in sent:
            click.echo(f"note: so went the {one_line(record.title, None)}: send it again if due")


@leaderboard.command()
@click.argument("results", type=_results)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the page.  [default: RESULTS/leaderboard for a run]",
)
@click.option("--eps", type=float, help="Budget to rank by.  [default: the protocol's]")
@click.option(
    "--norm",
    type=click.Choice(["linf", "l2"]),
    help="Norm to rank by, if attacks in it are on record.  [default: the protocol's]",
)
@plugin_option
def build(
    results: Path,
    out: Path | None,
    eps: float | None,
    norm: str | None,
    plugins: tuple[PluginFile, ...],
) -> None:
    """Write the page and the pictures of RESULTS, the folder of a run or an archive.

    The page of an archive of several boards is that of the board with most models, and begins with
    a comparison of all; the others' pages go into OUT/boards. One of them alone: name its folder.

    \b
    Examples:
      qbench leaderboard build runs/glyphs-linf-v1
      qbench leaderboard build leaderboard/results --out leaderboard
      qbench leaderboard build leaderboard/results --out /tmp/page --eps 0.05
    """
    from qbench.errors import UsageError
    from qbench.files import own_folder
    from qbench.records.boards import folders, open_results
    from qbench.records.store import FILE
    from qbench.report import build as write
    from qbench.report import known_dataset, summary_table

    every = folders(results)
    if len(every) > 1:
        if out is None or eps is not None or norm is not None:
            raise UsageError(
                f"{results} holds several boards: give --out, and neither --eps nor --norm, or "
                "name the folder of one board"
            )
        _build_all(every, out, plugins)
        return
    found = _sound(open_results(results))
    if norm is not None:
        found = _in_norm(found, norm)
    if out is None and not (results / FILE).is_file():
        raise UsageError("say where the page of an archive goes: --out FOLDER")
    # The folder of a run may be a stranger's: its own page is not written through a link.
    page = own_folder(results / "leaderboard") if out is None else out
    protocol = _protocol(found, plugins)
    write(found, page, eps=eps, dataset=known_dataset(found, plugins), protocol=protocol)
    click.echo(summary_table(found, eps=eps, protocol=protocol))
    click.echo(f"\nleaderboard and pictures: {page / 'README.md'}")


def _build_all(folders: list[Path], out: Path, plugins: tuple[PluginFile, ...]) -> None:
    """Pages of several boards, the one with most models first."""
    from qbench.records.archive import Archive
    from qbench.report import Part, build_all, known_dataset, summary_table

    parts = []
    for folder in folders:
        found = _sound(Archive.read(folder).results())
        protocol = _protocol(found, plugins)
        parts.append(Part(folder.name, found, known_dataset(found, plugins), protocol))
    parts.sort(key=lambda part: (-len(part.results.cards), part.name))
    build_all(parts, out)
    for part in parts:
        click.echo(f"{part.name}\n{summary_table(part.results, protocol=part.protocol)}\n")
    click.echo(f"leaderboards and pictures: {out / 'README.md'}")


def _take_over(sources: list[Path], root: Path, models: list[str] | None) -> None:
    from qbench.records.archive import Archive
    from qbench.records.boards import board_name, folders, open_results

    for source in sources:
        every = [_sound(open_results(path)) for path in folders(source)]
        for results in every:
            protocol = _protocol(results, ())
            target = Archive.read(root / board_name(results, protocol))
            written = target.add(results, models)
            what = ", ".join(written) if written else "nothing new"
            click.echo(f"{source} -> {target.root}: {what}")
            for note in target.notes:
                click.echo(f"note: {one_line(note, None)}")


def _keep_weights(run: Path, models: list[str] | None, folder: Path) -> None:
    """The weights that a run trained, into a zoo.

    Raises:
        UsageError: It is an archive, which has none.
    """
    from dataclasses import replace

    from qbench.errors import UsageError
    from qbench.records.store import FILE, RunStore
    from qbench.report.submission import write_weights

    if not (run / FILE).is_file():
        raise UsageError(f"--weights: {run} is no run, and an archive holds no weights")
    store = RunStore(run)
    results = store.results()
    chosen = [r for r in results.records if models is None or r.task.model.name in models]
    write_weights(store, replace(results, records=tuple(chosen)), folder)
    click.echo(f"weights: {folder}")


def _in_norm(results: Results, norm: str) -> Results:
    """Results with the attacks and certificates in one norm.

    Raises:
        UsageError: No attack in it is on record.
    """
    from qbench.errors import UsageError
    from qbench.records.results import in_norm

    found = in_norm(results, norm)
    if not any(record.task.kind == "attack" for record in found.records):
        raise UsageError(f"no attack bounded in {norm} is on record")
    return found


def _sound(results: Results) -> Results:
    """Results in which no attack contradicts a certificate.

    Raises:
        SoundnessError: One does.
    """
    from qbench.errors import SoundnessError
    from qbench.records import soundness

    violations, _ = soundness.check(results)
    if violations:
        raise SoundnessError(f"{violations[0]} ({len(violations)} such): the certificate is wrong")
    return results


def _protocol(results: Results, plugins: tuple[PluginFile, ...]) -> Protocol | None:
    """The protocol of results, None where nobody provides it."""
    from qbench.errors import UnknownNameError
    from qbench.protocols import load_protocol

    try:
        return load_protocol(results.records[0].task.protocol.name, plugins)
    except UnknownNameError:
        return None

"""What the commands that run tasks share."""

from __future__ import annotations

import json
import shlex
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from qbench.cli.running import run_tasks
from qbench.errors import QbenchError
from qbench.text import one_line

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from qbench.evaluation.selection import RunSelection
    from qbench.evaluation.task import Task
    from qbench.records.record import Record
    from qbench.records.results import Results
    from qbench.records.soundness import Violation
    from qbench.records.store import RunStore


_CONFIRMING = ("fresh", "radii")  # kinds of tasks that take long and lower no accuracy under attack


def carry_out(
    selection: RunSelection,
    *,
    out: Path | None,
    archive: Path | None,
    executor: str,
    jobs: int,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Run what a selection asks for, and report on everything in the folder; does not return.

    Args:
        selection: What to run.
        out: The folder of the results.
        archive: Results that are there already.
        executor, jobs: Where tasks run.
        dry_run: Print the plan and do nothing.
        as_json: Print JSON.
    """
    from qbench.evaluation import workers

    if executor == "local" and not dry_run:
        workers.prepare()

    from qbench.evaluation.executors import open_executor
    from qbench.evaluation.planner import make_plan
    from qbench.records.store import RunStore

    store = RunStore(out or Path("runs") / folder(selection))
    adopted = None if archive is None else _board(archive, selection)
    known = store.identities() | {record.id for record in (adopted.records if adopted else ())}
    tasks = make_plan(selection, known, lambda line: click.echo(line, err=True))
    if dry_run:
        done = _there(tasks, store, adopted)
        print_plan(tasks, done, store.root, jobs, as_json)
        sys.exit(0)
    with store.locked():
        if adopted is not None:
            store.adopt(adopted)
        store.note_command(typed())
        what = f"{jobs} at a time" if executor == "local" else f"on {executor}"
        click.echo(f"{len(tasks)} tasks, {what}, results in {store.root}", err=True)
        records: dict[str, Record] = {}
        with open_executor(executor, jobs) as pool:
            phases = _phases(tasks)
            for title, part in phases:
                found = run_tasks(title, part, store, pool, jobs)
                records |= {record.id: record for record in found}
                if part is not phases[-1][1] and not as_json:
                    _preview(store, list(records.values()), selection)
    report(store, list(records.values()), selection, as_json=as_json)


def _there(tasks: Sequence[Task], store: RunStore, adopted: Results | None) -> set[str]:
    """Identities of the tasks that are done already, in the folder or the archive."""
    archived = adopted.records if adopted is not None else ()
    done = {record.id for record in archived if record.status == "done"}
    for task in tasks:
        record = store.find(task.identity.id)
        if record is not None and record.status == "done":
            done.add(record.id)
    return done


def _phases(tasks: Sequence[Task]) -> list[tuple[str, list[Task]]]:
    """What a first table needs, and then what confirms it: new images, and certificates."""
    later = [task for task in tasks if task.identity.kind in _CONFIRMING]
    if not later or not any(task.identity.kind == "attack" for task in tasks):
        return [("running", list(tasks))]
    first = [task for task in tasks if task.identity.kind not in _CONFIRMING]
    needed = {need for task in later for need in task.needs}
    return [
        ("running", first),
        ("confirming", [*(task for task in first if task.identity.id in needed), *later]),
    ]


def folder(selection: RunSelection) -> str:
    """Name of the results' folder, the same for all that may share one."""
    from qbench.datasets.base import load_data
    from qbench.protocols import load_protocol
    from qbench.records.boards import folder_name

    usual = load_protocol(selection.protocol, selection.plugins).norm
    norm = f"-{selection.norm}" if selection.norm not in (None, usual) else ""
    name = selection.dataset and load_data(selection.dataset, selection.plugins).name
    data = f"-{folder_name(name)}" if name else ""
    limit = f"-first{selection.limit}" if selection.limit else ""
    return f"{selection.protocol}{norm}{data}{limit}{'-retrained' if selection.retrain else ''}"


def typed() -> str:
    """The command as it was typed, quoted for a shell."""
    context = click.get_current_context().find_root()
    arguments = context.obj if isinstance(context.obj, list) else sys.argv[1:]
    return one_line(shlex.join(["qbench", *arguments]), None)


def _board(archive: Path, selection: RunSelection) -> Results | None:
    """The results of an archive that stand on the board of a selection."""
    from qbench.datasets.base import load_data
    from qbench.protocols import load_protocol
    from qbench.records.archive import Archive
    from qbench.records.boards import boards
    from qbench.records.results import attack_norm

    protocol = load_protocol(selection.protocol, selection.plugins)
    norm = selection.norm or protocol.norm
    data = load_data(selection.dataset or protocol.selection.dataset, selection.plugins).name
    for path in boards(archive):
        results = Archive.read(path).results()
        task = next(r.task for r in results.records if r.task.kind != "training")
        about = (task.protocol.name, attack_norm(results) or norm, task.data.name)
        if about == (protocol.name, norm, data):
            return results
    return None


def _preview(store: RunStore, records: Sequence[Record], selection: RunSelection) -> None:
    """The leaderboard before it is confirmed, for those who do not want to wait."""
    from qbench.protocols import load_protocol
    from qbench.report import summary_table

    try:
        results, _, _ = _sound(store, records)
    except QbenchError:
        return  # of a damaged record that is to be made again
    protocol = load_protocol(selection.protocol, selection.plugins)
    table = summary_table(results, protocol=protocol)
    certified = "" if selection.norms == () else " and certificates"
    click.echo(f"{table}\n\nnew images{certified} follow\n")


def _sound(store: RunStore, records: Sequence[Record]) -> tuple[Results, list[Violation], int]:
    """The results of a folder's board without certificates that attacks contradict."""
    from qbench.records import soundness
    from qbench.records.results import of_board

    # A folder may hold results on other data, as before a data set was changed: another board.
    norms = {record.task.norm for record in records if record.task.kind == "attack"}
    results = of_board(store.results(), records[-1].task, min(norms, default=None))
    violations, compared = soundness.check(results)
    return soundness.without(results, violations), violations, compared


def report(
    store: RunStore, records: Sequence[Record], selection: RunSelection, *, as_json: bool
) -> NoReturn:
    """Write and print the leaderboard of a run's folder, name what failed, and leave.

    The exit code is 2 where an attack on record contradicts a certificate, 1 where a task failed.
    """
    from qbench.files import own_folder
    from qbench.protocols import load_protocol
    from qbench.report import build, known_dataset, summary_table

    results, violations, compared = _sound(store, records)
    protocol = load_protocol(selection.protocol, selection.plugins)
    if not as_json:  # pictures take longer
        click.echo(summary_table(results, protocol=protocol))
    page = own_folder(store.root / "leaderboard")
    dataset = known_dataset(results, selection.plugins)
    written = build(results, page, dataset=dataset, protocol=protocol)
    if as_json:
        summary = {
            "out": str(store.root),
            "records": dict(Counter(record.status for record in records)),
            "compared": compared,
            "written": [str(path) for path in written],
            "leaderboard": json.loads((page / "leaderboard.json").read_text()),
        }
        click.echo(json.dumps(summary, indent=1, ensure_ascii=False))
    else:
        click.echo(f"\nleaderboard and pictures: {page / 'README.md'}")
    failed = [record for record in records if record.status == "failed"]
    for record in failed:
        click.echo(f"failed: {record.title}: {record.reason}", err=True)
    for violation in violations[:5]:
        click.echo(f"error: {violation}: the certificate is wrong", err=True)
    if violations:
        click.echo(
            f"error: {len(violations)} such; the certificates were left out of the page: mend the "
            "certifier and raise its revision",
            err=True,
        )
    sys.exit(2 if violations else 1 if failed else 0)


def print_plan(
    tasks: Sequence[Task], done: Collection[str], root: Path, jobs: int, as_json: bool
) -> None:
    """What would be done, and what it would cost.

    Args:
        tasks: The plan.
        done: Identities of the results that are there.
        root: Where results would go.
        jobs: How many processes would compute.
        as_json: Print JSON.
    """
    from qbench.evaluation.estimate import Estimator
    from qbench.evaluation.task import TaskContext

    rows, estimator, unknown = [], Estimator(), 0
    late: dict[str, float] = {}  # trainings that will not end within their limit
    for kind, count in Counter(task.identity.kind for task in tasks).items():
        group = [t for t in tasks if t.identity.kind == kind and t.identity.id not in done]
        costs = [task.passes(TaskContext(task)) for task in group]
        seconds = [estimator.seconds(task) for task in group]
        unknown += seconds.count(None)
        for task, one in zip(group, seconds, strict=True):
            if kind == "training" and one is not None and one > task.time_limit_s:
                late[task.identity.model.name] = one
        rows.append(
            {
                "task": kind,
                "tasks": count,
                "done": count - len(group),
                "to do": len(group),
                "images forward": sum(forward for forward, _ in costs),
                "images differentiated": sum(gradient for _, gradient in costs),
                "core seconds": round(sum(one or 0.0 for one in seconds)),
            }
        )
    wall = sum(row["core seconds"] for row in rows) / jobs
    if as_json:
        about = {"out": str(root), "plan": rows, "seconds": round(wall), "untimed": unknown}
        about["over_time_limit"] = {name: round(late[name]) for name in late}
        click.echo(json.dumps(about, indent=1))
        return
    from tabulate import tabulate

    click.echo(f"results would go to {root}\n")
    click.echo(tabulate(rows, headers="keys", intfmt=","))
    click.echo(
        f"\nabout {_duration(wall)} with {jobs} at a time on this machine as it is now: models "
        "were timed for a moment, certificates guessed"
    )
    if unknown:
        click.echo(f"without {unknown} tasks that could not be timed")
    for name, one in late.items():
        click.echo(f"training of {name} takes about {one:.0f} s: give a larger --time-limit")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

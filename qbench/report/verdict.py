"""What verification found: as a page for a pull request, and as a file from one job to another."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from qbench.errors import StoreError
from qbench.evaluation.verdict import Verdict
from qbench.files import read_file, write_atomically
from qbench.report.text import escape, table
from qbench.text import one_line

_LARGEST = 2**20  # bytes of a file
_MOST = 200  # lines of a kind that are shown
_LONGEST = 500  # characters of a line


def save(verdict: Verdict, path: Path) -> None:
    """Write what was found as JSON.

    Raises:
        StoreError: It cannot be written.
    """
    found = {
        "problems": verdict.problems,
        "notes": verdict.notes,
        "counts": dict(verdict.counts),
    }
    write_atomically(path, json.dumps(found, indent=1, sort_keys=True).encode() + b"\n")


def load(path: Path) -> Verdict:
    """Read what another job found. That job ran a stranger's code, which may have written anything:
    it is words and numbers, and nothing else.

    Raises:
        StoreError: It is no such file.
    """
    try:
        found = json.loads(read_file(path, _LARGEST))
        if set(found) != {"problems", "notes", "counts"}:
            raise ValueError("it holds other keys than problems, notes and counts")
        lines = {key: [_line(text) for text in found[key]] for key in ("problems", "notes")}
        counts: defaultdict[str, int] = defaultdict(int)
        for what, count in found["counts"].items():
            if isinstance(count, bool) or not isinstance(count, int) or count < 0:
                raise ValueError("a count is no number")
            counts[_line(what)] = count
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise StoreError(f"{path} holds nothing that was found by 'qbench verify'") from error
    return Verdict(lines["problems"], lines["notes"], counts)


def _line(text: object) -> str:
    if not isinstance(text, str):
        raise TypeError("no text")
    return one_line(text, _LONGEST)


def report(verdict: Verdict, other: Verdict | None = None) -> str:
    """A page in markdown.

    Args:
        verdict: What was found here.
        other: What a job found that ran the contributor's code.
    """
    every = verdict.problems + (other.problems if other else [])
    number = f"{len(every)} problem{'' if len(every) == 1 else 's'}"
    parts = [f"# Verification: {number if every else 'no problems'}"]
    parts += _part("Without the contributor's code", verdict) if other else _part("", verdict)
    if other is not None:
        parts += _part("By the contributor's code, in a job of its own", other)
        parts.append(
            "The second part was written by a process that ran the contributor's code. It can show "
            "that something is wrong, and proves nothing."
        )
    return "\n\n".join(parts) + "\n"


def _part(title: str, verdict: Verdict) -> list[str]:
    parts = [f"## {title}"] if title else []
    counted = ", ".join(f"{count} {escape(what)}" for what, count in verdict.counts.items())
    parts.append(f"Checked: {counted or 'nothing'}.")
    if verdict.problems:
        rows = [_row(problem) for problem in verdict.problems[:_MOST]]
        parts.append(table(["Where", "What is wrong"], rows, ["left", "left"]))
        if len(verdict.problems) > _MOST:
            parts.append(f"... and {len(verdict.problems) - _MOST} more.")
    if verdict.notes:
        parts.append("\n".join(f"- {escape(note, _LONGEST)}" for note in verdict.notes[:_MOST]))
    return parts


def _row(problem: str) -> list[str]:
    where, colon, what = problem.partition(": ")
    shown = (where, what) if colon else ("", problem)
    return [escape(text, _LONGEST) for text in shown]

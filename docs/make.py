"""Writes the generated parts of the documentation: `docs/cli.md`, the README's leaderboard, and
what `docs/certificates.md` says of models trained for certificates.

Run from the project's root: `python docs/make.py`. The tests fail when its output is out of date.
With `--attacks RUN_FOLDER...` it writes the tables of `docs/attacks.md` instead, one block a run,
and with `--certificates RUN_FOLDER` that of `docs/certificates.md`: they hold times, and so belong
to those runs. The picture of `docs/certificates.md` goes with the latter, and is of the archive.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import click
from certifiers_picture import picture
from costs import attack_costs, certificate_costs

from qbench.cli import cli
from qbench.protocols import load_protocol
from qbench.records.boards import open_results
from qbench.report import ranking_table
from qbench.report.board import Board
from qbench.report.collect import collect

ROOT = Path(__file__).parents[1]
ARCHIVE = ROOT / "leaderboard" / "results" / "glyphs-linf-v1"


def block(name: str) -> re.Pattern[str]:
    """What stands between the markers of a generated block."""
    return re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)


def command_line() -> str:
    """The help of every command, as a page."""
    parts = ["# The command line\n\nMade from `--help` by `docs/make.py`.\n"]
    context = click.Context(cli, info_name="qbench", terminal_width=100, **cli.context_settings)
    parts.append(f"```text\n{cli.get_help(context)}\n```\n")
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        inner = click.Context(command, context, info_name=name, max_content_width=100)
        parts.append(f"## qbench {name}\n\n```text\n{command.get_help(inner)}\n```\n")
        every = command.list_commands(inner) if isinstance(command, click.Group) else ()
        # In the order of the code, those of plugins last.
        for part in dict.fromkeys((*getattr(command, "commands", ()), *every)):
            one = command.get_command(inner, part)
            assert one is not None
            within = click.Context(one, inner, info_name=part, max_content_width=100)
            parts.append(f"### qbench {name} {part}\n\n```text\n{one.get_help(within)}\n```\n")
    return "\n".join(parts)


TOP = 8  # rows of the README's table


def top(table: str) -> str:
    """The first rows of a markdown table, without its last column."""
    return "\n".join(line.rsplit("|", 2)[0] + "|" for line in table.splitlines()[: TOP + 2])


@cache
def published() -> Board:
    """The published board."""
    results = open_results(ARCHIVE)
    protocol = load_protocol(results.records[0].task.protocol.name)
    return collect(results, protocol=protocol, transferred=False)


def readme() -> str:
    """The README with the top of the leaderboard."""
    table = top(ranking_table(published()))
    text = (ROOT / "README.md").read_text()
    return block("leaderboard").sub(lambda match: f"{match[1]}\n{table}\n\n{match[2]}", text)


PENALTIES = {
    "reup-0.2": "Σ(w/2)², 20 epochs",
    "reup-0.2-ep100": "Σ(w/2)², 100 epochs",
    "reup-0.1-ep100": "Σ(w/2)², 100 epochs",
    "reup-cert": r"(Σ \|w\|)², 100 epochs",
    "fourier-cert": "(Σ R ‖W‖₁)², 100 epochs",
    "convnet-cert": r"(Σ \|v\| ‖kernel‖₁)², 100 epochs",
}


def trained_for_certificates() -> str:
    """`docs/certificates.md` with what the archive says of models trained for certificates."""
    board = published()
    rows, norm = {row.model.name: row for row in board.rows}, board.norm
    lines = [
        "| model | penalty | clean | certified 0.02 | certified 0.05 | certified 0.1 | worst case "
        "0.1 |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, penalty in PENALTIES.items():
        row = rows[name]
        proved = row.proved(norm)
        assert proved is not None
        certified = [proved.accuracy[eps].mean for eps in (0.02, 0.05, 0.1)]
        values = (row.clean.mean, *certified, row.worst.mean)
        shares = " | ".join(f"{value:.3f}" for value in values)
        lines.append(f"| `{name}` | {penalty} | {shares} |")
    table, text = "\n".join(lines), (ROOT / "docs" / "certificates.md").read_text()
    return block("training").sub(lambda match: f"{match[1]}{table}\n{match[2]}", text)


def attacks(runs: Sequence[Path]) -> dict[Path, str]:
    """`docs/attacks.md` with what every attack cost in each run; only the tables change."""
    path = ROOT / "docs" / "attacks.md"
    costs = iter([attack_costs(open_results(run)) for run in runs])
    return {
        path: block("costs").sub(
            lambda match: f"{match[1]}\n{next(costs)}\n{match[2]}", path.read_text()
        )
    }


def certificates(runs: Sequence[Path]) -> dict[Path, str]:
    """`docs/certificates.md` with what every certifier proved in a run, and how long it took.

    And the picture of what they proved of every seed in the archive.
    """
    path, costs = ROOT / "docs" / "certificates.md", certificate_costs(open_results(runs[0]))
    (path.parent / "figures" / "certifiers.png").write_bytes(picture(open_results(ARCHIVE)))
    text = block("certificates").sub(lambda m: f"{m[1]}\n{costs}\n{m[2]}", path.read_text())
    return {path: text}


def pages() -> dict[Path, str]:
    """Every generated file and its content."""
    return {
        ROOT / "docs" / "cli.md": command_line(),
        ROOT / "docs" / "certificates.md": trained_for_certificates(),
        ROOT / "README.md": readme(),
    }


MAKERS = {"--attacks": attacks, "--certificates": certificates}

if __name__ == "__main__":
    maker = MAKERS.get(sys.argv[1]) if sys.argv[1:] else None
    made = maker([Path(argument) for argument in sys.argv[2:]]) if maker else pages()
    for path, content in made.items():
        path.write_text(content)
        print(f"wrote {path.relative_to(ROOT)}", file=sys.stderr)

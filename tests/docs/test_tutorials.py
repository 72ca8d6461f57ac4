"""The tutorials, block by block as their readers do them, and what they say is printed."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [*sorted((DOCS / "tutorials").glob("*.md")), DOCS / "contributing-a-model.md"]
LEAST = {"contributing-a-model": 2}  # outputs that are compared
NEEDED = {"a-qiskit-model": "qiskit_machine_learning"}
TOLERANCE = 0.05  # of numbers with a decimal point: sums are rounded in another order elsewhere
_BLOCK = re.compile(
    r"(?:`(?P<file>[\w./-]+)`:\n\n)?(?P<slow><!-- slow -->\n)?"
    r"^```(?P<kind>\w+)\n(?P<text>.*?)^```$",
    re.M | re.S,
)


@dataclass(frozen=True)
class Block:
    """What stands between two fences.

    Args:
        kind: `python` is executed, or written where the line above names a file; the lines of
            `console` are run; `text` is what the block before it printed, "..." for left out.
        text: What it holds.
        file: Where it is saved.
        slow: Whether it is left to the deeper tests.
    """

    kind: str
    text: str
    file: str | None
    slow: bool


def blocks(page: str) -> list[Block]:
    """The blocks of a page; what a slow one prints is slow too."""
    found: list[Block] = []
    for match in _BLOCK.finditer(page):
        kind, slow = match["kind"], bool(match["slow"])
        if kind == "text":
            slow = found[-1].slow
        found.append(Block(kind, match["text"], match["file"], slow))
    return found


def compare(expected: str, printed: str) -> None:
    """Hold what a page shows against what was printed.

    Words and whole numbers are the same, whatever the spaces, and numbers with a decimal point
    differ by no more than `TOLERANCE`.
    """
    number = r"-?\d+\.\d+"
    pieces = re.split(rf"({number})|(\.\.\.)|(\s+)", expected.strip())
    pattern = ""
    for piece in pieces:
        if not piece:
            continue
        if re.fullmatch(number, piece):
            pattern += f"({number})"
        elif piece == "...":
            pattern += r".*?"
        elif piece.isspace():
            pattern += r"\s+"
        else:
            pattern += re.escape(piece)
    match = re.search(pattern, printed, re.S)
    assert match, f"the page shows\n{expected}\nand this was printed:\n{printed}"
    for shown, found in zip(re.findall(number, expected), match.groups(), strict=True):
        assert float(found) == pytest.approx(float(shown), abs=TOLERANCE), f"{expected}\n{printed}"


def follow(page: Path, qbench_cli, slow: bool) -> int:
    """Do what a page says in the current folder; returns how many outputs were compared."""
    names: dict[str, object] = {}
    printed, compared = "", 0
    for block in blocks(page.read_text()):
        if block.slow and not slow:
            continue
        if block.kind == "text":
            compare(block.text, printed)
            compared += 1
        elif block.kind == "console":
            printed = "".join(_run(line, qbench_cli) for line in block.text.splitlines())
        elif block.file is not None:
            Path(block.file).write_text(block.text)
        else:
            stdout = io.StringIO()
            with contextlib.redirect_stdout(stdout):
                exec(compile(block.text, page.name, "exec"), names)
            printed = stdout.getvalue()
    return compared


def _run(line: str, qbench_cli) -> str:
    command, *words = shlex.split(line, comments=True)
    assert command == "qbench", line
    one_process = ["--jobs", "1"] if words[0] in ("run", "certify") else []
    result = qbench_cli(*words, *one_process)
    assert result.returncode == 0, f"{line}\n{result.stdout}{result.stderr}"
    return result.stdout


@pytest.mark.filterwarnings("ignore:.*vary from pass to pass:UserWarning")
@pytest.mark.parametrize(
    "slow", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["", "whole"]
)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_tutorial_says_what_happens(page, slow, qbench_cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    needed = NEEDED.get(page.stem)
    if needed and importlib.util.find_spec(needed) is None:
        pytest.skip(f"needs {needed}")
    whole = blocks(page.read_text())
    if slow and not any(block.slow for block in whole):
        pytest.skip("all of it is tested anyway")
    shown = [block for block in whole if block.kind == "text" and (slow or not block.slow)]
    assert follow(page, qbench_cli, slow) == len(shown) >= LEAST.get(page.stem, 3)


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("clean 0.94, 3 images", "clean 0.97,  3 images", True),
        ("clean 0.94, 3 images", "clean 0.90, 4 images", False),
        ("clean 0.94", "clean 0.84", False),
        ("a ... c", "a\nb\nc", True),
        ("a ... d", "a\nb\nc", False),
    ],
)
def test_what_is_shown_is_compared(expected, printed, same):
    if same:
        compare(expected, printed)
    else:
        with pytest.raises(AssertionError):
            compare(expected, printed)

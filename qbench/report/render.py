"""Tables as markdown, as plain text, and as LaTeX."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tabulate import tabulate

from qbench.report.table import Cell, Table
from qbench.report.text import DASH, Footnotes, escape, escape_html
from qbench.report.text import table as piped
from qbench.text import is_hidden, one_line

_ROW = re.compile(r"\||- |\d+\. ")
_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{"±": r"$\pm$", "ε": r"$\varepsilon$", "⚑": r"$\dagger$", "−": "$-$", "≥": r"$\geq$"},
    **{"∞": r"$\infty$", "ℓ": r"$\ell$", "—": "---", "…": r"\ldots{}"},
}
_LATEX_SPECIAL = re.compile("|".join(re.escape(character) for character in _LATEX))


def markdown(table: Table, notes: Footnotes | None = None) -> str:
    """A table for a page.

    Args:
        table: The table.
        notes: Collects what is to be said about its cells; None leaves it out.
    """

    def cell(one: Cell) -> str:
        shown = one.shown
        if one.kind == "text":
            shown = escape(shown, None if one.whole else 300)
        if one.bold and shown != DASH:
            shown = f"**{shown}**"
        return notes.mark(shown, one.notes) if notes else shown

    head = [escape(column.head) for column in table.columns]
    rows = [[cell(one) for one in row] for row in table.rows]
    return piped(head, rows, [column.align for column in table.columns])


def folded(summary: str, *parts: str) -> str:
    """Parts of a page behind a line that opens them; `summary` is plain text."""
    # Without the blank lines, markdown between the tags is not read.
    return "\n\n".join(
        [f"<details><summary>{escape_html(summary)}</summary>", *parts, "</details>"]
    )


def separated(page: str) -> str:
    """Markdown with a blank line between any two blocks, ending in one newline.

    A block is a line, or rows of a table, items of a list, or a block of code. A line that starts
    with a blank goes on with the one before.
    """
    found: list[str] = []
    before, fence = "", ""
    for line in page.splitlines():
        if fence:
            found[-1] += f"\n{line}"
            fence = "" if line == fence else fence
        elif line.startswith(" ") and line.strip():
            found[-1] += line.rstrip()
        elif line:
            match = _ROW.match(line)
            kind = re.sub(r"\d", "1", match[0][:1]) if match else ""
            if found and kind and kind == before:
                found[-1] += f"\n{line}"
            else:
                found.append(line)
            before = kind
            fence = line.removesuffix("console") if line.startswith("```") else ""
    return "\n\n".join(found) + "\n"


def console(commands: Iterable[str]) -> str:
    """Commands word for word as a block of code, from which nothing escapes."""
    lines = ["".join(" " if is_hidden(c) else c for c in command) for command in commands]
    longest = max((len(run) for line in lines for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([f"{fence}console", *lines, fence])


def plain(table: Table, notes: Footnotes | None = None) -> str:
    """A table for a terminal."""

    def cell(one: Cell) -> str:
        shown = one_line(one.shown)
        return notes.mark(shown, one.notes) if notes else shown

    head = [one_line(column.head) for column in table.columns]
    rows = [[cell(one) for one in row] for row in table.rows]
    align = [column.align for column in table.columns]
    return str(tabulate(rows, head, "simple", disable_numparse=True, colalign=align))


def latex(table: Table) -> str:
    """A table for a paper, with the rules of booktabs; one trailing newline."""
    align = "".join(column.align[0] for column in table.columns)
    lines = [
        _latex_row(column.head for column in table.columns),
        *(_latex_row(one.shown for one in row) for row in table.rows),
    ]
    body = [r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule"]
    inner = "\n".join(body)
    return f"\\begin{{tabular}}{{{align}}}\n{inner}\n\\end{{tabular}}\n"


def _latex_row(cells: Iterable[str]) -> str:
    shown = [_LATEX_SPECIAL.sub(lambda m: _LATEX[m[0]], one_line(one)) for one in cells]
    # A row that starts with a bracket would be read as an option of the line before.
    return " & ".join("{}" + one if one.startswith("[") else one for one in shown) + r" \\"

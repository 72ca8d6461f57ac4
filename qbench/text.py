"""Text from outside, made harmless before it is shown or kept."""

from __future__ import annotations

import textwrap
import unicodedata


def one_line(text: str, longest: int | None = 300) -> str:
    """Text on one line: control, invisible and direction-changing characters become blanks.

    What is longer than `longest` characters ends in an ellipsis.
    """
    visible = "".join(" " if is_hidden(character) else character for character in text)
    line = " ".join(visible.split())
    return line if longest is None or len(line) <= longest else line[: longest - 1] + "…"


def is_hidden(character: str) -> bool:
    """Whether a character is a control, format, private or unassigned one (Unicode category C)."""
    return unicodedata.category(character)[0] == "C"


def wrapped(line: str, width: int = 80) -> str:
    """One line as several of at most `width` characters, the later ones indented."""
    return textwrap.fill(line, width, subsequent_indent="  ", break_on_hyphens=False)

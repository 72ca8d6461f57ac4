"""Text from outside, made harmless before it is shown or kept."""

from __future__ import annotations

import shlex
import textwrap
import unicodedata


def one_line(text: str, longest: int | None = 300) -> str:
    """Text on one line: control, invisible and direction-changing characters become blanks.

    What is longer than `longest` characters ends in an ellipsis.
    """
    line = " ".join(visible(text).split())
    return line if longest is None or len(line) <= longest else line[: longest - 1] + "…"


def visible(text: str) -> str:
    """Text with a blank for each control, invisible or direction-changing character."""
    return "".join(" " if is_hidden(character) else character for character in text)


def command_line(text: str) -> str:
    """A command of qbench as it may be shown: each word quoted, so a shell reads no more in it.

    Raises:
        ValueError: It is no command of qbench.
    """
    words = shlex.split(visible(text))
    if words[:1] != ["qbench"]:
        raise ValueError("a command that is none of qbench")
    return shlex.join(words)


def is_hidden(character: str) -> bool:
    """Whether a character is a control, format, private or unassigned one (Unicode category C)."""
    return unicodedata.category(character)[0] == "C"


def wrapped(line: str, width: int = 80) -> str:
    """One line as several of at most `width` characters, the later ones indented."""
    return textwrap.fill(line, width, subsequent_indent="  ", break_on_hyphens=False)

"""A progress bar for evaluations that take seconds an image."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from typing import TypeVar

import click

T = TypeVar("T")
_MANY = 5  # circuits; fewer are not worth a bar


def shown(items: Sequence[T], title: str, size: int = 1) -> Iterator[T]:
    """Go through items, of `size` circuits each, with a progress bar on standard error.

    None is shown where standard error is no terminal, in worker processes, and while somebody else
    draws there.
    """
    if size * len(items) < _MANY or not _terminal():
        yield from items
        return
    with click.progressbar(items, label=title, file=sys.stderr) as bar:
        yield from bar


def _terminal() -> bool:
    ours = sys.stderr is sys.__stderr__ and multiprocessing.parent_process() is None
    return ours and sys.stderr.isatty()

"""A progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

_EVERY_S = 10.0


@contextmanager
def progress(title: str, total: float) -> Iterator[Callable[[float, str], None]]:
    """Yield `advance(amount, label)`, which shows how far along `total` the work is."""
    if sys.stderr.isatty():
        with _bar(title, total) as advance:
            yield advance
    else:
        yield _lines(title, total)


@contextmanager
def _bar(title: str, total: float) -> Iterator[Callable[[float, str], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn(title),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=total)
        yield lambda amount, label: bar.update(task, advance=amount, description=label)


def _lines(title: str, total: float) -> Callable[[float, str], None]:
    started = last = time.monotonic()
    done = 0.0

    def advance(amount: float, label: str) -> None:
        nonlocal done, last
        done, now = done + amount, time.monotonic()
        finished = done >= total * (1 - 1e-9)
        if finished or now - last >= _EVERY_S:
            last, spent = now, now - started
            left = "" if finished else f", about {spent * (total - done) / done:.0f} s left"
            click.echo(f"{title}: {done / total:.0%}, {spent:.0f} s{left} ({label})", err=True)

    return advance

"""A progress bar on a terminal, plain lines elsewhere, and how long the rest will take."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import click

_EVERY_S = 10.0

Group = tuple[str, ...]


class Forecast:
    """How long what is left takes, judged by what the like of it took in the same run.

    Args:
        work: Pieces of work: what they are, from the general to the particular, and how many
            seconds each takes, roughly. A group of which nothing is done yet is judged by the
            particular it shares most of, and in the end by everything done.
        at_once: How many pieces run beside one another.
    """

    def __init__(self, work: Iterable[tuple[Group, float]], at_once: int = 1) -> None:
        self._left: defaultdict[Group, float] = defaultdict(float)
        self._guessed: defaultdict[Group, float] = defaultdict(float)
        self._took: defaultdict[Group, float] = defaultdict(float)
        self._count: defaultdict[Group, int] = defaultdict(int)
        for group, guess in work:
            self._left[group] += guess
            self._count[group] += 1
        self._at_once = at_once

    def done(self, group: Group, guess: float, seconds: float) -> None:
        """A piece of work is done; `guess` as it was given for it, `seconds` what it took."""
        self._count[group] -= 1
        self._left[group] -= guess
        for length in range(len(group) + 1):
            self._guessed[group[:length]] += guess
            self._took[group[:length]] += seconds

    def left(self) -> float:
        """Seconds until everything is done."""
        groups = [group for group, count in self._count.items() if count > 0]
        return sum(self._left[group] * self._rate(group) for group in groups) / self._at_once

    def _rate(self, group: Group) -> float:
        """Seconds taken for each second guessed."""
        for length in range(len(group), -1, -1):
            if self._guessed[group[:length]] > 0:
                return self._took[group[:length]] / self._guessed[group[:length]]
        return 1.0


Show = Callable[[float, float, str], None]  # seconds spent, seconds left, what was done last


@contextmanager
def forecast_progress(title: str, forecast: Forecast) -> Iterator[Callable[..., None]]:
    """Yield `advance(group, guess, seconds, label)`, which tells the forecast, and shows it."""
    started = time.monotonic()
    with _shown(title) as show:

        def advance(group: Group, guess: float, seconds: float, label: str) -> None:
            forecast.done(group, guess, seconds)
            show(time.monotonic() - started, forecast.left(), label)

        yield advance


@contextmanager
def progress(title: str, total: float) -> Iterator[Callable[[float, str], None]]:
    """Yield `advance(amount, label)`, which shows how far along `total` the work is."""
    started, done = time.monotonic(), 0.0
    with _shown(title) as show:

        def advance(amount: float, label: str) -> None:
            nonlocal done
            done, spent = done + amount, time.monotonic() - started
            rest = total - done if done < total * (1 - 1e-9) else 0.0
            show(spent, spent * rest / done if done > 0 else 0.0, label)

        yield advance


@contextmanager
def _shown(title: str) -> Iterator[Show]:
    if sys.stderr.isatty():
        with _bar(title) as show:
            yield show
    else:
        yield _lines(title)


@contextmanager
def _bar(title: str) -> Iterator[Show]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn(title),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=1.0)

        def show(spent: float, left: float, label: str) -> None:
            rest = f"about {left:.0f} s left: " if left else ""
            bar.update(task, completed=_share(spent, left), description=f"{rest}{label}")

        yield show


def _lines(title: str) -> Show:
    last = time.monotonic()

    def show(spent: float, left: float, label: str) -> None:
        nonlocal last
        now = time.monotonic()
        if not left or now - last >= _EVERY_S:
            last = now
            rest = f", about {left:.0f} s left" if left else ""
            click.echo(
                f"{title}: {_share(spent, left):.0%}, {spent:.0f} s{rest} ({label})", err=True
            )

    return show


def _share(spent: float, left: float) -> float:
    """How much of all the time is over."""
    return spent / (spent + left) if left else 1.0

"""Errors a user can mend: each message is one line: what is wrong, where, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class QbenchError(Exception):
    """Base of every error qbench raises on purpose; the command line prints it and exits with 2."""


class UsageError(QbenchError):
    """An argument, option or selection that cannot be carried out."""


class UnknownNameError(UsageError):
    """A name that no plugin provides.

    Args:
        kind: What was looked up, e.g. ``"model"``.
        name: The name asked for.
        known: Every name of that kind.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        choices = sorted(known)
        near = difflib.get_close_matches(name, choices, n=3, cutoff=0.4) or choices
        super().__init__(
            f"unknown {kind} {name!r}: did you mean {', '.join(near) or 'nothing known'}?"
        )
        self.kind, self.name = kind, name


class PluginError(QbenchError):
    """A plugin that does not load, breaks the interface, or clashes with another one."""


class ProtocolError(QbenchError):
    """A protocol file that is missing, changed or inconsistent."""


class DataError(QbenchError):
    """A data set or a batch of images that cannot be used."""


class WeightsError(QbenchError):
    """Weights that are missing, damaged or do not fit their model."""


class StoreError(QbenchError):
    """A result folder that cannot be read or written, or a damaged record in it."""


class VerificationError(QbenchError):
    """A result that failed the check made outside the code that produced it."""


class SoundnessError(QbenchError):
    """A certificate that an attack on record contradicts."""


class Unsupported(QbenchError):  # noqa: N818 - not a failure: it becomes a skipped record
    """Something this model, attack or certifier declares it cannot do; the task is skipped."""

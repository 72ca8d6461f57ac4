"""Where worker processes come from: copies of one process that has imported what they need.

Importing torch takes longer than most tasks. One process does it, beside whatever the command
itself has to do first, and holds no plugin's code; every worker is a fork of it.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import BaseContext

_IMPORTED = ("qbench.evaluation.task", "qbench_engines.statevector.kernel")


def context() -> BaseContext:
    """How workers are started; where there is no forking each of them imports for itself."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(list(_IMPORTED))
    return found


def prepare() -> None:
    """Begin with the imports that workers need; returns at once."""
    if context().get_start_method() == "forkserver":
        from multiprocessing.forkserver import ensure_running

        ensure_running()

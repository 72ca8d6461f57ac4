"""Compiled loops whose sums may be taken in any order, so that they use vector registers."""

# mypy: ignore-errors
# Reason: numba ships no types; the functions are compiled from the types they are called with.

from __future__ import annotations

from functools import partial

from qbench_engines.statevector.caching import compiled

compiled_sums = partial(compiled, fastmath={"reassoc", "contract"})

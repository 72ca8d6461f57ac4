"""How loops are compiled: kept on disk from one process to the next, where that is possible."""

# mypy: ignore-errors
# Reason: numba ships no types; the functions are compiled from the types they are called with.

from __future__ import annotations

from numba import njit


def compiled(function, **options):
    """An entry point that other threads do not wait for.

    Args:
        function: What numba compiles, for the types of each call.
        options: More of numba's, such as `fastmath`.
    """
    try:
        return njit(nogil=True, cache=True, **options)(function)
    except RuntimeError:  # no folder to write to: compiled anew in each process
        return njit(nogil=True, **options)(function)

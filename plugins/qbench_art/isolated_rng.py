"""ART uses global random states, prints and warns: here all of that is kept to itself."""

from __future__ import annotations

import contextlib
import io
import logging
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch


@contextlib.contextmanager
def isolated_rng(generator: torch.Generator) -> Iterator[None]:
    """Inside, global randomness follows `generator` and ART is silent; afterwards all is as before.

    The states of `random`, `numpy.random` and torch's default generator are put back.
    """
    seed = int(torch.randint(2**32, (1,), generator=generator))
    with _seeded(seed), _silent(), np.errstate(all="ignore"):
        yield


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    python, numpy, constructor = random.getstate(), np.random.get_state(), np.random.RandomState
    seeds = np.random.SeedSequence(seed)

    class Seeded(constructor):  # type: ignore[valid-type, misc]
        # ART's decision-based attacks draw their starts from a RandomState() that the operating
        # system seeds, whatever the global state is.
        def __init__(self, seed: Any = None) -> None:
            super().__init__(seeds.spawn(1)[0].generate_state(4) if seed is None else seed)

    try:
        with torch.random.fork_rng(devices=[]):
            random.seed(seed)
            np.random.seed(seed)
            torch.default_generator.manual_seed(seed)
            np.random.RandomState = Seeded  # type: ignore[misc]
            yield
    finally:
        np.random.RandomState = constructor  # type: ignore[misc]
        random.setstate(python)
        np.random.set_state(numpy)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    logger = logging.getLogger("art")
    level = logger.level
    logger.setLevel(logging.ERROR)
    nowhere = io.StringIO()
    try:
        with (
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
        ):
            yield
    finally:
        logger.setLevel(level)

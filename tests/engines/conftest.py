"""Compiled circuits go to a folder of the test run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def _circuits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QBENCH_CIRCUITS", str(tmp_path_factory.mktemp("circuits")))
        yield

"""A board of few models from the archive, for the sample explorer; and a browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from qbench.datasets.base import load_data
from qbench.protocols import load_protocol
from qbench.records.archive import Archive
from qbench.records.results import Results
from qbench.report.collect import collect
from qbench_site import explorer
from qbench_site.content import Source

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parents[2]
MODELS = ("amplitude", "convnet", "fourier", "reup-ep100", "reup-hw4", "reup-hw8")  # every kind


@pytest.fixture(scope="session")
def results() -> Results:
    """Of the archive, what is about the first seed."""
    found = Archive.read(ROOT / "leaderboard" / "results" / "glyphs-linf-v1").results()
    records = tuple(r for r in found.records if r.task.model.seed == 0)
    return replace(found, records=records)


@pytest.fixture(scope="session")
def source(results: Results) -> Source:
    """A board of a few models, with everything that is on record of them."""
    protocol = load_protocol("glyphs-linf-v1")
    few = tuple(
        r for r in results.records if r.task.kind == "attack" and r.task.model.name in MODELS
    )
    board = collect(replace(results, records=few), protocol=protocol, transferred=False)
    return Source("glyphs-linf-v1", "", results, board, protocol)


@pytest.fixture(scope="session")
def data(source: Source) -> dict[str, Any]:
    found = explorer.explorer_data(source, load_data("glyphs"))
    assert found is not None
    assert {one["name"] for one in found["models"]} == set(MODELS)
    return found


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as running:
        # A container has no user namespaces for the sandbox; the pages are our own.
        opened = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()

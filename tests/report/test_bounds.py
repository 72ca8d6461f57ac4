"""Lipschitz bounds of several scopes, and published baselines beside the others."""

from __future__ import annotations

import math

import pytest
from pages import page_of, table_rows
from synthetic import CLASSICAL, QUANTUM, Fake, Run, bits, board_of, row_of

from qbench.records.record import LipschitzMetrics
from qbench.report.certificate_types import Bound

AMPLITUDE = Fake("amplitude", "quantum", 1, 0.1, 1)


def bounded(
    run: Run, model: Fake, certifier: str, bound: float, scope: str, seed: int = 0, **more: float
) -> None:
    baseline = certifier in ("circuit-bound", "spectral-product")
    metrics = LipschitzMetrics(
        bound=bound, sampled_jacobian=2.0, points=9, scope=scope, baseline=baseline, **more
    )  # type: ignore[arg-type]
    run.add("lipschitz", model, seed, certifier=certifier, metrics=metrics)


@pytest.fixture
def run() -> Run:
    run = Run(n=4)
    for model in (QUANTUM, CLASSICAL, AMPLITUDE):
        run.attacked(model, 0, 0.1, bits("1111"), bits("1111"))
    bounded(run, QUANTUM, "circuit-bound", 10.0, "score")
    bounded(run, QUANTUM, "circuit-tight", 8.0, "margin")
    bounded(run, CLASSICAL, "spectral-product", 6.0, "vector")
    bounded(run, AMPLITUDE, "amplitude-shell", 3.0, "margin", least_norm=1.2401)
    return run


def test_bounds_are_compared_on_margins(run: Run) -> None:
    bounded(run, QUANTUM, "all-scores", 7.0, "vector")
    row = row_of(board_of(run), QUANTUM)
    found = {entry.certifier: entry.on_margins.mean for entry in row.bounds}
    assert found == {
        "circuit-bound": 20.0,
        "circuit-tight": 8.0,
        "all-scores": pytest.approx(7 * math.sqrt(2)),
    }

    def name(entry: Bound | None) -> str | None:
        return entry and entry.certifier

    # 7 is the smallest number, of a scope in which it says less than 8 on margins.
    assert (
        *(name(row.tightest), name(row.tightest_of(baseline=True))),
        name(row.tightest_of(baseline=False)),
    ) == (*("circuit-tight", "circuit-bound", "circuit-tight"),)


def test_what_holds_everywhere_comes_before_what_does_not(run: Run) -> None:
    row = row_of(board_of(run), AMPLITUDE)
    assert row.tightest is not None
    assert (row.tightest.certifier, row.tightest.least_norm) == ("amplitude-shell", 1.2401)
    run.attacked(AMPLITUDE, 1, 0.1, bits("1111"), bits("1111"))
    bounded(run, AMPLITUDE, "amplitude-shell", 3.0, "margin", seed=1, least_norm=1.5)
    # What is said of all seeds holds from the larger norm on.
    assert row_of(board_of(run), AMPLITUDE).bounds[0].least_norm == 1.5
    bounded(run, AMPLITUDE, "everywhere", 50.0, "margin")
    row = row_of(board_of(run), AMPLITUDE)
    assert row.tightest is not None
    assert row.tightest.certifier == "everywhere"


def test_baselines_and_the_others_stand_side_by_side(run: Run) -> None:
    page = page_of(run)
    head, *rows = table_rows(page, "Lipschitz bounds")
    assert head[-1] == "Holds for"
    table = page.split("**Published baselines and the others.**")[1].split("\n- ")[0]
    cells = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in table.splitlines()
        if line.startswith("|")
    ]
    assert cells[0] == ["Model", "Baseline", "Bound on margins", "Tightest other",
                        "Bound on margins", "Baseline / other", "Largest Jacobian"]  # fmt: skip
    assert cells[2:] == [
        ["line", "spectral-product (vector)", "8.49", "—", "—", "—", "2.00 (vector)"],
        ["amplitude", "—", "—", "amplitude-shell (margin, ‖x‖₂ ≥ 1.25)", "3.00", "—",
         "2.00 (margin)"],
        ["qubit", "circuit-bound (score)", "20.00", "circuit-tight (margin)", "8.00", "2.50",
         "2.00 (margin)"],
    ]  # fmt: skip
    assert {row[1]: row[-1] for row in rows[:4]} == {
        "spectral-product": "every x",
        "amplitude-shell": "‖x‖₂ ≥ 1.25",
        "circuit-bound": "every x",
        "circuit-tight": "every x",
    }


def test_a_ratio_compares_bounds_of_the_same_weights(run: Run) -> None:
    run.attacked(QUANTUM, 1, 0.1, bits("1111"), bits("1111"))
    bounded(run, QUANTUM, "circuit-bound", 100.0, "score", seed=1)
    assert "|               2.50 |" in page_of(run)
    bounded(run, QUANTUM, "circuit-tight", 100.0, "margin", seed=1)
    assert "|        2.25 ± 0.35 |" in page_of(run)


def test_without_a_second_certifier_nothing_is_compared() -> None:
    run = Run(n=4)
    run.attacked(QUANTUM, 0, 0.1, bits("1111"), bits("1111"))
    bounded(run, QUANTUM, "circuit-bound", 10.0, "score")
    page = page_of(run)
    assert "baselines" not in page
    assert "Holds for" not in page

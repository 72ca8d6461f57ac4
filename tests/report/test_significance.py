from __future__ import annotations

import numpy as np
import pytest
from synthetic import Fake, Run

from qbench.records.statistics import mcnemar
from qbench.report.collect import collect
from qbench.report.page import page as render
from qbench.report.significance import Comparison, compare, majority

N = 20
A, B, C = (Fake(name, "quantum", 1, 0.1, 1) for name in "abc")


def first(count: int) -> np.ndarray:
    """The first images are kept, the others broken."""
    return np.arange(N) < count


def test_a_majority_of_seeds_keeps_an_image() -> None:
    by_seed = {
        0: np.array([1.0, 1, 0, 0]),
        1: np.array([1.0, 1, 1, 0]),
        2: np.array([1.0, 0, 0, 0]),
    }
    assert majority(by_seed).tolist() == [True, True, False, False]


def test_a_tie_of_seeds_or_of_passes_is_lost() -> None:
    assert majority({0: np.array([1.0, 1.0]), 1: np.array([1.0, 0.0])}).tolist() == [True, False]
    assert majority({0: np.array([0.5, 0.6])}).tolist() == [False, True]


def test_comparisons_by_hand() -> None:
    found = compare([("a", first(12)), ("b", first(2)), ("c", ~first(12))])
    # a against b: 10 to 0, p = 2 / 2**10; a against c: 12 to 8; b against c: 2 to 8.
    p = [2 / 1024, mcnemar(12, 8), mcnemar(2, 8)]
    assert p[1:] == pytest.approx([0.5034446716308594, 0.109375])  # scipy.stats.binomtest
    assert found == (
        Comparison("a", "b", N, 10, 0, p[0], pytest.approx(3 * p[0])),
        Comparison("a", "c", N, 12, 8, p[1], pytest.approx(p[1])),
        Comparison("c", "b", N, 8, 2, p[2], pytest.approx(2 * p[2])),
    )


def test_the_board_compares_the_worst_case_at_the_ranking_budget() -> None:
    run, yes = Run(N), np.ones(N, dtype=np.bool_)
    for seed in (0, 1, 2):
        for model, kept in ((A, 16), (B, 4)):
            # At the other budget, and under one attack alone, the two are equal.
            run.attacked(model, seed, 0.05, yes, yes, attack="pgd")
            run.attacked(model, seed, 0.1, yes, yes, attack="pgd")
            run.attacked(model, seed, 0.1, yes, first(kept), attack="square")
    # One seed of three is no majority.
    run.records = [r for r in run.records if (r.task.model.name, r.task.model.seed) != ("a", 2)]
    run.attacked(A, 2, 0.1, yes, ~yes, attack="fab")
    board = collect(run.results)
    (found,) = board.comparisons
    assert (found.first, found.second) == ("a", "b")
    assert (found.only_first, found.only_second, found.images) == (12, 0, N)
    assert found.p == found.p_holm == 2 / 2**12
    assert {row.model.name: row.kept for row in board.rows} == {"a": 16, "b": 4}


def test_the_page_claims_only_what_the_test_allows() -> None:
    run, yes = Run(N), np.ones(N, dtype=np.bool_)
    for model, kept in ((A, 20), (B, 18), (C, 2)):
        run.attacked(model, 0, 0.1, yes, first(kept))
    page = render(collect(run.results))
    section = page.split("## More robust than")[1].split("<details>")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows[1:]]
    # a keeps two images more than b, which is nothing: p = 1/2.
    assert cells == [["a", "20 of 20", "c"], ["b", "18 of 20", "c"], ["c", "2 of 20", "—"]]
    assert "corrected by Holm's method for all 3 pairs" in section
    assert "see *More robust than*" in page


def test_one_model_is_compared_with_none() -> None:
    run, yes = Run(N), np.ones(N, dtype=np.bool_)
    run.attacked(A, 0, 0.1, yes, yes)
    page = render(collect(run.results))
    assert "More robust than" not in page

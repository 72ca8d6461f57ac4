"""Who has a rank: a failed attack never helps."""

from __future__ import annotations

import numpy as np
import pytest
from pages import page_of
from synthetic import Fake, Run, bits, board_of, row_of

from qbench.report import summary_table

A, B = Fake("a", "quantum", 1, 0.1, 1), Fake("b", "classical", 1, 0.1, 1)
YES = np.ones(4, dtype=np.bool_)


def two_attacks(seeds: tuple[int, ...] = (0, 1)) -> Run:
    run = Run(n=4)
    for model in (A, B):
        for seed in seeds:
            run.attacked(model, seed, 0.1, YES, bits("1100"), attack="pgd")
    for seed in seeds:
        run.attacked(B, seed, 0.1, YES, bits("1000"), attack="square")
    return run


def ranks(run: Run) -> dict[str, int | None]:
    return {row.model.name: row.rank for row in board_of(run).rows}


@pytest.mark.parametrize("status", ["failed", "missing", "one seed"])
def test_a_failed_or_missing_attack_takes_the_rank(status: str) -> None:
    run = two_attacks()
    if status == "failed":
        for seed in (0, 1):
            run.add("attack", A, seed, attack="square", eps=0.1, status="failed", reason="no")
    if status == "one seed":
        run.attacked(A, 0, 0.1, YES, bits("1100"), attack="square")
    # Without the missing attack the model would stand first.
    assert ranks(run) == {"b": 1, "a": None}
    (why,) = row_of(board_of(run), A).obstacles
    assert why == "no result of square" + (" for seed 1" if status == "one seed" else "")
    assert f"**a** is not ranked: {why}." in page_of(run)
    assert f"✗ a is not ranked: {why}" in summary_table(run.results)


def test_an_attack_that_cannot_be_done_is_not_required() -> None:
    run = two_attacks()
    for seed in (0, 1):
        reason = "square needs what a does not give"
        run.add("attack", A, seed, attack="square", eps=0.1, status="skipped", reason=reason)
    assert ranks(run) == {"a": 1, "b": 2}


def test_but_some_attack_must_have_been() -> None:
    run = two_attacks()
    for seed in (0, 1):
        run.add("attack", A, seed, attack="square", eps=0.1, status="skipped", reason="no")
    pgd = [r for r in run.records if r.task.model.name == "a" and r.label == "pgd"]
    for record in pgd:
        run.records.remove(record)
        run.add("attack", A, record.task.model.seed, attack="pgd", eps=0.1, status="skipped",
                reason="no")  # fmt: skip
    assert ranks(run) == {"b": 1, "a": None}
    assert row_of(board_of(run), A).obstacles == ("no attack could be done",)


def test_checks_that_failed_take_the_rank() -> None:
    run = two_attacks()
    for seed in (0, 1):
        run.attacked(A, seed, 0.1, YES, YES, attack="square")
        run.checked(B, seed)
    assert ranks(run) == {"a": 1, "b": 2}
    run.checked(A, 0)
    run.add("checks", A, 1, status="failed", reason="it crashed")
    assert ranks(run) == {"b": 1, "a": None}
    assert row_of(board_of(run), A).obstacles == ("its checks could not be done for seed 1",)


def test_a_blocked_model_stands_below_with_its_number_and_reason() -> None:
    run = two_attacks()
    for seed in (0, 1):
        run.attacked(A, seed, 0.1, YES, YES, attack="square")
    run.checked(A, 0, batch_dependence=1.0)
    board = board_of(run)
    assert [(row.rank, row.model.name, row.worst.mean) for row in board.rows] == [
        (1, "b", 0.25),
        (None, "a", 0.5),
    ]
    assert row_of(board, A).obstacles == ("batch-dependence: 1.00 (images)",)
    assert not board.comparisons

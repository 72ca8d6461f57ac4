from __future__ import annotations

from typing import get_args

import numpy as np
from synthetic import Fake, Run, bits, board_of, row_of

from qbench.records import Flag
from qbench.reporting.board import Finding
from qbench.reporting.findings import MEANINGS
from qbench.reporting.markdown import render
from qbench.reporting.text import badges

A, B = Fake("a", "quantum", 1, 0.1, 1), Fake("b", "classical", 1, 0.1, 1)
YES = np.ones(4, dtype=np.bool_)


def numbers(run: Run, model: Fake) -> dict[str, dict[str, float]]:
    return {one.flag: dict(one.numbers) for one in row_of(board_of(run), model).findings}


def test_every_flag_has_a_meaning() -> None:
    assert set(MEANINGS) == set(get_args(Flag))


def test_the_numbers_behind_a_probe_are_means_over_the_seeds_that_raise_it() -> None:
    run = Run(n=4)
    for seed in (0, 1, 2):
        run.attacked(A, seed, 0.1, YES, YES)
    run.diagnosed(A, 0, "restarts-gain", base=0.5, more_restarts=0.4)
    run.diagnosed(A, 1, base=0.9, more_restarts=0.9)
    run.diagnosed(
        A, 2, "restarts-gain", "zero-gradients", base=0.7, more_restarts=0.5, zero_gradients=0.3
    )
    restarts, zero = row_of(board_of(run), A).findings
    assert (restarts.flag, restarts.model, restarts.seeds) == ("restarts-gain", "a", (0, 2))
    assert dict(restarts.numbers) == {"as attacked": 0.6, "4 restarts more": 0.45}
    assert (zero.flag, zero.seeds) == ("zero-gradients", (2,))
    assert dict(zero.numbers) == {"images without gradient": 0.3}


def test_flags_of_comparisons_name_the_attacks_that_lie_farthest_apart() -> None:
    run = Run(n=4)
    for eps in (0.1, 0.2):
        run.attacked(A, 0, eps, YES, bits("1110" if eps == 0.1 else "1111"), attack="pgd")
        run.attacked(A, 0, eps, YES, bits("1100"), attack="square")
    run.attacked(B, 0, 0.1, YES, YES, attack="pgd")
    run.attacked(A, 0, 0.1, YES, bits("1000"), attack="pgd", source=B)
    run.attacked(A, 0, 0.2, YES, bits("0000"), attack="pgd", source=B)
    run.diagnosed(A, 0, "black-box-stronger", "transfer-stronger", "eps-not-monotone")
    assert numbers(run, A) == {
        "black-box-stronger": {"square at ε = 0.2 (seed 0)": 0.5, "pgd at ε = 0.2 (seed 0)": 1.0},
        # At the ranking budget only.
        "transfer-stronger": {
            "pgd (made for b) at ε = 0.1 (seed 0)": 0.25,
            "pgd at ε = 0.1 (seed 0)": 0.75,
        },
        "eps-not-monotone": {"pgd at ε = 0.1 (seed 0)": 0.75, "pgd at ε = 0.2 (seed 0)": 1.0},
    }


def test_a_rejected_attack_says_why() -> None:
    run = Run(n=4)
    run.attacked(A, 0, 0.1, YES, YES)
    run.add(
        "robust-accuracy", A, 0, attack="mine", eps=0.1, status="failed",
        reason="left the ball", flags=["attack-rejected"],
    )  # fmt: skip
    (found,) = row_of(board_of(run), A).findings
    expected = ("mine at ε = 0.1: left the ball",)
    assert found == Finding("attack-rejected", "a", (0,), details=expected)


def test_a_folder_may_hold_diagnoses_of_several_runs() -> None:
    run = Run(n=4)
    run.attacked(A, 0, 0.1, YES, YES)
    run.diagnosed(A, 0)
    run.diagnosed(A, 0, "unstable-outputs", again=True, unstable_outputs=0.5)
    board = board_of(run)
    assert board.diagnosed == 1
    assert [one.flag for one in board.rows[0].findings] == ["unstable-outputs"]


def test_a_diagnosis_that_failed_is_a_note() -> None:
    run = Run(n=4)
    run.attacked(A, 0, 0.1, YES, YES)
    run.add("diagnosis", A, 0, status="failed", reason="out of memory")
    page = render(board_of(run))
    assert "1. failed (every seed): diagnosis: out of memory" in page
    assert "## Flags" not in page


def test_the_page_shows_badges_and_what_they_mean() -> None:
    run = Run(n=4)
    for seed in (0, 1):
        run.attacked(A, seed, 0.1, YES, YES)
        run.attacked(B, seed, 0.1, YES, YES)
        run.diagnosed(A, seed, "large-eps-not-chance", large_eps=1.0)
        run.diagnosed(B, seed, *(["zero-gradients"] if seed else []), zero_gradients=0.2)
    page = render(board_of(run))
    (line,) = [line for line in page.splitlines() if line.startswith("|      1 | a")]
    assert line.split("|")[-3].strip() == "⚑ large-eps-not-chance"
    (line,) = [line for line in page.splitlines() if line.startswith("|      2 | b")]
    assert line.split("|")[-3].strip() == "⚑ zero-gradients 1/2"
    section = page.split("## Flags")[1].split("\n## ")[0]
    assert "**⚑ large-eps-not-chance.** " + MEANINGS["large-eps-not-chance"].sign in section
    assert "| a       | 0, 1    | ε = the whole box: 1.000 |" in section
    assert "| b       | 1       | images without gradient: 0.200 |" in section


def test_no_flag_is_said_too() -> None:
    run = Run(n=4)
    for seed in (0, 1):
        run.attacked(A, seed, 0.1, YES, YES)
        run.diagnosed(A, seed)
    page = render(board_of(run))
    assert "None was raised for the 2 trained models that were diagnosed." in page
    assert "Flags |" not in page


def test_badges() -> None:
    found = [Finding("restarts-gain", "a", (0, 1)), Finding("zero-gradients", "a", (1,))]
    assert badges(found, (0, 1)) == "⚑ restarts-gain, ⚑ zero-gradients 1/2"
    assert badges([], (0, 1)) == "—"

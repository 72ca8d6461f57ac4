from __future__ import annotations

import numpy as np
import pytest
from pages import page_of
from synthetic import Fake, Run, bits, board_of, row_of

from qbench.records.record import Failure
from qbench.report.flags import MEANINGS, Flag, flags

A, B = Fake("a", "quantum", 1, 0.1, 1), Fake("b", "classical", 1, 0.1, 1)
YES = np.ones(4, dtype=np.bool_)


def flags_of(run: Run, model: Fake = A, **options: object) -> dict[str, Flag]:
    given = {"stochastic": False, "reference": "pgd"} | options
    return {one.name: one for one in flags(model.name, run.records, **given)}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("flag", "values", "bounds"),
    [
        # Each at the edge, where it is not raised, and just beyond.
        ("zero-gradients", {"zero_gradients": 0.1}, {"zero_gradients": 0.11}),
        ("unstable-outputs", {"unstable_outputs": 0.0}, {"unstable_outputs": 0.01}),
        ("steps-not-monotone", {"more_steps": 0.51}, {"more_steps": 0.52}),
        ("restarts-gain", {"more_restarts": 0.49}, {"more_restarts": 0.48}),
        # Chance is 1/4.
        ("large-eps-not-chance", {"large_eps": 0.26}, {"large_eps": 0.27}),
    ],
)
def test_probes_raise_flags(flag: str, values: dict[str, float], bounds: dict[str, float]) -> None:
    quiet, loud = Run(n=4), Run(n=4)
    quiet.checked(A, 0, **values)
    loud.checked(A, 3, **bounds)
    assert flags_of(quiet) == {}
    (found,) = flags_of(loud).values()
    assert (found.name, found.model, found.seeds) == (flag, "a", (3,))
    assert [value for _, value in found.numbers][-1] == next(iter(bounds.values()))


def test_probes_that_did_not_run_raise_nothing() -> None:
    run = Run(n=4)
    record = run.checked(A, 0)
    metrics = record.metrics.model_copy(update={"values": {"unstable_outputs": 0.0}})  # type: ignore[union-attr]
    run.records[0] = record.model_copy(update={"metrics": metrics})
    assert flags_of(run) == {}


def test_a_stochastic_model_may_differ_from_pass_to_pass() -> None:
    run = Run(n=4)
    run.checked(A, 0, unstable_outputs=1.0)
    assert set(flags_of(run)) == {"unstable-outputs"}
    assert flags_of(run, stochastic=True) == {}


def test_the_numbers_behind_a_probe_are_means_over_the_seeds_that_raise_it() -> None:
    run = Run(n=4)
    for seed in (0, 1, 2):
        run.attacked(A, seed, 0.1, YES, YES)
    run.checked(A, 0, base=0.5, more_restarts=0.4)
    run.checked(A, 1, base=0.9, more_restarts=0.9)
    run.checked(A, 2, base=0.7, more_steps=0.7, more_restarts=0.5, zero_gradients=0.3)
    restarts, zero = row_of(board_of(run), A).flags
    assert (restarts.name, restarts.model, restarts.seeds) == ("restarts-gain", "a", (0, 2))
    assert dict(restarts.numbers) == pytest.approx(
        {"as attacked": 0.6, "three restarts more": 0.45}
    )
    assert (zero.name, zero.seeds) == ("zero-gradients", (2,))
    assert dict(zero.numbers) == {"images without gradient": 0.3}


def test_flags_of_comparisons_name_the_attacks_that_lie_farthest_apart() -> None:
    run = Run(n=4)
    for eps in (0.1, 0.2):
        run.attacked(A, 0, eps, YES, bits("1110" if eps == 0.1 else "1111"), attack="pgd")
        run.attacked(A, 0, eps, YES, bits("1100"), attack="square")
    run.attacked(B, 0, 0.1, YES, YES, attack="pgd")
    run.attacked(A, 0, 0.1, YES, bits("1000"), attack="pgd", source=B)
    numbers = {name: dict(one.numbers) for name, one in flags_of(run).items()}
    assert numbers == {
        "black-box-stronger": {"square at ε = 0.2 (seed 0)": 0.5, "pgd at ε = 0.2 (seed 0)": 1.0},
        "transfer-stronger": {
            "pgd (made for b) at ε = 0.1 (seed 0)": 0.25,
            "pgd at ε = 0.1 (seed 0)": 0.75,
        },
        "eps-not-monotone": {"pgd at ε = 0.1 (seed 0)": 0.75, "pgd at ε = 0.2 (seed 0)": 1.0},
    }
    assert flags_of(run, B) == {}


def test_only_the_seeds_that_show_it_are_named_and_one_image_in_a_hundred_is_none() -> None:
    run = Run(n=100)
    yes = np.ones(100, dtype=np.bool_)
    for seed, lost in ((0, 1), (1, 2)):
        run.attacked(A, seed, 0.1, yes, yes, attack="pgd")
        run.attacked(A, seed, 0.1, yes, np.arange(100) >= lost, attack="square")
    assert flags_of(run)["black-box-stronger"].seeds == (1,)


def test_another_attack_changes_no_flag_of_the_reference_attack() -> None:
    run = Run(n=4)
    for eps, left in ((0.1, "1110"), (0.2, "1111")):
        run.attacked(A, 0, eps, YES, bits(left), attack="pgd")
    run.attacked(A, 0, 0.1, YES, bits("1000"), attack="pgd", source=B)
    before = flags_of(run)
    assert set(before) == {"eps-not-monotone", "transfer-stronger"}
    for eps, left in ((0.1, "1000"), (0.2, "1110")):
        run.attacked(A, 0, eps, YES, bits(left), attack="fab")
    run.attacked(A, 0, 0.1, YES, bits("0000"), attack="fab", source=B)
    assert flags_of(run) == before


def test_a_rejected_attack_says_why() -> None:
    run = Run(n=4)
    run.attacked(A, 0, 0.1, YES, YES)
    for attack, error in (("mine", "VerificationError"), ("other", "ValueError")):
        run.add(
            "attack", A, 0, attack=attack, eps=0.1, status="failed",
            reason="left the ball", failure=Failure(type=error),
        )  # fmt: skip
    (found,) = row_of(board_of(run), A).flags
    expected = ("mine at ε = 0.1: left the ball",)
    assert found == Flag("attack-rejected", "a", (0,), details=expected)


def test_checks_that_failed_are_a_note() -> None:
    run = Run(n=4)
    run.attacked(A, 0, 0.1, YES, YES)
    run.add("checks", A, 0, status="failed", reason="out of memory")
    page = page_of(run)
    assert "1. failed (every seed): checks: out of memory" in page
    assert "## Flags" not in page


def test_the_page_shows_signs_and_what_they_mean() -> None:
    run = Run(n=4)
    for seed in (0, 1):
        run.attacked(A, seed, 0.1, YES, YES)
        run.attacked(B, seed, 0.1, YES, YES)
        run.checked(A, seed, large_eps=1.0)
        run.checked(B, seed, zero_gradients=0.2 if seed else 0.0)
    page = page_of(run)
    for model in "ab":
        (line,) = [line for line in page.splitlines() if f"| {model}       | " in line][:1]
        assert line.endswith("| ⚑ 1     |")
    assert "Found here: large-eps-not-chance, zero-gradients; see [Flags](#flags)." in page
    section = page.split("## Flags")[1].split("\n## ")[0]
    assert "**⚑ large-eps-not-chance.** " + MEANINGS["large-eps-not-chance"].sign in section
    assert "| a       | 0, 1    | ε = the whole box: 1.000 |" in section
    assert "| b       | 1       | images without gradient: 0.200 |" in section


def test_no_flag_is_said_too() -> None:
    run = Run(n=4)
    for seed in (0, 1):
        run.attacked(A, seed, 0.1, YES, YES)
        run.checked(A, seed)
    assert "None was raised for the 2 trained models that were probed." in page_of(run)


def test_every_flag_that_can_be_raised_has_a_meaning() -> None:
    run = Run(n=4)
    run.checked(A, 0, zero_gradients=1, unstable_outputs=1, base=0.5, more_steps=1.0,
                more_restarts=0.0, large_eps=1.0)  # fmt: skip
    assert set(flags_of(run)) < set(MEANINGS)
    assert len(MEANINGS) == 9

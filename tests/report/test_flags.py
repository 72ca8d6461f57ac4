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
    ("flag", "value", "at", "beyond", "blocks"),
    [
        # Each at the edge, where it is not raised, and just beyond.
        ("bad-gradients", "bad_gradients", 0.0, 0.01, True),
        ("batch-dependence", "batch_dependence", 0.05, 0.06, True),
        ("call-dependence", "call_dependence", 0.05, 0.06, True),
        ("changed-code", "code_changed", 0.0, 1.0, True),
        ("changed-settings", "settings_changed", 0.0, 1.0, False),
        ("flat-gradients", "flat_gradients", 0.1, 0.11, False),
        ("input-changed", "input_changed", 0.0, 1.0, False),
        ("large-eps-not-chance", "large_eps", 0.26, 0.27, False),  # chance is 1/4
        ("low-precision", "low_precision", 0.0, 1.0, False),
        ("mode-changed", "mode_changed", 0.0, 1.0, False),
        ("no-gradient", "no_gradient", 0.0, 1.0, True),
        ("not-finite", "not_finite", 0.0, 0.01, True),
        ("state-changed", "state_changed", 0.0, 1.0, False),
        ("undeclared-randomness", "unstable_outputs", 0.0, 0.01, True),
        ("wrong-gradients", "wrong_gradients", 0.2, 0.21, True),
    ],
)
def test_checks_raise_flags(flag: str, value: str, at: float, beyond: float, blocks: bool) -> None:
    quiet, loud = Run(n=4), Run(n=4)
    quiet.checked(A, 0, **{value: at})
    loud.checked(A, 3, **{value: beyond})
    assert flags_of(quiet) == {}
    (found,) = flags_of(loud).values()
    assert (found.name, found.model, found.seeds, found.blocking) == (flag, "a", (3,), blocks)
    assert [number for _, number in found.numbers] == [beyond]


def test_checks_that_were_not_made_raise_nothing() -> None:
    run = Run(n=4)
    record = run.checked(A, 0)
    metrics = record.metrics.model_copy(update={"values": {"unstable_outputs": 0.0}})  # type: ignore[union-attr]
    run.records[0] = record.model_copy(update={"metrics": metrics})
    assert flags_of(run) == {}


def test_a_stochastic_model_may_differ_from_pass_to_pass() -> None:
    run = Run(n=4)
    run.checked(A, 0, unstable_outputs=1.0)
    assert set(flags_of(run)) == {"undeclared-randomness"}
    assert flags_of(run, stochastic=True) == {}


def test_the_numbers_behind_a_check_are_means_over_the_seeds_that_raise_it() -> None:
    run = Run(n=4)
    for seed in (0, 1, 2):
        run.attacked(A, seed, 0.1, YES, YES)
    run.checked(A, 0, large_eps=0.5)
    run.checked(A, 1)
    run.checked(A, 2, large_eps=0.7, mode_changed=1.0)
    large, mode = row_of(board_of(run), A).flags
    assert (large.name, large.model, large.seeds) == ("large-eps-not-chance", "a", (0, 2))
    assert dict(large.numbers) == pytest.approx({"ε = the whole box": 0.6})
    assert (mode.name, mode.seeds) == ("mode-changed", (2,))


@pytest.mark.parametrize("sign", ["box", "transfer", "black box", "none"])
def test_flat_gradients_block_where_something_else_succeeds(sign: str) -> None:
    run = Run(n=4)
    run.checked(A, 0, flat_gradients=1.0, large_eps=1.0 if sign == "box" else 0.0)
    run.attacked(A, 0, 0.1, YES, YES)
    if sign == "transfer":
        run.attacked(A, 0, 0.1, YES, bits("1000"), source=B)
    if sign == "black box":
        run.attacked(A, 0, 0.1, YES, bits("1000"), attack="square")
    raised = flags_of(run)
    assert ("masked-gradients" in raised) == (sign != "none")
    row = row_of(board_of(run), A)
    assert (row.rank is None) == (sign != "none")
    if sign != "none":
        assert raised["masked-gradients"].blocking
        assert row.obstacles[0].startswith("masked-gradients: 1.00 (flat gradients)")
        assert "**a** is not ranked: masked-gradients: 1.00" in page_of(run)


@pytest.mark.parametrize(
    ("field", "share", "flag"),
    [("contradicted", 0.06, "changed-answers"), ("wrong_gradients", 0.21, "wrong-gradients")],
)
def test_an_attack_that_was_told_something_else_than_the_saved_model_says(
    field: str, share: float, flag: str
) -> None:
    run = Run(n=4)
    record = run.attacked(A, 0, 0.1, YES, YES)
    assert flags_of(run) == {}
    metrics = record.metrics.model_copy(update={field: share})  # type: ignore[union-attr]
    run.records[0] = record.model_copy(update={"metrics": metrics})
    (found,) = flags_of(run).values()
    assert (found.name, found.blocking) == (flag, True)
    assert [number for _, number in found.numbers] == [share]
    assert flags_of(run, stochastic=True) == {}


@pytest.mark.parametrize(
    ("known", "new", "raised"),
    [
        # Of 200 and 1000 images at 0.58: a standard deviation of 0.038, of which three are 0.115.
        (0.60, 0.55, False),
        (0.70, 0.55, True),
        (0.55, 0.70, False),
        (1.0, 0.995, False),
    ],
)
@pytest.mark.parametrize("attacked", [True, False])
def test_a_model_that_knows_the_test_images(
    known: float, new: float, raised: bool, attacked: bool
) -> None:
    run = Run(n=200)
    run.drawn_afresh(A, 0, *((1.0, known, 1.0, new) if attacked else (known, 0.0, new, 0.0)))
    assert ("seen-images" in flags_of(run)) == raised


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
        run.checked(B, seed, flat_gradients=0.2 if seed else 0.0)
    page = page_of(run)
    for model in "ab":
        (line,) = [line for line in page.splitlines() if f"| {model}       | " in line][:1]
        assert line.endswith("| ⚑ 1     |")
    assert "Found here: flat-gradients, large-eps-not-chance; see [Flags](#flags)." in page
    section = page.split("## Flags")[1].split("\n## ")[0]
    assert "**⚑ large-eps-not-chance.** " + MEANINGS["large-eps-not-chance"].sign in section
    assert "| a       | 0, 1    | ε = the whole box: 1.000 |" in section
    assert "| b       | 1       | images: 0.200 |" in section


def test_no_flag_is_said_too() -> None:
    run = Run(n=4)
    for seed in (0, 1):
        run.attacked(A, seed, 0.1, YES, YES)
        run.checked(A, seed)
    assert "None was raised for the 2 trained models that were checked." in page_of(run)

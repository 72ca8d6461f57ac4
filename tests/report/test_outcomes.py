from __future__ import annotations

import numpy as np
import pytest
from synthetic import CLASSICAL, QUANTUM, Fake, Run, bits, board_of, row_of

from qbench.errors import StoreError
from qbench.report.collect import collect
from qbench.report.seed_values import Note
from qbench.report.transfer import Setting


def test_worst_case_is_per_image_and_not_the_smaller_mean() -> None:
    run = Run(n=4)
    run.attacked(QUANTUM, 0, 0.1, bits("1111"), bits("1100"), attack="fgsm")
    run.attacked(QUANTUM, 0, 0.1, bits("1111"), bits("0110"), attack="pgd")
    assert row_of(board_of(run), QUANTUM).worst.by_seed == ((0, 0.25),)


def test_worst_case_is_over_the_attacks_that_ran() -> None:
    run = Run(n=4)
    run.attacked(QUANTUM, 0, 0.1, bits("1111"), bits("1100"), attack="pgd")
    run.add("attack", QUANTUM, 0, attack="fgsm", eps=0.1, status="failed", reason="it broke")
    row = row_of(board_of(run), QUANTUM)
    assert row.worst.by_seed == ((0, 0.5),)
    assert row.worst.notes == (Note("incomplete", "no result of fgsm", (0,)),)
    assert row.robust[Setting("fgsm", 0.1)].notes == (Note("failed", "it broke", (0,)),)


def test_worst_case_at_every_budget() -> None:
    run = Run(n=4)
    for eps, one, other in ((0.05, "1110", "0111"), (0.1, "1100", "0110"), (0.2, "0001", "0001")):
        run.attacked(QUANTUM, 0, eps, bits("1111"), bits(one), attack="fab")
        run.attacked(QUANTUM, 0, eps, bits("1111"), bits(other), attack="square")
    board = board_of(run)
    (row,) = board.rows
    assert {eps: score.mean for eps, score in row.worst_at.items()} == {
        0.05: 0.5,
        0.1: 0.25,
        0.2: 0.25,
    }
    assert row.worst == row.worst_at[0.1]
    assert board.reference == "fab"


def test_the_worst_case_of_a_stochastic_model_is_a_mean_over_passes() -> None:
    run = Run(n=2)
    square = [[1, 0], [1, 0], [0, 1], [0, 1]]
    for attack, passes in (("pgd", [[1, 1]] * 4), ("square", square)):
        run.attacked(QUANTUM, 0, 0.1, np.ones((4, 2), bool), np.array(passes) == 1, attack=attack)
    # Both images withstand every pass of pgd, and half of those of square.
    (row,) = board_of(run).rows
    assert row.worst.by_seed == ((0, 0.5),)
    # One seed of shares 1/2: no spread between images, so Wilson's interval for one image of two.
    assert row.worst95 == pytest.approx((0.0945, 0.9055), abs=1e-4)


def test_the_worst_of_many_random_passes_is_not_mistaken_for_a_strong_attack() -> None:
    # Twenty attacks that change nothing, on a model that is right in half of its passes.
    run, chance = Run(n=400), np.random.default_rng(0)
    for attack in range(20):
        passes = chance.random((10, 400)) < 0.5
        clean = np.ones((10, 400), bool)
        run.attacked(QUANTUM, 0, 0.1, clean, passes, attack=f"attack{attack}")
    # Minima over all passes would have a mean of about 0.24.
    assert row_of(board_of(run), QUANTUM).worst.mean == pytest.approx(0.5, abs=0.02)


def test_transferred_images_count() -> None:
    run = Run(n=4)
    run.attacked(QUANTUM, 0, 0.1, bits("1111"), bits("1100"))
    run.attacked(CLASSICAL, 0, 0.1, bits("1111"), bits("0000"))
    run.attacked(QUANTUM, 0, 0.1, bits("1111"), bits("0111"), source=CLASSICAL)
    run.attacked(CLASSICAL, 0, 0.1, bits("1111"), bits("1111"), source=QUANTUM)
    # Images made with a larger budget say nothing about the ranking one.
    run.attacked(QUANTUM, 0, 0.2, bits("1111"), bits("0000"), source=CLASSICAL)
    board = board_of(run)
    quantum, classical = row_of(board, QUANTUM), row_of(board, CLASSICAL)
    assert (quantum.own.mean, quantum.worst.mean) == (0.5, 0.25)
    assert (classical.own.mean, classical.worst.mean) == (0.0, 0.0)
    assert board.measure == "worst case"
    quick = collect(run.results, transferred=False)
    assert row_of(quick, QUANTUM).worst == quantum.worst


def test_transfer_averages_are_over_pairs_of_different_models() -> None:
    run = Run(n=4)
    other = Fake("other", "quantum", 3, 0.1, 1)
    means = {
        (QUANTUM, other): "1000",
        (other, QUANTUM): "1100",
        (QUANTUM, CLASSICAL): "1111",
        (other, CLASSICAL): "1110",
        (CLASSICAL, QUANTUM): "0000",
        (CLASSICAL, other): "1000",
    }
    for model in (QUANTUM, other, CLASSICAL):
        for seed in (0, 1):
            run.attacked(model, seed, 0.1, bits("1111"), bits("0000"))
    for (source, target), left in means.items():
        run.attacked(target, 0, 0.1, bits("1111"), bits(left), source=source)
    (transfer,) = board_of(run).transfers
    assert {pair: average.mean for pair, average in transfer.averages.items()} == {
        ("quantum", "quantum"): 0.375,
        ("quantum", "classical"): 0.875,
        ("classical", "quantum"): 0.125,
        # A single classical model has no other one to transfer to.
        ("classical", "classical"): None,
    }


def test_an_average_leaves_out_seeds_that_lack_a_pair() -> None:
    run = Run(n=4)
    other = Fake("other", "classical", 3, 0.1, 1)
    for seed in (0, 1):
        for model in (QUANTUM, CLASSICAL, other):
            run.attacked(model, seed, 0.1, bits("1111"), bits("0000"))
        run.attacked(CLASSICAL, seed, 0.1, bits("1111"), bits("1000"), source=QUANTUM)
    run.attacked(other, 0, 0.1, bits("1111"), bits("1111"), source=QUANTUM)
    (transfer,) = board_of(run).transfers
    average = transfer.averages["quantum", "classical"]
    assert average.by_seed == ((0, 0.625),)
    assert average.notes[0].status == "incomplete"
    assert average.notes[0].seeds == (1,)


def test_outcomes_that_contradict_their_record() -> None:
    run = Run(n=4)
    record = run.attacked(QUANTUM, 0, 0.1, bits("1111"), bits("1100"))
    run.columns[record.id]["adversarial_prediction"][0] += 1
    with pytest.raises(StoreError, match=r"robust accuracy 0.5, which its 4 per-image outcomes"):
        board_of(run)

"""Certificates of single images: the best of all, beside what attacks broke."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from pages import page_of, table_rows
from synthetic import CLASSICAL, QUANTUM, Run, bits, board_of, row_of

from qbench.errors import StoreError
from qbench.records.identity import Engine
from qbench.records.record import Device
from qbench.report.board import Board
from qbench.report.certificate_types import Certified
from qbench.report.collect import collect
from qbench.report.export import to_json
from qbench.report.figures import certified as figures
from qbench.report.seed_values import Note

ALL = bits("1111")


def proved(board: Board, norm: str = "linf") -> Certified:
    found = row_of(board, QUANTUM).proved(norm)
    assert found is not None
    return found


def means(found: Certified) -> dict[float, float | None]:
    return {eps: score.mean for eps, score in found.accuracy.items()}


def test_the_best_radius_of_each_image_counts_and_only_where_it_is_classified_correctly() -> None:
    run = Run(n=4)
    run.attacked(QUANTUM, 0, 0.05, bits("1110"), bits("1110"))
    run.certified(QUANTUM, 0, [0.2, 0.01, 0.0, 0.0], bits("1110"), certifier="one")
    run.certified(QUANTUM, 0, [0.1, 0.06, 0.0, 0.0], bits("1110"), certifier="two")
    found = proved(board_of(run))
    # A radius of ε certifies at ε; the attacked budget is reported too.
    assert means(found) == {0.01: 0.5, 0.05: 0.5, 0.1: 0.25}
    assert found.median.mean == 0.06
    one, two = found.by_certifier
    assert (one.certifier, two.certifier) == ("one", "two")
    assert [one.accuracy[e].mean for e in (0.01, 0.05, 0.1)] == [0.5, 0.25, 0.25]
    assert [two.accuracy[e].mean for e in (0.01, 0.05, 0.1)] == [0.5, 0.5, 0.25]
    assert (one.median.mean, two.median.mean) == (0.01, 0.06)
    # Of two certified images each is the best for one.
    assert (one.best.mean, two.best.mean) == (0.5, 0.5)


def test_the_nearest_adversarial_image_may_be_made_for_another_model() -> None:
    run = Run(n=4)
    for eps, left in ((0.05, "1110"), (0.1, "1100"), (0.2, "1000")):
        run.attacked(QUANTUM, 0, eps, bits("1111"), bits(left))
    run.attacked(QUANTUM, 0, 0.1, ALL, bits("1010"), source=CLASSICAL)
    # How far the image was moved stands with the attack on the model that it was made for.
    maker = run.attacked(CLASSICAL, 0, 0.1, ALL, ALL)
    run.columns[maker.id]["linf"] = np.full(4, 0.09, dtype=np.float32)
    run.certified(QUANTUM, 0, [0.01] * 4, bits("1111"))
    run.certified(QUANTUM, 0, [0.01] * 4, norm="l2")
    board = board_of(run)
    (images,) = proved(board).images
    assert images.distance == pytest.approx((np.inf, 0.09, 0.1, 0.05))
    (images,) = proved(board, "l2").images
    assert images.distance == pytest.approx((np.inf, 1.6, 1.6, 0.8))
    run.records.remove(maker)
    (without,) = proved(board_of(run)).images
    assert without.distance == pytest.approx((np.inf, 0.2, 0.1, 0.05))
    (apart,) = proved(collect(run.results, transferred=False)).images
    assert apart.distance == (np.inf,) * 4


def test_what_is_not_a_proof_enters_no_interval() -> None:
    run = Run(n=4)
    run.attacked(QUANTUM, 0, 0.1, bits("1110"), bits("1100"))
    run.certified(QUANTUM, 0, [0.02, 0.0, 0.0, 0.0], bits("1110"))
    # The smoothed model is right about an image that the model itself gets wrong.
    run.certified(
        QUANTUM, 0, [9.0] * 4, bits("1110"), certifier="smooth", smoothed=True, confidence=0.999
    )
    run.certified(QUANTUM, 0, [8.0] * 3 + [0.0], bits("1110"), certifier="likely", confidence=0.9)
    board = board_of(run)
    assert means(proved(board)) == {0.01: 0.25, 0.1: 0.0}
    assert [one.certifier for one in proved(board).by_certifier] == ["proof"]
    assert proved(board).images[0].radius == (0.02, 0.0, 0.0)
    likely, smooth = row_of(board, QUANTUM).probabilistic
    assert (likely.certifier, likely.smoothed, likely.confidence) == ("likely", False, 0.9)
    assert (smooth.certifier, smooth.smoothed, smooth.confidence) == ("smooth", True, 0.999)
    assert {eps: score.mean for eps, score in smooth.accuracy.items()} == {0.01: 1.0, 0.1: 1.0}
    page = page_of(run)
    assert table_rows(page, "Robust accuracy")[1][4] == "[0.000, 0.500]"
    assert "| the smoothed model (σ = 0.25) |        0.999 |      1.000 |" in page
    assert "| the model                     |          0.9 |      0.750 |" in page


def test_a_smoothed_certificate_that_failed_is_no_missing_proof() -> None:
    run = Run(n=4)
    for seed in (0, 1):
        run.attacked(QUANTUM, seed, 0.1, ALL, ALL)
        run.certified(QUANTUM, seed, [0.2] * 4)
    smooth = {"certifier": "smooth", "smoothed": True, "confidence": 0.999}
    run.certified(QUANTUM, 0, [0.2] * 4, **smooth)
    run.add("radii", QUANTUM, 1, certifier="smooth", status="failed", reason="too slow")
    board = board_of(run)
    assert proved(board).accuracy[0.1].notes == ()
    (one,) = row_of(board, QUANTUM).probabilistic
    assert one.accuracy[0.1].notes == (Note("failed", "too slow", (1,)),)


def test_a_certifier_that_only_sometimes_proves_is_taken_record_by_record() -> None:
    run = Run(n=4)
    run.attacked(QUANTUM, 0, 0.1, ALL, ALL)
    run.attacked(QUANTUM, 1, 0.1, ALL, ALL)
    run.certified(QUANTUM, 0, [0.2] * 4)
    run.certified(QUANTUM, 1, [0.2] * 4, confidence=0.5)
    run.add("radii", QUANTUM, 2, certifier="proof", status="failed", reason="it broke")
    board = board_of(run)
    assert Note("failed", "it broke", (2,)) in proved(board).by_certifier[0].median.notes
    score = proved(board).accuracy[0.1]
    assert score.by_seed == ((0, 1.0),)
    assert Note("missing", "only probabilistic certificates", (1,)) in score.notes
    assert row_of(board, QUANTUM).probabilistic[0].accuracy[0.1].by_seed == ((1, 1.0),)


def test_budgets_of_several_runs_are_several_questions_with_one_best_answer() -> None:
    run = Run(n=4)
    run.attacked(QUANTUM, 0, 0.1, ALL, ALL)
    run.certified(QUANTUM, 0, [0.01, 0.01, 0.0, 0.0], eps=(0.01, 0.1))
    run.certified(QUANTUM, 0, [0.0, 0.03, 0.03, 0.0], eps=(0.03,))
    found = proved(board_of(run))
    assert [one.certifier for one in found.by_certifier] == ["proof"]
    assert means(found) == {0.01: 0.75, 0.03: 0.5, 0.1: 0.0}


def test_norms_stay_apart() -> None:
    run = Run(n=4)
    run.attacked(QUANTUM, 0, 0.1, ALL, ALL)
    run.certified(QUANTUM, 0, [5.0] * 4, norm="l2", eps=(0.5, 1.0))
    run.certified(QUANTUM, 0, [0.05] * 4)
    board = board_of(run)
    assert board.certified_norms == ("linf", "l2")
    assert means(proved(board)) == {0.01: 1.0, 0.1: 0.0}
    assert means(proved(board, "l2")) == {0.5: 1.0, 1.0: 1.0}
    page = page_of(run)
    assert "attacks were bounded in ℓ∞, so no worst case stands beside it" in page
    assert "[1.000, 1.000]" not in page


def test_without_a_certifier_there_is_a_note() -> None:
    run = Run(n=4)
    reason = "no certifier covers the structure 'x'"
    run.attacked(QUANTUM, 0, 0.1, ALL, ALL)
    run.add("radii", QUANTUM, 0, status="skipped", reason=reason)
    page = page_of(run)
    assert f"1. skipped (every seed): radii: {reason}" in page
    assert "ertified" not in page
    # Beside a model that has one, its interval has no lower end.
    run.attacked(CLASSICAL, 0, 0.1, ALL, bits("0000"))
    run.certified(CLASSICAL, 0, [0.0] * 4)
    page = page_of(run)
    assert table_rows(page, "Robust accuracy")[1][1] == "qubit <sup>1</sup>"
    assert table_rows(page, "Robust accuracy")[1][4] == "[—, 1.000]"
    assert table_rows(page, "Robust accuracy")[2][4] == "[0.000, 0.000]"
    assert f"1. skipped (every seed): {reason}" in page
    assert "| qubit <sup>1</sup> |   1.000 |" in page


def test_nothing_is_lacking_where_a_certifier_does_not_cover_the_model() -> None:
    run = Run(n=4)
    for seed in (0, 1, 2):
        run.attacked(QUANTUM, seed, 0.1, ALL, ALL)
        run.certified(QUANTUM, seed, [0.2] * 4)
        run.add("radii", QUANTUM, seed, certifier="two", status="skipped", reason="too large")
    found = proved(board_of(run))
    assert found.accuracy[0.1].notes == ()
    assert found.by_certifier[1].median.notes == (Note("skipped", "too large", (0, 1, 2)),)


def test_certifiers_that_have_no_result_are_noted() -> None:
    run = Run(n=4)
    for seed in (0, 1, 2):
        run.attacked(QUANTUM, seed, 0.1, ALL, ALL)
    run.certified(QUANTUM, 0, [0.2] * 4)
    run.certified(QUANTUM, 1, [0.2] * 4)
    run.certified(QUANTUM, 0, [0.2] * 4, certifier="two")
    run.add("radii", QUANTUM, 1, certifier="two", status="failed", reason="it broke")
    found = proved(board_of(run))
    assert found.accuracy[0.1].by_seed == ((0, 1.0), (1, 1.0))
    assert found.accuracy[0.1].notes == (
        Note("incomplete", "no radii of two", (1,)),
        Note("missing", "no record", (2,)),
    )
    assert found.by_certifier[1].median.notes == (
        Note("failed", "it broke", (1,)),
        Note("missing", "no record", (2,)),
    )


@pytest.mark.parametrize("engine", [Engine(name="loud"), Engine(name="loud", shots=9)])
def test_certificates_bound_nothing_that_noise_or_shots_decided(engine: Engine) -> None:
    run = Run(n=4)
    run.attacked(QUANTUM, 0, 0.1, ALL, bits("0000"), engine=engine, device=Device(name="loud"))
    run.attacked(CLASSICAL, 0, 0.1, ALL, bits("1000"))
    for model in (QUANTUM, CLASSICAL):
        run.certified(model, 0, [0.2, 0.0, 0.0, 0.0])
    board = board_of(run)
    assert proved(board).images[0].distance == (np.inf,) * 4
    page = page_of(run)
    line, qubit = table_rows(page, "Robust accuracy")[1:]
    assert line[4] == "[0.250, 0.250]"
    assert qubit[4].startswith("[0.250, —]")
    (away,) = table_rows(page, "On other engines")[1:]
    assert away[0].startswith("qubit&#64;loud")
    assert away[-2] == "0.000"
    intervals = {r["model"]: r["intervals"] for r in json.loads(to_json(board))["rows"]}
    assert intervals["qubit"][0]["worst_case"] is None


def test_a_constant_model_has_no_finite_radius() -> None:
    run = Run(n=4)
    run.attacked(QUANTUM, 0, 0.1, ALL, ALL)
    run.certified(QUANTUM, 0, [np.inf] * 4)
    found = proved(board_of(run))
    assert found.accuracy[0.1].mean == 1.0
    assert found.median.mean is None
    assert found.median.notes == (Note("unbounded", "most images have no finite radius", (0,)),)
    for draw in (figures.accuracy, figures.radii):
        draw(board_of(run), "linf").canvas.draw()


def test_radii_that_contradict_their_record() -> None:
    run = Run(n=4)
    run.attacked(QUANTUM, 0, 0.1, ALL, ALL)
    record = run.certified(QUANTUM, 0, [0.1] * 4)
    run.columns[record.id]["prediction"][0] = 3
    with pytest.raises(StoreError, match="4 per-image radii do not give"):
        board_of(run)


def test_pairs_that_nobody_attacked_make_no_section() -> None:
    run = Run(n=4)
    for model in (CLASSICAL, replace(CLASSICAL, name="line-at", variant_of="line")):
        run.certified(model, 0, [0.2, 0.1, 0.0, 0.0])
    assert board_of(run).trained_pairs
    assert "Adversarial training" not in page_of(run)

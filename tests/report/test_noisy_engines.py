"""Rows of models on engines that are not exact: apart from the ranking, with what ran where."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pages import table_rows
from synthetic import CLASSICAL, QUANTUM, Run, bits

from qbench.records.identity import Engine
from qbench.records.record import Device
from qbench.report import summary_table
from qbench.report.board import Board
from qbench.report.collect import collect
from qbench.report.export import to_json
from qbench.report.page import page as render

ALL = bits("1111")
SHOTS = (Engine(name="statevector", shots=100), Device())
IDEAL = (
    Engine(name="aer:small", attacked="ideal"),
    Device(name="small", signal_scale=0.5),
)
HARDWARE = (
    Engine(name="ibm:big", shots=64, mitigation={"twirling": True}),
    Device(
        name="big",
        simulated=False,
        calibrated="2026-01-02T03:04:05Z",
        date="2026-01-03T00:00:00Z",
        jobs=["job<1>", "job2"],
    ),
)


def board_of(*engines: tuple[Engine, Device]) -> tuple[Run, Board]:
    run = Run(n=4)
    run.attacked(QUANTUM, 0, 0.1, ALL, bits("1110"))
    run.attacked(CLASSICAL, 0, 0.1, ALL, bits("1000"))
    for engine, device in engines:
        for attack, left in (("pgd", "1100"), ("square", "0110")):
            run.attacked(QUANTUM, 0, 0.1, ALL, bits(left), attack, engine=engine, device=device)
    return run, collect(run.results)


def test_ranks_are_those_of_exact_scores_alone() -> None:
    _, plain = board_of()
    _, board = board_of(SHOTS, IDEAL)
    assert [(r.rank, r.model.name, r.worst) for r in board.rows] == [
        (r.rank, r.model.name, r.worst) for r in plain.rows
    ]
    assert board.attacks == ("pgd",)
    assert plain.noisy == ()
    assert "On other engines" not in render(plain)


def test_a_row_for_each_engine_with_the_worst_case_of_each_image() -> None:
    _, board = board_of(SHOTS, IDEAL, HARDWARE)
    found = {row.engine: row for row in board.noisy}
    assert [row.kind for row in board.noisy] == ["device noise", "hardware", "shots"]
    for row in found.values():
        assert row.worst[0.1].mean == 0.25  # 1100 and 0110 leave one image
        assert row.clean.mean == 1.0
        # One seed whose images are robust or not: Wilson's interval for one of four.
        assert row.worst95[0.1] == pytest.approx((0.0456, 0.6994), abs=1e-4)
    assert found["aer:small"].signal.mean == 0.5
    assert found["aer:small"].attacks_saw == "ideal"
    assert found["statevector"].shots == 100


def test_the_interval_of_a_sampled_model_covers_images_and_fresh_passes() -> None:
    run, rng, n, passes = Run(n=200), np.random.default_rng(0), 200, 5
    # Half of the images are read correctly in four of five passes, the others in one.
    share = np.where(np.arange(n) < n // 2, 0.8, 0.2)
    right = rng.random((passes, n)) < share
    clean = np.ones((passes, n), dtype=bool)
    run.attacked(QUANTUM, 0, 0.1, clean, right, engine=SHOTS[0], device=SHOTS[1])
    (row,) = collect(run.results).noisy
    low, high = row.worst95[0.1] or (0.0, 0.0)
    # Over images Var(share) = 0.09, over passes 0.8 · 0.2 / 5 = 0.032 an image.
    assert (high - low) / 2 == pytest.approx(1.96 * ((0.09 + 0.032) / n) ** 0.5, rel=0.1)
    _, cells = table_rows(render(collect(run.results)), "On other engines")
    assert f"{low:.3f} to {high:.3f}" in cells
    (shown,) = json.loads(to_json(collect(run.results)))["noisy_engines"]
    assert shown["worst95"] == [{"eps": 0.1, "interval95": [low, high]}]


def test_the_page_carries_device_date_shots_and_jobs() -> None:
    run, board = board_of(SHOTS, HARDWARE, IDEAL)
    page = render(board)
    head, ideal, hardware, shots = table_rows(page, "On other engines")
    assert dict(zip(head, hardware, strict=True))["Kind"] == "hardware, twirling"
    assert "&#64;ibm:big:64" in dict(zip(head, hardware, strict=True))["Model"]
    assert "&#64;statevector:100" in dict(zip(head, shots, strict=True))["Model"]
    assert dict(zip(head, ideal, strict=True))["Attacks saw"] == "the ideal simulator"
    for part in ("2026-01-02", "2026-01-03", "job2", "twirling"):
        assert part in page
    assert "job<1>" not in page  # escaped
    rows = json.loads(to_json(board))["noisy_engines"]
    assert rows[1]["jobs"] == ["job2", "job<1>"]
    assert "ibm:big" in summary_table(run.results)


def test_the_same_function_on_two_engines_ranks_once_and_collides_nowhere() -> None:
    plain, run = Run(n=4), Run(n=4)
    for one in (plain, run):
        own = Engine(name="usual")
        one.attacked(QUANTUM, 0, 0.1, ALL, bits("1110"), engine=own)
        one.attacked(CLASSICAL, 0, 0.1, ALL, bits("1000"))
        one.attacked(CLASSICAL, 0, 0.1, ALL, bits("1100"), source=QUANTUM,
                     task={"source_engine": own})  # fmt: skip
        one.cards["qubit"] = one.cards["qubit"].model_copy(update={"engine": "usual"})
    for engine in (Engine(name="zoo"), Engine(name="lab", attacked="ideal")):
        run.attacked(QUANTUM, 0, 0.1, ALL, bits("1110"), engine=engine)
        run.attacked(CLASSICAL, 0, 0.1, ALL, bits("0000"), source=QUANTUM,
                     task={"source_engine": engine})  # fmt: skip
    board = collect(run.results)
    assert board.rows == collect(plain.results).rows
    assert board.transfers == collect(plain.results).transfers
    assert [(row.name, row.kind) for row in board.noisy] == [
        ("qubit@lab", "exact"),
        ("qubit@zoo", "exact"),
    ]
    assert {row.worst[0.1].mean for row in board.noisy} == {board.rows[0].worst.mean}


def test_of_what_a_device_counted_once_one_half_chooses_and_the_other_judges() -> None:
    run = Run(n=4)
    halves = {  # of two attacks: what is lucky in one half is not in the other
        "pgd": [[-0.2, 0.3, 0.1, 0.2], [0.4, 0.3, 0.2, -0.1]],
        "square": [[0.1, 0.2, 0.3, 0.3], [0.3, 0.2, -0.3, 0.1]],
    }
    for attack, margins in halves.items():
        record = run.attacked(
            QUANTUM, 0, 0.1, ALL, ALL, attack, engine=HARDWARE[0], device=HARDWARE[1]
        )
        run.columns[record.id] |= {
            "clean_half_margin": np.full((2, 4), 0.5, np.float16),
            "adversarial_half_margin": np.array(margins, np.float16),
        }
    (row,) = collect(run.results).noisy
    # Image 0: pgd is chosen by the first half and withstood in the second; by the second half
    # square, withstood in the first. Image 2: pgd, 0.2; square by the second, 0.3 in the first.
    # Image 3: pgd by the first, -0.1 in the second; pgd by the second, 0.2 in the first.
    assert row.worst[0.1].mean == (1 + 1 + 1 + 0.5) / 4


def test_what_was_skipped_there_is_a_note() -> None:
    run, _ = board_of(IDEAL)
    for attack in ("apgd", "pgd"):
        run.add("attack", QUANTUM, 1, attack=attack, eps=0.1, status="skipped",
                reason="no gradients here", engine=IDEAL[0])  # fmt: skip
    board = collect(run.results)
    (row,) = board.noisy
    assert [note.reason for note in row.notes] == [
        "apgd: no gradients here",
        "pgd: no gradients here",
    ]
    assert "no gradients here" in render(board)


def test_what_failed_on_an_exact_engine_stays_with_the_exact_ones() -> None:
    run = Run(n=4)
    engine = Engine(name="other")
    run.attacked(QUANTUM, 0, 0.1, ALL, bits("1100"), engine=engine)
    run.add("attack", QUANTUM, 0, attack="fab", eps=0.1, status="failed", reason="no",
            engine=engine)  # fmt: skip
    board = collect(run.results)
    assert board.noisy == ()
    assert board.attacks == ("fab", "pgd")


def test_without_any_exact_record_there_is_still_a_page() -> None:
    run = Run(n=4)
    run.attacked(QUANTUM, 0, 0.1, ALL, bits("1100"), engine=SHOTS[0], device=SHOTS[1])
    board = collect(run.results)
    assert "On other engines" in render(board)
    assert "statevector" in summary_table(run.results)


def test_what_counts_certify_is_the_lower_end_of_their_engines_row() -> None:
    run, plain = board_of(IDEAL, SHOTS)
    engine = IDEAL[0].model_copy(update={"attacked": "engine"})
    away = {"engine": engine, "device": IDEAL[1], "certifier": "counts", "confidence": 0.999}
    run.certified(QUANTUM, 0, [0.1, 0.02, 0.0, 0.0], **away)
    run.certified(QUANTUM, 0, [0.2, 0.1, 0.0, 0.0], norm="l2", **away)
    board = collect(run.results)
    assert board.rows == plain.rows  # nothing is said of the exact model
    found = {row.engine: row for row in board.noisy}
    row = found["aer:small"]
    certified = {one.norm: one for one in row.certified}
    assert certified["linf"].confidence == 0.999
    assert [values.mean for values in certified["linf"].accuracy.values()] == [0.5, 0.25]
    assert row.certified_at("l2", 0.1).mean == 0.5
    assert row.worst[0.1].mean == 0.25
    assert found["statevector"].certified == ()
    heads, noisy, _ = table_rows(render(board), "On other engines")
    assert "Certified, ℓ∞ ε = 0.1" in heads
    assert "0.999" in noisy
    assert "[0.250, 0.250]" in summary_table(run.results)
    (shown,) = [r for r in json.loads(to_json(board))["noisy_engines"] if r["certified"]]
    assert {one["norm"] for one in shown["certified"]} == {"linf", "l2"}


def test_an_engine_that_nothing_attacked_has_a_row_of_what_is_certified() -> None:
    run = Run(n=4)
    run.attacked(QUANTUM, 0, 0.1, ALL, bits("1110"))
    about = {"engine": SHOTS[0], "device": SHOTS[1], "certifier": "counts", "confidence": 0.999}
    run.certified(QUANTUM, 0, [0.1, 0.02, 0.0, 0.0], **about)
    (row,) = collect(run.results).noisy
    assert (row.attacks_saw, row.engine, row.shots) == (None, "statevector", 100)
    assert (row.clean.mean, row.certified_at("linf", 0.01).mean) == (1.0, 0.5)
    assert "statevector" in render(collect(run.results))

"""Rows of models on engines that are not exact: apart from the ranking, with what ran where."""

from __future__ import annotations

import json

from pages import table_rows
from synthetic import CLASSICAL, QUANTUM, Run, bits

from qbench.records import EngineRef
from qbench.reporting import summary_table
from qbench.reporting.machine import to_json
from qbench.reporting.markdown import render
from qbench.reporting.table import collect

ALL = bits("1111")
SHOTS = EngineRef(name="statevector", shots=100, exact=False)
TWIN = EngineRef(
    name="aer:small", shots=None, exact=False, device="small", crafted_on="twin", signal_scale=0.5
)
HARDWARE = EngineRef(
    name="ibm:big",
    shots=64,
    exact=False,
    device="big",
    calibrated="2026-01-02T03:04:05Z",
    date="2026-01-03T00:00:00Z",
    job_ids=["job<1>", "job2"],
    mitigation={"twirling": True},
)


def board_of(*engines: EngineRef):
    run = Run(n=4)
    run.attacked(QUANTUM, 0, 0.1, ALL, bits("1110"))
    run.attacked(CLASSICAL, 0, 0.1, ALL, bits("1000"))
    for place, engine in enumerate(engines):
        for attack, left in (("pgd", "1100"), ("square", "0110")):
            key = f"{place}{len(attack)}".rjust(64, "0")
            run.attacked(QUANTUM, 0, 0.1, ALL, bits(left), attack, engine=engine, key=key)
    return run, collect(run.records, run.images)


def test_ranks_are_those_of_exact_scores_alone() -> None:
    _, plain = board_of()
    _, board = board_of(SHOTS, TWIN)
    assert [(r.rank, r.model.name, r.worst) for r in board.rows] == [
        (r.rank, r.model.name, r.worst) for r in plain.rows
    ]
    assert board.attacks == ("pgd",)
    assert plain.elsewhere == ()
    assert "Sampled, noisy" not in render(plain)


def test_a_row_for_each_engine_with_the_worst_case_of_each_image() -> None:
    _, board = board_of(SHOTS, TWIN, HARDWARE)
    found = {row.engine: row for row in board.elsewhere}
    assert [row.kind for row in board.elsewhere] == ["device noise", "hardware", "shots"]
    for row in found.values():
        assert row.worst[0.1].mean == 0.25  # 1100 and 0110 leave one image
        assert row.clean.mean == 1.0
    assert found["aer:small"].signal.mean == 0.5
    assert found["aer:small"].crafted_on == "twin"
    assert found["statevector"].shots == 100


def test_the_page_carries_device_date_shots_and_jobs() -> None:
    run, board = board_of(SHOTS, HARDWARE)
    page = render(board)
    head, hardware, shots = table_rows(page, "Sampled, noisy and on hardware")
    assert dict(zip(head, hardware, strict=True))["Shots"] == "64"
    assert dict(zip(head, shots, strict=True))["Engine"] == "statevector"
    for part in ("2026-01-02", "2026-01-03", "job2", "twirling"):
        assert part in page
    assert "job<1>" not in page  # escaped
    rows = json.loads(to_json(board))["elsewhere"]
    assert rows[0]["job_ids"] == ["job2", "job<1>"]
    assert "ibm:big" in summary_table(run.records, run.images)


def test_what_was_skipped_there_is_a_note() -> None:
    run, _ = board_of(TWIN)
    run.add(
        "robust-accuracy",
        QUANTUM,
        0,
        attack="apgd",
        eps=0.1,
        status="skipped",
        reason="no gradients here",
        engine=TWIN,
    )
    board = collect(run.records, run.images)
    (row,) = board.elsewhere
    assert row.notes[0].reason == "apgd: no gradients here"
    assert "no gradients here" in render(board)


def test_without_any_exact_record_there_is_still_a_page() -> None:
    run = Run(n=4)
    run.attacked(QUANTUM, 0, 0.1, ALL, bits("1100"), engine=SHOTS)
    board = collect(run.records, run.images)
    assert "Sampled, noisy" in render(board)
    assert "statevector" in summary_table(run.records, run.images)

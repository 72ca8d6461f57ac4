"""Images from others on the board: they count, and are no attack that other models lack."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pages import page_of, table_rows
from synthetic import CLASSICAL, QUANTUM, Fake, Run, bits, board_of, row_of, sha

from qbench.records.identity import ChallengeId
from qbench.records.record import Record
from qbench.report.export import to_frame, to_json


def challenged(
    run: Run, model: Fake, seed: int, left: str, sender: str = "Jane", eps: float = 0.1, clean=None
) -> Record:
    """Images that somebody sent: those that are wrong afterwards are those that were sent."""
    adversarial = bits(left) if isinstance(left, str) else left
    clean = np.ones_like(adversarial) if clean is None else clean
    apart = Run(n=run.n)
    record = apart.attacked(model, seed, eps, clean, adversarial)
    columns = apart.columns[record.id]
    sent = ~np.atleast_2d(adversarial == clean).all(axis=0)
    columns["linf"] = np.where(sent, eps, 0).astype(np.float32)
    columns["l2"] = 16 * columns["linf"]
    task = ChallengeId(
        protocol=record.task.protocol,
        data=record.task.data,
        model=record.task.model,
        norm="linf",
        eps=eps,
        images_sha256=sha(sender, left if isinstance(left, str) else 0),
        sender=sender,
    )
    moved = record.model_copy(update={"task": task, "label": f"sent by {sender}"})
    run.records.append(moved)
    run.columns[moved.id] = columns
    return moved


def two_models() -> Run:
    run = Run(n=4)
    run.attacked(QUANTUM, 0, 0.1, bits("1111"), bits("1110"))
    run.attacked(CLASSICAL, 0, 0.1, bits("1111"), bits("1100"))
    return run


def test_they_lower_the_worst_case_and_the_rank() -> None:
    run = two_models()
    before = board_of(run)
    assert (row_of(before, QUANTUM).rank, row_of(before, CLASSICAL).rank) == (1, 2)
    challenged(run, QUANTUM, 0, "0111")
    challenged(run, QUANTUM, 0, "1011", "Joe")
    after = board_of(run)
    assert row_of(after, QUANTUM).worst.by_seed == ((0, 0.25),)
    assert row_of(after, CLASSICAL).worst == row_of(before, CLASSICAL).worst
    assert (row_of(after, QUANTUM).rank, row_of(after, CLASSICAL).rank) == (2, 1)


def test_they_are_no_attack_that_others_lack() -> None:
    run = two_models()
    before = board_of(run)
    run.attacked(QUANTUM, 0, 0.2, bits("1111"), bits("0000"))
    challenged(run, QUANTUM, 0, "0111")
    challenged(run, QUANTUM, 0, "0011", eps=0.3)  # where nothing else attacked: no column either
    board = board_of(run)
    assert board.attacks == before.attacks == ("pgd",)
    assert board.budgets == (0.1, 0.2)
    for model in (QUANTUM, CLASSICAL):
        assert row_of(board, model).worst.notes == ()
        assert row_of(board, model).flags == row_of(before, model).flags
    assert row_of(board, QUANTUM).worst_at[0.2].by_seed == ((0, 0.0),)


def test_what_was_not_sent_says_nothing_of_a_stochastic_model() -> None:
    run = Run(n=2)
    # The attack leaves both images in every pass; clean passes of the other run were unlucky.
    passes = np.array([[True, True], [True, True]])
    run.attacked(QUANTUM, 0, 0.1, passes, passes)
    unlucky = np.array([[True, False], [True, False]])
    broken = np.array([[False, False], [False, False]])
    record = challenged(run, QUANTUM, 0, broken, clean=unlucky)
    assert run.columns[record.id]["linf"].tolist() == [pytest.approx(0.1), 0]
    # Image 0 falls in both passes, image 1 was not sent.
    assert row_of(board_of(run), QUANTUM).worst.by_seed == ((0, 0.5),)


def test_the_page_says_whose_they_are_and_what_they_added() -> None:
    run = two_models()
    assert "sent by others" not in page_of(run)
    run.attacked(QUANTUM, 0, 0.1, bits("1111"), bits("1011"), source=CLASSICAL)
    challenged(run, QUANTUM, 0, "0010", "<b>J|ane</b> www.example.org")
    page = page_of(run)
    head, row = table_rows(page, "Images sent by others")
    assert head == ["Model", "Seed", "ε", "Sent by", "Sent", "Broke it", "Nothing else did"]
    assert row[:3] == ["qubit", "0", "0.1"]
    assert row[3] == r"&lt;b&gt;J\|ane&lt;/b&gt; www&#46;example.org"
    # Of three, pgd broke the last and an image made for the other model the second.
    assert row[4:] == ["3", "3", "1"]
    assert "<b>" not in page
    data = json.loads(to_json(board_of(run)))
    assert [one["alone"] for one in data["challenges"]] == [1]
    frame = to_frame(run.results)
    assert frame[frame.kind == "challenge"].attack.tolist() == [
        "sent by <b>J|ane</b> www.example.org"
    ]


def test_an_image_that_was_sent_is_the_nearest_on_record() -> None:
    run = two_models()
    run.certified(QUANTUM, 0, [0.05, 0.05, 0.05, 0.01])
    record = challenged(run, QUANTUM, 0, "0111")
    run.columns[record.id]["linf"][0] = np.float32(0.0625)
    (certified,) = row_of(board_of(run), QUANTUM).certified
    (images,) = certified.images
    # The last one fell to the attack on record.
    assert images.distance == pytest.approx((0.0625, np.inf, np.inf, 0.1))

from __future__ import annotations

import numpy as np
import pytest
from costs import attack_costs
from simulated import full_run
from synthetic import Fake, Run

from qbench.errors import StoreError
from qbench.records.record import Cost

A, B = Fake("a", "quantum", 1, 0.1, 1), Fake("b", "classical", 1, 0.1, 1)
YES = np.ones(4, dtype=np.bool_)


def tables(page: str) -> list[list[list[str]]]:
    found = []
    for part in page.split("### ")[1:]:
        rows = [line for line in part.splitlines() if line.startswith("|")]
        cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]
        found.append(cells[:1] + cells[2:] if cells else [])
    return found


def test_costs_by_hand() -> None:
    run = Run(n=4)
    half = np.array([True, True, False, False])
    for seed, seconds in ((0, 1.0), (1, 2.0)):
        cost = Cost(wall_s=seconds, forward=164, gradient=160)
        run.attacked(A, seed, 0.1, YES, YES if seed else half, attack="slow:steps=9", cost=cost)
        cheap = Cost(wall_s=0.0002, forward=8, gradient=0)
        run.attacked(A, seed, 0.1, YES, YES, attack="quick", cost=cheap)
        # Neither another budget nor transferred images count.
        for eps in (0.05, 0.2, 0.3, 0.4):
            run.attacked(A, seed, eps, YES, half, attack="quick")
        run.attacked(A, seed, 0.1, YES, half, attack="quick", source=B)
        run.add("attack", B, seed, attack="quick", eps=0.1, status="skipped", reason="no | way")
    accuracy, seconds, passes, _ = tables(attack_costs(run.results))
    head = ["Attack", "b", "a"]
    # (1 + 2) / 2 seconds for 4 images are 75 for 200; the slower attack comes last.
    assert accuracy == [head, ["quick", "—", "1.000"], ["slow:steps=9", "—", "0.750"]]
    assert seconds == [head, ["quick", "—", "0.01"], ["slow:steps=9", "—", "75.0"]]
    assert passes == [head, ["quick", "—", "2 / 0"], ["slow:steps=9", "—", "41 / 40"]]
    assert r"- quick skipped (b): no \| way" in attack_costs(run.results)


def test_the_order_of_records_does_not_matter() -> None:
    run = full_run(attacks=("pgd", "fgsm"), seeds=(0, 1), n=8)
    page = attack_costs(run.results)
    run.records.reverse()
    assert attack_costs(run.results) == page


def test_without_attacks() -> None:
    run = Run()
    run.add("training", A, 0, status="failed", reason="no")
    assert attack_costs(run.results) == "No attack has a result.\n"
    with pytest.raises(StoreError, match="no records"):
        attack_costs(Run().results)

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
from pages import page_of, small_run, table_rows
from simulated import MODELS, full_run
from synthetic import QUANTUM, Fake, Run, card


def two_attacks() -> Run:
    run = Run(n=4)
    yes = np.ones(4, dtype=np.bool_)
    for eps, one, other in ((0.05, "1111", "1110"), (0.1, "1100", "0110")):
        for attack, kept in (("pgd", one), ("square", other)):
            run.attacked(QUANTUM, 0, eps, yes, np.array([c == "1" for c in kept]), attack)
    return run


def test_several_attacks_are_ranked_by_the_worst_case_with_pgd_beside_it() -> None:
    page = page_of(two_attacks())
    assert table_rows(page, "Robust accuracy at ε = 0.1") == [
        ["Rank", "Model", "Family", "Clean", "Worst case", "Flags"],
        ["1", "qubit", "quantum", "1.000", "0.250", "⚑ 1"],
    ]
    assert table_rows(page, "Every budget")[1] == ["qubit", "1.000", "0.750", "**0.250**"]
    alone = page.split("Under pgd alone, the attack that stands for all")[1]
    assert "| qubit   |      1.000 |     0.500 |" in alone
    assert "ranked by worst-case robust accuracy at ε = 0.1, then" in page
    assert "- **Attacks:** pgd, square\n" in page


def test_every_attack_beside_every_model() -> None:
    run = two_attacks()
    other = Fake("line", "classical", 5, 0.1, 1)
    yes = np.ones(4, dtype=np.bool_)
    run.attacked(other, 0, 0.1, yes, np.array([True, False, False, False]), "pgd")
    run.add("attack", other, 0, attack="square", eps=0.1, status="failed", reason="too slow")
    run.attacked(other, 0, 0.1, yes, yes, "fab")
    run.attacked(QUANTUM, 0, 0.1, yes, np.array([True, False, False, False]), "fab")
    page = page_of(run)
    assert table_rows(page, "Every attack at ε = 0.1") == [
        ["Attack", "line", "qubit"],
        # Means over models: fab 5/8, square 1/2 (of one model), pgd 3/8; the strongest last.
        ["fab", "1.000", "**0.250**"],
        ["square", "— <sup>3</sup>", "0.500"],
        ["pgd", "**0.250**", "0.500"],
        ["worst case", "0.250", "0.000"],
    ]
    assert "<details><summary>Parameters of the attacks</summary>\n\n- fab: restarts 1" in page
    assert re.search(r"^3\. failed \(every seed\): too slow$", page, re.M)
    # The main table says that the worst case lacks an attack.
    assert re.search(r"^\d+\. incomplete \(every seed\): no result of square$", page, re.M)


def test_attacks_that_are_all_equal_have_no_strongest() -> None:
    run = Run(n=4)
    yes = np.ones(4, dtype=np.bool_)
    for attack in ("fgsm", "pgd"):
        run.attacked(QUANTUM, 0, 0.1, yes, yes, attack)
    rows = table_rows(page_of(run), "Every attack at ε = 0.1")
    assert [row[1] for row in rows] == ["qubit", "1.000", "1.000", "1.000"]


def test_transfer_of_every_attack_with_one_matrix_open() -> None:
    page = page_of(full_run(models=MODELS[-3:], attacks=("fab", "pgd", "square"), seeds=(0,), n=20))
    assert len(table_rows(page, "Transfer of fab at ε = 0.1")) == 4
    assert "## Transfer of pgd" not in page
    head, *rows = table_rows(page, "Transfer within and across families")
    assert head == [
        "Attack",
        "classical → classical",
        "classical → quantum",
        "quantum → classical",
    ]
    assert [row[0] for row in rows[:3]] == ["fab", "pgd", "square"]
    folded = re.findall(r"<summary>Transfer of (\w+) at ε = 0.1: the matrix</summary>", page)
    assert folded == ["pgd", "square"]
    assert page.count("<details>") == page.count("</details>") == 4


def test_what_transferred_images_add_is_said() -> None:
    run = small_run()
    other = Fake("line", "classical", 5, 0.1, 1)
    no, yes = np.zeros(4, dtype=np.bool_), np.ones(4, dtype=np.bool_)
    for seed in (0, 1):
        run.attacked(other, seed, 0.1, yes, no)
        run.attacked(QUANTUM, seed, 0.1, yes, no, source=other)
        run.attacked(other, seed, 0.1, yes, yes, source=QUANTUM)
    page = page_of(run)
    assert "| qubit | 0.750 ± 0.354 | 0.000 ± 0.000 | −0.750 |" in " ".join(page.split())
    assert "They count: the worst case at ε = 0.1 falls" in page


_VARIANTS = (("hardened", "net"), ("lone-at", "gone"))


def test_adversarial_training_pairs() -> None:
    run = Run(n=4)
    plain = Fake("net", "classical", 1, 0.1, 1)
    trained, lone = (replace(plain, name=name, variant_of=of) for name, of in _VARIANTS)
    yes = np.ones(4, dtype=np.bool_)
    run.attacked(plain, 0, 0.1, yes, np.array([True, False, False, False]))
    run.attacked(trained, 0, 0.1, np.array([True, True, True, False]), yes)
    run.attacked(lone, 0, 0.1, yes, yes)
    assert table_rows(page_of(run), "Adversarial training") == [
        ["Trained on attacked images", "Instead of", "Clean accuracy",
         "pgd, ε = 0.1", "Gain", "p (Holm)"],
        # 2 to 0 images: p = 1/2, times three pairs.
        ["hardened", "net", "1.000 → 0.750", "0.250 → 0.750", "+0.500", "1"],
    ]  # fmt: skip
    # A variant that was trained on clean images is no such pair.
    run.cards["hardened"] = card(plain).model_copy(update={"variant_of": "net"})
    assert "## Adversarial training" not in page_of(run)

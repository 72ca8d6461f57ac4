from __future__ import annotations

import re

import numpy as np
from pages import page_of, small_run, table_rows
from simulated import MODELS, full_run
from synthetic import QUANTUM, Fake, Run

from qbench.reporting import summary_table


def two_attacks() -> Run:
    run = Run(n=4)
    yes = np.ones(4, dtype=np.bool_)
    for eps, one, other in ((0.05, "1111", "1110"), (0.1, "1100", "0110")):
        for attack, kept in (("pgd", one), ("square", other)):
            run.attacked(QUANTUM, 0, eps, yes, np.array([c == "1" for c in kept]), attack)
    return run


def test_several_attacks_are_ranked_by_the_worst_case_with_pgd_beside_it() -> None:
    page = page_of(two_attacks())
    head, row = table_rows(page, "Robust accuracy")
    assert dict(zip(head, row, strict=True)) == {
        "Rank": "1",
        "Model": "qubit",
        "Family": "quantum",
        "Parameters": "3",
        "Clean accuracy": "1.000",
        "Worst case, ε = 0.05": "0.750",
        "Worst case, ε = 0.1": "**0.250**",
        "pgd, ε = 0.05": "1.000",
        "pgd, ε = 0.1": "0.500",
        "Seeds": "1",
    }
    assert "ranked by worst-case robust accuracy at ε = 0.1 (bold)" in page
    assert "- **Attacks:** pgd, square\n" in page
    assert "--attacks pgd,square --protocol" in page


def test_every_attack_beside_every_model() -> None:
    run = two_attacks()
    other = Fake("line", "classical", 5, 0.1, 1)
    yes = np.ones(4, dtype=np.bool_)
    run.attacked(other, 0, 0.1, yes, np.array([True, False, False, False]), "pgd")
    run.add(
        "robust-accuracy", other, 0, attack="square", eps=0.1, status="failed", reason="too slow"
    )
    run.attacked(other, 0, 0.1, yes, yes, "fab")
    run.attacked(QUANTUM, 0, 0.1, yes, np.array([True, False, False, False]), "fab")
    page = page_of(run)
    assert table_rows(page, "Every attack at ε = 0.1") == [
        ["Attack", "line", "qubit"],
        # Means over models: fab 5/8, square 1/2 (of one model), pgd 3/8; the strongest last.
        ["fab", "1.000", "**0.250**"],
        ["square", "— <sup>4</sup>", "0.500"],
        ["pgd", "**0.250**", "0.500"],
        ["worst case", "0.250", "0.000"],
    ]
    assert "<details><summary>Parameters of the 3 attacks</summary>\n\n- fab: restarts 1" in page
    assert re.search(r"^4\. failed \(every seed\): too slow$", page, re.M)
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
    assert len(table_rows(page, "Transfer of pgd at ε = 0.1")) == 4
    assert "## Transfer of fab" not in page
    head, *rows = table_rows(page, "Transfer within and across families")
    assert head == [
        "Attack",
        "classical → classical",
        "classical → quantum",
        "quantum → classical",
    ]
    assert [row[0] for row in rows[:3]] == ["fab", "pgd", "square"]
    folded = re.findall(r"<summary>Transfer of (\w+) at ε = 0.1: the matrix</summary>", page)
    assert folded == ["fab", "square"]
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
    assert "| qubit   |          0.750 ± 0.354 |            0.000 ± 0.000 |       −0.750 |" in page
    assert "with both, the robust accuracy at ε = 0.1 falls" in page


def test_adversarial_training_pairs() -> None:
    run = Run(n=4)
    plain, trained = Fake("net", "classical", 1, 0.1, 1), Fake("net-at", "classical", 1, 0.1, 1)
    lone = Fake("lone-at", "classical", 1, 0.1, 1)
    yes = np.ones(4, dtype=np.bool_)
    run.attacked(plain, 0, 0.1, yes, np.array([True, False, False, False]))
    run.attacked(trained, 0, 0.1, np.array([True, True, True, False]), yes)
    run.attacked(lone, 0, 0.1, yes, yes)
    assert table_rows(page_of(run), "Adversarial training") == [
        ["Trained on attacked images", "Instead of", "Clean accuracy",
         "pgd, ε = 0.1", "Gain", "p (Holm)"],
        # 2 to 0 images: p = 1/2, times three pairs.
        ["net-at", "net", "1.000 → 0.750", "0.250 → 0.750", "+0.500", "1"],
    ]  # fmt: skip
    other = run.records[1].target.model_copy(update={"structure": "another"})
    run.records[1] = run.records[1].model_copy(update={"target": other})
    assert "## Adversarial training" not in page_of(run)


def test_hostile_labels_stay_words() -> None:
    label = "x:y=<b>|@me`\n## `"
    run = two_attacks()
    run.attacked(QUANTUM, 0, 0.1, *2 * [np.ones(4, dtype=np.bool_)], label)
    other = Fake("line", "classical", 5, 0.1, 1)
    for target, source in ((QUANTUM, other), (other, QUANTUM)):
        run.attacked(target, 0, 0.1, *2 * [np.ones(4, dtype=np.bool_)], label, source)
    page = page_of(run)
    # Code is shown as it is.
    assert "<b>" not in re.sub(r"```console\n.*?```", "", page, flags=re.DOTALL)
    assert "\n## `" not in page
    assert "<summary>Transfer of x:y=&lt;b&gt;|&#64;me` ## ` at ε = 0.1: the matrix" in page
    for section in ("Every attack at ε = 0.1", "Transfer within and across families"):
        rows = table_rows(page, section)
        assert len({len(row) for row in rows[:3]}) == 1
    assert "\x1b" not in summary_table(run.records, run.images)

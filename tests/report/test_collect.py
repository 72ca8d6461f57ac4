from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simulated import MODELS, full_run
from synthetic import CLASSICAL, QUANTUM, Fake, Run, bits, board_of, row_of, sha

from qbench.errors import StoreError, UsageError
from qbench.records.identity import Data, Method, Protocol
from qbench.records.record import LipschitzMetrics
from qbench.report.seed_values import Note
from qbench.report.transfer import Setting

PGD = Setting("pgd", 0.1)


def test_accuracies_are_means_and_sample_stds_over_seeds() -> None:
    run = Run(n=4)
    run.attacked(QUANTUM, 0, 0.1, bits("1111"), bits("1100"))
    # The last image is right only after the attack: adversarially accurate, not robust.
    run.attacked(QUANTUM, 1, 0.1, bits("1110"), bits("1111"))
    row = row_of(board_of(run), QUANTUM)
    assert row.clean.by_seed == ((0, 1.0), (1, 0.75))
    assert row.robust[PGD].by_seed == ((0, 0.5), (1, 0.75))
    assert row.robust[PGD].mean == 0.625
    assert row.robust[PGD].std == pytest.approx(0.125 * 2**0.5)
    assert (row.model.parameters, row.seeds, row.rank) == (3, (0, 1), 1)


def test_only_the_ranking_budget_decides() -> None:
    run = Run(n=4)
    for eps, quantum, classical in ((0.05, "1111", "1110"), (0.1, "1000", "1100")):
        run.attacked(QUANTUM, 0, eps, bits("1111"), bits(quantum))
        run.attacked(CLASSICAL, 0, eps, bits("1111"), bits(classical))
    assert [row.model.name for row in board_of(run).rows] == ["line", "qubit"]
    preferring = board_of(run, eps=0.05)
    assert [row.model.name for row in preferring.rows] == ["qubit", "line"]
    with pytest.raises(UsageError, match=r"ε = 0.07: rank at one of 0.05, 0.1"):
        board_of(run, eps=0.07)


def test_ties_go_by_clean_accuracy_then_by_name() -> None:
    run = Run(n=4)
    for name, clean in (("c", "1110"), ("b", "1110"), ("a", "1100"), ("d", "1111")):
        model = Fake(name, "quantum", 1, 0.1, 1)
        run.attacked(model, 0, 0.1, bits(clean), bits("1000"))
    ranked = [(row.rank, row.model.name) for row in board_of(run).rows]
    assert ranked == [(1, "d"), (2, "b"), (3, "c"), (4, "a")]


def test_what_was_not_measured_is_last_and_says_why() -> None:
    run = Run(n=4)
    broken = Fake("a-first-by-name", "quantum", 1, 0.1, 1)
    for seed in (0, 1):
        run.add("training", broken, seed, status="failed", reason="diverged")
        reason = "needs the training, which failed"
        run.add("attack", broken, seed, attack="pgd", eps=0.1, status="skipped", reason=reason)
        # Nothing right is still a result, and ranks before none.
        run.attacked(QUANTUM, seed, 0.1, bits("0000"), bits("0000"))
    first, last = board_of(run).rows
    assert (first.rank, first.model.name) == (1, "qubit")
    assert (last.rank, last.model.name, last.model.parameters) == (None, "a-first-by-name", 1)
    assert last.notes == (Note("failed", "training: diverged", (0, 1)),)
    assert last.robust[PGD].notes == (Note("skipped", reason, (0, 1)),)
    assert last.worst.mean is last.clean.mean is None


def test_seeds_without_a_record_are_missing() -> None:
    run = Run(n=4)
    run.attacked(QUANTUM, 0, 0.1, bits("1111"), bits("1111"))
    run.attacked(CLASSICAL, 0, 0.1, bits("1111"), bits("1111"))
    run.attacked(CLASSICAL, 1, 0.1, bits("1111"), bits("1111"))
    row = row_of(board_of(run), QUANTUM)
    assert row.robust[PGD].notes == (Note("missing", "no record", (1,)),)
    assert row.clean.notes == (Note("missing", "no record", (1,)),)
    assert row.robust[PGD].std is None


def test_attacks_go_by_label() -> None:
    run = Run(n=4)
    run.attacked(QUANTUM, 0, 0.1, bits("1111"), bits("1110"), attack="pgd")
    run.attacked(QUANTUM, 0, 0.1, bits("1111"), bits("1100"), attack="pgd:restarts=5:steps=100")
    board = board_of(run)
    assert board.attacks == ("pgd", "pgd:restarts=5:steps=100")
    assert board.about.attacks[1][1] == "restarts 5, step_size 0.00625, steps 100"
    assert board.reference == "pgd"
    (row,) = board.rows
    assert {s.attack: score.mean for s, score in row.robust.items()} == {
        "pgd": 0.75,
        "pgd:restarts=5:steps=100": 0.5,
    }


def test_transfer_has_adversarial_accuracy_and_the_attack_itself_on_the_diagonal() -> None:
    run = Run(n=4)
    run.attacked(QUANTUM, 0, 0.1, bits("1110"), bits("1001"))
    run.attacked(CLASSICAL, 0, 0.1, bits("1111"), bits("1000"))
    run.attacked(CLASSICAL, 0, 0.1, bits("1111"), bits("1110"), source=QUANTUM)
    (transfer,) = board_of(run).transfers
    assert transfer.models == ("line", "qubit")
    means = {pair: score.mean for pair, score in transfer.entries.items()}
    assert means == {
        ("qubit", "qubit"): 0.5,
        ("line", "line"): 0.25,
        ("qubit", "line"): 0.75,
        ("line", "qubit"): None,
    }
    assert transfer.entries["line", "qubit"].notes == (Note("missing", "no record", (0,)),)


def certified(run: Run, seed: int, certifier: str, bound: float, sampled: float) -> None:
    metrics = LipschitzMetrics(bound=bound, sampled_jacobian=sampled, points=9, scope="vector")
    run.add("lipschitz", QUANTUM, seed, certifier=certifier, metrics=metrics)


def test_lipschitz_bounds() -> None:
    run = Run(n=4)
    for seed, bound, sampled in ((0, 10.0, 2.0), (1, 12.0, 6.0)):
        certified(run, seed, "loose", 2 * bound, sampled)
        certified(run, seed, "tight", bound, sampled)
    run.add("lipschitz", QUANTUM, 0, certifier="absent", status="skipped", reason="no solver")
    row = row_of(board_of(run), QUANTUM)
    assert [entry.certifier for entry in row.bounds] == ["absent", "loose", "tight"]
    assert row.tightest is not None
    assert (row.tightest.certifier, row.tightest.bound.mean) == ("tight", 11.0)
    # 12 / 6 and not 11 / 6: a ratio compares a bound with the same weights.
    assert (row.tightest.sampled.mean, row.tightest.slack) == (4.0, 2.0)
    assert row.bounds[0].bound.notes[1] == Note("skipped", "no solver", (0,))


def test_nothing_to_report() -> None:
    with pytest.raises(StoreError, match="no records"):
        board_of(Run())


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chance=st.randoms())
def test_the_order_of_records_does_not_matter(chance: random.Random) -> None:
    run = full_run(models=MODELS[-3:], seeds=(0, 1), attacks=("fgsm", "pgd"), n=12)
    before = board_of(run)
    chance.shuffle(run.records)
    assert board_of(run) == before


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"protocol": Protocol(name="other", sha256=sha(1))}, "more than one protocol"),
        ({"protocol": Protocol(name="glyphs-linf-v1", sha256=sha(1))}, "more than one protocol"),
        (
            {"data": Data(name="glyphs", sha256=sha("data"), split="test", images=20)},
            "more than one number of images .* 20; 4",
        ),
        (
            {"data": Data(name="glyphs", sha256=sha(1), split="test", images=4)},
            "more than one data set",
        ),
        ({"norm": "l2"}, "more than one norm of attacks"),
    ],
)
def test_records_that_do_not_belong_together(task: dict[str, Any], message: str) -> None:
    run = Run(n=4)
    run.attacked(QUANTUM, 0, 0.1, bits("1111"), bits("1111"))
    run.attacked(QUANTUM, 0, 0.2, bits("1111"), bits("1111"), task=task)
    with pytest.raises(StoreError, match=message) as error:
        board_of(run)
    assert "\n" not in str(error.value)


def test_one_model_and_seed_have_one_set_of_weights() -> None:
    run = Run(n=4)
    run.attacked(QUANTUM, 0, 0.1, bits("1111"), bits("1111"))
    run.attacked(QUANTUM, 0, 0.2, bits("1111"), bits("1111"), weights=sha("others"))
    with pytest.raises(StoreError, match="more than one set of weights of qubit seed 0"):
        board_of(run)


def test_two_results_for_one_question() -> None:
    run = Run(n=4)
    run.attacked(QUANTUM, 0, 0.1, bits("1111"), bits("1111"))
    way = {"attack": Method(name="pgd", params={"steps": 3})}
    run.attacked(QUANTUM, 0, 0.1, bits("1111"), bits("1111"), task=way)
    with pytest.raises(StoreError, match=r"two results for the attack of qubit seed 0") as one:
        board_of(run)
    run.records.reverse()
    with pytest.raises(StoreError) as other:
        board_of(run)
    assert str(one.value) == str(other.value)
    assert "they differ in attack" in str(one.value)


def test_a_part_of_a_run_has_the_same_numbers_and_flags() -> None:
    run = full_run(models=MODELS[-3:], seeds=(0, 1), attacks=("fgsm", "pgd"), n=12, certified=True)
    whole = {row.model.name: row for row in board_of(run).rows}
    for row in board_of(run.only(*MODELS[-2:])).rows:
        beside = whole[row.model.name]
        for name in ("clean", "robust", "worst_at", "bounds", "probabilistic", "seeds"):
            assert getattr(row, name) == getattr(beside, name), name
        # Flags about transferred images need the model that they were made for.
        about = [one for one in beside.flags if one.name != "transfer-stronger"]
        assert [one for one in row.flags if one.name != "transfer-stronger"] == about

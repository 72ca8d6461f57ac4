"""Runs on an engine other than exact simulation: what is skipped, what is repeated, what stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from qbench.engines import create_engine
from qbench.errors import Unsupported, UsageError
from qbench.plan import RunSelection, make_plan
from qbench.records import Record
from qbench.registry import load_registry
from qbench.running import run_task
from qbench.specs import EngineSpec
from qbench.store import from_npz

SMALL = RunSelection(models=["reup"], attacks=["pgd"], seeds=[0], limit=6, eps=[0.1])


class Blurred:
    """Probabilities mixed with uniform noise, without gradients: a device, made small."""

    name, exact, differentiable = "blurred", False, False

    def probabilities(self, circuit, angles, state=None):
        if angles.requires_grad and torch.is_grad_enabled():
            raise Unsupported("blurred gives no gradients")
        exact = create_engine("torch").probabilities(circuit, angles, state)
        return 0.5 * exact + 0.5 / exact.shape[1]


SPEC = EngineSpec(
    name="blurred",
    description="half noise",
    factory="tests:Blurred",
    exact=False,
    differentiable=False,
)


@pytest.fixture
def blurred(monkeypatch):
    registry = load_registry(())
    provided = registry.get("engine", "torch")
    monkeypatch.setitem(registry._specs["engine"], "blurred", replace(provided, spec=SPEC))
    original = EngineSpec.resolve
    monkeypatch.setattr(
        EngineSpec, "resolve", lambda spec: Blurred if spec is SPEC else original(spec)
    )


def run(selection: RunSelection) -> dict[str, tuple[Record, dict[str, np.ndarray]]]:
    done = {}
    for task in make_plan(selection):
        done[task.key] = run_task(task, {need: done[need] for need in task.needs})
    found = {}
    for outcome in done.values():
        record = outcome.record
        columns = from_npz(outcome.files[record.images.file]) if record.images else {}
        found[record.task] = (record, columns)
    return found


def test_shots_repeat_the_scoring_and_the_attack_sees_their_mean() -> None:
    found = run(replace(SMALL, shots=50))
    record, columns = found["robust-accuracy"]
    assert record.status == "done", record.reason
    assert record.engine is not None
    assert (record.engine.name, record.engine.shots) == ("statevector", 50)
    assert not record.engine.exact
    assert columns["adversarial_prediction"].shape == (10, 6)
    assert columns["adversarial_margin"].std(axis=0).min() > 0  # fresh shots in every pass
    assert record.cost.forward > 8 * 40 * 6  # 8 passes for each step
    exact = run(SMALL)["robust-accuracy"][0]
    assert exact.engine is not None
    assert exact.engine.exact
    assert exact.engine.shots is None
    assert exact.key != record.key


def test_certificates_and_training_are_of_the_exact_circuit() -> None:
    def keys(**changed):
        plan = make_plan(replace(SMALL, **changed))
        return {t.key for t in plan if t.kind in ("training", "lipschitz", "certification")}

    assert keys() == keys(shots=50)


def test_the_default_engine_by_name_is_the_same_task() -> None:
    assert [t.key for t in make_plan(SMALL)] == [
        t.key for t in make_plan(replace(SMALL, engine="statevector"))
    ]
    assert [t.key for t in make_plan(SMALL)] != [
        t.key for t in make_plan(replace(SMALL, engine="torch"))
    ]


def test_classical_models_run_on_no_engine() -> None:
    classical = replace(SMALL, models=["fourier"])
    assert [t.key for t in make_plan(classical)] == [
        t.key for t in make_plan(replace(classical, shots=10))
    ]


@pytest.mark.usefixtures("blurred")
def test_without_gradients_a_white_box_attack_is_skipped_and_its_twin_is_not() -> None:
    noisy = replace(SMALL, engine="blurred", attacks=["pgd"])
    record, _ = run(noisy)["robust-accuracy"]
    assert record.status == "skipped"
    assert "pgd needs gradients, which engine blurred does not give" in str(record.reason)
    assert "--craft-on twin" in str(record.reason)
    record, columns = run(replace(noisy, twin=True))["robust-accuracy"]
    assert record.status == "done", record.reason
    assert record.engine is not None
    assert record.engine.crafted_on == "twin"
    exact = run(SMALL)["robust-accuracy"][1]
    # The engine halves every score, so predictions stay and margins are halved.
    np.testing.assert_allclose(2 * columns["clean_margin"], exact["clean_margin"], atol=1e-5)


@pytest.mark.usefixtures("blurred")
def test_attacks_without_gradients_run_on_the_engine_itself() -> None:
    square = "square:queries=5"
    record, _ = run(replace(SMALL, engine="blurred", attacks=[square]))["robust-accuracy"]
    assert record.status == "done", record.reason
    assert record.engine is not None
    assert record.engine.crafted_on == "engine"


@pytest.mark.parametrize(
    ("engine", "shots", "words"),
    [
        ("nothing", None, "unknown engine 'nothing'"),
        ("statevector", 0, "give at least 1"),
        ("statevector:fast", None, "takes no device"),
    ],
)
def test_bad_engines_are_refused_before_anything_runs(engine, shots, words) -> None:
    with pytest.raises(UsageError, match=words):
        make_plan(replace(SMALL, engine=engine, shots=shots))

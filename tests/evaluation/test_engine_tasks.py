"""Runs on an engine other than exact simulation: what is skipped, what is repeated, what stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_runs import run_by_hand

from qbench.engines import create_engine
from qbench.errors import Unsupported, UsageError
from qbench.evaluation.planner import make_plan
from qbench.evaluation.radii import certify_images
from qbench.evaluation.selection import RunSelection
from qbench.evaluation.task import run_task
from qbench.interfaces import Radii
from qbench.records.identity import RadiiId
from qbench.records.record import Record
from qbench.records.results import Result
from qbench.registry import load_registry
from qbench.specs import CertifierSpec, EngineSpec, Perturbations

SMALL = RunSelection(models=["reup"], attacks=["pgd:steps=5"], seeds=[0], limit=6, eps=[0.1])


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


def run(selection: RunSelection) -> Result:
    """The result of the attack."""
    results = run_by_hand(selection).values()
    return next(result for result in results if result.record.task.kind == "attack")


def ids(selection: RunSelection) -> list[str]:
    return [task.identity.id for task in make_plan(selection)]


def test_shots_repeat_the_scoring_and_the_attack_sees_their_mean() -> None:
    sampled = run(replace(SMALL, shots=50))
    record, columns = sampled.record, sampled.columns
    assert record.status == "done", record.reason
    assert (record.task.engine.name, record.task.engine.shots) == ("statevector", 50)
    assert not record.exact
    assert record.device.name is None
    assert columns["adversarial_prediction"].shape == (10, 6)
    assert columns["adversarial_margin"].std(axis=0).min() > 0  # fresh shots in every pass
    assert record.cost.forward > 8 * 5 * 6  # 8 passes for each step
    exact = run(SMALL).record
    assert exact.exact
    assert exact.task.engine.shots is None
    assert exact.id != record.id


def test_certificates_and_training_are_of_the_exact_circuit() -> None:
    def exact(**changed):
        plan = make_plan(replace(SMALL, **changed))
        kinds = ("training", "lipschitz", "radii")
        found = [t for t in plan if t.identity.kind in kinds]
        return {t.identity.id for t in found if getattr(t.identity, "engine", None) is None}

    assert exact() == exact(shots=50)


def test_with_shots_what_the_engine_counts_is_certified_too() -> None:
    def counted(**changed):
        plan = make_plan(replace(SMALL, **changed))
        radii = [t for t in plan if t.identity.kind == "radii" and t.identity.engine is not None]
        return [(t.identity.certifier.name, t.identity.engine) for t in radii]

    assert counted() == []
    (sampled,) = counted(shots=50)
    assert sampled == counted(shots=50, attacked="ideal")[0]
    assert (sampled[0], sampled[1].name, sampled[1].shots) == ("counts", "statevector", 50)
    assert counted(shots=50, norms=()) == []
    with pytest.raises(UsageError, match="counts certifies what is counted: give --shots"):
        make_plan(replace(SMALL, certifiers=("counts",)))


def test_certificates_from_counts_are_records_of_the_engine() -> None:
    tasks = make_plan(
        replace(SMALL, models=("reup-hw4",), attacks=(), certifiers=("counts",), shots=4096)
    )
    done: dict[str, Result] = {}
    for task in tasks:
        done[task.identity.id] = run_task(task, done)
    (result,) = (one for one in done.values() if one.record.task.kind == "radii")
    record, metrics = result.record, result.record.metrics
    assert record.status == "done", record.reason
    assert not record.exact
    assert metrics.confidence == pytest.approx(0.999)
    assert metrics.certified_accuracy[0] > 0.5
    assert Record.from_json(record.to_json()) == record
    assert record.title.startswith("radii of reup-hw4@statevector:4096 seed 0 by counts")
    # The exact model's certificates are named as they were before there were others.
    none = {"engine": None}
    exact = RadiiId(**{name: getattr(record.task, name) for name in RadiiId.model_fields} | none)
    assert "engine" not in exact.model_dump(mode="json")
    assert exact.id != record.id


def test_a_misread_image_has_no_radius_from_counts() -> None:
    class Sure:
        def __call__(self, model, x, y, perturbations, generator):
            return Radii(torch.full((len(x),), 0.1, dtype=torch.float64), confidence=0.9)

    spec = CertifierSpec(
        name="sure", description="", factory="", structures=(), source="", counted=True
    )
    x, y = torch.eye(2), torch.tensor([0, 0])
    about = Perturbations(norm="linf", eps=(0.1,))
    found, _ = certify_images(Sure(), torch.nn.Identity(), x, y, about, torch.Generator(), spec)
    assert found.radius.tolist() == [0.1, 0.0]


def test_a_models_own_engine_by_name_is_the_same_task() -> None:
    assert ids(SMALL) == ids(replace(SMALL, engine="statevector"))
    assert ids(SMALL) != ids(replace(SMALL, engine="torch"))


def test_classical_models_run_on_no_engine() -> None:
    classical = replace(SMALL, models=["fourier"])
    assert ids(classical) == ids(replace(classical, shots=10))


@pytest.mark.usefixtures("blurred")
def test_without_gradients_a_white_box_attack_is_skipped_and_its_ideal_is_not() -> None:
    noisy = replace(SMALL, engine="blurred")
    record = run(replace(noisy, attacked="engine")).record
    assert record.status == "skipped"
    assert "pgd needs gradients, which engine blurred does not give" in record.reason
    assert "--craft-on ideal" in record.reason
    assert ids(noisy) != ids(replace(noisy, attacked="engine"))
    result = run(noisy)  # unless asked otherwise, an attack sees what has the gradients it needs
    (attack,) = (
        t for t in make_plan(replace(noisy, attacked="ideal")) if t.identity.kind == "attack"
    )
    assert result.record.id == attack.identity.id
    assert result.record.status == "done", result.record.reason
    assert result.record.task.engine.attacked == "ideal"
    assert result.record.device.name == "blurred"
    exact = run(SMALL).columns
    # The engine halves every score, so predictions stay and margins are halved.
    halves = 2 * result.columns["clean_margin"].astype(np.float32)
    np.testing.assert_allclose(halves, exact["clean_margin"], atol=2e-3)


@pytest.mark.usefixtures("blurred")
def test_attacks_without_gradients_run_on_the_engine_itself() -> None:
    record = run(replace(SMALL, engine="blurred", attacks=["square:queries=5"])).record
    assert record.status == "done", record.reason
    assert record.task.engine.attacked == "engine"


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

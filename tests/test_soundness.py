"""The soundness gate: certificates held against every attack on record."""

from __future__ import annotations

import numpy as np
import pytest

from qbench import soundness
from qbench.errors import SoundnessError
from qbench.plan import RunSelection, make_plan
from qbench.records import CertificationMetrics, EngineRef
from qbench.running import run_task
from qbench.store import from_npz


@pytest.fixture(scope="module")
def outcomes():
    """An attack and a certificate of one model, as a run leaves them."""
    selection = RunSelection(models=["fourier"], attacks=["fgsm"], seeds=[0], limit=12, eps=[0.2])
    tasks = [t for t in make_plan(selection) if t.kind in ("training", "robust-accuracy")]
    certify = RunSelection(
        models=["fourier"], attacks=(), certifiers=["smoothing"], seeds=[0], limit=12, eps=[0.2]
    )
    tasks += [t for t in make_plan(certify) if t.kind == "certification"]
    done = {}
    for task in tasks:
        done[task.key] = run_task(task, {need: done[need] for need in task.needs})
    return [outcome for outcome in done.values() if outcome.record.images is not None]


@pytest.fixture
def gate(outcomes):
    """Check with the certificate's columns and record as given; the smoothed flag is cleared."""
    attack, certificate = (outcome.record for outcome in outcomes)
    columns = {o.record.key: dict(from_npz(next(iter(o.files.values())))) for o in outcomes[1:]}
    broken = dict(from_npz(outcomes[0].files[attack.images.file]))

    def check(radius, smoothed=False, **changed):
        metrics = certificate.metrics.model_copy(update={"smoothed": smoothed})
        assert isinstance(metrics, CertificationMetrics)
        record = certificate.model_copy(update={"metrics": metrics, **changed})
        own = columns[certificate.key] | {"radius": radius}
        return soundness.check(
            [check.attack, record], lambda r: broken if r.task == "robust-accuracy" else own
        )

    check.attack, check.columns, check.certificate = attack, broken, certificate
    return check


def test_what_is_below_every_distance_passes_and_is_counted(gate) -> None:
    fooled = gate.columns["adversarial_prediction"] != gate.columns["label"]
    assert fooled.sum() > 0
    distance = gate.columns["linf"].astype(np.float64)
    assert gate(np.where(fooled, distance, 5.0)) == 12


def test_one_image_within_its_radius_fails_the_run_by_name(gate) -> None:
    fooled = np.flatnonzero(gate.columns["adversarial_prediction"] != gate.columns["label"])
    radius = np.zeros(12)
    radius[fooled[1]] = float(gate.columns["linf"][fooled[1]]) * (1 + 1e-5)
    with pytest.raises(SoundnessError) as raised:
        gate(radius)
    for part in ("fourier seed 0", "smoothing", f"image {fooled[1]} ", "fgsm", "(1 such)"):
        assert part in str(raised.value)


def test_a_misclassified_image_has_no_radius(gate, monkeypatch) -> None:
    wrong = gate.columns["clean_prediction"].copy()
    wrong[3] += 1
    monkeypatch.setitem(gate.columns, "clean_prediction", wrong)
    radius = np.zeros(12)
    assert gate(radius) == 12
    radius[3] = 1e-9
    with pytest.raises(SoundnessError, match="image 3 "):
        gate(radius)


def test_other_models_boxes_and_smoothed_ones_are_not_compared(gate) -> None:
    radius = np.full(12, 9.0)
    assert gate(radius, smoothed=True) == 0
    other = gate.certificate.target.model_copy(update={"weights_sha256": "0" * 64})
    assert gate(radius, target=other) == 0
    tight = gate.certificate.perturbations.model_copy(update={"box": (0.2, 0.8)})
    assert gate(radius, perturbations=tight) == 0  # the attack may leave that box
    free = gate.certificate.perturbations.model_copy(update={"box": None})
    with pytest.raises(SoundnessError):
        gate(radius, perturbations=free)


def test_what_shots_or_noise_break_is_no_violation(gate, monkeypatch) -> None:
    noisy = EngineRef(name="aer:small", shots=None, exact=False)
    sampled = EngineRef(name="statevector", shots=9)
    radius, plain = np.full(12, 9.0), gate.attack
    for engine in (noisy, sampled):
        monkeypatch.setattr(gate, "attack", plain.model_copy(update={"engine": engine}))
        assert gate(radius) == 0


def test_the_norm_of_the_certificate_counts(gate) -> None:
    fooled = gate.columns["adversarial_prediction"] != gate.columns["label"]
    euclidean = gate.certificate.perturbations.model_copy(update={"norm": "l2"})
    radius = np.where(fooled, gate.columns["l2"].astype(np.float64), 0)
    assert gate(radius, perturbations=euclidean) == 12
    with pytest.raises(SoundnessError, match="in linf"):
        gate(radius)

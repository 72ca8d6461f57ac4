"""The soundness gate: certificates held against every attack on record."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small_runs import run_by_hand

from qbench.evaluation.selection import RunSelection
from qbench.records import soundness
from qbench.records.record import Device
from qbench.records.results import Results

SELECTION = RunSelection(
    models=["fourier"], attacks=["fgsm"], certifiers=["smoothing"], seeds=[0], limit=12, eps=[0.2]
)


@pytest.fixture(scope="module")
def outcomes():
    """An attack and a certificate of one model, as a run leaves them."""
    done = run_by_hand(SELECTION).values()
    return [result for result in done if result.columns is not None]


@pytest.fixture
def gate(outcomes):
    """Check with the certificate's radii and record as given; the smoothed flag is cleared."""
    attack, certificate = sorted(outcomes, key=lambda result: result.record.task.kind)

    def check(radius, smoothed=False, attacked=None, broken=None, **changed):
        metrics = certificate.record.metrics.model_copy(update={"smoothed": smoothed})
        record = certificate.record.model_copy(update={"metrics": metrics, **changed})
        results = Results(
            records=(attacked or attack.record, record),
            columns=lambda r: (
                (broken or attack.columns)
                if r.task.kind == "attack"
                else {**certificate.columns, "radius": radius}
            ),
            cards={},
            environments={},
            commands=(),
            adversarial=lambda *_: None,
        )
        return soundness.check(results)

    check.attack, check.columns, check.certificate = attack.record, attack.columns, certificate
    return check


def test_what_is_below_every_distance_passes_and_is_counted(gate) -> None:
    fooled = gate.columns["adversarial_prediction"] != gate.columns["label"]
    assert fooled.sum() > 0
    distance = gate.columns["linf"].astype(np.float64)
    assert gate(np.where(fooled, distance, 5.0)) == ([], 12)


def test_one_image_within_its_radius_is_named(gate) -> None:
    fooled = np.flatnonzero(gate.columns["adversarial_prediction"] != gate.columns["label"])
    radius = np.zeros(12)
    radius[fooled[1]] = float(gate.columns["linf"][fooled[1]]) * (1 + 1e-5)
    (violation,), _ = gate(radius)
    for part in ("fourier seed 0", "smoothing", f"image {fooled[1]} ", "fgsm", "in linf"):
        assert part in str(violation)


def test_a_misclassified_image_has_no_radius(gate) -> None:
    wrong = gate.columns["clean_prediction"].copy()
    wrong[3] += 1
    broken, radius = {**gate.columns, "clean_prediction": wrong}, np.zeros(12)
    assert gate(radius, broken=broken) == ([], 12)
    radius[3] = 1e-9
    (violation,), _ = gate(radius, broken=broken)
    assert violation.image == 3


def test_other_weights_and_smoothed_models_are_not_compared(gate) -> None:
    radius = np.full(12, 9.0)
    assert gate(radius, smoothed=True) == ([], 0)
    assert gate(radius, weights="0" * 64) == ([], 0)
    assert gate(radius)[0]


def test_what_shots_or_noise_break_is_no_violation(gate) -> None:
    noisy = gate.attack.model_copy(update={"device": Device()})
    assert gate(np.full(12, 9.0), attacked=noisy) == ([], 0)


def test_the_norm_of_the_certificate_counts(gate) -> None:
    fooled = gate.columns["adversarial_prediction"] != gate.columns["label"]
    euclidean = gate.certificate.record.task.model_copy(update={"norm": "l2"})
    radius = np.where(fooled, gate.columns["l2"].astype(np.float64), 0)
    assert gate(radius, task=euclidean) == ([], 12)
    assert gate(radius)[0]


def test_results_without_the_certificates_that_were_refuted(outcomes) -> None:
    records = tuple(result.record for result in outcomes)
    certificate = next(record for record in records if record.task.kind == "radii")
    attack = next(record for record in records if record.task.kind == "attack")
    results = Results(records, lambda _: {}, {}, {}, (), lambda *_: None)
    refuted = [soundness.Violation(certificate, attack, 0, 1.0, 0.5)]
    assert soundness.without(results, refuted).records == (attack,)
    assert soundness.without(replace(results), []).records == records

"""Certificates of models of odd sizes: no attack in float64 finds anything within a radius."""

from __future__ import annotations

import pytest
import torch
from margin_search import least_margin
from torch import nn

import qbench_certificates
from qbench.evaluation.lipschitz import certify
from qbench.evaluation.radii import certify_images
from qbench.specs import CertifierSpec, Perturbations
from qbench_certificates.amplitude.pairwise_margins import quadratic_forms, scores
from qbench_certificates.reupload.gates import read_gates
from qbench_classical.models import ConvNet, Fourier
from qbench_quantum.models import Amplitude, ReUpload, SplitReUpload

# No size divides another one; classes are as many as the qubits, or more than the features.
MODELS = {
    "reupload-circuit": lambda: ReUpload(features=7, classes=3, layers=4),
    "split-reupload-circuit": lambda: SplitReUpload(features=7, classes=5, layers=2),
    "amplitude-circuit": lambda: Amplitude(features=5, classes=4, layers=3),
    "convnet": lambda: ConvNet((4, 7), classes=3),
    "sine-network": lambda: Fourier(features=5, classes=6, neurons=4),
}
SCALE = {"reupload-circuit": 0.5, "split-reupload-circuit": 0.3}
FAR = {
    ("amplitude-circuit", "linf"): 0.25,
    ("amplitude-circuit", "l2"): 0.5,
}  # further away is the origin, which has no encoding
FEATURES = {"convnet": 28, "amplitude-circuit": 5, "sine-network": 5}
BUDGETS = (0.03, 0.1, 0.3, 0.8)
SPECS = [
    spec
    for spec in qbench_certificates.qbench_certifiers()
    if spec.structures and not spec.smoothed
]
COVERED = [(spec, one) for spec in SPECS for one in spec.structures if one in MODELS]


def named(pairs):
    return [f"{spec.name}-{structure}" for spec, structure in pairs]


def random_model(structure: str) -> nn.Module:
    torch.manual_seed(5)
    model = MODELS[structure]().double()
    for name, parameter in model.named_parameters():
        scale = SCALE.get(structure, 1.0) if name == "w" else 1.0
        nn.init.normal_(parameter, std=3.0 if name == "theta" else scale)
    return model


def images(structure: str, n: int) -> torch.Tensor:
    drawn = torch.rand(n, FEATURES.get(structure, 7), generator=torch.Generator().manual_seed(1))
    return (1.4 * drawn.double() - 0.2).clamp(0, 1)


# What certifies from counts has tests of its own, of noisy circuits.
RADII = [pair for pair in COVERED if pair[0].norms and not pair[0].counted]


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(("spec", "structure"), RADII, ids=named(RADII))
def test_no_attack_within_a_radius(spec: CertifierSpec, structure: str, norm: str) -> None:
    if norm not in spec.norms:
        pytest.skip(f"not in {norm}")
    # The operators of circuit-operator have 4^qubits entries.
    model, x = random_model(structure), images(structure, 6 if "operator" in spec.name else 12)
    with torch.no_grad():
        y = model(x).argmax(1)
    perturbations = Perturbations(norm=norm, eps=BUDGETS)
    certifier = spec.resolve()(**spec.params)
    found, _ = certify_images(certifier, model, x, y, perturbations, torch.Generator())
    assert (found.radius > 0).sum() >= 3
    least = least_margin(model, x, y, perturbations, found.radius, seed=0)
    assert (least > 0).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("structure", sorted({structure for _, structure in RADII}))
def test_that_attack_breaks_most_images_far_enough_away(structure: str, norm: str) -> None:
    model, x = random_model(structure), images(structure, 12)
    with torch.no_grad():
        y = model(x).argmax(1)
    far = torch.full((12,), FAR.get((structure, norm), 1.0))
    perturbations = Perturbations(norm=norm, eps=BUDGETS)
    assert (least_margin(model, x, y, perturbations, far, seed=0) < 0).sum() >= 6


BOUNDS = [pair for pair in COVERED if not pair[0].norms]


@pytest.mark.parametrize(("spec", "structure"), BOUNDS, ids=named(BOUNDS))
def test_no_slope_exceeds_a_bound(spec: CertifierSpec, structure: str) -> None:
    model, x = random_model(structure), images(structure, 12)
    certifier = spec.resolve()(**spec.params)
    bound, sampled, _ = certify(certifier, model, x, torch.Generator().manual_seed(0))
    assert 0 < sampled <= bound.lipschitz


def test_rotations_read_features_in_turn_and_some_once_more() -> None:
    model = random_model("reupload-circuit")
    reading = read_gates(model).reading
    assert reading.shape == (36, 7)  # 36 = 5 · 7 + 1
    assert (reading != 0).sum(0).tolist() == [6, 5, 5, 5, 5, 5, 5]
    x = images("reupload-circuit", 2)
    for j in range(36):
        expected = model.w.flatten()[j] * x[:, j % 7]
        torch.testing.assert_close(x @ reading[j], expected.detach())


def test_forms_of_a_padded_state_are_those_of_its_features() -> None:
    model, x = random_model("amplitude-circuit"), images("amplitude-circuit", 4)
    forms = quadratic_forms(model)
    assert forms.shape == (4, 5, 5)
    assert model.circuit.qubits == 4  # one a class; 16 amplitudes, of which 11 are 0
    torch.testing.assert_close(scores(forms, x), model(x).detach())

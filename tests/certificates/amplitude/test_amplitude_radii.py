"""Certified radii of amplitude encodings: nothing within them breaks, and what is refused."""

from __future__ import annotations

from unittest import mock

import pytest
import torch
from amplitude_search import glyphs, images, margins, small_model, smallest_margin, zoo_model
from hypothesis import given, settings
from hypothesis import strategies as st

from qbench.errors import DataError, Unsupported, WeightsError
from qbench.evaluation.crafting import craft
from qbench.evaluation.radii import BUDGETS, certify_images
from qbench.specs import Perturbations, ThreatModel
from qbench_attacks.ddn import DDN
from qbench_attacks.fab import FAB
from qbench_certificates.amplitude import shor
from qbench_certificates.amplitude.ball import AmplitudeBall
from qbench_certificates.amplitude.boxed import squared_distance_in_box
from qbench_certificates.amplitude.exact import AmplitudeExact
from qbench_certificates.amplitude.pairwise_margins import pairwise_margins
from qbench_certificates.amplitude.shor import AmplitudeShor
from qbench_certificates.radii import PRECISION
from qbench_classical.models import Fourier
from qbench_quantum.models import ReUpload

BOX = (0.0, 1.0)
CERTIFIERS = {
    "exact": (AmplitudeExact, "l2"),
    "ball": (AmplitudeBall, "linf"),
    "shor": (AmplitudeShor, "linf"),
}
GENERATOR = torch.Generator()


def radii(name, model, x, y, box, eps=None):
    certifier, norm = CERTIFIERS[name]
    perturbations = Perturbations(norm=norm, eps=eps or BUDGETS[norm], box=box)
    return certify_images(certifier(), model, x, y, perturbations, GENERATOR)[0].radius


@pytest.mark.parametrize("box", [None, BOX])
@pytest.mark.parametrize("name", CERTIFIERS)
@settings(max_examples=8)
@given(seed=st.integers(0, 10_000), qubits=st.integers(2, 4))
def test_nothing_within_a_radius_breaks(name, box, seed, qubits) -> None:
    model, x = small_model(seed, qubits), images(seed, 8, 2**qubits)
    x = x[x.norm(dim=1) > 0]
    y = model(x).argmax(1)
    y[0] = (y[0] + 1) % 2  # a wrong label has no radius
    radius = radii(name, model, x, y, box)
    assert radius[0] == 0
    forms = model.double().quadratic_forms()
    x, norm = x.double(), CERTIFIERS[name][1]
    found = smallest_margin(forms, x[1:], y[1:], norm, radius[1:], box, seed)
    assert bool((found >= 0).all())


@settings(max_examples=5)
@given(seed=st.integers(0, 10_000), qubits=st.integers(2, 4))
def test_the_relaxation_needs_no_descent_to_be_right(seed, qubits) -> None:
    def blind(form, centre, half):
        return torch.inf, centre

    model, x = small_model(seed, qubits), images(seed, 8, 2**qubits)
    x = x[x.norm(dim=1) > 0]
    y = model(x).argmax(1)
    seeing = radii("shor", model, x, y, BOX)
    with mock.patch.object(shor, "small_point", blind):
        radius = radii("shor", model, x, y, BOX)
    assert torch.allclose(radius, seeing, atol=0.02)
    forms = model.double().quadratic_forms()
    found = smallest_margin(forms, x.double(), y, "linf", radius, BOX, seed)
    assert bool((found >= 0).all())


@settings(max_examples=3)
@given(seed=st.integers(0, 10_000))
def test_radii_are_tight_on_small_models(seed) -> None:
    model, x = small_model(seed, 3), images(seed, 12, 8)
    y = model(x).argmax(1)
    forms = model.double().quadratic_forms()
    model.float()
    eps = (0.1, 0.2, 0.4)
    for name, box, share in (("exact", None, 1.0), ("exact", BOX, 0.7), ("shor", BOX, 0.7)):
        radius = radii(name, model, x, y, box, eps)
        inner = radius < (eps[-1] if name == "shor" else x.norm(dim=1).double() * 0.99)
        step = 1.01 * radius + (0.02 if name == "shor" else 1e-3)
        found = smallest_margin(forms, x.double(), y, CERTIFIERS[name][1], step, box, seed)
        assert (found[inner] < 1e-4).double().mean() >= share, name


def test_each_is_at_least_the_simpler_one() -> None:
    model, (x, y) = zoo_model("amplitude", 0), glyphs()
    x, y = x[::20], y[::20]
    relaxed = radii("shor", model, x, y, BOX)
    ball = radii("ball", model, x, y, BOX)
    exact, in_box = radii("exact", model, x, y, None), radii("exact", model, x, y, BOX)
    assert bool((relaxed >= ball).all())
    assert bool((ball >= radii("ball", model, x, y, None)).all())
    assert bool((in_box >= exact).all())
    # Without the box, the ball is the exact radius through √256.
    alone = radii("ball", model, x, y, None, (0.02, 10.0))
    assert bool((alone <= exact / 16).all() & (alone * (1 + PRECISION) >= exact / 16 - 1e-6).all())
    assert (relaxed >= 0.05).double().mean() > (ball >= 0.05).double().mean() + 0.1


def check_against_attacks(name: str, seed: int, every: int) -> None:
    model, (x, y) = zoo_model(name, seed), glyphs()
    x, y = x[::every], y[::every]
    relaxed = radii("shor", model, x, y, BOX)
    threat = ThreatModel(norm="linf", eps=0.25)
    adversarial = craft(FAB(), model, x, y, threat, 0).x_adv
    broken = model(adversarial).argmax(1) != y
    assert broken.double().mean() > 0.95
    distance = (adversarial - x).double().abs().amax(1)
    assert bool((distance > relaxed)[broken & (relaxed > 0)].all())
    for eps in (0.02, 0.05, 0.1):  # the relaxation is tight for all but a few images
        assert ((distance > eps) & (relaxed < eps)).double().mean() <= 0.04
    exact = radii("exact", model, x, y, BOX)
    threat = ThreatModel(norm="l2", eps=5.0)
    adversarial = craft(DDN(), model, x, y, threat, 0).x_adv
    broken = model(adversarial).argmax(1) != y
    assert broken.double().mean() > 0.95
    assert bool(((adversarial - x).double().norm(dim=1) > exact)[broken & (exact > 0)].all())
    # The point of the bound is itself a tie, as near as the radius says.
    correct, rivals = pairwise_margins(model, x.double(), y)
    nearest = torch.where(correct, torch.inf, 0.0).double()
    forms = model.double().quadratic_forms()
    for pair in rivals:
        start = x[pair.rows].double()
        _, z = squared_distance_in_box(start, pair.form, pair.values, BOX)
        tied = margins(forms, z[None], y[pair.rows])[0] < 1e-3
        length = torch.where(tied, (z - start).norm(dim=1), torch.inf)
        nearest[pair.rows] = torch.minimum(nearest[pair.rows], length)
    assert torch.allclose(exact, nearest, rtol=0.01, atol=1e-3)


def test_against_attacks_on_a_trained_model() -> None:
    check_against_attacks("amplitude", 0, 16)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", ["amplitude", "amplitude-at"])
def test_against_attacks_on_the_zoo(name: str, seed: int) -> None:
    check_against_attacks(name, seed, 2)


def test_a_box_around_the_origin_proves_nothing() -> None:
    # Each image's interval reaches zero in every pixel: no encoding there.
    model = small_model(0, 2)
    x = torch.full((1, 4), 0.04)
    y = model(x).argmax(1)
    assert radii("shor", model, x, y, BOX, (0.05,)) < 0.04
    assert radii("exact", model, x, y, BOX, (0.05,)) <= 0.08
    assert radii("ball", model, x, y, BOX, (0.05,)) < 0.04


@pytest.mark.parametrize("name", CERTIFIERS)
def test_what_is_refused(name) -> None:
    certifier, norm = CERTIFIERS[name]
    other = "linf" if norm == "l2" else "l2"
    model, x = small_model(1, 3), images(1, 4, 8)
    y = model(x).argmax(1)

    def call(model, x=x, norm=norm):
        return certifier()(model, x, y, Perturbations(norm=norm, eps=(0.1,)), GENERATOR)

    with pytest.raises(Unsupported, match=f"certifies in {norm}"):
        call(model, norm=other)
    for stranger in (
        ReUpload(qubits=4, layers=2, features=8),
        Fourier(features=8, neurons=4, classes=3),
    ):
        with pytest.raises(Unsupported, match="amplitude-circuit"):
            call(stranger)
    blank = x.clone()
    blank[2] = 0
    with pytest.raises(DataError, match="image 2 is all zero"):
        call(model, blank)
    with torch.no_grad():
        model.theta[0, 0, 0] = torch.nan
    with pytest.raises(WeightsError, match="theta"):
        call(model)


def test_a_model_that_computes_something_else_is_refused() -> None:
    model, x = small_model(1, 3), images(1, 4, 8)
    forward = type(model).forward

    class Sharpened(type(model)):
        def forward(self, x):
            return 2 * forward(self, x)

    model.__class__ = Sharpened
    with pytest.raises(Unsupported, match="does not compute"):
        radii("exact", model, x, model(x).argmax(1), BOX)

"""The Lipschitz bound of amplitude encodings: reached, never passed, and where it holds."""

from __future__ import annotations

import pytest
import torch
from amplitude_search import images, small_model
from hypothesis import given
from hypothesis import strategies as st

from qbench.errors import DataError, UsageError
from qbench.evaluation.lipschitz import certify
from qbench_certificates.amplitude.sphere import AmplitudeSphere


@given(seed=st.integers(0, 10_000), qubits=st.integers(2, 4), rho=st.floats(0.1, 3.0))
def test_no_pair_of_inputs_is_steeper(seed: int, qubits: int, rho: float) -> None:
    model = small_model(seed, qubits).double()
    bound = AmplitudeSphere(least_norm=rho)(model, torch.empty(0))
    generator = torch.Generator().manual_seed(seed)
    start, step = torch.randn(2, 500, 2**qubits, generator=generator, dtype=torch.float64)
    start = rho * start / start.norm(dim=1, keepdim=True)
    end = start + step * torch.logspace(-4, 1, 500, dtype=torch.float64)[:, None]
    end = end * (rho / end.norm(dim=1, keepdim=True)).clamp(min=1)
    with torch.no_grad():
        change = model(start) - model(end)
    margins = (change[:, :, None] - change[:, None]).abs().amax((1, 2))
    assert bool((margins <= bound.lipschitz * (start - end).norm(dim=1) * (1 + 1e-9)).all())


@pytest.mark.parametrize("seed", range(4))
def test_a_gradient_reaches_it(seed: int) -> None:
    model = small_model(seed, 3).double()
    forms = model.quadratic_forms()
    bound = AmplitudeSphere(least_norm=0.5)(model, torch.empty(0))
    steepest = 0.0
    for i in range(len(forms)):
        for j in range(i):
            _, vectors = torch.linalg.eigh(forms[i] - forms[j])
            x = (0.5 * (vectors[:, 0] + vectors[:, -1]) / 2**0.5).requires_grad_()
            scores = model(x[None])[0]
            (gradient,) = torch.autograd.grad(scores[i] - scores[j], x)
            steepest = max(steepest, float(gradient.norm()))
    assert bound.scope == "margin"
    assert steepest == pytest.approx(bound.lipschitz, rel=1e-9)


def test_it_holds_from_the_shortest_image_on() -> None:
    model, x = small_model(0, 3), images(0, 20, 8)
    own, unit = AmplitudeSphere()(model, x), AmplitudeSphere(least_norm=1.0)(model, x)
    assert own.least_norm == pytest.approx(float(x.double().norm(dim=1).min()))
    assert own.lipschitz * own.least_norm == pytest.approx(unit.lipschitz)
    bound, sampled, points = certify(AmplitudeSphere(), model, x, torch.Generator())
    assert bound == own
    assert 0 < sampled < own.lipschitz
    assert 20 <= points <= 320


def test_norms_that_are_no_norms() -> None:
    with pytest.raises(UsageError, match="least_norm is 0"):
        AmplitudeSphere(least_norm=0.0)
    for x in (torch.empty(0), torch.empty(0, 8), torch.zeros(2, 8)):
        with pytest.raises(DataError, match="all zero"):
            AmplitudeSphere()(small_model(0, 3), x)

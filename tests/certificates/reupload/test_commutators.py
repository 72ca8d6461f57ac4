"""The remainder from commutators: its parts against samples, and no margin beyond it."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from qbench.circuits.circuit import z_signs
from qbench_certificates.reupload.carried import can_carry, carry
from qbench_certificates.reupload.commutators import (
    Commutators,
    Observed,
    commutators,
    lengths,
    observe_exactly,
)
from qbench_certificates.reupload.exact import stays_positive
from qbench_certificates.reupload.gates import ReUploadGates, read_gates
from qbench_quantum.models import ReUpload, SplitReUpload

DOUBLE = torch.float64


def _gates(seed: int, qubits: int, layers: int, repeats: int, scale: float) -> ReUploadGates:
    """Random angles; repeats −2 for rotations that read two features each, 0 for one feature."""
    rotations = 3 * qubits * layers
    model: nn.Module
    if repeats == -2:
        model = SplitReUpload(qubits, layers, 2, features=2 * rotations // 3, reads=3)
    else:
        model = ReUpload(qubits, layers, classes=2, features=rotations // (repeats or rotations))
    model.double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        model.w.copy_(scale * torch.randn(model.w.shape, generator=generator))
        model.theta.copy_(3 * torch.randn(model.theta.shape, generator=generator))
    gates = read_gates(model)
    return gates.seen_by(gates.circuit.measured)


def _signs(gates: ReUploadGates) -> Tensor:
    z = torch.as_tensor(z_signs(len(gates.circuit.measured))[gates.circuit.outcomes])
    return z[:, 0] - z[:, 1]


def _margin(gates: ReUploadGates, x: Tensor) -> Tensor:
    scores = gates.scores(x)
    return scores[:, 0] - scores[:, 1]


def _found(gates: ReUploadGates, x: Tensor, width: Tensor) -> tuple[Observed, Commutators]:
    carried = carry(gates, x)
    observed = observe_exactly(gates, carried, _signs(gates))
    return observed, commutators(gates, carried, observed, width)


def _worst(gates: ReUploadGates, observed: Observed, x: Tensor, width: Tensor, seed: int) -> float:
    """The most that a margin is found below its second order: corners, and descent from them."""
    generator = torch.Generator().manual_seed(seed)
    delta = torch.randn(32, len(x), generator=generator, dtype=DOUBLE).sign()
    worst = 0.0
    for step in range(25):
        delta = delta.detach().requires_grad_()
        moved = width * delta
        quadratic = moved @ observed.gradient + ((moved @ observed.hessian) * moved).sum(1) / 2
        above = _margin(gates, x + moved) - observed.value - quadratic
        worst = max(worst, -float(above.detach().min()))
        (slope,) = torch.autograd.grad(above.sum(), delta)
        delta = (delta.detach() - 0.9**step * slope.sign()).clamp(-1, 1)
    return worst


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**20),
    qubits=st.integers(2, 4),
    layers=st.integers(1, 5),
    repeats=st.sampled_from([0, 1, 3, -2]),
    scale=st.floats(0.05, 2),
    eps=st.sampled_from([0.02, 0.1, 0.3]),
)
def test_no_margin_is_below_its_second_order_by_more(seed, qubits, layers, repeats, scale, eps):
    gates = _gates(seed, qubits, layers, repeats, scale)
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(gates.features, generator=generator, dtype=DOUBLE)
    width = eps * torch.rand(gates.features, generator=generator, dtype=DOUBLE)
    observed, found = _found(gates, x, width)
    at = x.clone().requires_grad_()
    margin = _margin(gates, at[None])[0]
    (slope,) = torch.autograd.grad(margin, at)
    bend = torch.autograd.functional.hessian(lambda at: _margin(gates, at[None])[0], x)
    torch.testing.assert_close(observed.value, margin.detach(), rtol=0, atol=1e-12)
    torch.testing.assert_close(observed.gradient, slope, rtol=0, atol=1e-11)
    torch.testing.assert_close(observed.hessian, bend, rtol=0, atol=1e-10)
    assert _worst(gates, observed, x, width, seed) <= float(found.remainder()) + 1e-10


@pytest.mark.parametrize("repeats", [1, 3, -2])
def test_what_is_known_of_states(repeats: int) -> None:
    gates = _gates(abs(repeats), 3, 6, repeats, 1.0)
    x = torch.full((gates.features,), 0.4, dtype=DOUBLE)
    generator = torch.Generator().manual_seed(0)
    width = 0.1 * torch.rand(gates.features, generator=generator, dtype=DOUBLE)
    carried, diagonal = carry(gates, x), _signs(gates).repeat_interleave(2)
    observed, found = _found(gates, x, width)
    state, image = carried.state, diagonal * carried.state
    phase = carried.moved @ state
    # σ_j ψ less its part along ψ; and d by commutators of M with it, not with the phase.
    moved = carried.moved - phase[..., None] * state
    assert float((moved @ state).abs().max()) < 1e-12
    assert float(found.mean) == pytest.approx(float(image.norm()))
    rotations = gates.layers.shape[1]
    for _ in range(100):
        delta = width * torch.randn(gates.features, generator=generator, dtype=DOUBLE).sign()
        angles = (gates.reading @ delta).view(6, rotations)
        weighted = angles[..., None] * moved
        flat, change = weighted.flatten(0, 1), (angles[..., None] * observed.change).flatten(0, 1)
        flat, change = (each.view(-1, 3, each.shape[1]).sum(1) for each in (flat, change))
        before, after = flat.cumsum(0) - flat, change.sum(0) - change.cumsum(0)
        assert (before.norm(dim=1) <= found.prefix + 1e-12).all()
        assert ((diagonal * before).norm(dim=1) <= found.full + 1e-12).all()
        assert (after.norm(dim=1) <= found.suffix + 1e-12).all()
        assert (change.norm(dim=1) <= found.own + 1e-12).all()
        assert ((phase * angles).view(-1, 3).sum(1).abs() <= found.phase + 1e-12).all()
    # A phase of all states is none of a commutator: C with the phases left in gives the same.
    again = observed.change - (phase[..., None] * (image - diagonal * state))
    torch.testing.assert_close(again, observed.change)


def test_lengths_are_attained_where_vectors_are_alike() -> None:
    # Equal vectors: every bound is a plain sum, so that 2 % less would be exceeded.
    gates = _gates(3, 2, 3, 1, 1.0)
    width = torch.rand(gates.features, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    vectors = torch.ones(3, 6, 4, dtype=DOUBLE) * gates.readings.new_tensor(0.5)
    signed = vectors * gates.layers.sum(2).sign()[..., None]
    sizes = gates.widths(width[None])[0].view(-1, 3).sum(1)  # of norm 1 each
    torch.testing.assert_close(lengths(gates, signed, width), sizes.cumsum(0) - sizes)
    after = lengths(gates, signed, width, after=True)
    torch.testing.assert_close(after, sizes.sum() - sizes.cumsum(0))


@pytest.mark.parametrize("seed", [80, 86, 88])
def test_the_remainder_where_rotations_add_up(seed: int) -> None:
    # Quarter turns and one feature that all read, as for the other remainder.
    generator = torch.Generator().manual_seed(seed)
    model = ReUpload(2 + seed % 2, 3 + seed % 4, classes=2, features=1).double()
    with torch.no_grad():
        shape = model.w.shape
        w = torch.randint(0, 4, shape, generator=generator) == 0
        model.w.copy_(w * torch.randn(shape, generator=generator).sign())
        model.theta.copy_(torch.randint(0, 4, shape, generator=generator) * math.pi / 2)
    gates = read_gates(model)
    gates = gates.seen_by(gates.circuit.measured)
    x, width = torch.zeros(1, dtype=DOUBLE), torch.full((1,), 0.02, dtype=DOUBLE)
    observed, found = _found(gates, x, width)
    worst = _worst(gates, observed, x, width, seed)
    assert 0.08 * float(found.remainder()) < worst <= float(found.remainder())


def test_the_remainder_adds_up_as_derived() -> None:
    def one(*rows: object) -> Tensor:
        return torch.tensor(rows, dtype=DOUBLE)

    mean = torch.tensor(1.3, dtype=DOUBLE)
    found = Commutators(
        mean, one(0.1, 0.3), one(0.12, 0.7), one(0.5, 0.2), one(0.01, 0.03), one(0.1, 0.05),
        one(0.12, 0.06), one(0.02, 0.2),
    )  # fmt: skip
    q, rho = 0.14**2 / 2, 0.12 * 0.1  # before the second gate
    pi, kappa = (0.1, 0.3 + q + rho), (0.12, min(0.7 + 2 * (q + rho), 2 * (0.3 + q + rho)))
    first = (
        (1.3 / 3 + 2) * 0.12**3 + (3.3 * 0.12**2 + 2 * 0.1 * 0.01) * pi[0]
        + 2 * 0.5 * (0.12 * pi[0] + 0.14**2 / 2) + 2 * 0.1 * pi[0] * kappa[0]
        + 2 * (0.1 * pi[0]) ** 2
    )  # fmt: skip
    second = (
        (1.3 / 3 + 2) * 0.06**3 + (3.3 * 0.06**2 + 2 * 0.05 * 0.03) * pi[1]
        + 2 * 0.2 * (0.25 * pi[1] + 0.26**2 / 2) + 2 * 0.05 * pi[1] * kappa[1]
        + 2 * (0.05 * pi[1]) ** 2
    )  # fmt: skip
    assert float(found.remainder()) == pytest.approx(first + second, rel=1e-12)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**20), size=st.integers(1, 6))
def test_a_quadratic_function_is_positive_where_that_is_proved(seed: int, size: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    gradient = torch.randn(size, generator=generator, dtype=DOUBLE)
    half = torch.randn(size, size, generator=generator, dtype=DOUBLE)
    width = torch.rand(size, generator=generator, dtype=DOUBLE) + 0.1
    bend = half + half.mT - size * torch.eye(size, dtype=DOUBLE)  # mostly least in a corner
    delta = width * (2 * torch.rand(4000, size, generator=generator, dtype=DOUBLE) - 1)
    delta = torch.cat([delta, width * delta.sign()])
    least = float((delta @ gradient + ((delta @ bend) * delta).sum(1) / 2).min())
    assert not stays_positive(torch.tensor(-0.98 * least, dtype=DOUBLE), gradient, bend, width)
    apart = width @ gradient.abs() + width @ bend.abs() @ width / 2
    assert stays_positive(1.02 * apart, gradient, bend, width)
    # Without a Hessian the bound is exact, and signs that agree need no worst case of each.
    linear = width @ gradient.abs()
    nothing = torch.zeros(size, size, dtype=DOUBLE)
    assert stays_positive(1.02 * linear, gradient, nothing, width)
    assert not stays_positive(0.98 * linear, gradient, nothing, width)


def test_which_circuits_can_be_carried() -> None:
    assert can_carry(_gates(0, 3, 2, 1, 1.0))
    assert not can_carry(_gates(0, 10, 5, 1, 0.1))

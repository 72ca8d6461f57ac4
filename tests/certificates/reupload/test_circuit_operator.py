"""`circuit-operator` against the same steps with dense matrices, and against brute force."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from reupload_models import images, largest_fall, random_model
from scipy.linalg import expm, sqrtm

from qbench.errors import Unsupported
from qbench.specs import Perturbations
from qbench_certificates.reupload.circuit_operator import CircuitOperator, Steps
from qbench_certificates.reupload.gates import read_gates
from qbench_certificates.reupload.operator_kernel import centre_weights, lower_bound, prove
from qbench_certificates.reupload.region import region
from qbench_quantum.models import ReUpload

Z, Y = np.diag([1.0, -1.0]).astype(complex), np.array([[0, -1j], [1j, 0]])


def _pauli(axis: int, bit: int, n: int) -> NDArray[np.complex128]:
    qubits = n.bit_length() - 1
    one = {1: Y, 2: Z}[axis]
    return reduce(np.kron, [one if qubits - 1 - q == bit else np.eye(2) for q in range(qubits)])


def _step(m, sigma, width, c, weight):
    """M⁻ by the definition, with A from square roots of the weight."""
    odd, d = (m - sigma @ m @ sigma) / 2, 0.5j * (sigma @ m - m @ sigma) - c * np.eye(len(m))
    root = sqrtm(weight)
    inverse = np.linalg.inv(root)
    values, vectors = np.linalg.eigh(root @ d @ root)
    above = inverse @ (vectors * abs(values)) @ vectors.conj().T @ inverse
    if np.linalg.eigvalsh(above + np.tan(width) * odd)[0] < 0:
        above = above + np.tan(width) * np.linalg.norm(odd) * np.eye(len(m))
    return m - (1 - np.cos(width)) * odd - np.sin(width) * above


def _random_hermitian(generator, n):
    m = generator.normal(size=(n, n)) + 1j * generator.normal(size=(n, n))
    return m + m.conj().T


@given(
    seed=st.integers(0, 2**20),
    qubits=st.integers(1, 3),
    axis=st.sampled_from([1, 2]),
    width=st.floats(0.01, 1.5),
    small=st.floats(1e-3, 1),
)
@settings(max_examples=60)
def test_a_step_holds_at_every_angle(seed, qubits, axis, width, small):
    generator, n = np.random.default_rng(seed), 2**qubits
    m, c = _random_hermitian(generator, n), generator.normal()
    sigma = _pauli(axis, int(generator.integers(qubits)), n)
    root = _random_hermitian(generator, n)
    below = _step(m, sigma, width, c, root @ root + small * np.eye(n))
    for t in np.linspace(-width, width, 41):
        turned = expm(0.5j * t * sigma) @ m @ expm(-0.5j * t * sigma)
        least = np.linalg.eigvalsh(turned - below - c * np.sin(t) * np.eye(n))[0]
        assert least >= -1e-9 * np.abs(m).max()


def _question(model, seed, eps, norm="linf"):
    x, y = images(model, seed, 1)
    steps = Steps(read_gates(model))
    about = Perturbations(norm=norm, eps=(eps,), box=None)
    inside = region(x, torch.tensor([eps], dtype=x.dtype), about)
    angles = steps.gates.angles(inside.centre).flatten().numpy()
    diagonal = steps.observables[int(y)] - steps.observables[1 - int(y)]
    ball = np.inf if norm == "linf" else eps
    reach = np.ascontiguousarray(inside.width[0])
    return steps, x, y, (steps.circuit, angles, steps.widths(inside), diagonal), (
        steps.readings, reach, ball,
    )  # fmt: skip


@given(
    seed=st.integers(0, 2**20),
    qubits=st.integers(2, 4),
    repeats=st.sampled_from([0, 1, 3, -2]),
    norm=st.sampled_from(["linf", "l2"]),
)
@settings(max_examples=25)
def test_the_bound_is_the_recursion_with_dense_matrices(seed, qubits, repeats, norm):
    model = random_model(seed, qubits, 2, repeats, 0.5)
    steps, _, _, gates, region_ = _question(model, seed, 0.1, norm)
    (axes, bits, orders), angles, widths, diagonal = gates
    generator, n = np.random.default_rng(seed), len(diagonal)
    c, mu = generator.normal(size=len(axes)), 0.05
    roots = np.array([_random_hermitian(generator, n) for _ in axes]) / n
    weights = roots @ roots
    m = np.diag(diagonal).astype(complex)
    for j in reversed(range(len(axes))):
        if orders[j, 0] >= 0:
            after = np.eye(n)[orders[j]]
            m = after.T @ m @ after
        sigma = _pauli(axes[j], bits[j], n)
        m = expm(0.5j * angles[j] * sigma) @ m @ expm(-0.5j * angles[j] * sigma)
        if widths[j] > 0:
            m = _step(m, sigma, widths[j], c[j], weights[j] + mu * np.eye(n))
    pushes, reach = steps.gates.reading.numpy().T @ c, region_[1]
    fall = (reach * abs(pushes)).sum() if norm == "linf" else np.linalg.norm(pushes) * reach[0]
    expected = m[0, 0].real - fall - (abs(c) * (widths - np.sin(widths))).sum()
    assert lower_bound(*gates, *region_, weights, mu, c) == pytest.approx(expected, abs=1e-7)


@given(
    seed=st.integers(0, 2**20),
    qubits=st.integers(2, 4),
    layers=st.integers(1, 3),
    repeats=st.sampled_from([0, 1, 3, -2]),
    eps=st.floats(0.01, 0.3),
    norm=st.sampled_from(["linf", "l2"]),
)
@settings(max_examples=25)
def test_no_margin_is_below_the_bound_and_the_search_gets_near(
    seed, qubits, layers, repeats, eps, norm
):
    model = random_model(seed, qubits, layers, repeats, 0.3)
    steps, x, y, gates, region_ = _question(model, seed, eps, norm)
    if gates[2].max() >= np.pi / 2:
        return
    size = len(gates[3])
    weights, c = np.zeros((len(gates[1]), size, size), complex), np.zeros(len(gates[1]))
    centre_weights(steps.circuit, gates[1], weights)
    bound, mu, met = prove(*gates, *region_, 10.0, 40, 0.05, weights, c)
    fall = largest_fall(model, x, y, torch.tensor([eps], dtype=x.dtype), norm, None)
    assert bound <= float(fall) + 1e-9
    assert bound <= met + 1e-9
    # What is returned is the bound of what is left in the arrays.
    assert lower_bound(*gates, *region_, weights, mu, c) == pytest.approx(bound, abs=1e-12)
    if repeats:  # not where all rotations read one feature, which they may then read differently
        assert bound >= float(fall) - 6 * (gates[2] ** 2).sum() - 0.02


def test_a_region_of_one_point_has_the_margin_itself():
    model = random_model(3, 3, 2, 1, 0.5)
    steps, x, y, gates, region_ = _question(model, 3, 0.0)
    weights = np.zeros((len(gates[1]), 8, 8), complex)
    centre_weights(steps.circuit, gates[1], weights)
    bound = lower_bound(*gates, *region_, weights, 0.1, np.zeros(len(gates[1])))
    scores = model(x)[0].detach()
    assert bound == pytest.approx(float(scores[y] - scores[1 - y]), abs=1e-12)


def test_more_than_five_qubits_are_refused_in_one_line():
    model = ReUpload(6, 1, classes=2, features=18)
    about = Perturbations(norm="linf", eps=(0.1,))
    with pytest.raises(Unsupported, match=r"6 qubits: .* at most 5"):
        CircuitOperator()(model, torch.rand(2, 18), torch.zeros(2), about, torch.Generator())


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_no_image_of_500_random_circuits_is_broken_within_its_radius(norm):
    about, certified = Perturbations(norm=norm, eps=(0.05, 0.1, 0.2, 0.4), box=(0.0, 1.0)), 0
    for seed in range(500):
        model = random_model(seed, 2 + seed % 3, 1 + seed % 4, (0, 1, 3, -2)[seed % 4], 0.4)
        x, y = images(model, seed, 4)
        radius = CircuitOperator()(model, x, y, about, torch.Generator()).radius
        fall = largest_fall(model, x, y, radius, norm, about.box)
        assert (fall[radius > 0] > 0).all(), seed
        certified += int((radius > 0).sum())
    assert certified > 1000

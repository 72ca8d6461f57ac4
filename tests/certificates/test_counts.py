"""Certificates from counts: the encoding's angle, the limits, and what they cover together."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from noisy_circuits import (
    Depolarised,
    broken,
    expected_margins,
    outcome_angle,
    random_circuit,
)

from qbench.engines.sampling import SampledEngine
from qbench.errors import Unsupported, UsageError, VerificationError
from qbench.specs import Perturbations
from qbench_certificates.confidence import lower_limit, upper_limit
from qbench_certificates.counts.certificate import Counts, safe_angles
from qbench_certificates.counts.encoding import sign_patterns, turn_of
from qbench_certificates.reupload.region import Region
from qbench_engines.statevector import StatevectorEngine
from qbench_quantum.models import Amplitude, ReUpload, SplitReUpload

LINF = Perturbations(norm="linf", eps=(0.1, 0.5, 1.5), box=None)
L2 = Perturbations(norm="l2", eps=(0.1, 0.5, 1.5), box=None)


def _root(rho: torch.Tensor) -> torch.Tensor:
    values, vectors = torch.linalg.eigh(rho)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.mH


def _angle(rho: torch.Tensor, sigma: torch.Tensor) -> float:
    """Bures angle arccos tr |√ρ√σ|."""
    fidelity = float(torch.linalg.svdvals(_root(rho) @ _root(sigma)).sum())
    return math.acos(min(fidelity, 1.0))


def _around(norm: str, x: torch.Tensor, width: float) -> Region:
    return Region(norm, x, torch.full_like(x, width))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_no_perturbation_turns_a_noisy_state_further_than_the_encoding(norm: str) -> None:
    generator, width, nearest = torch.Generator().manual_seed(0), 0.3, 0.0
    for _ in range(6):
        model, x = random_circuit(generator, tight=False)
        engine, bound = model.engine, float(turn_of(model)(_around(norm, x, width)))
        assert isinstance(engine, Depolarised)
        delta = torch.randn(12, 2, generator=generator, dtype=torch.float64)
        order = math.inf if norm == "linf" else 2
        delta *= width / torch.linalg.vector_norm(delta, ord=order, dim=1, keepdim=True)
        angles = []

        class Recorder(Depolarised):
            def probabilities(self, circuit, angles_, state=None, angles=angles):
                angles.append(angles_)
                return super().probabilities(circuit, angles_, state)

        model.engine = Recorder(engine.probability)
        with torch.no_grad():
            model(torch.cat([x, x + delta]))
        rho, *others = engine.states(model.circuit, angles[0])
        for sigma in others:
            angle = _angle(rho, sigma)
            half_trace = float(torch.linalg.eigvalsh(rho - sigma).abs().sum()) / 2
            assert angle <= bound + 1e-6
            assert half_trace <= math.sin(min(bound, math.pi / 2)) + 1e-9
            nearest = max(nearest, angle / bound)
    assert nearest > 0.3  # the bound is about these states


def test_a_single_rotation_turns_as_far_as_the_bound_says() -> None:
    model, x = random_circuit(torch.Generator().manual_seed(1), tight=True)
    model.engine = engine = Depolarised(0.0)
    bound = float(turn_of(model)(_around("linf", x, 0.4)))
    moved = torch.zeros_like(model.theta)
    moved[0, 0, 1] = 0.4
    angle = [engine.states(model.circuit, (model.theta + add)[None]) for add in (0.0, moved)]
    assert _angle(angle[0][0], angle[1][0]) == pytest.approx(0.2, abs=1e-6)
    assert bound == pytest.approx(0.2, abs=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_sum_over_rotations_is_its_largest_value(norm: str) -> None:
    """Against every corner of the box, and every sign pattern of all rotations at once."""
    torch.manual_seed(0)
    model = SplitReUpload(qubits=2, layers=1, classes=2, features=4, reads=3).double()
    with torch.no_grad():
        model.w.normal_()
    reading = model.reading().detach()
    x = torch.rand(1, 4, dtype=torch.float64)
    width = torch.rand(1, 4, dtype=torch.float64) if norm == "linf" else torch.full_like(x, 0.3)
    found = float(turn_of(model)(Region(norm, x, width)))
    if norm == "linf":
        corners = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=4))).double() * width
        expected = (corners @ reading.mT).abs().sum(1).max() / 2
    else:
        signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=6))).double()
        expected = 0.3 * torch.linalg.vector_norm(signs @ reading, dim=1).max() / 2
    assert found == pytest.approx(float(expected), rel=1e-9)
    assert float(expected) < float((reading.abs().sum(0) * width).sum()) / 2


def test_rotations_of_a_large_group_are_added_up() -> None:
    reading = torch.randn(9, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    patterns, group = sign_patterns(reading)
    assert group.tolist() == [0]
    assert torch.equal(patterns, reading.abs().sum(0, keepdim=True))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_amplitudes_turn_no_further_than_their_bound(norm: str) -> None:
    torch.manual_seed(0)
    model = Amplitude(layers=1, classes=2, features=4).double()
    model.engine = SampledEngine(StatevectorEngine(), 100, 0)
    x, width = torch.tensor([[0.9, 0.2, 0.4, 0.0]]).double(), 0.2
    bound = float(turn_of(model)(_around(norm, x, width)))
    delta = torch.randn(20_000, 4).double().sign() if norm == "linf" else torch.randn(20_000, 4)
    delta = delta.double() * width
    if norm == "l2":
        delta *= width / torch.linalg.vector_norm(delta, dim=1, keepdim=True)
    cosine = torch.nn.functional.cosine_similarity(x, x + delta)
    largest = float(cosine.clamp(max=1).acos().max())
    assert largest <= bound
    assert largest > 0.8 * bound


def test_safe_angles_end_at_the_nearest_distribution_that_ties() -> None:
    """With so many shots that the limits are the frequencies; against a search of distributions."""
    p = torch.tensor([0.1, 0.55, 0.15, 0.2], dtype=torch.float64)  # 01 says class 0, 10 class 1
    n = 10**12
    angle = float(safe_angles(p[None] * n, torch.tensor([0]), n, 0.001))
    t = torch.linspace(0, 0.5, 2001, dtype=torch.float64)
    share = p[[0, 3]] / p[[0, 3]].sum()
    ties = torch.stack([(1 - 2 * t) * share[0], t, t, (1 - 2 * t) * share[1]], 1)
    nearest = float((ties * p).sqrt().sum(1).clamp(max=1).acos().min())
    assert angle == pytest.approx(nearest, abs=1e-4)
    assert angle == pytest.approx(outcome_angle(p, 0), abs=1e-4)
    assert float(safe_angles(p[None] * n, torch.tensor([1]), n, 0.001)) == 0


def test_it_asks_for_no_more_than_the_published_conditions() -> None:
    """Weber et al. 2021 from p₁ and p₂ alone, and the trace distance: both allow less."""
    for first, second in itertools.product((0.4, 0.6, 0.8, 0.95), (0.02, 0.05, 0.2)):
        if first + second > 1:
            continue
        sine = (math.sqrt(first) - math.sqrt(second)) / math.sqrt(2)
        inner = 1 - second - first * (1 - 2 * second)
        inner += 2 * math.sqrt(first * second * (1 - first) * (1 - second))
        weber = 1 - (1 + math.sqrt(inner)) / 2
        assert sine**2 >= weber - 1e-12
        if first + second == 1:
            assert sine**2 == pytest.approx(weber)
        assert sine >= (first - second) / 2


def test_both_limits_are_wrong_no_more_often_than_stated() -> None:
    p, n, failure = 0.3, 400, 0.05
    hits = torch.binomial(
        torch.full((20_000,), float(n)).double(),
        torch.full((20_000,), p).double(),
        generator=torch.Generator().manual_seed(0),
    )
    for wrong in (lower_limit(hits, n, failure) > p, upper_limit(hits, n, failure) < p):
        assert 0.03 < float(wrong.double().mean()) < failure + 0.005


def _coverage(circuits: int, failure: float, shots: int) -> tuple[int, int, int]:
    """Radii of random circuits that are wrong by brute force, angles that are, and radii above 0.

    Half of the circuits are tight, so that a wrong angle shows.
    """
    generator, wrong, off, positive = torch.Generator().manual_seed(0), 0, 0, 0
    for number in range(circuits):
        model, x = random_circuit(generator, tight=number % 2 == 0)
        engine = model.engine
        y = int(expected_margins(model, x, 0)[0] <= 0)
        model.engine = SampledEngine(engine, shots, number)
        about = (LINF, L2)[number // 2 % 2]
        radius = float(
            Counts(failure=failure)(model, x, torch.tensor([y]), about, generator).radius
        )
        heard = SampledEngine(engine, shots, number)
        angles = model.theta + (model.w * x.repeat(1, model.rotations // 2).view(model.w.shape))
        counts = heard.probabilities(model.circuit, angles[None].detach()) * shots
        safe = float(safe_angles(counts.round(), torch.tensor([y]), shots, failure))
        exact = engine.probabilities(model.circuit, angles[None].detach())[0]
        off += safe > outcome_angle(exact, y)
        positive += radius > 0
        model.engine = engine
        wrong += radius > 0 and broken(model, x, y, radius, about.norm)
    return wrong, off, positive


def _limits(circuits: int, failure: float) -> float:
    return failure * circuits + 3 * math.sqrt(failure * (1 - failure) * circuits)


def test_radii_and_angles_hold_at_least_as_often_as_stated() -> None:
    wrong, off, positive = _coverage(50, 0.05, 1000)
    assert wrong <= _limits(50, 0.05)
    assert off <= _limits(50, 0.05)
    assert positive > 30


def test_the_search_finds_what_is_not_certified() -> None:
    """Without a confidence to speak of, radii of tight circuits are wrong half of the time."""
    wrong, off, _ = _coverage(30, 0.999, 1000)
    assert wrong >= 3
    assert off >= 8


@pytest.mark.slow
@pytest.mark.parametrize(("failure", "shots"), [(0.001, 1000), (0.05, 1000), (0.2, 200)])
def test_two_thousand_circuits(failure: float, shots: int) -> None:
    wrong, off, positive = _coverage(2000, failure, shots)
    print(f"failure {failure}: {wrong} radii and {off} angles of 2000 wrong, {positive} above 0")
    assert wrong <= _limits(2000, failure)
    assert off <= _limits(2000, failure)
    assert positive > 1200


def test_a_pixel_at_the_border_of_the_box_moves_one_way_only() -> None:
    torch.manual_seed(0)
    model = ReUpload(qubits=2, layers=1, classes=2, features=2).double()
    with torch.no_grad():
        model.w.fill_(1.0)
        model.theta.copy_(torch.tensor([[[0.0, 0.4, 0.0], [0.0, 2.5, 0.0]]]))
    x = torch.zeros(1, 2, dtype=torch.float64)
    y = torch.tensor([int(model(x).argmax())])
    radii = []
    for box, centred in ((None, True), ((0.0, 1.0), True), ((0.0, 1.0), False)):
        model.engine = SampledEngine(StatevectorEngine(), 10**6, 0)
        about = Perturbations(norm="linf", eps=(1.0,), box=box)
        found = Counts(centred=centred)(model, x, y, about, torch.Generator())
        radii.append(float(found.radius))
    assert radii[2] == pytest.approx(radii[0], rel=0.01)
    assert radii[1] != pytest.approx(radii[2], rel=0.05)


def test_images_share_the_confidence_and_budgets_do_not() -> None:
    model, x = random_circuit(torch.Generator().manual_seed(0), tight=True)
    y = model(x).argmax(1)
    model.engine = SampledEngine(StatevectorEngine(), 1000, 0)
    alone = Counts()(model, x, y, LINF, torch.Generator())
    together = Counts()(model, x.expand(40, 2), y.expand(40), LINF, torch.Generator())
    assert alone.confidence == together.confidence == pytest.approx(0.999)
    assert float(together.radius.mean()) < float(alone.radius)
    assert "1000 shots a point" in str(together.detail)


class _Liar:
    name, exact, differentiable, shots = "liar", False, False, 100

    def probabilities(self, circuit, angles, state=None):
        return torch.full((len(angles), 4), 0.25123)


def test_what_it_does_not_cover_is_said() -> None:
    torch.manual_seed(0)
    model, x, y = ReUpload(qubits=2, layers=1, classes=2, features=2), torch.rand(2, 2), [0, 0]

    def certify(one, images=x):
        return Counts()(one, images, torch.tensor(y), LINF, torch.Generator())

    with pytest.raises(Unsupported, match="--shots"):
        certify(model)
    model.engine = _Liar()
    with pytest.raises(VerificationError, match="no counts of 100 shots"):
        certify(model)
    amplitude = Amplitude(layers=1, classes=2, features=4)
    amplitude.engine = SampledEngine(Depolarised(0.1), 100, 0)
    with pytest.raises(Unsupported, match="prepares amplitudes by gates with noise"):
        certify(amplitude, torch.rand(2, 4))
    with pytest.raises(UsageError, match="between 0 and 1"):
        Counts(failure=0)


@pytest.mark.slow
def test_a_compiled_circuit_reads_each_angle_once_and_without_noise_of_its_own() -> None:
    """What the bound assumes of `aer:DEVICE`: one RZ an angle, turned by it, and no noise on RZ."""
    pytest.importorskip("qiskit_ibm_runtime")
    from qbench_engines.noisy import noisy_circuit

    circuit = SplitReUpload().circuit
    noisy = noisy_circuit(circuit, False, "marrakesh")
    assert "rz" not in noisy.simulator.options.noise_model.noise_instructions
    read = []
    for gate in noisy.program.data:
        for value in gate.operation.params:
            for angle in getattr(value, "parameters", ()):
                assert gate.operation.name == "rz"
                assert abs(float(value.gradient(angle))) == 1
                read.append(angle.index)
    assert sorted(read) == sorted(set(read))
    assert len(read) <= math.prod(circuit.angles_shape)

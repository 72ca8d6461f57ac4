"""Shots: one multinomial draw a circuit, fresh at every call, with the gradient of the mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from qbench.circuits.circuit import Circuit
from qbench.circuits.torch_engine import TorchEngine, expectations
from qbench.engines import create_engine, engine_devices
from qbench.engines.sampling import (
    SampledEngine,
    draw_frequencies,
    fresh_seed,
    standard_errors,
)
from qbench.errors import PluginError, UnknownNameError, UsageError
from qbench.interfaces import Engine
from qbench.registry import Plugin, Registry
from qbench.specs import EngineSpec

CIRCUIT = Circuit(3, 2, (0, 2))


def angles(batch: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(batch, *CIRCUIT.angles_shape, generator=generator).double()


def test_frequencies_are_within_four_standard_errors_and_correlated() -> None:
    # All the weight on 00 and 11: the two wires always agree.
    exact = torch.tensor([[0.3, 0.0, 0.0, 0.7], [0.25, 0.25, 0.25, 0.25]])
    found = draw_frequencies(exact, 40_000, np.random.default_rng(1))
    assert found[0, 1] == found[0, 2] == 0
    error = expectations(found) - expectations(exact)
    assert (error.abs() <= 4 * standard_errors(exact, 40_000)).all()
    assert error.abs().max() > 0


def test_the_spread_of_many_draws_is_the_standard_error() -> None:
    exact = torch.tensor([[0.1, 0.2, 0.3, 0.4]]).double()
    draws = draw_frequencies(exact.expand(4000, -1), 50, np.random.default_rng(2))
    spread = expectations(draws).std(0)
    # ⟨Z⟩ = (-0.4, -0.2): sqrt((1 - 0.16) / 50), sqrt((1 - 0.04) / 50)
    expected = torch.tensor([0.84, 0.96]).double().div(50).sqrt()
    torch.testing.assert_close(standard_errors(exact, 50)[0], expected)
    torch.testing.assert_close(spread, expected, rtol=0.05, atol=0)
    assert standard_errors(torch.tensor([[1.0, 0.0]]), 10).item() == 0


@given(st.integers(1, 200), st.integers(0, 2**31))
def test_frequencies_are_counts_of_shots(shots: int, seed: int) -> None:
    rounded = torch.tensor([[0.5, 0.5 + 1e-6, -1e-7, 0.0], [1e-7, 1.0, 0.0, 1e-8]])
    found = draw_frequencies(rounded, shots, np.random.default_rng(seed)).double()
    counts = found * shots
    torch.testing.assert_close(counts, counts.round(), atol=1e-4, rtol=0)
    torch.testing.assert_close(counts.sum(1), torch.full((2,), float(shots)).double())
    assert (counts[:, 2:] >= 0).all()


def test_what_is_no_number_stays_so_and_spoils_its_row_only() -> None:
    exact = torch.tensor([[0.5, 0.5], [torch.nan, 0.5]])
    found = draw_frequencies(exact, 10, np.random.default_rng(0))
    assert found.isnan().any(1).tolist() == [False, True]


def test_every_call_draws_afresh_and_a_seed_repeats_them_all() -> None:
    def run() -> list[Tensor]:
        engine = SampledEngine(TorchEngine(), 100, 7)
        return [engine.probabilities(CIRCUIT, angles()) for _ in range(2)]

    first, second = run()
    assert not torch.equal(first, second)
    for a, b in zip((first, second), run(), strict=True):
        assert torch.equal(a, b)
    other = SampledEngine(TorchEngine(), 100, 8).probabilities(CIRCUIT, angles())
    assert not torch.equal(first, other)


def test_gradients_are_those_of_the_exact_probabilities() -> None:
    weights = torch.arange(4).double()
    found = []
    for engine in (TorchEngine(), SampledEngine(TorchEngine(), 10, 3)):
        x = angles().requires_grad_()
        probabilities = engine.probabilities(CIRCUIT, x)
        found.append(torch.autograd.grad((probabilities @ weights).sum(), x)[0])
    assert found[0].abs().max() > 0.1
    assert torch.equal(*found)
    counts = SampledEngine(TorchEngine(), 10, 3).probabilities(CIRCUIT, x) * 10
    assert torch.equal(counts, counts.round())  # the value itself is untouched by the gradient


def test_a_sampled_engine_says_what_it_is() -> None:
    engine = SampledEngine(TorchEngine(), 10, 3)
    assert isinstance(engine, Engine)
    assert (engine.name, engine.shots, engine.exact, engine.differentiable) == (
        "torch",
        10,
        False,
        True,
    )
    for shots in (0, -3):
        with pytest.raises(UsageError, match=f"engine 'torch': {shots} shots; give at least 1"):
            SampledEngine(TorchEngine(), shots, 0)


def test_fresh_seeds_are_never_zero_and_differ() -> None:
    generator = np.random.default_rng(0)
    seeds = [fresh_seed(generator) for _ in range(1000)]
    assert min(seeds) > 0
    assert max(seeds) < 2**31
    assert len(set(seeds)) == 1000

    class Lowest:
        def integers(self, low: int, high: int) -> int:
            return low

    assert fresh_seed(Lowest()) == 1  # type: ignore[arg-type]


class Own:
    """An engine that draws its own shots."""

    name, exact, differentiable = "own", False, False

    def __init__(self, device: str = "none", shots: int | None = None, seed: int = 0) -> None:
        self.device, self.shots, self.seed = device, shots, seed

    def probabilities(
        self, circuit: Circuit, angles: Tensor, state: Tensor | None = None
    ) -> Tensor:
        raise NotImplementedError


def own_devices() -> list[dict[str, str]]:
    return [{"name": "a"}, {"name": "b"}]


def spec(name: str, factory: str, **more: object) -> EngineSpec:
    return EngineSpec(
        name=name,
        description="",
        factory=f"{__name__}:{factory}",
        exact=False,
        differentiable=False,
        **more,  # type: ignore[arg-type]
    )


class Provider:
    @staticmethod
    def qbench_engines() -> list[EngineSpec]:
        devices = f"{__name__}:own_devices"
        return [
            spec("own", "Own", devices=devices, samples=True),
            spec("plain", "TorchEngine"),
            spec("broken", "own_devices"),
        ]


@pytest.fixture
def registry() -> Registry:
    import pluggy

    implementation = pluggy.HookimplMarker("qbench")
    provider = Provider()
    Provider.qbench_engines = staticmethod(implementation(Provider.qbench_engines))  # type: ignore[method-assign]
    registry = Registry()
    registry.add(Plugin("test", "here", "1"), provider)
    return registry


def test_engines_by_name(registry: Registry) -> None:
    assert isinstance(create_engine("plain", registry=registry), TorchEngine)
    sampled = create_engine("plain", 20, 3, registry)
    assert isinstance(sampled, SampledEngine)
    assert isinstance(sampled.engine, TorchEngine)
    assert sampled.shots == 20
    own = create_engine("own:a", 20, 3, registry)
    assert isinstance(own, Own)
    assert (own.device, own.shots, own.seed) == ("a", 20, 3)
    own = create_engine("own:b:c", registry=registry)
    assert isinstance(own, Own)
    assert (own.device, own.shots) == ("b:c", None)
    assert [row["name"] for row in engine_devices("own", registry)] == ["a", "b"]
    assert engine_devices("plain", registry) == []


@pytest.mark.parametrize(
    ("text", "shots", "error", "message"),
    [
        ("plane", None, UnknownNameError, "unknown engine 'plane': did you mean plain"),
        ("plain:a", None, UsageError, "'plain' takes no device, got 'plain:a'"),
        ("own:", None, UsageError, "names no device"),
        ("plain", 0, UsageError, "0 shots; give at least 1"),
        ("own", -1, UsageError, "-1 shots"),
        ("broken", None, PluginError, "made a list, which is no engine"),
    ],
)
def test_bad_names_and_shots(
    registry: Registry, text: str, shots: int | None, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        create_engine(text, shots, 0, registry)

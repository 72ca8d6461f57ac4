"""What must hold of an engine: the contract of `interfaces.Engine`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from qbench.circuits.circuit import Circuit
from qbench.circuits.torch_engine import TorchEngine
from qbench.engines import create_engine
from qbench.errors import Unsupported
from qbench.interfaces import Engine
from qbench.registry import load_registry
from qbench.testing.check import Check, require
from qbench.testing.target import Target

TOLERANCE = 1e-5  # of a probability; devices that compute in single precision keep it
SLOPE = 1e-4  # of a gradient, relative to the largest
SHOTS = 2000
DEVIATIONS = 6.0

Case = tuple[Circuit, Tensor, Tensor | None]


def cases() -> Iterator[Case]:
    """Circuits with wires in any order, rings and lines, and angles and states of each shape."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    for circuit in (
        Circuit(3, 2, (0, 1)),
        Circuit(4, 3, (3, 0, 2), closed=False),
        Circuit(2, 1, (1,)),
    ):
        states = normal(3, 2**circuit.qubits)
        states /= states.norm(dim=1, keepdim=True)
        yield circuit, 3 * normal(3, *circuit.angles_shape), None
        yield circuit, 3 * normal(*circuit.angles_shape), states


def checks(target: Target) -> list[Check]:
    """The checks of an engine."""
    kit = _EngineKit(target)
    spec = load_registry(target.plugins).get("engine", target.name).spec
    found = [
        Check(str(target), "is made", kit.made, first=True),
        Check(str(target), "probabilities: none negative, their sum is 1", kit.distributions),
    ]
    if spec.exact:
        found.append(Check(str(target), "agrees with the reference engine", kit.agrees))
        found.append(Check(str(target), "shots scatter as they must", kit.sampled))
    name = "gradients agree" if spec.differentiable else "refuses gradients, as declared"
    found.append(Check(str(target), name, kit.gradients if spec.differentiable else kit.refuses))
    return found


class _EngineKit:
    def __init__(self, target: Target) -> None:
        self.target = target
        self.registry = load_registry(target.plugins)
        self.spec = self.registry.get("engine", target.name).spec

    def create(self, shots: int | None = None) -> Engine:
        return create_engine(self.target.text, shots, seed=0, registry=self.registry)

    @cached_property
    def engine(self) -> Engine:
        # What is no exact simulator and draws shots itself may be unable to do without.
        return self.create(SHOTS if self.spec.samples and not self.spec.exact else None)

    @property
    def noisy(self) -> bool:
        """Whether a device was named whose probabilities are not the circuit's."""
        return not self.engine.exact

    def made(self) -> str:
        engine = self.engine
        require(
            engine.exact == self.spec.exact or ":" in self.target.text,
            f"its spec says exact={self.spec.exact}, and the engine exact={engine.exact}",
        )
        return ""

    def distributions(self) -> str:
        for circuit, angles, state in cases():
            found = self.engine.probabilities(circuit, angles.clone(), _copy(state))
            batch = len(angles) if state is None else len(state)
            expected = (batch, 2 ** len(circuit.measured))
            require(
                isinstance(found, Tensor) and tuple(found.shape) == expected,
                f"{_what(found)} for {_words(circuit)}: give probabilities {expected}",
            )
            require(bool((found >= -TOLERANCE).all()), f"a negative one for {_words(circuit)}")
            off = float((found.sum(1) - 1).abs().max())
            require(off <= TOLERANCE, f"a sum that is {off:.2g} off for {_words(circuit)}")
        return ""

    def agrees(self) -> str:
        if self.noisy:
            return "not asked: the device is noisy"
        largest = 0.0
        for circuit, angles, state in cases():
            found = self.engine.probabilities(circuit, angles.clone(), _copy(state)).double()
            off = float((found - _reference(circuit, angles, state)).abs().max())
            about = "" if state is None else " from given states"
            require(
                off <= TOLERANCE,
                f"off by {off:.2g} for {_words(circuit)}{about}: compare the order of wires, gates "
                "and CNOTs with qbench.circuits",
            )
            largest = max(largest, off)
        return f"within {largest:.1g}"

    def sampled(self) -> str:
        if self.noisy:
            return "not asked: the device is noisy"
        engine = self.create(SHOTS)
        draws = []
        for circuit, angles, state in cases():
            exact = _reference(circuit, angles, state)
            found = engine.probabilities(circuit, angles.clone(), _copy(state)).double()
            allowed = DEVIATIONS * (exact * (1 - exact) / SHOTS).sqrt() + 1 / SHOTS
            require(
                bool(((found - exact).abs() <= allowed).all()),
                f"{SHOTS} shots of {_words(circuit)} are more than {DEVIATIONS:g} standard "
                "deviations off",
            )
            draws.append((found, engine.probabilities(circuit, angles.clone(), _copy(state))))
        require(
            any(not torch.equal(one, other.double()) for one, other in draws),
            "two calls draw the same shots: draw afresh at every call",
        )
        return f"{SHOTS} shots"

    def gradients(self) -> str:
        if not self.engine.differentiable:
            return "not asked: this device has none"
        for circuit, angles, state in cases():
            mine = _slopes(self.engine, circuit, angles, state)
            exact = _slopes(TorchEngine(), circuit, angles, state)
            for found, expected in zip(mine, exact, strict=True):
                off = float((found.double() - expected).abs().max())
                require(
                    off <= SLOPE * float(expected.abs().max()),
                    f"off by {off:.2g} for {_words(circuit)}: give the true gradient, or declare "
                    "differentiable=False",
                )
        return "with the reference engine's"

    def refuses(self) -> str:
        circuit, angles, state = next(cases())
        try:
            _slopes(self.engine, circuit, angles, state)
        except Unsupported:
            return ""
        except RuntimeError as error:
            require("requires_grad" not in str(error), _SILENT)
            raise
        require(False, _SILENT)
        return ""


_SILENT = "asked for a gradient, it gives scores without one: raise errors.Unsupported"


def _reference(circuit: Circuit, angles: Tensor, state: Tensor | None) -> Tensor:
    return TorchEngine().probabilities(circuit, angles, state)


def _slopes(engine: Engine, circuit: Circuit, angles: Tensor, state: Tensor | None) -> list[Tensor]:
    """Gradients of a fixed sum of the probabilities, by the angles and, if given, the state."""
    leaves = [x.clone().requires_grad_() for x in (angles, state) if x is not None]
    found = engine.probabilities(circuit, *leaves)
    weights = torch.linspace(-1, 2, found.shape[1]).to(found)
    return list(torch.autograd.grad((found @ weights).sum(), leaves))


def _copy(state: Tensor | None) -> Tensor | None:
    return None if state is None else state.clone()


def _what(value: object) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _words(circuit: Circuit) -> str:
    return f"{circuit.qubits} qubits, {circuit.layers} layers, wires {circuit.measured}"

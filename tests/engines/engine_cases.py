"""Circuits, inputs and a reference that the engine tests share."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from qbench.circuits.circuit import Circuit
from qbench.circuits.torch_engine import TorchEngine

needs_pennylane = pytest.mark.skipif(
    find_spec("pennylane") is None,
    reason="needs PennyLane: the extra pennylane",
)
needs_qiskit = pytest.mark.skipif(
    any(
        find_spec(name) is None for name in ("qiskit_aer", "qiskit_ibm_runtime", "pennylane_qiskit")
    ),
    reason="needs Qiskit: the extra qiskit",
)
KINDS = ("angles", "one set of angles", "angles and states", "states", "angles and one state")
Inputs = tuple[Tensor, Tensor | None]


@st.composite
def circuits(draw: st.DrawFn, largest: int = 6) -> Circuit:
    n, layers = draw(st.integers(2, largest)), draw(st.integers(1, 4))
    wires = st.lists(st.integers(0, n - 1), min_size=1, max_size=4, unique=True)
    ranges = st.lists(st.integers(1, n - 1), min_size=layers, max_size=layers)
    return Circuit(n, layers, tuple(draw(wires)), tuple(draw(ranges)), draw(st.booleans()))


def inputs(circuit: Circuit, kind: str, batch: int = 3, seed: int = 0) -> Inputs:
    """Random angles, and unit states with negative and zero amplitudes, in float64."""
    generator = torch.Generator().manual_seed(seed)
    lead = () if kind in (KINDS[1], KINDS[3]) else (batch,)
    angles = 3 * torch.randn(*lead, *circuit.angles_shape, generator=generator).double()
    if kind in KINDS[:2]:
        return angles, None
    states = torch.randn(batch, 2**circuit.qubits, generator=generator).double()
    states[:, :2] = 0
    if kind == KINDS[4]:
        states = states[:1]
    return angles, states / states.norm(dim=1, keepdim=True)


def reference(circuit: Circuit, given: Inputs) -> Tensor:
    """Exact probabilities in float64."""
    angles, state = given
    return TorchEngine().probabilities(
        circuit, angles.double(), None if state is None else state.double()
    )


def gradients(engine: Any, circuit: Circuit, given: Inputs) -> list[Tensor]:
    """Of a fixed random projection of the probabilities, by angles and state."""
    leaves = [x.detach().clone().requires_grad_() for x in given if x is not None]
    found = engine.probabilities(circuit, *leaves)
    weights = torch.randn(found.shape[1], generator=torch.Generator().manual_seed(2))
    return list(torch.autograd.grad((found @ weights.to(found)).sum(), leaves))


def random_weights(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model with every parameter uniform in [-3, 3]."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        nn.init.uniform_(parameter, -3, 3, generator=generator)
    return model

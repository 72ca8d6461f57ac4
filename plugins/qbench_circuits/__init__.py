"""Circuits of one's own, from Qiskit, PennyLane or OpenQASM, as torch modules for every engine."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import Tensor, nn

from qbench.errors import UsageError
from qbench.extras import install_command
from qbench.interfaces import Engine
from qbench_circuits.layer import CircuitLayer

__all__ = ["CircuitLayer", "from_openqasm", "from_pennylane", "from_qiskit", "to_openqasm"]


def from_qiskit(
    circuit: Any,
    inputs: Any,
    weights: Sequence[float] | None = None,
    readout: Literal["expectations", "probabilities"] = "expectations",
    engine: Engine | None = None,
) -> CircuitLayer:
    """A Qiskit circuit as a module from images (n, features) to what its measurements give.

    Args:
        circuit: A `QuantumCircuit`. Qubits are measured at its end, if at all: classical bit k is
            score k. Without measurements all qubits are read out in order.
        inputs: Its parameters that are the features of an image, in order, as a `ParameterVector`,
            a list of `Parameter`s or of their names. Angles may be any expression of parameters.
        weights: Where the other parameters start, in the order of `circuit.parameters`; uniform in
            [0, 2π) if not given. They are the trained parameter `weights` of the module.
        readout: `"expectations"` ⟨Z⟩ of each measured qubit, (n, m), or the `"probabilities"` of
            the outcomes, (n, 2^m), with the first measured qubit as the highest bit.
        engine: Where it runs; the engine `statevector` by default.

    Raises:
        UsageError: Qiskit is not installed, or the circuit has something that no engine runs.
    """
    layer = _module("qiskit_layer", "qiskit", "qiskit")
    return layer.QiskitLayer(circuit, inputs, weights, readout, engine)  # type: ignore[no-any-return]


def from_openqasm(
    text: str,
    inputs: Sequence[str],
    weights: Sequence[float] | None = None,
    readout: Literal["expectations", "probabilities"] = "expectations",
    engine: Engine | None = None,
) -> CircuitLayer:
    """A circuit in OpenQASM 3, whose `input float` are features and weights, as a module.

    Args:
        text: The program: gates of `stdgates.inc`, `U`, `CX` and gates that it defines itself, on
            qubits that are measured at the end. No loops, branches or classical computation.
        inputs: Names of those inputs that are the features of an image, in order.
        weights, readout, engine: See `from_qiskit`; weights are in the order of their names.

    Raises:
        UsageError: Qiskit is not installed, or the program has something else in it.
    """
    reader = _module("openqasm", "qiskit", "qiskit")
    return from_qiskit(reader.read(text), inputs, weights, readout, engine)


def from_pennylane(
    circuit: Any,
    features: int,
    weights: Mapping[str, Any] | None = None,
    engine: Engine | None = None,
) -> CircuitLayer:
    """A PennyLane QNode or `TorchLayer` as a module from images (n, features) to its measurements.

    The QNode's own device is not used. It returns expectation values, or probabilities, whose
    observables commute qubit by qubit.

    Args:
        circuit: A QNode of the images and of weights, or a `TorchLayer`. It runs for a batch of
            images at once if that gives what each image gives (`inputs[..., 0]` instead of
            `inputs[0]`), and else image by image.
        features: Length of an image.
        weights: The QNode's other arguments, as tensors to start from, or as shapes, which start
            uniform in [0, 2π). They are trained parameters of the module. Those of a `TorchLayer`
            are its own.
        engine: Where it runs; the engine `statevector` by default.

    Raises:
        UsageError: PennyLane is not installed, or the circuit has something that no engine runs.
    """
    layer = _module("pennylane_layer", "pennylane", "pennylane")
    return layer.PennyLaneLayer(circuit, features, weights, engine)  # type: ignore[no-any-return]


def to_openqasm(model: nn.Module, x: Tensor | None = None) -> list[str]:
    """What a model runs, as programs in OpenQASM 3 with its measurements.

    Args:
        model: Any model whose circuits run on an engine, also of qbench's own.
        x: Images (n, features): one program for each circuit, with all angles as numbers. None
            for the one program of a circuit from Qiskit or OpenQASM, with its parameters.

    Raises:
        UsageError: Qiskit is not installed, or the model runs no such circuits.
    """
    writer = _module("export", "qiskit", "qiskit")
    return writer.programs(model, x)  # type: ignore[no-any-return]


def _module(name: str, package: str, extra: str) -> Any:
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise UsageError(
            f"circuits of {package} need it, and it cannot be imported ({error}): "
            f"{install_command(extra)}"
        ) from error
    return importlib.import_module(f"qbench_circuits.{name}")

"""The circuits as a PennyLane user writes them: templates, QNodes and `TorchLayer` modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pennylane as qml
from torch import Tensor, nn
from torch.nn.functional import pad

from qbench.circuits.circuit import Circuit
from qbench.errors import Unsupported
from qbench_quantum.models import Amplitude, ReUpload, SplitReUpload

Measurements = list[Any]
_GATES = {"AmplitudeEmbedding", "Rot", "CNOT"}


def make_device(name: str, wires: int, **options: Any) -> Any:
    """A PennyLane device; `qiskit.aer` as state vectors, the only method that is exact."""
    own = {"method": "statevector"} if name == "qiskit.aer" else {}
    return qml.device(name, wires=wires, **own, **options)


def difference_method(device: Any) -> str | None:
    """How a device differentiates circuits itself; None where only parameter shifts are left.

    Those take 1536 circuits for each image of the paper's models.
    """
    for method in ("backprop", "adjoint"):
        if device.supports_derivatives(qml.devices.ExecutionConfig(gradient_method=method)):
            return method
    return None


def qnode(device: Any, function: Callable[..., Any]) -> Any:
    """A QNode with the torch interface, differentiated as the device does it, or not at all."""
    method = difference_method(device)
    node = qml.QNode(function, device, interface="torch", diff_method=method)
    if method is not None:
        return node
    # Devices of older plugins know no batches: gate by gate, PennyLane can take them apart.
    decomposed = qml.transforms.decompose(node, gate_set=_GATES)
    return qml.transforms.broadcast_expand(decomposed)


def entangle(circuit: Circuit, angles: Tensor) -> None:
    """`StronglyEntanglingLayers`, angles (layers, qubits, 3) or with a batch.

    The template knows only rings: other circuits are written gate by gate.
    """
    if circuit.closed and circuit.couplings is None:
        qml.StronglyEntanglingLayers(angles, wires=range(circuit.qubits), ranges=circuit.ranges)
        return
    for layer, cnots in enumerate(circuit.cnots):
        for wire in range(circuit.qubits):
            qml.Rot(*angles[..., layer, wire, :].unbind(-1), wires=wire)
        for pair in cnots:
            qml.CNOT(wires=pair)


def scores(circuit: Circuit) -> Measurements:
    """⟨Z⟩ of each measured wire: the scores of the classes."""
    return [qml.expval(qml.Z(wire)) for wire in circuit.measured]


def reupload_qnode(circuit: Circuit, device: str = "default.qubit") -> Any:
    """The re-uploading circuit, `node(inputs, w, theta)` → one score ⟨Z⟩ for each measured wire.

    `inputs` is an image (features,) or a batch of them; `w` and `theta` (layers, qubits, 3).
    """
    gates = 3 * circuit.qubits * circuit.layers

    def node(inputs: Tensor, w: Tensor, theta: Tensor) -> Measurements:
        lead = inputs.shape[:-1]
        tiled = inputs.repeat(*(1 for _ in lead), -(-gates // inputs.shape[-1]))[..., :gates]
        entangle(circuit, theta + w * tiled.reshape(*lead, *circuit.angles_shape))
        return scores(circuit)

    return qnode(make_device(device, circuit.qubits), node)


def split_qnode(circuit: Circuit, device: str = "default.qubit") -> Any:
    """Re-uploading in few layers, `node(inputs, w, theta)` → one score ⟨Z⟩ for each measured wire.

    `inputs` is an image (features,) or a batch of them, `w` (reads, features) and `theta` (layers,
    qubits, 3): the reads go to the rotations in turn, and each rotation adds up its own.
    """
    rotations = 3 * circuit.qubits * circuit.layers

    def node(inputs: Tensor, w: Tensor, theta: Tensor) -> Measurements:
        lead = inputs.shape[:-1]
        reads = (inputs[..., None, :] * w).flatten(-2)
        full = pad(reads, (0, -reads.shape[-1] % rotations))
        entangle(circuit, theta + full.reshape(*lead, -1, *circuit.angles_shape).sum(len(lead)))
        return scores(circuit)

    return qnode(make_device(device, circuit.qubits), node)


def amplitude_qnode(circuit: Circuit, device: str = "default.qubit") -> Any:
    """The amplitude circuit, `node(inputs, theta)` → one score ⟨Z⟩ for each measured wire.

    `inputs` is an image (2^n,) or a batch of them, normalised by the embedding.
    """

    def node(inputs: Tensor, theta: Tensor) -> Measurements:
        qml.AmplitudeEmbedding(inputs, wires=range(circuit.qubits), normalize=True)
        entangle(circuit, theta)
        return scores(circuit)

    return qnode(make_device(device, circuit.qubits), node)


def torch_layer(model: nn.Module, device: str = "default.qubit") -> Any:
    """A model of `qbench_quantum` as a `qml.qnn.TorchLayer` with a copy of its parameters.

    Maps images (n, features) to scores (n, classes). On `lightning.qubit`, PennyLane's gradient of
    an amplitude embedding is NaN at images with two neighbouring zero pixels.

    Raises:
        Unsupported: The model is neither `ReUpload`, `SplitReUpload` nor `Amplitude`.
    """
    if isinstance(model, ReUpload):
        node = reupload_qnode(model.circuit, device)
    elif isinstance(model, SplitReUpload):
        node = split_qnode(model.circuit, device)
    elif isinstance(model, Amplitude):
        node = amplitude_qnode(model.circuit, device)
    else:
        raise Unsupported(f"{type(model).__name__} is no re-uploading or amplitude circuit")
    values = {name: value.detach().clone() for name, value in model.named_parameters()}
    shapes = {name: tuple(value.shape) for name, value in values.items()}
    return qml.qnn.TorchLayer(node, shapes, init_method=values)

"""Who takes part: our engines, and what other libraries' users would write.

Other libraries are imported by name at run time: they are optional, and take seconds to load.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial, reduce
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qbench.circuits.circuit import Circuit, z_signs
from qbench.circuits.torch_engine import TorchEngine
from qbench_bench.problem import Contender, Prepared, Problem, Result, by_autograd, by_engine
from qbench_bench.report import threads as counted
from qbench_engines.statevector import StatevectorEngine

DEFAULT = "statevector"
ONE_THREAD = "statevector, 1 thread"


def contenders(threads: int) -> tuple[Contender, ...]:
    """Every contender, the default engine first.

    Args:
        threads: How many the default engine uses.
    """
    broadcast = partial(_pennylane, call=_batched, device="default.qubit", method="backprop")
    looped = partial(_pennylane, call=_looped, device="default.qubit", method="backprop")
    return (
        Contender(
            DEFAULT,
            f"our default engine, float32, adjoint gradient, {counted(threads)}",
            partial(by_engine, engine=StatevectorEngine(threads)),
            whole=True,
        ),
        Contender(
            ONE_THREAD,
            "the same on one thread",
            partial(by_engine, engine=StatevectorEngine(1)),
            whole=True,
        ),
        Contender(
            "torch",
            "our reference engine: plain torch, complex64, autograd",
            partial(by_engine, engine=TorchEngine()),
        ),
        *_on_a_gpu(),
        Contender(
            "JAX, fused",
            "written by hand for JAX, complex64, jit over the whole of forward and reverse; "
            "compilation not counted",
            _jax,
            ("jax",),
            torch=False,
        ),
        Contender(
            "qulacs",
            "qulacs (C++), complex128, `backprop` of a weighted observable, one sample after "
            "another; setting the angles is counted",
            _qulacs,
            ("qulacs",),
            loops=True,
            torch=False,
        ),
        Contender(
            "pyqtorch",
            "pyqtorch, complex64, the batch at once, autograd",
            _pyqtorch,
            ("pyqtorch",),
        ),
        Contender(
            "default.qubit, broadcast",
            "PennyLane default.qubit, backprop through torch, one QNode call with the whole batch "
            "of angles (parameter broadcasting)",
            broadcast,
            ("pennylane",),
        ),
        Contender(
            "default.qubit, loop",
            "PennyLane default.qubit, backprop through torch, one QNode call a sample",
            looped,
            ("pennylane",),
            loops=True,
        ),
        Contender(
            "lightning.qubit",
            "PennyLane lightning.qubit (C++), complex64, adjoint, one QNode call with the batch, "
            "which PennyLane runs one by one",
            _lightning,
            ("pennylane", "pennylane_lightning"),
            loops=True,
        ),
    )


def _on_a_gpu() -> Iterator[Contender]:
    """The `torch` engine on the GPU that torch has, if it has one."""
    if torch.cuda.is_available():
        yield Contender(
            "torch, GPU",
            f"the same on {torch.cuda.get_device_name()}; angles lie there before, results are "
            "copied back",
            _gpu,
            torch=False,
        )


def _gpu(problem: Problem) -> Prepared:
    there = Problem(problem.circuit, problem.angles.cuda(), problem.cotangent.cuda())
    prepared = by_engine(there, TorchEngine())

    def gradient() -> Result:
        values, by_angle = prepared.gradient()
        return values.cpu(), by_angle.cpu()

    return Prepared(lambda: prepared.forward().cpu(), gradient)


def _pennylane(
    problem: Problem,
    call: Callable[[Callable[..., Any], Tensor], Tensor],
    device: str,
    method: str,
    **options: Any,
) -> Prepared:
    """PennyLane as its users write it: a QNode with the torch interface."""
    qml: Any = import_module("pennylane")
    circuit = problem.circuit

    def layers(weights: Tensor) -> list[Any]:
        qml.StronglyEntanglingLayers(weights, wires=range(circuit.qubits), ranges=circuit.ranges)
        return [qml.expval(qml.Z(wire)) for wire in circuit.measured]

    simulator = qml.device(device, wires=circuit.qubits, **options)
    node = qml.QNode(layers, simulator, interface="torch", diff_method=method)
    return by_autograd(problem, partial(call, node))


def _lightning(problem: Problem) -> Prepared:
    return _pennylane(problem, _batched, "lightning.qubit", "adjoint", c_dtype=np.complex64)


def _looped(node: Callable[..., Any], angles: Tensor) -> Tensor:
    return torch.stack([torch.stack(tuple(node(one))) for one in angles])


def _batched(node: Callable[..., Any], angles: Tensor) -> Tensor:
    return torch.stack(tuple(node(angles)), -1)


def _jax(problem: Problem) -> Prepared:
    """The two products and the permutation a layer of the `torch` engine, compiled as a whole.

    Of four forms that were tried this `lax.scan` over the layers was the fastest: the unrolled loop
    took seven times as long, real and imaginary parts in separate arrays twice as long, gate by
    gate as well.
    """
    jax: Any = import_module("jax")
    cpu = jax.devices("cpu")[0]
    angles = jax.device_put(problem.angles.numpy(), cpu)
    cotangent = jax.device_put(problem.cotangent.numpy(), cpu)
    values = partial(_jax_values, problem.circuit)

    def both(angles: Any, cotangent: Any) -> Result:
        found, pull = jax.vjp(values, angles)
        return found, pull(cotangent)[0]

    forward, gradient = jax.jit(values), jax.jit(both)
    return Prepared(
        lambda: jax.block_until_ready(forward(angles)),
        lambda: jax.block_until_ready(gradient(angles, cotangent)),
    )


def _jax_values(circuit: Circuit, angles: Any) -> Any:
    """⟨Z⟩ of the measured wires (batch, m) of angles (batch, layers, qubits, 3)."""
    jax: Any = import_module("jax")
    jnp: Any = import_module("jax.numpy")
    batch, half = angles.shape[0], (circuit.qubits + 1) // 2
    phi, theta, omega = angles[..., 0], angles[..., 1], angles[..., 2]
    cos, sin = jnp.cos(theta / 2), jnp.sin(theta / 2)
    plus, minus = (phi + omega) / 2, (phi - omega) / 2
    a = jax.lax.complex(cos * jnp.cos(plus), -cos * jnp.sin(plus))
    b = jax.lax.complex(-sin * jnp.cos(minus), -sin * jnp.sin(minus))
    gates = jnp.stack([a, b, -b.conj(), a.conj()], -1).reshape(*a.shape, 2, 2).swapaxes(0, 1)

    def product(left: Any, right: Any) -> Any:
        size = left.shape[-1] * right.shape[-1]
        joint = jnp.einsum("...ij,...kl->...ikjl", left, right)
        return joint.reshape(*left.shape[:-2], size, size)

    rows = reduce(product, [gates[:, :, wire] for wire in range(half)])
    columns = reduce(product, [gates[:, :, wire] for wire in range(half, circuit.qubits)])
    psi = jnp.zeros((batch, rows.shape[-1], columns.shape[-1]), jnp.complex64).at[:, 0, 0].set(1)

    def layer(psi: Any, step: Any) -> tuple[Any, None]:
        left, right, ring = step
        turned = left @ psi @ right
        return turned.reshape(batch, -1)[:, ring].reshape(psi.shape), None

    steps = rows, columns.swapaxes(-1, -2), jnp.asarray(circuit.permutations)
    psi, _ = jax.lax.scan(layer, psi, steps)
    density = (psi.real**2 + psi.imag**2).reshape(batch, -1)
    return density @ jnp.asarray(z_signs(len(circuit.measured))[circuit.outcomes], jnp.float32)


def _qulacs(problem: Problem) -> Prepared:
    qulacs: Any = import_module("qulacs")
    circuit, n = problem.circuit, problem.circuit.qubits
    program, state = qulacs.ParametricQuantumCircuit(n), qulacs.QuantumState(n)
    for cnots in circuit.cnots:
        for wire in range(n):
            program.add_parametric_RZ_gate(wire, 0.0)
            program.add_parametric_RY_gate(wire, 0.0)
            program.add_parametric_RZ_gate(wire, 0.0)
        for cnot in cnots:
            program.add_CNOT_gate(*cnot)

    def observable(weights: dict[int, float]) -> Any:
        total = qulacs.Observable(n)
        for wire, weight in weights.items():
            total.add_operator(weight, f"Z {wire}")
        return total

    single = [observable({wire: 1.0}) for wire in circuit.measured]
    # qulacs turns the other way: its RZ(a) is exp(+i a Z / 2).
    rows = [(-angles).flatten().tolist() for angles in problem.angles]
    weights = problem.cotangent.tolist()

    def values(row: list[float]) -> list[float]:
        for place, angle in enumerate(row):
            program.set_parameter(place, angle)
        state.set_zero_state()
        program.update_quantum_state(state)
        return [one.get_expectation_value(state) for one in single]

    def gradient() -> Result:
        found, by_angle = [], []
        for row, weight in zip(rows, weights, strict=True):
            found.append(values(row))
            target = observable(dict(zip(circuit.measured, weight, strict=True)))
            by_angle.append(program.backprop(target))
        return np.array(found), -np.array(by_angle).reshape(problem.angles.shape)

    return Prepared(lambda: [values(row) for row in rows], gradient)


def _pyqtorch(problem: Problem) -> Prepared:
    pyq: Any = import_module("pyqtorch")
    circuit, n, batch = problem.circuit, problem.circuit.qubits, len(problem.angles)
    signs = torch.as_tensor(z_signs(len(circuit.measured))[circuit.outcomes]).float()
    gates: list[Any] = []
    names: list[str] = []  # of the angles, in their order
    for layer, cnots in enumerate(circuit.cnots):
        for wire in range(n):
            for k, turn in enumerate((pyq.RZ, pyq.RY, pyq.RZ)):
                names.append(f"a{layer}_{wire}_{k}")
                gates.append(turn(wire, names[-1]))
        gates += [pyq.CNOT(*cnot) for cnot in cnots]
    program = pyq.QuantumCircuit(n, gates).to(torch.complex64)

    def values(angles: Tensor) -> Tensor:
        start = pyq.zero_state(n, batch_size=batch, dtype=torch.complex64)
        named = dict(zip(names, angles.flatten(1).unbind(1), strict=True))
        final = program.run(state=start, values=named)
        return torch.view_as_real(final.reshape(2**n, batch)).square().sum(-1).T @ signs

    return by_autograd(problem, values)

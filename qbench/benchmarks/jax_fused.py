"""The circuit written by hand for JAX and compiled as a whole, forward and reverse.

The same two products and a permutation a layer as in the `torch` engine, in a `lax.scan` over the
layers. Of four forms that were tried this was the fastest: the unrolled loop took seven times as
long, real and imaginary parts in separate arrays twice as long, gate by gate as well.
"""

from __future__ import annotations

from functools import reduce
from importlib import import_module
from typing import Any

from qbench.benchmarks.problem import Contender, Prepared, Problem, Result
from qbench.circuits.circuit import Circuit, z_signs


def _values(circuit: Circuit, angles: Any) -> Any:
    """⟨Z⟩ of the measured wires (batch, m) of angles (batch, layers, qubits, 3)."""
    jax: Any = import_module("jax")
    np: Any = import_module("jax.numpy")
    batch, half = angles.shape[0], (circuit.qubits + 1) // 2
    phi, theta, omega = angles[..., 0], angles[..., 1], angles[..., 2]
    cos, sin = np.cos(theta / 2), np.sin(theta / 2)
    plus, minus = (phi + omega) / 2, (phi - omega) / 2
    a = jax.lax.complex(cos * np.cos(plus), -cos * np.sin(plus))
    b = jax.lax.complex(-sin * np.cos(minus), -sin * np.sin(minus))
    gates = np.stack([a, b, -b.conj(), a.conj()], -1).reshape(*a.shape, 2, 2).swapaxes(0, 1)

    def product(left: Any, right: Any) -> Any:
        size = left.shape[-1] * right.shape[-1]
        joint = np.einsum("...ij,...kl->...ikjl", left, right)
        return joint.reshape(*left.shape[:-2], size, size)

    rows = reduce(product, [gates[:, :, wire] for wire in range(half)])
    columns = reduce(product, [gates[:, :, wire] for wire in range(half, circuit.qubits)])
    psi = np.zeros((batch, rows.shape[-1], columns.shape[-1]), np.complex64).at[:, 0, 0].set(1)

    def layer(psi: Any, step: Any) -> tuple[Any, None]:
        left, right, ring = step
        turned = left @ psi @ right
        return turned.reshape(batch, -1)[:, ring].reshape(psi.shape), None

    steps = rows, columns.swapaxes(-1, -2), np.asarray(circuit.permutations)
    psi, _ = jax.lax.scan(layer, psi, steps)
    density = (psi.real**2 + psi.imag**2).reshape(batch, -1)
    return density @ np.asarray(z_signs(len(circuit.measured))[circuit.outcomes], np.float32)


def _prepare(problem: Problem) -> Prepared:
    jax: Any = import_module("jax")
    cpu = jax.devices("cpu")[0]
    angles = jax.device_put(problem.angles.numpy(), cpu)
    cotangent = jax.device_put(problem.cotangent.numpy(), cpu)

    def both(angles: Any, cotangent: Any) -> Result:
        values, pull = jax.vjp(lambda x: _values(problem.circuit, x), angles)
        return values, pull(cotangent)[0]

    forward, gradient = jax.jit(lambda x: _values(problem.circuit, x)), jax.jit(both)
    return Prepared(
        lambda: jax.block_until_ready(forward(angles)),
        lambda: jax.block_until_ready(gradient(angles, cotangent)),
    )


FUSED = Contender(
    "JAX, fused",
    "written by hand for JAX, complex64, jit over the whole of forward and reverse; compilation "
    "not counted",
    _prepare,
    ("jax",),
    torch=False,
)

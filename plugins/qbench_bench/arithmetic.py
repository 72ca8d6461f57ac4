"""How much arithmetic a circuit takes, and how close the default engine comes to that alone.

Counted are multiply-adds of real numbers, a·b + c, for one sample: one instruction of every modern
vector unit. A lone product counts as one too; sines and cosines, loads, stores and the CNOT rings,
which only permute, count nothing. `FORMS` are two ways to compute the same circuit. A complex 2x2
matrix takes 16 for a pair of amplitudes, a product with a Pauli matrix 4 a pair, a complex factor
4, Im(λ* ψ) 2. Reading out |ψ|² takes 2 an amplitude, starting the adjoint with λ = g ψ 2 more.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from itertools import product
from typing import Literal

from qbench.circuits.circuit import Circuit
from qbench_bench.peak import MULTIPLY_ADDS, peak_kernel
from qbench_bench.problem import Problem, by_engine
from qbench_bench.race import best_times
from qbench_bench.report import KINDS, Efficiency
from qbench_engines.statevector import StatevectorEngine
from qbench_engines.statevector.engine import group_sizes

Form = Literal["textbook", "factored"]
FORMS: dict[Form, str] = {
    "textbook": """: each rotation a complex 2×2 matrix, 8n. The adjoint undoes them on ψ and
  on λ, and takes the products with three Pauli matrices, 22n.""",
    "factored": """, what the engine does: RZ(ω) RY(θ) RZ(φ) as phases, three real shears, and
  phases. Shears take 3n. The phases of k qubits treated together are one complex factor on all but
  one of 2ᵏ amplitudes, before and after: 8 Σ(1 − 2⁻ᵏ) over groups of two to five qubits. The
  adjoint takes twice that, and 2n + 4 Σ(1 − 2⁻ᵏ) for the sums that become gradients.""",
}
"""What each form takes per layer and amplitude of n qubits, as markdown after its name."""


def multiply_adds(qubits: int, layers: int, form: Form = "factored") -> dict[str, int]:
    """Of `layers` strongly entangling layers, by pass: `"forward"`, `"gradient"` (both passes)."""
    size = 2**qubits
    if form == "textbook":
        turn, read = 8 * qubits * size, 6 * qubits * size
    else:
        factors = sum(size - (size >> k) for k in group_sizes(qubits))
        turn, read = 3 * qubits * size + 8 * factors, 2 * qubits * size + 4 * factors
    forward, adjoint = layers * turn + 2 * size, layers * (2 * turn + read) + 2 * size
    return {"forward": forward, "gradient": forward + adjoint}


def measure_efficiency(
    circuits: tuple[Circuit, ...],
    batches: tuple[int, ...],
    threads: tuple[int, ...],
    spend_s: float,
    rounds: int,
) -> tuple[Efficiency, ...]:
    """Time the default engine on every circuit, batch and number of threads, peak included."""
    calls: dict[Hashable, Callable[[], object]] = {n: peak_kernel(n) for n in threads}
    for circuit, batch in product(circuits, batches):
        problem = Problem.random(circuit, batch)
        for count in threads:
            prepared = by_engine(problem, StatevectorEngine(count))
            calls[circuit, batch, count, "forward"] = prepared.forward
            calls[circuit, batch, count, "gradient"] = prepared.gradient
    for call in calls.values():
        call()
    best = best_times(calls, spend_s, rounds)
    found = []
    for case in product(circuits, batches, threads, KINDS):
        circuit, batch, count, kind = case
        size, work = (circuit.qubits, circuit.layers), multiply_adds(circuit.qubits, circuit.layers)
        seconds, peak = best[case].seconds, count * MULTIPLY_ADDS / best[count].seconds
        found.append(Efficiency(*size, batch, count, kind, seconds, batch * work[kind], peak))
    return tuple(found)

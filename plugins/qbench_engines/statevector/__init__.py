"""The `statevector` engine: compiled batches of circuits with adjoint gradients, on the CPU."""

from __future__ import annotations

from qbench_engines.statevector.engine import StatevectorEngine, jacobians, quadratic_forms

__all__ = ["StatevectorEngine", "jacobians", "quadratic_forms"]

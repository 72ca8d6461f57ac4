"""Engines of other libraries: PennyLane devices, Qiskit Aer, and IBM devices in simulation."""

from __future__ import annotations

from collections.abc import Iterable

from qbench.hookspecs import hookimpl
from qbench.specs import EngineSpec


@hookimpl
def qbench_engines() -> Iterable[EngineSpec]:
    """Where circuits run outside this project; each needs an optional package."""
    yield EngineSpec(
        name="pennylane",
        description="a PennyLane QNode on any device (default.qubit), gradients where it has them",
        factory="qbench_engines.factories:pennylane",
        exact=True,
        differentiable=True,
        devices="qbench_engines.factories:pennylane_devices",
        samples=True,
    )
    yield EngineSpec(
        name="aer",
        description="Qiskit Aer's state vector; as aer:NAME with the noise of that IBM device",
        factory="qbench_engines.factories:aer",
        exact=True,
        differentiable=False,
        devices="qbench_engines.factories:fake_backends",
    )
    yield EngineSpec(
        name="ibm",
        description="devices of IBM Quantum, with shots; ibm:fake_NAME simulates one",
        factory="qbench_engines.ibm.factory:ibm",
        exact=False,
        differentiable=False,
        devices="qbench_engines.ibm.factory:devices",
        samples=True,
    )

"""Our compiled engine, the reference engine, PennyLane devices, Qiskit Aer, IBM and IQM devices."""

from __future__ import annotations

from collections.abc import Iterable

from qbench.hookspecs import hookimpl
from qbench.specs import EngineSpec


@hookimpl
def qbench_engines() -> Iterable[EngineSpec]:
    """Where circuits run; engines of other libraries need an optional package."""
    yield EngineSpec(
        name="statevector",
        description="compiled batches of circuits with adjoint gradients, on the CPU: the default",
        factory="qbench_engines.statevector:StatevectorEngine",
        exact=True,
        differentiable=True,
    )
    yield EngineSpec(
        name="torch",
        description="plain torch, any precision and device: the readable reference",
        factory="qbench.circuits.torch_engine:TorchEngine",
        exact=True,
        differentiable=True,
    )
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
    yield EngineSpec(
        name="iqm",
        description="IQM's snapshots of its devices, with shots and their noise: iqm:fake_garnet",
        factory="qbench_engines.iqm.factory:iqm",
        exact=False,
        differentiable=False,
        devices="qbench_engines.iqm.factory:devices",
        samples=True,
    )

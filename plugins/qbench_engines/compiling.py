"""Circuits in a device's own gates and on its own qubits, chosen once and kept as files."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
import warnings
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from qiskit import QuantumCircuit, qpy
from qiskit.exceptions import QiskitError
from qiskit.providers import BackendV2
from qiskit.transpiler import generate_preset_pass_manager

from qbench.circuits.circuit import Circuit
from qbench.errors import UsageError
from qbench.files import write_atomically
from qbench_engines.qiskit_circuits import measured

LEVEL = 3  # of Qiskit's optimisation
SEEDS = range(1, 9)  # of the transpiler: layouts differ by a factor of two in estimated success
VARIABLE = "QBENCH_CIRCUITS"
_PACKAGES = ("qiskit", "qiskit-ibm-runtime", "iqm-client")


def compiled(circuit: Circuit, amplitudes: bool, backend: Any) -> QuantumCircuit:
    """The measured circuit as the backend runs it, with its parameters.

    Of several transpilations, the one with the highest `estimated_success`. It is kept in
    $QBENCH_CIRCUITS (~/.cache/qbench/circuits) under a key of the circuit, the device, its
    calibration and the versions of Qiskit. `metadata` of the result holds `estimated_success`,
    `two_qubit_gates` and what the key is made of.

    Args:
        circuit: The circuit.
        amplitudes: Whether it starts with amplitude encoding.
        backend: A Qiskit `BackendV2` with at least as many qubits, or what has its `name`,
            `backend_version` and `target`.
    """
    identity = _identity(circuit, amplitudes, backend)
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    path = _folder() / f"{identity['backend']}-{key[:16]}.qpy"
    kept = _read(path)
    if kept is not None:
        return kept
    what = f"{circuit.qubits} qubits and {circuit.layers} layers"
    logging.getLogger("qbench").info("compiling %s for %s", what, identity["backend"])
    program = measured(circuit, amplitudes)
    candidates = [_transpiled(program, backend, seed) for seed in SEEDS]
    best = max(candidates, key=lambda candidate: estimated_success(candidate, backend.target))
    best.global_phase = 0  # never seen, and of too many parameters for a QPY file
    best.metadata = {
        **identity,
        "estimated_success": estimated_success(best, backend.target),
        "two_qubit_gates": best.num_nonlocal_gates(),
    }
    _write(path, best)
    return best


def check_size(engine: str, backend: Any, qubits: int) -> None:
    """Raise `UsageError` for a circuit that needs more qubits than the backend has."""
    if backend.num_qubits < qubits:
        raise UsageError(
            f"engine {engine!r} has {backend.num_qubits} qubits, the circuit needs {qubits}: "
            "choose a larger device"
        )


def in_native_gates(program: QuantumCircuit, backend: Any) -> QuantumCircuit:
    """A circuit on a device's qubits in the device's own gates, on the same qubits."""
    return _transpiled(program, backend, level=0, initial_layout=range(program.num_qubits))


def _transpiled(
    program: QuantumCircuit, backend: Any, seed: int = 1, level: int = LEVEL, **more: Any
) -> QuantumCircuit:
    # A backend brings its own passes for its own gates; without one, the target says which.
    device = {"backend": backend} if isinstance(backend, BackendV2) else {"target": backend.target}
    with warnings.catch_warnings():  # a plugin of the IBM runtime warns of itself while it loads
        warnings.simplefilter("ignore", DeprecationWarning)
        manager = generate_preset_pass_manager(level, **device, seed_transpiler=seed, **more)
        return manager.run(program)


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of those of some packages that are installed."""
    found = {}
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def estimated_success(program: QuantumCircuit, target: Any) -> float:
    """Probability that no gate and no readout errs, were errors independent.

    Args:
        program: A circuit on the device's qubits.
        target: The device's `Target`; what it gives no error for counts as perfect.
    """
    success = 1.0
    for instruction in program.data:
        name = instruction.operation.name
        if name in target:
            qubits = tuple(program.find_bit(qubit).index for qubit in instruction.qubits)
            properties = target[name].get(qubits)
            success *= 1 - (getattr(properties, "error", None) or 0)
    return success


def _identity(circuit: Circuit, amplitudes: bool, backend: Any) -> dict[str, Any]:
    properties = getattr(backend, "properties", lambda: None)()
    about = asdict(circuit)
    if not circuit.constants:
        del about["constants"]
    return {
        "circuit": {key: list(v) if isinstance(v, tuple) else v for key, v in about.items()},
        "amplitudes": amplitudes,
        "backend": backend.name,
        "backend_version": str(backend.backend_version),
        "calibrated": properties.last_update_date.isoformat() if properties else None,
        "level": LEVEL,
        "seeds": list(SEEDS),
        **versions(_PACKAGES),
    }


def _folder() -> Path:
    return Path(os.environ.get(VARIABLE) or Path.home() / ".cache" / "qbench" / "circuits")


def _read(path: Path) -> QuantumCircuit | None:
    try:
        return from_qpy(path.read_bytes())
    except (OSError, ValueError, QiskitError):  # not there, or damaged: compiled again
        return None


def from_qpy(content: bytes) -> QuantumCircuit:
    """The only circuit of a QPY file, its parameters known by name and index."""
    with warnings.catch_warnings():  # of elements of a vector that are no parameters, if any
        warnings.filterwarnings("ignore", "The ParameterVector", UserWarning)
        (program,) = qpy.load(io.BytesIO(content))
    return program


def _write(path: Path, program: QuantumCircuit) -> None:
    buffer = io.BytesIO()
    qpy.dump(program, buffer)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, buffer.getvalue())
    except OSError:  # no folder to write to: compiled anew in each process
        logging.getLogger("qbench").info("cannot keep %s", path)

"""Snapshots of IBM devices, as qiskit-ibm-runtime ships them: coupling, gate times and errors."""

from __future__ import annotations

import contextlib
import statistics
import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import qiskit_ibm_runtime.fake_provider as provider
from qiskit_ibm_runtime.fake_provider.fake_backend import FakeBackendV2

from qbench.errors import UnknownNameError, UsageError


@dataclass(frozen=True)
class FakeDevice:
    """What is worth knowing of a fake backend.

    Args:
        name: Short name, as in `aer:marrakesh`.
        qubits: Number of qubits.
        processor: IBM's name of the chip, e.g. `Heron r2`.
        gate: Two-qubit gates.
        gate_error: Median error of the two-qubit gates that work.
        readout_error: Median error of a measurement.
        calibrated: Date of the snapshot, ISO 8601.
    """

    name: str
    qubits: int
    processor: str | None
    gate: str | None
    gate_error: float | None
    readout_error: float | None
    calibrated: str


@cache
def backend_names() -> dict[str, type[FakeBackendV2]]:
    """Every fake backend's class by its short name."""
    classes: list[Any] = [value for value in vars(provider).values() if isinstance(value, type)]
    return {
        short_name(cls.backend_name): cls
        for cls in classes
        if issubclass(cls, FakeBackendV2) and cls is not FakeBackendV2
    }


def short_name(name: str) -> str:
    """`marrakesh` of `fake_marrakesh`."""
    return name.removeprefix("fake_")


@cache
def fake_backend(name: str) -> FakeBackendV2:
    """A fake backend by its short name, e.g. `marrakesh`; loaded once a process.

    Raises:
        UnknownNameError: There is none of that name; the message gives the nearest ones.
        UsageError: No circuit runs on it.
    """
    known = backend_names()
    if short_name(name) not in known:
        raise UnknownNameError("IBM snapshot", name, known)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # nighthawk: errors that are not typical
        backend = known[short_name(name)]()
    reason = _unusable(backend)
    if reason is not None:
        raise UsageError(f"IBM's snapshot of {short_name(name)!r} {reason}: choose another device")
    return backend


def fake_backends() -> list[FakeDevice]:
    """Every fake backend that runs circuits, the largest first. Takes about two seconds."""
    found = []
    for name in backend_names():
        with contextlib.suppress(UsageError):
            found.append(_describe(name))
    return sorted(found, key=lambda device: (-device.qubits, device.name))


def _unusable(backend: Any) -> str | None:
    """Why no circuit runs on a fake backend, None where circuits do."""
    if not gate_names(backend):
        return "has no two-qubit gate"
    errors = [error for gate in gate_names(backend) for error in _errors(backend.target, gate)]
    if _median(errors) is None:
        return "says that none of its two-qubit gates works, and so gives noise alone"
    if "measure" not in backend.target:
        return "says nothing of its measurements"
    return None


def gate_names(backend: Any) -> list[str]:
    """A backend's two-qubit gates."""
    target = backend.target
    return [
        name
        for name in target.operation_names
        if getattr(target.operation_from_name(name), "num_qubits", None) == 2
    ]


def _describe(name: str) -> FakeDevice:
    backend = fake_backend(name)
    target, gates = backend.target, gate_names(backend)
    chip = getattr(backend.configuration(), "processor_type", None) or {}
    errors = [error for gate in gates for error in _errors(target, gate)]
    return FakeDevice(
        name=name,
        qubits=backend.num_qubits,
        processor=f"{chip['family']} r{chip['revision']}" if chip else None,
        gate=", ".join(gates) or None,
        gate_error=_median(errors),
        readout_error=_median(_errors(target, "measure")),
        calibrated=backend.properties().last_update_date.date().isoformat(),
    )


def _errors(target: Any, name: str) -> list[float | None]:
    properties = target[name].values() if name in target else ()
    return [found.error for found in properties if found is not None]


def _median(errors: list[float | None]) -> float | None:
    """Of the errors of what works: IBM marks broken couplers with an error of 1."""
    working = [error for error in errors if error is not None and error < 1]
    return statistics.median(working) if working else None

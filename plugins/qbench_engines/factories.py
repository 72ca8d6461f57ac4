"""What the engine specs name: each imports its library on call and says how to install it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from qbench.errors import UsageError
from qbench.extras import install_command
from qbench.interfaces import Engine


def require(module: str, extra: str, engine: str) -> ModuleType:
    """Import an optional package.

    Raises:
        UsageError: It is not installed, or does not import; names the extra that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            f"engine {engine!r} needs {module}, which cannot be imported ({error}): "
            f"{install_command(extra)}"
        ) from error


def pennylane(device: str = "default.qubit", shots: int | None = None, seed: int = 0) -> Engine:
    """A PennyLane device, e.g. `default.qubit`, `lightning.qubit`, `qiskit.aer`.

    Args:
        device: PennyLane's name of it.
        shots: Runs of each circuit; None for exact probabilities.
        seed: Of every draw.

    Raises:
        UnknownNameError: PennyLane has no such device.
        UsageError: A package is missing, or the device cannot do without shots.
    """
    require("pennylane", "pennylane", "pennylane")
    if device.startswith("qiskit."):
        require("pennylane_qiskit", "qiskit", f"pennylane:{device}")
    module = importlib.import_module("qbench_engines.pennylane_engine")
    return module.create(device, shots, seed)  # type: ignore[no-any-return]


def pennylane_devices() -> list[Mapping[str, Any]]:
    """The installed PennyLane devices that simulate qubits, one row each."""
    require("pennylane", "pennylane", "pennylane")
    module = importlib.import_module("qbench_engines.pennylane_engine")
    return module.devices()  # type: ignore[no-any-return]


def aer(device: str | None = None) -> Engine:
    """Qiskit Aer without noise or, given one of `fake_backends`, with that device's noise.

    Raises:
        UnknownNameError: There is no such fake backend.
        UsageError: A package is missing.
    """
    require("qiskit_aer", "qiskit", "aer")
    if device is None:
        return importlib.import_module("qbench_engines.aer").AerEngine()  # type: ignore[no-any-return]
    require("qiskit_ibm_runtime", "qiskit", f"aer:{device}")
    return importlib.import_module("qbench_engines.noisy").NoisyAerEngine(device)  # type: ignore[no-any-return]


def fake_backends() -> list[Mapping[str, Any]]:
    """The fake backends of qiskit-ibm-runtime by short name, one row each."""
    require("qiskit_ibm_runtime", "qiskit", "aer")
    module = importlib.import_module("qbench_engines.backends")
    return [vars(backend) for backend in module.fake_backends()]

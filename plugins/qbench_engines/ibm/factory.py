"""What the engine spec names; imports Qiskit on call and says how to install it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from qbench.errors import UsageError
from qbench.interfaces import Engine
from qbench_engines.factories import require

FAKE = "fake_"


def ibm(device: str | None = None, shots: int | None = None, seed: int = 0) -> Engine:
    """A device: `ibm_torino`, or `fake_marrakesh` for its snapshot in this process.

    No connection is made before the device is needed.

    Args:
        device: IBM's name of it.
        shots: Runs of each circuit.
        seed: Of a fake device's noise.

    Raises:
        UsageError: No device or no shots are given, or Qiskit is not installed.
        UnknownNameError: There is no such fake device.
    """
    if device is None:
        raise UsageError("engine 'ibm' needs a device: ibm:ibm_torino, or ibm:fake_marrakesh")
    name = f"ibm:{device}"
    require("qiskit_ibm_runtime", "ibm", name)
    if device.startswith(FAKE):
        require("qiskit_aer", "ibm", name)
    checked = importlib.import_module("qbench_engines.device").check_device_shots(name, shots, None)
    module = importlib.import_module("qbench_engines.ibm.engine")
    engine: Engine = module.IbmEngine(device, checked, seed)
    return engine


def devices() -> list[Mapping[str, Any]]:
    """The fake devices, one row each; the real ones are those of your account."""
    require("qiskit_ibm_runtime", "ibm", "ibm")
    module = importlib.import_module("qbench_engines.backends")
    return [{**vars(found), "name": FAKE + found.name} for found in module.fake_backends()]

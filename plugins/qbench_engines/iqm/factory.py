"""What the engine spec names; imports iqm-client on call and says how to install it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from qbench.errors import UsageError
from qbench.interfaces import Engine
from qbench_engines.factories import require

FAKE = "fake_"
# Deneb is left out: its qubits meet in a resonator, through MOVE gates that Qiskit does not know.
SNAPSHOTS = {
    "adonis": "IQMFakeAdonis",
    "aphrodite": "IQMFakeAphrodite",
    "apollo": "IQMFakeApollo",
    "garnet": "IQMFakeGarnet",
}


def iqm(device: str | None = None, shots: int | None = None, seed: int = 0) -> Engine:
    """IQM's snapshot of a device: `fake_garnet`.

    Args:
        device: Its name.
        shots: Runs of each circuit.
        seed: Of its noise.

    Raises:
        UsageError: No device or no shots are given, the device is a real one, or iqm-client is not
            installed.
        UnknownNameError: There is no such snapshot.
    """
    if device is None:
        raise UsageError("engine 'iqm' needs a device: iqm:fake_garnet")
    name = f"iqm:{device}"
    if not device.startswith(FAKE):
        raise UsageError(
            f"engine {name!r}: IQM's server cannot be asked which jobs it has, so a run that is "
            "cut off could pay for one twice; only IQM's snapshots run here, e.g. iqm:fake_garnet"
        )
    require("iqm.qiskit_iqm", "iqm", name)
    module = importlib.import_module("qbench_engines.iqm.engine")
    engine: Engine = module.IqmEngine(device, shots, seed)
    return engine


def devices() -> list[Mapping[str, Any]]:
    """The snapshots by name; IQM's package makes the noise of each when it is imported, which takes
    too long for more."""
    require("iqm", "iqm", "iqm")
    return [{"name": FAKE + name} for name in SNAPSHOTS]

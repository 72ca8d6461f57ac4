"""Snapshots of IQM's devices, as iqm-client ships them: coupling, gate times and errors."""

from __future__ import annotations

import importlib
import math
import statistics
from collections.abc import Sequence
from functools import cache
from typing import Any

from qiskit.transpiler import InstructionProperties

from qbench.errors import UnknownNameError
from qbench_engines.iqm.factory import FAKE, SNAPSHOTS

_PACKAGE = "iqm.qiskit_iqm.fake_backends"
_NS = 1e-9


@cache
def snapshot(name: str) -> Any:
    """IQM's fake backend by our name of it, e.g. `fake_garnet`; its target says what errs how much.

    IQM gives the noise to the simulator only; the compiler needs it to choose among layouts.

    Raises:
        UnknownNameError: There is none of that name.
    """
    short = name.removeprefix(FAKE)
    if short not in SNAPSHOTS:
        raise UnknownNameError("device of engine 'iqm'", name, [FAKE + one for one in SNAPSHOTS])
    module = importlib.import_module(f"{_PACKAGE}.fake_{short}")
    backend = getattr(module, SNAPSHOTS[short])()
    backend.name = name
    _tell_errors(backend)
    return backend


def _tell_errors(backend: Any) -> None:
    """Put the noise of a fake backend in its target, a gate's error as its average infidelity."""
    target, profile = backend.target, backend.error_profile
    rates = {
        "r": profile.single_qubit_gate_depolarizing_error_parameters["prx"],
        "cz": profile.two_qubit_gate_depolarizing_error_parameters["cz"],
    }
    times = {
        "r": profile.single_qubit_gate_durations["prx"],
        "cz": profile.two_qubit_gate_durations["cz"],
    }
    for name, by_qubits in rates.items():
        for where, rate in by_qubits.items():
            qubits = [where] if isinstance(where, str) else list(where)
            relaxed = [(profile.t1s[one], profile.t2s[one]) for one in qubits]
            error = infidelity(rate, times[name], relaxed)
            target.update_instruction_properties(
                name,
                tuple(map(backend.qubit_name_to_index, qubits)),
                InstructionProperties(times[name] * _NS, error),
            )
    for qubit, wrong in profile.readout_errors.items():
        properties = InstructionProperties(error=statistics.mean(wrong.values()))
        where = (backend.qubit_name_to_index(qubit),)
        target.update_instruction_properties("measure", where, properties)


def infidelity(rate: float, time: float, relaxation: Sequence[tuple[float, float]]) -> float:
    """Average gate infidelity of depolarising noise after the relaxation of each qubit.

    Relaxation shrinks X and Y by exp(−t/T2) and Z by exp(−t/T1), which gives its process fidelity;
    depolarising noise leaves a share 1 − p of that and adds p/d².

    Args:
        rate: p, with which the state is replaced by the mixed one.
        time: t of the gate.
        relaxation: (T1, T2) of each qubit, in the unit of the time.
    """
    d = 2 ** len(relaxation)
    relaxed: float = math.prod(
        (1 + 2 * math.exp(-time / t2) + math.exp(-time / t1)) / 4 for t1, t2 in relaxation
    )
    process = (1 - rate) * relaxed + rate / d**2
    return float(1 - (d * process + 1) / (d + 1))

"""Compiled code from the disk cache is the code that was meant, whichever process compiled it."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import itertools, sys
from numba.core.bytecode import FunctionIdentity

before, part = int(sys.argv[1]), sys.argv[2]
FunctionIdentity._unique_ids = itertools.count(1 + before)  # as if others were compiled before
import torch
from qbench.circuits.circuit import Circuit
from qbench_engines.statevector import StatevectorEngine
from qbench.circuits.torch_engine import TorchEngine

circuit = Circuit(int(sys.argv[3]), 2, (0, 1))
generator = torch.Generator().manual_seed(0)
angles = torch.randn(1, *circuit.angles_shape, generator=generator, dtype=torch.float64)
state = torch.randn(2, 2**circuit.qubits, generator=generator, dtype=torch.float64)
if part == "forward":
    StatevectorEngine(1).probabilities(circuit, angles, state)
    sys.exit()
worst = 0.0
for of in ("state", "angles"):
    found = []
    for engine in (StatevectorEngine(1), TorchEngine()):
        a, s = angles.clone(), state.clone()
        leaf = (s if of == "state" else a).requires_grad_()
        out = engine.probabilities(circuit, a, s)
        found.append(torch.autograd.grad((out * out.detach().sin()).sum(), leaf)[0])
    worst = max(worst, float((found[0] - found[1]).abs().max() / found[1].abs().max()))
print(worst)
"""


def _run(cache: Path, before: int, part: str, qubits: int = 9) -> str:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", SCRIPT, str(before), part, str(qubits)]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_no_two_sweeps_share_a_symbol() -> None:
    from qbench_engines.statevector import kernel

    sweeps = (kernel.advance, kernel.retreat, kernel._adjoint)
    halves = [inspect.getclosurevars(sweep.py_func).nonlocals["halves"] for sweep in sweeps]
    assert len({part.py_func.__qualname__ for part in (*sweeps, *halves)}) == 6


@pytest.mark.slow
@pytest.mark.parametrize("before", [0, 3])
def test_entry_points_compiled_in_two_processes_run_together(tmp_path: Path, before: int) -> None:
    _run(tmp_path, before, "forward")
    _run(tmp_path, 0, "both")
    for qubits in (3, 9):
        assert float(_run(tmp_path, 0, "both", qubits)) < 1e-12

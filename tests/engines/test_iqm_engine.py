"""IQM's snapshots: what is told without IQM's package, and with it the engine itself."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
import torch

from qbench.circuits.circuit import Circuit
from qbench.circuits.torch_engine import TorchEngine
from qbench.engines import create_engine, engine_devices
from qbench.errors import UnknownNameError, UsageError
from qbench_engines.iqm.factory import SNAPSHOTS

there = find_spec("iqm") is not None
needs_iqm = pytest.mark.skipif(not there, reason="needs iqm-client: the extra iqm")
LINE = Circuit(4, 3, (0, 1, 2, 3), (1, 1, 1), closed=False)


def test_a_real_device_is_refused_with_the_reason():
    with pytest.raises(UsageError, match=r"cannot be asked which jobs .*twice.*iqm:fake_garnet"):
        create_engine("iqm:garnet", shots=10)
    with pytest.raises(UsageError, match="needs a device"):
        create_engine("iqm", shots=10)


@pytest.mark.skipif(there, reason="iqm-client is installed")
def test_the_extra_is_named():
    with pytest.raises(UsageError, match=r"iqm.*\[iqm\]"):
        create_engine("iqm:fake_garnet", shots=10)
    with pytest.raises(UsageError, match=r"\[iqm\]"):
        engine_devices("iqm")


@needs_iqm
def test_snapshots_are_listed_by_the_names_they_take():
    assert {row["name"] for row in engine_devices("iqm")} == {f"fake_{name}" for name in SNAPSHOTS}
    with pytest.raises(UnknownNameError, match="fake_garnet"):
        create_engine("iqm:fake_garnett", shots=10)


@needs_iqm
@pytest.mark.parametrize(
    ("shots", "told"), [(None, "only samples"), (0, "at least 1"), (10**9, "at most 100,000")]
)
def test_shots_that_no_device_takes(shots, told):
    with pytest.raises(UsageError, match=told):
        create_engine("iqm:fake_garnet", shots=shots)


@needs_iqm
def test_the_compiler_is_told_what_the_noise_does():
    """The closed form is what Qiskit computes from the channels of the noise model."""
    from qiskit.quantum_info import average_gate_fidelity

    from qbench_engines.iqm.devices import snapshot

    backend = snapshot("fake_adonis")
    errors = backend.noise_model._local_quantum_errors
    for name in ("r", "cz"):
        for qubits, found in backend.target[name].items():
            fidelity = average_gate_fidelity(errors[name][qubits].to_quantumchannel())
            assert found.error == pytest.approx(1 - fidelity, abs=1e-9)


@needs_iqm
def test_without_noise_counts_follow_the_exact_probabilities(monkeypatch):
    from qiskit_aer import AerSimulator

    engine = create_engine("iqm:fake_garnet", shots=40_000, seed=3)
    monkeypatch.setattr(engine, "_simulator", AerSimulator())
    generator = torch.Generator().manual_seed(0)
    angles = 6 * torch.rand(3, *LINE.angles_shape, generator=generator).double() - 3
    state = torch.nn.functional.normalize(torch.rand(3, 16, generator=generator).double())
    for given in (None, state):
        found = engine.probabilities(LINE, angles, given)
        exact = TorchEngine().probabilities(LINE, angles, given)
        assert float((found - exact).abs().max()) < 5 * 0.5 / 200  # five standard errors
        program = engine.compile(LINE, given is not None)
    readout, values = engine.readout(program)
    from qbench_hardware.interface import Job

    counts = engine.run(Job("readout", readout, values, 100, 1)).counts
    assert (counts == 100 * np.eye(16)).all()  # row i prepares outcome i


@needs_iqm
def test_the_noise_is_iqms_own():
    """What IQM's backend counts by itself, without our simulator and seed."""
    from qbench_engines.iqm.devices import snapshot
    from qbench_engines.programs import loaded

    engine = create_engine("iqm:fake_garnet", shots=20_000, seed=1)
    angles = torch.from_numpy(np.random.default_rng(0).uniform(-3, 3, (1, *LINE.angles_shape)))
    found = engine.probabilities(LINE, angles)
    assert not torch.equal(engine.probabilities(LINE, angles), found)  # another draw
    same = create_engine("iqm:fake_garnet", shots=20_000, seed=1)
    assert torch.equal(same.probabilities(LINE, angles), found)
    program = engine.compile(LINE, False)
    circuit = loaded(program)
    bound = circuit.assign_parameters(engine.values(program, LINE, angles, None)[0])
    counts = snapshot("fake_garnet").run(bound, shots=20_000).result().get_counts()
    theirs = np.zeros(16)
    for outcome, count in counts.items():
        theirs[int(outcome[::-1], 2)] = count / 20_000
    assert abs(found[0].numpy() - theirs).max() < 5 * 0.5 / 141 * 2**0.5
    exact = TorchEngine().probabilities(LINE, angles)[0].numpy()
    assert abs(theirs - exact).max() > 0.02  # and noise there is

"""Every circuit of the zoo scores the same on every exact engine."""

from __future__ import annotations

import pytest
import torch
from engine_cases import needs_pennylane, needs_qiskit
from torch import Tensor

from qbench.datasets.base import load_data
from qbench.engines import create_engine
from qbench.registry import load_registry
from qbench.weights.files import load_into, unpack
from qbench.weights.zoo import Zoo
from qbench_quantum.models import CircuitClassifier

pytestmark = [needs_pennylane, needs_qiskit]
CIRCUITS = [
    name
    for name, provided in load_registry().all("model").items()
    if provided.plugin == "qbench_quantum" and provided.spec.engine and Zoo().seeds(name)
]


def each_circuit_first() -> list[object]:
    """All models; the second one of the same circuit, with other weights, is slow."""
    seen: set[object] = set()
    found: list[object] = []
    for name in CIRCUITS:
        whole = load_registry().get("model", name).create()
        model = getattr(whole, "classifier", whole)  # behind a purifier
        shape = type(model), model.circuit
        found.append(pytest.param(name, marks=[pytest.mark.slow] if shape in seen else []))
        seen.add(shape)
    return found


FAST = ("statevector", "torch", "aer", "pennylane", "pennylane:lightning.qubit")
EXACT = (*FAST, "pennylane:qiskit.aer")


def trained(name: str, dtype: torch.dtype) -> CircuitClassifier:
    model = load_registry().get("model", name).create()
    state, _ = unpack(Zoo().read(name, 0), name)
    load_into(model, state.weights, name)
    return model.to(dtype).eval()  # type: ignore[no-any-return]


@torch.no_grad()
def scores(name: str, dtype: torch.dtype, engine: str, x: Tensor) -> Tensor:
    model = trained(name, dtype)
    model.engine = create_engine(engine)
    torch.manual_seed(0)  # of what a stochastic model draws
    return model(x.to(dtype))  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", each_circuit_first())
def test_exact_engines_agree_on_trained_weights(name: str) -> None:
    x = load_data("glyphs").test.x[:2]
    reference = scores(name, torch.float64, "pennylane:default.qubit", x)
    assert reference.abs().max() > 0.05
    for engine in FAST:
        exact = scores(name, torch.float64, engine, x)
        torch.testing.assert_close(exact, reference, atol=1e-6, rtol=0)
        single = scores(name, torch.float32, engine, x)
        assert single.dtype == torch.float32
        # The machine multiplies what the circuits give by coefficients of up to 10.
        near = 1e-4 if name == "quantum-kernel" else 1e-5
        torch.testing.assert_close(single.double(), reference, atol=near, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["reup", "amplitude"])
@pytest.mark.parametrize("engine", EXACT)
def test_exact_engines_agree_on_all_images(name: str, engine: str) -> None:
    x = load_data("glyphs").test.x[: 20 if "qiskit" in engine else 200]  # 0.3 s an image there
    reference = scores(name, torch.float64, "pennylane:default.qubit", x)
    found = scores(name, torch.float64, engine, x)
    torch.testing.assert_close(found, reference, atol=1e-6, rtol=0)
    single = scores(name, torch.float32, engine, x).double()
    torch.testing.assert_close(single, reference, atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["reup-0.2", "amplitude"])
def test_marrakesh_is_what_aer_makes_of_the_whole_device(name: str) -> None:
    from qiskit import QuantumCircuit
    from qiskit_aer import AerSimulator

    from qbench_engines import host
    from qbench_engines.backends import fake_backend
    from qbench_engines.noisy import noisy_circuit
    from qbench_engines.qiskit_circuits import bind

    model, x = trained(name, torch.float64), load_data("glyphs").test.x[:1].double()
    seen = []

    class Spy:
        name, exact, differentiable = "spy", True, True

        def probabilities(self, circuit, angles, state=None):
            seen.append((angles, state))
            return create_engine("aer:marrakesh").probabilities(circuit, angles, state)

    model.engine = Spy()
    with torch.no_grad():
        model(x)
        (case,) = seen
        found = create_engine("aer:marrakesh").probabilities(model.circuit, *case)
    device = noisy_circuit(model.circuit, name == "amplitude", "marrakesh")
    program = QuantumCircuit(156)
    for gate in device.program.data:
        places = [device.qubits[device.program.find_bit(q).index] for q in gate.qubits]
        program.append(gate.operation, places)
    inputs = host.read("aer", model.circuit, *case)
    bound = bind(program, inputs).program
    bound.save_probabilities([device.qubits[place] for place in reversed(device.measured)])
    backend = fake_backend("marrakesh")
    simulator = AerSimulator.from_backend(backend, method="density_matrix")
    whole = simulator.run([bound], shots=1).result().data(0)["probabilities"] @ device.readout
    torch.testing.assert_close(found[0], torch.from_numpy(whole), atol=1e-10, rtol=0)

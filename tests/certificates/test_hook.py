"""The plugin's specs: light to list, resolvable, and true about what they cover."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

import qbench_certificates
import qbench_classical
import qbench_quantum
from qbench.engines.sampling import SampledEngine
from qbench.errors import Unsupported
from qbench.interfaces import LipschitzBound, Radii
from qbench.specs import Perturbations

SPECS = {spec.name: spec for spec in qbench_certificates.qbench_certifiers()}
SMALL = {
    "convnet": {"image_shape": (8, 8)},
    "sine-network": {"features": 8, "neurons": 4},
    "amplitude-circuit": {"features": 16, "layers": 2},
    "reupload-circuit": {"qubits": 4, "layers": 2, "features": 8},
    "split-reupload-circuit": {"qubits": 4, "layers": 1, "features": 8},
    "patch-network": {"image_shape": (2, 4)},
    "quanvolutional-network": {"image_shape": (2, 4)},
    "projected-quantum-kernel": {"features": 8, "vectors": 3},
    "dressed-circuit": {"features": 8},
    "tree-tensor-network": {"features": 8, "image_shape": (2, 4)},
    "affine": {"features": 8},
    "perceptron": {"features": 8},
    "kernel-machine": {"features": 8, "vectors": 3},
    "tree-ensemble": {"features": 8, "trees": 2},
    "purified": {"features": 8, "code": 4},
    "randomised-circuit": {"features": 16, "layers": 2},
}
MODELS = {
    spec.structure: spec
    for plugin in (qbench_classical, qbench_quantum)
    for spec in plugin.qbench_models()
    if spec.name != "qcnn"  # of the structure of amplitude, in a size of its own
}


def test_the_bounds_of_the_reference_paper_are_there() -> None:
    assert {"circuit-bound", "lipsdp-neuron", "spectral-product"} <= set(SPECS)


def test_listing_imports_nothing_heavy() -> None:
    script = (
        "import sys, qbench_certificates as p; list(p.qbench_certifiers());"
        "print([m for m in ('torch', 'numpy', 'cvxpy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_pairs_are_tighter_than_neurons_through_the_specs() -> None:
    network = MODELS["sine-network"].resolve()()
    bounds = {
        name: SPECS[name].resolve()(**SPECS[name].params)(network, torch.empty(0)).lipschitz
        for name in ("lipsdp-neuron", "lipsdp-pair")
    }
    assert bounds["lipsdp-pair"] < 0.95 * bounds["lipsdp-neuron"]


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("structure", MODELS)
def test_a_certifier_covers_its_structures_and_no_other(name: str, structure: str) -> None:
    spec, model = SPECS[name], MODELS[structure]
    certifier = spec.resolve()(**spec.params)
    torch.manual_seed(0)
    network = model.resolve()(**{**model.params, **SMALL[structure]})
    features = SMALL[structure].get("features", 64 if structure == "convnet" else 8)
    x = torch.rand(6, features, generator=torch.Generator().manual_seed(1))
    y = network(x).argmax(1)
    if spec.counted and spec.covers(structure):
        network.engine = SampledEngine(network.engine, 1000, 0)
    if name == "linear-exact" and bool((network(x) == network(x)[:1]).all()):
        pytest.skip("what is not fitted is constant, and so linear")

    def certify(norm: str) -> LipschitzBound | Radii:
        if not spec.norms:
            return certifier(network, x)
        about = Perturbations(norm=norm, eps=(0.001, 0.01))
        return certifier(network, x, y, about, torch.Generator().manual_seed(0))

    for norm in spec.norms or ("l2",):
        if not spec.covers(structure):
            with pytest.raises(Unsupported):
                certify(norm)
            continue
        found = certify(norm)
        if isinstance(found, LipschitzBound):
            assert not spec.norms
            assert found.lipschitz > 0
        else:
            assert found.radius.dtype == torch.float64
            assert found.radius.shape == (6,)
            assert bool((found.radius >= 0).all())
            assert (found.confidence < 1) == (spec.smoothed or spec.counted)

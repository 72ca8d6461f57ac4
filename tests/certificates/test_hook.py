"""The plugin's specs: light to list, resolvable, and true about what they cover."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

import qbench_certificates
import qbench_classical
import qbench_quantum
from qbench.errors import Unsupported
from qbench.interfaces import Certifier, LipschitzBound

NO_IMAGES = torch.empty(0)  # these bounds hold everywhere

SPECS = {spec.name: spec for spec in qbench_certificates.qbench_certifiers()}
SMALL = {
    "convnet": {"side": 8},
    "sine-network": {"features": 8, "neurons": 4},
    "amplitude-circuit": {"qubits": 4, "layers": 2},
    "reupload-circuit": {"qubits": 4, "layers": 2, "features": 8},
}
MODELS = {
    spec.structure: spec
    for plugin in (qbench_classical, qbench_quantum)
    for spec in plugin.qbench_models()
}


def test_names() -> None:
    assert set(SPECS) == {"circuit-bound", "lipsdp-neuron", "lipsdp-pair", "spectral-product"}


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
        name: SPECS[name].resolve()(**SPECS[name].params)(network).lipschitz
        for name in ("lipsdp-neuron", "lipsdp-pair")
    }
    assert bounds["lipsdp-pair"] < 0.95 * bounds["lipsdp-neuron"]


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("structure", MODELS)
def test_a_certifier_covers_its_structures_and_no_other(name: str, structure: str) -> None:
    spec, model = SPECS[name], MODELS[structure]
    certifier = spec.resolve()(**spec.params)
    assert isinstance(certifier, Certifier)
    network = model.resolve()(**model.params, **SMALL[structure])
    if structure in spec.structures:
        certificate = certifier(network, NO_IMAGES)
        assert isinstance(certificate, LipschitzBound)
        assert certificate.lipschitz > 0
        assert certificate.scope == ("score" if name == "circuit-bound" else "vector")
    else:
        with pytest.raises(Unsupported):
            certifier(network, NO_IMAGES)

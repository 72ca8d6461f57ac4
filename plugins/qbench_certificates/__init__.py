"""First-party certificates: Lipschitz bounds that hold for every pair of inputs."""

from __future__ import annotations

from collections.abc import Iterable

from qbench.hookspecs import hookimpl
from qbench.specs import CertifierSpec


@hookimpl
def qbench_certifiers() -> Iterable[CertifierSpec]:
    """Global ℓ2 bounds: one for circuits, two for sine networks, one for convolutional networks."""
    yield CertifierSpec(
        name="circuit-bound",
        description="sum over gates of the norm of the gate's weights; holds for each score",
        factory="qbench_certificates.circuit_bound:CircuitBound",
        structures=("reupload-circuit",),
        source="Berberich et al. 2023, arXiv:2311.11871, bound for one observable",
    )
    yield CertifierSpec(
        name="lipsdp-neuron",
        description="semidefinite bound, one multiplier a neuron; holds for the score vector",
        factory="qbench_certificates.lipsdp:LipSDP",
        structures=("sine-network",),
        source="Fazlyab et al. 2019, arXiv:1906.04893, Theorem 1 with diagonal T",
    )
    yield CertifierSpec(
        name="lipsdp-pair",
        description="semidefinite bound, sine and cosine of one frequency share a multiplier",
        factory="qbench_certificates.lipsdp:LipSDP",
        params={"paired": True},
        structures=("sine-network",),
        source="after Fazlyab et al. 2019, arXiv:1906.04893, Theorem 1; chord shorter than arc",
    )
    yield CertifierSpec(
        name="spectral-product",
        description="norm of the unrolled convolution times norm of the linear layer",
        factory="qbench_certificates.spectral_product:SpectralProduct",
        structures=("convnet",),
        source="Szegedy et al. 2014, arXiv:1312.6199, Sec. 4.3",
    )

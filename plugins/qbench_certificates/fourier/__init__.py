"""Certificates of sine networks."""

from __future__ import annotations

from qbench.specs import CertifierSpec

SPECS = (
    CertifierSpec(
        name="lipsdp-neuron",
        description="semidefinite bound, one multiplier a neuron; holds for the score vector",
        factory="qbench_certificates.fourier.lipsdp:LipSDP",
        structures=("sine-network",),
        source="Fazlyab et al. 2019, arXiv:1906.04893, Theorem 1 with diagonal T",
    ),
    CertifierSpec(
        name="lipsdp-pair",
        description="semidefinite bound, sine and cosine of one frequency share a multiplier",
        factory="qbench_certificates.fourier.lipsdp:LipSDP",
        params={"paired": True},
        structures=("sine-network",),
        source="after Fazlyab et al. 2019, arXiv:1906.04893, Theorem 1; chord shorter than arc",
    ),
)

"""Certificates of sine networks."""

from __future__ import annotations

from qbench.specs import CertifierSpec, Norm

_BOTH: tuple[Norm, ...] = ("linf", "l2")

SPECS = (
    CertifierSpec(
        name="lipsdp-neuron",
        revision=2,
        description="semidefinite bound, one multiplier a neuron; holds for the score vector",
        factory="qbench_certificates.fourier.lipsdp:LipSDP",
        structures=("sine-network",),
        source="Fazlyab et al. 2019, arXiv:1906.04893, Theorem 1 with diagonal T",
        baseline=True,
    ),
    CertifierSpec(
        name="lipsdp-pair",
        revision=2,
        description="semidefinite bound, sine and cosine of one frequency share a multiplier",
        factory="qbench_certificates.fourier.lipsdp:LipSDP",
        params={"paired": True},
        structures=("sine-network",),
        source="after Fazlyab et al. 2019, arXiv:1906.04893, Theorem 1; chord shorter than arc",
    ),
    CertifierSpec(
        name="lipsdp-margin",
        revision=2,
        description="semidefinite bound on the margin of each two classes, the largest of them",
        factory="qbench_certificates.fourier.lipschitz:MarginLipSDP",
        structures=("sine-network",),
        source="after Fazlyab et al. 2019, arXiv:1906.04893, Theorem 1, on one read-out row",
    ),
    CertifierSpec(
        name="fourier-lipschitz",
        revision=3,
        description="margin over its Lipschitz bound, for each two classes",
        factory="qbench_certificates.fourier.lipschitz:LipschitzRadius",
        structures=("sine-network",),
        norms=_BOTH,
        source="Tsuzuku et al. 2018, arXiv:1802.04034, with LipSDP bounds of the margins",
    ),
    CertifierSpec(
        name="fourier-linear",
        revision=2,
        description="a line under every cosine, slopes optimised",
        factory="qbench_certificates.fourier.linear:Linear",
        structures=("sine-network",),
        norms=_BOTH,
        source="after Zhang et al. 2018, arXiv:1811.00866, and Xu et al. 2021, arXiv:2011.13824",
    ),
    CertifierSpec(
        name="fourier-quadratic",
        revision=3,
        description="a parabola under every cosine, bounded by semidefinite duality",
        factory="qbench_certificates.fourier.quadratic:Quadratic",
        structures=("sine-network",),
        norms=_BOTH,
        source="Shor's relaxation and the S-lemma, after Wang et al. 2017, arXiv:1706.00476",
    ),
)

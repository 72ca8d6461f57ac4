"""Certificates of the convolutional network."""

from __future__ import annotations

from qbench.specs import CertifierSpec

SPECS = (
    CertifierSpec(
        name="spectral-product",
        description="norm of the unrolled convolution times norm of the linear layer",
        factory="qbench_certificates.convnet.spectral_product:SpectralProduct",
        structures=("convnet",),
        source="Szegedy et al. 2014, arXiv:1312.6199, Sec. 4.3",
        baseline=True,
    ),
    CertifierSpec(
        name="spectral-pair",
        description="gradient norm of the margin of each two classes, window by window",
        factory="qbench_certificates.convnet.spectral_pair:SpectralPair",
        structures=("convnet",),
        source="after Szegedy et al. 2014, arXiv:1312.6199, Sec. 4.3; sum over pairs of windows",
    ),
    CertifierSpec(
        name="convnet-local",
        revision=2,
        description="margin over a bound on its slope within the radius",
        factory="qbench_certificates.convnet.spectral_pair:LocalSlope",
        structures=("convnet",),
        norms=("l2",),
        source="after Hein and Andriushchenko 2017, arXiv:1705.08475, Theorem 2.1",
    ),
    CertifierSpec(
        name="convnet-linear",
        revision=4,
        description="a plane under every pooled value, slopes over its pixels optimised",
        factory="qbench_certificates.convnet.linear:Linear",
        structures=("convnet",),
        norms=("linf", "l2"),
        source="after Zhang et al. 2018, arXiv:1811.00866; Xu et al. 2021, arXiv:2011.13824; "
        "Tjandraatmadja et al. 2020, arXiv:2006.14076",
    ),
    CertifierSpec(
        name="convnet-branching",
        description="the same, then a search over which piece of a pooled value wins",
        factory="qbench_certificates.convnet.linear:Linear",
        params={"nodes": 1000},
        structures=("convnet",),
        norms=("linf", "l2"),
        source="after Bunel et al. 2020, arXiv:1909.06588; Tjandraatmadja et al. 2020, "
        "arXiv:2006.14076",
        costly=True,
    ),
)

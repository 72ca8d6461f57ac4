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
    ),
)

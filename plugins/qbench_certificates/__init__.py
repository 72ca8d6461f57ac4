"""First-party certificates: global Lipschitz bounds and radii of single images, by structure."""

from __future__ import annotations

from collections.abc import Iterable

from qbench.hookspecs import hookimpl
from qbench.specs import CertifierSpec

from . import amplitude, convnet, counts, fourier, linear, reupload


@hookimpl
def qbench_certifiers() -> Iterable[CertifierSpec]:
    """For every structure, the bounds of the reference paper, and tighter ones."""
    for family in (reupload, amplitude, fourier, convnet, linear, counts):
        yield from family.SPECS
    yield CertifierSpec(
        name="smoothing",
        description="the model smoothed by Gaussian noise, with 99.9 % confidence an image",
        factory="qbench_certificates.smoothing:Smoothing",
        structures=(),
        source="Cohen et al. 2019, arXiv:1902.02918, Theorem 1",
        norms=("l2", "linf"),
        smoothed=True,
    )

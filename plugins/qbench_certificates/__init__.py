"""First-party certificates: global Lipschitz bounds and radii of single images, by structure."""

from __future__ import annotations

from collections.abc import Iterable

from qbench.hookspecs import hookimpl
from qbench.specs import CertifierSpec

from . import amplitude, convnet, fourier, reupload


@hookimpl
def qbench_certifiers() -> Iterable[CertifierSpec]:
    """For every structure, the bounds of the reference paper, and tighter ones."""
    for family in (reupload, amplitude, fourier, convnet):
        yield from family.SPECS

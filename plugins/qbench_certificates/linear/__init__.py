"""The certificate of linear classifiers."""

from __future__ import annotations

from qbench.specs import CertifierSpec

SPECS = (
    CertifierSpec(
        name="linear-exact",
        description="exact distance to the nearest tie of two classes, within the box if any",
        factory="qbench_certificates.linear.exact:LinearExact",
        structures=("affine",),
        source="a hyperplane's distance; Boyd & Vandenberghe 2004, Sec. 8.1",
        norms=("linf", "l2"),
    ),
)

"""Certificates of amplitude encoding circuits: their scores are quadratic forms of x/‖x‖."""

from __future__ import annotations

from qbench.specs import CertifierSpec

_STRUCTURES = ("amplitude-circuit",)

SPECS = (
    CertifierSpec(
        name="amplitude-sphere",
        description="spread of the eigenvalues; holds for margins between inputs of norm 1 or more",
        factory="qbench_certificates.amplitude.sphere:AmplitudeSphere",
        params={"least_norm": 1.0},
        structures=_STRUCTURES,
        source="orthogonal off-diagonal of a symmetric form is at most half its spread",
    ),
    CertifierSpec(
        name="amplitude-sphere-images",
        description="as amplitude-sphere, between inputs as long as the shortest image",
        factory="qbench_certificates.amplitude.sphere:AmplitudeSphere",
        structures=_STRUCTURES,
        source="orthogonal off-diagonal of a symmetric form is at most half its spread",
    ),
    CertifierSpec(
        name="amplitude-exact",
        revision=2,
        description="distance to the nearest tie of two classes, within the box if there is one",
        factory="qbench_certificates.amplitude.exact:AmplitudeExact",
        structures=_STRUCTURES,
        source="S-lemma; Boyd & Vandenberghe 2004, App. B.1",
        norms=("l2",),
    ),
    CertifierSpec(
        name="amplitude-ball",
        revision=2,
        description="exact distance from the middle of the pixels' intervals, against their corner",
        factory="qbench_certificates.amplitude.ball:AmplitudeBall",
        structures=_STRUCTURES,
        source="S-lemma; Boyd & Vandenberghe 2004, App. B.1",
        norms=("linf",),
    ),
    CertifierSpec(
        name="amplitude-shor",
        revision=3,
        description="semidefinite relaxation of the box of a radius, one multiplier a pixel",
        factory="qbench_certificates.amplitude.shor:AmplitudeShor",
        structures=_STRUCTURES,
        source="Shor 1987; in low rank after Burer & Monteiro 2003 and Wang et al. 2017",
        norms=("linf",),
    ),
)

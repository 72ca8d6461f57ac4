"""Certificates of data re-uploading circuits."""

from __future__ import annotations

from qbench.specs import CertifierSpec

SPECS = (
    CertifierSpec(
        name="circuit-bound",
        description="sum over gates of the norm of the gate's weights; holds for each score",
        factory="qbench_certificates.reupload.circuit_bound:CircuitBound",
        structures=("reupload-circuit", "split-reupload-circuit"),
        source="Berberich et al. 2023, arXiv:2311.11871, bound for one observable",
        baseline=True,
    ),
    CertifierSpec(
        name="circuit-grouped",
        description="norm of the rotations' weights added up for each feature; for each score",
        factory="qbench_certificates.reupload.circuit_grouped:CircuitGrouped",
        structures=("reupload-circuit", "split-reupload-circuit"),
        source="Berberich et al. 2023, arXiv:2311.11871, over features instead of gates",
    ),
    CertifierSpec(
        name="circuit-fidelity",
        description="angle to the nearest state that is misclassified, exactly",
        factory="qbench_certificates.reupload.circuit_fidelity:CircuitFidelity",
        structures=("reupload-circuit", "split-reupload-circuit"),
        source="this package; compare Weber et al. 2021, npj Quantum Information 7, 76",
        norms=("linf", "l2"),
        revision=3,
    ),
    CertifierSpec(
        name="circuit-taylor-1",
        description="gradient of the margins, and the most that they can curve",
        factory="qbench_certificates.reupload.circuit_taylor_1:CircuitTaylor1",
        structures=("reupload-circuit", "split-reupload-circuit"),
        source="this package",
        norms=("linf", "l2"),
        revision=3,
    ),
    CertifierSpec(
        name="circuit-taylor-2",
        description="gradient and Hessian of the margins, and a remainder from states known",
        factory="qbench_certificates.reupload.circuit_taylor_2:CircuitTaylor2",
        structures=("reupload-circuit", "split-reupload-circuit"),
        source="this package",
        norms=("linf", "l2"),
        revision=3,
    ),
    CertifierSpec(
        name="circuit-commutators",
        description="exact second order of the margins, and a remainder from commutators",
        factory="qbench_certificates.reupload.circuit_commutators:CircuitCommutators",
        structures=("reupload-circuit", "split-reupload-circuit"),
        source="this package",
        norms=("linf",),
        costly=True,
    ),
    CertifierSpec(
        name="circuit-operator",
        description="operators below the margin's, carried back through up to five qubits",
        factory="qbench_certificates.reupload.circuit_operator:CircuitOperator",
        structures=("reupload-circuit", "split-reupload-circuit"),
        source="this package",
        norms=("linf", "l2"),
    ),
)

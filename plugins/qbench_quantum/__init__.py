"""First-party quantum models: re-uploading, amplitude encoding, and what others have proposed."""

from __future__ import annotations

from collections.abc import Iterable

from qbench.hookspecs import hookimpl
from qbench.specs import Fact, ModelSpec, Recipe

_PAPER = "arXiv:2404.16154"
_ENGINE = "statevector"
_FITS: tuple[Fact, ...] = ("features", "classes")
_PUBLISHED = "as published"
_CHOSEN = "{} chosen on 200 of the training images, by clean accuracy"
_DEFENDED = "{} chosen on 200 of the training images, by accuracy under PGD"
_ATTACKED = "not tuned: the published recipe of {} on images attacked at the ranking budget"


def _reup(name: str, penalty: float, epochs: int) -> ModelSpec:
    return ModelSpec(
        name=name,
        description=f"data re-uploading, 8 qubits, 32 layers, λ = {penalty:g}, {epochs} epochs",
        factory="qbench_quantum.models:ReUpload",
        family="quantum",
        structure="reupload-circuit",
        engine=_ENGINE,
        fits_data=_FITS,
        recipe=Recipe(epochs=epochs, regularisation=penalty),
        tuning=_PUBLISHED,
        paper=_PAPER,
    )


def _hardware(layers: int) -> ModelSpec:
    return ModelSpec(
        name=f"reup-hw{layers}",
        description=f"re-uploading for devices: a line of 4 qubits, {layers} layers, λ = 0.1, "
        "100 epochs",
        factory="qbench_quantum.models:SplitReUpload",
        params={"layers": layers},
        family="quantum",
        structure="split-reupload-circuit",
        engine=_ENGINE,
        fits_data=_FITS,
        recipe=Recipe(epochs=100, regularisation=0.1),
        tuning="recipe not tuned: that of reup-0.1-ep100; qubits and the reading of pixels chosen "
        "on held-out training images",
    )


@hookimpl
def qbench_models() -> Iterable[ModelSpec]:
    """Circuits: re-uploading and amplitude; regularised, for devices, made robust; others'."""
    for epochs, suffix in ((20, ""), (100, "-ep100")):
        yield _reup(f"reup{suffix}", 0.0, epochs)
        yield _reup(f"reup-0.1{suffix}", 0.1, epochs)
        yield _reup(f"reup-0.2{suffix}", 0.2, epochs)
    yield ModelSpec(
        name="amplitude",
        description="amplitude encoding, 8 qubits, 32 layers, 20 epochs",
        factory="qbench_quantum.models:Amplitude",
        family="quantum",
        structure="amplitude-circuit",
        engine=_ENGINE,
        fits_data=_FITS,
        tuning=_PUBLISHED,
        paper=_PAPER,
    )
    yield ModelSpec(
        name="reup-at",
        description="data re-uploading as reup, adversarially trained at ε = 0.1, 20 epochs",
        factory="qbench_quantum.models:ReUpload",
        family="quantum",
        structure="reupload-circuit",
        engine=_ENGINE,
        fits_data=_FITS,
        recipe=Recipe(adversarial_eps=0.1),
        variant_of="reup",
        tuning=_ATTACKED.format("reup"),
    )
    yield ModelSpec(
        name="reup-cert",
        description="data re-uploading as reup, trained for certificates, 100 epochs",
        factory="qbench_quantum.models:ReUpload",
        params={"penalty": "grouped"},
        family="quantum",
        structure="reupload-circuit",
        engine=_ENGINE,
        fits_data=_FITS,
        revision=2,
        recipe=Recipe(epochs=100, learning_rate=1e-3, regularisation=8e-4),
        variant_of="reup",
        tuning="step size and λ chosen on 200 of the training images, by certified accuracy",
    )
    yield ModelSpec(
        name="amplitude-at",
        description="amplitude encoding as amplitude, adversarially trained at ε = 0.1, 20 epochs",
        factory="qbench_quantum.models:Amplitude",
        family="quantum",
        structure="amplitude-circuit",
        engine=_ENGINE,
        fits_data=_FITS,
        recipe=Recipe(adversarial_eps=0.1),
        variant_of="amplitude",
        tuning=_ATTACKED.format("amplitude"),
    )
    for layers in (4, 8):
        yield _hardware(layers)
    yield ModelSpec(
        name="reup-hw8-cert",
        description="re-uploading for devices as reup-hw8, trained for certificates, 100 epochs",
        factory="qbench_quantum.models:SplitReUpload",
        params={"layers": 8, "penalty": "widths"},
        family="quantum",
        structure="split-reupload-circuit",
        engine=_ENGINE,
        fits_data=_FITS,
        recipe=Recipe(epochs=100, learning_rate=3e-3, regularisation=1e-2),
        variant_of="reup-hw8",
        tuning="step size and λ chosen on 200 of the training images, by certified accuracy",
    )
    yield ModelSpec(
        name="reup-fixed",
        description="data re-uploading as reup, its encoding held at w = 0.5, 20 epochs",
        factory="qbench_quantum.models:ReUpload",
        params={"encoding": 0.5},
        family="quantum",
        structure="reupload-circuit",
        engine=_ENGINE,
        fits_data=_FITS,
        tuning="recipe not tuned: that of reup; w chosen on 200 of the training images",
        paper="arXiv:2311.11871",
    )
    yield ModelSpec(
        name="quanvolution",
        description="a circuit of 4 qubits over 2x2 patches, then linear; 20 epochs",
        factory="qbench_quantum.quanvolution:Quanvolution",
        family="quantum",
        structure="quanvolutional-network",
        engine=_ENGINE,
        fits_data=("image_shape", "classes"),
        tuning="not tuned: the published recipe of convnet",
        paper="arXiv:2403.05596",
    )
    yield from _defended()
    yield from _proposed_by_others()


def _defended() -> Iterable[ModelSpec]:
    """Circuits with a defence of each kind beside adversarial training by PGD."""
    yield ModelSpec(
        name="reup-trades",
        description="data re-uploading as reup, trained by TRADES at ε = 0.1, 20 epochs",
        factory="qbench_quantum.models:ReUpload",
        family="quantum",
        structure="reupload-circuit",
        engine=_ENGINE,
        fits_data=_FITS,
        recipe=Recipe(adversarial_eps=0.1, trades=10.0),
        variant_of="reup",
        tuning=_DEFENDED.format("β and warm-up"),
        paper="arXiv:1901.08573",
    )
    yield ModelSpec(
        name="reup-gradreg",
        description="data re-uploading as reup, its input gradients penalised, 20 epochs",
        factory="qbench_quantum.models:ReUpload",
        family="quantum",
        structure="reupload-circuit",
        engine=_ENGINE,
        fits_data=_FITS,
        recipe=Recipe(gradient_penalty=3.0),
        variant_of="reup",
        tuning=_DEFENDED.format("weight of the penalty"),
        paper="arXiv:1711.09404",
    )
    yield ModelSpec(
        name="reup-purified",
        description="data re-uploading as reup, behind an autoencoder",
        factory="qbench_quantum.purified:purified_reupload",
        params={"code": 32, "noise": 0.3},
        family="quantum",
        structure="purified",
        engine=_ENGINE,
        fits_data=_FITS,
        train="qbench_classical.purifier:fit",
        variant_of="reup",
        tuning=_DEFENDED.format("code and noise"),
        paper="arXiv:1705.09064",
    )
    yield ModelSpec(
        name="amplitude-random",
        description="amplitude encoding as amplitude, behind random rotations, 20 epochs",
        factory="qbench_quantum.randomised:RandomisedAmplitude",
        params={"spread": 0.1},
        family="quantum",
        structure="randomised-circuit",
        engine=_ENGINE,
        fits_data=_FITS,
        stochastic=True,
        variant_of="amplitude",
        tuning=_DEFENDED.format("spread"),
        paper="arXiv:2212.02531",
    )


def _proposed_by_others() -> Iterable[ModelSpec]:
    """One entry of each kind of quantum classifier that is neither re-uploading nor amplitude."""
    yield ModelSpec(
        name="quantum-kernel",
        description="support vector machine with a projected quantum kernel, 8 qubits, 11 layers",
        factory="qbench_quantum.kernel:QuantumKernelMachine",
        params={"scale": 0.5, "width": 2.0, "cost": 10.0},
        family="quantum",
        structure="projected-quantum-kernel",
        engine=_ENGINE,
        fits_data=_FITS,
        train="qbench_classical.kernel_machine:fit",
        tuning=_CHOSEN.format("scale, width and cost"),
        paper="arXiv:1804.11326",
    )
    yield ModelSpec(
        name="qcnn",
        description="quantum convolutional network on amplitudes, 8 qubits pooled to 4, 40 epochs",
        factory="qbench_quantum.qcnn:QCNN",
        params={"blocks": 4},
        family="quantum",
        structure="amplitude-circuit",
        engine=_ENGINE,
        fits_data=_FITS,
        recipe=Recipe(epochs=40, learning_rate=3e-3),
        tuning=_CHOSEN.format("blocks and step size"),
        paper="arXiv:2108.00661",
    )
    yield ModelSpec(
        name="dressed",
        description="linear, a circuit of 4 qubits and 6 layers, linear; 20 epochs",
        factory="qbench_quantum.dressed:DressedCircuit",
        family="quantum",
        structure="dressed-circuit",
        engine=_ENGINE,
        fits_data=_FITS,
        recipe=Recipe(),
        tuning=_CHOSEN.format("step size"),
        paper="arXiv:1912.08278",
    )
    yield ModelSpec(
        name="ttn",
        description="tree of two-qubit gates over a qubit for every pixel, 20 epochs",
        factory="qbench_quantum.tree:TreeNetwork",
        family="quantum",
        structure="tree-tensor-network",
        fits_data=("features", "classes", "image_shape"),
        recipe=Recipe(learning_rate=1e-2),
        tuning=_CHOSEN.format("step size"),
        paper="arXiv:1803.11537",
    )

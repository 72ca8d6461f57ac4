"""First-party classical models: networks, and the usual classifiers without convolutions."""

from __future__ import annotations

from collections.abc import Iterable

from qbench.hookspecs import hookimpl
from qbench.specs import Fact, ModelSpec, Recipe

_PAPER = "arXiv:2404.16154"
_PUBLISHED = "as published"


_FACTORIES = {"convnet": "ConvNet", "fourier": "Fourier"}
_FITS: dict[str, tuple[Fact, ...]] = {
    "convnet": ("image_shape", "classes"),
    "fourier": ("features", "classes"),
}
_STRUCTURES = {"convnet": "convnet", "fourier": "sine-network"}


def _network(
    name: str, description: str, tuning: str, recipe: Recipe, paper: str = ""
) -> ModelSpec:
    """A network or a variant of one: `convnet`, `convnet-at` and so on."""
    base, _, variant = name.partition("-")
    return ModelSpec(
        name=name,
        description=description,
        factory=f"qbench_classical.models:{_FACTORIES[base]}",
        family="classical",
        structure=_STRUCTURES[base],
        recipe=recipe,
        fits_data=_FITS[base],
        variant_of=base if variant else None,
        tuning=tuning,
        paper=paper,
    )


@hookimpl
def qbench_models() -> Iterable[ModelSpec]:
    """The networks of the reference paper, trained longer and made robust; others' baselines."""
    longer = "not tuned: the published recipe of {} with 100 epochs"
    attacked = "not tuned: the published recipe of {} on images attacked at the ranking budget"
    certified = "step size and λ chosen on 200 of the training images, by certified accuracy"
    yield _network(
        "convnet",
        "one 5x5 convolution (6 channels), max-pool, linear; 20 epochs",
        _PUBLISHED,
        Recipe(),
        _PAPER,
    )
    yield _network(
        "fourier",
        "32 trained frequencies, sine and cosine read linearly; 20 epochs",
        _PUBLISHED,
        Recipe(),
        _PAPER,
    )
    yield _network(
        "convnet-ep100",
        "convnet, trained as convnet for 100 epochs",
        longer.format("convnet"),
        Recipe(epochs=100),
    )
    yield _network(
        "fourier-ep100",
        "fourier, trained as fourier for 100 epochs",
        longer.format("fourier"),
        Recipe(epochs=100),
    )
    yield _network(
        "convnet-at",
        "convnet, adversarially trained at ε = 0.1, 20 epochs",
        attacked.format("convnet"),
        Recipe(adversarial_eps=0.1),
    )
    yield _network(
        "fourier-at",
        "fourier, adversarially trained at ε = 0.1, 20 epochs",
        attacked.format("fourier"),
        Recipe(adversarial_eps=0.1),
    )
    yield _network(
        "convnet-cert",
        "convnet, trained for certificates, 100 epochs",
        certified,
        Recipe(epochs=100, learning_rate=1e-2, regularisation=1e-5),
    )
    yield _network(
        "fourier-cert",
        "fourier, trained for certificates, 100 epochs",
        certified,
        Recipe(epochs=100, learning_rate=1e-2, regularisation=3e-6),
    )
    yield from _defended()
    yield ModelSpec(
        name="quanvolution-cnn",
        description="quanvolution with a 2x2 convolution and tanh for its circuit; 20 epochs",
        factory="qbench_classical.models:PatchNetwork",
        family="classical",
        structure="patch-network",
        fits_data=("image_shape", "classes"),
        tuning="not tuned: the published recipe of convnet",
        paper="arXiv:2403.05596",
    )
    yield from _baselines()


def _defended() -> Iterable[ModelSpec]:
    """`convnet` with a defence of each kind beside adversarial training by PGD."""
    chosen = "{} chosen on 200 of the training images, by accuracy under PGD"
    yield _network(
        "convnet-trades",
        "convnet, trained by TRADES at ε = 0.1, 20 epochs",
        chosen.format("β and warm-up"),
        Recipe(adversarial_eps=0.1, trades=10.0),
        "arXiv:1901.08573",
    )
    yield _network(
        "convnet-gradreg",
        "convnet, its input gradients penalised, 20 epochs",
        chosen.format("weight of the penalty"),
        Recipe(gradient_penalty=10.0),
        "arXiv:1711.09404",
    )
    yield ModelSpec(
        name="convnet-purified",
        description="convnet behind an autoencoder",
        factory="qbench_classical.purifier:purified_convnet",
        params={"code": 32, "noise": 0.3},
        family="classical",
        structure="purified",
        fits_data=_FITS["convnet"],
        train="qbench_classical.purifier:fit",
        variant_of="convnet",
        tuning=chosen.format("code and noise"),
        paper="arXiv:1705.09064",
    )


def _baselines() -> Iterable[ModelSpec]:
    """What a classical classifier of each usual kind does."""
    chosen = "{} chosen on 200 of the training images, by clean accuracy"
    yield ModelSpec(
        name="logistic",
        description="multinomial logistic regression, 50 epochs",
        factory="qbench_classical.linear:LogisticRegression",
        family="classical",
        structure="affine",
        fits_data=("features", "classes"),
        recipe=Recipe(epochs=50, weight_decay=1e-3),
        tuning=chosen.format("step size and weight decay"),
    )
    yield ModelSpec(
        name="mlp",
        description="multilayer perceptron, 100 hidden neurons, 50 epochs",
        factory="qbench_classical.linear:Perceptron",
        family="classical",
        structure="perceptron",
        fits_data=("features", "classes"),
        recipe=Recipe(epochs=50),
        tuning=chosen.format("step size and weight decay"),
    )
    yield ModelSpec(
        name="rbf-svm",
        description="support vector machine with a Gaussian kernel, one class against the rest",
        factory="qbench_classical.kernel_machine:KernelMachine",
        params={"width": 1.0, "cost": 1.0},
        family="classical",
        structure="kernel-machine",
        fits_data=("features", "classes"),
        train="qbench_classical.kernel_machine:fit",
        tuning=chosen.format("width and cost"),
        paper="doi:10.1007/BF00994018",
    )
    yield ModelSpec(
        name="random-forest",
        description="random forest of 100 trees with up to 128 leaves each",
        factory="qbench_classical.forest:RandomForest",
        params={"trees": 100},
        family="classical",
        structure="tree-ensemble",
        fits_data=("features", "classes"),
        train="qbench_classical.forest:grow",
        differentiable=False,
        tuning=chosen.format("number of trees"),
        paper="doi:10.1023/A:1010933404324",
    )

"""What must hold of a model: the contract of `interfaces.Model`."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from qbench.datasets.base import Dataset, Split, load_data
from qbench.datasets.fitting import fitted
from qbench.engines.modules import engine_of
from qbench.evaluation import checks as measured
from qbench.evaluation.crafting import checked_scores
from qbench.evaluation.placing import Placing, put_on
from qbench.evaluation.scoring import predict
from qbench.model_names import ModelName
from qbench.protocols import DEFAULT, load_protocol
from qbench.provided import Provided
from qbench.registry import load_registry
from qbench.specs import ModelSpec
from qbench.testing.check import Check, require
from qbench.testing.target import Target
from qbench.weights.files import Provenance, TrainingState, load_into, pack, unpack

IMAGES = 20
SAME = 1e-5  # of the scores' scale: closer ones are the same

# By what must hold: what is measured, the share of images that may break it (an honest gradient
# disagrees at a kink), what is wrong then, and what to do.
_MEASURED: Mapping[str, tuple[tuple[str, float, str], ...]] = {
    "the same scores on every call": (
        (
            "unstable_outputs",
            0.0,
            "other scores in every pass: seed what is random, or declare stochastic=True",
        ),
        (
            "call_dependence",
            0.05,
            "other scores with or without gradients, or in double precision: compute one function",
        ),
    ),
    "the same scores in every batch": (
        (
            "batch_dependence",
            0.05,
            "other scores alone, in another order or beside other images: use no statistics over "
            "the batch",
        ),
    ),
    "leaves the images and itself alone": (
        ("input_changed", 0.0, "it changes the images that it is given: change a copy"),
        ("state_changed", 0.0, "a call changes its parameters or buffers: not in evaluation mode"),
        ("mode_changed", 0.0, "a call leaves evaluation mode: respect eval()"),
    ),
    "gradients agree with finite differences": (
        (
            "no_gradient",
            0.0,
            "scores have no gradient by the images: keep them in torch's graph, or declare "
            "differentiable=False",
        ),
        (
            "bad_gradients",
            0.0,
            "some derivative is no number: look for a root, a logarithm or a division at 0",
        ),
        (
            "wrong_gradients",
            0.2,
            "finite differences say otherwise: give the true gradient, or declare "
            "differentiable=False",
        ),
        (
            "flat_gradients",
            0.1,
            "the gradient is too small to matter: return scores from before a softmax, tanh or "
            "rounding",
        ),
    ),
}


def checks(target: Target, weights: Mapping[str, Tensor] | None) -> list[Check]:
    """The checks of a model."""
    kit = _ModelKit(target, weights)
    tests: dict[str, Callable[[], str]] = {"finite scores (n, classes)": kit.scores}
    for name, signs in _MEASURED.items():
        if kit.differentiable or "gradients" not in name:
            tests[name] = partial(kit.measured_to_hold, signs)
    tests["saved and loaded weights give the same scores"] = kit.saved_and_loaded
    tests["pickles, or says that it does not"] = kit.pickled
    return [
        Check(str(target), name, test, first=test == kit.scores) for name, test in tests.items()
    ]


class _ModelKit:
    def __init__(self, target: Target, weights: Mapping[str, Tensor] | None) -> None:
        self.target, self.weights = target, weights

    @cached_property
    def provided(self) -> Provided[ModelSpec]:
        found = load_registry(self.target.plugins).get("model", self.target.name)
        return fitted(found, self.dataset)

    @cached_property
    def name(self) -> ModelName:
        return ModelName.parse(self.target.text)

    @cached_property
    def differentiable(self) -> bool:
        registry = load_registry(self.target.plugins)
        engine = Placing(registry, [self.target.text], None, None)
        return self.provided.spec.differentiable and engine.differentiable(self.name)

    @property
    def stochastic(self) -> bool:
        return self.provided.spec.stochastic or self.name.shots is not None

    @cached_property
    def dataset(self) -> Dataset:
        name = self.target.dataset or load_protocol(DEFAULT).selection.dataset
        return load_data(name, self.target.plugins)

    @property
    def split(self) -> Split:
        test = self.dataset.test
        return Split(test.x[:IMAGES].clone(), test.y[:IMAGES].clone())

    @cached_property
    def model(self) -> nn.Module:
        model = self.built()
        if self.weights is not None:
            load_into(model, dict(self.weights), self.target.name)
        return model

    def built(self) -> nn.Module:
        model = self.provided.create()
        require(
            isinstance(model, nn.Module),
            f"its factory made a {type(model).__name__}: give a torch.nn.Module",
        )
        built: nn.Module = model.eval()
        if self.name.elsewhere:
            put_on(built, self.name, 0, load_registry(self.target.plugins))
        return built

    @cached_property
    def measured(self) -> Mapping[str, float]:
        engine = engine_of(self.model)
        gradients = self.differentiable and (engine is None or engine.differentiable)
        eps = load_protocol(DEFAULT).ranking_eps
        return measured.check(self.model, self.split, eps, gradients=gradients)

    def scores(self) -> str:
        x, classes = self.split.x, len(self.dataset.classes)
        with torch.no_grad():
            scores = checked_scores(self.model(x.clone()), len(x))
        require(
            scores.shape[1] == classes,
            f"{scores.shape[1]} scores an image, and {self.dataset.name} has {classes} classes",
        )
        require(
            scores.dtype in (torch.float32, torch.float64),
            f"scores are {scores.dtype}: compute them in float32",
        )
        bad = int((~scores.isfinite()).any(1).sum())
        require(bad == 0, f"the scores of {bad} of {len(x)} images are not finite")
        return f"{tuple(scores.shape)} {str(scores.dtype).removeprefix('torch.')}"

    def measured_to_hold(self, signs: tuple[tuple[str, float, str], ...]) -> str:
        for value, allowed, complaint in signs:
            if self.stochastic and value == "unstable_outputs":
                continue
            share = self.measured.get(value, 0.0)
            where = f"at {share:.0%} of {IMAGES} images, " if 0 < share < 1 else ""
            require(share <= allowed, f"{where}{complaint}")
        return "declared stochastic" if self.provided.spec.stochastic else ""

    @property
    def varies(self) -> bool:
        """Whether scores are random, declared or not, so that no two can be compared."""
        return self.stochastic or self.measured["unstable_outputs"] > 0

    def saved_and_loaded(self) -> str:
        if self.varies:
            return "not asked: scores are random"
        spec = self.provided.spec
        about = Provenance(
            model=spec.name,
            revision=spec.revision,
            seed=0,
            dataset=self.dataset.name,
            dataset_sha256=self.dataset.sha256,
            recipe=spec.recipe,
        )
        weights = {key: value.clone() for key, value in self.model.state_dict().items()}
        state = TrainingState(weights=weights)
        content = pack(state, about)
        torch.manual_seed(1)  # what is drawn when it is made is not what was saved
        other = self.built()
        load_into(other, unpack(content, "the saved file")[0].weights, "the saved file")
        self._same(
            other,
            "a new model with the saved weights gives other scores: keep whatever determines "
            "them in parameters or buffers",
        )
        return f"{len(content) / 1000:.0f} kB of safetensors"

    def pickled(self) -> str:
        try:
            other = pickle.loads(pickle.dumps(self.model))
        except Exception as error:  # whatever the model's parts raise
            return (
                f"it does not ({type(error).__name__}); qbench needs it not, it saves weights alone"
            )
        if not self.varies:
            self._same(other, "unpickled, it gives other scores: pickle all of its state or none")
        return ""

    def _same(self, other: nn.Module, complaint: str) -> None:
        x = self.split.x
        mine, others = predict(self.model, x).double(), predict(other, x).double()
        scale = float(mine.max() - mine.min())
        require(bool((mine - others).abs().max() <= SAME * scale), complaint)

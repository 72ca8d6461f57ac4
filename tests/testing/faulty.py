"""A plugin whose every object has one fault, and the check that must find it."""

from __future__ import annotations

import functools

import torch

from qbench.circuits.torch_engine import TorchEngine
from qbench.datasets.base import Dataset, Split
from qbench.errors import Unsupported
from qbench.geometry import ascent_direction, project, random_start
from qbench.hookspecs import hookimpl
from qbench.interfaces import LipschitzBound, Radii
from qbench.specs import AttackSpec, CertifierSpec, DatasetSpec, EngineSpec, ModelSpec

CALLS = "the same scores on every call"
BATCH = "the same scores in every batch"
ALONE = "leaves the images and itself alone"
GRADIENTS = "gradients agree with finite differences"
SCORES = "finite scores (n, classes)"
SAVED = "saved and loaded weights give the same scores"
PICKLED = "pickles, or says that it does not"
MODELS = {
    "m-good": set(),
    "m-in-place": {ALONE, CALLS, GRADIENTS},
    "m-centred": {BATCH, GRADIENTS},
    "m-detached": {GRADIENTS},
    "m-nan-gradient": {GRADIENTS},
    "m-rounded": {GRADIENTS},
    "m-noisy": {CALLS},
    "m-three-classes": {SCORES},
    "m-infinite": {SCORES},
    "m-half": {SCORES},
    "m-list": {SCORES},
    "m-number": {SCORES},
    "m-raises": {SCORES},
    "m-unsaved": {SAVED},
    "m-shared": set(),
    "m-half-pickled": {PICKLED},
    "m-unpicklable": set(),
}
BALL = "stays in the ball and the box"
ZERO = "ε = 0 changes nothing"
SAME = "the same images for the same generator"
LEAVES = "leaves images, labels and model alone"
NOISE = "breaks more than uniform noise"
TARGET = "reaches a class that it is aimed at"
BLIND = "needs no gradient, as declared"
PASSES = "asks the model no more often than declared"
RUNS = "is made, and runs on a reference model"
ATTACKS = {
    "a-good": set(),
    "a-outside-ball": {BALL},
    "a-outside-box": {BALL},
    "a-double": {BALL},
    "a-noise": {NOISE},
    "a-descent": {NOISE},
    "a-nothing": {NOISE},
    "a-never-zero": {ZERO},
    "a-in-place": {LEAVES},
    "a-relabels": {LEAVES},
    "a-trains": {LEAVES},
    "a-global-random": {SAME},
    "a-targets-nothing": {TARGET},
    "a-gradient-undeclared": {BLIND},
    "a-passes": {PASSES},
    "a-raises": {RUNS},
}
COVERS = "covers a model that is here"
RADII = "radii are numbers, 0 for misclassified images"
KNOWN = "at most the known distance of a linear model"
SOUND = "no adversarial image within a radius"
REPEATS = "the same radii for the same generator, images untouched"
SLOPES = "bounds every slope that is found"
CERTIFIERS = {
    "c-good": set(),
    "c-liar": {RADII, KNOWN, SOUND},
    "c-too-large": {KNOWN, SOUND},
    "c-mislabelled": {RADII},
    "c-single": {RADII, KNOWN, SOUND, REPEATS},
    "c-sure": {RADII},
    "c-in-place": {REPEATS},
    "c-random": {REPEATS},
    "c-nothing-covered": {COVERS},
    "c-slope-good": set(),
    "c-slope-small": {SLOPES},
    "c-slope-tensor": {SLOPES},
}
SUM = "probabilities: none negative, their sum is 1"
AGREES = "agrees with the reference engine"
SHOTS = "shots scatter as they must"
SLOPE = "gradients agree"
REFUSES = "refuses gradients, as declared"
MADE = "is made"
ENGINES = {
    "e-good": set(),
    "e-scaled": {SUM, AGREES, SLOPE},
    "e-reversed": {AGREES, SHOTS, SLOPE},
    "e-ignores-state": {SUM, AGREES, SHOTS, SLOPE},
    "e-wrong-gradient": {SLOPE},
    "e-silent": {REFUSES},
    "e-fixed-shots": {SHOTS},
    "e-noisy-undeclared": {MADE},
    "e-none": {MADE},
}
LOADS = "loads: images, range, labels"
CLASSES = "every class is in both splits"
TWICE = "loads twice the same"
FRESH = "new images are new, and always the same"
DATASETS = {
    "d-good": set(),
    "d-range": {LOADS},
    "d-none": {LOADS},
    "d-raises": {LOADS},
    "d-missing-class": {CLASSES},
    "d-random": {TWICE},
    "d-fresh-known": {FRESH},
    "d-fresh-random": {FRESH},
}


def _factory(make):
    return f"{__name__}:{make.__name__}"


@hookimpl
def qbench_models():
    for name in MODELS:
        yield ModelSpec(
            name=name,
            description="a fault",
            factory=_factory(model),
            params={"kind": name[2:]},
            family="classical",
            structure="faulty",
        )


@hookimpl
def qbench_attacks():
    for name in ATTACKS:
        yield AttackSpec(
            name=name,
            description="a fault",
            factory=_factory(Attack),
            params={"kind": name[2:]},
            norms=("linf", "l2"),
            gradient=name != "a-gradient-undeclared",
            targeted=name in ("a-good", "a-targets-nothing"),
        )


@hookimpl
def qbench_certifiers():
    for name in CERTIFIERS:
        slope = name.startswith("c-slope")
        yield CertifierSpec(
            name=name,
            description="a fault",
            factory=_factory(Slope if slope else Certifier),
            params={"kind": name[2:]},
            structures=("nowhere" if name == "c-nothing-covered" else "linear",),
            source="none",
            norms=() if slope else ("l2",),
        )


@hookimpl
def qbench_engines():
    for name in ENGINES:
        yield EngineSpec(
            name=name,
            description="a fault",
            factory=_factory(engine),
            params={"kind": name[2:]},
            exact=True,
            differentiable=name != "e-silent",
            samples=name == "e-fixed-shots",
        )


@hookimpl
def qbench_datasets():
    for name in DATASETS:
        yield DatasetSpec(
            name=name, description="a fault", factory=_factory(dataset), params={"name": name}
        )


class Model(torch.nn.Linear):
    def __init__(self, kind: str) -> None:
        super().__init__(256, 3 if kind == "three-classes" else 4)
        self.kind = kind
        if kind == "unsaved":
            self.hidden = torch.rand(4)
        if kind == "shared":
            self.again = self.weight
        if kind == "unpicklable":
            self.activation = lambda scores: scores

    def forward(self, x):
        if self.kind == "in-place" and not x.requires_grad:
            x.mul_(0.3)
        z = super().forward(x)
        if self.kind == "centred":
            return z - z.mean(0)
        if self.kind == "detached":
            return z.detach()
        if self.kind == "nan-gradient":
            return z + torch.sqrt((x[:, :1] - x[:, :1]).abs())
        if self.kind == "rounded":
            return (z * 100).round()
        if self.kind == "noisy":
            return z + torch.randn_like(z)
        if self.kind == "infinite":
            return z / 0
        if self.kind == "half":
            return z.bfloat16()
        if self.kind == "list":
            return list(z)
        if self.kind == "raises":
            raise KeyError("no such pixel")
        if self.kind == "unsaved":
            return z + self.hidden
        return z

    def __getstate__(self):
        state = self.__dict__.copy()
        if self.kind == "half-pickled":
            state["_parameters"] = {k: torch.zeros_like(p) for k, p in self._parameters.items()}
        return state


def model(kind):
    return 3 if kind == "number" else Model(kind)


class Attack:
    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.passes = (5, 5) if kind == "passes" else (10, 10)

    def __call__(self, model, x, y, threat, generator):
        kind = self.kind
        if kind == "raises":
            raise IndexError("no such image")
        if kind == "nothing":
            return x
        if kind == "noise":
            return random_start(x, threat, generator)
        if kind == "trains":
            next(model.parameters()).data.mul_(1.001)
        if kind == "relabels":
            y.add_(0).copy_((y + 0).clone())
        aim = -1 if threat.targeted and kind != "targets-nothing" else 1
        aim = -1 if kind == "descent" else aim
        x_adv = x.clone()
        if kind == "global-random":
            x_adv = random_start(
                x, threat, torch.Generator().manual_seed(int(torch.randint(9999, ())))
            )
        for _ in range(10):
            x_adv.requires_grad_()
            loss = aim * torch.nn.functional.cross_entropy(model(x_adv), y, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, x_adv)
            step = threat.eps / 5 * ascent_direction(gradient, threat.norm)
            x_adv = project(x_adv.detach() + step, x, threat)
        if kind == "outside-ball":
            return (x + 1.01 * (x_adv - x)).clamp(0, 1)
        if kind == "outside-box":
            return x_adv - 1e-3 * (x_adv == 0) * (threat.eps > 0)
        if kind == "double":
            return x_adv.double()
        if kind == "never-zero" and threat.eps == 0:
            return (x + 1e-8).clamp(0, 1)
        if kind == "in-place":
            x.add_(0.01)
        if kind == "relabels":
            y.zero_()
        return x_adv


class Certifier:
    """Of a linear model: the margin over the norm of its gradient."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __call__(self, model, x, y, perturbations, generator):
        kind = self.kind
        if kind == "liar":
            return Radii(torch.full((len(x),), 0.3, dtype=torch.float64))
        if not isinstance(model[0], torch.nn.Linear) or len(model) != 1:
            raise Unsupported("linear models only")
        weights = model[0].weight.detach().double()
        scores = x.double() @ weights.T + model[0].bias.detach().double()
        if kind == "mislabelled":
            y = scores.argmax(1)
        far = (scores.gather(1, y[:, None]) - scores) / (weights[y][:, None] - weights[None]).norm(
            dim=2
        )
        far[torch.arange(len(y)), y] = torch.inf
        radius = 0.999 * far.amin(1).clamp_min(0)
        if kind == "too-large":
            radius *= 1.002
        if kind == "in-place":
            x.zero_()
        if kind == "random":
            radius *= 1 - torch.rand(len(x))
        if kind == "single":
            return Radii(radius.float())
        return Radii(radius, confidence=2.0 if kind == "sure" else 1.0)


class Slope:
    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __call__(self, model, x):
        bound = torch.linalg.matrix_norm(model[0].weight.detach().double(), ord=2)
        if self.kind == "slope-tensor":
            return bound
        return LipschitzBound(float(bound) * (0.9 if "small" in self.kind else 1), "vector")


class Engine(TorchEngine):
    def __init__(self, kind: str, shots=None) -> None:
        self.kind, self.shots, self.name = kind, shots, f"e-{kind}"
        self.exact = kind != "noisy-undeclared"

    def probabilities(self, circuit, angles, state=None):
        if self.kind == "ignores-state":
            state = None
        if self.kind == "silent":
            angles = angles.detach()
        found = super().probabilities(circuit, angles, state)
        if self.kind == "scaled":
            return found * 1.001
        if self.kind == "reversed":
            return found.flip(1)
        if self.kind == "wrong-gradient":
            return 2 * found.detach() - found
        if self.shots:
            return (found * self.shots).round() / self.shots
        return found


def engine(kind, shots=None, seed=0):
    return None if kind == "none" else Engine(kind, shots)


def dataset(name):
    if name == "d-raises":
        raise FileNotFoundError("pngs/train")
    if name == "d-none":
        return None
    generator = torch.Generator().manual_seed(0)

    def split(n, source=generator):
        return Split(torch.rand(n, 16, generator=source), torch.arange(n) % 2)

    train, test = split(40), split(60)
    fresh = functools.partial(split, source=torch.Generator().manual_seed(1))
    make = lambda n: split(n, torch.Generator().manual_seed(2))  # noqa: E731
    if name == "d-range":
        test.x.mul_(255)
    if name == "d-missing-class":
        test.y.zero_()
    if name == "d-random":
        train = Split(torch.rand(40, 16), train.y)
    if name == "d-fresh-known":
        make = lambda n: Split(test.x[:n], test.y[:n])  # noqa: E731
    if name == "d-fresh-random":
        make = fresh
    return Dataset(
        name=name,
        version=1,
        sha256="",
        image_shape=(4, 4),
        classes=("a", "b"),
        train=train,
        test=test,
        fresh=make,
    )

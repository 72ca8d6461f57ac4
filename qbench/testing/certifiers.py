"""What must hold of a certifier: that no adversarial image lies within what it certifies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property

import torch
from torch import Tensor, nn

from qbench.datasets.base import load_data
from qbench.engines.modules import engine_of, on_engine
from qbench.engines.sampling import SampledEngine
from qbench.evaluation import lipschitz
from qbench.evaluation.radii import BUDGETS, certify_images
from qbench.evaluation.scoring import predict
from qbench.interfaces import LipschitzBound, Radii
from qbench.protocols import DEFAULT, load_protocol
from qbench.registry import load_registry
from qbench.specs import Norm, Perturbations
from qbench.testing.check import Check, in_norms, require
from qbench.testing.references import Reference, broken_within, build, linear, network
from qbench.testing.target import Target

IMAGES = 5
SHOTS = 1000  # where counts are certified
SLACK = 1e-6  # relative; distances are compared with radii in float64


def checks(target: Target) -> list[Check]:
    """The checks of a certifier, in each norm of its radii, or of its Lipschitz bound."""
    kit = _CertifierKit(target)
    spec = kit.provided.spec
    found = [Check(str(target), "covers a model that is here", kit.covers, first=True)]

    def add(name: str, test: Callable[[Norm], str]) -> None:
        found.extend(in_norms(str(target), name, spec.norms, test))

    if not spec.norms:
        return [*found, Check(str(target), "bounds every slope that is found", kit.bounds)]
    add("radii are numbers, 0 for misclassified images", kit.radii)
    if spec.covers("linear") or spec.covers("mlp"):
        add("at most the known distance of a linear model", kit.known)
    if not spec.smoothed:
        add("no adversarial image within a radius", kit.sound)
    add("the same radii for the same generator, images untouched", kit.repeats)
    return found


class _CertifierKit:
    def __init__(self, target: Target) -> None:
        self.target = target
        self.registry = load_registry(target.plugins)
        self.provided = self.registry.get("certifier", target.name)

    @cached_property
    def references(self) -> list[Reference]:
        """Small models of its structures, and one of the registry for each."""
        spec, few = self.provided.spec, slice(IMAGES)
        found = [
            Reference(one.name, one.structure, one.model, one.x[few], one.y[few], one.eps)
            for one in (linear(3), network())
            if spec.covers(one.structure) or (one.structure == "linear" and spec.covers("mlp"))
        ]
        structures: set[str] = set()
        for name, provided in self.registry.all("model").items():
            structure = provided.spec.structure
            if structure in structures or not spec.structures or structure not in spec.structures:
                continue
            structures.add(structure)
            found.append(self._of_registry(name, structure))
        return found

    def _of_registry(self, name: str, structure: str) -> Reference:
        torch.manual_seed(0)
        model, trained = build(self.registry, name)
        data = self.target.dataset or load_protocol(DEFAULT).selection.dataset
        x = load_data(data, self.target.plugins).test.x[:IMAGES].clone()
        about = f"{name}, {'trained' if trained else 'untrained'}"
        return Reference(about, structure, model, x, predict(model, x).argmax(1), {})

    def covers(self) -> str:
        require(
            bool(self.references),
            f"no model of structure {' or '.join(self.provided.spec.structures)} is here: let the "
            "plugin provide one too",
        )
        return ", ".join(reference.name for reference in self.references)

    def certify(self, reference: Reference, y: Tensor, norm: Norm) -> tuple[Radii, Tensor]:
        """Radii of a reference's images with labels y, their form checked, and predictions."""
        about = Perturbations(norm=norm, eps=BUDGETS[norm])
        generator, spec = torch.Generator().manual_seed(0), self.provided.spec
        certifier = self.provided.create()
        with self.ready(reference.model):
            model, x = reference.model, reference.x
            return certify_images(certifier, model, x, y, about, generator, spec)

    @contextmanager
    def ready(self, model: nn.Module) -> Iterator[None]:
        """The model, on an engine that counts alike in every block where counts are certified."""
        engine = engine_of(model)
        if self.provided.spec.counted and engine is not None:
            with on_engine(model, SampledEngine(engine, SHOTS, 0)):
                yield
        else:
            yield

    def radii(self, norm: Norm) -> str:
        largest = 0.0
        for reference in self.references:
            found = self.certify(reference, reference.y, norm)[0]
            require(
                0 < found.confidence <= 1,
                f"confidence {found.confidence} is no probability: give 1 for a proof",
            )
            largest = max(largest, float(found.radius.max()))
            classes = predict(reference.model, reference.x[:1]).shape[1]
            wrong = (reference.y + 1) % classes
            radius = self.certify(reference, wrong, norm)[0].radius
            require(
                not bool((radius > 0).any()),
                f"{reference.name}: images of a wrong label have radii above 0",
            )
        return f"the largest is {largest:.3g}"

    def known(self, norm: Norm) -> str:
        # Of two classes the smoothed model is the model itself, whose distance is known.
        tightest = 0.0
        for classes in (2,) if self.provided.spec.smoothed else (2, 3):
            reference = linear(classes)
            assert reference.exact is not None
            radius, exact = self.certify(reference, reference.y, norm)[0].radius, reference.exact
            beyond = radius > exact[norm] * (1 + SLACK)
            if bool(beyond.any()):
                i = int(beyond.nonzero()[0])
                require(
                    False,
                    f"{reference.name}: image {i} is certified within {radius[i]:.4g}, and "
                    f"another class is {exact[norm][i]:.4g} away",
                )
            tightest = max(tightest, float((radius / exact[norm]).max()))
        return f"up to {tightest:.0%} of it"

    def sound(self, norm: Norm) -> str:
        tried = 0
        for reference in self.references:
            radius = self.certify(reference, reference.y, norm)[0].radius
            certified = radius > 0
            tried += int(certified.sum())
            x, y, radius = reference.x[certified], reference.y[certified], radius[certified]
            broken = broken_within(reference.model, x, y, radius, norm)
            if bool(broken.any()):
                i = int(broken.nonzero()[0])
                require(
                    False,
                    f"{reference.name}: PGD breaks an image that is certified within "
                    f"{radius[i]:.4g} ({int(broken.sum())} of {len(y)} in all)",
                )
        return f"{tried} radii tried"

    def repeats(self, norm: Norm) -> str:
        for reference in self.references:
            x, y = reference.x.clone(), reference.y.clone()
            about = Perturbations(norm=norm, eps=BUDGETS[norm])
            torch.manual_seed(1)
            generator = torch.Generator().manual_seed(0)
            with self.ready(reference.model):
                predict(reference.model, x)  # draws shots, as before the first radii
                again = self.provided.create()(reference.model, x, y, about, generator).radius
            same = torch.equal(x, reference.x) and torch.equal(y, reference.y)
            require(same, "it changes the images or labels that it is given: change a copy")
            first = self.certify(reference, reference.y, norm)[0].radius
            require(
                torch.allclose(first, again, rtol=1e-6, atol=0),
                f"{reference.name}: two calls differ: draw everything from the generator",
            )
        return ""

    def bounds(self) -> str:
        words = []
        for reference in self.references:
            generator = torch.Generator().manual_seed(0)
            certifier, x = self.provided.create(), reference.x
            given = x.clone()
            bound = certifier(reference.model, given)
            require(
                isinstance(bound, LipschitzBound),
                f"it returned a {type(bound).__name__}: without norms in its spec a certifier "
                "gives a LipschitzBound",
            )
            require(torch.equal(given, x), "it changes the images that it is given: change a copy")
            bound, sampled, _ = lipschitz.certify(certifier, reference.model, x, generator)
            words.append(f"{bound.lipschitz:.3g}, sampled {sampled:.3g}")
        return "; ".join(words)

"""What must hold of an attack: the contract of `interfaces.Attack`, and that it attacks."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from qbench.attack_strings import parse_attack
from qbench.errors import Unsupported
from qbench.evaluation.crafting import CountedModel, frozen, verify
from qbench.evaluation.scoring import predict
from qbench.geometry import random_start
from qbench.interfaces import Attack
from qbench.registry import load_registry
from qbench.specs import Norm, ThreatModel
from qbench.testing.check import Check, CheckFailedError, in_norms, require
from qbench.testing.references import Reference, forms, linear, network
from qbench.testing.target import Target
from qbench.weights.files import fingerprint

DRAWS = 10  # of noise, which breaks an image if one of them does
SIZES = (0.01, 0.5)  # other budgets; at the large one every image is cut off by the box somewhere


@dataclass(frozen=True)
class _Run:
    """What one attack gave, what passed between it and the model, and what it changed."""

    x_adv: object
    forward: int
    gradient: int
    changed: str


def checks(target: Target) -> list[Check]:
    """The checks of an attack, in each norm that it can be bounded in."""
    kit = _AttackKit(target)
    spec = kit.provided.spec
    found = [Check(str(target), "is made, and runs on a reference model", kit.runs, first=True)]

    def add(name: str, test: Callable[[Norm], str]) -> None:
        found.extend(in_norms(str(target), name, spec.norms, test))

    add("stays in the ball and the box", kit.stays)
    add("ε = 0 changes nothing", kit.identity)
    add("the same images for the same generator", kit.deterministic)
    add("leaves images, labels and model alone", kit.leaves_alone)
    add("breaks more than uniform noise", kit.beats_noise)
    if spec.targeted:
        add("reaches a class that it is aimed at", kit.reaches)
    if not spec.gradient:
        add("needs no gradient, as declared", kit.without_gradient)
    add("asks the model no more often than declared", kit.passes)
    return found


class _AttackKit:
    def __init__(self, target: Target) -> None:
        name, self.params = parse_attack(target.text)
        self.provided = load_registry(target.plugins).get("attack", name)
        self._done: dict[tuple[str, ThreatModel, int], _Run] = {}

    def create(self) -> Attack:
        attack = self.provided.create(**self.params)
        require(callable(attack), f"its factory made a {type(attack).__name__}: give a callable")
        made: Attack = attack
        return made

    @cached_property
    def references(self) -> dict[Norm, list[Reference]]:
        """The models that it takes, in each norm."""
        found: dict[Norm, list[Reference]] = {}
        for norm in self.provided.spec.norms:
            found[norm], refused = [], ""
            for reference in (linear(3), network(), forms()):
                try:
                    self.crafted(reference, norm)
                except Unsupported as error:
                    refused = f"{reference.name}: {error}"
                else:
                    found[norm].append(reference)
            require(bool(found[norm]), f"it takes no reference model in {norm}; {refused}")
        return found

    def crafted(
        self, reference: Reference, norm: Norm, eps: float | None = None, seed: int = 0
    ) -> _Run:
        """Run it once on a reference model, within the budget that breaks most if none is given."""
        threat = ThreatModel(norm=norm, eps=reference.eps[norm] if eps is None else eps)
        key = (reference.name, threat, seed)
        if key not in self._done:
            self._done[key] = self.run(reference.model, reference.x, reference.y, threat, seed)
        return self._done[key]

    def run(
        self, model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, seed: int = 0
    ) -> _Run:
        # A copy: what an attack does to one model is not to spoil its next check.
        counted, before = CountedModel(deepcopy(model)), fingerprint(model.state_dict())
        given_x, given_y = x.clone(), y.clone()
        generator = torch.Generator().manual_seed(seed)
        with frozen(counted):
            x_adv = self.create()(counted, given_x, given_y, threat, generator)
            modes = any(module.training for module in counted.modules())
        changed = {
            "the images that it is given": not torch.equal(given_x, x),
            "the labels that it is given": not torch.equal(given_y, y),
            "the model's parameters": fingerprint(counted.model.state_dict()) != before,
            "the model's mode": modes,
        }
        return _Run(
            x_adv.detach().clone() if isinstance(x_adv, Tensor) else x_adv,
            counted.forward_count,
            counted.gradient_count,
            ", ".join(what for what, happened in changed.items() if happened),
        )

    def images(self, reference: Reference, norm: Norm, eps: float | None = None) -> Tensor:
        """Adversarial images, wherever they are."""
        made = self.crafted(reference, norm, eps).x_adv
        require(
            isinstance(made, Tensor) and made.shape == reference.x.shape,
            "it returns something else than images of the same shape",
        )
        assert isinstance(made, Tensor)
        return made.to(reference.x.dtype)

    def verified(self, reference: Reference, norm: Norm, eps: float | None = None) -> None:
        """Check that what it returns is in the ball and the box."""
        budget = reference.eps[norm] if eps is None else eps
        made = self.crafted(reference, norm, eps).x_adv
        verify(made, reference.x, ThreatModel(norm=norm, eps=budget))

    def runs(self) -> str:
        names = [reference.name for found in self.references.values() for reference in found]
        return ", ".join(dict.fromkeys(names))

    def stays(self, norm: Norm) -> str:
        for reference in self.references[norm]:
            self.verified(reference, norm)
        last = self.references[norm][-1]  # whose images touch the edges of the box
        for eps in SIZES:
            self.verified(last, norm, eps)
        threat = ThreatModel(norm=norm, eps=last.eps[norm])
        verify(self.run(last.model, last.x[:1], last.y[:1], threat).x_adv, last.x[:1], threat)
        return f"also one image alone, and ε = {' and '.join(map(str, SIZES))}"

    def identity(self, norm: Norm) -> str:
        for reference in self.references[norm]:
            require(
                torch.equal(self.images(reference, norm, 0.0), reference.x),
                "it returns other images: project them with qbench.geometry.project",
            )
        return ""

    def deterministic(self, norm: Norm) -> str:
        for reference in self.references[norm]:
            first = self.crafted(reference, norm).x_adv
            torch.manual_seed(1)  # whoever draws from the global generator draws something else
            threat = ThreatModel(norm=norm, eps=reference.eps[norm])
            again = self.run(reference.model, reference.x, reference.y, threat).x_adv
            require(
                isinstance(first, Tensor)
                and isinstance(again, Tensor)
                and torch.equal(first, again),
                "two runs differ: draw everything from the generator that is handed in",
            )
        return ""

    def leaves_alone(self, norm: Norm) -> str:
        for reference in self.references[norm]:
            changed = self.crafted(reference, norm).changed
            require(not changed, f"it changes {changed}: change a copy")
        return ""

    def beats_noise(self, norm: Norm) -> str:
        words = []
        for reference in self.references[norm]:
            x, y = reference.x, reference.y
            threat = ThreatModel(norm=norm, eps=reference.eps[norm])
            generator = torch.Generator().manual_seed(0)
            draws = [
                predict(reference.model, random_start(x, threat, generator)).argmax(1) != y
                for _ in range(DRAWS)
            ]
            noise = float(torch.stack(draws).any(0).double().mean())
            adversarial = predict(reference.model, self.images(reference, norm))
            broken = float((adversarial.argmax(1) != y).double().mean())
            require(
                broken > noise,
                f"within ε = {threat.eps:.2g} it breaks {broken:.0%} of the images of "
                f"{reference.name}, and the best of {DRAWS} draws of noise {noise:.0%}: is the "
                "loss ascended, and the budget used?",
            )
            words.append(f"{broken:.0%} against {noise:.0%}")
        return ", ".join(words)

    def reaches(self, norm: Norm) -> str:
        before = after = images = 0
        for reference in self.references[norm]:
            classes = predict(reference.model, reference.x[:1]).shape[1]
            goal = (reference.y + 1) % classes
            threat = ThreatModel(norm=norm, eps=1.5 * reference.eps[norm], targeted=True)
            made = self.run(reference.model, reference.x, goal, threat).x_adv
            require(isinstance(made, Tensor), "it returns no tensor")
            assert isinstance(made, Tensor)
            generator = torch.Generator().manual_seed(0)
            noise = random_start(reference.x, threat, generator)
            before += int((predict(reference.model, noise).argmax(1) == goal).sum())
            after += int((predict(reference.model, made).argmax(1) == goal).sum())
            images += len(goal)
        require(
            after > before,
            f"it reaches the class at {after} of {images} images, and noise at {before}: with "
            "threat_model.targeted the labels are classes to reach, or declare targeted=False",
        )
        return f"at {after} of {images} images"

    def without_gradient(self, norm: Norm) -> str:
        reference = self.references[norm][0]
        threat = ThreatModel(norm=norm, eps=reference.eps[norm])
        blind = deepcopy(reference.model)
        blind.register_forward_hook(lambda _model, _images, scores: scores.detach())
        try:
            self.run(blind, reference.x, reference.y, threat)
        except Unsupported:
            return "it refuses such a model by itself"
        except Exception as error:
            raise CheckFailedError(
                f"on a model without gradients it raises {type(error).__name__}: {error}; declare "
                "gradient=True"
            ) from error
        return ""

    def passes(self, norm: Norm) -> str:
        declared = getattr(self.create(), "passes", None)
        if declared is None:
            return "it declares nothing, so --dry-run has no estimate"
        for reference in self.references[norm]:
            run, images = self.crafted(reference, norm), len(reference.y)
            for asked, most, what in zip(
                (run.forward, run.gradient), declared, ("forward", "gradient"), strict=True
            ):
                require(
                    asked <= most * images,
                    f"{asked / images:.4g} {what} passes an image, and {most:g} are declared",
                )
        return ""

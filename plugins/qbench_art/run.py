"""One run of one of ART's attacks. Imports ART."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

import torch
from art.exceptions import EstimatorError
from torch import Tensor, nn
from torch.nn.functional import one_hot

from qbench.errors import PluginError, QbenchError, Unsupported, UsageError
from qbench.evaluation.isolation import TimeoutExceededError
from qbench.geometry import project
from qbench.specs import ThreatModel
from qbench_art.classifier import Array, Classifier, Exhausted, View
from qbench_art.library import parameters
from qbench_art.quirks import QUIRKS, Quirks


class Parameters(Protocol):
    """What a run needs to know of an attack, see `attack.ArtAttack`."""

    max_queries: int

    def build(self, cls: type[Any], classifier: Any, threat: ThreatModel, n: int) -> Any: ...


class Run:
    """An attack, its class, and what it is run on.

    Args:
        attack: Parameters.
        cls: ART's class.
        model: The model under attack.
        x: Clean images (n, features).
        y: Labels to leave, or to reach when the threat model is targeted, (n,).
        threat: Norm, ε, box and goal.

    Raises:
        Unsupported: The class cannot do what is asked of it.
    """

    def __init__(
        self,
        attack: Parameters,
        cls: type[Any],
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        threat: ThreatModel,
    ) -> None:
        self.attack, self.cls, self.name = attack, cls, f"ART's {cls.__name__}"
        self.model, self.x, self.y, self.threat = model, x, y, threat
        self.quirks = QUIRKS.get(cls.__name__, Quirks())
        known = parameters(cls)
        self.bounded = "eps" in known
        aims = self.quirks.aims and ("targeted" in known or self.quirks.labels_aim)
        if threat.targeted and not aims:
            raise Unsupported(f"{self.name} cannot aim at a class")
        image = threat.image_shape(x.shape[1])
        self.shape = (x.shape[1],) if image is None else (1, *image)
        if self.quirks.square and (image is None or image[0] != image[1]):
            found = f"{x.shape[1]} features are none" if image is None else f"these are {image}"
            raise Unsupported(f"{self.name} needs square images, and {found}")

    def adversarial(self) -> Tensor:
        """Adversarial images (n, features), inside the ball and the box."""
        scores = self._scores(self.x)
        if self.bounded:
            todo = torch.ones_like(self.y, dtype=torch.bool)
        else:
            todo = ~self._fooled(scores, self.y)
        x_adv = self.x.clone()
        if bool(todo.any()):
            x_adv[todo] = self._attack(self.x[todo], self.y[todo], scores)
        return x_adv

    def _attack(self, x: Tensor, y: Tensor, scores: Tensor) -> Tensor:
        x_art = self._generate(x, y, scores)
        x_art = torch.where(x_art.isfinite().all(1, keepdim=True), x_art, x)
        x_adv = project(x_art, x, self.threat)
        if self.bounded:
            return x_adv
        return torch.where(self._fooled(self._scores(x_adv), y)[:, None], x_adv, x)

    def _generate(self, x: Tensor, y: Tensor, scores: Tensor) -> Tensor:
        view = self._view()
        classifier = Classifier(
            self.model, x, scores.shape[1], view, probabilities=self.quirks.probabilities
        )
        step = 1 if self.quirks.alone else len(x)
        attack = self._build(classifier, view, step)
        labels = None
        if self.threat.targeted or not self.quirks.labels_aim:
            labels = one_hot(y, scores.shape[1]).float().numpy(force=True)
        images = view.to_art(x)
        result = images.copy()
        for first in range(0, len(x), step):
            rows = slice(first, first + step)
            options = self._start(x[first], y[first], scores, view)
            classifier.images.left = self.attack.max_queries * len(images[rows])
            try:
                result[rows] = attack.generate(
                    images[rows], None if labels is None else labels[rows], **options
                )
            except Exhausted:
                if not self.quirks.alone:
                    raise UsageError(
                        f"{self.name} has used its {self.attack.max_queries} queries an image: "
                        "raise max_queries or lower its steps"
                    ) from None
            except (QbenchError, TimeoutExceededError):
                raise
            except Exception as error:
                raise PluginError(f"{self.name} failed: {_line(error)}") from error
        return view.from_art(torch.from_numpy(result), x)

    def _view(self) -> View:
        eps, slack = self.threat.eps, self.quirks.slack
        low, high = self.threat.box or (float(self.x.min()) - eps, float(self.x.max()) + eps)
        return View(
            shape=self.shape,
            low=low,
            width=high - low,
            clip=self.threat.box if slack else None,
            told=(-slack, 1.0 + slack),
        )

    def _build(self, classifier: Classifier, view: View, n: int) -> Any:
        threat = replace(self.threat, eps=self.threat.eps / view.width)
        try:
            return self.attack.build(self.cls, classifier, threat, n)
        except EstimatorError as error:
            raise Unsupported(f"{self.name} does not attack PyTorch classifiers") from error
        except (QbenchError, TimeoutExceededError):
            raise
        except Exception as error:
            raise UsageError(f"{self.name} refuses its parameters: {_line(error)}") from error

    def _start(self, x: Tensor, y: Tensor, scores: Tensor, view: View) -> dict[str, Array]:
        """The nearest clean image that is classified as this one should be, if there is one."""
        candidates = self.x[self._fooled(scores, y.expand(len(scores)))]
        if len(candidates) == 0 or not self.quirks.starts:
            return {}
        nearest = torch.linalg.vector_norm(candidates - x, dim=1).argmin()
        return {"x_adv_init": view.to_art(candidates[nearest : nearest + 1])}

    def _scores(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            scores: Tensor = self.model(x)
        return scores

    def _fooled(self, scores: Tensor, y: Tensor) -> Tensor:
        hit = scores.argmax(1) == y
        return hit if self.threat.targeted else ~hit


def _line(error: Exception) -> str:
    """Type and first line of what ART raised."""
    message = str(error).strip().splitlines()
    return f"{type(error).__name__}: {message[0]}" if message else type(error).__name__

"""What one checkpoint shows: accuracy under attack, transfer, bound and perturbation patterns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qbench.datasets.base import Split, load_data
from qbench.errors import Unsupported, WeightsError
from qbench.evaluation.isolation import isolated
from qbench.evaluation.scoring import score
from qbench.protocols import DEFAULT, load_protocol
from qbench.provided import Provided
from qbench.registry import load_registry
from qbench.specs import CertifierSpec
from qbench.weights.files import fingerprint
from qbench_claims.patterns import EPS, PATTERNS, attacked, measures
from qbench_reproduction import kept
from qbench_reproduction.trajectories import DATASET, Trajectories

BASE = "fourier"  # the model whose transfer is followed
_REVISION = 1  # of what is measured here; raised when results change


@dataclass(frozen=True)
class Snapshot:
    """What one checkpoint shows on the first test images.

    Args:
        clean: Share of the clean images that are classified correctly.
        under: Share that is classified correctly clean and changed, by the model that the change
            was made for (PGD at ε = 0.1); this model's own name gives its robust accuracy.
        bound: Lipschitz bound in ℓ2.
        scope: What of the model the bound is about, see `interfaces.LipschitzBound`.
        patterns: Means over the images of the measures of `qbench_claims.patterns`.
    """

    clean: float
    under: Mapping[str, float]
    bound: float
    scope: str
    patterns: Mapping[str, float]


@dataclass(frozen=True)
class Moment:
    """All models of one seed after one epoch: what is measured in one go.

    Args:
        path: Of the file that keeps the result.
        found: The checkpoints.
        seed, epoch: Which of them.
        images: How many test images are attacked.
    """

    path: Path
    found: Trajectories
    seed: int
    epoch: int
    images: int

    def question(self) -> dict[str, Any]:
        """All that the result depends on: weights by fingerprint, attack, images, certifiers."""
        weights, certifiers = {}, {}
        for model in self.found.models:
            state = self.found.training(model, self.seed).state(self.epoch)
            if state is None:
                raise WeightsError(f"no checkpoint of {model} seed {self.seed} epoch {self.epoch}")
            revision = self.found.training(model, self.seed).provided().spec.revision
            weights[model] = [revision, fingerprint(state.weights)]
            spec = certifier(model).spec
            certifiers[model] = f"{spec.name}@{spec.revision}"
        protocol, registry = load_protocol(DEFAULT), load_registry()
        return {
            "revision": _REVISION,
            "dataset": load_data(DATASET).sha256,
            "images": self.images,
            "seed": self.seed,
            "protocol": protocol.sha256,
            "attack": [registry.get("attack", "pgd").spec.revision, EPS],
            "weights": weights,
            "certifiers": certifiers,
        }


def measure(moment: Moment) -> dict[str, Any]:
    """Attack every model once; all measures are of these images. Written to the moment's file."""
    dataset, seed = load_data(DATASET), moment.seed
    x, y = dataset.test.x[: moment.images], dataset.test.y[: moment.images]
    images, protocol = Split(x, y), load_protocol(DEFAULT)
    with isolated(seed):
        models = {
            name: moment.found.training(name, seed).load(moment.epoch)
            for name in moment.found.models
        }
        made = {name: attacked(model, images, seed, protocol) for name, model in models.items()}
        answer = {}
        for name, model in models.items():
            scored = {source: score(model, x, x_adv, y) for source, x_adv in made.items()}
            bound = certifier(name).create()(model, x.clone())
            patterns = measures(model, dataset, images, made[name], seed)
            snapshot = Snapshot(
                clean=scored[name].clean_accuracy,
                under={source: of.robust_accuracy for source, of in scored.items()},
                bound=bound.lipschitz,
                scope=bound.scope,
                patterns={what: float(values.mean()) for what, values in patterns.items()},
            )
            answer[name] = asdict(snapshot)
    kept.write(moment.path, moment.question(), answer)
    return answer


def certifier(model: str) -> Provided[CertifierSpec]:
    """The certifier of Table I: the first Lipschitz bound for the model's structure.

    Raises:
        Unsupported: There is none.
    """
    registry = load_registry()
    structure = registry.get("model", model).spec.structure
    for found in registry.all("certifier").values():
        if structure in found.spec.structures and not found.spec.norms:
            return found
    raise Unsupported(f"no certifier has a Lipschitz bound for {model} ({structure})")


@dataclass(frozen=True)
class Dynamics:
    """Snapshots of every model, seed and epoch.

    Args:
        models, seeds, epochs: Which there are.
        images: How many test images were attacked.
        snapshots: By model, seed and epoch.
    """

    models: tuple[str, ...]
    seeds: tuple[int, ...]
    epochs: tuple[int, ...]
    images: int
    snapshots: Mapping[tuple[str, int, int], Snapshot]

    def values(self, what: str, model: str) -> NDArray[np.float64]:
        """A quantity of a model, (seeds, epochs).

        Args:
            what: `"clean"`, `"robust"`, `"bound"`; `"from NAME"` and `"to NAME"` for the accuracy
                of this model on images made for NAME, and the other way round; or a measure of the
                patterns.
            model: Which.
        """
        take = partial(self._value, what, model)
        return np.array([[take(seed, epoch) for epoch in self.epochs] for seed in self.seeds])

    def _value(self, what: str, model: str, seed: int, epoch: int) -> float:
        one = self.snapshots[model, seed, epoch]
        if what in ("clean", "bound"):
            return float(getattr(one, what))
        way, _, other = what.partition(" ")
        if way == "to":
            return self.snapshots[other, seed, epoch].under[model]
        if what in PATTERNS:
            return one.patterns[what]
        return one.under[model if way == "robust" else other]


def changes(
    found: Dynamics, what: str, model: str, epochs: Sequence[int]
) -> tuple[float, float | None]:
    """How a quantity changes between two epochs: mean over seeds, and half its 95 % interval.

    The seeds' changes are paired; the interval is Student's, None with one seed.
    """
    from scipy.stats import t

    first, last = (found.epochs.index(epoch) for epoch in epochs)
    values = found.values(what, model)
    change = values[:, last] - values[:, first]
    if len(change) < 2:
        return float(change.mean()), None
    error = change.std(ddof=1) / np.sqrt(len(change))
    return float(change.mean()), float(t.ppf(0.975, len(change) - 1) * error)

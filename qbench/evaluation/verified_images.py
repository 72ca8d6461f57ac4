"""Verifies outcomes by the models themselves: images scored again, and attacked again."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qbench.errors import VerificationError
from qbench.evaluation import attacking_again
from qbench.evaluation.attacking_again import attack_again
from qbench.evaluation.isolation import time_limit
from qbench.evaluation.outside import SavedModel
from qbench.evaluation.rechecks import recheck
from qbench.evaluation.scoring import margins
from qbench.evaluation.task import TIME_LIMIT_S
from qbench.evaluation.verdict import Verdict
from qbench.evaluation.verified_board import BALL, Board
from qbench.geometry import distance
from qbench.records.record import Record, TrainingMetrics
from qbench.records.results import Adversarial
from qbench.records.worst import broken_images, most_kept, ranking_eps
from qbench.specs import Recipe
from qbench.weights.files import Provenance, fingerprint, unpack
from qbench.weights.zoo import file_name

TOLERANCE = 1e-5  # of the scores' scale: where processors may differ in an image's class
Weights = Callable[[str, int], bytes | None]


@dataclass(frozen=True)
class Rescoring:
    """One model with one seed's weights, and the images that its records are about.

    Args:
        board: What is verified.
        name: The model's.
        seed: Its seed.
        sources: Where its weights may be found.
        again: How many images are attacked again.
        verdict: Where notes and counts go.
    """

    board: Board
    name: str
    seed: int
    sources: list[Weights]
    again: int
    verdict: Verdict

    def problems(self) -> Iterator[str]:
        """Each difference between what the records say and what the model answers."""
        name, seed = self.name, self.seed
        records = [
            record
            for record in self.board.by_id.values()
            if (record.task.model.name, record.task.model.seed) == (name, seed)
            and record.status == "done"
        ]
        found, kept = self._kept()
        yield from found
        model = self._saved(records)
        if model is None:
            return
        if self.board.registry.get("model", name).spec.stochastic:
            self.verdict.notes.append(f"{name} seed {seed}: its answers vary, and are not compared")
            return
        with time_limit(TIME_LIMIT_S):
            scores = model.predictions(self.board.split.x, seed=seed)[0]
        self.verdict.counts["clean images scored again"] += len(scores)
        for record in records:
            if record.exact and record.outcomes is not None:
                columns = self.board.results.columns(record)
                key = "prediction" if record.task.kind == "radii" else "clean_prediction"
                yield from self._compare(record.title, columns[key], scores, self.board.split.y)
        if kept is not None:
            yield from self._still_broken(kept, model)
        provided = self.board.provided(name)
        for record in records:
            for problem in recheck(
                record, provided, model, self.board.split, self.board.dataset, self.board.protocol
            ):
                yield f"{record.title}: {problem}"
        if self.again:
            yield from self._attack_again(model, records, scores)

    def _attack_again(
        self, model: SavedModel, records: list[Record], scores: Tensor
    ) -> Iterator[str]:
        name, seed = self.name, self.seed
        standing = (model.given(scores, self.board.split.y) == self.board.split.y).numpy()
        standing[broken_images(self.board.by_id, self.board.results.columns, name, seed)] = False
        images = min(self.again, len(standing))
        drawn = secrets.randbits(31)
        found = attack_again(
            self.board.provided(name),
            model,
            records,
            standing,
            self.board.split,
            self.board.dataset,
            self.board.protocol,
            self.board.registry,
            images=images,
            seed=drawn,
        )
        self.verdict.counts["images attacked again"] += images
        new = "" if found.on_new is None else f", {found.on_new:.3f} of as many new ones"
        self.verdict.notes.append(
            f"{name} seed {seed}: of {images} images drawn by seed {drawn}, {found.broken} of "
            f"{found.stood} that stood fall to {found.attack}; robust {found.on_known:.3f}{new}"
        )
        yield from attacking_again.problems(found, len(standing), images)

    def _kept(self) -> tuple[list[str], Adversarial | None]:
        """The images that broke a model: there, and allowed; and if so, what they are."""
        name, seed = self.name, self.seed
        due = broken_images(self.board.by_id, self.board.results.columns, name, seed)
        kept = self.board.results.adversarial(name, seed)
        image = np.empty(0, np.int64) if kept is None else kept.image.astype(np.int64)
        found = []
        enough = len(image) >= most_kept(self.board.split.x.shape[1])
        if not enough and (lacking := sorted(set(due.tolist()) - set(image.tolist()))):
            found.append(f"image {lacking[0]} ({len(lacking)} in all) was broken, and not kept")
        if odd := sorted(set(image.tolist()) - set(due.tolist())):
            what = "was kept, and no record says it was broken"
            return [*found, f"image {odd[0]} ({len(odd)} in all) {what}"], None
        if kept is None or not len(image):
            return found, None
        x_adv, x = torch.from_numpy(np.ascontiguousarray(kept.x_adv)), self.board.split.x[image]
        if x_adv.shape != x.shape or not bool(x_adv.isfinite().all()):
            shape = tuple(x_adv.shape)
            return [*found, f"kept images have shape {shape}, or are not finite"], None
        eps = ranking_eps(
            r.task.eps
            for r in self.board.by_id.values()
            if r.task.kind == "attack" and r.exact and r.task.model.name == name
        )
        threat = self.board.protocol.threat_model(eps or 0.0)
        far = distance(x_adv, x, threat.norm)
        for place in (~(far <= threat.eps * (1 + BALL))).nonzero()[:, 0].tolist():
            found.append(
                f"image {image[place]} is {far[place]:.9g} from its original, ε is {threat.eps:g}"
            )
        if threat.box is not None:
            outside = ~((x_adv >= threat.box[0]) & (x_adv <= threat.box[1])).all(1)
            places = outside.nonzero()[:, 0].tolist()
            found += [f"image {image[place]} leaves the box" for place in places]
        return found, kept

    def _still_broken(self, kept: Adversarial, model: SavedModel) -> Iterator[str]:
        """Kept images that the model classifies correctly after all."""
        image = kept.image.astype(np.int64)
        x_adv = torch.from_numpy(np.ascontiguousarray(kept.x_adv))
        with time_limit(TIME_LIMIT_S):
            scores = model.predictions(x_adv, seed=self.seed)[0]
        self.verdict.counts["adversarial images scored again"] += len(scores)
        margin = margins(scores, self.board.split.y[image])
        for place in (margin > _slack(scores)).nonzero()[:, 0].tolist():
            yield f"image {image[place]} is classified correctly, with margin {margin[place]:.3g}"

    def _compare(self, what: str, recorded: Any, scores: Tensor, y: Tensor) -> Iterator[str]:
        top = scores.topk(2, dim=1)
        close = (top.values[:, 0] - top.values[:, 1]) < _slack(scores)
        differ = torch.from_numpy(np.atleast_2d(recorded)[0].astype(np.int64)) != top.indices[:, 0]
        for place in (differ & ~close).nonzero()[:, 0].tolist():
            yield (
                f"{what}: clean image {place} is given class {int(top.indices[place, 0])}, the "
                f"record says {int(np.atleast_2d(recorded)[0][place])}"
            )
        if bool((differ & close).any()):
            number = int((differ & close).sum())
            self.verdict.notes.append(f"{what}: {number} images differ within the tolerance")

    def _saved(self, records: list[Record]) -> SavedModel | None:
        """The model with its weights, where they are at hand and those of the records."""
        name, seed = self.name, self.seed
        claimed = {record.weights for record in records}
        for source in self.sources:
            content = source(name, seed)
            if content is None:
                continue
            state, about = unpack(content, file_name(name, seed))
            due = {(record.task.model.revision, record.task.data.sha256) for record in records}
            if {(about.revision, about.dataset_sha256)} != due:
                continue
            if claimed != {fingerprint(state.weights)}:
                raise VerificationError("other weights than those that are published")
            _check_training(records, state)
            if self.board.foreign(name):
                self._check_provenance(about)
                return None
            return SavedModel.of(self.board.provided(name), content, self.board.plugins)
        if self.board.sent is not None:
            raise VerificationError("its weights are not in the submission")
        self.verdict.notes.append(
            f"{name} seed {seed}: no weights at hand, images not scored again"
        )
        return None

    def _check_provenance(self, about: Provenance) -> None:
        """What a file of weights says of itself, against the card and the data."""
        name, seed = self.name, self.seed
        card, data = self.board.results.cards[name], self.board.dataset
        said = (about.model, about.seed, about.dataset_sha256, about.recipe.stated())
        due = (name, seed, data.sha256, Recipe(**card.recipe.model_dump()).stated())
        for what, theirs, ours in zip(("model", "seed", "data", "recipe"), said, due, strict=True):
            if theirs != ours:
                raise VerificationError(f"the {what} of its weights is {theirs}, not {ours}")


def _check_training(records: list[Record], state: Any) -> None:
    for record in records:
        metrics = record.metrics
        if isinstance(metrics, TrainingMetrics) and (
            list(metrics.loss),
            list(metrics.test_accuracy),
        ) != (list(state.loss), list(state.test_accuracy)):
            raise VerificationError(f"the {record.title} says another course than its weights")


def _slack(scores: Tensor) -> float:
    return TOLERANCE * max(float(scores.abs().max()), 1e-30)

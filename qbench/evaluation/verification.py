"""Verifies results without trusting them: schema, hashes, metrics, images, soundness.

Everything that can be recomputed is: metrics from per-image outcomes, outcomes of clean and of the
worst adversarial images from weights by forward passes, labels from the data, parameters from the
protocol, facts about models from their specs. On request a sample is attacked again.

A submission may hold models of a plugin that is not loaded: what needs its code is then left out,
and said so, and no line of it runs.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qbench.attack_strings import attack_label
from qbench.datasets.base import Dataset, Split, load_data
from qbench.datasets.fitting import fitted
from qbench.errors import QbenchError, VerificationError
from qbench.evaluation import attacking_again
from qbench.evaluation.attacking_again import attack_again
from qbench.evaluation.challenge import problems
from qbench.evaluation.impossible import impossible
from qbench.evaluation.isolation import isolated, time_limit
from qbench.evaluation.outside import SavedModel
from qbench.evaluation.provenance import card_of, parameters_of
from qbench.evaluation.rechecks import recheck, unchecked
from qbench.evaluation.scoring import margins
from qbench.evaluation.submission import (
    RESULTS,
    Submission,
    is_file_version,
    is_submission,
    lacking,
    required_attacks,
)
from qbench.evaluation.task import TIME_LIMIT_S
from qbench.geometry import distance
from qbench.plugin_files import PluginFile
from qbench.protocols import Protocol, load_protocol
from qbench.provided import Provided
from qbench.records import soundness
from qbench.records.archive import Archive, boards
from qbench.records.columns import Columns
from qbench.records.record import (
    AccuracyMetrics,
    LipschitzMetrics,
    RadiiMetrics,
    Record,
    TrainingMetrics,
)
from qbench.records.results import Adversarial, Results, attack_norm
from qbench.records.store import FILE, RunStore
from qbench.records.worst import broken_images, ranking_eps
from qbench.registry import Registry, load_registry
from qbench.specs import ModelSpec, Recipe
from qbench.text import one_line
from qbench.weights.files import Provenance, fingerprint, unpack
from qbench.weights.zoo import Zoo, file_name

TOLERANCE = 1e-5  # of the scores' scale: where processors may differ in an image's class
BALL = 1e-6  # relative, on ε
Weights = Callable[[str, int], bytes | None]
_MOST_OF_A_KIND = 20  # differences that are listed


@dataclass
class Verdict:
    """What verification found.

    Args:
        problems: One line each; empty when everything holds.
        notes: What could not be looked at, or differs within the stated tolerance.
        counts: How much was looked at, by what it is.
    """

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))


def verify(
    path: Path,
    *,
    weights: tuple[Path, ...] = (),
    plugins: tuple[PluginFile, ...] = (),
    again: int = 0,
    on_model: Callable[[str, int], None] = lambda *_: None,
) -> Verdict:
    """Look at a run's folder, an archive or a submission as if a stranger had sent it.

    Args:
        path: The folder.
        weights: Folders of weights as `qbench train` writes them, for models that the shipped zoo
            does not hold. A submission has its own.
        plugins: Plugins given as files. Those of a submission are loaded only if they are here.
        again: How many images of each model and seed are attacked again, and as many new ones.
        on_model: Called with each model and seed whose images were scored again.
    """
    verdict = Verdict()
    zoos = [_from_zoo(Zoo()), *(_from_zoo(Zoo(folder)) for folder in weights)]
    sent: Submission | None = None
    try:
        if (path / FILE).is_file():
            store = RunStore(path)
            opened = [(store.results(), False, [_from_run(store)])]
        else:
            if is_submission(path):
                sent, path = Submission.read(path), path / RESULTS
                zoos.append(_from_zoo(sent.zoo))
            opened = [(Archive.read(folder).results(), True, zoos) for folder in boards(path)]
        if sent is not None:
            cards = {name: card for results, _, _ in opened for name, card in results.cards.items()}
            verdict.problems += sent.problems(cards)
        for results, whole, sources in opened:
            _Verifier(results, whole, sources, plugins, verdict, sent, again).verify(on_model)
    except QbenchError as error:
        verdict.problems.append(str(error))
    return verdict


def _from_zoo(zoo: Zoo) -> Weights:
    return lambda name, seed: None if zoo.sha256(name, seed) is None else zoo.read(name, seed)


def _from_run(store: RunStore) -> Weights:
    """The weights that a run's trainings left in its folder."""
    trainings = {
        (record.task.model.name, record.task.model.seed): record
        for record in store.results().records
        if record.task.kind == "training" and record.status == "done"
    }
    return lambda name, seed: (
        store.artifact(trainings[name, seed]) if (name, seed) in trainings else None
    )


class _Verifier:
    def __init__(
        self,
        results: Results,
        whole: bool,
        sources: list[Weights],
        plugins: tuple[PluginFile, ...],
        verdict: Verdict,
        sent: Submission | None,
        again: int,
    ) -> None:
        self._results, self._whole, self._sources = results, whole, sources
        self._plugins, self._verdict, self._sent, self._again = plugins, verdict, sent, again
        self._registry: Registry = load_registry(plugins)
        self._by_id = {record.id: record for record in results.records}

    def verify(self, on_model: Callable[[str, int], None]) -> None:
        self._check_board()
        for name, card in sorted(self._results.cards.items()):
            self._check(f"card of {name}", partial(self._card, name, card))
        for record in self._results.records:
            self._verdict.counts["records"] += 1
            self._check(record.title, partial(self._record, record))
        self._check_seeds()
        self._check_admission()
        self._problems(unchecked(self._by_id.values(), self._dataset, self._protocol))
        self._check_weights()
        trained = {(r.task.model.name, r.task.model.seed) for r in self._by_id.values()}
        for model, seed in sorted(trained):
            self._check(f"{model} seed {seed}", partial(self._rescore, model, seed))
            on_model(model, seed)
        violations, compared = soundness.check(self._results)
        self._verdict.counts["pairs of a radius and an attacked image"] += compared
        self._problems(str(violation) for violation in violations)

    def _check(self, what: str, look: Callable[[], Iterator[str]]) -> None:
        """Note each difference that a look finds, and whatever else a stranger's data provokes."""
        try:
            self._problems(f"{what}: {problem}" for problem in look())
        except QbenchError as error:
            self._problems([f"{what}: {error}"])
        except Exception as error:  # a stranger's model may raise whatever it likes
            self._problems([f"{what}: {type(error).__name__}: {error}"])

    def _problems(self, found: Any) -> None:
        every = list(found)
        self._verdict.problems += every[:_MOST_OF_A_KIND]
        if len(every) > _MOST_OF_A_KIND:
            self._verdict.problems.append(f"... and {len(every) - _MOST_OF_A_KIND} more like it")

    @cached_property
    def _protocol(self) -> Protocol:
        name = next(iter(self._by_id.values())).task.protocol.name
        protocol = load_protocol(name, self._plugins)
        return protocol.in_norm(attack_norm(self._results) or protocol.norm)

    @cached_property
    def _attacked(self) -> Record:
        """A record that is about the images which are attacked."""
        for record in self._by_id.values():
            if record.task.kind != "training":
                return record
        raise VerificationError("there are trainings only")

    @cached_property
    def _dataset(self) -> Dataset:
        return load_data(self._attacked.task.data.name, self._plugins)

    @cached_property
    def _split(self) -> Split:
        data, usual = self._attacked.task.data, self._protocol.selection.dataset
        if self._sent is not None and data.name != usual:
            # Loading it could read files or ask the network, as a stranger says.
            raise VerificationError(f"its data are {data.name!r}, the protocol's are {usual!r}")
        dataset = self._dataset
        if dataset.sha256 != data.sha256:
            raise VerificationError(
                f"data set {data.name!r} has SHA-256 {dataset.sha256}, the records say "
                f"{data.sha256}"
            )
        limit = None if self._whole else data.images
        split = self._protocol.selection.images(dataset, limit)
        if len(split.y) != data.images or data.split != self._protocol.selection.split:
            raise VerificationError(
                f"the protocol has {len(split.y)} {self._protocol.selection.split} images, the "
                f"records say {data.images} {data.split} images"
            )
        return split

    def _check_board(self) -> None:
        """One protocol, the installed one, and one set of images."""
        for record in self._by_id.values():
            task = record.task
            if (task.protocol.name, task.protocol.sha256) != (
                self._protocol.name,
                self._protocol.sha256,
            ):
                raise VerificationError(f"{record.title}: another protocol, or a changed one")
            if task.kind != "training" and task.data != self._attacked.task.data:
                raise VerificationError(f"{record.title}: other images than the other records")
            if task.data.sha256 != self._attacked.task.data.sha256:
                raise VerificationError(f"{record.title}: another data set")
        _ = self._split

    def _foreign(self, name: str) -> bool:
        """Whether a model is a submission's, of a plugin that is not loaded."""
        return self._sent is not None and name not in self._registry.all("model")

    def _card(self, name: str, card: Any) -> Iterator[str]:
        if self._foreign(name):
            self._verdict.notes.append(
                f"{name}: plugin {card.plugin!r} is not loaded, so nothing was asked of the model"
            )
            return
        provided = self._provided(name)
        if file := self._handed_in(name):
            provided = replace(provided, spec=replace(provided.spec, weights=file, train=None))
        with isolated(0):
            parameters = parameters_of(provided.create())
        expected = card_of(provided, None if card.parameters is None else parameters)
        for key in type(card).model_fields:
            ours, theirs = getattr(expected, key), getattr(card, key)
            # Of a package any version will do, of a file the one that was run.
            if ours != theirs and (key != "version" or is_file_version(theirs)):
                yield f"{key} is {theirs!r}, its plugin says {ours!r}"

    def _provided(self, name: str) -> Provided[ModelSpec]:
        return fitted(self._registry.get("model", name), self._dataset)

    def _handed_in(self, name: str) -> str | None:
        """The file that a model's weights were handed in as; None where they were not."""
        for record in self._by_id.values():
            if record.task.model.name == name and isinstance(record.metrics, TrainingMetrics):
                return record.metrics.file
        return None

    def _record(self, record: Record) -> Iterator[str]:
        task = record.task
        if task.model.name not in self._results.cards:
            yield "its model has no card"
        elif task.model.revision != self._results.cards[task.model.name].revision:
            yield f"revision {task.model.revision} of the model, its card has another"
        if record.environment not in self._results.environments:
            yield "its versions are not on record"
        if task.kind in ("attack", "transfer"):
            yield from self._method(record)
        if task.kind == "challenge":
            yield from problems(record, self._results.columns(record), self._protocol)
        if isinstance(record.metrics, LipschitzMetrics | RadiiMetrics):
            yield from self._certifier(record)
        columns = {} if record.outcomes is None else self._results.columns(record)
        known = self._registry.all("model").get(task.model.name)
        yield from impossible(
            record,
            columns,
            self._protocol,
            self._dataset,
            self._registry,
            None if known is None else known.spec,
        )
        if columns:
            self._verdict.counts["images' outcomes"] += task.data.images
            yield from self._outcomes(record, columns)

    def _method(self, record: Record) -> Iterator[str]:
        task = record.task
        assert task.kind in ("attack", "transfer")
        provided = self._registry.get("attack", task.attack.name)
        if task.attack.revision != provided.spec.revision:
            yield f"revision {task.attack.revision} of {task.attack.name}, installed is another"
        usual = provided.resolved(self._protocol.attack_params(task.attack.name, task.eps))
        if task.attack.params.keys() != usual.keys():
            yield f"parameters {sorted(task.attack.params)}, {task.attack.name} has {sorted(usual)}"
        label = attack_label(task.attack.name, task.attack.params, usual)
        if record.label != label:
            yield f"it is called {record.label}, its parameters make it {label}"
        if task.norm != self._protocol.norm:
            yield f"norm {task.norm}, the board's is {self._protocol.norm}"
        if task.kind == "transfer" and task.made_by.id not in self._by_id:
            yield "the attack that made its images is not on record"

    def _certifier(self, record: Record) -> Iterator[str]:
        task, metrics = record.task, record.metrics
        assert task.kind in ("lipschitz", "radii")
        assert task.certifier is not None
        provided = self._registry.get("certifier", task.certifier.name)
        if self._foreign(task.model.name):
            structure = self._results.cards[task.model.name].structure
        else:
            structure = self._registry.get("model", task.model.name).spec.structure
        if not provided.spec.covers(structure):
            yield f"{task.certifier.name} does not cover {structure}"
        if isinstance(metrics, LipschitzMetrics | RadiiMetrics) and (
            metrics.source != one_line(provided.spec.source)
        ):
            yield "its source is not the certifier's"
        if isinstance(metrics, LipschitzMetrics):
            if metrics.baseline != provided.spec.baseline:
                yield "whether its bound is a baseline is not as the certifier says"
            if metrics.sampled_jacobian > metrics.bound * (1 + BALL):
                yield f"a Jacobian of {metrics.sampled_jacobian} exceeds the bound {metrics.bound}"
        elif isinstance(metrics, RadiiMetrics) and metrics.smoothed != provided.spec.smoothed:
            yield "whether it is about the smoothed model is not as the certifier says"

    def _outcomes(self, record: Record, columns: Columns) -> Iterator[str]:
        task, metrics, label = record.task, record.metrics, columns["label"]
        wrong = np.flatnonzero(label != self._split.y.numpy())
        if len(wrong):
            yield f"image {wrong[0]} has label {label[wrong[0]]}, the data say otherwise"
        if isinstance(metrics, RadiiMetrics):
            radius = columns["radius"]
            if bool((radius < 0).any()):
                yield "a radius below 0"
            if not metrics.smoothed and bool(
                ((radius > 0) & (columns["prediction"] != label)).any()
            ):
                yield "a misclassified image has a radius"
            assert task.kind == "radii"
            certified = [float((radius >= eps).mean()) for eps in task.eps]
            yield from _differ("certified accuracy", metrics.certified_accuracy, certified)
            clean = float((columns["prediction"] == label).mean())
            yield from _differ("clean accuracy", [metrics.clean_accuracy], [clean])
            return
        assert isinstance(metrics, AccuracyMetrics)
        clean = columns["clean_prediction"] == label
        adversarial = columns["adversarial_prediction"] == label
        yield from _differ("clean accuracy", [metrics.clean_accuracy], [clean.mean()])
        yield from _differ(
            "adversarial accuracy", [metrics.adversarial_accuracy], [adversarial.mean()]
        )
        robust = (clean & adversarial).mean()
        yield from _differ("robust accuracy", [metrics.robust_accuracy], [robust])
        for name, right in (("clean", clean), ("adversarial", adversarial)):
            margin = columns[f"{name}_margin"]
            if bool((((margin > 0) & ~right) | ((margin < 0) & right)).any()):
                yield f"{name} margins and predictions contradict each other"
        if task.kind in ("attack", "challenge"):
            norms = {norm: columns[norm].astype(np.float64) for norm in ("linf", "l2")}
            far = np.flatnonzero(~(norms[task.norm] <= task.eps * (1 + BALL)))
            if len(far):
                yield f"image {far[0]} is {norms[task.norm][far[0]]:.9g} away, ε is {task.eps:g}"
            features = self._split.x.shape[1]
            low, high = norms["linf"] * (1 - 1e-5), norms["linf"] * features**0.5 * (1 + 1e-5)
            if bool(((norms["l2"] < low) | (norms["l2"] > high)).any()):
                yield "its distances in ℓ∞ and ℓ2 cannot both be right"

    def _check_seeds(self) -> None:
        """No seed of a model may lack what its other seeds have."""
        seeds: defaultdict[str, set[int]] = defaultdict(set)
        made: defaultdict[tuple[Any, ...], set[int]] = defaultdict(set)
        for record in self._by_id.values():
            task, name = record.task, record.task.model.name
            if task.kind == "challenge":
                continue  # whoever sends images need not send some for every seed
            if task.kind != "transfer":
                seeds[name].add(task.model.seed)
                eps = getattr(task, "eps", None)
                certifier = getattr(task, "certifier", None)
                made[name, task.kind, record.label, str(eps), str(certifier)].add(task.model.seed)
        for name, found in sorted(seeds.items()):
            lacking = sorted(set(self._protocol.seeds) - found)
            handed_in = self._sent is None and self._handed_in(name) is not None
            if self._whole and lacking and not handed_in:
                self._verdict.problems.append(f"{name} lacks seeds {lacking} of the protocol")
        for (name, kind, label, *rest), found in sorted(made.items(), key=str):
            if lacking := sorted(seeds[name] - found):
                what = " ".join(part for part in (label, *rest) if part and part != "None")
                self._verdict.problems.append(f"{name}: no {kind} {what} for seeds {lacking}")

    def _check_admission(self) -> None:
        """Of a submission: no model may lack what a rank asks for."""
        if self._sent is None:
            return
        required = required_attacks(self._protocol, ())
        for name in sorted(self._results.cards):
            records = [record for record in self._by_id.values() if record.exact]
            found = lacking(records, name, self._protocol, required)
            self._problems(f"{name}: {line}" for line in found)

    def _check_weights(self) -> None:
        """One set of weights a model and seed."""
        found: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
        for record in self._by_id.values():
            if record.weights is not None:
                found[record.task.model.name, record.task.model.seed].add(record.weights)
        for (name, seed), weights in sorted(found.items()):
            if len(weights) > 1:
                self._verdict.problems.append(f"{name} seed {seed}: {len(weights)} sets of weights")

    def _rescore(self, name: str, seed: int) -> Iterator[str]:
        records = [
            record
            for record in self._by_id.values()
            if (record.task.model.name, record.task.model.seed) == (name, seed)
            and record.status == "done"
        ]
        found, kept = self._kept(name, seed)
        yield from found
        model = self._saved(name, seed, records)
        if model is None:
            return
        if self._registry.get("model", name).spec.stochastic:
            self._verdict.notes.append(
                f"{name} seed {seed}: its answers vary, and are not compared"
            )
            return
        with time_limit(TIME_LIMIT_S):
            scores = model.predictions(self._split.x, seed=seed)[0]
        self._verdict.counts["clean images scored again"] += len(scores)
        for record in records:
            if record.exact and record.outcomes is not None:
                columns = self._results.columns(record)
                key = "prediction" if record.task.kind == "radii" else "clean_prediction"
                yield from self._compare(record.title, columns[key], scores, self._split.y)
        if kept is not None:
            yield from self._still_broken(kept, model, seed)
        provided = self._provided(name)
        for record in records:
            for problem in recheck(
                record, provided, model, self._split, self._dataset, self._protocol
            ):
                yield f"{record.title}: {problem}"
        if self._again:
            yield from self._attack_again(name, seed, model, records, scores)

    def _attack_again(
        self, name: str, seed: int, model: SavedModel, records: list[Record], scores: Tensor
    ) -> Iterator[str]:
        standing = (scores.argmax(1) == self._split.y).numpy()
        standing[broken_images(self._by_id, self._results.columns, name, seed)] = False
        images = min(self._again, len(standing))
        drawn = secrets.randbits(31)
        found = attack_again(
            self._provided(name),
            model,
            records,
            standing,
            self._split,
            self._dataset,
            self._protocol,
            self._registry,
            images=images,
            seed=drawn,
        )
        self._verdict.counts["images attacked again"] += images
        new = "" if found.on_new is None else f", {found.on_new:.3f} of as many new ones"
        self._verdict.notes.append(
            f"{name} seed {seed}: of {images} images drawn by seed {drawn}, {found.broken} of "
            f"{found.stood} that stood fall to {found.attack}; robust {found.on_known:.3f}{new}"
        )
        yield from attacking_again.problems(found, len(standing), images)

    def _kept(self, name: str, seed: int) -> tuple[list[str], Adversarial | None]:
        """The images that broke a model: there, and allowed; and if so, what they are."""
        due = broken_images(self._by_id, self._results.columns, name, seed)
        kept = self._results.adversarial(name, seed)
        image = np.empty(0, np.int64) if kept is None else kept.image.astype(np.int64)
        found = []
        if lacking := sorted(set(due.tolist()) - set(image.tolist())):
            found.append(f"image {lacking[0]} ({len(lacking)} in all) was broken, and not kept")
        if odd := sorted(set(image.tolist()) - set(due.tolist())):
            what = "was kept, and no record says it was broken"
            return [*found, f"image {odd[0]} ({len(odd)} in all) {what}"], None
        if kept is None or not len(image):
            return found, None
        x_adv, x = torch.from_numpy(np.ascontiguousarray(kept.x_adv)), self._split.x[image]
        if x_adv.shape != x.shape or not bool(x_adv.isfinite().all()):
            shape = tuple(x_adv.shape)
            return [*found, f"kept images have shape {shape}, or are not finite"], None
        eps = ranking_eps(
            r.task.eps
            for r in self._by_id.values()
            if r.task.kind == "attack" and r.exact and r.task.model.name == name
        )
        threat = self._protocol.threat_model(eps or 0.0)
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

    def _still_broken(self, kept: Adversarial, model: SavedModel, seed: int) -> Iterator[str]:
        """Kept images that the model classifies correctly after all."""
        image = kept.image.astype(np.int64)
        x_adv = torch.from_numpy(np.ascontiguousarray(kept.x_adv))
        with time_limit(TIME_LIMIT_S):
            scores = model.predictions(x_adv, seed=seed)[0]
        self._verdict.counts["adversarial images scored again"] += len(scores)
        margin = margins(scores, self._split.y[image])
        for place in (margin > self._slack(scores)).nonzero()[:, 0].tolist():
            yield f"image {image[place]} is classified correctly, with margin {margin[place]:.3g}"

    def _compare(self, what: str, recorded: Any, scores: Tensor, y: Tensor) -> Iterator[str]:
        top = scores.topk(2, dim=1)
        close = (top.values[:, 0] - top.values[:, 1]) < self._slack(scores)
        differ = torch.from_numpy(np.atleast_2d(recorded)[0].astype(np.int64)) != top.indices[:, 0]
        for place in (differ & ~close).nonzero()[:, 0].tolist():
            yield (
                f"{what}: clean image {place} is given class {int(top.indices[place, 0])}, the "
                f"record says {int(np.atleast_2d(recorded)[0][place])}"
            )
        if bool((differ & close).any()):
            number = int((differ & close).sum())
            self._verdict.notes.append(f"{what}: {number} images differ within the tolerance")

    @staticmethod
    def _slack(scores: Tensor) -> float:
        return TOLERANCE * max(float(scores.abs().max()), 1e-30)

    def _saved(self, name: str, seed: int, records: list[Record]) -> SavedModel | None:
        """The model with its weights, where they are at hand and those of the records."""
        claimed = {record.weights for record in records}
        for source in self._sources:
            content = source(name, seed)
            if content is None:
                continue
            state, about = unpack(content, file_name(name, seed))
            revision = {record.task.model.revision for record in records}
            if {about.revision} != revision:
                continue
            if claimed != {fingerprint(state.weights)}:
                raise VerificationError("other weights than those that are published")
            self._check_training(records, state)
            if self._foreign(name):
                self._check_provenance(name, seed, about)
                return None
            return SavedModel.of(self._provided(name), content, self._plugins)
        if self._sent is not None:
            raise VerificationError("its weights are not in the submission")
        self._verdict.notes.append(
            f"{name} seed {seed}: no weights at hand, images not scored again"
        )
        return None

    def _check_provenance(self, name: str, seed: int, about: Provenance) -> None:
        """What a file of weights says of itself, against the card and the data."""
        card, data = self._results.cards[name], self._dataset
        said = (about.model, about.seed, about.dataset_sha256, about.recipe.stated())
        due = (name, seed, data.sha256, Recipe(**card.recipe.model_dump()).stated())
        for what, theirs, ours in zip(("model", "seed", "data", "recipe"), said, due, strict=True):
            if theirs != ours:
                raise VerificationError(f"the {what} of its weights is {theirs}, not {ours}")

    def _check_training(self, records: list[Record], state: Any) -> None:
        for record in records:
            metrics = record.metrics
            if isinstance(metrics, TrainingMetrics) and (
                list(metrics.loss),
                list(metrics.test_accuracy),
            ) != (list(state.loss), list(state.test_accuracy)):
                raise VerificationError(f"the {record.title} says another course than its weights")


def _differ(what: str, recorded: Any, found: Mapping[str, Any] | Any) -> Iterator[str]:
    for claimed, value in zip(recorded, found, strict=True):
        if abs(float(claimed) - float(value)) > 1e-12:
            yield f"{what} {claimed}, its images give {float(value)}"

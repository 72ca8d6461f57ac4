"""From a selection to tasks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from qbench.attack_strings import attack_label, parse_attack
from qbench.datasets.base import load_data
from qbench.errors import UsageError
from qbench.evaluation.attack import AttackTask
from qbench.evaluation.checks import REVISION as CHECKS
from qbench.evaluation.checks import ChecksTask
from qbench.evaluation.choosing import Chooser
from qbench.evaluation.fresh import REVISION as FRESH
from qbench.evaluation.fresh import FreshTask, how_many
from qbench.evaluation.placing import Placing
from qbench.evaluation.planned_certificates import CertificatePlan
from qbench.evaluation.planned_training import TrainingPlan
from qbench.evaluation.provenance import by_itself
from qbench.evaluation.radii import BUDGETS
from qbench.evaluation.selection import RunSelection
from qbench.evaluation.task import Task
from qbench.evaluation.training import TrainingTask
from qbench.evaluation.transfer import TransferTask
from qbench.model_names import OWN, ModelName
from qbench.protocols import DEFAULT, Protocol, load_protocol
from qbench.provided import Provided, Scalar
from qbench.records import columns
from qbench.records import identity as ids
from qbench.records.worst import ranking_eps
from qbench.registry import Registry, load_registry
from qbench.specs import AttackSpec


@dataclass(frozen=True)
class _Attack:
    """An attack as it was asked for."""

    provided: Provided[AttackSpec]
    params: Mapping[str, Scalar]


def make_plan(
    selection: RunSelection,
    known: Collection[str] = (),
    note: Callable[[str], None] = lambda _: None,
) -> list[Task]:
    """The tasks of a selection, each after those it needs.

    Every model and seed is trained (or read from the zoo), attacked at every budget, transferred
    to every other model at the ranking budget, checked, and certified by every certifier that
    covers it. Models that were attacked before get the missing transfers from and to the selected.
    A model on several engines is trained and certified once, as the exact circuit that it is, and
    takes part in transfers on one of them: its own, or else the first that is exact.

    Args:
        selection: What to run.
        known: Identities of the results that are there.
        note: Called with a line for each model that does not fit the data and is left out, and for
            each that was handed in with weights for some of the seeds only.

    Raises:
        UnknownNameError: A model, attack or protocol that nobody provides.
        UsageError: A budget, seed or limit that makes no sense, or a model that does not fit.
        WeightsError, DataError: Weights or data that were changed, or do not fit.
    """
    return _Planner(selection, note).plan(frozenset(known))


class _Planner:
    def __init__(self, selection: RunSelection, note: Callable[[str], None]) -> None:
        self.selection = selection
        self.registry: Registry = load_registry(selection.plugins)
        self.protocol: Protocol = load_protocol(selection.protocol, selection.plugins)
        self.attacks = self._attacks(selection.attacks)
        self.seeds = _distinct(self.protocol.seeds if selection.seeds is None else selection.seeds)
        self.measured = self.protocol.in_norm(selection.norm or self.protocol.norm)
        self.eps = _distinct(self._eps())
        if any(seed < 0 for seed in self.seeds):
            raise UsageError(f"seeds must be at least 0, got {list(self.seeds)}")
        if selection.limit is not None and selection.limit < 1:
            raise UsageError(f"limit must be at least 1, got {selection.limit}")
        for eps in self.eps:
            self.measured.threat_model(eps)
        self.placing = Placing(self.registry, selection.models, selection.engine, selection.shots)
        chosen = self.protocol.selection
        self.dataset = load_data(selection.dataset or chosen.dataset, selection.plugins)
        images = chosen.images(self.dataset, selection.limit)
        self.data = ids.Data(
            name=self.dataset.name,
            sha256=self.dataset.sha256,
            split=chosen.split,
            images=len(images.y),
        )
        self.chooser = Chooser(
            self.registry,
            self.dataset,
            selection.plugins,
            selection.weights,
            probe=self.dataset.name != load_protocol(DEFAULT).selection.dataset,
            limit_s=selection.time_limit_s,
        )
        self.models = self.chooser.choose(self.placing.patterns, self.seeds, note)
        self.names = self.placing.names(
            {name: model.provided for name, model in self.models.items()}, note
        )
        self.certificates = CertificatePlan(selection, self.registry, self.measured.norm, self.eps)
        self.certificates.refuse(self.names, self.placing, attacked=bool(self.attacks))
        self.trainings = TrainingPlan(
            selection, self.registry, self.dataset, self._protocol(), self.chooser, self.models
        )

    def plan(self, known: frozenset[str]) -> list[Task]:
        trained = {
            (model, seed): self.trainings.task(model, seed)
            for model, chosen in self.models.items()
            for seed in chosen.seeds
        }
        targets = [(name, s) for name in self.names for s in self.models[name.model].seeds]
        attacked = {
            (name, seed): self._attacked(name, trained[name.model, seed]) for name, seed in targets
        }
        others = [
            one for m in self.registry.all("model") if (one := ModelName(m)) not in self.names
        ]
        if not known or all(name.elsewhere for name in self.names):
            others = []
        for name, seed in [(other, seed) for other in others for seed in self.seeds]:
            found = self._known(name, seed, known)
            if found is not None:
                trained.setdefault((name.model, seed), found[0])
                attacked[name, seed] = found[1]
        tasks: list[Task] = [*trained.values(), *(t for of in attacked.values() for t in of)]
        tasks += self._transfers(trained, attacked)
        for name, seed in targets if self.attacks else []:
            training = trained[name.model, seed]
            tasks += [self._checks(name, training), *self._fresh(name, training)]
        for training in list(trained.values()) if self.selection.certifiers else []:
            model = training.identity.model.name
            if model in self.models:
                about, common = self._about(training), self._common(training)
                tasks += self.certificates.tasks(model, self._counting(model), about, common)
        return list({task.identity.id: task for task in tasks}.values())

    def _eps(self) -> Sequence[float]:
        norm = self.measured.norm
        if self.selection.eps is None and not self.measured.eps:
            example = ",".join(f"{eps:g}" for eps in BUDGETS[norm][-3:])
            raise UsageError(
                f"protocol {self.protocol.name!r} has no budgets in {norm}: give some, such as "
                f"--eps {example}"
            )
        return self.measured.eps if self.selection.eps is None else self.selection.eps

    @property
    def ranking_eps(self) -> float | None:
        """The budget at which transfer is measured: where the board will be ranked."""
        preferred = self.protocol.ranking_eps
        return preferred if self.measured.eps else ranking_eps(self.eps, preferred)

    def _attacks(self, entries: Sequence[str]) -> list[_Attack]:
        found: dict[str, _Attack] = {}
        for entry in entries:
            name, given = parse_attack(entry)
            names = [name] if given else self.registry.select("attack", [name])
            for one in names:
                provided = self.registry.get("attack", one)
                if given:  # what the attack cannot take is said now, not in every record
                    provided.check_names(given)
                    provided.create(**given)
                found[f"{one} {given}"] = _Attack(provided, given)
        return list(found.values())

    def _attacked(self, name: ModelName, trained: TrainingTask) -> list[AttackTask]:
        return [
            self._attack(name, trained, attack, eps) for attack in self.attacks for eps in self.eps
        ]

    def _attack(
        self, name: ModelName, trained: TrainingTask, attack: _Attack, eps: float
    ) -> AttackTask:
        usual = self.measured.attack_params(attack.provided.spec.name, eps)
        params = attack.provided.resolved({**usual, **attack.params})
        spec = attack.provided.spec
        return AttackTask(
            **self._common(trained),
            identity=ids.AttackId(
                **self._about(trained),
                attack=ids.Method(name=spec.name, revision=spec.revision, params=params),
                norm=self.measured.norm,
                eps=float(eps),
                engine=self._engine(name, gradient=self._white_box),
            ),
            label=attack_label(spec.name, params, attack.provided.resolved(usual)),
        )

    def _known(
        self, name: ModelName, seed: int, known: frozenset[str]
    ) -> tuple[TrainingTask, list[AttackTask]] | None:
        """What was attacked before with the same attacks, of a model that is not selected."""
        about = TrainingTask(identity=self.trainings.identity(name.model, seed))
        if about.identity.id not in known:
            return None
        found = [task for task in self._attacked(name, about) if task.identity.id in known]
        return (self.trainings.task(name.model, seed), found) if found else None

    def _transfers(
        self,
        trained: Mapping[tuple[str, int], TrainingTask],
        attacked: Mapping[tuple[ModelName, int], list[AttackTask]],
    ) -> list[Task]:
        tasks: list[Task] = []
        homes = self.placing.homes({name for name, _ in attacked}, self.names)
        home = {(n, seed): made for (n, seed), made in attacked.items() if homes[n.model] == n}
        for (source, seed), made in home.items():
            for target, other in home:
                if source == target or seed != other or not {source, target} & set(self.names):
                    continue
                tasks += [
                    self._transfer(target, trained[target.model, seed], one)
                    for one in made
                    if one.identity.eps == self.ranking_eps
                ]
        return tasks

    def _transfer(
        self, target: ModelName, trained: TrainingTask, attacked: AttackTask
    ) -> TransferTask:
        made = attacked.identity
        about = ids.TransferId(
            **self._about(trained),
            source=ids.Version(name=made.model.name, revision=made.model.revision),
            attack=made.attack,
            norm=made.norm,
            eps=made.eps,
            engine=self._engine(target, gradient=self._white_box),
            source_engine=made.engine,
        )
        common = self._common(trained) | {"needs": (trained.identity.id, made.id)}
        return TransferTask(**common, identity=about, label=attacked.label)

    def _checks(self, name: ModelName, trained: TrainingTask) -> ChecksTask:
        engine = self._engine(name, gradient=False)
        about = ids.ChecksId(**self._about(trained), revision=CHECKS, engine=engine)
        return ChecksTask(**self._common(trained), identity=about)

    def _fresh(self, model: ModelName, trained: TrainingTask) -> list[Task]:
        """New images under the protocol's first attack, where the data set can make some."""
        name, eps = self.protocol.first_attack, self.protocol.ranking_eps
        spec = self.registry.get("model", model.model).spec
        usual = by_itself(self._engine(model, gradient=False), spec)
        if name not in self.registry.all("attack") or not usual or self.fresh_sha256 is None:
            return []
        assert name is not None
        provided = self.registry.get("attack", name)
        params = provided.resolved(self.protocol.attack_params(name, eps))
        about = ids.FreshId(
            **self._about(trained),
            revision=FRESH,
            images=how_many(self.data.images),
            images_sha256=self.fresh_sha256,
            attack=ids.Method(name=name, revision=provided.spec.revision, params=params),
            norm=self.protocol.norm,
            eps=eps,
        )
        return [FreshTask(**self._common(trained), identity=about)]

    @cached_property
    def fresh_sha256(self) -> str | None:
        """Of the new images; None where there are none, or test images are not what is attacked."""
        make = self.dataset.fresh
        if make is None or self.protocol.selection.split != "test":
            return None
        new = make(how_many(self.data.images))
        return columns.fingerprint({"x": new.x.numpy(), "y": new.y.numpy()})

    @property
    def _white_box(self) -> bool:
        """Whether an attack needs gradients. All attacks of a run see the same engine, so that the
        worst case over them is of one row."""
        return any(attack.provided.spec.gradient for attack in self.attacks)

    def _engine(self, name: ModelName, *, gradient: bool) -> ids.Engine | None:
        """Where a model's circuits run for attacks that need gradients, or for what needs none;
        None for a model without circuits."""
        spec, attacked = self.registry.get("model", name.model).spec, self.selection.attacked
        if spec.engine is None and not (name.elsewhere and spec.family == "quantum"):
            return None
        if not name.elsewhere:
            attacked = "engine"
        elif attacked is None:
            blind = gradient and not self.placing.differentiable(name)
            attacked = "ideal" if blind else "engine"
        where = name.engine or spec.engine or OWN
        return ids.Engine(name=where, shots=name.shots, attacked=attacked)

    def _counting(self, model: str) -> list[ids.Engine]:
        """The engines that count outcomes of a model's circuits."""
        names = [name for name in self.names if name.model == model and name.shots is not None]
        found = [self._engine(name, gradient=False) for name in names]
        return [one.model_copy(update={"attacked": "engine"}) for one in found if one is not None]

    def _protocol(self) -> ids.Protocol:
        return ids.Protocol(name=self.protocol.name, sha256=self.protocol.sha256)

    def _about(self, trained: TrainingTask) -> dict[str, Any]:
        return {
            "protocol": trained.identity.protocol,
            "data": self.data,
            "model": trained.identity.model,
        }

    def _common(self, trained: TrainingTask) -> dict[str, Any]:
        selection = self.selection
        return {
            "needs": (trained.identity.id,),
            "limit": selection.limit,
            "time_limit_s": selection.time_limit_s,
            "plugins": selection.plugins,
        }


def _distinct(values: Sequence[Any]) -> tuple[Any, ...]:
    if not values:
        raise UsageError("an empty list selects nothing")
    return tuple(dict.fromkeys(values))

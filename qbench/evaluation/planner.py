"""From a selection to tasks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from qbench.attack_strings import attack_label, parse_attack
from qbench.datasets.base import load_data
from qbench.datasets.fitting import fitted
from qbench.errors import UsageError, WeightsError
from qbench.evaluation.attack import AttackTask
from qbench.evaluation.checks import REVISION as CHECKS
from qbench.evaluation.checks import ChecksTask
from qbench.evaluation.choosing import Chooser
from qbench.evaluation.fresh import REVISION as FRESH
from qbench.evaluation.fresh import FreshTask, how_many
from qbench.evaluation.isolation import isolated, time_limit
from qbench.evaluation.lipschitz import LipschitzTask
from qbench.evaluation.placing import Placing
from qbench.evaluation.provenance import by_itself, weights_of
from qbench.evaluation.radii import BUDGETS, RadiiTask
from qbench.evaluation.task import TIME_LIMIT_S, Task
from qbench.evaluation.training import TrainingTask
from qbench.evaluation.transfer import TransferTask
from qbench.model_names import OWN, ModelName
from qbench.plugin_files import PluginFile
from qbench.protocols import DEFAULT, Protocol, load_protocol
from qbench.provided import Provided, Scalar
from qbench.records import columns
from qbench.records import identity as ids
from qbench.records.worst import ranking_eps
from qbench.registry import Registry, load_registry
from qbench.specs import AttackSpec, CertifierSpec, ModelSpec, Norm
from qbench.weights.files import fingerprint, unpack
from qbench.weights.given import WeightsFile
from qbench.weights.zoo import Zoo


@dataclass(frozen=True, kw_only=True)
class RunSelection:
    """What to run.

    Args:
        models: Names, globs or `all`, each perhaps on an engine: `reup@aer:marrakesh:4096`.
        attacks: The same, or a name with parameters: `pgd:steps=100:restarts=5`; empty for none.
        certifiers: Names, globs or `all`, which leaves out what certifies a smoothed version of a
            model: that is asked for by name. What certifies from counts runs where there are
            shots. Empty for none.
        effort: Whether costly certifiers run without being named, `high`, or not, `default`.
        norm: Of the attacks; the protocol's when None. Another one needs `eps`.
        norms: Norms of the certificates of single images; that of the attacks when None, empty for
            none.
        engine, shots: Where the circuits of all quantum models run when they are attacked or
            certified from counts, and how often each is run, unless names say so; their own engine,
            exactly, when None.
        attacked: Whether attacks see that engine, or the ideal simulator; when None, the ideal one
            where any attack needs gradients that the engine does not give.
        protocol: Name of the protocol.
        dataset: The data set; the protocol's when None.
        seeds: Seeds; the protocol's when None.
        eps: Budgets; the protocol's when None.
        limit: How many of the protocol's images; all when None.
        time_limit_s: How long each task may take.
        retrain: Train afresh instead of taking weights from the zoo.
        weights: Files of weights that were trained elsewhere.
        plugins: Plugins given as files.
    """

    models: Sequence[str] = ("all",)
    attacks: Sequence[str] = ("pgd",)
    certifiers: Sequence[str] = ("all",)
    effort: Literal["default", "high"] = "default"
    norm: Norm | None = None
    norms: Sequence[Norm] | None = None
    engine: str | None = None
    shots: int | None = None
    attacked: Literal["engine", "ideal"] | None = None
    protocol: str = DEFAULT
    dataset: str | None = None
    seeds: Sequence[int] | None = None
    eps: Sequence[float] | None = None
    limit: int | None = None
    time_limit_s: float = TIME_LIMIT_S
    retrain: bool = False
    weights: tuple[WeightsFile, ...] = ()
    plugins: tuple[PluginFile, ...] = ()


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
        self.zoo = Zoo.shipped(self.dataset.name)
        images = chosen.images(self.dataset, selection.limit)
        self.data = self._data(chosen.split, len(images.y))
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
        self.norms = (self.measured.norm,) if selection.norms is None else selection.norms
        self.certifiers = (
            self.registry.select("certifier", selection.certifiers) if selection.certifiers else []
        )
        named = [name for name in self.certifiers if name in selection.certifiers]
        counted = [name for name in named if self._spec(name).counted]
        if counted and not any(name.shots for name in self.names):
            raise UsageError(f"{counted[0]} certifies what is counted: give --shots, e.g. 4096")

    def plan(self, known: frozenset[str]) -> list[Task]:
        if self.certifiers and not self.attacks:
            counted = self._counting
            self.placing.refuse_certificates([n for n in self.names if not (counted and n.shots)])
        trained = {
            (model, seed): self._training(model, seed)
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
            if training.identity.model.name in self.models:
                tasks += self._certified(training)
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

    def _training(self, model: str, seed: int) -> TrainingTask:
        chosen = self.models.get(model)
        if chosen is None:
            chosen = self.chooser.with_weights(self._provided(model), [seed])
        provided, given = chosen.provided, chosen.given.get(seed)
        spec, selection = provided.spec, self.selection
        zoo = initial = None
        if given is None and not selection.retrain:
            zoo = self._from_zoo(spec, seed)
        if given is None and zoo is None:
            initial = self._untrained(provided, seed)
        return TrainingTask(
            identity=ids.TrainingId(
                protocol=self._protocol(),
                data=self._data("train", len(self.dataset.train.y)),
                model=ids.Model(name=model, revision=spec.revision, seed=seed),
            ),
            zoo=zoo,
            given=given,
            initial=initial,
            limit=selection.limit,
            time_limit_s=selection.time_limit_s,
            plugins=selection.plugins,
        )

    def _provided(self, model: str) -> Provided[ModelSpec]:
        """A model made for the data set."""
        return fitted(self.registry.get("model", model), self.dataset)

    def _untrained(self, provided: Provided[ModelSpec], seed: int) -> str | None:
        """Fingerprint of the untrained model; None where it cannot be made, as its training says.

        The other models of a run are not held up by one that does not come to be.
        """
        try:
            with isolated(seed), time_limit(self.selection.time_limit_s):
                return weights_of(provided.create())
        except (Exception, SystemExit):
            return None

    def _from_zoo(self, spec: ModelSpec, seed: int) -> str | None:
        """Fingerprint of a model's weights in the zoo; None where it has none for this data."""
        if self.zoo.sha256(spec.name, seed) is None:
            return None
        state, about = unpack(self.zoo.read(spec.name, seed), f"the zoo's {spec.name}")
        if about.dataset_sha256 != self.dataset.sha256:
            return None
        if (about.revision, about.recipe) != (spec.revision, spec.recipe):
            raise WeightsError(
                f"the zoo's {spec.name} comes from another recipe or revision: use --retrain"
            )
        return fingerprint(state.weights)

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
        spec = self.registry.get("model", name.model).spec
        about = TrainingTask(
            identity=ids.TrainingId(
                protocol=self._protocol(),
                data=self._data("train", len(self.dataset.train.y)),
                model=ids.Model(name=name.model, revision=spec.revision, seed=seed),
            )
        )
        if about.identity.id not in known:
            return None
        found = [task for task in self._attacked(name, about) if task.identity.id in known]
        return (self._training(name.model, seed), found) if found else None

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

    def _certified(self, trained: TrainingTask) -> list[Task]:
        """A task a certifier that covers the model: its Lipschitz bound, or radii in each norm.

        Where none does, one skipped record of each kind says so.
        """
        model = trained.identity.model.name
        covering, common, about = self._covering(model), self._common(trained), self._about(trained)
        exact = [one for one in covering if not one.spec.counted]
        none = [None] if any(not self._spec(name).counted for name in self.certifiers) else []
        bounds = [one for one in exact if not one.spec.norms]
        tasks: list[Task] = [
            LipschitzTask(**common, identity=ids.LipschitzId(**about, certifier=_method(one)))
            for one in bounds or none
        ]
        for norm in self.norms:
            eps = list(self._budgets(norm))
            radii = [one for one in exact if norm in one.spec.norms]
            asked = [(one, None) for one in radii or none] + [
                (one, engine)
                for one in covering
                if one.spec.counted and norm in one.spec.norms
                for engine in self._counted_on(model)
            ]
            for one, engine in asked:
                at = about | {"certifier": _method(one), "norm": norm, "eps": eps}
                tasks.append(RadiiTask(**common, identity=ids.RadiiId(**at, engine=engine)))
        return tasks

    def _covering(self, model: str) -> list[Provided[CertifierSpec]]:
        structure = self.registry.get("model", model).spec.structure
        found = [self.registry.get("certifier", name) for name in self.certifiers]
        named, high = set(self.selection.certifiers), self.selection.effort == "high"

        def asked(spec: CertifierSpec) -> bool:
            return (
                spec.counted
                or spec.by_default
                or spec.name in named
                or (high and not spec.smoothed)
            )

        return [one for one in found if one.spec.covers(structure) and asked(one.spec)]

    def _budgets(self, norm: Norm) -> tuple[float, ...]:
        own = self.eps if norm == self.measured.norm else ()
        return tuple(sorted({*BUDGETS[norm], *(float(eps) for eps in own if eps > 0)}))

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

    @property
    def _counting(self) -> bool:
        """Whether something certifies from counts."""
        return any(self._spec(name).counted for name in self.certifiers)

    def _spec(self, certifier: str) -> CertifierSpec:
        return self.registry.get("certifier", certifier).spec

    def _counted_on(self, model: str) -> list[ids.Engine]:
        """The engines that count outcomes of a model's circuits."""
        names = [name for name in self.names if name.model == model and name.shots is not None]
        found = [self._engine(name, gradient=False) for name in names]
        return [one.model_copy(update={"attacked": "engine"}) for one in found if one is not None]

    def _protocol(self) -> ids.Protocol:
        return ids.Protocol(name=self.protocol.name, sha256=self.protocol.sha256)

    def _data(self, split: Any, images: int) -> ids.Data:
        return ids.Data(
            name=self.dataset.name, sha256=self.dataset.sha256, split=split, images=images
        )

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


def _method(provided: Provided[CertifierSpec] | None) -> ids.Method | None:
    if provided is None:
        return None
    spec = provided.spec
    return ids.Method(name=spec.name, revision=spec.revision, params=provided.resolved({}))


def _or_none(found: list[Provided[CertifierSpec]]) -> Sequence[Provided[CertifierSpec] | None]:
    return found or [None]


def _distinct(values: Sequence[Any]) -> tuple[Any, ...]:
    if not values:
        raise UsageError("an empty list selects nothing")
    return tuple(dict.fromkeys(values))

"""From a selection to a graph of tasks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from qbench.calls import AttackCall, parse_attack
from qbench.certifying import BUDGETS
from qbench.engines import DEFAULT, create_engine
from qbench.errors import UsageError
from qbench.protocols import Protocol, load_protocol
from qbench.records import SCHEMA_VERSION, canonical_sha256
from qbench.registry import PluginFile, Provided, Registry, load_registry
from qbench.specs import CertifierSpec, Norm, Spec
from qbench.tasks import TIME_LIMIT_S, Task, load_data, select
from qbench.zoo import Zoo

_NOT_IDENTITY = ("key", "label", "time_limit_s", "plugins")  # do not change a result


@dataclass(frozen=True, kw_only=True)
class RunSelection:
    """What to run.

    Args:
        models: Names, globs or `all`.
        attacks: The same, or a name with parameters: `pgd:steps=100:restarts=5`; empty for none.
        certifiers: Names, globs or `all`, which leaves out what certifies a smoothed version of a
            model that has certificates of its own.
        norms: Norms of the certificates of single images; the protocol's when None.
        engine, shots: Where the circuits of quantum models run when they are attacked, and how
            often each is run; the exact simulator when None.
        twin: Whether attacks see the exact twin instead of the engine.
        protocol: Name of the protocol.
        dataset: The data set; the protocol's when None.
        seeds: Seeds; the protocol's when None.
        eps: Budgets; the protocol's when None.
        limit: How many of the protocol's images; all when None.
        time_limit_s: How long each attack may take.
        retrain: Train afresh instead of taking weights from the zoo.
        plugins: Plugins given as files.
    """

    models: Sequence[str] = ("all",)
    attacks: Sequence[str] = ("pgd",)
    certifiers: Sequence[str] = ("all",)
    norms: Sequence[Norm] | None = None
    engine: str | None = None
    shots: int | None = None
    twin: bool = False
    protocol: str = "glyphs-linf-v1"
    dataset: str | None = None
    seeds: Sequence[int] | None = None
    eps: Sequence[float] | None = None
    limit: int | None = None
    time_limit_s: float = TIME_LIMIT_S
    retrain: bool = False
    plugins: tuple[PluginFile, ...] = ()


def make_plan(selection: RunSelection) -> list[Task]:
    """The tasks of a selection, each after those it needs.

    Every model and seed is trained (or read from the zoo), attacked at every budget, transferred
    to every other model at the ranking budget, and certified by every certifier that covers it.

    Raises:
        UnknownNameError: A model, attack or protocol that nobody provides.
        UsageError: A budget, seed or limit that makes no sense.
        WeightsError, DataError: Weights or data that were changed.
    """
    return _Planner(selection).plan()


class _Planner:
    def __init__(self, selection: RunSelection) -> None:
        self.selection = selection
        self.registry: Registry = load_registry(selection.plugins)
        self.protocol: Protocol = load_protocol(selection.protocol)
        self.models = self.registry.select("model", selection.models)
        self.attacks = self._attacks(selection.attacks)
        self.seeds = _distinct(self.protocol.seeds if selection.seeds is None else selection.seeds)
        self.eps = _distinct(self.protocol.eps if selection.eps is None else selection.eps)
        if any(seed < 0 for seed in self.seeds):
            raise UsageError(f"seeds must be at least 0, got {list(self.seeds)}")
        if selection.limit is not None and selection.limit < 1:
            raise UsageError(f"limit must be at least 1, got {selection.limit}")
        for eps in self.eps:
            self.protocol.threat_model(eps)
        self.zoo = Zoo()
        # None where it is the protocol's own: a task is then the same however it was asked for.
        own = self.protocol.selection.dataset
        self.dataset_name = None if selection.dataset == own else selection.dataset
        self.dataset = load_data(self.dataset_name or own, selection.plugins)
        self.norms = _distinct(
            (self.protocol.norm,) if selection.norms is None else selection.norms
        )
        self.certifiers = self.registry.select("certifier", selection.certifiers)
        # Exact simulation is the same task whether it was asked for or not.
        self.engine = None if selection.engine == DEFAULT else selection.engine

    def plan(self) -> list[Task]:
        targets = [(model, seed) for model in self.models for seed in self.seeds]
        if self.engine is not None or self.selection.shots is not None:
            create_engine(self.engine or DEFAULT, self.selection.shots, 1, self.registry)
        trained = {target: self._training(*target) for target in targets}
        attacked = [
            self._robust(trained[target], call, eps)
            for target in targets
            for call in self.attacks
            for eps in self.eps
        ]
        transferred = [
            self._transfer(trained[model, task.seed], task)
            for task in attacked
            if task.eps == self.protocol.ranking_eps
            for model in self.models
            if model != task.model
        ]
        certified = [task for target in targets for task in self._certifications(trained[target])]
        about: defaultdict[tuple[str, int], list[Task]] = defaultdict(list)
        for task in (*attacked, *transferred):
            about[task.model, task.seed].append(task)
        diagnosed = [
            self._diagnosis(trained[target], about[target]) for target in targets if self.attacks
        ]
        return [*trained.values(), *attacked, *transferred, *certified, *diagnosed]

    def _attacks(self, entries: Sequence[str]) -> list[AttackCall]:
        calls = []
        for entry in entries:
            if ":" in entry:
                call = parse_attack(entry)
                # What the attack cannot take is said now, not in every record.
                self.registry.get("attack", call.name).create(**call.params)
                calls.append(call)
            else:
                calls += [AttackCall(n, n, {}) for n in self.registry.select("attack", [entry])]
        return list({call.label: call for call in calls}.values())

    def _training(self, model: str, seed: int) -> Task:
        provided = self.registry.get("model", model)
        afresh = self.selection.retrain or self.dataset_name is not None
        zoo_sha256 = None if afresh else self.zoo.sha256(model, seed)
        if zoo_sha256 is not None:
            self.zoo.read(model, seed)
        return self._task(
            Task(
                kind="training",
                key="",
                protocol=self.protocol.name,
                model=model,
                seed=seed,
                dataset=self.dataset_name,
                zoo_sha256=zoo_sha256,
                time_limit_s=self.selection.time_limit_s,
                plugins=self.selection.plugins,
            ),
            recipe=asdict(provided.spec.recipe),
        )

    def _params(self, call: AttackCall, eps: float) -> dict[str, Any]:
        own = self.registry.get("attack", call.name).spec.params
        return {**own, **self.protocol.attack_params(call.name, eps), **call.params}

    def _robust(self, trained: Task, call: AttackCall, eps: float) -> Task:
        task = replace(
            trained,
            kind="robust-accuracy",
            attack=call.name,
            label=call.label,
            params=self._params(call, eps),
            eps=eps,
            limit=self.selection.limit,
            needs=(trained.key,),
        )
        identity = {"attack": _identity(self.registry.get("attack", call.name))}
        return self._task(self._on_engine(task), **identity)

    def _on_engine(self, task: Task) -> Task:
        """The task on the engine that was asked for; classical models run on none."""
        quantum = self.registry.get("model", task.model).spec.family == "quantum"
        shots, twin = self.selection.shots, self.selection.twin
        if not quantum or (self.engine is None and shots is None):
            return task
        return replace(task, engine=self.engine, shots=shots, twin=twin)

    def _diagnosis(self, trained: Task, about: Sequence[Task]) -> Task:
        """Probes the first attack whose steps or restarts can be raised."""
        eps = self.protocol.ranking_eps
        probed = [
            (call, params)
            for call in self.attacks
            if (params := self._params(call, eps)).keys() & {"steps", "restarts"}
            and self.registry.get("attack", call.name).spec.gradient
        ]
        task = replace(
            trained,
            kind="diagnosis",
            limit=self.selection.limit,
            needs=(trained.key, *(task.key for task in about)),
        )
        if probed:
            call, params = probed[0]
            task = replace(task, attack=call.name, label=call.label, params=params)
        return self._task(self._on_engine(task))

    def _transfer(self, trained: Task, attacked: Task) -> Task:
        task = replace(
            attacked,
            kind="transfer-accuracy",
            model=trained.model,
            source=attacked.model,
            zoo_sha256=trained.zoo_sha256,
            engine=None,
            shots=None,
            twin=False,
            needs=(trained.key, attacked.key),
        )
        return self._task(self._on_engine(task))

    def _certifications(self, trained: Task) -> list[Task]:
        """One task a certifier that covers the model: its Lipschitz bound, or radii in each norm.

        Where none does, one skipped record of each kind says so.
        """
        covering = self._covering(trained.model)
        limit = self.selection.limit
        bound = replace(trained, kind="lipschitz", limit=limit, needs=(trained.key,))
        tasks = self._certified(bound, [p for p in covering if not p.spec.norms])
        for norm in self.norms:
            task = replace(bound, kind="certification", norm=norm, budgets=self._budgets(norm))
            tasks += self._certified(task, [p for p in covering if norm in p.spec.norms])
        return tasks

    def _covering(self, model: str) -> list[Provided[CertifierSpec]]:
        structure = self.registry.get("model", model).spec.structure
        found = [self.registry.get("certifier", name) for name in self.certifiers]
        covering = [provided for provided in found if provided.spec.covers(structure)]
        proofs = [provided for provided in covering if not provided.spec.smoothed]
        named = set(self.selection.certifiers)
        if not any(provided.spec.norms for provided in proofs):
            return covering
        return proofs + [p for p in covering if p.spec.smoothed and p.spec.name in named]

    def _budgets(self, norm: Norm) -> tuple[float, ...]:
        own = self.eps if norm == self.protocol.norm else ()
        return tuple(sorted({*BUDGETS[norm], *(eps for eps in own if eps > 0)}))

    def _certified(self, task: Task, by: Sequence[Provided[CertifierSpec]]) -> list[Task]:
        return [
            self._task(replace(task, certifier=one.spec.name), certifier=_identity(one))
            for one in by
        ] or [self._task(task)]

    def _task(self, task: Task, **identity: Any) -> Task:
        """The task with its key: the hash of all that determines its result."""
        own = {name: value for name, value in vars(task).items() if name not in ("key", "plugins")}
        own["params"] = dict(task.params)
        images = select(self.dataset, self.protocol.selection, task.limit)
        if task.engine is not None:
            identity["engine"] = _identity(self.registry.get("engine", task.engine.split(":")[0]))
        key = canonical_sha256(
            {
                "schema": SCHEMA_VERSION,
                "protocol": self.protocol.sha256,
                "dataset": {"sha256": self.dataset.sha256, "n": len(images.y)},
                "model": _identity(self.registry.get("model", task.model)),
                "task": own,
                **identity,
            }
        )
        return replace(task, key=key)


def _identity(provided: Provided[Any]) -> Mapping[str, Any]:
    spec: Spec = provided.spec
    return {
        "name": spec.name,
        "factory": spec.factory,
        "params": dict(spec.params),
        "plugin": provided.plugin,
        "version": provided.version,
    }


def _distinct(values: Sequence[Any]) -> tuple[Any, ...]:
    if not values:
        raise UsageError("an empty list selects nothing")
    return tuple(dict.fromkeys(values))

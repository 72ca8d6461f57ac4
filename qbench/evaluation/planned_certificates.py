"""Which certifiers a run asks, and the tasks that ask them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qbench.errors import UsageError
from qbench.evaluation.lipschitz import LipschitzTask
from qbench.evaluation.placing import Placing
from qbench.evaluation.radii import BUDGETS, RadiiTask
from qbench.evaluation.selection import RunSelection
from qbench.evaluation.task import Task
from qbench.model_names import ModelName
from qbench.provided import Provided
from qbench.records import identity as ids
from qbench.registry import Registry
from qbench.specs import CertifierSpec, Norm


class CertificatePlan:
    """The certifiers of a selection.

    Args:
        selection: Of what is run.
        registry: Of certifiers and models.
        norm: Of the attacks.
        eps: Their budgets, at which radii in that norm are sought too.
    """

    def __init__(
        self, selection: RunSelection, registry: Registry, norm: Norm, eps: Sequence[float]
    ) -> None:
        self._selection, self._registry = selection, registry
        self._norm, self._eps = norm, eps
        names = registry.select("certifier", selection.certifiers) if selection.certifiers else []
        self._certifiers = [registry.get("certifier", name) for name in names]

    def refuse(self, names: Sequence[ModelName], placing: Placing, attacked: bool) -> None:
        """Raise `UsageError` where a certifier that was named, or a model, asks for the other kind.

        Args:
            names: The models and where they run.
            placing: Of their engines.
            attacked: Whether they are attacked too, wherever they run.
        """
        counted = [one.spec for one in self._certifiers if one.spec.counted]
        named = [spec.name for spec in counted if spec.name in self._selection.certifiers]
        if named and not any(name.shots for name in names):
            raise UsageError(f"{named[0]} certifies what is counted: give --shots, e.g. 4096")
        if self._certifiers and not attacked:
            placing.refuse_certificates([name for name in names if not (counted and name.shots)])

    def tasks(
        self,
        model: str,
        counting: Sequence[ids.Engine],
        about: Mapping[str, Any],
        common: Mapping[str, Any],
    ) -> list[Task]:
        """A task a certifier that covers a model: its Lipschitz bound, or radii in each norm.

        Where none does, one skipped record of each kind says so.

        Args:
            model: Its name.
            counting: The engines that count outcomes of its circuits.
            about: What the identities have in common.
            common: What the tasks have in common.
        """
        covering = self._covering(model)
        exact = [one for one in covering if not one.spec.counted]
        none = [None] if any(not one.spec.counted for one in self._certifiers) else []
        bounds = [one for one in exact if not one.spec.norms]
        tasks: list[Task] = [
            LipschitzTask(**common, identity=ids.LipschitzId(**about, certifier=_method(one)))
            for one in bounds or none
        ]
        norms = self._selection.norms
        for norm in (self._norm,) if norms is None else norms:
            radii = [one for one in exact if norm in one.spec.norms]
            asked = [(one, None) for one in radii or none] + [
                (one, engine)
                for one in covering
                if one.spec.counted and norm in one.spec.norms
                for engine in counting
            ]
            for one, engine in asked:
                budgets = self._budgets(norm)
                identity = ids.RadiiId(
                    **about, certifier=_method(one), norm=norm, eps=budgets, engine=engine
                )
                tasks.append(RadiiTask(**common, identity=identity))
        return tasks

    def _covering(self, model: str) -> list[Provided[CertifierSpec]]:
        structure = self._registry.get("model", model).spec.structure
        named, high = set(self._selection.certifiers), self._selection.effort == "high"

        def asked(spec: CertifierSpec) -> bool:
            by_itself = spec.counted or spec.by_default or (high and not spec.smoothed)
            return by_itself or spec.name in named

        return [one for one in self._certifiers if one.spec.covers(structure) and asked(one.spec)]

    def _budgets(self, norm: Norm) -> list[float]:
        own = self._eps if norm == self._norm else ()
        return sorted({*BUDGETS[norm], *(float(eps) for eps in own if eps > 0)})


def _method(provided: Provided[CertifierSpec] | None) -> ids.Method | None:
    if provided is None:
        return None
    spec = provided.spec
    return ids.Method(name=spec.name, revision=spec.revision, params=provided.resolved({}))

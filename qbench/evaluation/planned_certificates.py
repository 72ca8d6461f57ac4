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
        """Raise `UsageError` where a certifier that was named, or a model, asks for the other kind,
        or where certificates are all that is asked for and no certifier covers a model.

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
            self._refuse_uncovered(sorted({name.model for name in names}))

    def tasks(
        self,
        model: str,
        counting: Sequence[ids.Engine],
        about: Mapping[str, Any],
        common: Mapping[str, Any],
    ) -> list[Task]:
        """A task a certifier that covers a model: its Lipschitz bound, or radii in each norm.

        Where there is none, whatever was asked for, one skipped record of each kind says so.

        Args:
            model: Its name.
            counting: The engines that count outcomes of its circuits.
            about: What the identities have in common.
            common: What the tasks have in common.
        """
        covering = self._covering(model)
        exact = [one for one in covering if not one.spec.counted]
        bounds = [one for one in exact if not one.spec.norms]
        tasks: list[Task] = [
            LipschitzTask(**common, identity=ids.LipschitzId(**about, certifier=_method(one)))
            for one in bounds or self._nothing(model, None)
        ]
        for norm in self._norms:
            radii = [one for one in exact if norm in one.spec.norms]
            asked = [(one, None) for one in radii or self._nothing(model, norm)] + [
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

    @property
    def _norms(self) -> Sequence[Norm]:
        norms = self._selection.norms
        return (self._norm,) if norms is None else norms

    def _refuse_uncovered(self, models: Sequence[str]) -> None:
        sorts = (None, *self._norms)
        if any(self._covering(m) or any(self._nothing(m, sort) for sort in sorts) for m in models):
            return
        specs = {name: self._registry.get("model", name).spec for name in models}
        asked = sorted({s for one in self._certifiers for s in one.spec.structures})
        have = ", ".join(f"{name} ({spec.structure})" for name, spec in specs.items())
        raise UsageError(
            f"no certifier that was asked for covers {have}, only the structures "
            f"{', '.join(asked)}; without --certifiers, every one that covers a model runs"
        )

    def _nothing(self, model: str, norm: Norm | None) -> list[None]:
        """One None, the place of a record, where certificates are asked for and nothing covers."""
        if all(one.spec.counted for one in self._certifiers):
            return []
        structure = self._registry.get("model", model).spec.structure
        every = [one.spec for one in self._registry.all("certifier").values()]
        return [] if any(one.proves(norm) and one.covers(structure) for one in every) else [None]

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

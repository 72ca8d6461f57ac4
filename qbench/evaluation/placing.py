"""Which engine runs each model of a selection: where names of engines are resolved."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from torch import nn

from qbench.engines import create_engine, engine_elsewhere, refuse_jobs
from qbench.engines.modules import engine_of, use_engine
from qbench.engines.sampling import check_shots
from qbench.errors import Unsupported, UsageError
from qbench.evaluation.isolation import isolated
from qbench.interfaces import Engine
from qbench.model_names import OWN, ModelName, with_engine
from qbench.provided import Provided
from qbench.registry import Registry
from qbench.specs import ModelSpec


class Placing:
    """The models of a selection as they were asked for, and the engines that they name.

    Engines are made at once, before any model is: what is wrong with one is said before any work.

    Args:
        registry: Of models and engines.
        asked: Names, globs or `all`, each perhaps on an engine.
        engine, shots: For every model, where no name says so.

    Raises:
        UsageError, UnknownNameError: A name is not of its form; or an engine is unknown, lacks
            shots, is paid by the job, or is named twice.
    """

    def __init__(
        self, registry: Registry, asked: Sequence[str], engine: str | None, shots: int | None
    ) -> None:
        self._registry = registry
        self._asked = [with_engine(text, engine, shots) for text in asked]
        self._in_names = engine is None and shots is None
        self._engines: dict[tuple[str, int | None], Engine] = {}
        for name in self._asked:
            if name.engine is None:
                check_shots(OWN, name.shots)
            elif (name.engine, name.shots) not in self._engines:
                made = create_engine(name.engine, name.shots, 1, registry)
                refuse_jobs(made)
                self._engines[name.engine, name.shots] = made

    @property
    def patterns(self) -> list[str]:
        """The models alone: names, globs or `all`."""
        return [name.model for name in self._asked]

    def names(
        self, chosen: Mapping[str, Provided[ModelSpec]], note: Callable[[str], None]
    ) -> tuple[ModelName, ...]:
        """Every model that was chosen, on each engine that it was asked for on.

        A model by itself is not told apart from the same model on its own engine. One without
        circuits is left out where a glob or `all` stands before the engine.

        Args:
            chosen: Models by name.
            note: Called with a line for each model that is left out.

        Raises:
            UsageError: A model that was named runs no circuits, or none is left.
        """
        found: list[ModelName] = []
        for asked in self._asked:
            for model in self._registry.select("model", [asked.model]):
                if model not in chosen:
                    continue
                spec, engine = chosen[model].spec, asked.engine
                name = ModelName(model, None if engine == spec.engine else engine, asked.shots)
                if not self._in_names:  # an engine for all says nothing of models without circuits
                    circuits = spec.engine is not None or spec.family == "quantum"
                    found.append(name if circuits else ModelName(model))
                elif not asked.elsewhere or _runs_circuits(chosen[model]):
                    found.append(name)
                elif asked.model == model:
                    raise UsageError(f"{name}: {model} has no circuit that an engine could run")
                else:
                    note(f"left out: {name}, since {model} has no circuit")
        if not found:
            raise UsageError(f"no model of {', '.join(map(str, self._asked))} has a circuit")
        return tuple(dict.fromkeys(found))

    def differentiable(self, name: ModelName) -> bool:
        """Whether attacks find gradients on a model's engine; its own is taken to give some."""
        return name.engine is None or self._engines[name.engine, name.shots].differentiable

    def exact(self, name: ModelName) -> bool:
        """Whether scores there are those of the circuit itself; its own engine's are."""
        if name.shots is not None:
            return False
        return name.engine is None or self._engines[name.engine, name.shots].exact

    def homes(
        self, known: Collection[ModelName], selected: Sequence[ModelName]
    ) -> dict[str, ModelName | None]:
        """By model, the name under which it takes part in transfers: images made for the same
        function on two engines say nothing more. None where no scores are exact.

        Args:
            known: Every name that there is.
            selected: Of these the selected, in order.
        """
        found: dict[str, ModelName | None] = {name.model: None for name in known}
        for model in found:
            exact = [one for one in selected if one.model == model and self.exact(one)]
            own = ModelName(model)
            found[model] = own if own in known else next(iter(exact), None)
        return found

    def refuse_certificates(self, names: Sequence[ModelName]) -> None:
        """Raise `UsageError` where a name stands for scores that no certificate is about."""
        for name in names:
            if not self.exact(name):
                raise UsageError(
                    f"{name}: certificates are of the exact circuit, and hold for no scores with "
                    f"noise or shots: certify {name.model}"
                )


def put_on(model: nn.Module, name: ModelName, seed: int, registry: Registry) -> nn.Module:
    """A model whose circuits run from now on where its name says.

    Args:
        model: It is changed.
        name: Says where.
        seed: Of every draw.
        registry: Of engines.

    Raises:
        Unsupported: The model runs no circuit that an engine could take over.
        UsageError, UnknownNameError: As `create_engine`; or the engine is paid by the job.
    """
    own = engine_of(model)
    if own is None:
        raise Unsupported(f"{name.model} has no circuit that another engine could run")
    use_engine(model, engine_elsewhere(own, name.engine, name.shots, seed, registry))
    return model


def _runs_circuits(provided: Provided[ModelSpec]) -> bool:
    """Whether a model runs circuits; one that cannot be made is told so by its training."""
    if provided.spec.engine is not None or provided.spec.family != "quantum":
        return provided.spec.engine is not None
    try:
        with isolated(0):
            return engine_of(provided.create()) is not None
    except (Exception, SystemExit):
        return True

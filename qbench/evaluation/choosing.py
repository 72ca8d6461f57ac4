"""Which models a run takes: those that fit its data, with the weights that were handed in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import nn

from qbench.datasets.base import Dataset
from qbench.datasets.fitting import fitted
from qbench.errors import PluginError, Unsupported, UsageError
from qbench.evaluation.isolation import TimeoutExceededError, isolated, time_limit
from qbench.evaluation.scoring import predict
from qbench.plugin_files import PluginFile
from qbench.provided import Provided
from qbench.registry import Registry
from qbench.specs import ModelSpec
from qbench.text import one_line
from qbench.weights.given import GivenWeights, WeightsFile, files_of, read_given

_PROBED = 2  # images that a model of one size is asked about


@dataclass(frozen=True)
class Chosen:
    """A model that a run takes.

    Args:
        provided: The model, made for the data set.
        seeds: Of those asked for, which it is run with.
        given: Weights that were handed in, by seed; empty where it is trained or in the zoo.
    """

    provided: Provided[ModelSpec]
    seeds: tuple[int, ...]
    given: dict[int, GivenWeights] = field(default_factory=dict)


@dataclass(frozen=True)
class Chooser:
    """Chooses models for a data set.

    Args:
        registry: Where models come from.
        dataset: What they are trained and tried on.
        plugins: Plugins given as files.
        weights: Files of weights named on the command line.
        probe: Whether models of one size are asked about two images first.
        limit_s: How long a model may take to be made, and to answer.
    """

    registry: Registry
    dataset: Dataset
    plugins: Sequence[PluginFile]
    weights: Sequence[WeightsFile]
    probe: bool
    limit_s: float

    def choose(
        self, patterns: Sequence[str], seeds: Sequence[int], note: Callable[[str], None]
    ) -> dict[str, Chosen]:
        """The models that match, by name.

        One that does not fit the data is left out where it was meant by a glob or `all`.

        Args:
            patterns: Names, globs or `all`.
            seeds: Seeds of the models. One whose weights were handed in has those of its files.
            note: Called with a line for each model or seed that is left out.

        Raises:
            UnknownNameError: Nobody provides a model of that name.
            UsageError: A model that was named does not fit the data, or none is left.
            WeightsError: Weights that cannot be read or do not fit their model.
        """
        names = self.registry.select("model", patterns)
        for one in self.weights:
            if one.model not in names:
                raise UsageError(f"--weights {one.model}={one.path}: no such model is selected")
        found = {}
        for name in names:
            provided = fitted(self.registry.get("model", name), self.dataset)
            reason = self._misfit(provided)
            if reason is None:
                found[name] = self.with_weights(provided, seeds, note)
                continue
            line = f"{name} does not fit {self.dataset.name}: {reason}"
            if name in patterns:
                raise UsageError(line)
            note(f"left out: {line}")
        if not found:
            raise UsageError(f"none of these models fits {self.dataset.name}")
        return found

    def with_weights(
        self,
        provided: Provided[ModelSpec],
        seeds: Sequence[int],
        note: Callable[[str], None] = lambda _: None,
    ) -> Chosen:
        """A model made for the data set, with the weights that were handed in for it; see `choose`.

        Raises:
            UsageError: Weights were handed in, and for other seeds only.
            WeightsError, PluginError: As `read_given`.
        """
        name, data = provided.spec.name, self.dataset
        files = files_of(provided, self.plugins, self.weights)
        if not files:
            return Chosen(provided, tuple(seeds))
        mine = tuple(seed for seed in seeds if seed in files)
        if not mine:
            raise UsageError(
                f"{name} has weights for seed {', '.join(map(str, files))} and none for seed "
                f"{', '.join(map(str, seeds))}: choose with --seeds, or give "
                f"--weights {name}:{seeds[0]}=FILE"
            )
        if len(mine) < len(seeds):
            note(f"{name}: weights of seed {', '.join(map(str, mine))} only were handed in")
        with isolated(0), time_limit(self.limit_s):
            given = {
                seed: read_given(provided, seed, files[seed], data.name, data.sha256)
                for seed in mine
            }
        return Chosen(provided, mine, given)

    def _misfit(self, provided: Provided[ModelSpec]) -> str | None:
        """Why a model does not fit the data; None where it does, or its training says more."""
        fits_data = bool(provided.spec.fits_data)
        if not fits_data and not self.probe:
            return None
        try:
            with isolated(0), time_limit(self.limit_s):
                model: nn.Module = provided.create()
                if fits_data:
                    return None
                scores = predict(model, self.dataset.train.x[:_PROBED])
        except Unsupported as error:
            return one_line(str(error), 400)
        except (PluginError, TimeoutExceededError):
            return None
        except (Exception, SystemExit) as error:  # whatever a model makes of inputs it cannot take
            features = self.dataset.train.x.shape[1]
            reason = one_line(str(error), 200)
            return f"it does not take {features} features ({type(error).__name__}: {reason})"
        classes = len(self.dataset.classes)
        if scores.shape[1] != classes:
            return f"it gives {scores.shape[1]} scores, and there are {classes} classes"
        return None

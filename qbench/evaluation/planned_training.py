"""Where the weights of a run's models come from: a file, the zoo, or a training."""

from __future__ import annotations

from collections.abc import Mapping

from qbench.datasets.base import Dataset
from qbench.datasets.fitting import fitted
from qbench.errors import WeightsError
from qbench.evaluation.choosing import Chooser, Chosen
from qbench.evaluation.isolation import isolated, time_limit
from qbench.evaluation.provenance import weights_of
from qbench.evaluation.selection import RunSelection
from qbench.evaluation.training import TrainingTask
from qbench.provided import Provided
from qbench.records import identity as ids
from qbench.registry import Registry
from qbench.specs import ModelSpec
from qbench.weights.files import fingerprint, unpack
from qbench.weights.zoo import Zoo


class TrainingPlan:
    """The trainings of a selection.

    Args:
        selection: Of what is run.
        registry: Of models.
        dataset: Whose training images are learnt.
        protocol: Of the run.
        chooser: For models that are not selected.
        chosen: The selected ones.
    """

    def __init__(
        self,
        selection: RunSelection,
        registry: Registry,
        dataset: Dataset,
        protocol: ids.Protocol,
        chooser: Chooser,
        chosen: Mapping[str, Chosen],
    ) -> None:
        self._selection, self._registry, self._dataset = selection, registry, dataset
        self._protocol, self._chooser, self._chosen = protocol, chooser, chosen
        self._zoo = Zoo.shipped(dataset.name)

    def identity(self, model: str, seed: int) -> ids.TrainingId:
        """What is trained, wherever its weights come from."""
        data = self._dataset
        about = ids.Data(
            name=data.name, sha256=data.sha256, split="train", images=len(data.train.y)
        )
        revision = self._registry.get("model", model).spec.revision
        version = ids.Model(name=model, revision=revision, seed=seed)
        return ids.TrainingId(protocol=self._protocol, data=about, model=version)

    def task(self, model: str, seed: int) -> TrainingTask:
        """The training of a model, or the reading of its weights.

        Raises:
            WeightsError: Weights of the zoo that come from another recipe or revision.
        """
        chosen, selection = self._chosen.get(model), self._selection
        if chosen is None:
            provided = fitted(self._registry.get("model", model), self._dataset)
            chosen = self._chooser.with_weights(provided, [seed])
        provided, given = chosen.provided, chosen.given.get(seed)
        zoo = initial = None
        if given is None and not selection.retrain:
            zoo = self._from_zoo(provided.spec, seed)
        if given is None and zoo is None:
            initial = self._untrained(provided, seed)
        return TrainingTask(
            identity=self.identity(model, seed),
            zoo=zoo,
            given=given,
            initial=initial,
            limit=selection.limit,
            time_limit_s=selection.time_limit_s,
            plugins=selection.plugins,
        )

    def _untrained(self, provided: Provided[ModelSpec], seed: int) -> str | None:
        """Fingerprint of the untrained model; None where it cannot be made, as its training says.

        The other models of a run are not held up by one that does not come to be.
        """
        try:
            with isolated(seed), time_limit(self._selection.time_limit_s):
                return weights_of(provided.create())
        except (Exception, SystemExit):
            return None

    def _from_zoo(self, spec: ModelSpec, seed: int) -> str | None:
        """Fingerprint of a model's weights in the zoo; None where it has none for this data."""
        if self._zoo.sha256(spec.name, seed) is None:
            return None
        state, about = unpack(self._zoo.read(spec.name, seed), f"the zoo's {spec.name}")
        if about.dataset_sha256 != self._dataset.sha256:
            return None
        if (about.revision, about.recipe) != (spec.revision, spec.recipe):
            raise WeightsError(
                f"the zoo's {spec.name} comes from another recipe or revision: use --retrain"
            )
        return fingerprint(state.weights)

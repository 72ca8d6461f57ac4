"""A board's results as a stranger sent them, and what is here to hold them against."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from qbench.datasets.base import Dataset, Split, load_data
from qbench.datasets.fitting import fitted
from qbench.errors import VerificationError
from qbench.evaluation.submission import Submission
from qbench.plugin_files import PluginFile
from qbench.protocols import Protocol, load_protocol
from qbench.provided import Provided
from qbench.records.record import Record, TrainingMetrics
from qbench.records.results import Results, attack_norm
from qbench.registry import Registry
from qbench.specs import ModelSpec

BALL = 1e-6  # relative, on ε and on bounds


@dataclass(frozen=True)
class Board:
    """What is verified, and the protocol, data and plugins that are installed.

    Args:
        results: What is verified.
        whole: Whether it must have every image and seed of its protocol.
        sent: The submission it came in, if it came in one.
        plugins: Plugins given as files.
        registry: What they and the installed plugins provide.
    """

    results: Results
    whole: bool
    sent: Submission | None
    plugins: tuple[PluginFile, ...]
    registry: Registry

    @cached_property
    def by_id(self) -> dict[str, Record]:
        return {record.id: record for record in self.results.records}

    @cached_property
    def protocol(self) -> Protocol:
        name = next(iter(self.by_id.values())).task.protocol.name
        protocol = load_protocol(name, self.plugins)
        return protocol.in_norm(attack_norm(self.results) or protocol.norm)

    @cached_property
    def attacked(self) -> Record:
        """A record that is about the images which are attacked."""
        for record in self.by_id.values():
            if record.task.kind != "training":
                return record
        raise VerificationError("there are trainings only")

    @cached_property
    def dataset(self) -> Dataset:
        return load_data(self.attacked.task.data.name, self.plugins)

    @cached_property
    def split(self) -> Split:
        data, usual = self.attacked.task.data, self.protocol.selection.dataset
        if self.sent is not None and data.name != usual:
            # Loading it could read files or ask the network, as a stranger says.
            raise VerificationError(f"its data are {data.name!r}, the protocol's are {usual!r}")
        dataset = self.dataset
        if dataset.sha256 != data.sha256:
            raise VerificationError(
                f"data set {data.name!r} has SHA-256 {dataset.sha256}, the records say "
                f"{data.sha256}"
            )
        limit = None if self.whole else data.images
        split = self.protocol.selection.images(dataset, limit)
        if len(split.y) != data.images or data.split != self.protocol.selection.split:
            raise VerificationError(
                f"the protocol has {len(split.y)} {self.protocol.selection.split} images, the "
                f"records say {data.images} {data.split} images"
            )
        return split

    def check(self) -> None:
        """One protocol, the installed one, and one set of images."""
        for record in self.by_id.values():
            task = record.task
            if (task.protocol.name, task.protocol.sha256) != (
                self.protocol.name,
                self.protocol.sha256,
            ):
                raise VerificationError(f"{record.title}: another protocol, or a changed one")
            if task.kind != "training" and task.data != self.attacked.task.data:
                raise VerificationError(f"{record.title}: other images than the other records")
            if task.data.sha256 != self.attacked.task.data.sha256:
                raise VerificationError(f"{record.title}: another data set")
        _ = self.split

    def foreign(self, name: str) -> bool:
        """Whether a model is a submission's, of a plugin that is not loaded."""
        return self.sent is not None and name not in self.registry.all("model")

    def provided(self, name: str) -> Provided[ModelSpec]:
        return fitted(self.registry.get("model", name), self.dataset)

    def handed_in(self, name: str) -> str | None:
        """The file that a model's weights were handed in as; None where they were not."""
        for record in self.by_id.values():
            if record.task.model.name == name and isinstance(record.metrics, TrainingMetrics):
                return record.metrics.file
        return None

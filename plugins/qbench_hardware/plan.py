"""A hardware run as data: what is attacked, on which device, and what may be spent."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from qbench.attack_strings import parse_attack
from qbench.engines import create_engine
from qbench.errors import StoreError, UsageError
from qbench.evaluation.attack import AttackTask
from qbench.evaluation.planner import make_plan
from qbench.evaluation.selection import RunSelection
from qbench.evaluation.training import TrainingTask
from qbench.files import read_file, write_atomically
from qbench.plugin_files import PluginFile
from qbench.records.schema import Count, Positive, Seed, Sha256, Strict, Text, canonical_sha256
from qbench.records.store import first_error
from qbench.registry import Registry, load_registry
from qbench_hardware.interface import JobEngine

FILE = Path("hardware", "run.json")
_OF_A_RUN = {"run_id", "account"}
Least1 = Annotated[Count, Field(ge=1)]


class HardwarePlan(Strict):
    """One model on one device.

    Args:
        model, seed: The model.
        engine: `NAME:DEVICE` of an engine that takes jobs.
        shots: Runs of each circuit.
        attacks: Attacks on the ideal simulator, as `qbench run` takes them.
        device_attacks: Attacks on the device itself, which see its counts.
        eps: Budgets.
        protocol, dataset, limit: The images.
        readout: Whether readout errors are measured, and scores also given without them.
        options: Mitigation on the device.
        chunk: Circuits in a job, at most.
        plugins: Names of plugin files with the SHA-256 of each. Not where they are: whoever goes
            on with a run names them again, so that a folder cannot have its own code run.
        run_id: Told apart by it: the same plan run twice is two measurements.
        account: Who pays, as the service names it: jobs are found again only there. Known once the
            run has begun; None where nothing is paid.
    """

    model: Text
    seed: Seed
    engine: Text
    shots: Least1
    attacks: Annotated[tuple[Text, ...], Field(min_length=1)]
    device_attacks: tuple[Text, ...] = ()
    eps: Annotated[tuple[Positive, ...], Field(min_length=1)]
    protocol: Text
    dataset: Text | None = None
    limit: Least1 | None = None
    readout: bool = False
    options: dict[str, Text] = Field(default_factory=dict)
    chunk: Least1 = 100
    plugins: dict[str, Sha256] = Field(default_factory=dict)
    run_id: Text = Field(default_factory=lambda: uuid.uuid4().hex)
    account: Text | None = None

    def same_as(self, other: HardwarePlan) -> bool:
        """Whether two plans ask for the same, whichever run asks."""
        return self.model_dump(exclude=_OF_A_RUN) == other.model_dump(exclude=_OF_A_RUN)

    @property
    def folder(self) -> Path:
        """Where its results go unless another place is named."""
        asked = self.model_dump(mode="json", exclude=_OF_A_RUN | {"plugins"})
        device, model = self.engine.replace(":", "-"), f"{self.model}-seed{self.seed}"
        return Path("runs", f"hardware-{device}-{model}-{canonical_sha256(asked)[:8]}")

    def registry(self, files: Sequence[PluginFile]) -> Registry:
        """Every plugin, with those the run was begun with as files.

        Raises:
            UsageError: They are not those of the plan.
        """
        given = plugins_of(files)
        for name in sorted({*self.plugins, *given}):
            if name not in given:
                raise UsageError(
                    f"the run was begun with a plugin {name}.py: name it again with --plugin, if "
                    "you know it and trust it"
                )
            if self.plugins.get(name) != given[name]:
                raise UsageError(f"the run was not begun with this plugin {name}: put it back")
        return load_registry(tuple(files))

    def tasks(
        self, files: Sequence[PluginFile], registry: Registry
    ) -> tuple[TrainingTask, list[AttackTask], list[AttackTask]]:
        """Training, and the attacks on the ideal simulator and on the device, planned alike.

        Raises:
            UnknownNameError: A name that nobody provides.
            UsageError: An attack on the device that needs gradients, or several models.
        """
        if self.model == "all" or set("*?[,") & set(self.model):
            raise UsageError(f"--model {self.model}: a run takes one model, by its name")
        registry.get("model", self.model)  # before anything is made of it
        for name, _ in map(parse_attack, self.device_attacks):
            if registry.get("attack", name).spec.gradient:
                raise UsageError(
                    f"--device-attack {name} needs gradients, and a device only counts outcomes: "
                    "give it to --attacks, or another one here ('qbench attacks')"
                )
        planned = []
        for attacks in (self.attacks, self.device_attacks):
            selection = RunSelection(
                models=(self.model,),
                attacks=attacks,
                certifiers=(),
                protocol=self.protocol,
                dataset=self.dataset,
                seeds=(self.seed,),
                eps=self.eps,
                limit=self.limit,
                plugins=tuple(files),
            )
            planned.append(make_plan(selection))
        trainings = [task for task in planned[0] if isinstance(task, TrainingTask)]
        (training,) = trainings
        ideal, device = ([t for t in tasks if isinstance(t, AttackTask)] for tasks in planned)
        return training, ideal, device

    def connect(self, registry: Registry) -> JobEngine:
        """The engine.

        Raises:
            UsageError: It takes no jobs.
        """
        engine = create_engine(self.engine, self.shots, 1, registry)
        if not isinstance(engine, JobEngine):
            raise UsageError(
                f"engine {self.engine!r} takes no jobs: use 'qbench run --engine {self.engine}', "
                "or a device such as ibm:ibm_torino or ibm:fake_marrakesh"
            )
        return engine

    def save(self, root: Path) -> None:
        """Write it into a run's folder."""
        write_atomically(root / FILE, self.model_dump_json(indent=1).encode() + b"\n")

    @classmethod
    def load(cls, root: Path) -> HardwarePlan:
        """Read it from a run's folder.

        Raises:
            StoreError: There is none, or it is damaged.
        """
        path = root / FILE
        if not os.path.lexists(path):
            raise StoreError(
                f"no hardware run in {root}: begin one with 'qbench hardware run', or name its "
                "--out folder"
            )
        try:
            return cls.model_validate_json(read_file(path))
        except ValueError as error:
            raise StoreError(f"{path} is damaged ({first_error(error)}): restore it") from error


def plugins_of(files: Sequence[PluginFile]) -> dict[str, str]:
    """Plugin files as a plan keeps them."""
    return {file.name: file.sha256 for file in files}

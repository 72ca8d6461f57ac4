"""A hardware run as data: what is attacked, on which device, and what may be spent."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from qbench.engines import create_engine
from qbench.errors import StoreError, UsageError
from qbench.files import write_atomically
from qbench.hardware.interface import JobEngine
from qbench.plan import RunSelection, make_plan
from qbench.registry import PluginFile
from qbench.tasks import Task

FILE = Path("hardware", "run.json")


@dataclass(frozen=True, kw_only=True)
class HardwarePlan:
    """One model on one device.

    Args:
        model, seed: The model.
        engine: `NAME:DEVICE` of an engine that takes jobs.
        shots: Runs of each circuit.
        attacks: Attacks on the exact twin, as `qbench run` takes them.
        eps: Budgets.
        protocol, dataset, limit: The images.
        square_queries: Queries of the Square attack on the device itself; 0 for none.
        readout: Whether readout errors are measured, and scores also given without them.
        options: Mitigation on the device.
        chunk: Circuits in a job, at most.
        plugins: Paths of plugin files, with the SHA-256 of each.
        run_id: Told apart by it: the same plan run twice is two measurements.
    """

    model: str
    seed: int
    engine: str
    shots: int
    attacks: tuple[str, ...]
    eps: tuple[float, ...]
    protocol: str
    dataset: str | None = None
    limit: int | None = None
    square_queries: int = 0
    readout: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    chunk: int = 100
    plugins: tuple[tuple[str, str], ...] = ()
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        for name, least in (("shots", 1), ("chunk", 1), ("square_queries", 0), ("seed", 0)):
            if getattr(self, name) < least:
                option = "--" + name.replace("_", "-")
                raise UsageError(f"{option} {getattr(self, name)}: give at least {least}")
        if not self.attacks or not self.eps:
            raise UsageError("nothing to attack with: give --attacks and --eps")

    def digest(self, name: str = "") -> str:
        """SHA-256 of what is asked for, whichever run asks, and of a name."""
        about = {k: v for k, v in asdict(self).items() if k not in ("run_id", "plugins")}
        text = json.dumps({**about, "name": name}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def derived_seed(self, name: str) -> int:
        """A seed for one job or attack, never 0."""
        return int(self.digest(name)[:15], 16) % (2**31 - 2) + 1

    @property
    def folder(self) -> Path:
        """Where its results go unless another place is named."""
        device, model = self.engine.replace(":", "-"), f"{self.model}-seed{self.seed}"
        return Path("runs", f"hardware-{device}-{model}-{self.digest()[:8]}")

    def files(self) -> tuple[PluginFile, ...]:
        """The plugin files.

        Raises:
            UsageError: One was changed since the run began.
        """
        found = []
        for path, sha256 in self.plugins:
            file = PluginFile.read(Path(path))
            if hashlib.sha256(file.source).hexdigest() != sha256:
                raise UsageError(f"plugin {path} was changed since the run began: put it back")
            found.append(file)
        return tuple(found)

    def tasks(self) -> list[Task]:
        """Training, and each attack on the exact twin, as `qbench run` plans them."""
        selection = RunSelection(
            models=(self.model,),
            attacks=self.attacks,
            certifiers=("all",),
            protocol=self.protocol,
            dataset=self.dataset,
            seeds=(self.seed,),
            eps=self.eps,
            limit=self.limit,
            plugins=self.files(),
        )
        return [t for t in make_plan(selection) if t.kind in ("training", "robust-accuracy")]

    def connect(self, registry: Any) -> JobEngine:
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
        text = json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"
        write_atomically(root / FILE, text.encode())

    @classmethod
    def load(cls, root: Path) -> HardwarePlan:
        """Read it from a run's folder.

        Raises:
            StoreError: There is none, or it is damaged.
        """
        path = root / FILE
        try:
            about = json.loads(path.read_bytes())
            for name in ("attacks", "eps"):
                about[name] = tuple(about[name])
            about["plugins"] = tuple((path, sha) for path, sha in about["plugins"])
            return cls(**about)
        except FileNotFoundError:
            raise StoreError(
                f"no hardware run in {root}: begin one with 'qbench hardware run', or name its "
                "--out folder"
            ) from None
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{path} is damaged ({type(error).__name__}): restore it") from error

    def same_as(self, other: HardwarePlan) -> bool:
        """Whether two plans ask for the same, apart from the run's id."""
        return replace(other, run_id=self.run_id) == self


def plugin_entries(files: Sequence[PluginFile]) -> tuple[tuple[str, str], ...]:
    """Plugin files as a plan keeps them."""
    return tuple((file.path, hashlib.sha256(file.source).hexdigest()) for file in files)

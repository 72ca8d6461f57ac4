"""What a run is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from qbench.evaluation.task import TIME_LIMIT_S
from qbench.plugin_files import PluginFile
from qbench.protocols import DEFAULT
from qbench.specs import Norm
from qbench.weights.given import WeightsFile


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

"""What a leaderboard says, as frozen data: the one thing that tables and figures are drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qbench.metrics import mean_std
from qbench.records import DatasetRef, ProtocolRef, ThreatModelRef


@dataclass(frozen=True, order=True)
class Note:
    """Why seeds have no value (status skipped, failed, missing), or a doubted one (flagged)."""

    status: str
    reason: str
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Score:
    """One value a seed, and what is to be said about the seeds that have none."""

    by_seed: tuple[tuple[int, float], ...] = ()
    notes: tuple[Note, ...] = ()

    @property
    def values(self) -> tuple[float, ...]:
        """The values in the order of seeds."""
        return tuple(value for _, value in self.by_seed)

    @property
    def mean(self) -> float | None:
        """Mean over seeds; None without a value."""
        return mean_std(self.values)[0] if self.by_seed else None

    @property
    def std(self) -> float | None:
        """Sample standard deviation over seeds; None with fewer than two values."""
        return mean_std(self.values)[1] if self.by_seed else None


@dataclass(frozen=True, order=True)
class Setting:
    """An attack at a perturbation budget ε (pixel units)."""

    attack: str
    eps: float


@dataclass(frozen=True)
class ModelFacts:
    """What does not depend on a seed."""

    name: str
    family: str
    parameters: int | None
    plugin: str
    version: str


@dataclass(frozen=True)
class Bound:
    """A certifier's Lipschitz bound of a model, beside the largest Jacobian norm seen; by seed."""

    model: str
    certifier: str | None
    scope: str | None
    points: int | None
    bound: Score
    sampled: Score

    @property
    def slack(self) -> float | None:
        """The smallest ratio, over seeds, of bound to Jacobian norm; None without both."""
        sampled = dict(self.sampled.by_seed)
        ratios = [bound / sampled[seed] for seed, bound in self.bound.by_seed if sampled[seed]]
        return min(ratios, default=None)


@dataclass(frozen=True)
class Row:
    """One model's line; `rank` is None where nothing was measured at the ranking budget."""

    rank: int | None
    model: ModelFacts
    seeds: tuple[int, ...]
    clean: Score
    robust: Mapping[Setting, Score]
    worst: Score
    bounds: tuple[Bound, ...]
    notes: tuple[Note, ...]

    @property
    def tightest(self) -> Bound | None:
        """The certifier with the smallest mean bound; with none proved, the first one's reason."""
        proved = [entry for entry in self.bounds if entry.bound.mean is not None]
        if not proved:
            return self.bounds[0] if self.bounds else None
        return min(proved, key=lambda entry: (entry.bound.mean or 0.0, entry.certifier or ""))


@dataclass(frozen=True)
class Transfer:
    """Accuracy of target models on inputs made for source models, by (source, target)."""

    setting: Setting
    models: tuple[str, ...]
    entries: Mapping[tuple[str, str], Score]


@dataclass(frozen=True)
class Curve:
    """Test accuracy per epoch of one model, by seed."""

    model: str
    by_seed: tuple[tuple[int, tuple[float, ...]], ...]


@dataclass(frozen=True)
class Subject:
    """What was measured, for a reader who has only the leaderboard."""

    protocol: ProtocolRef
    dataset: DatasetRef
    threat: ThreatModelRef | None
    seeds: tuple[int, ...]
    attacks: tuple[tuple[str, str], ...]
    certifiers: tuple[tuple[str, str], ...]
    engines: tuple[str, ...]
    versions: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Board:
    """A whole leaderboard. `models` is in the order of colours: by family, then by name."""

    subject: Subject
    models: tuple[ModelFacts, ...]
    settings: tuple[Setting, ...]
    rank_eps: float | None
    rows: tuple[Row, ...]
    transfers: tuple[Transfer, ...]
    curves: tuple[Curve, ...]

    @property
    def attacks(self) -> tuple[str, ...]:
        """Names of the attacks, sorted."""
        return tuple(sorted({setting.attack for setting in self.settings}))

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """Every certifier's bounds, in the order of `models`."""
        by_model = {row.model.name: row.bounds for row in self.rows}
        return tuple(bound for model in self.models for bound in by_model[model.name])

"""What a leaderboard says, as frozen data: the one thing that tables and figures are drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qbench.metrics import mean_std
from qbench.records import DatasetRef, Flag, ProtocolRef, ThreatModelRef
from qbench.reporting.claims import PAPER, Bound, Certified, Probabilistic
from qbench.reporting.scores import Note, Score

if TYPE_CHECKING:
    from qbench.reporting.elsewhere import EngineRow

PLAIN = "pgd"  # the attack that every protocol defines
ADVERSARIAL = "-at"  # ends the name of a model trained on attacked images


@dataclass(frozen=True, order=True)
class Setting:
    """An attack, by its label, at a perturbation budget ε (pixel units)."""

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
    structure: str = ""


@dataclass(frozen=True)
class Finding:
    """A flag raised for one model: for which seeds, and what was measured there.

    `numbers` are shares of images by what they are, means over the flagged seeds; `details` are
    words for what is not a number.
    """

    flag: Flag
    model: str
    seeds: tuple[int, ...]
    numbers: tuple[tuple[str, float], ...] = ()
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """McNemar's test on two models, of which `first` keeps at least as many images robust.

    `only_first` and `only_second` count images that one of them alone keeps; `p_holm` is corrected
    for all comparisons of the board.
    """

    first: str
    second: str
    images: int
    only_first: int
    only_second: int
    p: float
    p_holm: float


@dataclass(frozen=True)
class Row:
    """One model's line; `rank` is None where nothing was measured at the ranking budget.

    `worst_at` is the worst case over every attack on the model, by budget, and `worst` the one at
    the ranking budget; `with_transfer` counts images made for other models as well. `kept` is the
    number of images that most seeds keep in the worst case. `certified` has an entry for each norm
    that the board's certificates are about.
    """

    rank: int | None
    model: ModelFacts
    seeds: tuple[int, ...]
    clean: Score
    robust: Mapping[Setting, Score]
    worst: Score
    worst_at: Mapping[float, Score]
    with_transfer: Score
    kept: int | None
    bounds: tuple[Bound, ...]
    findings: tuple[Finding, ...]
    notes: tuple[Note, ...]
    certified: tuple[Certified, ...] = ()
    probabilistic: tuple[Probabilistic, ...] = ()

    def proved(self, norm: str | None) -> Certified | None:
        """What is proved in a norm; None where no certificate of the board is about it."""
        return next((one for one in self.certified if one.norm == norm), None)

    @property
    def tightest(self) -> Bound | None:
        """The certifier with the smallest mean bound on margins, one that holds everywhere first;
        with none proved, the first one's reason."""
        proved = sorted(self._proved, key=lambda entry: entry.order)
        return (proved or self.bounds or (None,))[0]

    @property
    def papers(self) -> Bound | None:
        """The tightest bound by a certifier of the reference paper."""
        found = [entry for entry in self._proved if entry.certifier in PAPER]
        return min(found, key=lambda entry: entry.order, default=None)

    @property
    def ours(self) -> Bound | None:
        """The tightest bound by any other certifier."""
        found = [entry for entry in self._proved if entry.certifier not in PAPER]
        return min(found, key=lambda entry: entry.order, default=None)

    @property
    def _proved(self) -> list[Bound]:
        return [entry for entry in self.bounds if entry.bound.mean is not None]


@dataclass(frozen=True)
class Transfer:
    """Accuracy of target models on inputs made for source models, by (source, target).

    `averages` are means over the pairs of two different models, by their families.
    """

    setting: Setting
    models: tuple[str, ...]
    entries: Mapping[tuple[str, str], Score]
    averages: Mapping[tuple[str, str], Score]


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
    """A whole leaderboard. `models` is in the order of colours: by family, then by name.

    Everything but `elsewhere` is about exact scores.
    """

    subject: Subject
    models: tuple[ModelFacts, ...]
    settings: tuple[Setting, ...]
    rank_eps: float | None
    rows: tuple[Row, ...]
    transfers: tuple[Transfer, ...]
    curves: tuple[Curve, ...]
    comparisons: tuple[Comparison, ...]
    diagnosed: int
    elsewhere: tuple[EngineRow, ...] = ()

    @property
    def attacks(self) -> tuple[str, ...]:
        """Labels of the attacks, sorted."""
        return tuple(sorted({setting.attack for setting in self.settings}))

    @property
    def budgets(self) -> tuple[float, ...]:
        """Every ε that was attacked at, sorted."""
        return tuple(sorted({setting.eps for setting in self.settings}))

    @property
    def several(self) -> bool:
        """Whether there is more than one attack, and so a worst case beside each."""
        return len(self.attacks) > 1

    @property
    def plain(self) -> tuple[Setting, ...]:
        """The settings with columns of their own: the only attack, or plain PGD beside others."""
        return tuple(s for s in self.settings if s.attack == PLAIN or not self.several)

    @property
    def reference(self) -> str | None:
        """The attack that is shown in full where others are folded: plain PGD, or the first."""
        return PLAIN if PLAIN in self.attacks else min(self.attacks, default=None)

    @property
    def by_strength(self) -> tuple[str, ...]:
        """Attacks at the ranking budget, those that leave the most images first."""
        means: dict[str, float] = {}
        for attack in self.attacks:
            scores = [row.robust.get(Setting(attack, self.rank_eps or 0.0)) for row in self.rows]
            found = [s.mean for s in scores if s is not None and s.mean is not None]
            means[attack] = mean_std(found)[0] if found else 2.0
        return tuple(sorted(means, key=lambda attack: (-means[attack], attack)))

    def strongest(self, row: Row) -> frozenset[str]:
        """The attacks that leave a model least at the ranking budget; none if all are equal."""
        scores = {s.attack: v.mean for s, v in row.robust.items() if s.eps == self.rank_eps}
        means = {attack: mean for attack, mean in scores.items() if mean is not None}
        lowest = min(means.values(), default=None)
        found = frozenset(attack for attack, mean in means.items() if mean == lowest)
        return found if len(found) < len(means) or len(means) == 1 else frozenset()

    @property
    def trained_pairs(self) -> tuple[tuple[Row, Row], ...]:
        """Models of one structure, trained on clean and (named `-at`) on attacked images."""
        rows = {row.model.name: row for row in self.rows}
        pairs = (
            (rows[model.name], rows.get(f"{model.name}{ADVERSARIAL}")) for model in self.models
        )
        return tuple(
            (clean, other)
            for clean, other in pairs
            if other is not None and clean.model.structure == other.model.structure
        )

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """Every certifier's bounds, in the order of `models`."""
        by_model = {row.model.name: row.bounds for row in self.rows}
        return tuple(bound for model in self.models for bound in by_model[model.name])

    @property
    def norm(self) -> str | None:
        """The norm of the attacks; without any, the first norm of the certificates."""
        if self.subject.threat is not None:
            return self.subject.threat.norm
        return next(iter(self.certified_norms), None)

    @property
    def certified_norms(self) -> tuple[str, ...]:
        """The norms that proofs of single images are about, that of the attacks first."""
        return tuple(one.norm for row in self.rows[:1] for one in row.certified)

    def certified_budgets(self, norm: str | None) -> tuple[float, ...]:
        """Every ε at which certified accuracy is reported in a norm, sorted; () without proofs."""
        proved = [row.proved(norm) for row in self.rows[:1]]
        return tuple(eps for one in proved if one is not None for eps in one.accuracy)

"""What a leaderboard says, as frozen data: the one thing that tables and figures are drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qbench.records.record import Card
from qbench.records.statistics import mean_std
from qbench.report.certificate_types import Bound, Certified, Probabilistic
from qbench.report.challenges import Challenge
from qbench.report.flags import Flag
from qbench.report.noisy_engines import EngineRow
from qbench.report.run_metadata import RunMetadata
from qbench.report.seed_values import Note, SeedValues
from qbench.report.significance import Comparison
from qbench.report.transfer import Setting, Transfer


@dataclass(frozen=True)
class ModelFacts:
    """What does not depend on a seed; `card` is None where none is kept.

    `trained_on` is the number of training images, where a training is on record.
    """

    name: str
    family: str
    card: Card | None = None
    trained_on: int | None = None

    @property
    def parameters(self) -> int | None:
        """Number of trained parameters, where it is known."""
        return self.card.parameters if self.card else None

    @property
    def gradients(self) -> int | None:
        """Images that one training differentiates, those of the attack within it counted too."""
        if self.card is None or self.trained_on is None:
            return None
        recipe = self.card.recipe
        return self.trained_on * recipe.epochs * recipe.gradients

    @property
    def adversarially_trained(self) -> bool:
        """Whether it was trained on attacked images."""
        return self.card is not None and self.card.recipe.adversarial_eps > 0


@dataclass(frozen=True)
class Row:
    """One model's line; `rank` is None where nothing was measured at the ranking budget, or where
    there are `obstacles`: why the model can have no rank, a line each.

    `worst_at` is the worst case over everything on record, by budget, and `worst` the one at the
    ranking budget, with its 95 % interval `worst95`; `own` is over the attacks on the model itself
    alone. `attacked` counts every image that is classified correctly after the
    attack, `robust` only those that are before it too. `certified` has an entry for each norm that
    the board's certificates are about.
    """

    rank: int | None
    obstacles: tuple[str, ...]
    model: ModelFacts
    seeds: tuple[int, ...]
    clean: SeedValues
    robust: Mapping[Setting, SeedValues]
    attacked: Mapping[Setting, SeedValues]
    worst: SeedValues
    worst95: tuple[float, float] | None
    worst_at: Mapping[float, SeedValues]
    own: SeedValues
    bounds: tuple[Bound, ...]
    flags: tuple[Flag, ...]
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

    def tightest_of(self, *, baseline: bool) -> Bound | None:
        """The tightest bound by a certifier that is a published baseline, or by any other one."""
        found = [entry for entry in self._proved if entry.baseline == baseline]
        return min(found, key=lambda entry: entry.order, default=None)

    @property
    def _proved(self) -> list[Bound]:
        return [entry for entry in self.bounds if entry.bound.mean is not None]


@dataclass(frozen=True)
class Curve:
    """Test accuracy per epoch of one model, by seed."""

    model: str
    by_seed: tuple[tuple[int, tuple[float, ...]], ...]


@dataclass(frozen=True)
class Board:
    """A whole leaderboard. `models` is in the order of colours: by family, then by name.

    Everything but `noisy` is about exact scores. `reference` is the attack that is shown in full
    where others are folded; None without attacks. `checked` counts trained models that were
    probed. `without_gradients` are the attacks that never asked for one. `versions` and `commands`
    say where the records come from, not what they say.
    """

    about: RunMetadata
    models: tuple[ModelFacts, ...]
    settings: tuple[Setting, ...]
    reference: str | None
    rank_eps: float | None
    rows: tuple[Row, ...]
    transfers: tuple[Transfer, ...]
    curves: tuple[Curve, ...]
    comparisons: tuple[Comparison, ...]
    checked: int
    without_gradients: tuple[str, ...] = ()
    noisy: tuple[EngineRow, ...] = ()
    challenges: tuple[Challenge, ...] = ()
    superseded: tuple[str, ...] = ()
    versions: tuple[tuple[str, str], ...] = ()
    commands: tuple[str, ...] = ()

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
        """Whether there is more than one attack on the models, transferred images and those sent
        by others counted too, and so a worst case beside each."""
        return len(self.attacks) > 1 or bool(self.transfers) or bool(self.challenges)

    @property
    def measure(self) -> str:
        """What models are ranked by: the worst case, or the label of the only attack."""
        return "worst case" if self.several or not self.attacks else self.attacks[0]

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
        """Models, and the variants of them that were trained on attacked images."""
        rows = {row.model.name: row for row in self.rows}
        pairs = []
        for model in self.models:
            base = model.card.variant_of if model.card else None
            if base in rows and model.adversarially_trained:
                pairs.append((rows[base], rows[model.name]))
        return tuple(pairs)

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """Every certifier's bounds, in the order of `models`."""
        by_model = {row.model.name: row.bounds for row in self.rows}
        return tuple(bound for model in self.models for bound in by_model[model.name])

    @property
    def norm(self) -> str | None:
        """The norm of the attacks; without any, the first norm of the certificates."""
        return self.about.norm or next(iter(self.certified_norms), None)

    @property
    def certified_norms(self) -> tuple[str, ...]:
        """The norms that proofs of single images are about, that of the attacks first."""
        return tuple(one.norm for row in self.rows[:1] for one in row.certified)

    def certified_budgets(self, norm: str | None) -> tuple[float, ...]:
        """Every ε at which certified accuracy is reported in a norm, sorted; () without proofs."""
        proved = [row.proved(norm) for row in self.rows[:1]]
        return tuple(eps for one in proved if one is not None for eps in one.accuracy)

"""Transfer matrices, and their averages within and across families."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qbench.records.statistics import mean_std
from qbench.report.questions import Answers, Question, adversarial, seed_values
from qbench.report.seed_values import SeedValues, gather_notes


@dataclass(frozen=True, order=True)
class Setting:
    """An attack, by its label, at a perturbation budget ε (pixel units)."""

    attack: str
    eps: float


@dataclass(frozen=True)
class Transfer:
    """Accuracy of target models on inputs made for source models, by (source, target).

    `averages` are means over the pairs of two different models, by their families; `pairs` counts
    these pairs.
    """

    setting: Setting
    models: tuple[str, ...]
    entries: Mapping[tuple[str, str], SeedValues]
    averages: Mapping[tuple[str, str], SeedValues]
    pairs: Mapping[tuple[str, str], int]


def transfer(
    setting: Setting, families: Mapping[str, str], found: Answers, seeds: Sequence[int]
) -> Transfer:
    """The matrix of one attack and budget; the diagonal is the attack on the model itself.

    Args:
        setting: The attack and budget.
        families: Of every model, by name; in the order of rows and columns.
        found: Records by question.
        seeds: Every seed of the board.
    """
    entries = {}
    for source in families:
        for target in families:
            question = Question("attack", target, attack=setting.attack, eps=setting.eps)
            if source != target:
                question = Question("transfer", target, source, setting.attack, setting.eps)
            entries[source, target] = seed_values(found.get(question), seeds, adversarial)
    members = {
        (one, other): [
            (source, target)
            for source, target in entries
            if source != target and (families[source], families[target]) == (one, other)
        ]
        for one in sorted(set(families.values()))
        for other in sorted(set(families.values()))
    }
    return Transfer(
        setting=setting,
        models=tuple(families),
        entries=entries,
        averages={
            group: _average([entries[pair] for pair in pairs]) for group, pairs in members.items()
        },
        pairs={group: len(pairs) for group, pairs in members.items()},
    )


def _average(entries: Sequence[SeedValues]) -> SeedValues:
    """The mean over pairs of models, by seed."""
    pairs = [dict(entry.by_seed) for entry in entries if entry.by_seed]
    # Without all of its pairs, a seed's mean would be that of other models.
    seeds = sorted({seed for by_seed in pairs for seed in by_seed})
    whole = [seed for seed in seeds if all(seed in by_seed for by_seed in pairs)]
    return SeedValues(
        tuple((seed, mean_std(by_seed[seed] for by_seed in pairs)[0]) for seed in whole),
        gather_notes(
            ("incomplete", "not every pair of models has a result", seed)
            for seed in seeds
            if seed not in whole
        ),
    )

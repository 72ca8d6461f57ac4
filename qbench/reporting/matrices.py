"""Transfer matrices, and their averages within and across families."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qbench.metrics import mean_std
from qbench.records import TaskKind
from qbench.reporting.board import ModelFacts, Setting, Transfer
from qbench.reporting.scores import Note, Score
from qbench.reporting.select import Answers, Question, gather_notes, score
from qbench.reporting.values import adversarial


def transfer(
    setting: Setting, models: Sequence[ModelFacts], found: Answers, seeds: Sequence[int]
) -> Transfer:
    """The matrix of one attack and budget; the diagonal is the attack on the model itself."""
    names = tuple(model.name for model in models)
    entries = {}
    for source in names:
        for target in names:
            task: TaskKind = "robust-accuracy" if source == target else "transfer-accuracy"
            other = None if source == target else source
            question = Question(task, target, other, setting.attack, setting.eps, None)
            entries[source, target] = score(found.get(question), seeds, adversarial)
    families = sorted({model.family for model in models})
    return Transfer(
        setting=setting,
        models=names,
        entries=entries,
        averages={
            (source, target): _average(entries, models, source, target)
            for source in families
            for target in families
        },
    )


def _average(
    entries: Mapping[tuple[str, str], Score],
    models: Sequence[ModelFacts],
    source: str,
    target: str,
) -> Score:
    """The mean, by seed, over pairs of two different models of given families."""
    family = {model.name: model.family for model in models}
    pairs = {
        pair: dict(entry.by_seed)
        for pair, entry in entries.items()
        if pair[0] != pair[1]
        and (family[pair[0]], family[pair[1]]) == (source, target)
        and entry.by_seed
    }
    # Without all of its pairs, a seed's mean would be that of other models.
    seeds = sorted({seed for by_seed in pairs.values() for seed in by_seed})
    whole = [seed for seed in seeds if all(seed in by_seed for by_seed in pairs.values())]
    notes: tuple[Note, ...] = gather_notes(
        ("incomplete", "not every pair of models has a result", seed)
        for seed in seeds
        if seed not in whole
    )
    return Score(
        tuple((seed, mean_std(by_seed[seed] for by_seed in pairs.values())[0]) for seed in whole),
        notes,
    )

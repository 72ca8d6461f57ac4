"""Images that others sent, when the results of their model are replaced."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np

from qbench.records.columns import Columns
from qbench.records.identity import ChallengeId
from qbench.records.record import Record
from qbench.records.results import Adversarial, Results
from qbench.records.worst import at_ranking_budget, broken


def carry(here: Results, model: str, new: Results) -> tuple[Results | None, list[str]]:
    """What others sent to break a model, as evidence about its next revision.

    What they broke are weights: they say the same about the next revision where its weights are
    the same, and nothing where they are not.

    Args:
        here: The results that hold the model's older revision.
        model: Its name.
        new: Those that are to take their place.

    Returns:
        The images' records under the new revision, None where there are none; and a note for each
        that is given up.
    """
    trained = {
        r.task.model.seed: r for r in new.records if r.task.model.name == model and r.weights
    }
    sent = [r for r in here.records if r.task.kind == "challenge" and r.task.model.name == model]
    by_id = {record.id: record for record in here.records}
    moved: dict[str, tuple[Record, Columns]] = {}
    images: defaultdict[int, list[Adversarial]] = defaultdict(list)
    notes = []
    for record in sent:
        seed = record.task.model.seed
        if seed not in trained or trained[seed].weights != record.weights:
            notes.append(f"the {record.title} went: the weights are others now")
            continue
        # A copy would keep the name that the old identity has remembered.
        fields = {**record.task.model_dump(), "model": trained[seed].task.model.model_dump()}
        task = ChallengeId.model_validate(fields)
        renamed, columns = record.model_copy(update={"task": task}), here.columns(record)
        moved[renamed.id] = renamed, columns
        kept = here.adversarial(model, seed)
        if kept is not None and record in at_ranking_budget(by_id, model, seed):
            still = np.isin(kept.image, np.flatnonzero(broken(columns)))
            images[seed].append(Adversarial(kept.image[still], kept.x_adv[still]))
    if not moved:
        return None, notes

    def adversarial(_model: str, seed: int) -> Adversarial | None:
        if seed not in images:
            return None
        image, first = np.unique(
            np.concatenate([one.image for one in images[seed]]), return_index=True
        )
        x_adv = np.concatenate([one.x_adv for one in images[seed]])[first]
        return Adversarial(image, x_adv)

    results = replace(
        here,
        records=tuple(record for record, _ in moved.values()),
        columns=lambda record: moved[record.id][1],
        cards={model: new.cards[model]},
        commands=(),
        adversarial=adversarial,
    )
    return results, notes

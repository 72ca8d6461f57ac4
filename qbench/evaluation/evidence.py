"""Where images that others sent are kept: a run, or their model's folder in an archive."""

from __future__ import annotations

from pathlib import Path

from qbench.errors import StoreError
from qbench.evaluation.challenge import Judged
from qbench.records.archive import Archive
from qbench.records.boards import boards
from qbench.records.columns import to_npz
from qbench.records.results import Adversarial, Result, Results
from qbench.records.store import FILE, RunStore


def find(path: Path, model: str) -> tuple[RunStore | Archive, Results]:
    """The run in a folder, or the board of an archive that has a model; and what it holds.

    Raises:
        StoreError: There is none, or there are several.
    """
    if (path / FILE).is_file():
        store = RunStore(path)
        return store, store.results()
    archives = [Archive.read(folder) for folder in boards(path)]
    found = [archive for archive in archives if model in archive.entries]
    if not found:
        known = ", ".join(sorted({name for archive in archives for name in archive.entries}))
        raise StoreError(f"no model {model!r} in {path}: there are {known}")
    if len(found) > 1:
        names = ", ".join(str(archive.root) for archive in found)
        raise StoreError(f"{model} stands on several boards: name one of {names}")
    return found[0], found[0].results()


def keep(judged: Judged, place: RunStore | Archive, results: Results) -> None:
    """Add what was judged to a run or an archive, in the folder of its model.

    Args:
        judged: What to keep.
        place: The run or the archive.
        results: What it holds.

    Raises:
        StoreError: It cannot be written.
    """
    record, model = judged.record, judged.record.task.model
    if isinstance(place, RunStore):
        artifact = to_npz({"x_adv": judged.x_adv})
        with place.locked():
            place.write(Result(record, judged.columns, artifact, None, judged.environment))
        return
    sent, breaks = judged.sent, judged.breaks
    worst = Adversarial(sent.image[breaks], sent.x_adv[breaks]) if judged.ranks else None
    added = Results(
        records=(record,),
        columns=lambda _: judged.columns,
        cards={model.name: results.cards[model.name]},
        environments={record.environment: judged.environment},
        commands=(),
        adversarial=lambda *_: worst,
    )
    place.add(added)

"""The archive: results of many runs, a folder a model, in a few files that a review can read.

`ARCHIVE/PROTOCOL/MODEL/` holds the files of `entry`. A transfer between two models lies in the
folder of the one that came later, and so do the images that such a transfer broke more than
anything before it: adding a model writes that model's folder and no other.
"""

from __future__ import annotations

import gc
import re
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qbench.errors import StoreError
from qbench.files import explained, own_folder
from qbench.records.challenges import carry
from qbench.records.columns import Columns
from qbench.records.entry import Entry, Trained, read_entry, write_entry
from qbench.records.record import Record
from qbench.records.results import Adversarial, Results, current
from qbench.records.worst import at_ranking_budget, broken_images, least_margins

_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_BETTER = {("skipped", "done"), ("failed", "done")}  # what is here, and what takes its place


@dataclass
class Archive:
    """The entries of one protocol.

    Args:
        root: The folder of that protocol.
        entries: By model.
        notes: What was given up when models were replaced, in words.
    """

    root: Path
    entries: dict[str, Entry] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, root: Path) -> Archive:
        """Every entry in a folder; none where there is no folder.

        Raises:
            StoreError: Something in it is damaged, or does not belong there.
        """
        if not root.exists():
            return cls(root)
        names = sorted(path.name for path in root.iterdir())
        for name in names:
            path = root / name
            if path.is_symlink() or not path.is_dir() or not _FOLDER.fullmatch(name):
                raise StoreError(f"{path} does not belong in an archive: remove it")
        with _without_collector():
            return cls(root, {name: read_entry(root / name) for name in names})

    def results(self) -> Results:
        """Everything, for a report.

        Raises:
            StoreError: There is nothing, or one result stands in two folders.
        """
        if not self.entries:
            raise StoreError(f"no results in {self.root}: add some with 'qbench leaderboard add'")
        outcomes: dict[str, Mapping[str, NDArray[Any]]] = {}
        records: dict[str, Record] = {}
        for entry in self.entries.values():
            for record in entry.records:
                if record.id in records:
                    raise StoreError(f"{self.root} holds the {record.title} twice")
                records[record.id] = record
            outcomes |= entry.outcomes
        kept, superseded = current(records.values())
        commands = [command for entry in self.entries.values() for command in entry.commands]

        def columns(record: Record) -> Mapping[str, NDArray[Any]]:
            return outcomes[record.id]

        return Results(
            records=kept,
            columns=columns,
            cards={name: entry.card for name, entry in self.entries.items()},
            environments={k: v for e in self.entries.values() for k, v in e.environments.items()},
            commands=tuple(dict.fromkeys(commands)),
            adversarial=self.adversarial,
            superseded=superseded,
        )

    def adversarial(self, model: str, seed: int) -> Adversarial | None:
        """The worst images of a trained model, wherever they are kept."""
        of = model, seed
        found = {n: e.adversarial[of] for n, e in self.entries.items() if of in e.adversarial}
        if len(found) < 2:
            return next(iter(found.values()), None)
        at = at_ranking_budget(self._about(of), *of)
        # What a folder keeps comes from a record in it: where several keep an image, it is that of
        # the folder whose records break it most.
        margins = []
        for name, kept in found.items():
            there = {record.id for record in self.entries[name].records}
            least = least_margins((r for r in at if r.id in there), self._columns)
            margins.append(np.full(len(kept.image), np.inf) if least is None else least[kept.image])
        return _united(list(found.values()), margins)

    def _about(self, of: Trained) -> dict[str, Record]:
        """The records of a trained model, in whatever folder."""
        return {r.id: r for e in self.entries.values() for r in e.records if _trained(r) == of}

    def _columns(self, record: Record) -> Columns:
        return next(e.outcomes[record.id] for e in self.entries.values() if record.id in e.outcomes)

    def add(self, results: Results, models: Iterable[str] | None = None) -> list[str]:
        """Take over the models of some results that are not here yet.

        What is done here stays as it is: of a model that is here, only transfers between it and a
        new one are taken, into the new one's folder, and results that no folder has yet, or has as
        skipped or failed. A model of a newer revision takes the place of an older one; images that
        others sent for it stay where its weights are the same.

        Args:
            results: Of a run or another archive.
            models: Which models to take, with the transfers from and to them; all by default.

        Returns:
            The models whose folders were written.

        Raises:
            StoreError: The results are of another protocol or data, or contradict what is here.
        """
        wanted = sorted(results.cards) if models is None else list(models)
        carried: list[Results] = []
        for model in wanted:
            entry, card = self.entries.get(model), results.cards.get(model)
            if entry is not None and card is not None and card.revision > entry.card.revision:
                kept, notes = carry(self.results(), model, results)
                carried += [] if kept is None else [kept]
                self.notes += notes
                self.remove(model)
        here = {record.id: record for e in self.entries.values() for record in e.records}
        self._check(results, here)
        homes = {record.id: name for name, e in self.entries.items() for record in e.records}
        new = {model for model in wanted if model not in self.entries}
        fresh: defaultdict[str, list[Record]] = defaultdict(list)
        for record in results.records:
            about, known = _models(record), here.get(record.id)
            if not about & set(wanted) or not about <= self.entries.keys() | new:
                continue
            if known is None or (known.status, record.status) in _BETTER:
                # A transfer lies with the model that came later.
                fresh[homes.get(record.id) or max(about & new or about)].append(record)
        # Each trained model is asked for in every folder that holds a transfer to it.
        results = replace(results, adversarial=cache(results.adversarial))
        for model, records in sorted(fresh.items()):
            self._write(model, records, results)
        for kept in carried:
            self.add(kept)
        return sorted(fresh)

    def remove(self, model: str) -> list[str]:
        """Take a model out, with every transfer from and to it.

        Returns:
            The other models whose folders were written.

        Raises:
            StoreError: It is not here.
        """
        if model not in self.entries:
            raise StoreError(f"no model {model!r} in {self.root}")
        gone, written = self.entries.pop(model), []
        for name, entry in list(self.entries.items()):
            kept = tuple(record for record in entry.records if model not in _models(record))
            ids = {record.id for record in kept}
            adversarial = {of: one for of, one in entry.adversarial.items() if of[0] != model}
            # Images of this model's neighbours that lay in its folder alone stay, if others break
            # them; where another is kept, it is the one that is still on record.
            adversarial |= {
                of: united
                for of, one in gone.adversarial.items()
                if of[0] == name
                and (united := _united([*filter(None, [adversarial.get(of)]), one])) is not None
            }
            if len(kept) == len(entry.records) and _same(adversarial, entry.adversarial):
                continue
            outcomes = {k: v for k, v in entry.outcomes.items() if k in ids}
            self._save(
                name, replace(entry, records=kept, outcomes=outcomes, adversarial=adversarial)
            )
            written.append(name)
        self._drop_unbroken(written)
        with explained(f"cannot remove {self.root / model}"):  # last: until then nothing is lost
            shutil.rmtree(own_folder(self.root / model))
        return written

    def _drop_unbroken(self, models: Sequence[str]) -> None:
        """Keep no image that nothing on record breaks any more."""
        if not self.entries:
            return
        results = self.results()
        by_id = {record.id: record for record in results.records}
        for name in models:
            entry = self.entries[name]
            kept: dict[Trained, Adversarial] = {}
            for (model, seed), one in entry.adversarial.items():
                still = np.isin(one.image, broken_images(by_id, results.columns, model, seed))
                kept[model, seed] = Adversarial(one.image[still], one.x_adv[still])
            self._save(name, replace(entry, adversarial=kept))

    def _check(self, results: Results, here: Mapping[str, Record]) -> None:
        every = [*results.records, *here.values()]
        protocols = {record.task.protocol.sha256 for record in every}
        data = {
            (r.task.data.sha256, r.task.data.images) for r in every if r.task.kind != "training"
        }
        if len(protocols) > 1:
            raise StoreError(f"results of another protocol than those in {self.root}")
        if len(data) > 1:
            raise StoreError(f"results on other images than those in {self.root}")
        if len({record.task.norm for record in every if record.task.kind == "attack"}) > 1:
            raise StoreError(f"attacks in another norm than those in {self.root}")
        weights = {_trained(record): record.weights for record in here.values() if record.weights}
        for record in results.records:
            of = _trained(record)
            if record.weights and weights.get(of, record.weights) != record.weights:
                raise StoreError(
                    f"{of[0]} seed {of[1]} has other weights in {self.root}: raise the model's "
                    "revision, or take it out first with 'qbench leaderboard remove'"
                )

    def _write(self, model: str, records: Sequence[Record], results: Results) -> None:
        entry, old = self.entries.get(model), results.cards.get(model)
        card = entry.card if entry else old
        if card is None:
            raise StoreError(f"the results hold no card of {model!r}")
        merged = {record.id: record for record in (*(entry.records if entry else ()), *records)}
        outcomes = dict(entry.outcomes) if entry else {}
        for record in records:
            if record.outcomes is not None:
                outcomes[record.id] = results.columns(record)
        adversarial = dict(entry.adversarial) if entry else {}
        for target in sorted({_trained(record) for record in records}):
            if model != target[0] and target[0] not in self.entries:
                continue  # that folder is still to come, and takes them all
            missing = self._beyond(target, records, results)
            if missing is not None:
                united = _united([missing, *filter(None, [adversarial.get(target)])])
                adversarial |= {target: united} if united is not None else {}
        ordered = tuple(sorted(merged.values(), key=lambda record: record.id))
        environments = {**(entry.environments if entry else {}), **results.environments}
        used = {record.environment for record in ordered}
        self._save(
            model,
            Entry(
                card=card,
                weights={
                    r.task.model.seed: r.weights
                    for r in ordered
                    if r.weights is not None and r.task.model.name == model
                },
                environments={name: environments[name] for name in sorted(used)},
                commands=tuple(
                    dict.fromkeys((*(entry.commands if entry else ()), *results.commands))
                ),
                records=ordered,
                outcomes=outcomes,
                adversarial=adversarial,
            ),
        )

    def _beyond(
        self, target: Trained, records: Sequence[Record], results: Results
    ) -> Adversarial | None:
        """The images of a trained model that are not kept here, or that new records break more than
        those here do; None where there is none."""
        found, known = results.adversarial(*target), self.adversarial(*target)
        if found is None or known is None:
            return found
        here, new = self._about(target), {r.id: r for r in records if _trained(r) == target}
        at = at_ranking_budget(here | new, *target)
        more = least_margins((r for r in at if r.id in new), results.columns)
        less = least_margins((r for r in at if r.id not in new), self._columns)
        chosen = ~np.isin(found.image, known.image)
        if more is not None and less is not None:
            chosen |= more[found.image] < less[found.image]
        return Adversarial(found.image[chosen], found.x_adv[chosen]) if chosen.any() else None

    def _save(self, model: str, entry: Entry) -> None:
        if not _FOLDER.fullmatch(model):
            raise StoreError(f"{model!r} is no name of a folder")
        write_entry(self.root, model, entry)
        self.entries[model] = entry


@contextmanager
def _without_collector() -> Iterator[None]:
    """Thousands of records are made and none is dropped: looking for garbage doubles the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _united(
    found: Sequence[Adversarial], margins: Sequence[NDArray[np.float64]] | None = None
) -> Adversarial | None:
    """Images of several sources, one of each, by place: that with the smallest margin, or where
    these are equal or not given that of the first source."""
    if not found:
        return None
    places = np.concatenate([one.image for one in found])
    order = np.argsort(
        np.zeros(len(places)) if margins is None else np.concatenate(margins), kind="stable"
    )
    image, first = np.unique(places[order], return_index=True)
    return Adversarial(image, np.concatenate([one.x_adv for one in found])[order][first])


def _same(one: Mapping[Trained, Adversarial], other: Mapping[Trained, Adversarial]) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(one[of].image, other[of].image)
        and np.array_equal(one[of].x_adv, other[of].x_adv)
        for of in one
    )


def _trained(record: Record) -> Trained:
    return record.task.model.name, record.task.model.seed


def _models(record: Record) -> set[str]:
    """The models that a record is about: its target and, of a transfer, the source."""
    source = {record.task.source.name} if record.task.kind == "transfer" else set()
    return {record.task.model.name, *source}

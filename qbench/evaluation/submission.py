"""A submission: one folder with all that belongs to new models, as a pull request adds it.

    README.md                        text of the pull request
    results/PROTOCOL/MODEL/          the models' entries, as the archive keeps them
    weights/                         a zoo: manifest.json and one safetensors file a model and seed
    plugins/NAME/NAME.py             the plugin's file, with the modules beside it that it imports

Whoever wrote it, nothing here runs a line of it: a plugin's file is hashed, and is loaded only if
the user names it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from qbench.errors import StoreError
from qbench.files import read_file
from qbench.plugin_files import PluginFile
from qbench.protocols import Protocol
from qbench.records.record import Card, Record
from qbench.weights.zoo import MANIFEST, Zoo

README, RESULTS, WEIGHTS, PLUGINS = "README.md", "results", "weights", "plugins"
_LARGEST = 2**20  # bytes of a text
_MOST_FILES = 2000
_FILE_VERSION = re.compile(r"[0-9a-f]{64}")  # of a plugin that is a file: its SHA-256
_SOURCE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\.py")


def is_submission(path: Path) -> bool:
    """Whether a folder is laid out as a submission."""
    return (path / RESULTS).is_dir()


@dataclass(frozen=True)
class Submission:
    """A submission whose files were looked at.

    Args:
        root: The folder.
        plugins: The plugins' files that it holds, by their SHA-256.
    """

    root: Path
    plugins: Mapping[str, Path]

    @property
    def zoo(self) -> Zoo:
        """Its weights."""
        return Zoo(self.root / WEIGHTS)

    @classmethod
    def read(cls, root: Path) -> Submission:
        """Look at every file: regular ones of the known kinds in the known places, no links.

        Raises:
            StoreError: Naming the first that does not belong there, or was changed.
        """
        if root.is_symlink():
            raise StoreError(f"{root} is a link: name the folder itself")
        _check_kinds(root)
        for path in sorted(root.iterdir()):
            if path.name not in (README, RESULTS, WEIGHTS, PLUGINS):
                raise StoreError(f"{path} does not belong in a submission: remove it")
        if not (root / README).is_file():
            raise StoreError(f"{root / README} is missing: 'qbench submit' writes it")
        _check_text(root / README)
        _check_weights(root / WEIGHTS)
        return cls(root, dict(_plugins(root / PLUGINS)))

    def problems(self, cards: Mapping[str, Card]) -> Iterator[str]:
        """Where the plugins' files are not those that the models' cards name: a line each."""
        named = {c.version for c in cards.values() if is_file_version(c.version)}
        for name, card in sorted(cards.items()):
            if is_file_version(card.version) and card.version not in self.plugins:
                yield (
                    f"card of {name}: the file of plugin {card.plugin!r} with SHA-256 "
                    f"{card.version} is not in {PLUGINS}/"
                )
        for sha256, path in sorted(self.plugins.items()):
            if sha256 not in named:
                yield f"{path.relative_to(self.root)} has SHA-256 {sha256}: no card names it"


def is_file_version(version: str) -> bool:
    """Whether a plugin's version says that it is a file, and not an installed package."""
    return _FILE_VERSION.fullmatch(version) is not None


def required_attacks(protocol: Protocol, board: Iterable[Record]) -> tuple[str, ...]:
    """Labels of the attacks without which a model has no rank: the protocol's first one, and those
    of the board that it is for."""
    labels = {str(r.label) for r in board if r.task.kind == "attack" and r.exact}
    first = {protocol.first_attack} if protocol.first_attack else set()
    return tuple(sorted(labels | first))


def lacking(
    records: Iterable[Record], model: str, protocol: Protocol, required: Iterable[str]
) -> Iterator[str]:
    """What a model lacks to be admitted, and what to do: a line each.

    Args:
        records: Of exact scores; those of other models are passed over.
        model: Its name.
        protocol: With all its seeds and budgets.
        required: Labels of attacks.
    """
    own = [record for record in records if record.task.model.name == model]
    attacks = [record for record in own if record.task.kind == "attack"]
    if missing := sorted(set(protocol.seeds) - {record.task.model.seed for record in attacks}):
        yield f"it was not attacked with seeds {missing}: run it again without --seeds"
        return
    for record in own:
        if record.status == "failed":
            yield f"the {record.title} failed ({record.reason}): mend it, and run it again"
    status = {(r.label, r.task.model.seed, getattr(r.task, "eps", 0)): r.status for r in attacks}
    for label in required:
        budgets = [
            eps
            for eps in protocol.eps
            if any((label, seed, eps) not in status for seed in protocol.seeds)
        ]
        if budgets:
            shown = ", ".join(f"{eps:g}" for eps in budgets)
            yield (
                f"no {label} at ε = {shown} for some seeds: run it again with --attacks "
                f"{','.join(required)} and without --eps"
            )


def _check_kinds(root: Path) -> None:
    """Folders and regular files only, and not too many."""
    count = 0
    for folder, names, files in os.walk(root):
        for name in (*names, *files):
            path, count = Path(folder) / name, count + 1
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                raise StoreError(f"{path} is a link: a submission holds files only")
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise StoreError(f"{path} is no regular file: remove it")
            if count > _MOST_FILES:
                raise StoreError(f"{root} holds more than {_MOST_FILES} files")


def _check_text(path: Path) -> bytes:
    content = read_file(path, _LARGEST)
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise StoreError(f"{path} is no text in UTF-8: {error.reason}") from error
    return content


def _check_weights(folder: Path) -> None:
    """Safetensors that the manifest names, and nothing else."""
    if not folder.exists():
        return
    _check_text(folder / MANIFEST)
    named = Zoo(folder).manifest()
    there = {path.name for path in folder.iterdir()} - {MANIFEST}
    for name in sorted(there ^ set(named)):
        what = "is not in its manifest" if name in there else "is in its manifest, and not there"
        raise StoreError(f"{folder / name} {what}")
    for name in sorted(named):
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*-seed\d+\.safetensors", name) is None:
            raise StoreError(f"{folder / name} is no file of weights: only safetensors are taken")


def _plugins(folder: Path) -> Iterator[tuple[str, Path]]:
    """Each plugin's file with the SHA-256 of all its source; none is loaded."""
    for place in sorted(folder.iterdir()) if folder.exists() else ():
        main = place / f"{place.name}.py"
        if not main.is_file():
            raise StoreError(f"{place} holds no {place.name}.py: a plugin's file has its name")
        for path in sorted(place.iterdir()):
            if _SOURCE.fullmatch(path.name) is None:
                raise StoreError(f"{path} is no Python module: it does not belong there")
            _check_text(path)
        file = PluginFile.read(main)
        odd = {p.stem for p in place.iterdir()} - {file.name, *dict(file.helpers)}
        if odd:
            raise StoreError(f"{place / min(odd)}.py is not imported by {main.name}: remove it")
        yield file.sha256, main

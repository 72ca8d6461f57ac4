"""The files of one model in the archive: how they are written, and read without trusting them.

`card.toml` holds facts, hashes and versions, `records.jsonl.gz` one line a record in the order of
identities, and `images.npz` the per-image outcomes with equal rows kept once, and the worst images
at the ranking budget.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import shutil
import tempfile
import tomllib
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZIP_LZMA

import numpy as np
import tomlkit
from numpy.typing import NDArray

from qbench.errors import StoreError
from qbench.files import explained, own_folder, read_file, sync_folder, write_atomically
from qbench.records.columns import Columns, conform, fingerprint, from_npz, to_npz
from qbench.records.palette import from_palette, to_palette
from qbench.records.record import Card, Environment, Record
from qbench.records.results import Adversarial
from qbench.records.store import check_environment, first_error
from qbench.text import command_line

CARD, RECORDS, IMAGES = "card.toml", "records.jsonl.gz", "images.npz"
FILES = (CARD, RECORDS, IMAGES)
_IMAGES = ("image", "values", "x_adv")  # arrays of the worst images of a model and seed
_OF_IMAGES = re.compile(rf"([A-Za-z0-9][A-Za-z0-9._-]*)@(\d{{1,18}})\.({'|'.join(_IMAGES)})")
_LARGEST = 64 * 2**20  # bytes of one file, and of the records in it

Outcomes = Mapping[str, Mapping[str, NDArray[Any]]]
Trained = tuple[str, int]


@dataclass(frozen=True)
class Entry:
    """One model's folder.

    Args:
        card: Facts about the model.
        weights: Fingerprint of the weights by seed.
        environments: Versions by short hash.
        commands: What was typed.
        records: Ordered by identity.
        outcomes: Columns by identity.
        adversarial: The worst images of a model, by name, and seed: this one's, and those of others
            that only a transfer recorded here broke.
    """

    card: Card
    weights: Mapping[int, str]
    environments: Mapping[str, Environment]
    commands: tuple[str, ...]
    records: tuple[Record, ...]
    outcomes: Outcomes
    adversarial: Mapping[Trained, Adversarial]


def write_entry(root: Path, model: str, entry: Entry) -> None:
    """Write a model's folder: the old one stands until the new one is whole.

    Raises:
        StoreError: It cannot be written.
    """
    contents = _contents(entry)
    with explained(f"cannot write {root / model}"):
        root.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=".qbench-", dir=root))
        try:
            for name, content in contents.items():
                write_atomically(fresh / name, content)
            fresh.chmod(0o755)
            if (root / model).exists():
                shutil.rmtree(own_folder(root / model))
            fresh.rename(root / model)
            sync_folder(root)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def _contents(entry: Entry) -> dict[str, bytes]:
    lines = "".join(f"{record.to_json()}\n" for record in entry.records)
    contents = {
        RECORDS: gzip.compress(lines.encode(), mtime=0),
        IMAGES: to_npz(
            _stacked(entry.records, entry.outcomes) | _flat(entry.adversarial), ZIP_LZMA
        ),
    }
    document = tomlkit.document()
    about = entry.card.model_dump(mode="json", exclude_none=True)
    recipe = about.pop("recipe")
    for key, value in about.items():
        document[key] = value
    document["recipe"] = recipe
    document["weights"] = {f"seed{seed}": entry.weights[seed] for seed in sorted(entry.weights)}
    document["files"] = {n: hashlib.sha256(c).hexdigest() for n, c in contents.items()}
    document["provenance"] = {
        "commands": list(entry.commands),
        "environments": {name: dict(entry.environments[name]) for name in entry.environments},
    }
    return {CARD: tomlkit.dumps(document).encode(), **contents}


def read_entry(folder: Path) -> Entry:
    """One model's folder, checked: files, hashes, schema, columns.

    Raises:
        StoreError: Naming the file and what is wrong with it.
    """
    names = {path.name for path in folder.iterdir()}
    if names != set(FILES):
        odd = sorted(names ^ set(FILES))[0]
        word = "is missing" if odd not in names else "does not belong there"
        raise StoreError(f"{folder}: {odd} {word}")
    contents = {name: read_file(folder / name, _LARGEST) for name in FILES}
    try:
        about: dict[str, Any] = tomllib.loads(contents[CARD].decode())
        hashes, provenance = about.pop("files"), about.pop("provenance")
        weights = {int(key.removeprefix("seed")): str(v) for key, v in about.pop("weights").items()}
        card = Card.model_validate(about)
        environments = dict(provenance["environments"])
        commands = tuple(command_line(str(command)) for command in provenance["commands"])
        for name, values in environments.items():
            check_environment(name, values)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{folder / CARD} is damaged: {first_error(error)}") from error
    if card.name != folder.name:
        raise StoreError(f"{folder / CARD} is the card of {card.name!r}")
    for name in FILES[1:]:
        found = hashlib.sha256(contents[name]).hexdigest()
        if hashes.get(name) != found:
            raise StoreError(f"{folder / name} was changed: SHA-256 is {found}")
    records = _read_records(folder / RECORDS, contents[RECORDS])
    for record in records:
        of = record.task.model
        if of.name == card.name and record.weights not in (None, weights.get(of.seed)):
            raise StoreError(
                f"{folder}: the weights of seed {of.seed} on the card are not those of the records"
            )
    arrays = from_npz(contents[IMAGES], str(folder / IMAGES))
    of_records = {name: array for name, array in arrays.items() if "@" not in name}
    outcomes = _read_outcomes(folder / IMAGES, of_records, records)
    of_images = {name: array for name, array in arrays.items() if "@" in name}
    adversarial = _read_adversarial(folder / IMAGES, of_images)
    return Entry(card, weights, environments, commands, records, outcomes, adversarial)


def _read_records(path: Path, content: bytes) -> tuple[Record, ...]:
    try:
        with gzip.open(io.BytesIO(content)) as file:
            text = file.read(_LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise StoreError(f"{path} is damaged: {error}") from error
    if len(text) > _LARGEST:
        raise StoreError(f"{path} would inflate to more than {_LARGEST >> 20} MiB")
    records, last = [], ""
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            record = Record.from_json(line)
        except (ValueError, TypeError) as error:
            raise StoreError(f"{path}, line {number}: {first_error(error)}") from error
        if record.id <= last:
            raise StoreError(f"{path}, line {number}: stands twice, or out of order")
        records.append(record)
        last = record.id
    return tuple(records)


def _stacked(records: Sequence[Record], outcomes: Outcomes) -> dict[str, NDArray[Any]]:
    """All columns as a few arrays: equal rows once, and for each record the number of its row.

    `NAME.SHAPE` holds the rows of a column of one shape, `NAME.SHAPE.of` (k, 2) pairs of a record's
    place and its row.
    """
    rows: defaultdict[str, list[NDArray[Any]]] = defaultdict(list)
    places: defaultdict[str, dict[bytes, int]] = defaultdict(dict)
    owners: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for number, record in enumerate(records):
        for name, column in outcomes.get(record.id, {}).items():
            key = f"{name}.{'x'.join(map(str, column.shape))}"
            content = column.tobytes()
            row = places[key].setdefault(content, len(rows[key]))
            if row == len(rows[key]):
                rows[key].append(column)
            owners[key].append((number, row))
    arrays: dict[str, NDArray[Any]] = {}
    for key in sorted(rows):
        arrays[key] = np.stack(rows[key])
        arrays[f"{key}.of"] = np.array(owners[key], np.int32)
    return arrays


def _read_outcomes(path: Path, arrays: Columns, records: Sequence[Record]) -> Outcomes:
    found: defaultdict[int, dict[str, NDArray[Any]]] = defaultdict(dict)
    for key, array in arrays.items():
        if key.endswith(".of"):
            continue
        of = arrays.get(f"{key}.of")
        if (
            (of is None or array.ndim < 2)
            or (of.ndim != 2 or of.shape[1] != 2)
            or of.dtype != np.int32
        ):
            raise StoreError(f"{path} is damaged: {key} says not whose rows it holds")
        for number, row in of.tolist():
            if not (0 <= number < len(records) and 0 <= row < len(array)):
                raise StoreError(
                    f"{path} is damaged: {key} names a record or row that is not there"
                )
            found[number][key.split(".")[0]] = array[row]
    outcomes = {}
    for number, record in enumerate(records):
        if record.outcomes is None and number not in found:
            continue
        try:
            columns = conform(found[number], record.task.kind, record.task.data.images)
        except (ValueError, KeyError) as error:
            raise StoreError(f"{path}: outcomes of the {record.title}: {error}") from error
        if fingerprint(columns) != record.outcomes:
            raise StoreError(f"{path}: outcomes of the {record.title} were changed")
        outcomes[record.id] = columns
    return outcomes


def _flat(adversarial: Mapping[Trained, Adversarial]) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    for (model, seed), one in sorted(adversarial.items()):
        parts: tuple[NDArray[Any], ...] = (one.image, *to_palette(one.x_adv))
        for name, array in zip(_IMAGES, parts, strict=True):
            arrays[f"{model}@{seed}.{name}"] = array
    return arrays


def _read_adversarial(path: Path, arrays: Columns) -> dict[Trained, Adversarial]:
    found: defaultdict[Trained, dict[str, NDArray[Any]]] = defaultdict(dict)
    for name, array in arrays.items():
        match = _OF_IMAGES.fullmatch(name)
        if match is None:
            raise StoreError(f"{path} is damaged: array {name[:80]!r} does not belong there")
        found[match[1], int(match[2])][match[3]] = array
    return {of: _adversarial(path, f"{of[0]}@{of[1]}", found[of]) for of in found}


def _adversarial(path: Path, name: str, arrays: Columns) -> Adversarial:
    try:
        image, values, places = (arrays[part] for part in _IMAGES)
        x_adv = from_palette(values, places)
    except (KeyError, ValueError) as error:
        raise StoreError(f"{path} is damaged: images of {name[:80]}: {error}") from error
    if image.dtype != np.int16 or image.shape != x_adv.shape[:1] or (np.diff(image) <= 0).any():
        raise StoreError(f"{path} is damaged: images of {name[:80]} and their numbers do not fit")
    return Adversarial(image, x_adv)

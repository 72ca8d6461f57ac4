"""A run's results in one SQLite file: atomic, locked while written, readable at any time."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import weakref
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from pydantic import TypeAdapter

from qbench.errors import StoreError
from qbench.files import locked
from qbench.records.columns import conform, fingerprint, from_npz, to_npz
from qbench.records.record import Card, Environment, Record
from qbench.records.results import Adversarial, Result, Results, current
from qbench.records.schema import canonical_sha256
from qbench.records.worst import worst_images
from qbench.text import command_line, one_line

FILE = "results.sqlite"
VERSION = 2
_TABLES = """
CREATE TABLE IF NOT EXISTS records (id TEXT PRIMARY KEY, model TEXT, record TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blobs
    (id TEXT, name TEXT, sha256 TEXT, content BLOB, PRIMARY KEY (id, name));
CREATE TABLE IF NOT EXISTS cards (model TEXT PRIMARY KEY, card TEXT);
CREATE TABLE IF NOT EXISTS environments (name TEXT PRIMARY KEY, environment TEXT);
CREATE TABLE IF NOT EXISTS commands (command TEXT PRIMARY KEY);
"""
_NAMES = {"records", "blobs", "cards", "environments", "commands"}
OUTCOMES, ARTIFACT = "outcomes", "artifact"
_LONGEST = 256 * 2**20  # bytes of one value


class RunStore:
    """The results of a run, in a folder.

    Args:
        root: The folder; made when it is first written to.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / FILE
        self._open: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for writing; released even by a kill.

        Raises:
            StoreError: The folder cannot be written, or another run holds it.
        """
        if self.path.is_symlink():
            raise StoreError(f"{self.path} is a link: remove it, nothing is written through links")
        with locked(self.root), self._explained(), closing(self._connect()) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(_TABLES)
            connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.commit()
            self._open = connection
            try:
                yield
            finally:
                self._open = None

    def write(self, result: Result) -> None:
        """Keep a finished task, in place of an older result of the same task.

        Raises:
            StoreError: The file cannot be written, or the disk is full.
        """
        with self._writing() as connection:
            _insert(connection, result)

    def adopt(self, results: Results) -> None:
        """Take over the results that are not here, without what tasks left for later ones."""
        here = self.identities()
        with self._writing() as connection:
            for record in results.records:
                if record.id not in here:
                    columns = results.columns(record) if record.outcomes is not None else None
                    card = results.cards.get(record.task.model.name)
                    environment = results.environments.get(record.environment, {})
                    _insert(connection, Result(record, columns, None, card, environment))

    def note_command(self, command: str) -> None:
        """Keep the command that is run, word for word."""
        with self._writing() as connection:
            connection.execute("INSERT OR IGNORE INTO commands VALUES (?)", (command,))

    def find(self, identity: str) -> Record | None:
        """The record of a task; None where there is none, or a damaged one, which is none."""
        row = self._row("SELECT record FROM records WHERE id = ?", identity)
        if row is None:
            return None
        try:
            record = Record.from_json(row[0])
            if record.outcomes is not None:
                self.columns(record)
        except (ValueError, TypeError, StoreError):
            return None
        return record if record.id == identity else None

    def columns(self, record: Record) -> dict[str, NDArray[Any]]:
        """The per-image outcomes of a record, checked.

        Raises:
            StoreError: They are missing or damaged.
        """
        content = self._blob(record, OUTCOMES)
        if content is None:
            raise StoreError(f"{self.path}: no outcomes of the {record.title}: run it again")
        found = read_columns(content, record, f"outcomes of the {record.title} in {self.path}")
        if fingerprint(found) != record.outcomes:
            raise StoreError(f"{self.path}: outcomes of the {record.title} were changed")
        return found

    def artifact(self, record: Record) -> bytes | None:
        """What a task left for later ones; None where it is missing or damaged."""
        return self._blob(record, ARTIFACT)

    def records(self) -> list[Record]:
        """Every record, ordered by identity.

        Raises:
            StoreError: There is none, or one is damaged.
        """
        found = []
        for identity, text in self._rows("SELECT id, record FROM records ORDER BY id"):
            try:
                record = Record.from_json(text)
            except (ValueError, TypeError) as error:
                raise StoreError(
                    f"a record in {self.path} is damaged ({first_error(error)}): the same "
                    "'qbench run' does it again"
                ) from error
            if record.id != identity:
                raise StoreError(f"a record in {self.path} has another identity than its own")
            found.append(record)
        if not found:
            raise StoreError(
                f"no results in {self.root}: run 'qbench run' first, or name its --out folder"
            )
        return found

    def results(self) -> Results:
        """Everything, for a report.

        Raises:
            StoreError: There is nothing, or it is damaged.
        """
        every = self.records()
        records, superseded = current(every)
        return Results(
            records=records,
            columns=self.columns,
            cards={card.name: card for card in self._cards()},
            environments=self.environments(),
            commands=self._commands(),
            adversarial=partial(self._adversarial, {r.id: r for r in every}),
            superseded=superseded,
        )

    def environments(self) -> dict[str, Environment]:
        """Versions by the short hash that records name.

        Raises:
            StoreError: They are damaged.
        """
        found = {}
        for name, text in self._rows("SELECT * FROM environments ORDER BY name"):
            try:
                found[name] = check_environment(name, json.loads(text))
            except (ValueError, TypeError, RecursionError) as error:
                raise StoreError(
                    f"versions in {self.path} are damaged: {first_error(error)}"
                ) from error
        return found

    def _commands(self) -> tuple[str, ...]:
        rows = self._rows("SELECT command FROM commands ORDER BY rowid")
        try:
            return tuple(command_line(str(command)) for (command,) in rows)
        except ValueError as error:
            raise StoreError(f"a command in {self.path} is damaged: {error}") from error

    def identities(self) -> set[str]:
        """Of every record."""
        return {identity for (identity,) in self._rows("SELECT id FROM records")}

    def _adversarial(
        self, records: Mapping[str, Record], model: str, seed: int
    ) -> Adversarial | None:
        return worst_images(records, self.columns, self._x_adv, model, seed)

    def _x_adv(self, record: Record) -> NDArray[Any] | None:
        content = self.artifact(record)
        return None if content is None else from_npz(content, f"images in {self.path}")["x_adv"]

    def _cards(self) -> list[Card]:
        try:
            rows = self._rows("SELECT card FROM cards ORDER BY model")
            return [Card.model_validate_json(text) for (text,) in rows]
        except ValueError as error:
            raise StoreError(f"a card in {self.path} is damaged: {first_error(error)}") from error

    def _blob(self, record: Record, name: str) -> bytes | None:
        query = "SELECT sha256, content FROM blobs WHERE id = ? AND name = ?"
        row = self._row(query, record.id, name)
        if row is None or hashlib.sha256(row[1]).hexdigest() != row[0]:
            return None
        return bytes(row[1])

    def _row(self, query: str, *values: str) -> tuple[Any, ...] | None:
        rows = self._rows(query, *values)
        return rows[0] if rows else None

    def _rows(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        if self._open is not None:
            with self._explained():
                return self._open.execute(query, values).fetchall()
        if not self.path.is_file():
            return []
        with self._explained():
            if self._reader is None:
                reader = self._connect(readonly=True)
                if not reader.execute("SELECT 1 FROM sqlite_master").fetchone():
                    reader.close()  # another process is about to fill it
                    return []
                self._reader = reader
                weakref.finalize(self, self._reader.close)
            return self._reader.execute(query, values).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        assert self._open is not None, "the store is written while it is locked"
        with self._explained(), self._open:
            yield self._open

    def _connect(self, *, readonly: bool = False) -> sqlite3.Connection:
        mode = "ro" if readonly else "rwc"
        uri = f"{self.path.resolve().as_uri()}?mode={mode}"
        # A store that is collected in another thread is closed there.
        connection = sqlite3.connect(uri, uri=True, timeout=60, check_same_thread=False)
        # The file may be a stranger's: no code of its schema runs, and no value is endless.
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        schema = connection.execute("SELECT type, tbl_name FROM sqlite_master").fetchall()
        if schema and (
            version != VERSION
            or any(t not in ("table", "index") or n not in _NAMES for t, n in schema)
        ):
            connection.close()
            raise StoreError(f"{self.path} holds no results of this version: name another folder")
        return connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(
                f"cannot use {self.path}: {error}; free space, or move the file away and run again"
            ) from error


def _insert(connection: sqlite3.Connection, result: Result) -> None:
    record = result.record
    blobs: dict[str, bytes] = {}
    if result.columns is not None:
        blobs[OUTCOMES] = to_npz(result.columns)
    if result.artifact is not None:
        blobs[ARTIFACT] = result.artifact
    connection.execute("DELETE FROM blobs WHERE id = ?", (record.id,))
    for name, content in blobs.items():
        sha256 = hashlib.sha256(content).hexdigest()
        row: tuple[Any, ...] = (record.id, name, sha256, content)
        connection.execute("INSERT INTO blobs VALUES (?, ?, ?, ?)", row)
    row = (record.id, record.task.model.name, record.to_json())
    connection.execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?)", row)
    if result.card is not None:
        row = (result.card.name, result.card.model_dump_json())
        connection.execute("INSERT OR REPLACE INTO cards VALUES (?, ?)", row)
    row = (record.environment, json.dumps(result.environment, sort_keys=True))
    connection.execute("INSERT OR IGNORE INTO environments VALUES (?, ?)", row)


def read_columns(content: bytes, record: Record, what: str) -> dict[str, NDArray[Any]]:
    """Per-image outcomes of a record from the bytes of their file.

    Raises:
        StoreError: They are not those of such a record.
    """
    try:
        return conform(from_npz(content, what), record.task.kind, record.task.data.images)
    except ValueError as error:
        raise StoreError(f"{what} are damaged: {error}") from error


def environment_name(environment: Environment) -> str:
    """The short hash that records name an environment by."""
    return canonical_sha256(environment)[:16]


_ENVIRONMENT: TypeAdapter[Environment] = TypeAdapter(Environment)


def check_environment(name: str, values: Any) -> Environment:
    """Versions that records call by a name.

    Raises:
        ValueError: They are no versions, or others than those of that name.
    """
    found = _ENVIRONMENT.validate_python(values)
    if environment_name(found) != name:
        raise ValueError(f"the versions {one_line(name, 40)} were changed")
    return found


def first_error(error: Exception) -> str:
    """The first thing that is wrong, in one line."""
    errors = getattr(error, "errors", None)
    if not callable(errors):
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    first = errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])

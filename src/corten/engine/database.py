"""The database of one data root: SQLite in WAL mode, one connection, used by the event loop's thread alone."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from corten.errors import CortenError, DataCorrupt

T = TypeVar("T")


class Database:
    """The connection. Commits are lazy (``synchronous=NORMAL``: whole after a crash, perhaps without the last
    moment) unless a transaction asks to be durable (``FULL``: on disk before it is acknowledged)."""

    def __init__(self, path: Path) -> None:
        try:
            self.connection = sqlite3.connect(path, isolation_level=None)
            self.connection.execute("PRAGMA journal_mode = WAL")
            self.connection.execute("PRAGMA synchronous = NORMAL")
        except sqlite3.Error as error:
            raise CortenError(f"open {path}: {error}") from error

    @contextlib.contextmanager
    def transaction(self, *, durable: bool) -> Iterator[sqlite3.Connection]:
        """All or nothing. Raises CortenError when the database cannot be written (a full disk)."""
        db = self.connection
        try:
            if durable:
                db.execute("PRAGMA synchronous = FULL")
            with self._all_or_nothing():
                yield db
        except sqlite3.Error as error:
            raise CortenError(f"write the engine's database: {error}") from error
        finally:
            if durable:
                db.execute("PRAGMA synchronous = NORMAL")

    @contextlib.contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Write back what is in the log and let go."""
        self.connection.close()


class Table:
    """Values by key, each one row of JSON: what has a type of its own in Python needs no columns in SQL."""

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self._name = name
        with database.transaction(durable=True) as db:
            db.execute(f"CREATE TABLE IF NOT EXISTS {name} (id TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT")

    def load(self, kind: type[T]) -> list[T]:
        """Every value. Raises DataCorrupt naming the row that cannot be understood."""
        rows = self._database.connection.execute(f"SELECT id, value FROM {self._name}")  # noqa: S608
        return [self._decode(kind, key, value) for key, value in rows]

    def _decode(self, kind: type[T], key: str, value: bytes) -> T:
        try:
            return msgspec.json.decode(value, type=kind)
        except msgspec.ValidationError:
            return self._decode_loosely(kind, key, value)
        except msgspec.DecodeError as error:
            raise DataCorrupt(f"read {self._name} {key}: {error}") from error

    def _decode_loosely(self, kind: type[T], key: str, value: bytes) -> T:
        """Of an engine that wrote down whatever a client had sent: without nulls, numbers in quotes as numbers."""
        try:
            return msgspec.convert(_without_nulls(msgspec.json.decode(value)), kind, strict=False)
        except msgspec.DecodeError as error:
            raise DataCorrupt(f"read {self._name} {key}: {error}") from error

    def put(self, key: str, value: object, *, durable: bool = False) -> None:
        """Insert or replace."""
        with self._database.transaction(durable=durable) as db:
            db.execute(f"REPLACE INTO {self._name} VALUES (?, ?)", (key, msgspec.json.encode(value)))  # noqa: S608

    def write(self, rows: Mapping[str, object | None], *, durable: bool = False) -> None:
        """Insert or replace several, and delete those whose value is None: all or nothing."""
        with self._database.transaction(durable=durable) as db:
            for key, value in rows.items():
                if value is None:
                    db.execute(f"DELETE FROM {self._name} WHERE id = ?", (key,))  # noqa: S608
                else:
                    row = (key, msgspec.json.encode(value))
                    db.execute(f"REPLACE INTO {self._name} VALUES (?, ?)", row)  # noqa: S608

    def delete(self, key: str) -> None:
        """Forget a row."""
        with self._database.transaction(durable=False) as db:
            db.execute(f"DELETE FROM {self._name} WHERE id = ?", (key,))  # noqa: S608


def _without_nulls(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nulls(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {name: _without_nulls(one) for name, one in value.items() if one is not None}

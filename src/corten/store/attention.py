"""What users make of images beside their names: when they were used last, and which are never to go by themselves."""

from __future__ import annotations

import sqlite3
import time

TABLES = """
CREATE TABLE IF NOT EXISTS image_uses (
    image_id TEXT PRIMARY KEY,
    used     REAL NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS image_pins (
    image_id TEXT PRIMARY KEY
) STRICT
"""


class Attention:
    """Of one database; belongs to the thread that uses its connection."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        for statement in TABLES.split(";"):
            db.execute(statement)
        self._used: dict[str, float] = dict(db.execute("SELECT image_id, used FROM image_uses"))
        self._pins = {id for (id,) in db.execute("SELECT image_id FROM image_pins")}

    def used(self, image_id: str) -> None:
        """Note a use. What a crash forgets of it makes an image look older than it is, no more."""
        self._used[image_id] = time.time()
        self._db.execute("REPLACE INTO image_uses VALUES (?, ?)", (image_id, self._used[image_id]))

    def last_used(self, image_id: str) -> float:
        """Seconds since the epoch; 0 for never."""
        return self._used.get(image_id, 0.0)

    def pin(self, image_id: str, pinned: bool) -> None:
        """Let an image stay, or let it go."""
        if pinned:
            self._db.execute("REPLACE INTO image_pins VALUES (?)", (image_id,))
            self._pins.add(image_id)
        else:
            self._db.execute("DELETE FROM image_pins WHERE image_id = ?", (image_id,))
            self._pins.discard(image_id)

    def is_pinned(self, image_id: str) -> bool:
        """Whether an image stays."""
        return image_id in self._pins

    def forget(self, image_id: str) -> None:
        """The image is gone."""
        self.pin(image_id, False)
        self._used.pop(image_id, None)
        self._db.execute("DELETE FROM image_uses WHERE image_id = ?", (image_id,))

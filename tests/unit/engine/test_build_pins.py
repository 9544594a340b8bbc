"""What the cache of builds pins, read without the builder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from corten.build.ground import Record
from corten.build.state import Layer
from corten.engine.build_cache import BuildCache
from corten.engine.build_pins import BuildPins
from corten.engine.database import Database


def _layer(number: int) -> Layer:
    digest, diff_id = (f"sha256:{number:064x}", f"sha256:{number + 100:064x}")
    return Layer(digest, 1, "application/vnd.oci.image.layer.v1.tar", diff_id)


def test_they_are_those_of_the_cache_itself(tmp_path: Path) -> None:
    database = Database(tmp_path / "db")
    cache = BuildCache(database)
    cache.keep("a", Record(_layer(1), "2026-01-01T00:00:00Z"), (), 1)
    cache.keep("b", Record(_layer(2), "2026-01-01T00:00:00Z"), (_layer(1),), 1)
    cache.keep("c", Record(None, "2026-01-01T00:00:00Z"), (), 0)
    found = BuildPins(database).pins()
    assert found == cache.pins()
    assert (len(found[0]), len(found[1])) == (2, 2)
    database.close()


def test_they_take_no_builder() -> None:
    program = "import sys, corten.engine.build_pins; print([n for n in sys.modules if n.startswith('corten.build')])"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said == "[]\n"

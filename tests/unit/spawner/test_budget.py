"""What the spawner imports is forked with every container: it is budgeted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[3] / "src"
FORBIDDEN = {
    "asyncio", "concurrent", "email", "h11", "http", "logging", "msgspec", "rich", "sqlite3", "ssl", "subprocess",
    "urllib.request", "urllib3", "zstandard",
}  # fmt: skip
MOST_MODULES = 180


def loaded() -> set[str]:
    code = f"import sys; sys.path.insert(0, {str(SOURCE)!r}); import corten.spawner.main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_spawner_has_none_of_the_engines_libraries() -> None:
    modules = loaded()
    assert not {name for name in modules if name in FORBIDDEN or name.split(".")[0] in FORBIDDEN}
    floors = ("corten.engine", "corten.api", "corten.store", "corten.registry")
    assert not {name for name in modules if name.startswith(floors)}
    assert len(modules) <= MOST_MODULES, len(modules)

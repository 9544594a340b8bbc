"""The command loads its own modules ahead: from caches that are of the sources as they are, in an order that holds."""

from __future__ import annotations

import compileall
import os
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from corten.cli import FIRST
from corten.cli.main import AHEAD, CLIENT

PACKAGE = Path(__file__).resolve().parents[3] / "src" / "corten"
BY_HASH = py_compile.PycInvalidationMode.CHECKED_HASH
NAMES = ("errors", "cli.options", "wire.__init__", "wire.building")
TELL = f"""
import sys
from corten.cli import preload
preload({NAMES!r})
from corten.cli import options
from corten.wire import building
import corten.errors
for name in ("corten.errors", "corten.cli.options", "corten.wire", "corten.wire.building"):
    module = sys.modules[name]
    print(name, "ahead" if module.__spec__.loader is None else "imported", module.__package__, module.__file__)
print(building.PROTOCOL, corten.wire.building is building, corten.cli.options is options)
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the package whose caches are of its sources."""
    copy = tmp_path / "corten"
    for name in ("__init__", "errors", "cli/__init__", "cli/options", "wire/__init__", "wire/building"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PACKAGE / f"{name}.py", copy / f"{name}.py")
    compileall.compile_dir(copy, quiet=2)
    return tmp_path


def told(tree: Path, *flags: str, code: str = TELL, **environment: str) -> list[str]:
    """What a process says that runs on such a tree."""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", **environment}
    done = subprocess.run([sys.executable, *flags, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def how(tree: Path, *flags: str, **environment: str) -> list[str]:
    """How each module came to be loaded."""
    *modules, last = told(tree, *flags, **environment)
    assert last == "corten-build True True"
    return [line.split()[1] for line in modules]


def test_modules_are_what_the_import_system_makes(tree: Path) -> None:
    ahead = told(tree)
    assert [line.split()[1] for line in ahead[:-1]] == ["ahead"] * 4
    caches = sorted(tree.rglob("*.pyc"))
    for cache in caches:
        cache.unlink()
    assert [line.replace("imported", "ahead") for line in told(tree)] == ahead
    assert caches


def test_a_cache_of_another_source_is_not_taken(tree: Path) -> None:
    options, building = tree / "corten/cli/options.py", tree / "corten/wire/building.py"
    os.utime(options, (1, 1))
    building.write_text(building.read_text() + "\n")
    assert how(tree) == ["ahead", "imported", "ahead", "imported"]


def test_a_cache_is_taken_by_time_and_size_only(tree: Path) -> None:
    compileall.compile_dir(tree / "corten", quiet=2, force=True, invalidation_mode=BY_HASH)
    assert how(tree) == ["imported"] * 4


def test_a_cache_that_is_damaged_is_not_taken(tree: Path) -> None:
    for cache in (tree / "corten/wire/__pycache__").glob("building.*"):
        cache.write_bytes(b"\0" * 16 + cache.read_bytes()[16:])
    assert how(tree) == ["ahead", "ahead", "ahead", "imported"]


def test_a_package_without_a_cache_takes_what_is_in_it_along(tree: Path) -> None:
    for cache in (tree / "corten/wire/__pycache__").glob("__init__.*"):
        cache.unlink()
    assert how(tree) == ["ahead", "ahead", "imported", "imported"]


@pytest.mark.parametrize("flags", [("-O",), ("-X", "pycache_prefix=/nowhere")])
def test_whoever_runs_python_otherwise_has_the_import_system(tree: Path, flags: tuple[str, ...]) -> None:
    assert how(tree, *flags) == ["imported"] * 4


def test_what_comes_too_late_is_there_once(tree: Path) -> None:
    tell = """
import sys
from corten.cli import preload
preload(("wire.__init__", "wire.building", "errors"))
print(sys.modules["corten.wire.building"].DataCorrupt is sys.modules["corten.errors"].DataCorrupt)
"""
    assert told(tree, code=tell) == ["True"]


def test_a_module_that_fails_is_not_left_half_loaded(tree: Path) -> None:
    (tree / "corten/wire/building.py").write_text("raise LookupError('here')\n")
    compileall.compile_dir(tree / "corten/wire", quiet=2, force=True)
    tell = f"""
import sys
from corten.cli import preload
try:
    preload({NAMES!r})
except LookupError as error:
    print(error, "corten.wire.building" in sys.modules)
"""
    assert told(tree, code=tell) == ["here False"]


@pytest.mark.parametrize("place", AHEAD)
def test_each_comes_after_what_it_imports(place: str) -> None:
    tell = f"""
import sys
from corten.cli import preload
found = []
class Watch:
    def find_spec(name, path=None, target=None):
        if name.startswith("corten."):
            found.append(name)
sys.meta_path.insert(0, Watch)
for names in {(FIRST, CLIENT, AHEAD[place])!r}:
    preload(names)
print(found)
"""
    compileall.compile_dir(PACKAGE, quiet=2)
    assert told(PACKAGE.parent, code=tell) == ["[]"]

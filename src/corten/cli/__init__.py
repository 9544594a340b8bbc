"""The command line: one file a command, or a family of small ones.

A command lives for milliseconds, and the import system takes more of them than the code that it loads: for each module
it lists directories, looks for extensions, asks thrice for a file's status, and takes locks. So the modules that a
command is known to need are loaded ahead, by :func:`preload`. What they import of each other is then there; whatever
else they import, the import system finds as ever.
"""

from __future__ import annotations

import marshal
import os
import sys
from _frozen_importlib_external import MAGIC_NUMBER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

FIRST = ("errors", "cli.options", "cli.main")
"""What every command needs, in the order in which it is loaded."""
_Module, _Spec = type(sys), type(__spec__)
_MASK = 0xFFFFFFFF
_HEAD = 16
"""Bytes before the code."""
_INIT = "__init__"


def preload(names: Iterable[str]) -> None:
    """Load modules, named as from ``corten``, each after those that it imports; a package is its ``__init__``.

    The code is Python's own cache of it (PEP 3147), if that is of the source as it is now (PEP 552: by time and size).
    A module without such a cache is left to the import system, as is one that is there already.
    """
    tag = sys.implementation.cache_tag
    if tag is None or sys.pycache_prefix is not None or sys.flags.optimize:
        return
    root, found = __path__[0].removesuffix("/cli"), []
    for name in names:
        place, _, last = name.rpartition(".")
        directory = f"{root}/{place.replace('.', '/')}" if place else root
        full = f"corten.{place if last == _INIT else name}"
        code = None if full in sys.modules else _cached(directory, last, tag)
        if code is not None:
            found.append((full, _module(full, directory, last), code))
    for full, module, _ in found:
        if hasattr(module, "__path__"):  # what is in it comes before what it takes from there
            sys.modules[full] = module
    for full, module, code in found:
        _execute(full, module, code)


def _cached(directory: str, name: str, tag: str) -> bytes | None:
    """The content of a module's cache, if it is of the source as it is now."""
    try:
        descriptor = os.open(f"{directory}/__pycache__/{name}.{tag}.pyc", os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.read(descriptor, os.fstat(descriptor).st_size)
        finally:
            os.close(descriptor)
        status = os.stat(f"{directory}/{name}.py")
    except OSError:
        return None
    made_of = b"".join((value & _MASK).to_bytes(4, "little") for value in (0, int(status.st_mtime), status.st_size))
    return data if data[:_HEAD] == MAGIC_NUMBER + made_of else None


def _module(full: str, directory: str, name: str) -> ModuleType:
    """A module as the import system makes it, before its code has run."""
    module, source = _Module(full), f"{directory}/{name}.py"
    is_package = name == _INIT
    spec = _Spec(full, None, origin=source, is_package=is_package)
    module.__spec__, module.__file__ = spec, source
    module.__package__ = full if is_package else full.rpartition(".")[0]
    if is_package:
        module.__path__ = spec.submodule_search_locations = [directory]
    return module


def _execute(full: str, module: ModuleType, content: bytes) -> None:
    above, _, last = full.rpartition(".")
    package = sys.modules.get(above)
    if package is None or sys.modules.setdefault(full, module) is not module:
        return  # its package had no cache, or what came before has imported it
    try:
        exec(marshal.loads(memoryview(content)[_HEAD:]), module.__dict__)  # noqa: S102, S302  what the import system does
    except BaseException:
        del sys.modules[full]
        raise
    setattr(package, last, module)

"""Works on the shelf (:mod:`corten.runtime.shelf`): layers put there and taken from there, images shown to the host."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from corten.errors import CortenError
from corten.runtime import shelf
from corten.runtime.operations.root import OverlayMount, PrivateMounts
from corten.runtime.stages.context import LaunchContext
from corten.sys import mounts, process

Arguments = dict[str, Any]


def _reporting(act: Callable[[Arguments], None]) -> Callable[[Arguments, list[int]], int]:
    """A work that says, as JSON on its first descriptor, what stopped it; an empty object when nothing did."""

    def run(arguments: Arguments, descriptors: list[int]) -> int:
        told: dict[str, Any] = {}
        try:
            act(arguments)
        except OSError as error:
            told = {"error": f"{error.filename or 'the shelf'}: {os.strerror(error.errno or 0).lower()}"}
        except CortenError as error:
            told = {"error": error.message, "hint": error.hint}
        os.write(descriptors[0], json.dumps(told).encode() + b"\n")
        return 1 if told else 0

    return run


def _put(arguments: Arguments) -> None:
    for name, file in arguments["layers"]:
        shelf.put(shelf.descriptor, name, f"{arguments['base']}/{file}", direct=arguments["direct"])


def _remove(arguments: Arguments) -> None:
    shelf.remove(shelf.descriptor, arguments["layers"])


def _show(arguments: Arguments) -> None:
    """Mount an image where the host sees it: stacked in a tree of this process's own, and moved out from there."""
    view = arguments["view"]
    home = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    process.unshare(process.CLONE_NEWNS)
    context = LaunchContext()
    context.shelf = shelf.descriptor
    PrivateMounts().run(context)
    lowers, files = tuple(view["lowers"]), tuple(view["files"])
    OverlayMount(view["base"], lowers, "", "", view["merged"], view["user_xattrs"], files).run(context)
    mounts.set_attributes(context.root, mounts.MOUNT_ATTR_RDONLY, recursive=False)
    tree = mounts.open_tree(context.root, recursive=False)
    process.setns(home, process.CLONE_NEWNS)
    target = os.open(f"{view['base']}/{view['merged']}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mounts.move_mount(tree, target)


WORKS = {"shelve": _reporting(_put), "unshelve": _reporting(_remove), "show": _reporting(_show)}

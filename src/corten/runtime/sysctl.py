"""Which kernel settings a container may have: those that belong to a namespace, if the namespace is its own.

Any other is the whole machine's, and would be changed for everybody.
"""

from __future__ import annotations

from collections.abc import Collection

from corten.errors import InvalidInput

_OWNERS = {
    **dict.fromkeys(("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem"), "ipc"),
    **dict.fromkeys(("kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"), "ipc"),
    **dict.fromkeys(("kernel.domainname", "kernel.hostname"), "uts"),
}
_TREES = {"fs.mqueue.": "ipc", "net.": "network"}


def sysctl_path(name: str) -> str:
    """The name below /proc/sys. A slash as the first separator means that dots belong to names: sysctl(8)."""
    slash, dot = name.find("/"), name.find(".")
    if slash >= 0 and (dot < 0 or slash < dot):
        return name
    return name.translate(str.maketrans("./", "/."))


def check_sysctl(name: str, namespaces: Collection[str]) -> None:
    """Raises InvalidInput for a setting that is not of a namespace among ``namespaces``."""
    path = sysctl_path(name)
    plain = path.replace("/", ".")
    if {"", ".", ".."} & set(path.split("/")):
        raise InvalidInput(f"sysctl {name!r} is no name of a setting")
    trees = (kind for tree, kind in _TREES.items() if plain.startswith(tree))
    owner = _OWNERS.get(plain) or next(trees, "")
    if not owner:
        raise InvalidInput(f"sysctl {name!r} is not in a separate kernel namespace")
    if owner not in namespaces:
        raise InvalidInput(f"sysctl {name!r} not allowed in host {owner} namespace")

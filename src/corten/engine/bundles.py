"""A container as the hooks of its devices see it: a bundle of the OCI, which is the container's own directory.

Loaded when a container has such hooks.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from corten.errors import CortenError
from corten.spec.runtime import RuntimeConfig

OCI_VERSION = "1.2.0"


def told(id: str, directory: Path, config: RuntimeConfig) -> str:
    """What a hook reads on its standard input, but for the status and the pid (runtime.md, "State"), as JSON."""
    return json.dumps(
        {"ociVersion": OCI_VERSION, "id": id, "bundle": str(directory), "annotations": dict(config.annotations)}
    )


def write(directory: Path, config: RuntimeConfig, root: str) -> None:
    """Write ``config.json``, which hooks read to find the container's files at ``root``. Raises CortenError."""
    path = directory / "config.json"
    try:
        # The environment may hold what is nobody else's.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "w") as file:
            json.dump(_encoded(config, root), file)
    except OSError as error:
        raise CortenError.from_os("write", str(path), error) from error


def _encoded(config: RuntimeConfig, root: str) -> dict[str, Any]:
    process = config.process
    return {
        "ociVersion": OCI_VERSION,
        "root": {"path": root, "readonly": config.root_readonly},
        "hostname": config.hostname,
        "process": {
            "terminal": process.terminal, "args": process.args, "env": process.env, "cwd": process.cwd,
            "user": {"uid": process.user.uid, "gid": process.user.gid, "username": process.user.name,
                     "additionalGids": process.user.additional_gids},
        },
        "mounts": [
            {"destination": one.destination, "type": one.type, "source": one.source, "options": one.options}
            for one in config.mounts
        ],
        "linux": {
            "namespaces": [{"type": one.type, **({"path": one.path} if one.path else {})} for one in config.namespaces],
            "devices": [
                {"type": one.type, "path": one.path, "major": one.major, "minor": one.minor,
                 "fileMode": one.file_mode, "uid": one.uid, "gid": one.gid}
                for one in config.devices
            ],
        },
        "annotations": dict(config.annotations),
    }  # fmt: skip

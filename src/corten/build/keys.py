"""The keys of the cache: digests of all that decides what a step makes, and of nothing else.

A key never has a time, a name of an image or a number of a line in it: the layers below are known by their chain ID,
files by their content and the metadata that is copied.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from corten.build.ground import Command

_VERSION = 1
HOSTNAME = "buildkitsandbox"
"""Of a command for which no other is asked, as with BuildKit: what it leaves does not depend on a name by chance."""


def key_of(kind: str, **parts: Any) -> str:
    """The key of a step, from its named parts, which are JSON values."""
    content = json.dumps([_VERSION, kind, parts], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()


def of_command(chain: str, command: Command, extra: Mapping[str, Any]) -> str:
    """The key of a RUN. What a cache mount or a secret holds is not in it, as with BuildKit."""
    mounts = [
        [
            one.mount.type, one.mount.from_, one.mount.source, one.mount.target, one.mount.read_only, one.mount.size,
            one.mount.id, one.mount.env, one.mount.mode, one.mount.uid, one.mount.gid,
            one.part.fingerprint if one.part else None,
        ]
        for one in command.mounts
    ]  # fmt: skip
    special: dict[str, Any] = {"privileged": True} if command.privileged else {}
    if command.devices:
        special["devices"] = command.devices
    if command.hostname not in ("", HOSTNAME):
        special["hostname"] = command.hostname
    return key_of(
        "run", chain=chain, words=command.words, variables=dict(command.variables), user=command.user,
        directory=command.working_directory, network=command.network, mounts=mounts,
        script=command.script.data if command.script else None, **special, **extra,
    )  # fmt: skip

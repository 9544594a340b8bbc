"""Why a step was not in the cache: what its key is made of, held against what it was made of the last time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

_LONGEST = 200
_MOST_FILES = 5000
_MOST_TOLD = 8
_WORDS = {
    "words": "the command",
    "user": "the user", "directory": "the working directory", "network": "the network", "mounts": "its mounts",
    "script": "the script", "devices": "the devices", "hosts": "the hosts", "destination": "the destination",
    "owner": "the owner", "mode": "the mode", "files": "the files", "path": "the path", "epoch": "SOURCE_DATE_EPOCH",
    "kind": "the instruction",
}  # fmt: skip


def parts_of(kind: str, **parts: Any) -> dict[str, str]:
    """What a key is made of, by name; a mapping's members each have a name of their own."""
    found = {"kind": kind}
    for name, value in parts.items():
        if isinstance(value, Mapping):
            members = value if len(value) <= _MOST_FILES else {"": sorted(value.items())}
            found |= {f"{name} {member}".rstrip(): _short(one) for member, one in members.items()}
        else:
            found[name] = _short(value)
    return found


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= _LONGEST else hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def differences(before: Mapping[str, str] | None, now: Mapping[str, str]) -> list[str]:
    """Sentences on what is another than it was; one if it has never been made."""
    if before is None:
        return ["it has not been built before"]
    found = list(_all(before, now))
    if not found:
        return ["its result is not in the cache any more"]
    more = len(found) - _MOST_TOLD
    return found[:_MOST_TOLD] + ([f"and {more} more"] if more > 0 else [])


def _all(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    if now.get("chain") != before.get("chain"):
        yield _below(before.get("base", ""), now.get("base", ""))
    for name in dict.fromkeys((*now, *before)):
        if name in ("chain", "base") or now.get(name) == before.get(name):
            continue
        kind, _, member = name.partition(" ")
        verb = "is new" if name not in before else "is gone" if name not in now else "changed"
        if member:
            yield f"{kind} {member} {verb}"
        else:
            yield f"{_WORDS.get(kind, kind)} {verb}"


def _below(before: str, now: str) -> str:
    """Of other layers below it: its base's, by the IDs of the images that it stood and stands on, or a step's."""
    if before == now:
        return "what it stands on changed: a step before it"
    return f"the base image changed: it is {now or 'none'}, and was {before or 'none'}"

"""What a container may do: capabilities and security options, by Docker's rules."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import Any

from corten.engine.model import HostConfig
from corten.errors import InvalidInput
from corten.sys.capabilities import NAMES

DEFAULT_CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP",
    "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE",
)  # fmt: skip
"""Docker's fourteen (moby, oci/caps/defaults.go)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Security:
    """What ``--security-opt`` says. ``seccomp`` is ``default``, ``unconfined`` or a profile's JSON object."""

    seccomp: str | dict[str, Any] = "default"
    no_new_privileges: bool = False
    unconfined_paths: bool = False
    apparmor: str = ""
    """The name of a profile that is loaded, or ``unconfined``; '' where none is chosen (see :mod:`.apparmor`)."""
    labels: tuple[str, ...] = ()
    """SELinux's, of which nothing comes."""


def security(host: HostConfig) -> Security:
    """Read the security options. Raises InvalidInput in Docker's words."""
    found = Security(seccomp="unconfined" if host.privileged else "default")
    for option in host.security_opt or ():
        found = _apply(found, option)
    return found


def _apply(found: Security, option: str) -> Security:
    separator = "=" if "=" in option else ":"
    key, _, value = option.partition(separator)
    match key:
        case "no-new-privileges":
            return dataclasses.replace(found, no_new_privileges=_truth(option, value))
        case "seccomp":
            return dataclasses.replace(found, seccomp=_profile(value))
        case "systempaths" if value == "unconfined":
            return dataclasses.replace(found, unconfined_paths=True)
        case "apparmor" if value:
            return dataclasses.replace(found, apparmor=value)
        case "label" if value:
            return found if value == "disable" else dataclasses.replace(found, labels=(*found.labels, value))
    raise InvalidInput(f'invalid --security-opt 2: "{option}"')


def _truth(option: str, value: str) -> bool:
    if value.lower() in ("", "true", "1", "t"):
        return True
    if value.lower() in ("false", "0", "f"):
        return False
    raise InvalidInput(f'invalid --security-opt 2: "{option}"')


def _profile(value: str) -> str | dict[str, Any]:
    """The client sends a profile's content, not its path."""
    if value in ("unconfined", "default", "builtin"):
        return "unconfined" if value == "unconfined" else "default"
    try:
        profile = json.loads(value)
    except ValueError as error:
        raise InvalidInput(f"Decoding seccomp profile failed: {error}") from None
    if not isinstance(profile, dict):
        raise InvalidInput("Decoding seccomp profile failed: not a JSON object")
    return profile


def capabilities(host: HostConfig) -> tuple[str, ...]:
    """The container's capabilities as ``CAP_…``, in the kernel's order. Raises InvalidInput for an unknown name.

    As moby's TweakCapabilities: ``ALL`` among those added means all but those dropped; among those dropped, only
    those added; otherwise the default set with both applied.
    """
    added, dropped = _names(host.cap_add or ()), _names(host.cap_drop or ())
    if host.privileged:
        return _ordered(NAMES)
    if "ALL" in added:
        return _ordered(set(NAMES) - dropped)
    if "ALL" in dropped:
        return _ordered(added)
    return _ordered(set(DEFAULT_CAPABILITIES) - dropped | added)


def validate(host: HostConfig) -> None:
    """Raises InvalidInput for an unknown capability or security option."""
    capabilities(host)
    security(host)


def _names(capabilities: Sequence[str]) -> set[str]:
    names = {one.upper().removeprefix("CAP_") for one in capabilities}
    for name in names - {"ALL", *NAMES}:
        raise InvalidInput(f'invalid capability: "CAP_{name}"')
    return names


def _ordered(names: Iterable[str]) -> tuple[str, ...]:
    chosen = set(names)
    return tuple(f"CAP_{name}" for name in NAMES if name in chosen)

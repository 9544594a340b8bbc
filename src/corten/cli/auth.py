"""Credentials of registries, as Docker's configuration keeps them: in the file, or with a helper program."""

from __future__ import annotations

import binascii

from corten.client import jsontext
from corten.errors import AccessDenied, CortenError

from . import config
from .context import Context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_HUB_NAMES = ("docker.io", "index.docker.io", "registry-1.docker.io", "")
_NO_CREDENTIALS = "credentials not found"


def registry_of(image: str) -> str:
    """The registry that a reference names (distribution's reference grammar)."""
    head, slash, _ = image.partition("/")
    named = slash and ("." in head or ":" in head or head == "localhost" or head != head.lower())
    return head if named and head not in _HUB_NAMES else config.HUB


def header(context: Context, registry: str) -> dict[str, str]:
    """The X-Registry-Auth header for a registry; empty where nothing is known of it. Raises CortenError."""
    found = credentials(config.read(context.config_path), registry)
    return {"X-Registry-Auth": encode(found)} if found else {}


def encode(value: dict[str, str]) -> str:
    """URL-safe base64 of the JSON (Docker Engine API, "Authentication")."""
    text = binascii.b2a_base64(jsontext.encode(value), newline=False).decode("ascii")
    return text.translate({ord("+"): "-", ord("/"): "_"})


def credentials(settings: dict[str, Any], registry: str) -> dict[str, str] | None:
    """What the configuration holds for a registry, by helper or in itself."""
    helper = settings.get("credHelpers", {}).get(_plain(registry)) or settings.get("credsStore")
    if helper:
        found = ask_helper(helper, registry)
        if found:
            return found
    entries: dict[str, dict[str, str]] = settings.get("auths", {})
    entry = next((entry for name, entry in entries.items() if _plain(name) == _plain(registry)), None)
    return _from_entry(entry, registry) if entry else None


def _plain(name: str) -> str:
    """A registry's host, however its key was written."""
    host = name.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return "index.docker.io" if host in _HUB_NAMES else host


def _from_entry(entry: dict[str, str], registry: str) -> dict[str, str] | None:
    if entry.get("identitytoken"):
        return {"identitytoken": entry["identitytoken"], "serveraddress": registry}
    user, password = entry.get("username", ""), entry.get("password", "")
    if encoded := entry.get("auth"):
        try:
            text = binascii.a2b_base64(encoded).decode("utf-8")
        except ValueError as error:
            raise AccessDenied(f"read credentials of {registry}: auth is not base64") from error
        user, _, password = text.partition(":")
    if not user:
        return None
    return {"username": user, "password": password.rstrip("\0"), "serveraddress": registry}


def ask_helper(helper: str, registry: str, action: str = "get", data: bytes | None = None) -> dict[str, str] | None:
    """One exchange with ``docker-credential-HELPER``; None where it knows nothing. Raises CortenError."""
    import subprocess

    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run([program, action], input=data or registry.encode(), capture_output=True, check=False)
    except FileNotFoundError:
        raise CortenError(
            f"read credentials of {registry}: {program} is not installed",
            hint="your docker configuration names it as credsStore",
        ) from None
    if done.returncode:
        said = (done.stdout + done.stderr).decode("utf-8", "replace").strip()
        if action == "get" and _NO_CREDENTIALS in said.lower():
            return None
        raise CortenError(f"{program} {action} {registry}: {said}")
    if action != "get":
        return None
    told = jsontext.decode(done.stdout)
    if told["Username"] == "<token>":
        return {"identitytoken": told["Secret"], "serveraddress": registry}
    return {"username": told["Username"], "password": told["Secret"], "serveraddress": registry}

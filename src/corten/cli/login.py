"""``login`` and ``logout``: credentials into Docker's configuration, or into its helper."""

from __future__ import annotations

import binascii
import os
import sys

from corten.client import jsontext
from corten.errors import CortenError, InvalidInput

from . import auth, config
from .context import Context, write_all
from .options import FLAG, STRING, Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .options import Values


def login(context: Context, values: Values, arguments: list[str]) -> int:
    """``login``: the engine tries the credentials; they are kept only when the registry took them."""
    server = _server(arguments)
    user = values.username or _ask("Username: ")
    password = _password(values)
    value = {"username": user, "password": password, "serveraddress": server}
    answer = context.client.post("/auth", None, value) or {}
    token = answer.get("IdentityToken", "")
    _keep(context, server, user, password, token)
    context.out(answer.get("Status") or "Login Succeeded")
    return 0


def _server(arguments: list[str]) -> str:
    return arguments[0] if arguments and arguments[0] not in ("docker.io", "index.docker.io") else config.HUB


def _ask(prompt: str) -> str:
    if not os.isatty(0):
        raise InvalidInput("cannot perform an interactive login from a non TTY device")
    sys.stdout.write(prompt)
    sys.stdout.flush()
    answer = sys.stdin.readline().strip()
    if not answer:
        raise InvalidInput("username is required")
    return answer


def _password(values: Values) -> str:
    if values.password_stdin:
        if values.given("password"):
            raise InvalidInput("--password and --password-stdin are mutually exclusive")
        if not values.username:
            raise InvalidInput("must provide --username with --password-stdin")
        return sys.stdin.read().rstrip("\r\n")
    if values.given("password"):
        sys.stderr.write("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n")
        return str(values.password)
    if not os.isatty(0):
        raise InvalidInput("cannot perform an interactive login from a non TTY device")
    import getpass

    return getpass.getpass("Password: ")


def _keep(context: Context, server: str, user: str, password: str, token: str) -> None:
    settings = config.read(context.config_path)
    if helper := settings.get("credHelpers", {}).get(server) or settings.get("credsStore"):
        secret = {"ServerURL": server, "Username": "<token>" if token else user, "Secret": token or password}
        auth.ask_helper(helper, server, "store", jsontext.encode(secret))
        _update(context.config_path, lambda auths: auths.__setitem__(server, {}))
        return
    entry = {"auth": binascii.b2a_base64(f"{user}:{password}".encode(), newline=False).decode()}
    if token:
        entry = {**entry, "identitytoken": token}
    _update(context.config_path, lambda auths: auths.__setitem__(server, entry))


def logout(context: Context, values: Values, arguments: list[str]) -> int:
    """``logout``."""
    server = _server(arguments)
    settings = config.read(context.config_path)
    if server not in settings.get("auths", {}):
        context.out(f"Not logged in to {server}")
        return 0
    context.out(f"Removing login credentials for {server}")
    if helper := settings.get("credHelpers", {}).get(server) or settings.get("credsStore"):
        auth.ask_helper(helper, server, "erase")
    _update(context.config_path, lambda auths: auths.pop(server))
    return 0


def _update(path: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the ``auths`` of a configuration, all or nothing; it is for its owner's eyes only."""
    import json

    settings = config.read(path)
    change(settings.setdefault("auths", {}))
    part = f"{path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            write_all(descriptor, json.dumps(settings, indent="\t").encode())
        finally:
            os.close(descriptor)
        os.rename(part, path)
    except OSError as error:
        raise CortenError.from_os("write", path, error) from error
    finally:
        if os.path.lexists(part):
            os.unlink(part)


LOGIN = Command(
    login,
    "Authenticate to a registry",
    "[OPTIONS] [SERVER]",
    (
        Option("-p, --password", STRING, "Password or Personal Access Token (PAT)"),
        Option("--password-stdin", FLAG, "Take the Password or Personal Access Token (PAT) from stdin"),
        Option("-u, --username", STRING, "Username"),
    ),
    arguments=(0, 1),
    description="Defaults to Docker Hub if no server is specified.",
)
LOGOUT = Command(logout, "Log out from a registry", "[SERVER]", arguments=(0, 1))

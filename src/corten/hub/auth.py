"""Who may come in: names and passwords of a file, shown each time (Basic), or once for a token that lasts minutes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import threading
import time
from collections.abc import Mapping, Sequence

from corten.errors import CortenError, InvalidInput
from corten.hub import passwords
from corten.hub.errors import Refusal

_LIFETIME = 300
"""Seconds."""
_LONGEST_PASSWORD = 256
"""Characters: the hash's first step takes the square of it."""
REALM = "corten"


class Users:
    """The users of a file in the form of htpasswd. Methods may be called from several threads."""

    def __init__(self, hashes: Mapping[str, str]) -> None:
        self._hashes = hashes
        self._key = os.urandom(32)
        self._known: set[bytes] = set()
        """What was right once: hashing takes some ten milliseconds."""
        self._lock = threading.Lock()

    @classmethod
    def read(cls, path: str) -> Users:
        """From a file. Raises CortenError, InvalidInput."""
        try:
            with open(path, encoding="utf-8") as file:
                lines = [line.strip() for line in file]
        except (OSError, UnicodeDecodeError) as error:
            raise CortenError(f"read {path}: {error}") from error
        hashes = {}
        for line in lines:
            name, colon, hashed = line.partition(":")
            if not line or line.startswith("#"):
                continue
            if not colon or not hashed.startswith(passwords.PREFIXES):
                raise InvalidInput(
                    f"read {path}: the password of {name[:40]!r} is not in the form of SHA-crypt ($5$ or $6$)",
                    hint="write it with htpasswd -5, or with openssl passwd -6",
                )
            hashes[name] = hashed
        if not hashes:
            raise InvalidInput(f"read {path}: it names no user")
        return cls(hashes)

    def check(self, header: str) -> str:
        """The user of a Basic header; '' for none, or a wrong password."""
        scheme, _, text = header.partition(" ")
        try:
            shown = base64.b64decode(text.strip(), validate=True).decode() if scheme.lower() == "basic" else ""
        except (binascii.Error, UnicodeDecodeError):
            return ""
        name, _, password = shown.partition(":")
        if name not in self._hashes or len(password) > _LONGEST_PASSWORD:
            return ""
        seal = hmac.digest(self._key, shown.encode(), hashlib.sha256)
        with self._lock:
            if seal in self._known:
                return name
        if not passwords.verify(password, self._hashes[name]):
            return ""
        with self._lock:
            self._known.add(seal)
        return name


class Door:
    """Decides on requests. Without ``users`` everybody may come in."""

    def __init__(self, users: Users | None, *, tokens: bool = False) -> None:
        self._users, self._tokens = users, tokens and users is not None
        self._key = os.urandom(32)

    @property
    def has_tokens(self) -> bool:
        """Whether there is a place where tokens are given out."""
        return self._tokens

    def enter(self, header: str, repository: str, action: str, base: str) -> None:
        """Raises Refusal with what must be shown. ``action`` is ``pull``, ``push``, ``delete`` or ``*`` for any;
        ``base`` is where the client has found the registry: tokens are fetched there."""
        if self._users is None:
            return
        if not self._tokens:
            if not self._users.check(header):
                raise Refusal(401, "UNAUTHORIZED", "authentication required",
                              {"WWW-Authenticate": f'Basic realm="{REALM}"'})  # fmt: skip
            return
        if not self._is_granted(header, repository, action):
            challenge = f'Bearer realm="{base}/token",service="{REALM}"'
            if repository:
                challenge += f',scope="repository:{repository}:{_SHOWN.get(action, action)}"'
            raise Refusal(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": challenge})

    def token(self, header: str, scopes: Sequence[str], allowed: Sequence[str]) -> bytes:
        """The answer of the token server (distribution, "Token Authentication Specification"): a token for what is
        asked and ``allowed`` here. Raises Refusal."""
        user = self._users.check(header) if self._users else ""
        if not user:
            raise Refusal(401, "UNAUTHORIZED", "incorrect username or password",
                          {"WWW-Authenticate": f'Basic realm="{REALM}"'})  # fmt: skip
        access: dict[str, list[str]] = {}
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            if kind == "repository":
                wanted = allowed if actions == "*" else actions.split(",")
                access.setdefault(name, []).extend(one for one in wanted if one in allowed)
        body = json.dumps({"user": user, "until": int(time.time()) + _LIFETIME, "access": access}).encode()
        token = f"{_text(body)}.{_text(hmac.digest(self._key, body, hashlib.sha256))}"
        return json.dumps({"token": token, "access_token": token, "expires_in": _LIFETIME}).encode()

    def _is_granted(self, header: str, repository: str, action: str) -> bool:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            return False
        body, _, seal = token.strip().partition(".")
        try:
            content = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
            shown = base64.urlsafe_b64decode(seal + "=" * (-len(seal) % 4))
        except (binascii.Error, ValueError):
            return False
        if not hmac.compare_digest(shown, hmac.digest(self._key, content, hashlib.sha256)):
            return False
        told = json.loads(content)
        if told["until"] < time.time():
            return False
        return action == "*" or action in told["access"].get(repository, ())


_SHOWN = {"push": "pull,push"}


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")

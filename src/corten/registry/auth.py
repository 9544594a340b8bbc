"""Authorization as registries ask for it: Basic, or a bearer token fetched from the server that they name.

The token protocols are distribution's (docs: "Token Authentication Specification", "OAuth2").
"""

from __future__ import annotations

import threading
import urllib.parse

from corten.errors import AccessDenied, CortenError, DataCorrupt
from corten.registry.credentials import Credentials
from corten.registry.transport import Response, Transport, closing
from corten.spec.document import Document
from corten.wire import challenge as challenges
from corten.wire.challenge import Challenge

_MAX_ANSWER = 1 << 20
_CLIENT = "corten"


class Authorizer:
    """The ``Authorization`` for one repository of one registry. Methods may be called from any thread."""

    def __init__(self, transport: Transport, scope: str, credentials: Credentials | None) -> None:
        self._transport = transport
        self._scope = scope
        self._credentials = credentials
        self._lock = threading.Lock()
        self._value = ""
        if credentials and credentials.registry_token:
            self._value = f"Bearer {credentials.registry_token}"

    @property
    def headers(self) -> dict[str, str]:
        """What to send; nothing before the registry has asked."""
        return {"Authorization": self._value} if self._value else {}

    def answer(self, refused: Response, sent: dict[str, str]) -> bool:
        """Answer a 401; whether there is something new to send. Raises AccessDenied, Unavailable."""
        found = challenges.parse(refused.headers.getlist("WWW-Authenticate"))
        with self._lock:
            if self.headers != sent:
                return True  # another thread has answered already
            for one in found:
                value = self._value_for(one)
                if value:
                    renewed, self._value = value != self._value, value
                    return renewed
        return False

    def lacks(self, refused: Response) -> bool:
        """Whether a 401 asks for a name and a password, and there are none."""
        asked = challenges.parse(refused.headers.getlist("WWW-Authenticate"))
        known = self._credentials is not None and bool(self._credentials.username)
        return not known and any(one.scheme == "basic" for one in asked)

    def _value_for(self, challenge: Challenge) -> str:
        if challenge.scheme == "bearer":
            return f"Bearer {self._token(challenge)}"
        if challenge.scheme == "basic" and self._credentials and self._credentials.username:
            return self._credentials.basic
        return ""

    def _token(self, challenge: Challenge) -> str:
        realm = challenge.parameters.get("realm", "")
        scheme = urllib.parse.urlsplit(realm).scheme
        # A password must not leave in the clear because a header says so.
        if scheme != "https" and not (scheme == "http" and self._transport.base.startswith("http://")):
            raise CortenError(f"authorize at {self._transport.host}: its token server {realm!r} is not https")
        response = self._ask(realm, challenge.parameters.get("service", ""))
        with closing(response):
            content = response.read(_MAX_ANSWER)
            if response.status in (400, 401, 403):
                raise AccessDenied(_refusal(response.status, content))
            if response.status != 200:
                raise CortenError(_refusal(response.status, content))
        document = Document.parse(content, f"token of {_host(realm)}")
        token = document.text("token") or document.text("access_token")
        if not token or not token.isascii() or not token.isprintable():
            raise DataCorrupt(
                f"authorize at {_host(realm)}: authorization server did not include a token in the response"
            )
        return token

    def _ask(self, realm: str, service: str) -> Response:
        fields = {"service": service, "scope": self._scope}
        credentials = self._credentials
        if credentials and credentials.identity_token:
            fields |= {
                "grant_type": "refresh_token",
                "refresh_token": credentials.identity_token,
                "client_id": _CLIENT,
            }
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            return self._transport.request("POST", realm, headers, urllib.parse.urlencode(fields).encode())
        headers = {}
        if credentials and credentials.username:
            fields |= {"account": credentials.username, "client_id": _CLIENT}
            headers = {"Authorization": credentials.basic}
        # Several scopes are several parameters here; the other grant has them in one, between spaces.
        query = urllib.parse.urlencode(
            {**{name: value for name, value in fields.items() if value}, "scope": self._scope.split()}, doseq=True
        )
        return self._transport.request("GET", f"{realm}{'&' if '?' in realm else '?'}{query}", headers)


_REFUSALS = {401: "unauthorized", 403: "denied", 429: "toomanyrequests"}
_LONGEST = 500


def _refusal(status: int, content: bytes) -> str:
    """What a token server's answer means, in the words of dockerd: scripts look for them, and the server's are in
    them. Its errors are distribution's ("Error Codes"), or one text called ``details``, as the hub's."""
    shown = content[:_LONGEST].decode(errors="replace")
    try:
        document = Document.parse(content, "error")
        errors = document.children("errors")
        details = document.text("details")
    except DataCorrupt as error:
        errors, details, shown = (), "", f"{error.message.removeprefix('decode error: ')}: {shown!r}"
    if errors:
        code, message = (errors[0].text(name) or errors[0].text(name.title()) for name in ("code", "message"))
        return f"{code.lower().replace('_', ' ')}: {message}"[:_LONGEST]
    if details:
        return f"{_REFUSALS.get(status, 'unknown')}: {details}"[:_LONGEST]
    if status == 401:
        return "unauthorized: authentication required"
    if status >= 500:
        return f"received unexpected HTTP status: {status}"
    return f"error parsing HTTP {status} response body: {shown}"


def _host(url: str) -> str:
    return urllib.parse.urlsplit(url).netloc

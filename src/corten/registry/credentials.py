"""What a user shows to a registry, as the Docker Engine API carries it (``X-Registry-Auth``)."""

from __future__ import annotations

import base64
import binascii
import dataclasses

from corten.errors import DataCorrupt, InvalidInput
from corten.spec.document import Document


@dataclasses.dataclass(frozen=True, slots=True)
class Credentials:
    """A name and password, or one of the two tokens that stand for them; none of it is ever printed."""

    username: str = ""
    password: str = dataclasses.field(default="", repr=False)
    identity_token: str = dataclasses.field(default="", repr=False)
    """An OAuth2 refresh token, to be exchanged at the token server."""
    registry_token: str = dataclasses.field(default="", repr=False)
    """A bearer token that the registry itself takes."""

    @property
    def basic(self) -> str:
        """The value of a Basic ``Authorization`` (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


def from_header(header: str) -> Credentials | None:
    """Decode ``X-Registry-Auth``: base64url of a JSON object, '' or ``{}`` for none. Raises InvalidInput."""
    if not header:
        return None
    try:
        content = base64.urlsafe_b64decode(header + "=" * (-len(header) % 4))
        document = Document.parse(content or b"{}", "X-Registry-Auth")
        names = ("username", "password", "identitytoken", "registrytoken")
        found = Credentials(*(document.text(name) for name in names))
    except (binascii.Error, DataCorrupt) as error:
        raise InvalidInput(f"invalid X-Registry-Auth header: {error}") from None
    return found if found != Credentials() else None

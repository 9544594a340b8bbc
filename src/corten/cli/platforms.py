"""``--platform`` of images that are here, as the API takes it: an OCI platform in JSON."""

from __future__ import annotations

import os

from corten.client import jsontext
from corten.errors import InvalidInput


def as_query(text: str, prefix: str = "") -> str:
    """The parameter for ``os[/arch[/variant]]``; '' for ''. Raises InvalidInput, its words after ``prefix``."""
    if not text:
        return ""
    from corten.spec import platform as platforms

    try:
        found = platforms.parse(text, platforms.of_machine(os.uname().machine))
    except InvalidInput as error:
        raise InvalidInput(prefix + error.message) from error
    members = {"architecture": found.architecture, "os": found.os, "variant": found.variant}
    return jsontext.encode({name: value for name, value in members.items() if value}).decode()

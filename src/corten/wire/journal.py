"""Entries of systemd's journal in its native protocol, without I/O (systemd's ``docs/JOURNAL_NATIVE_PROTOCOL.md``)."""

from __future__ import annotations

from collections.abc import Mapping

SOCKET = "/run/systemd/journal/socket"
_ERROR, _INFORMATIONAL = 3, 6


def encode(fields: Mapping[str, bytes]) -> bytes:
    """One entry. A value with a line feed in it, or that is no text, stands with its length."""
    out: list[bytes] = []
    for name, value in fields.items():
        key = name.encode("ascii")
        if b"\n" in value:
            out += (key, b"\n", len(value).to_bytes(8, "little"), value, b"\n")
        else:
            out += (key, b"=", value, b"\n")
    return b"".join(out)


def priority(stream: str) -> bytes:
    """The value of PRIORITY."""
    return b"%d" % (_ERROR if stream == "stderr" else _INFORMATIONAL)


def field_name(text: str) -> str:
    """The name of a field that a label or a variable is told under: capitals, digits and underscores, none of these
    first."""
    upper = (character.upper() if "a" <= character <= "z" else character for character in text)
    named = "".join(character if "A" <= character <= "Z" or "0" <= character <= "9" else "_" for character in upper)
    return named.lstrip("_")


def fields_of(variables: Mapping[str, str]) -> dict[str, bytes]:
    """Variables as the values of fields."""
    return {name: text.encode("utf-8", "surrogateescape") for name, text in variables.items() if name}

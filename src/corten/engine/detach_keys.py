"""The key sequence that detaches a terminal: found in what the client types, across reads."""

from __future__ import annotations

from corten.errors import InvalidInput

DEFAULT = "ctrl-p,ctrl-q"


def parse(text: str) -> bytes:
    """The bytes of ``ctrl-p,ctrl-q`` or ``a,b``; '' is the default. Raises InvalidInput in Docker's words."""
    keys = bytearray()
    for key in (text or DEFAULT).split(","):
        letter = key.removeprefix("ctrl-")
        if key != letter and len(letter) == 1 and letter.lower() in "@abcdefghijklmnopqrstuvwxyz[\\]^_":
            keys.append(ord(letter.upper()) - 64)
        elif len(key) == 1 and key.isascii():
            keys.append(ord(key))
        else:
            raise InvalidInput(f"Invalid detach keys ({text}) provided")
    return bytes(keys)


class DetachKeys:
    """Passes bytes through, holding back what may be the beginning of the sequence."""

    def __init__(self, sequence: bytes) -> None:
        self._sequence = sequence
        self._held = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """(what the container gets, whether the sequence is complete); what follows the sequence is dropped."""
        passed = bytearray()
        for byte in data:
            if byte == self._sequence[self._held]:
                self._held += 1
                if self._held == len(self._sequence):
                    return bytes(passed), True
                continue
            passed += self._sequence[: self._held]
            self._held = int(byte == self._sequence[0])
            if not self._held:
                passed.append(byte)
        return bytes(passed), False

"""Passwords as ``openssl passwd -6`` and ``htpasswd -5`` write them: SHA-crypt ($5$ and $6$), which needs no library.

The algorithm is Ulrich Drepper's "Unix crypt using SHA-256 and SHA-512". bcrypt would take a compiled module, MD5 and
plain SHA-1 are too weak to be read.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable

_ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ROUNDS, _LEAST, _MOST = 5000, 1000, 999_999_999
_LONGEST_SALT = 16
_ALGORITHMS: dict[str, tuple[Callable[[bytes], hashlib._Hash], int]] = {
    "5": (hashlib.sha256, 32), "6": (hashlib.sha512, 64),
}  # fmt: skip
PREFIXES = tuple(f"${name}$" for name in _ALGORITHMS)


def verify(password: str, hashed: str) -> bool:
    """Whether a password is the one that was hashed. Raises ValueError for another kind of hash."""
    return hmac.compare_digest(crypt(password, hashed), hashed)


def crypt(password: str, setting: str) -> str:
    """The hash of a password with the algorithm, rounds and salt of another hash. Raises ValueError."""
    _, kind, *rest = setting.split("$")
    if kind not in _ALGORITHMS or not rest:
        raise ValueError("not a hash of SHA-crypt")
    rounds = _ROUNDS
    told = rest[0].startswith("rounds=") and len(rest) > 1
    if told:
        rounds = min(max(int(rest.pop(0).removeprefix("rounds=")), _LEAST), _MOST)
    salt = rest[0][:_LONGEST_SALT]
    digest = _digest(kind, password.encode(), salt.encode(), rounds)
    shown = f"rounds={rounds}$" if told else ""
    return f"${kind}${shown}{salt}${_encoded(kind, digest)}"


def _digest(kind: str, password: bytes, salt: bytes, rounds: int) -> bytes:
    make, size = _ALGORITHMS[kind]
    other = make(password + salt + password).digest()
    first = make(password + salt + _repeated(other, len(password)))
    length = len(password)
    while length:
        first.update(other if length & 1 else password)
        length >>= 1
    result = first.digest()
    p = _repeated(make(password * len(password)).digest(), len(password))
    s = _repeated(make(salt * (16 + result[0])).digest(), len(salt))
    for number in range(rounds):
        odd = number & 1
        mixed = (p if odd else result) + (s if number % 3 else b"") + (p if number % 7 else b"")
        result = make(mixed + (result if odd else p)).digest()
    assert len(result) == size
    return result


def _repeated(block: bytes, length: int) -> bytes:
    return (block * (length // len(block) + 1))[:length]


def _encoded(kind: str, digest: bytes) -> str:
    """Crypt's own base64, on bytes in an order of its own."""
    return "".join(_letters(digest, group) for group in _groups(kind))


def _groups(kind: str) -> Iterable[tuple[int | None, ...]]:
    third, last, step = (10, 10, 21) if kind == "5" else (21, 21, 22)
    group = (0, third, 2 * third)
    for _ in range(last):
        yield group
        group = tuple((index + step) % (3 * third) for index in group)  # type: ignore[assignment]
    yield (None, 31, 30) if kind == "5" else (None, None, 63)


def _letters(digest: bytes, group: tuple[int | None, ...]) -> str:
    value = 0
    for index in group:
        value = value << 8 | (0 if index is None else digest[index])
    count = 4 - sum(index is None for index in group)
    return "".join(_ALPHABET[value >> (6 * number) & 63] for number in range(count))

"""Content digests, ``sha256:<hex>`` (OCI image-spec, descriptor.md), and the chain IDs made of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import NewType

from corten.errors import InvalidInput

Digest = NewType("Digest", str)
"""A digest whose form has been checked: ``algorithm:hex``."""

_LENGTHS = {"sha256": 64, "sha512": 128}
_FORM = re.compile(r"([a-z0-9]+(?:[.+_-][a-z0-9]+)*):([a-zA-Z0-9=_-]+)", re.ASCII)
_HEX = re.compile(r"[a-f0-9]+", re.ASCII)


def parse(text: str) -> Digest:
    """Check a digest. Raises InvalidInput with the sentences of go-digest."""
    matched = _FORM.fullmatch(text)
    if not matched:
        raise InvalidInput(f"digest {text[:200]!r}: invalid checksum digest format")
    algorithm, encoded = matched.groups()
    if algorithm not in _LENGTHS:
        raise InvalidInput(f"digest {text[:200]!r}: unsupported digest algorithm")
    if len(encoded) != _LENGTHS[algorithm]:
        raise InvalidInput(f"digest {text[:200]!r}: invalid checksum digest length")
    if not _HEX.fullmatch(encoded):
        raise InvalidInput(f"digest {text[:200]!r}: invalid checksum digest format")
    return Digest(text)


def of(content: bytes) -> Digest:
    """The sha256 digest of some bytes."""
    return Digest("sha256:" + hashlib.sha256(content).hexdigest())


def split(digest: Digest) -> tuple[str, str]:
    """Algorithm and hex."""
    algorithm, _, encoded = digest.partition(":")
    return algorithm, encoded


def short(digest: str) -> str:
    """The twelve hex digits that people see."""
    return digest.partition(":")[2][:12]


def hasher(digest: Digest) -> hashlib._Hash:
    """A new hash of this digest's algorithm."""
    return hashlib.new(split(digest)[0])


def matches(digest: Digest, hashed: hashlib._Hash) -> bool:
    """Whether what was hashed is what the digest names."""
    return hashed.hexdigest() == split(digest)[1]


def chain_ids(diff_ids: Iterable[Digest]) -> tuple[Digest, ...]:
    """The chain ID of each layer, lowest first (OCI image-spec, config.md, "Layer ChainID")."""
    chain: list[Digest] = []
    for diff_id in diff_ids:
        chain.append(of(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return tuple(chain)

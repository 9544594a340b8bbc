"""``import``: the archive of a file system becomes the one layer of an image."""

from __future__ import annotations

import datetime
import hashlib
import json
from typing import IO, Any

from corten.spec import digest as digests
from corten.spec.descriptor import OCI_LAYER, Descriptor
from corten.spec.digest import Digest
from corten.spec.platform import Platform
from corten.store import compression
from corten.store.blobs import BlobStore

_CHUNK = 1 << 18


def layer(blobs: BlobStore, file: IO[bytes]) -> tuple[Descriptor, Digest]:
    """Take the archive in a file, compressed or not, as a blob; with its diff ID. Raises DataCorrupt, CortenError."""
    file.seek(0)
    hashed = hashlib.sha256()
    for chunk in compression.chunks(file):
        hashed.update(chunk)
    file.seek(0)
    with blobs.writer() as writer:
        head = b""
        while chunk := file.read(_CHUNK):
            head = head or chunk[:2]
            writer.write(chunk)
        blob = Descriptor(OCI_LAYER + ("+gzip" if head == b"\x1f\x8b" else ""), writer.commit(), writer.written)
    return blob, digests.parse(f"sha256:{hashed.hexdigest()}")


def document(config: dict[str, Any], diff_id: Digest, message: str, platform: Platform) -> bytes:
    """The configuration of an image of one layer, made now."""
    now = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%S.%f}".rstrip("0").rstrip(".") + "Z"  # as Go has it
    value: dict[str, Any] = {
        "created": now,
        "architecture": platform.architecture,
        **({"variant": platform.variant} if platform.variant else {}),
        "os": platform.os,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": now, "comment": message or "Imported from -"}],
    }
    return json.dumps(value).encode()

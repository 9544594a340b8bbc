"""``--cache-from`` and ``--cache-to``: the cache of builds in a directory, which is an OCI layout."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile

from corten.errors import CortenError, DataCorrupt, InvalidInput

from .build_context import listed
from .options import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import tarfile

    from .build_context import Sender

_BLOB = re.compile(r"blobs/sha256/[0-9a-f]{64}")
_PIECE = 1 << 18


def _fields(option: str, text: str, known: tuple[str, ...]) -> dict[str, str]:
    """The fields of ``type=local,…``. Raises UsageError, InvalidInput."""
    fields = dict(field.partition("=")[::2] for field in text.split(",")) if "=" in text else {"type": "registry"}
    if fields.get("type") != "local":
        kind = fields.get("type", "")
        told = f"{option} {text}: caches of type {kind or '(none)'} are not there: only type=local is"
        raise InvalidInput(told, hint="export it to a directory with type=local, which can be packed and carried")
    if unknown := [name for name in fields if name not in ("type", *known)]:
        raise UsageError(f'invalid argument "{text}" for "{option}" flag: unknown field {unknown[0]}')
    return fields


def announce(sender: Sender, text: str) -> None:
    """Tell of a ``--cache-from type=local,src=DIRECTORY[,tag=…|digest=…]``. One that is not there yet is passed over,
    and said."""
    fields = _fields("--cache-from", text, ("src", "tag", "digest"))
    path = fields.get("src", "")
    if not path:
        raise UsageError(f'invalid argument "{text}" for "--cache-from" flag: it needs src=DIRECTORY')
    if not os.path.isfile(os.path.join(path, "index.json")):
        sys.stderr.write(f"WARNING: --cache-from {text}: no cache is there\n")
        return
    root = os.path.realpath(path)
    which = f":{fields['tag']}" if fields.get("tag") else f"@{fields['digest']}" if fields.get("digest") else ""
    sender.context("", "cache", root + which, listed(root), root)


class CacheTo:
    """All ``--cache-to type=local,dest=DIRECTORY[,mode=min|max]`` of a build."""

    def __init__(self, texts: list[str]) -> None:
        """Raises UsageError, InvalidInput."""
        found = [_fields("--cache-to", text, ("dest", "mode")) for text in texts]
        self._places = [fields.get("dest", "") for fields in found]
        modes = {fields.get("mode", "min") for fields in found}
        if not all(self._places) or modes - {"min", "max"}:
            told = "it needs dest=DIRECTORY, and mode=min|max"
            raise UsageError(f'invalid argument "{texts[0]}" for "--cache-to" flag: {told}')
        if len(modes) > 1:
            raise InvalidInput("--cache-to: several of them have the same mode")
        self.mode = next(iter(modes), "")
        self._file = tempfile.TemporaryFile() if texts else None  # noqa: SIM115  closed below

    def take(self, piece: bytes) -> None:
        """A piece of the archive."""
        if self._file is not None:
            self._file.write(piece)

    def finish(self, *, built: bool) -> None:
        """Write what came, if it has been built; the index last. Raises CortenError."""
        if self._file is None:
            return
        with self._file as file:
            for place in self._places if built else ():
                file.seek(0)
                _lay_out(file, place)


def _lay_out(file: object, place: str) -> None:
    import tarfile

    try:
        os.makedirs(os.path.join(place, "blobs/sha256"), exist_ok=True)
        with tarfile.open(fileobj=file, mode="r:") as archive:  # type: ignore[call-overload]
            for member in archive:
                if _BLOB.fullmatch(member.name) or member.name in ("oci-layout", "index.json"):
                    _write(archive, member, os.path.join(place, member.name))
    except (OSError, tarfile.TarError) as error:
        raise CortenError(f"write the cache {place}: {error}") from error


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
    """One file, under its name only once it is whole and what its name says."""
    content, hashed = archive.extractfile(member), hashlib.sha256()
    if content is None:
        return
    staged = f"{path}.{os.getpid()}.new"
    try:
        with open(staged, "xb") as file:
            while data := content.read(_PIECE):
                hashed.update(data)
                file.write(data)
        if _BLOB.fullmatch(member.name) and not path.endswith(hashed.hexdigest()):
            raise DataCorrupt(f"write the cache: {member.name}: digest mismatch")
        os.rename(staged, path)
    finally:
        if os.path.exists(staged):
            os.unlink(staged)

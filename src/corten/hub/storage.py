"""What was pushed: blobs, manifests, tags and uploads, in a directory of the registry's own.

``blobs/sha256/<hex>`` are blobs and manifests; ``repositories/<name>/_manifests/<digest>`` holds a manifest's media
type, ``_tags/<tag>`` a digest; ``uploads/<id>`` is what is on its way. Everything appears by rename, whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from corten.errors import CortenError, InvalidInput
from corten.hub.errors import Refusal, blob_unknown
from corten.spec import digest as digests
from corten.spec.digest import Digest

_CHUNK = 1 << 18
_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)


class Storage:
    """One directory. Methods may be called from several threads. What is not ``shown`` is as if it were not there."""

    def __init__(self, root: Path, *, shown: bool = True) -> None:
        self._shown = shown
        self._blobs, self._repositories, self._uploads = root / "blobs", root / "repositories", root / "uploads"
        self._lock = threading.Lock()
        self._busy: set[str] = set()
        try:
            for directory in (self._blobs, self._repositories, self._uploads):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise CortenError.from_os("use", str(root), error) from error

    # --- blobs

    def path(self, digest: Digest) -> Path:
        """Where a blob is, or would be."""
        return self._blobs.joinpath(*digests.split(digest))

    def has(self, digest: Digest) -> bool:
        """Whether a blob was pushed."""
        return self._shown and self.path(digest).exists()

    def put(self, content: bytes, digest: Digest) -> None:
        """Keep some bytes that have this digest."""
        target = self.path(digest)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(target, content)

    def delete_blob(self, digest: Digest) -> None:
        """Forget a blob. Raises Refusal."""
        try:
            self.path(digest).unlink()
        except FileNotFoundError:
            raise blob_unknown(digest) from None

    # --- uploads

    def begin(self) -> str:
        """A new upload."""
        id = uuid.uuid4().hex
        (self._uploads / id).touch(mode=0o600, exist_ok=False)
        return id

    def upload(self, id: str) -> Path:
        """The file of an upload. Raises Refusal."""
        path = self._uploads / id
        if not _ID.fullmatch(id) or not path.exists():
            raise Refusal(404, "BLOB_UPLOAD_UNKNOWN", f"upload {id[:40]} is not known here")
        return path

    @contextlib.contextmanager
    def appending(self, id: str) -> Iterator[IO[bytes]]:
        """An upload to write to, at its end; of one at a time. Raises Refusal."""
        path = self.upload(id)
        with self._lock:
            if id in self._busy:
                raise Refusal(409, "BLOB_UPLOAD_INVALID", "another request writes to this upload")
            self._busy.add(id)
        try:
            with path.open("ab") as file:
                yield file
        finally:
            with self._lock:
                self._busy.discard(id)

    def finish(self, id: str, digest: Digest) -> None:
        """Verify an upload and make it a blob. Raises Refusal; the upload is gone then."""
        path = self.upload(id)
        hashed = digests.hasher(digest)
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                hashed.update(chunk)
            os.fsync(file.fileno())
        if not digests.matches(digest, hashed):
            path.unlink()
            raise Refusal(400, "DIGEST_INVALID", f"the content is not that of {digest}")
        target = self.path(digest)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.rename(path, target)

    def cancel(self, id: str) -> None:
        """Forget an upload. Raises Refusal."""
        self.upload(id).unlink()

    # --- manifests and tags

    def add_manifest(self, repository: str, content: bytes, digest: Digest, media_type: str, tag: str) -> None:
        """Keep a manifest; ``tag`` names it, if there is one."""
        directory = self._repositories / repository
        self.put(content, digest)
        for kind, name, value in (("_manifests", digest, media_type), ("_tags", tag, digest)):
            if name:
                (directory / kind).mkdir(mode=0o700, parents=True, exist_ok=True)
                _write(directory / kind / name, value.encode())

    def manifest(self, repository: str, name: str) -> tuple[Digest, str] | None:
        """Digest and media type of a manifest by its tag or digest; None where it is not here."""
        directory = self._repositories / repository
        if not self._shown:
            return None
        try:
            digest = Digest(name if ":" in name else (directory / "_tags" / name).read_text())
            return digest, (directory / "_manifests" / digest).read_text()
        except FileNotFoundError:
            return None

    def tags(self, repository: str) -> list[str]:
        """The tags of a repository."""
        return _listed(self._repositories / repository / "_tags") if self._shown else []

    def manifests(self, repository: str) -> Iterator[tuple[Digest, str, bytes]]:
        """Digest, media type and content of each manifest of a repository."""
        for name in _listed(self._repositories / repository / "_manifests") if self._shown else ():
            with contextlib.suppress(FileNotFoundError):
                media_type = (self._repositories / repository / "_manifests" / name).read_text()
                yield Digest(name), media_type, self.path(Digest(name)).read_bytes()

    def repositories(self) -> list[str]:
        """All that hold something."""
        if not self._shown:
            return []
        return sorted(
            str(found.parent.relative_to(self._repositories)) for found in self._repositories.rglob("_manifests")
            if _listed(found)
        )  # fmt: skip

    def delete(self, repository: str, name: str) -> bool:
        """Forget a tag; or a manifest, with the tags that mean it. Whether there was something."""
        directory = self._repositories / repository
        if ":" not in name:
            return _removed(directory / "_tags" / name)
        found = _removed(directory / "_manifests" / name)
        for tag in self.tags(repository):
            with contextlib.suppress(FileNotFoundError):
                if (directory / "_tags" / tag).read_text() == name:
                    (directory / "_tags" / tag).unlink()
        return found

    def release(self, repository: str, digests_: set[Digest], tag: str) -> None:
        """The engine has these manifests and what they name now: it is not kept twice."""
        self.delete(repository, tag)
        for digest in digests_:
            self.delete(repository, digest)
        self.clear_unneeded(digests_)

    def clear_unneeded(self, among: set[Digest]) -> None:
        """Delete blobs that were of manifests ``among`` those gone, and that no manifest here names."""
        needed: set[str] = set()
        for repository in self.repositories():
            for digest, _, content in self.manifests(repository):
                needed |= {digest, *named_in(content)}
        for digest in among:
            with contextlib.suppress(FileNotFoundError):
                for one in {digest, *named_in(self.path(digest).read_bytes())} - needed:
                    with contextlib.suppress(FileNotFoundError, InvalidInput):
                        self.path(digests.parse(one)).unlink()


def named_in(content: bytes) -> set[str]:
    """The digests that a manifest or index names."""
    try:
        value: Any = json.loads(content)
        members = [value.get("config"), *(value.get("layers") or ()), *(value.get("blobs") or ()),
                   *(value.get("manifests") or ())]  # fmt: skip
        return {str(one["digest"]) for one in members if isinstance(one, dict) and "digest" in one}
    except (ValueError, AttributeError, TypeError, RecursionError):
        return set()


def sha256(content: bytes) -> Digest:
    """The digest of a manifest."""
    return Digest(f"sha256:{hashlib.sha256(content).hexdigest()}")


def _listed(directory: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(directory) if not name.startswith(".part-"))
    except FileNotFoundError:
        return []


def _removed(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def _write(target: Path, content: bytes) -> None:
    descriptor, part = tempfile.mkstemp(dir=target.parent, prefix=".part-")
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(part, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        raise


def remove(root: Path) -> None:
    """A storage that lasts no longer than its registry."""
    shutil.rmtree(root, ignore_errors=True)

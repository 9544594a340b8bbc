"""Unpacked layers, one directory a chain ID, in the form that overlay mounts.

``layers/<short>/fs`` holds a layer's files and ``layer.json`` beside it says whose they are; ``short`` is the
first sixteen hex digits of the chain ID, so that the options of an overlay mount (one page) have room for 127
lower directories. A layer's directory is made under ``staging`` and appears by rename, whole or not at all.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from corten.errors import Conflict, CortenError, DataCorrupt, NotFound
from corten.spec import digest as digests
from corten.spec.digest import Digest
from corten.spec.document import Document
from corten.store import unpack
from corten.store.privilege import Privilege

_SHORT = 16


@dataclasses.dataclass(frozen=True, slots=True)
class Layer:
    """What ``layer.json`` says: ``parent`` is the chain ID below ('' for none), ``size`` bytes of files, ``disowned``
    how many of them are root's now, and were not in the archive."""

    chain_id: Digest
    diff_id: Digest
    parent: str
    size: int
    disowned: int = 0


class LayerStore:
    """The unpacked layers of one data root."""

    def __init__(self, root: Path, privilege: Privilege | None = None) -> None:
        self._layers = root / "layers"
        self._staging = root / "staging"
        self._privilege = privilege or Privilege.of_process()
        # 0700: an image's set-user-ID programs are nobody's on the host.
        for directory in (self._layers, self._staging):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    @staticmethod
    def short(chain_id: Digest) -> str:
        """The name of a layer's directory."""
        return digests.split(chain_id)[1][:_SHORT]

    def path(self, chain_id: Digest) -> Path:
        """Where a layer's files are, or would be."""
        return self._layers / self.short(chain_id) / "fs"

    def has(self, chain_id: Digest) -> bool:
        """Whether the layer is here. Raises Conflict when another chain ID has its short name."""
        try:
            self.record(chain_id)
        except NotFound:
            return False
        return True

    def record(self, chain_id: Digest) -> Layer:
        """What is known of a layer. Raises NotFound, DataCorrupt, Conflict."""
        try:
            content = (self._layers / self.short(chain_id) / "layer.json").read_bytes()
        except FileNotFoundError:
            raise NotFound(f"layer {chain_id}: not in the store") from None
        document = Document.parse(content, f"layer {chain_id}")
        found = document.text("chain_id")
        if found != chain_id:
            raise Conflict(f"layer {chain_id}: its short name is taken by {found}")
        return Layer(
            chain_id,
            digests.parse(document.text("diff_id")),
            document.text("parent"),
            document.number("size"),
        )

    def unpack(
        self, blob: Path, diff_id: Digest, parent: Layer | None, progress: Callable[[int], None]
    ) -> Layer:
        """Unpack a verified blob on top of ``parent``, in a process of its own; it is there on return.

        ``progress`` hears the bytes of the blob that have been read. Raises DataCorrupt when the content is
        not that of ``diff_id`` or would leave the root; nothing is kept then.
        """
        chain_id = digests.chain_ids([parent.chain_id, diff_id])[1] if parent else diff_id
        if self.has(chain_id):
            return self.record(chain_id)
        with self._staged() as staged:
            (staged / "fs").mkdir(mode=0o755)
            request = unpack.Request(
                blob=str(blob),
                target=str(staged / "fs"),
                lowers=tuple(str(path) for path in self._below(parent)),
                user_xattrs=self._privilege.user_xattrs,
                keep_owners=self._privilege.keep_owners,
            )
            result = unpack.run(request, progress)
            if result.diff_id != diff_id:
                raise DataCorrupt(f"layer {diff_id}: diff ID mismatch: its content is {result.diff_id}")
            layer = Layer(chain_id, diff_id, parent.chain_id if parent else "", result.size, result.disowned)
            (staged / "layer.json").write_text(json.dumps(dataclasses.asdict(layer)))
            self._publish(staged, chain_id)
        return layer

    def remove(self, short: str) -> int:
        """Forget a layer by its short name: it is gone at once, its bytes soon after. How many they are."""
        with self._staged() as staged:
            try:
                os.rename(self._layers / short, staged / "gone")
                return Document.parse((staged / "gone/layer.json").read_bytes(), f"layer {short}").number("size")
            except (FileNotFoundError, DataCorrupt):
                return 0

    def all(self) -> list[str]:
        """The short names of all layers that are here."""
        return sorted(os.listdir(self._layers))

    def _below(self, layer: Layer | None) -> Iterator[Path]:
        """The directories of a layer and all below it, highest first."""
        while layer:
            yield self.path(layer.chain_id)
            layer = self.record(Digest(layer.parent)) if layer.parent else None

    @contextlib.contextmanager
    def _staged(self) -> Iterator[Path]:
        try:
            directory = Path(tempfile.mkdtemp(dir=self._staging, prefix="layer-"))
        except OSError as error:
            raise CortenError.from_os("create", f"a directory in {self._staging}", error) from error
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)  # what cannot go now goes at the next start

    def _publish(self, staged: Path, chain_id: Digest) -> None:
        try:
            os.rename(staged, self._layers / self.short(chain_id))
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise CortenError.from_os("publish", f"layer {chain_id}", error) from error
            # Another pull of the same layer was faster. The two are equal.

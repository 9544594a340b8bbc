"""Unpacked layers, one directory a chain ID, each in one of the forms that overlay takes (:mod:`corten.store.forms`).

``layers/<short>`` holds a layer, and ``layer.json`` in it says whose it is; ``short`` is the first sixteen hex digits
of the chain ID, so that the options of an overlay mount (one page) have room for 127 lower directories. A layer's
directory is made under ``staging`` and appears by rename, whole or not at all.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from corten.errors import Conflict, CortenError, DataCorrupt, NotFound
from corten.spec import digest as digests
from corten.spec.digest import Digest
from corten.spec.document import Document
from corten.store import forms, snapshotters
from corten.store.forms import FILE, PLAIN, CopyForm, ErofsForm, Form, OverlayForm
from corten.store.privilege import Privilege
from corten.store.snapshotters import AUTO, Probe
from corten.store.unpack import MAX_BYTES, Request, Result, Unpacking
from corten.sys.paths import syncfs
from corten.sys.removal import remove_tree

_SHORT = 16


@dataclasses.dataclass(frozen=True, slots=True)
class Layer:
    """What ``layer.json`` says: ``parent`` is the chain ID below ('' for none), ``size`` bytes of files, ``disowned``
    how many of them are root's now, and were not in the archive; ``archive`` the bytes of that."""

    chain_id: Digest
    diff_id: Digest
    parent: str
    size: int
    disowned: int = 0
    form: str = "overlay"
    archive: int = 0


class LayerStore:
    """The unpacked layers of one data root. ``snapshotter`` is the form of new ones, or ``auto``; ``max_bytes`` what
    the archive of one may have."""

    def __init__(
        self, root: Path, privilege: Privilege | None = None, snapshotter: str = AUTO, max_bytes: int = MAX_BYTES
    ) -> None:
        self._layers = root / "layers"
        self._staging = root / "staging"
        self._privilege = privilege or Privilege.of_process()
        self._snapshotter, self._max_bytes = snapshotter, max_bytes
        self._chosen: tuple[Form, Probe] | None = None
        self._forms: dict[str, Form] = {
            form.name: form
            for form in (OverlayForm(self._privilege.keep_owners), ErofsForm(), CopyForm(self._privilege.keep_owners))
        }
        self._files: dict[str, str] = {}
        self._plain: dict[str, bool] = {}
        self._is_unsynced = False
        self.published: Callable[[str], None] = lambda _: None
        self.removed: Callable[[str], None] = lambda _: None
        """They hear the short name of a layer that came or is about to go, in whatever thread that is."""
        # 0700: an image's set-user-ID programs are nobody's on the host.
        for directory in (self._layers, self._staging):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def form(self) -> str:
        """The form of new layers. Raises InvalidInput when what was asked for does not work here."""
        return self._choice()[0].name

    @property
    def probe(self) -> Probe:
        """What was found out of layers that are files."""
        return self._choice()[1]

    def _choice(self) -> tuple[Form, Probe]:
        """Made when first needed: it takes a mount."""
        if self._chosen is None:
            self._chosen = snapshotters.choose(self._snapshotter, self._staging, self._privilege)
        return self._chosen

    @property
    def directory(self) -> Path:
        """Where layers are."""
        return self._layers

    def files(self, shorts: Sequence[str]) -> tuple[str, ...]:
        """Of layers, those that are files: where they are, below the data root."""
        return tuple(file for short in shorts if (file := self._file(short)))

    def _file(self, short: str) -> str:
        known = self._files.get(short)
        if known is None:
            known = f"layers/{short}/{FILE}" if (self._layers / short / FILE).exists() else ""
            self._files[short] = known
        return known

    def are_copied(self, shorts: Sequence[str]) -> bool:
        """Whether what stands on these layers is a copy of their files: one of them has no form that can be mounted."""
        return any(self._is_plain(short) for short in shorts)

    def _is_plain(self, short: str) -> bool:
        known = self._plain.get(short)
        if known is None:
            known = self._plain[short] = (self._layers / short / PLAIN).exists()
        return known

    @staticmethod
    def short(chain_id: Digest) -> str:
        """The name of a layer's directory."""
        return digests.split(chain_id)[1][:_SHORT]

    def path(self, chain_id: Digest) -> Path:
        """Where a layer's files are seen, or would be; one that is a file is seen there only where it is mounted."""
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
            form=document.text("form") or "overlay",
            archive=document.number("archive"),
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
        with self.coming(blob, blob.stat().st_size, diff_id, lowest=parent is None) as coming:
            coming.finish(progress)
            return coming.publish(parent)

    @contextlib.contextmanager
    def coming(self, blob: Path, size: int, diff_id: Digest, *, lowest: bool) -> Iterator[Coming]:
        """A layer whose process works already on a file that is a blob of ``size`` bytes, or becomes one. Nothing is
        kept of a layer that was not published within the block."""
        form = self._choice()[0]
        with self._staged() as staged, Unpacking(self._request(form, staged, str(blob), size, lowest)) as unpacking:
            yield Coming(self, form, staged, diff_id, unpacking)

    @contextlib.contextmanager
    def made(self, *, lowest: bool) -> Iterator[Made]:
        """A layer that comes about here, with its archive. Nothing is kept of one that was not published within the
        block."""
        form = self._choice()[0]
        with self._staged() as staged:
            yield Made(self, form, staged, self._request(form, staged, "", 0, lowest))

    def _request(self, form: Form, staged: Path, blob: str, size: int, lowest: bool) -> Request:
        return Request(
            blob=blob,
            target=str(form.begin(staged)),
            size=size,
            form=form.name,
            lowest=lowest,
            user_xattrs=self._privilege.user_xattrs,
            keep_owners=self._privilege.keep_owners,
            max_bytes=self._max_bytes,
        )

    def archive(self, chain_id: Digest) -> Iterator[bytes] | None:
        """The archive that a layer was made of, to the byte; None where only its files were kept. Raises NotFound."""
        layer = self.record(chain_id)
        if not (file := self._file(self.short(chain_id))):
            return None
        from corten.store import erofs

        return erofs.archive_of(self._layers.parent / file, layer.archive)

    def name(self, staged: Path, form: str, result: Result, parent: Layer | None) -> Layer:
        """Put right what depends on the layers below, and give a layer its name on top of ``parent``, which is there.
        Raises CortenError."""
        chain_id = digests.chain_ids([parent.chain_id, result.diff_id])[1] if parent else result.diff_id
        layer = Layer(
            chain_id, result.diff_id, parent.chain_id if parent else "", result.size, result.disowned, form,
            result.archive,
        )  # fmt: skip
        self._settle(staged, layer, result)
        self._write(staged, layer)
        self._forget_form(self.short(chain_id))
        self._publish(staged, chain_id)
        self.published(self.short(chain_id))
        return layer

    def _settle(self, staged: Path, layer: Layer, result: Result) -> None:
        try:
            implied = [(_parts(path), place) for path, place in result.implied]
            below = forms.looked_up(self._below(layer.parent)) if layer.parent else lambda _: None
            self._forms[layer.form].settle(staged, implied, below)
        except OSError as error:
            raise CortenError.from_os("publish", f"layer {layer.chain_id}", error) from error

    def _write(self, staged: Path, layer: Layer) -> None:
        """What is known of a layer. With a layer that is a file, all of it is on disk then; what is in a directory is
        for :meth:`sync`."""
        try:
            with (staged / "layer.json").open("w") as file:
                file.write(json.dumps(dataclasses.asdict(layer)))
                file.flush()
                os.fsync(file.fileno())
            _sync_directory(staged)
        except OSError as error:
            raise CortenError.from_os("write", f"layer {layer.chain_id}", error) from error
        self._is_unsynced |= layer.form != "erofs"

    def sync(self) -> None:
        """Return when the layers that have come are on disk: before an image is said to have them. Raises OSError."""
        if self._is_unsynced:
            self._is_unsynced = False
            descriptor = os.open(self._layers, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                syncfs(descriptor)
            finally:
                os.close(descriptor)
        else:
            _sync_directory(self._layers)

    def remove(self, short: str) -> int:
        """Forget a layer by its short name: it is gone at once, its bytes soon after. How many they are."""
        with self._staged() as staged:
            try:
                os.rename(self._layers / short, staged / "gone")
                self._forget_form(short)
                self.removed(short)
                return Document.parse((staged / "gone/layer.json").read_bytes(), f"layer {short}").number("size")
            except (FileNotFoundError, DataCorrupt):
                return 0

    def _forget_form(self, short: str) -> None:
        self._files.pop(short, None)
        self._plain.pop(short, None)

    def all(self) -> list[str]:
        """The short names of all layers that are here."""
        return sorted(os.listdir(self._layers))

    def _below(self, parent: str) -> Iterator[tuple[Form, Path]]:
        """The forms and directories of a layer and all below it, highest first."""
        while parent:
            layer = self.record(Digest(parent))
            yield self._forms[layer.form], self._layers / self.short(layer.chain_id)
            parent = layer.parent

    @contextlib.contextmanager
    def _staged(self) -> Iterator[Path]:
        try:
            directory = Path(tempfile.mkdtemp(dir=self._staging, prefix="layer-"))
        except OSError as error:
            raise CortenError.from_os("create", f"a directory in {self._staging}", error) from error
        try:
            yield directory
        finally:
            with contextlib.suppress(OSError):  # what cannot go now goes at the next start
                remove_tree(directory)

    def _publish(self, staged: Path, chain_id: Digest) -> None:
        try:
            os.rename(staged, self._layers / self.short(chain_id))
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise CortenError.from_os("publish", f"layer {chain_id}", error) from error
            # Another pull of the same layer was faster. The two are equal.


class Made:
    """A layer that is being made. ``request`` is for the process that makes it: see :mod:`corten.store.unpack`."""

    def __init__(self, store: LayerStore, form: Form, staged: Path, request: Request) -> None:
        self._store, self._form, self._staged = store, form, staged
        self.request = request

    def publish(self, result: Result, parent: Layer | None) -> Layer:
        """Give it its name on top of ``parent``, which is there; once it is whole."""
        return self._store.name(self._staged, self._form.name, result, parent)


class Coming:
    """A layer on its way in. Its process works from the beginning."""

    def __init__(self, store: LayerStore, form: Form, staged: Path, diff_id: Digest, process: Unpacking) -> None:
        self._store, self._form, self._staged, self._diff_id = store, form, staged, diff_id
        self._process = process
        self.form = form.name
        self._result: Result | None = None

    def there(self, size: int) -> None:
        """So many bytes of its blob are on disk."""
        self._process.there(size)

    def finish(self, progress: Callable[[int], None]) -> None:
        """Its blob is complete, and verified: wait until it is unpacked. Raises DataCorrupt, CortenError."""
        result = self._process.result(progress)
        if result.diff_id != self._diff_id:
            raise DataCorrupt(f"layer {self._diff_id}: diff ID mismatch: its content is {result.diff_id}")
        self._result = result

    def publish(self, parent: Layer | None) -> Layer:
        """Give it its name on top of ``parent``, which is there; once it is finished."""
        assert self._result is not None
        return self._store.name(self._staged, self.form, self._result, parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _parts(path: str) -> tuple[bytes, ...]:
    return tuple(part for part in os.fsencode(path).split(b"/") if part)

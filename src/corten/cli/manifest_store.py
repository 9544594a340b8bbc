"""Lists of manifests that are being put together, in the files of Docker's command line."""

from __future__ import annotations

import contextlib
import json
import os
import shutil

from corten.errors import CortenError, DataCorrupt, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.spec.reference import Reference

    Entry = dict[str, Any]


class ManifestStore:
    """A directory a list, a file a manifest, in ``manifests`` beside the client's configuration."""

    def __init__(self, config: str) -> None:
        self._root = os.path.join(os.path.dirname(config), "manifests")

    def entries(self, target: Reference) -> list[Entry]:
        """The manifests of a list; none where there is no such list. Raises CortenError."""
        directory = self._directory(target)
        try:
            names = sorted(os.listdir(directory))
        except FileNotFoundError:
            return []
        return [entry for name in names if (entry := _read(os.path.join(directory, name)))]

    def find(self, target: Reference, reference: Reference) -> Entry | None:
        """One manifest of a list; None where it is not there. Raises CortenError."""
        return _read(self._path(target, reference))

    def get(self, target: Reference, reference: Reference) -> Entry:
        """As :meth:`find`. Raises NotFound."""
        entry = self.find(target, reference)
        if entry is None:
            raise NotFound(f"No such manifest: {reference}")
        return entry

    def save(self, target: Reference, reference: Reference, entry: Entry) -> None:
        """Add a manifest to a list, or write it anew. Raises CortenError."""
        path = self._path(target, reference)
        part = f"{path}.part-{os.getpid()}"
        try:
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            with open(part, "x", encoding="utf-8") as file:
                json.dump(entry, file)
            os.rename(part, path)
        except OSError as error:
            raise CortenError.from_os("write", path, error) from error
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part)

    def remove(self, target: Reference) -> None:
        """Forget a list. Raises CortenError."""
        try:
            shutil.rmtree(self._directory(target))
        except OSError as error:
            raise CortenError.from_os("remove", self._directory(target), error) from error

    def _directory(self, target: Reference) -> str:
        return os.path.join(self._root, _safe(target))

    def _path(self, target: Reference, reference: Reference) -> str:
        return os.path.join(self._directory(target), _safe(reference))


def _safe(reference: Reference) -> str:
    """A reference as the name of a file."""
    return str(reference).replace(":", "-").replace("/", "_")


def _read(path: str) -> Entry | None:
    try:
        with open(path, "rb") as file:
            entry = json.load(file)
        entry["Descriptor"]["digest"], entry["Ref"], entry["Raw"]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CortenError.from_os("read", path, error) from error
    except (ValueError, KeyError, TypeError):
        raise DataCorrupt(f"read {path}: it is no manifest of a list") from None
    found: Entry = entry
    return found

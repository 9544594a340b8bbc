"""How layers are kept, in Docker's words."""

from __future__ import annotations

from corten.store.layers import LayerStore

_DRIVERS = {"overlay": "overlay2", "copy": "vfs"}


def driver(form: str) -> str:
    """Docker's name for a form of layers; Corten's own where Docker has none."""
    return _DRIVERS.get(form, form)


def status(layers: LayerStore, *, user_xattrs: bool) -> list[list[str]]:
    """What ``info`` tells of it."""
    if layers.form == "copy":
        return [["overlay", layers.probe.no_overlay], ["EROFS", layers.probe.why]]
    rows = [["Supports d_type", "true"], ["userxattr", str(user_xattrs).lower()]]
    if layers.form == "erofs":
        return [*rows, ["Direct I/O", str(layers.probe.direct).lower()]]
    return [*rows, ["EROFS", layers.probe.why]] if layers.probe.why else rows

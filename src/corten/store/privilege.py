"""What this process may write into a layer: the store's one place that tells root from ordinary users."""

from __future__ import annotations

import dataclasses
import os

from corten.sys import standing


@dataclasses.dataclass(frozen=True, slots=True)
class Privilege:
    """How layers are unpacked."""

    user_xattrs: bool
    """Overlay's marks as ``user.overlay.*``: ``trusted.*`` is for the machine's root (overlayfs.rst)."""
    keep_owners: bool
    """Whether owners can be kept; with a single id every file is ours."""

    @classmethod
    def of_process(cls) -> Privilege:
        """The privilege of this process, by its user namespace."""
        here, root = standing.of_process(), os.geteuid() == 0
        return cls(user_xattrs=not (root and here.initial), keep_owners=root and not here.is_single)

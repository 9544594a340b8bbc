"""The names an engine derives from a data root, computed here anew, to find what it left behind."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path


@dataclasses.dataclass(frozen=True, slots=True)
class Names:
    """Everything outside its data root that an engine makes."""

    run: Path
    bridge: str
    cgroup: str
    table: str

    @property
    def socket(self) -> Path:
        """Where the API listens."""
        return self.run / "corten.sock"


def names_of(root: Path) -> Names:
    """The names for a data root that is not the standard one."""
    short = hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:8]
    if os.geteuid() == 0:
        run = Path(f"/run/corten-{short}")
    else:
        run = Path(os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.geteuid()}")) / f"corten-{short}"
    return Names(run, f"ct-{short}", f"corten-{short}", f"corten_{short}")

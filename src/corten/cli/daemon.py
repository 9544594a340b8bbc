"""``corten daemon``: the engine in the foreground. This process becomes it: the CLI has none of the engine's code."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from .options import Values


def become(options: Values, words: list[str]) -> NoReturn:
    """Execute the engine with its own options, and those that stood before ``daemon``. Raises OSError."""
    given = [f"--host={host}" for host in options.host]
    given += [f"--{name}" for name in ("tls", "tlsverify") if getattr(options, name)]
    given += [f"--{name}={path}" for name in ("tlscacert", "tlscert", "tlskey") if (path := getattr(options, name))]
    if options.root:
        given.append(f"--root={options.root}")
    # -P: the current directory's modules are none of the engine's.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "corten.daemon", *given, *words])

"""The machine's architecture, as the kernel names it."""

from __future__ import annotations

import os

MACHINE = os.uname().machine
"""``x86_64`` or ``aarch64``."""

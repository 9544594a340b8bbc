"""``image bootstrap``: a real base image out of what this machine has, without any registry.

``busybox`` is the machine's static busybox: the same bytes each time, so the same image. ``debian:SUITE`` is made
by mmdebstrap or debootstrap from the machine's own mirror; of apt's configuration only the mirror's address is
used, without the user and password that it may hold.
"""

from __future__ import annotations

import os
import sys

from corten.errors import InvalidInput

from .context import Context
from .options import Command
from .pull import show_progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .options import Values

_TAR = {"Content-Type": "application/x-tar"}
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def bootstrap(context: Context, values: Values, arguments: list[str]) -> int:
    """``image bootstrap``."""
    name, _, tag = arguments[0].partition(":")
    if name == "busybox":
        from .bootstrap_busybox import layer

        _send(context, name, tag or "latest", ['CMD ["sh"]', f"ENV {_PATH}"], layer())
        return 0
    if name == "debian":
        from .bootstrap_debian import DEFAULT_SUITE, root_file_system

        suite = tag or DEFAULT_SUITE
        with root_file_system(suite) as content:
            _send(context, name, suite, ['CMD ["bash"]', f"ENV {_PATH}"], content)
        return 0
    raise InvalidInput(f"bootstrap {arguments[0]}: it is busybox or debian:SUITE")


def _send(context: Context, name: str, tag: str, changes: list[str], content: Iterable[bytes]) -> None:
    query = {
        "fromSrc": "-", "repo": name, "tag": tag, "changes": tuple(changes),
        "message": f"corten image bootstrap {name}:{tag}",
    }  # fmt: skip
    with context.client.open("POST", "/images/create", query, body=content, headers=_TAR) as answer:
        show_progress(answer.documents(), sys.stdout)
    context.out(f"{name}:{tag}")


def tool(*names: str) -> str:
    """The first of some programs that is installed; '' for none."""
    directories = [*os.environ.get("PATH", os.defpath).split(":"), "/usr/sbin", "/sbin"]
    paths = (os.path.join(directory, name) for name in names for directory in directories)
    return next((path for path in paths if os.access(path, os.X_OK)), "")


BOOTSTRAP = Command(
    bootstrap,
    "Make a base image from what this machine has, without a registry",
    "busybox|debian[:SUITE]",
    arguments=(1, 1),
)

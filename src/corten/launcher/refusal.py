"""Why this machine lets an ordinary user make no user namespace, and how that is lifted."""

from __future__ import annotations

import errno
import os

from corten.errors import AccessDenied

_CAUSES = (
    ("user/max_user_namespaces", "0", "the limit of user namespaces is 0", "user.max_user_namespaces=15000"),
    (
        "kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone is 0",
        "kernel.unprivileged_userns_clone=1",
    ),
    (
        "kernel/apparmor_restrict_unprivileged_userns", "1", "AppArmor restricts them (Ubuntu's default since 23.10)",
        "kernel.apparmor_restrict_unprivileged_userns=0",
    ),
)  # fmt: skip
"""(setting, value that forbids, in words, what allows it again)."""


def refusal(error: OSError, settings: str = "/proc/sys") -> AccessDenied:
    """What to tell the user whose namespace the kernel refused with ``error``."""
    message = "make a user namespace: ordinary users may not on this machine"
    for name, forbids, words, lift in _CAUSES:
        if _read(f"{settings}/{name}") == forbids:
            return AccessDenied(f"{message}: {words}", hint=_lifted_by(lift))
    if error.errno == errno.ENOSPC:
        return AccessDenied(f"{message}: the limit is reached", hint=_lifted_by("user.max_user_namespaces=15000"))
    cause = os.strerror(error.errno or 0).lower()
    return AccessDenied(
        f"{message}: {cause}",
        hint="no sysctl forbids it; a seccomp filter or a security module does, as inside most containers\n"
        "run Corten as root, or outside of the container",
    )


def _lifted_by(setting: str) -> str:
    return (
        f"an administrator lifts it with\n    sudo sysctl -w {setting}\n"
        f"and for good with {setting} in a file of /etc/sysctl.d; as root, Corten runs without it"
    )


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""

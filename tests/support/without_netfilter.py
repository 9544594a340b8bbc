"""``python without_netfilter.py COMMAND…``: execute a command for which the kernel has no netfilter.

A seccomp filter, that all its children inherit, answers socket(AF_NETLINK, …, NETLINK_NETFILTER) as such a kernel does.
"""

from __future__ import annotations

import errno
import os
import platform
import socket
import sys

from corten.sys import seccomp
from corten.wire.bpf import ARGUMENTS, EQUAL, NUMBER, assemble, jump, load, ret

_SOCKET = {"x86_64": 41, "aarch64": 198}
_NETLINK_NETFILTER = 12
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000


def main(argv: list[str]) -> None:
    """Never returns."""
    program = [
        load(NUMBER), jump(EQUAL, _SOCKET[platform.machine()], 0, 5),
        load(ARGUMENTS), jump(EQUAL, socket.AF_NETLINK, 0, 3),
        load(ARGUMENTS + 16), jump(EQUAL, _NETLINK_NETFILTER, 0, 1),
        ret(_ERRNO | errno.EPROTONOSUPPORT), ret(_ALLOW),
    ]  # fmt: skip
    seccomp.load(assemble(program))
    os.execvp(argv[0], argv)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Profiles: the default one, and users' files in Docker's form, resolved to the OCI's ``linux.seccomp``.

The default equals Docker's: what is not refused and needs no capability is allowed. It is written down as what is
held back, which is the short list; everything else that the tables know is allowed.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from typing import Any

from corten.runtime.seccomp.tables import AARCH64, I386, X86_64
from corten.sys.machine import MACHINE

_GATED = {
    "SYS_ADMIN": (
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr "
        "lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl "
        "quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare"
    ),
    "SYS_BOOT": "reboot",
    "SYS_CHROOT": "chroot",
    "SYS_MODULE": "delete_module init_module finit_module",
    "SYS_PACCT": "acct",
    "SYS_PTRACE": "kcmp pidfd_getfd process_madvise",
    "SYS_RAWIO": "iopl ioperm",
    "SYS_TIME": "settimeofday stime clock_settime clock_settime64",
    "SYS_TTY_CONFIG": "vhangup",
    "SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "SYSLOG": "syslog",
    "BPF": "bpf",
    "PERFMON": "perf_event_open",
    "DAC_READ_SEARCH": "open_by_handle_at",
}
"""Allowed to who has the capability."""

_REFUSED = (
    "_sysctl add_key afs_syscall bdflush break create_module ftime get_kernel_syms getpmsg gtty idle io_uring_enter "
    "io_uring_register io_uring_setup kexec_file_load kexec_load keyctl lock migrate_pages move_pages mpx "
    "nfsservctl nice oldfstat oldlstat oldolduname oldstat olduname open_tree_attr personality pivot_root prof "
    "profil putpmsg query_module readdir request_key security sgetmask sigaction signal sigpending sigsuspend "
    "socket ssetmask stty swapoff swapon sysfs tuxcall ulimit uselib userfaultfd ustat vm86 vm86old vserver"
)
"""Allowed to nobody, or with conditions on their arguments only."""

_NAMESPACES = 0x7E020000
"""All CLONE_NEW… flags."""
_DOMAINS_END = 46
_REFUSED_DOMAINS = (12, 19, 20, 23, 25, 34, 37, 38, 40)
"""DECnet, Econet, ATM SVC, IrDA, Wanpipe, ISDN, CAIF: gone from the kernel. ALG: the kernel's cryptography, a large
surface that containers do not need. VSOCK: the machine's own virtual machines, whatever the network namespace."""
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
"""PER_LINUX, PER_LINUX32, each with UNAME26, and the query."""
_EPERM, _ENOSYS = 1, 38
_ARCHES = {"x86_64": ("amd64", "x86", "x32"), "aarch64": ("arm64", "arm")}
_OCI_ARCHES = {"x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], "aarch64": ["SCMP_ARCH_AARCH64"]}


def default_profile(capabilities: Collection[str]) -> dict[str, Any]:
    """The default profile for a container that holds these capabilities (names without ``CAP_``)."""
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": _EPERM,
        "architectures": _OCI_ARCHES.get(MACHINE, []),
        "syscalls": list(_default_rules(frozenset(capabilities))),
    }


def _default_rules(held: frozenset[str]) -> Iterator[dict[str, Any]]:
    gated = {name: capability for capability, names in _GATED.items() for name in names.split()}
    granted = {name for capability in held & _GATED.keys() for name in _GATED[capability].split()}
    known = {*X86_64, *I386, *AARCH64}
    yield _allow(*sorted(name for name in known - {*_REFUSED.split()} if name not in gated or name in granted))
    for domain in _REFUSED_DOMAINS:
        yield {**_allow("socket", args=[_condition(0, "SCMP_CMP_EQ", domain)]), "action": "SCMP_ACT_ERRNO"}
    yield _allow("socket", args=[_condition(0, "SCMP_CMP_LT", _DOMAINS_END)])
    for value in _PERSONALITIES:
        yield _allow("personality", args=[_condition(0, "SCMP_CMP_EQ", value)])
    if "clone" not in granted:
        yield _allow("clone", args=[_condition(0, "SCMP_CMP_MASKED_EQ", _NAMESPACES, 0)])
        # clone3 has its flags in memory, out of a filter's sight: "not there" makes C libraries use clone.
        yield {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS}


def _allow(*names: str, args: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"names": list(names), "action": "SCMP_ACT_ALLOW", "args": args or []}


def _condition(index: int, operator: str, value: int, value_two: int = 0) -> dict[str, Any]:
    return {"index": index, "op": operator, "value": value, "valueTwo": value_two}


def resolve_profile(profile: dict[str, Any], capabilities: Collection[str]) -> dict[str, Any]:
    """A user's file, with Docker's ``includes``, ``excludes`` and ``archMap`` decided for this machine."""
    rules = [_named(rule) for rule in profile.get("syscalls") or () if _applies(rule, frozenset(capabilities))]
    architectures = profile.get("architectures") or _mapped(profile) or _OCI_ARCHES.get(MACHINE, [])
    return {**profile, "syscalls": rules, "architectures": architectures}


def _named(rule: dict[str, Any]) -> dict[str, Any]:
    """With ``names``: profiles of before Docker 1.13 have one ``name`` a rule."""
    return {**rule, "names": rule.get("names") or [rule["name"]]} if rule.get("name") else rule


def _mapped(profile: dict[str, Any]) -> list[str]:
    """This machine's line of ``archMap``: what is allowed beside its own architecture."""
    own = _OCI_ARCHES.get(MACHINE, [""])[0]
    for line in profile.get("archMap") or ():
        if line.get("architecture") == own:
            return [own, *(line.get("subArchitectures") or ())]
    return []


def _applies(rule: dict[str, Any], held: frozenset[str]) -> bool:
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    arches = frozenset(_ARCHES.get(MACHINE, (MACHINE,)))
    kernel = includes.get("minKernel")
    return (
        all(_plain(name) in held for name in includes.get("caps") or ())
        and (not includes.get("arches") or bool(arches & frozenset(includes["arches"])))
        and (not kernel or _kernel(os.uname().release) >= _kernel(kernel))
        and not any(_plain(name) in held for name in excludes.get("caps") or ())
        and not arches & frozenset(excludes.get("arches") or ())
    )


def _plain(name: str) -> str:
    return name.upper().removeprefix("CAP_")


def _kernel(release: str) -> tuple[int, int]:
    major, minor = [*release.split("-")[0].split("."), "0"][:2]
    return int(major), int(minor)

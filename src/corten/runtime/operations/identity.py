"""Operations that settle who the command runs as, and the last one, which executes it."""

from __future__ import annotations

import dataclasses
import errno
import os
import resource
import shlex
import stat
from typing import ClassVar

from corten.errors import CortenError, InvalidInput
from corten.runtime import accounts
from corten.runtime.command import candidates, resolve
from corten.runtime.operations.paths import opened, target
from corten.runtime.reaper import reap
from corten.spec.operation import Context, Operation, operation
from corten.spec.runtime import User
from corten.sys import capabilities, process
from corten.sys.terminal import make_controlling, set_size

_GROUP = "privileges"
_INFINITY = 2**64 - 1
_PTY_SLAVES = range(136, 144)
"""UNIX98_PTY_SLAVE_MAJOR, linux/major.h."""
_NOT_GRANTED = (
    "the user namespace has no such id: it has those that /etc/subuid and /etc/subgid granted the user when the engine "
    "started, and root"
)
RLIMITS = tuple(
    f"RLIMIT_{name}"
    for name in (
        "CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS", "LOCKS", "SIGPENDING",
        "MSGQUEUE", "NICE", "RTPRIO", "RTTIME",
    )
)  # fmt: skip
"""By number: asm-generic/resource.h, which both machines share."""


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class Session(Operation):
    """A session and a key ring of its own, and the terminal if there is one."""

    kind: ClassVar[str] = "process.session"
    group: ClassVar[str] = _GROUP

    terminal: bool = False
    rows: int = 0
    columns: int = 0

    def what(self) -> str:
        return "session"

    def why(self) -> str:
        return "The command leads a session of its own: no signal or key of whoever started it reaches in."

    def shell(self) -> str:
        return "setsid --ctty" if self.terminal else "setsid"

    def ahead(self) -> bool:
        return not self.terminal

    def run(self, context: Context) -> None:
        context.lead_session()
        try:
            process.new_session_keyring()
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOSYS, errno.EDQUOT):  # no keys here, or no more of them
                raise
        if self.terminal:
            if self.rows and self.columns:
                set_size(context.terminal, self.rows, self.columns)
            make_controlling(context.terminal)
            for number in range(3):
                os.dup2(context.terminal, number)


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class Limits(Operation):
    """Resource limits of the process and all that it starts: (name, soft, hard)."""

    kind: ClassVar[str] = "process.limits"
    group: ClassVar[str] = "limits"

    values: tuple[tuple[str, int, int], ...]

    def what(self) -> str:
        return " ".join(name.removeprefix("RLIMIT_").lower() for name, _, _ in self.values)

    def why(self) -> str:
        return "Asked for: bounds on what one process may use, such as open files."

    def shell(self) -> str:
        return " && ".join(
            f"prlimit --pid $$ --{name.removeprefix('RLIMIT_').lower()}={_limit(soft)}:{_limit(hard)}"
            for name, soft, hard in self.values
        )

    def run(self, context: Context) -> None:
        for name, soft, hard in self.values:
            values = tuple(-1 if value == _INFINITY else value for value in (soft, hard))
            try:
                resource.setrlimit(RLIMITS.index(name), (values[0], values[1]))
            except (ValueError, PermissionError) as error:
                hint = "raising a hard limit needs CAP_SYS_RESOURCE, which this machine does not give"
                raise CortenError(f"set {name} to {_limit(soft)}:{_limit(hard)}: {error}", hint=hint) from error


def _limit(value: int) -> str:
    return "unlimited" if value == _INFINITY else str(value)


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class OomScore(Operation):
    """How readily the kernel kills this process when memory runs out."""

    kind: ClassVar[str] = "process.oom-score"
    group: ClassVar[str] = "limits"

    value: int

    def what(self) -> str:
        return str(self.value)

    def why(self) -> str:
        return "Asked for: whom the kernel kills first when the whole machine is out of memory."

    def shell(self) -> str:
        return f"echo {self.value} > /proc/self/oom_score_adj"

    def run(self, context: Context) -> None:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(str(self.value))


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class WorkingDirectory(Operation):
    """Change to the working directory, which is made where it is missing: for a container, not for an exec."""

    kind: ClassVar[str] = "process.cwd"
    group: ClassVar[str] = "file system"
    poises: ClassVar[bool] = True

    path: str
    make: bool = True

    def what(self) -> str:
        return self.path

    def why(self) -> str:
        return "Where the command starts."

    def shell(self) -> str:
        return f"mkdir -p {self.path} && cd {self.path}" if self.make else f"cd {self.path}"

    def rehearse(self, context: Context) -> None:
        WorkingDirectory("/").run(context)

    def run(self, context: Context) -> None:
        # Without magic links: /proc/self/fd/7 could be a directory of the host that was left open (CVE-2024-21626).
        root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if not self.path.startswith("/"):
                raise InvalidInput("it must be an absolute path")
            made = target(root, self.path, directory=True) if self.make else opened(root, self.path)
            with made as place:
                os.fchdir(place)
        finally:
            os.close(root)


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class Identity(Operation):
    """Become the container's user. ``name`` is looked up in the container's own files and wins over the numbers."""

    kind: ClassVar[str] = "process.identity"
    group: ClassVar[str] = _GROUP
    poises: ClassVar[bool] = True

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    name: str = ""
    named_groups: tuple[str, ...] = ()
    umask: int = 0o022

    def what(self) -> str:
        return self.name or f"{self.uid}:{self.gid}"

    def why(self) -> str:
        return "The container's own /etc/passwd and /etc/group say who this is and which groups it belongs to."

    def shell(self) -> str:
        return f"setpriv --reuid={self.uid} --regid={self.gid} --init-groups …"

    def rehearse(self, context: Context) -> None:
        accounts.look_up(User(name="0"))

    def run(self, context: Context) -> None:
        account = accounts.look_up(User(self.uid, self.gid, None, self.groups, self.name, self.named_groups))
        context.home = account.home
        _own_stdio(account.uid)
        capabilities.keep_on_setuid()
        _set_groups(account.groups)
        try:
            os.setresgid(account.gid, account.gid, account.gid)
            os.setresuid(account.uid, account.uid, account.uid)
        except OSError as error:
            raise _unmapped(account, error) from error
        os.umask(self.umask)
        # The change of user made it dumpable again (prctl(2)): until the exec, nothing in here may look inside.
        process.set_dumpable(False)


def _set_groups(groups: tuple[int, ...]) -> None:
    """Raises CortenError. In a user namespace with a single group, setgroups(2) is given up for good (a process could
    leave a group that is denied something): the groups stay, and are nobody's inside."""
    try:
        os.setgroups(groups)
    except PermissionError:
        if not capabilities.permitted() & capabilities.mask(("SETGID",)):
            raise
    except OSError as error:
        raise CortenError(f"groups {groups}: {(error.strerror or '').lower()}", hint=_NOT_GRANTED) from error


def _unmapped(account: accounts.Account, error: OSError) -> CortenError:
    """EINVAL: no id outside stands behind one of these."""
    hint = _NOT_GRANTED if error.errno == errno.EINVAL else ""
    return CortenError(f"become {account.uid}:{account.gid}: {(error.strerror or '').lower()}", hint=hint)


def _own_stdio(uid: int) -> None:
    """Pipes, and the container's own terminal, belong to the user, who may open them again by /dev/stdout.

    Nothing else does: standard input may well be the host's /dev/null.
    """
    for number in range(3):
        try:
            status = os.fstat(number)
            if status.st_uid != uid and (_is_pipe(status.st_mode) or os.major(status.st_rdev) in _PTY_SLAVES):
                os.fchown(number, uid, -1)
        except OSError as error:
            if error.errno not in (errno.EBADF, errno.EPERM, errno.EINVAL):  # not open; not ours; no such id in here
                raise


def _is_pipe(mode: int) -> bool:
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class LimitCapabilities(Operation):
    """Keep no more capabilities than the command is to have: names without ``CAP_``, the five sets.

    ``pending`` are held on to besides, for a step that follows and needs them.
    """

    kind: ClassVar[str] = "process.capabilities"
    group: ClassVar[str] = _GROUP
    poises: ClassVar[bool] = True

    bounding: tuple[str, ...] = ()
    effective: tuple[str, ...] = ()
    permitted: tuple[str, ...] = ()
    inheritable: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()

    def what(self) -> str:
        kept = f"{len(self.bounding)} of {len(capabilities.NAMES)}"
        return " and ".join((kept, *self.pending))

    def why(self) -> str:
        if self.pending:
            return f"Root's power comes in pieces; most are given up here, {' '.join(self.pending)} a little later."
        return "What is left is all that root in here can do, and nothing that it executes can get others back."

    def shell(self) -> str:
        kept = ",".join(f"+{name.lower()}" for name in self.bounding)
        return f"setpriv --bounding-set=-all{',' if kept else ''}{kept} …"

    def rehearse(self, context: Context) -> None:
        held = capabilities.permitted()
        capabilities.set_all(effective=held, permitted=held, inheritable=0)
        for names in (self.bounding, self.permitted, self.effective, self.inheritable, self.ambient, self.pending):
            capabilities.mask(names)

    def run(self, context: Context) -> None:
        # What this machine's own bounding set lacks cannot be given: it is left out, not an error.
        bounding = capabilities.mask(self.bounding) & capabilities.bounding()
        permitted, effective, inheritable, ambient = (
            capabilities.mask(names) & bounding
            for names in (self.permitted, self.effective, self.inheritable, self.ambient)
        )
        # A change of user clears the effective set, and dropping from the bounding set takes CAP_SETPCAP.
        held = capabilities.permitted()
        capabilities.set_all(effective=held, permitted=held, inheritable=0)
        capabilities.limit_bounding(bounding)
        if os.getuid():  # what exec leaves to a user who is not root (capabilities(7))
            permitted = effective = ambient
        pending = capabilities.mask(self.pending) & capabilities.permitted()
        capabilities.set_all(effective=effective | pending, permitted=permitted | pending, inheritable=inheritable)
        capabilities.set_ambient(ambient & inheritable)


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class NoNewPrivileges(Operation):
    """Set-user-ID programs give nothing."""

    kind: ClassVar[str] = "process.no-new-privileges"
    group: ClassVar[str] = _GROUP
    poises: ClassVar[bool] = True

    def what(self) -> str:
        return "no_new_privs"

    def why(self) -> str:
        return "Asked for: no program that the container executes may gain privileges, sudo included."

    def shell(self) -> str:
        return "setpriv --no-new-privs …"

    def run(self, context: Context) -> None:
        process.set_no_new_privileges()


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class AppArmor(Operation):
    """Choose the profile that confines the command."""

    kind: ClassVar[str] = "process.apparmor"
    group: ClassVar[str] = _GROUP

    profile: str

    def what(self) -> str:
        return self.profile

    def why(self) -> str:
        return "The kernel holds the command to what this profile allows, whatever its user may do."

    def shell(self) -> str:
        return f"aa-exec -p {shlex.quote(self.profile)} -- …"

    def run(self, context: Context) -> None:
        process.confine(self.profile)


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class FindCommand(Operation):
    """Find the command as the user who is to run it, and see that it can be executed."""

    kind: ClassVar[str] = "process.command"
    group: ClassVar[str] = "command"

    name: str
    search: str
    """PATH of the container's environment."""

    def what(self) -> str:
        return self.name or "no command"

    def why(self) -> str:
        return "Looked for in the container's own PATH. A link to the runtime's own program is not followed."

    def shell(self) -> str:
        return f"PATH={self.search} command -v {self.name}"

    def rehearse(self, context: Context) -> None:
        resolve(self.name, self.search)

    def candidates(self) -> tuple[str, ...]:
        """Where it may be, in the order in which it is looked for."""
        return candidates(self.name, self.search)

    def run(self, context: Context) -> None:
        context.command = resolve(self.name, self.search)


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class Execute(Operation):
    """Become the command."""

    kind: ClassVar[str] = "process.execute"
    group: ClassVar[str] = "command"

    args: tuple[str, ...]
    env: tuple[str, ...]
    reaper: bool = False
    """Stay as PID 1, which forwards signals and reaps orphans, and run the command as a child (``--init``)."""

    def what(self) -> str:
        return self.args[0] if self.args else "no command"

    def why(self) -> str:
        if self.reaper:
            return "A small first process reaps orphans and passes signals on; the command is its child."
        return "All that is left is to become the command: the same process, now with the image's program in it."

    def shell(self) -> str:
        words = shlex.join(self.args)
        return f"env -i {' '.join(name.partition('=')[0] + '=…' for name in self.env)} {words}"

    def environment(self, home: str) -> dict[str, str]:
        """The command's, where that is its user's home directory."""
        env = dict(item.partition("=")[::2] for item in self.env)
        if not env.get("HOME"):
            env["HOME"] = home or "/"
        return env

    def run(self, context: Context) -> None:
        env = self.environment(context.home)
        context.ready()
        if self.reaper:
            reap(context.command, self.args, env)
        context.execute(self.args, env)

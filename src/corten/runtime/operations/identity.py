"""Operations that settle who the command runs as, and the last one, which executes it."""

from __future__ import annotations

import dataclasses
import os
import resource
import signal
from typing import ClassVar

from corten.errors import CortenError
from corten.runtime import accounts
from corten.runtime.command import execute, resolve
from corten.runtime.reaper import reap
from corten.spec.operation import Context, Operation, operation
from corten.spec.runtime import User
from corten.sys import capabilities, process
from corten.sys.terminal import make_controlling, set_size

_GROUP = "privileges"
_INFINITY = 2**64 - 1


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

    def run(self, context: Context) -> None:
        os.setsid()
        try:
            process.new_session_keyring()
        except OSError as error:
            if error.errno not in (1, 38, 122):  # EPERM, ENOSYS (kernel without keys), EDQUOT: as without a ring
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
                resource.setrlimit(getattr(resource, name), (values[0], values[1]))
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
    """Change to the working directory, which is made where it is missing."""

    kind: ClassVar[str] = "process.cwd"
    group: ClassVar[str] = "file system"

    path: str

    def what(self) -> str:
        return self.path

    def why(self) -> str:
        return "Where the command starts."

    def shell(self) -> str:
        return f"mkdir -p {self.path} && cd {self.path}"

    def run(self, context: Context) -> None:
        os.makedirs(self.path, exist_ok=True)
        os.chdir(self.path)
        # A path through a forgotten descriptor of the host would lead out: CVE-2024-21626.
        if not os.getcwd().startswith("/"):
            raise CortenError(f"change to {self.path}: it is outside of the container's root")


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class Identity(Operation):
    """Become the container's user, with no more capabilities than it is to have.

    The sets are names without ``CAP_``. ``name`` is looked up in the container's own files and wins over numbers.
    """

    kind: ClassVar[str] = "process.identity"
    group: ClassVar[str] = _GROUP

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    name: str = ""
    named_groups: tuple[str, ...] = ()
    umask: int = 0o022
    bounding: tuple[str, ...] = ()
    effective: tuple[str, ...] = ()
    permitted: tuple[str, ...] = ()
    inheritable: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()

    def what(self) -> str:
        return self.name or f"{self.uid}:{self.gid}"

    def why(self) -> str:
        return (
            f"Root's power comes in {len(capabilities.NAMES)} pieces; this container keeps "
            f"{len(self.bounding)} of them, and nothing that it executes can get others back."
        )

    def shell(self) -> str:
        kept = ",".join(f"+{name.lower()}" for name in self.bounding)
        user = f" --reuid={self.uid} --regid={self.gid} --init-groups" if self.uid or self.gid else ""
        return f"setpriv --bounding-set=-all{',' if kept else ''}{kept}{user} …"

    def run(self, context: Context) -> None:
        account = accounts.look_up(User(self.uid, self.gid, None, self.groups, self.name, self.named_groups))
        context.home = account.home
        _own_stdio(account.uid)
        here = capabilities.bounding()
        # What this machine's own bounding set lacks cannot be given: it is left out, not an error.
        bounding = capabilities.mask(self.bounding) & here
        permitted, effective, inheritable, ambient = (
            capabilities.mask(names) & bounding
            for names in (self.permitted, self.effective, self.inheritable, self.ambient)
        )
        capabilities.limit_bounding(bounding)
        capabilities.keep_on_setuid()
        os.setgroups(account.groups)
        os.setresgid(account.gid, account.gid, account.gid)
        os.setresuid(account.uid, account.uid, account.uid)
        os.umask(self.umask)
        if account.uid:
            permitted = effective = ambient
        capabilities.set_all(effective=effective, permitted=permitted, inheritable=inheritable)
        capabilities.set_ambient(ambient & inheritable)
        # The change of user made it dumpable again (prctl(2)): until the exec, nothing in here may look inside.
        process.set_dumpable(False)


def _own_stdio(uid: int) -> None:
    """Pipes and the terminal belong to the user, who may open them again by /dev/stdout."""
    for number in range(3):
        try:
            if os.fstat(number).st_uid != uid and not os.path.samestat(os.fstat(number), os.stat("/dev/null")):
                os.fchown(number, uid, -1)
        except (FileNotFoundError, PermissionError):  # no /dev in this root; or a descriptor that is another's
            continue


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class NoNewPrivileges(Operation):
    """Set-user-ID programs give nothing."""

    kind: ClassVar[str] = "process.no-new-privileges"
    group: ClassVar[str] = _GROUP

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
        words = " ".join(self.args)
        return f"env -i {' '.join(name.partition('=')[0] + '=…' for name in self.env)} {words}"

    def run(self, context: Context) -> None:
        env = dict(item.partition("=")[::2] for item in self.env)
        if not env.get("HOME"):
            env["HOME"] = context.home or "/"
        path = resolve(self.args, env)
        process.close_on_exec_from(3)
        for number in range(1, signal.NSIG):
            if number not in (signal.SIGKILL, signal.SIGSTOP) and not 32 <= number <= 33:
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        context.ready()
        if self.reaper:
            reap(path, self.args, env)
        execute(path, self.args, env)

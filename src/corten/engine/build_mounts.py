"""``RUN --mount``: what a command of a build sees besides its root, and no layer keeps."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import posixpath
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

from corten.build.copying import Chosen
from corten.build.ground import Attached, Command
from corten.build.instructions import HereDocument, Mount
from corten.engine.archives import Archives
from corten.engine.build_agents import DEFAULT, AgentChannels
from corten.engine.build_files import FileSpool
from corten.engine.build_layers import row_of
from corten.engine.model import MountRequest, TmpfsOptions
from corten.engine.trees import size_of
from corten.errors import CortenError, InvalidInput, NotFound
from corten.sys.removal import remove_tree

_SECRETS = "/run/secrets"
_AGENTS = "/run/buildkit/ssh_agent."
"""Where BuildKit has them, which scripts know."""
_SECRET_MODE, _SCRIPT_MODE, _AGENT_MODE = 0o400, 0o755, 0o600


@dataclasses.dataclass(frozen=True, slots=True)
class Mounted:
    """What a container is given: its mounts, the places that are made for them, variables that no image has."""

    mounts: tuple[MountRequest, ...] = ()
    variables: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def places(self) -> tuple[str, ...]:
        """Where something is mounted."""
        return tuple(mount.target for mount in self.mounts)


@dataclasses.dataclass(frozen=True, slots=True)
class Usage:
    """What something of the cache takes: bytes, times in seconds since 1970."""

    id: str
    type: str
    about: str
    size: int
    made: float
    used: float
    hits: int = 0
    in_use: bool = False
    shared: bool = False


class BuildMounts:
    """Those of one engine. Caches are kept below ``caches``; secrets are files below ``secrets``, of the run directory,
    for as long as a command runs."""

    def __init__(self, archives: Archives, staging: Path, caches: Path, secrets: Path) -> None:
        self._archives, self._staging, self._caches, self._secrets = archives, staging, caches, secrets
        self._locks: dict[str, asyncio.Lock] = {}
        self._users: collections.Counter[str] = collections.Counter()

    @contextlib.asynccontextmanager
    async def shown(
        self, command: Command, secrets: Mapping[str, bytes], agents: AgentChannels | None = None
    ) -> AsyncIterator[Mounted]:
        """Make what a command's mounts need; it goes when the command has ended. Raises NotFound for a secret or an
        agent that is required and was not given."""
        mounts: list[MountRequest] = []
        variables: dict[str, str] = {}
        async with contextlib.AsyncExitStack() as stack:
            for one in command.mounts:
                if one.mount.type == "secret":
                    mounts += self._secret(stack, one.mount, secrets, variables)
                elif one.mount.type == "ssh":
                    number = sum(mount.target.startswith(_AGENTS) for mount in mounts)
                    mounts += await self._agent(stack, one.mount, agents, variables, number)
                elif one.mount.type == "tmpfs":
                    size = TmpfsOptions(size_bytes=one.mount.size) if one.mount.size else None
                    mounts.append(MountRequest("tmpfs", target=_target(one.mount), tmpfs_options=size))
                elif one.mount.type == "cache":
                    mounts.append(await self._cache(stack, one))
                else:
                    mounts.append(await self._bind(stack, one))
            if command.script is not None:
                mounts.append(self._script(stack, command.script))
            yield Mounted(tuple(mounts), variables)

    def usage(self) -> list[Usage]:
        """The caches. Takes long: call it in a thread."""
        found = []
        for path in sorted(self._caches.iterdir()) if self._caches.exists() else ():
            status = path.stat()
            found.append(
                Usage(path.name, "exec.cachemount", "RUN --mount=type=cache", size_of(path), status.st_ctime,
                      status.st_mtime, in_use=path.name in +self._users)
            )  # fmt: skip
        return found

    def clear(self) -> list[Usage]:
        """Remove the caches that no command uses; those that went. In a thread, too."""
        gone = [one for one in self.usage() if not one.in_use]
        for one in gone:
            grave = self._staging / f"cache-{one.id}"
            os.rename(self._caches / one.id, grave)
            _discard(grave)
        return gone

    # --- kinds

    def _secret(
        self, stack: contextlib.AsyncExitStack, mount: Mount, secrets: Mapping[str, bytes], variables: dict[str, str]
    ) -> Iterator[MountRequest]:
        name = mount.id or mount.source or posixpath.basename(mount.target)
        value = secrets.get(name)
        if value is None:
            if mount.required:
                raise NotFound(f"secret {name}: not found", hint=f"give it with --secret id={name},src=FILE")
            return
        if mount.env is not None:
            variables[mount.env or name] = value.decode("utf-8", "surrogateescape")
            if not mount.target:
                return
        file = self._file(stack, self._secrets, value, _SECRET_MODE if mount.mode is None else mount.mode)
        if mount.uid or mount.gid:
            os.chown(file, mount.uid or 0, mount.gid or 0)
        yield _bound(file, mount.target or f"{_SECRETS}/{posixpath.basename(name)}", read_only=True)

    async def _agent(
        self, stack: contextlib.AsyncExitStack, mount: Mount, agents: AgentChannels | None, variables: dict[str, str],
        number: int,
    ) -> list[MountRequest]:  # fmt: skip
        """The first of several is the one that programs ask."""
        name = mount.id or DEFAULT
        if agents is None or name not in agents.ids:
            if mount.required:
                raise NotFound(f"ssh {name}: no agent was given", hint=f"give it with --ssh {name}")
            return []
        mode = _AGENT_MODE if mount.mode is None else mount.mode
        owner = mount.uid or 0, mount.gid or 0
        path = await stack.enter_async_context(agents.socket(name, self._secrets, mode, owner))
        target = mount.target or f"{_AGENTS}{number}"
        variables.setdefault("SSH_AUTH_SOCK", target)
        return [_bound(path, target, read_only=True)]

    def _script(self, stack: contextlib.AsyncExitStack, script: HereDocument) -> MountRequest:
        content = script.data.encode("utf-8", "surrogateescape")
        file = self._file(stack, self._staging, content, _SCRIPT_MODE)
        return _bound(file, f"/dev/pipes/{script.name}", read_only=True)

    def _file(self, stack: contextlib.AsyncExitStack, where: Path, content: bytes, mode: int) -> Path:
        try:
            where.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=where, prefix="mount-")
            stack.callback(os.unlink, name)
            with open(descriptor, "wb") as file:
                file.write(content)
                os.fchmod(descriptor, mode)
        except OSError as error:
            raise CortenError.from_os("write", f"a file in {where}", error) from error
        return Path(name)

    async def _cache(self, stack: contextlib.AsyncExitStack, one: Attached) -> MountRequest:
        """One that begins with files of elsewhere is another for other files."""
        mount = one.mount
        called = (mount.id or _target(mount)) + (f"\0{one.part.fingerprint}" if one.part else "")
        name = hashlib.sha256(called.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        if mount.sharing == "private":
            name = next(one for one in _numbered(name) if one not in self._locks or not self._locks[one].locked())
        if mount.sharing in ("private", "locked"):
            await stack.enter_async_context(self._locks.setdefault(name, asyncio.Lock()))
        self._users[name] += 1
        stack.callback(self._users.subtract, [name])
        path = self._caches / name
        try:
            if not path.exists():
                await self._begun(one, path)
        except OSError as error:
            raise CortenError.from_os("create", str(path), error) from error
        return _bound(path, _target(mount), read_only=mount.read_only)

    async def _begun(self, one: Attached, path: Path) -> None:
        """Make a cache; it has its name when it is whole. Of two that do, the first one's is taken."""
        mount = one.mount
        self._caches.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._staging, prefix="cache-") as made:
            directory = Path(made) / "cache"
            directory.mkdir()
            if one.part is not None:
                chosen, spool = await one.part.load()
                assert isinstance(spool, FileSpool)
                await self._lay_out(chosen, spool, directory)
            directory.chmod(0o755 if mount.mode is None else mount.mode)
            if mount.uid or mount.gid:
                os.chown(directory, mount.uid or 0, mount.gid or 0)
            try:
                directory.rename(path)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise

    async def _bind(self, stack: contextlib.AsyncExitStack, one: Attached) -> MountRequest:
        assert one.part is not None
        chosen, spool = await one.part.load()
        assert isinstance(spool, FileSpool)
        directory = Path(tempfile.mkdtemp(dir=self._staging, prefix="bind-"))
        stack.callback(_discard, directory)
        directory.chmod(0o755)
        await self._lay_out(chosen, spool, directory)
        source = directory / chosen.rows[0][0] if chosen.renamed else directory
        return _bound(source, _target(one.mount), read_only=one.mount.read_only)

    async def _lay_out(self, chosen: Chosen, spool: FileSpool, directory: Path) -> None:
        rows = await spool.filled(list(chosen.rows), 0)
        listed = FileSpool(self._staging)
        target = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            content = json.dumps([row_of(path, entry) for path, entry in rows]).encode()
            os.pwrite(listed.descriptor, content, 0)
            descriptors = [listed.descriptor, target, spool.descriptor]
            async with self._archives.outside("lay-out", {}, descriptors) as worker:
                await worker.report()
        finally:
            os.close(target)
            listed.close()


def _bound(source: Path, target: str, *, read_only: bool) -> MountRequest:
    return MountRequest("bind", str(source), target, read_only)


def _target(mount: Mount) -> str:
    if not mount.target:
        raise InvalidInput(f"RUN --mount=type={mount.type}: it needs a target")
    return mount.target


def _numbered(name: str) -> Iterator[str]:
    number = 0
    while True:
        yield f"{name}-{number}" if number else name
        number += 1


def _discard(directory: Path) -> None:
    """What of it cannot go now goes at the next start."""
    with contextlib.suppress(OSError):
        remove_tree(directory)

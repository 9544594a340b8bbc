"""Git repositories as contexts and as sources of ADD.

Nothing of a repository is ever checked out here: what is fetched lies in an object store without a work tree, and its
files come out of ``git archive`` as an archive does. So no hook, no filter, no link and no name of a stranger's means
anything on this machine. Of configuration git sees what is given here and nothing else; settings, and a URL with a
password in it, are in its environment and not among its arguments. Submodules are repositories of their own: git's
commands for them would take settings from ``.gitmodules`` (CVE-2018-17456 and its kin).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import hashlib
import os
import re
import shlex
import shutil
import signal
import stat
import tempfile
import urllib.parse
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import msgspec

from corten.build import remote
from corten.build.files import Entry, Tree
from corten.build.ground import Files
from corten.build.indexing import write_at
from corten.build.remote import GitSource
from corten.engine.build_client import BuildClient
from corten.engine.build_files import BuildFiles, FileSpool
from corten.errors import CortenError, DataCorrupt, InvalidInput, NotFound, Unavailable

_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_PROTOCOLS = "http:https:git:ssh"
_MOST_SAID, _LAST_WORDS = 64 << 20, 4096
"""Bytes of what a git command tells, and of what it complains of."""
_STEP = 1 << 18
_DEEPEST, _MOST_SUBMODULES = 8, 100
_PATIENCE = "60"
"""Seconds without a thousand bytes each."""
_SETTINGS = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "credential.helper": "",
    "fetch.recurseSubmodules": "false",
    "gc.auto": "0",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": _PATIENCE,
    "init.defaultBranch": "master",
    "protocol.version": "2",
    "submodule.recurse": "false",
    "tar.umask": "0022",
}
_PASSED = ("PATH", "http_proxy", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY",
           "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO")  # fmt: skip
"""What git gets of the engine's environment."""
_ALL_AS_IT_IS = "* -export-ignore -export-subst\n"
"""What ``.gitattributes`` of a repository says of archives is not for this one."""


@dataclasses.dataclass(frozen=True, slots=True)
class Session:
    """What fetching may use of a client's: tokens (as secrets), and the socket of an agent, '' for none."""

    secrets: Mapping[str, bytes]
    agent: str
    known_hosts: Path


async def fetched(files: BuildFiles, source: GitSource, client: BuildClient | None) -> Files:
    """The files of a repository. Raises Unavailable, NotFound for a ref that is not there, DataCorrupt for another
    checksum, InvalidInput."""
    with tempfile.TemporaryDirectory(dir=files.staging, prefix="git-") as made:
        async with contextlib.AsyncExitStack() as stack:
            socket = await _agent(source.remote, client, Path(made), stack)
            session = Session(client.secrets if client else {}, socket, files.staging.parent / "known_hosts")
            return await _Checkout(files, session, Path(made)).whole(source)


async def _agent(
    url: str, client: BuildClient | None, where: Path, stack: contextlib.AsyncExitStack
) -> str:
    """The socket of the client's default agent, for a repository that is reached through SSH."""
    if client is None or "default" not in client.agents.ids or url.startswith(("http://", "https://", "git://")):
        return ""
    return str(await stack.enter_async_context(client.agents.socket("default", where)))


class _Checkout:
    """The fetching of one repository, with its submodules."""

    def __init__(self, files: BuildFiles, session: Session, where: Path) -> None:
        self._files, self._session, self._where = files, session, where
        self._count = 0

    async def whole(self, source: GitSource) -> Files:
        repository = self._repository(source.remote)
        commit = await repository.fetch(source)
        with_modules = source.submodules is not False
        found = await self._tree(repository, commit, _DEEPEST if with_modules else 0)
        inside = _below(found, source.directory)
        if source.keep_git_dir:
            await repository.settle(commit)
            own = await asyncio.to_thread(_own_files, repository.directory, self._files.spool())
            inside = _joined(inside, ".git", own)
        return inside

    async def _tree(self, repository: _Repository, commit: str, depth: int) -> Files:
        found = await self._files.index(repository.archive(commit))
        if not depth:
            return found
        for path, (url, inner) in (await repository.submodules(commit)).items():
            self._count += 1
            if self._count > _MOST_SUBMODULES or depth == 1:
                raise InvalidInput(f"git {shown(repository.url)}: it has too many submodules")
            module = self._repository(url)
            await module.fetch(GitSource(url, "", ref=inner))
            found = _joined(found, path, await self._tree(module, inner, depth - 1))
        return found

    def _repository(self, url: str) -> _Repository:
        directory = Path(tempfile.mkdtemp(dir=self._where, prefix="repository-"))
        return _Repository(url, directory, self._session)


class _Repository:
    """An object store, into which a commit of a repository is fetched."""

    def __init__(self, url: str, directory: Path, session: Session) -> None:
        self.url, self.directory, self._session = url, directory, session

    async def fetch(self, source: GitSource) -> str:
        """The commit that a source means, which is here then. Raises Unavailable, NotFound, DataCorrupt."""
        await self._git("init", "--quiet", "--bare", "--template=", ".")
        (self.directory / "info").mkdir(exist_ok=True)
        (self.directory / "info/attributes").write_text(_ALL_AS_IT_IS)
        if source.by_commit and source.checksum:
            return await self._commit(source.checksum)
        if _HASH.fullmatch(source.ref):
            commit = await self._commit(source.ref)
            _check(source, commit, commit)
            return commit
        tag, commit = await self._resolved(source)
        _check(source, tag, commit)
        return await self._commit(commit)

    async def _resolved(self, source: GitSource) -> tuple[str, str]:
        """The hash that a ref has, and that of its commit, which is another one for an annotated tag."""
        wanted = source.ref or "HEAD"
        told = await self._git("ls-remote", "origin", wanted, f"{wanted}^{{}}")
        refs = dict(line.split("\t", 1)[::-1] for line in told.decode(errors="replace").splitlines() if "\t" in line)
        short = wanted.removeprefix("refs/")
        # As git checkout does: what is exactly so called, then a branch, then a tag.
        for name in (wanted, f"refs/{short}", f"refs/heads/{wanted}", f"refs/tags/{wanted}"):
            if name in refs:
                found, peeled = refs[name], refs.get(f"{name}^{{}}", refs[name])
                if _HASH.fullmatch(found) and _HASH.fullmatch(peeled):
                    return found, peeled
        if re.fullmatch(r"[0-9a-f]{7,63}", wanted):  # the beginning of a commit's hash
            await self._all()
            with contextlib.suppress(Unavailable):
                commit = await self._parsed(wanted)
                return commit, commit
        raise NotFound(f"git {shown(self.url)}: couldn't find remote ref {wanted}")

    async def _commit(self, commit: str) -> str:
        """Have a commit here; where a server gives none by its hash, all that it has is fetched."""
        if not await self._has(commit):
            try:
                await self._git("fetch", "--quiet", "--no-tags", "--depth=1", "origin", commit)
            except Unavailable:
                await self._all()
        if not await self._has(commit):
            raise NotFound(f"git {shown(self.url)}: commit {commit} is not in it")
        return await self._parsed(commit)

    async def _parsed(self, name: str) -> str:
        return (await self._git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")).decode().strip()

    async def _has(self, commit: str) -> bool:
        try:
            await self._git("cat-file", "-e", f"{commit}^{{commit}}")
        except Unavailable:
            return False
        return True

    async def _all(self) -> None:
        refs = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
        await self._git("fetch", "--quiet", "--no-tags", "origin", *refs)

    async def submodules(self, commit: str) -> dict[str, tuple[str, str]]:
        """By path, the URL and the commit of each. Raises InvalidInput for a URL that is none of a repository."""
        links: dict[str, str] = {}
        for row in (await self._git("ls-tree", "-r", "-z", "--full-tree", commit)).split(b"\0"):
            head, _, path = row.partition(b"\t")
            if head.startswith(b"160000 "):
                links[path.decode("utf-8", "surrogateescape")] = head.split(b" ")[2].decode()
        if not links:
            return {}
        try:
            told = await self._git("config", "--blob", f"{commit}:.gitmodules", "--list", "-z")
        except Unavailable:
            return {}
        return _modules(told.decode("utf-8", "surrogateescape"), links, self.url)

    async def settle(self, commit: str) -> None:
        """Look as a repository that has a commit checked out."""
        await self._git("update-ref", "--no-deref", "HEAD", commit)
        await self._git("read-tree", commit)
        for name in ("FETCH_HEAD", "info", "branches"):
            path = self.directory / name
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        (self.directory / "config").write_text(
            "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n"
            f'[remote "origin"]\n\turl = {shown(self.url)}\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n'
        )

    async def archive(self, commit: str) -> AsyncIterator[bytes]:
        """The files of a commit."""
        async with self._running("archive", "--format=tar", commit) as (process, errors):
            assert process.stdout is not None
            while data := await process.stdout.read(_STEP):
                yield data
            await self._ended(process, "archive", errors)

    # --- git

    async def _git(self, *arguments: str) -> bytes:
        """Run a command; what it says. Raises Unavailable with git's last words."""
        async with self._running(*arguments) as (process, errors):
            assert process.stdout is not None
            said = bytearray()
            while data := await process.stdout.read(_STEP):
                said += data
                if len(said) > _MOST_SAID:
                    raise DataCorrupt(f"git {shown(self.url)}: {arguments[0]} tells too much")
            await self._ended(process, arguments[0], errors)
            return bytes(said)

    async def _ended(self, process: asyncio.subprocess.Process, command: str, errors: asyncio.Future[str]) -> None:
        told = await errors
        if await process.wait():
            lines = [line for line in told.splitlines() if line.strip()]
            raise Unavailable(f"git {shown(self.url)}: {_plain(lines[-1] if lines else f'{command} failed', self.url)}")

    @contextlib.asynccontextmanager
    async def _running(self, *arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, asyncio.Future[str]]]:
        """A git of its own group, which does not outlive the block, and what it will have said of errors."""
        try:
            process = await asyncio.create_subprocess_exec(
                "git", *arguments, cwd=self.directory, env=self._environment(), stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise CortenError.from_os("run", "git", error) from error
        assert process.stderr is not None
        errors = asyncio.ensure_future(_last(process.stderr))
        try:
            yield process, errors
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            errors.cancel()
            await asyncio.gather(errors, asyncio.shield(process.wait()), return_exceptions=True)

    def _environment(self) -> dict[str, str]:
        settings = {**_SETTINGS, "remote.origin.url": self.url, **self._authorization()}
        given: dict[str, str] = {}
        for number, (key, value) in enumerate(settings.items()):
            given |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        return {
            **{name: os.environ[name] for name in _PASSED if name in os.environ},
            "HOME": str(self.directory), "LC_ALL": "C.UTF-8",
            "GIT_DIR": ".", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_ATTR_NOSYSTEM": "1",
            "GIT_CONFIG_COUNT": str(len(settings)), **given,
            "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "/bin/false", "SSH_ASKPASS": "/bin/false",
            "GIT_ALLOW_PROTOCOL": _PROTOCOLS, "GIT_PROTOCOL_FROM_USER": "0", "GIT_LFS_SKIP_SMUDGE": "1",
            "GIT_SSH_COMMAND": self._ssh(), "GIT_SSH_VARIANT": "ssh",
            **({"SSH_AUTH_SOCK": os.path.relpath(agent, self.directory)} if (agent := self._session.agent) else {}),
        }  # fmt: skip

    def _ssh(self) -> str:
        """ssh without this user's settings and keys: a host is known from the first time on."""
        known = self._session.known_hosts
        return (
            "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o IdentitiesOnly=no"
            f" -o IdentityFile=none -o ConnectTimeout={_PATIENCE} -o UserKnownHostsFile={shlex.quote(str(known))}"
        )

    def _authorization(self) -> dict[str, str]:
        """What secrets give for a repository behind https: GIT_AUTH_TOKEN or GIT_AUTH_HEADER, of its host or of all, as
        BuildKit has them."""
        parts = urllib.parse.urlsplit(self.url)
        if parts.scheme not in ("http", "https") or "@" in parts.netloc:
            return {}
        for suffix in (f".{parts.netloc}", ""):
            if header := self._session.secrets.get(f"GIT_AUTH_HEADER{suffix}"):
                value = header.decode(errors="replace").strip()
            elif token := self._session.secrets.get(f"GIT_AUTH_TOKEN{suffix}"):
                value = "basic " + base64.b64encode(b"x-access-token:" + token.strip()).decode()
            else:
                continue
            if value.isprintable():
                return {f"http.{parts.scheme}://{parts.netloc}/.extraHeader": f"Authorization: {value}"}
        return {}


async def _last(errors: asyncio.StreamReader) -> str:
    """The last of what a git complains of."""
    last = b""
    while data := await errors.read(_STEP):
        last = (last + data)[-_LAST_WORDS:]
    return last.decode(errors="replace")


def _check(source: GitSource, tag: str, commit: str) -> None:
    """Raises DataCorrupt unless the ref has the hash that was asked for."""
    if source.checksum and not (tag.startswith(source.checksum) or commit.startswith(source.checksum)):
        raise DataCorrupt(
            f"git {shown(source.remote)}: expected checksum to match {source.checksum}, got {commit}",
            hint="the ref has another commit now, or the checksum is of another one",
        )


def _modules(told: str, links: Mapping[str, str], above: str) -> dict[str, tuple[str, str]]:
    """The submodules that a ``.gitmodules`` (``git config --list -z``) and a tree both know."""
    settings: dict[str, dict[str, str]] = {}
    for row in told.split("\0"):
        key, _, value = row.partition("\n")
        section, _, rest = key.partition(".")
        name, _, member = rest.rpartition(".")
        if section == "submodule":
            settings.setdefault(name, {})[member] = value
    found = {}
    for one in settings.values():
        path = one.get("path", "").strip("/")
        if path in links and one.get("url"):
            found[path] = (_module_url(one["url"], above), links[path])
    return found


def _module_url(url: str, above: str) -> str:
    """The URL of a submodule, which may be relative to that of the repository. Raises InvalidInput."""
    if url.startswith(("./", "../")):
        head, colon, path = above.partition(":") if "://" not in above else ("", "", above)
        parts = path.rstrip("/").split("/")
        for part in url.split("/"):
            if part == "..":
                parts = parts[:-1]
            elif part not in ("", "."):
                parts.append(part)
        url = head + colon + "/".join(parts)
    plain = url if url.endswith(".git") or not url.startswith(("http://", "https://")) else f"{url}.git"
    known = remote.of(plain) if "#" not in url and "?" not in url else None
    if not isinstance(known, GitSource):
        raise InvalidInput(f"git {shown(above)}: a submodule of it is at {shown(url)}, which is not fetched")
    return url


# --- trees


def _below(files: Files, directory: str) -> Files:
    """What is below a directory of a tree. Raises NotFound."""
    if not directory:
        return files
    real = files.tree.resolve(directory)
    if real is None or files.tree.get(real).kind != "directory":
        raise NotFound(f"git: subdir {directory} is not in the repository")
    return Files(Tree(dict(files.tree.walk(real))), files.spool)


def _joined(files: Files, path: str, more: Files) -> Files:
    """A tree with another one in it. The content of both is in one spool then."""
    own, other = files.spool, more.spool
    assert isinstance(own, FileSpool)
    assert isinstance(other, FileSpool)
    entries: dict[str, Entry] = {name: one for name, one in files.tree.walk("") if name != path}
    start = _append(own, other.descriptor, os.fstat(other.descriptor).st_size)
    for name, one in more.tree.walk(""):
        entries[f"{path}/{name}"] = msgspec.structs.replace(one, offset=one.offset + start)
    return Files(Tree(entries), own)


def _own_files(directory: Path, spool: FileSpool) -> Files:
    """A repository's own files, which git has made."""
    entries: dict[str, Entry] = {}
    for path in sorted(directory.rglob("*")):
        name, status = str(path.relative_to(directory)), path.lstat()
        mode, time = stat.S_IMODE(status.st_mode), status.st_mtime_ns
        if path.is_dir():
            entries[name] = Entry("directory", mode, 0, 0, time)
        elif path.is_file():
            with path.open("rb") as content:
                hashed = hashlib.file_digest(content, "sha256")
                start = _append(spool, content.fileno(), status.st_size)
            entries[name] = Entry("file", mode, 0, 0, time, status.st_size, start, hashed.hexdigest())
    return Files(Tree(entries), spool)


def _append(spool: FileSpool, source: int, size: int) -> int:
    """Add the content of a file to a spool; where it is there."""
    start, done = os.fstat(spool.descriptor).st_size, 0
    while done < size and (data := os.pread(source, min(_STEP, size - done), done)):
        write_at(spool.descriptor, data, start + done)
        done += len(data)
    return start


def shown(url: str) -> str:
    """A remote without what may be secret in it."""
    if "://" not in url:
        return url
    parts = urllib.parse.urlsplit(url)
    user = f"{parts.username}@" if parts.scheme == "ssh" and parts.username else ""
    return urllib.parse.urlunsplit((parts.scheme, user + parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _plain(text: str, url: str) -> str:
    """git's words, without the URL's secret."""
    return text.replace(url, shown(url)).removeprefix("fatal: ").removeprefix("error: ")[:500]

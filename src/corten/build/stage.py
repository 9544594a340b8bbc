"""One stage, instruction by instruction: what RUN, COPY, ADD and WORKDIR make, from the cache or anew."""

from __future__ import annotations

import dataclasses
import functools
import posixpath
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from corten.build import copying, keys, remote
from corten.build.applied import applied
from corten.build.arguments import Given, Globals, Scope
from corten.build.configuring import configured, shell_of
from corten.build.copying import Chosen, Marks
from corten.build.devices import granted
from corten.build.expansion import Rules
from corten.build.failure import Source
from corten.build.files import Entry, Tree
from corten.build.globs import is_pattern
from corten.build.ground import Attached, Command, Files, Ground, Output, Part, Record, Spool
from corten.build.instructions import Add, Arg, Copy, Env, HereDocument, Instruction, Label, Mount, Run, Workdir
from corten.build.lexer import sole_document
from corten.build.patience import beside
from corten.build.reasons import parts_of
from corten.build.state import Layer, State
from corten.errors import InvalidInput
from corten.spec.image import unix_seconds

_HOST_NETWORK, _INSECURE = "network.host", "security.insecure"


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """What holds for a whole build. ``extra`` are the settings that a command's key has besides its own."""

    given: Given
    above: Globals
    escape: str
    source: Source
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    network: str = "default"
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    allowed: tuple[str, ...] = ()
    """Rights beyond a container's that the user gives to whatever the Dockerfile says."""


def _part_of(chosen: Chosen, spool: Spool, *, keeps_owner: bool) -> Part:
    async def load() -> tuple[Chosen, Spool]:
        return chosen, spool

    return Part(copying.fingerprint(chosen), keeps_owner, copying.prints(chosen), load)


class Other:
    """Where a stage finds others: by a name of ``--from`` or ``from=``."""

    def __init__(self, layers: Callable[[str, bool], Any], files: Callable[[str], Any]) -> None:
        self.layers, self.files = layers, files


class StageRun:
    """The run of one stage."""

    hostname: ClassVar[str] = keys.HOSTNAME
    """Of commands, unless the user gives another."""

    def __init__(
        self, ground: Ground, options: Options, output: Output, other: Other, state: State, scope: Scope, name: str
    ) -> None:
        self._ground, self._options, self._output, self._other = ground, options, output, other
        self.state, self.scope = state, scope
        self._name, self._number = name, 0
        self._fresh = options.no_cache or name in options.no_cache_filter

    async def do(self, instruction: Instruction) -> None:
        """Follow one instruction. Raises DockerfileError, CommandFailed, CortenError, each with the lines."""
        with self._options.source.shown(instruction.location):
            await self._do(instruction)

    async def label(self, label: Label) -> None:
        """Add what the user asks for beside the file."""
        self.state = configured(label, self.state) or self.state

    def end(self) -> None:
        """The stage is through, and others may stand on it."""

    async def _do(self, instruction: Instruction) -> None:
        options = self._options
        if isinstance(instruction, Arg):
            self._argument(instruction)
            return
        one, _ = applied(instruction, self.scope.variables, options.escape, options.source)
        if isinstance(one, Run):
            await self._run(one)
        elif isinstance(one, Copy | Add):
            await self._files(one)
        elif isinstance(one, Workdir):
            await self._working_directory(one)
        elif (state := configured(one, self.state)) is not None:
            self.state = state
        if isinstance(one, Env):
            try:
                self.scope = self.scope.with_env(one.pairs)
            except InvalidInput as error:
                raise options.source.error(error.message, one.location, one.keyword) from None

    def _argument(self, one: Arg) -> None:
        options = self._options
        try:
            self.scope, _ = self.scope.with_arg(one, options.given, options.above, Rules(options.escape))
        except InvalidInput as error:
            raise options.source.error(error.message, one.location, one.keyword) from None
        words = (str(definition) for definition in self.scope.arguments[-len(one.definitions) :])
        self.state = self.state.step(f"ARG {' '.join(words)}")

    # --- the cache

    async def _made(self, key: str, about: str, parts: Mapping[str, str], make: Callable[[], Any]) -> Record:
        """What a step makes: by the cache, or anew."""
        self._number += 1
        reasons = self._ground.reasons(f"{self._name} {self._number}", parts)
        if self._fresh:
            self._output.why(["the cache is not to be used"])
            return await self._new(key, about, make)
        async with self._ground.turn(key):
            if (record := await self._ground.find(key, self.state.layers)) is not None:
                self._output.cached()
                return record
            self._output.why(reasons)
            return await self._new(key, about, make)

    async def _new(self, key: str, about: str, make: Callable[[], Any]) -> Record:
        layer: Layer | None = await make()
        created = self._ground.moment()
        if layer is not None:
            layer = msgspec.structs.replace(layer, created=created)
        record = Record(layer, created, about)
        await self._ground.keep(key, record, self.state.layers)
        return record

    def _after(self, record: Record, created_by: str, **changes: Any) -> None:
        state = self.state if record.layer else dataclasses.replace(self.state, created=record.created)
        self.state = state.step(created_by, record.layer, **changes)

    # --- RUN

    async def _run(self, one: Run) -> None:
        _refuse_rights(one, self._options)
        command = await self._command(one)
        key = keys.of_command(self.state.chain, command, self._options.extra)
        shown = " ".join([*self.scope.in_history(), *command.words])
        record = await self._made(
            key, f"RUN {' '.join(command.words)}", _parts_of_command(self.state, command, self._options.extra),
            lambda: self._ground.run(self.state.layers, command, self._output),
        )  # fmt: skip
        self._after(record, f"RUN {shown} # buildkit")

    async def _command(self, one: Run) -> Command:
        words, script = self._words(one)
        config = self.state.config
        mounts = [await self._attached(mount) for mount in one.mounts]
        return Command(
            words=tuple(words),
            variables=self.scope.variables,
            hidden={k: v for k, v in self._options.given.proxies().items() if k not in self.scope.variables},
            user=config.get("User") or "",
            working_directory=config.get("WorkingDir") or "/",
            network=self._options.network if one.network == "default" else one.network,
            shown=" ".join(words),
            mounts=tuple(mounts),
            script=script,
            hostname=self._options.given.arguments.get("BUILDKIT_SANDBOX_HOSTNAME") or self.hostname,
            privileged=one.security == "insecure",
            devices=self._devices(one),
        )

    def _devices(self, one: Run) -> tuple[str, ...]:
        """Those that it is given, by their full names. Raises InvalidInput."""
        if not one.devices:
            return ()
        found = granted(one.devices, self._ground.devices(), self._options.allowed)
        for name in found.missing:
            self._output.say(f" ---> [Warning] optional device {name} is not registered: the command has none")
        return found.names

    def _words(self, one: Run) -> tuple[list[str], HereDocument | None]:
        """The argument vector; here-documents are the shell's, unless the first is all there is: then it is the
        script, for the shell or for what its first line names."""
        command = one.command
        if not command.in_shell:
            return list(command.words), None
        text = command.words[0] if command.words else ""
        shell = list(shell_of(self.state))
        if (document := sole_document(command)) is not None:
            if document.data.startswith("#!"):
                return [*shell, f"/dev/pipes/{document.name}"], document
            return [*shell, document.data], None
        for document in command.files:
            text += f"\n{document.content}{document.name}"
        return [*shell, text], None

    async def _attached(self, mount: Mount) -> Attached:
        directory = self.state.config.get("WorkingDir") or "/"
        mount = dataclasses.replace(mount, target=mount.target and copying.absolute(mount.target, directory))
        if mount.type == "cache" and (space := self._options.given.arguments.get("BUILDKIT_CACHE_MOUNT_NS")):
            mount = dataclasses.replace(mount, id=f"{space}/{mount.id or mount.target}")
        if mount.type != "bind" and not (mount.type == "cache" and mount.from_):
            return Attached(mount)
        source = [mount.source or "."]
        if not mount.from_:
            copying.refuse_climbing(source)
            files = await self._ground.context()
            chosen = await self._known(files, copying.choose(files.tree, source))
            return Attached(mount, _part_of(chosen, files.spool, keeps_owner=False))
        layers = await self._other.layers(mount.from_, False)
        if layers is None:
            files = await self._other.files(mount.from_)
            chosen = await self._known(files, copying.choose(files.tree, source))
            return Attached(mount, _part_of(chosen, files.spool, keeps_owner=False))
        return Attached(mount, await self._gathered(layers, source, (), parents=False))

    # --- WORKDIR

    async def _working_directory(self, one: Workdir) -> None:
        path = posixpath.normpath(posixpath.join("/", self.state.config.get("WorkingDir") or "/", one.path))
        path = "/" + path.lstrip("/")
        owner = self.state.config.get("User") or ""
        key = keys.key_of("workdir", chain=self.state.chain, path=path, owner=owner, epoch=self._ground.epoch)
        parts = parts_of("workdir", **_below(self.state), path=path, owner=owner, epoch=self._ground.epoch)
        record = await self._made(key, f"WORKDIR {path}", parts, lambda: self._directory(path, owner))
        self._after(record, f"WORKDIR {path}", WorkingDir=path)

    async def _directory(self, path: str, user: str) -> Layer | None:
        """What is not there yet is the user's who is to work in it."""
        found, _ = await self._ground.look(self.state.layers, path, (), "")
        if found.kind:
            return None
        owner = (await self._ground.look(self.state.layers, path, (), user))[1] if user else None
        # The time of what it is made on: the same every time, as far as that is.
        time = max(0, unix_seconds(self.state.created) * 10**9) if self._ground.epoch is None else self._ground.epoch
        rows = copying.place(Chosen(()), f"{path}/", found, Marks(owner, epoch=time))
        return await self._ground.layer(self.state.layers, rows, ())

    # --- COPY and ADD

    async def _files(self, one: Copy | Add) -> None:
        options = self._options
        destination = copying.absolute(one.destination, self.state.config.get("WorkingDir") or "/")
        try:
            remote.check(one)
            _refuse_several(one, destination, len(one.sources) + len(one.documents))
            parts = await self._parts(one)
            _refuse_several(one, destination, len(parts))
        except InvalidInput as error:
            raise options.source.error(error.message, one.location, one.keyword) from None
        below = () if one.link else self.state.layers
        key = keys.key_of(
            "copy", chain="" if one.link else self.state.chain, destination=destination, owner=one.chown,
            mode=one.chmod, parts=[[part.fingerprint, part.keeps_owner] for part in parts],
            epoch=self._ground.epoch,
        )  # fmt: skip
        shown = _history(one)
        files: dict[str, str] = {}
        for part in parts:
            files |= part.files or {"": part.fingerprint}
        named = parts_of(
            one.keyword, **({} if one.link else _below(self.state)), destination=destination, owner=one.chown,
            mode=one.chmod, epoch=self._ground.epoch, file=files,
        )  # fmt: skip
        record = await self._made(key, shown, named, lambda: self._copy(one, parts, destination, below))
        self._after(record, f"{shown} # buildkit")

    async def _copy(
        self, one: Copy | Add, parts: Sequence[Part], destination: str, below: Sequence[Layer]
    ) -> Layer:
        rows: dict[str, Entry] = {}
        spools: list[Spool] = []
        for place, part in enumerate(parts):
            chosen, spool = await part.load()
            spools.append(spool)
            names = [path for path, _ in chosen.rows]
            found, owner = await self._ground.look(below, destination, names, one.chown)
            if owner is None and not part.keeps_owner:
                owner = (0, 0)
            marks = Marks(owner, one.chmod, self._ground.epoch)
            placed = copying.place(chosen, destination, found, marks)
            rows.update((path, _in_spool(entry, place)) for path, entry in placed)
        ordered = sorted(rows.items(), key=lambda row: row[0].split("/"))
        return await self._ground.layer(self.state.layers, ordered, spools)

    async def _parts(self, one: Copy | Add) -> list[Part]:
        parts = []
        elsewhere = [source for source in one.sources if isinstance(one, Add) and remote.of(source)]
        local = [source for source in one.sources if source not in elsewhere]
        if local:
            parts += await self._local(one, local)
        if isinstance(one, Add):
            for source in elsewhere:
                parts.append(await self._remote(one, source))
        if one.documents:
            files = await self._ground.documents(one.documents)
            chosen = copying.choose(files.tree, files.tree.names(""))
            parts.append(_part_of(chosen, files.spool, keeps_owner=False))
        return parts

    async def _local(self, one: Copy | Add, sources: Sequence[str]) -> list[Part]:
        parents = isinstance(one, Copy) and one.parents
        if isinstance(one, Copy) and one.from_:
            layers = await self._other.layers(one.from_, True)
            if layers is None:
                files = await self._other.files(one.from_)
                return [await self._part(files, sources, one, parents, keeps_owner=False)]
            return [await self._gathered(layers, sources, one.exclude, parents=parents)]
        copying.refuse_climbing(sources)
        files = await self._ground.context()
        if not isinstance(one, Add) or one.unpack is False:
            return [await self._part(files, sources, one, parents, keeps_owner=False)]
        return await self._with_archives(one, files, sources)

    async def _part(
        self, files: Files, sources: Sequence[str], one: Copy | Add, parents: bool, *, keeps_owner: bool
    ) -> Part:
        chosen = await _chosen(files.tree, sources, one.exclude, parents=parents)
        return _part_of(await self._known(files, chosen), files.spool, keeps_owner=keeps_owner)

    async def _gathered(
        self, layers: Sequence[Layer], sources: Sequence[str], exclude: Sequence[str], *, parents: bool
    ) -> Part:
        """Files of another root. What such layers have there never changes: it is looked at once."""

        async def load() -> tuple[Chosen, Spool]:
            files = await self._ground.gathered(layers, sources)
            return await _chosen(files.tree, sources, exclude, parents=parents), files.spool

        chain = [layer.diff_id for layer in layers]
        key = keys.key_of("gather", chain=chain, sources=sources, exclude=exclude, parents=parents)
        if (known := await self._ground.find(key, ())) is not None:
            return Part(known.about, True, {}, load)
        chosen, spool = await load()
        part = _part_of(chosen, spool, keeps_owner=True)
        await self._ground.keep(key, Record(None, self._ground.moment(), part.fingerprint), ())
        return part

    async def _known(self, files: Files, chosen: Chosen) -> Chosen:
        return dataclasses.replace(chosen, rows=tuple(await self._ground.digested(files, list(chosen.rows))))

    async def _with_archives(self, one: Add, files: Files, sources: Sequence[str]) -> list[Part]:
        """ADD unpacks a file of the context that is an archive."""
        plain: list[str] = []
        parts: list[Part] = []
        for source in sources:
            for path in await _matched(files.tree, source, len(sources)):
                real = files.tree.resolve(path)
                if real is None:
                    continue
                inner = await self._ground.unpacked(files, real) if _may_be_archive(files.tree, real) else None
                if inner is not None:
                    parts.append(_part_of(copying.choose(inner.tree, ["."]), inner.spool, keeps_owner=True))
                else:
                    plain.append(path)
            if not is_pattern(source) and files.tree.resolve(source) is None:
                plain.append(source)
        if plain or not parts:
            parts.insert(0, await self._part(files, plain or sources, one, False, keeps_owner=False))
        return parts

    async def _remote(self, one: Add, url: str) -> Part:
        files, is_tree = await self._ground.fetched(url, one.checksum, keep_git_directory=one.keep_git_dir)
        if one.unpack and not is_tree:
            (name,) = files.tree.names("")
            inner = await self._ground.unpacked(files, name)
            if inner is not None:
                return _part_of(copying.choose(inner.tree, ["."]), inner.spool, keeps_owner=True)
        sources = ["."] if is_tree else files.tree.names("")
        chosen = await _chosen(files.tree, sources, one.exclude, parents=False)
        return _part_of(chosen, files.spool, keeps_owner=False)


async def _matched(tree: Tree, source: str, count: int) -> list[str]:
    """What a source names, which is one of so many."""
    return await beside(lambda _: tree.match(source.strip("/")), count * len(tree) if is_pattern(source) else 0)


async def _chosen(tree: Tree, sources: Sequence[str], exclude: Sequence[str], *, parents: bool) -> Chosen:
    choose = functools.partial(copying.choose, tree, sources, exclude=exclude, parents=parents)
    return await beside(lambda check: choose(check=check), (len(sources) + len(exclude)) * len(tree))


def _below(state: State) -> dict[str, str]:
    """What a step stands on."""
    return {"chain": state.chain, "base": state.base}


def _parts_of_command(state: State, command: Command, extra: Mapping[str, Any]) -> dict[str, str]:
    return parts_of(
        "RUN", **_below(state), words=command.words, variable=dict(command.variables), user=command.user,
        directory=command.working_directory, network=command.network,
        mounts=[[str(one.mount), one.part.fingerprint if one.part else ""] for one in command.mounts],
        script=command.script.data if command.script else "", hostname=command.hostname,
        privileged=command.privileged, **({"devices": command.devices} if command.devices else {}), **extra,
    )  # fmt: skip


def _may_be_archive(tree: Tree, path: str) -> bool:
    entry = tree.get(path)
    return entry.kind == "file" and entry.size > 0


def _refuse_several(one: Copy | Add, destination: str, count: int) -> None:
    if count > 1 and not destination.endswith("/"):
        raise InvalidInput(
            f"When using {one.keyword} with more than one source file, the destination must be a directory and end "
            "with a /"
        )


def _in_spool(entry: Entry, place: int) -> Entry:
    return entry if entry.spool == place else msgspec.structs.replace(entry, spool=place)


def _refuse_rights(one: Run, options: Options) -> None:
    """Raises InvalidInput for what would be asked of the machine, and not given."""
    rights = {}
    if one.network == "host" and options.network != "host":
        rights[_HOST_NETWORK] = "--network=host"
    if one.security == "insecure":
        rights[_INSECURE] = "--security=insecure"
    for right, flag in rights.items():
        if right not in options.allowed:
            raise InvalidInput(f"RUN {flag}: {right} is not allowed", hint=f"build with --allow {right}")


def _history(one: Copy | Add) -> str:
    words = [one.keyword]
    words += ["--parents"] if isinstance(one, Copy) and one.parents else []
    words += [f"--chown={one.chown}"] if one.chown else []
    words += [f"--chmod={one.chmod}"] if one.chmod else []
    return " ".join([*words, *one.sources, *(f"<<{document.name}" for document in one.documents), one.destination])

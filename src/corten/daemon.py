"""The engine's process: it builds the parts, hands each what it needs, and serves until it is told to leave.

``python -m corten.daemon`` or ``corten daemon``. One engine a data root, by a lock on the root.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import fcntl
import functools
import logging
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from corten import __version__
from corten.api import listeners
from corten.api.listeners import Listener
from corten.api.routes import router
from corten.api.server import Server
from corten.api.services import Services
from corten.engine import log_config, own_groups
from corten.engine.announcing import Announcing
from corten.engine.archives import Archives
from corten.engine.attaching import Attaching
from corten.engine.commit import Commits
from corten.engine.connecting import Connecting
from corten.engine.containers import Containers
from corten.engine.creation import Creation
from corten.engine.database import Database
from corten.engine.events import Event, Events
from corten.engine.exec import Execs
from corten.engine.foresight import Foresight
from corten.engine.health import Healths
from corten.engine.homes import Homes
from corten.engine.images import Images
from corten.engine.launching import Launcher
from corten.engine.legacy_links import LinkedHosts
from corten.engine.lifecycle import Lifecycle
from corten.engine.live import Lives
from corten.engine.means import Means
from corten.engine.network_helper import NetworkHelper
from corten.engine.network_watch import NetworkWatch
from corten.engine.networks import Networks
from corten.engine.observing import Observing
from corten.engine.oom_watch import OomWatch
from corten.engine.paths import Paths
from corten.engine.planning import Planner
from corten.engine.proxying import Proxying
from corten.engine.records import Records
from corten.engine.recovery import Recovery, end_abandoned
from corten.engine.registries import Registries
from corten.engine.removal import Removal
from corten.engine.reservations import Reservations
from corten.engine.resolution import Resolution
from corten.engine.shelf import Shelf
from corten.engine.spawning import Spawner
from corten.engine.standbys import Standbys
from corten.engine.stopping import Stopping
from corten.engine.system import System
from corten.engine.trees import Graveyard
from corten.engine.updating import Updating
from corten.engine.volume_mounts import HostMounts, images_of
from corten.engine.volume_use import VolumeUse
from corten.engine.volumes import Volumes
from corten.errors import AccessDenied, Conflict, CortenError, InvalidInput, NotFound
from corten.launcher.enter import enter
from corten.launcher.operations import steps_of
from corten.runtime.cgroups import detect
from corten.settings import Settings
from corten.spec.reference import DOCKER_HUB
from corten.store.images import ImageStore
from corten.store.layers import LayerStore
from corten.store.snapshotters import AUTO
from corten.sys.removal import remove_tree
from corten.wire.places import make_run_directory

if TYPE_CHECKING:
    from corten.engine.build_pins import BuildPins
    from corten.engine.builds import Builds
    from corten.engine.cdi import Cdi

_log = logging.getLogger("corten")
_LONGEST_SOCKET_PATH = 107
_ELSEWHERE = "it listens in the runtime directory (XDG_RUNTIME_DIR) that it was started with: set that, or use -H"
_PREDECESSOR, _LOOK = 10.0, 0.02
"""Seconds that a leaving predecessor gets, and between looks: a lock has no deadline of its own."""
_LOOKS_FOR_IDLENESS = 10
"""How often it is looked in the time after which an idle engine leaves."""


@contextlib.contextmanager
def locked(root: Path, socket_path: Path) -> Iterator[None]:
    """The data root is this process's alone. A predecessor that listens no more is about to leave: it is waited for.

    Raises Conflict naming the process that has it, AccessDenied.
    """
    try:
        root.mkdir(mode=0o711, parents=True, exist_ok=True)
        descriptor = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except PermissionError as error:
        raise AccessDenied(
            f"use data root {root}: permission denied", hint="it is another user's: choose your own with --root"
        ) from error
    try:
        deadline = time.monotonic() + _PREDECESSOR
        while not _lock(descriptor):
            if _listens(socket_path) or time.monotonic() > deadline:
                holder = os.pread(descriptor, 32, 0).decode().strip() or "unknown"
                hint = _ELSEWHERE if os.geteuid() else ""
                raise Conflict(f"use data root {root}: engine {holder} runs on it", hint=hint)
            time.sleep(_LOOK)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def prepare(paths: Paths) -> None:
    """The directories of an engine; what an earlier one left unfinished goes. Raises InvalidInput for sockets whose
    paths would be too long, CortenError."""
    if len(os.fsencode(paths.monitor("0" * 64))) > _LONGEST_SOCKET_PATH:
        raise InvalidInput(
            f"use {paths.run}: paths of sockets there would be longer than {_LONGEST_SOCKET_PATH} bytes",
            hint="set XDG_RUNTIME_DIR to a directory with a short path",
        )
    try:
        for directory, mode in (
            (paths.root / "containers", 0o710), (paths.staging, 0o700), (paths.monitors, 0o700),
        ):  # fmt: skip
            directory.mkdir(mode=mode, parents=True, exist_ok=True)
        for leftover in paths.staging.iterdir():
            remove_tree(leftover) if leftover.is_dir() and not leftover.is_symlink() else leftover.unlink()
    except OSError as error:
        raise CortenError.from_os("prepare", str(paths.root), error) from error


class Engine:
    """One engine: its parts, and their order of coming and going."""

    def __init__(self, settings: Settings, paths: Paths) -> None:
        self._settings, self._paths = settings, paths
        self._leave: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._database = Database(paths.root / "corten.db")
        self._cgroups = detect()
        self._spawner = Spawner(paths.root, own_groups.of_spawner(self._cgroups, settings.cgroup_parent))
        self._graveyard = Graveyard(paths.staging)
        self._means = Means.of_process(self._cgroups)
        self._events = Events()
        self._records = Records(self._database)
        self._cdi = functools.cache(self._devices_by_name)
        self._build()

    def _build(self) -> None:
        settings, paths, records, events = self._settings, self._paths, self._records, self._events
        means = self._means
        networks = Networks(
            self._database, bridge=settings.bridge, table=settings.table, pools=settings.pools,
            name_of=lambda id: records.find(id).name, privileged=means.standing.network, ipv6=settings.ipv6,
            firewall=settings.firewall,
        )  # fmt: skip
        layers = LayerStore(paths.root, snapshotter=settings.snapshotter, max_bytes=settings.max_layer)
        if settings.snapshotter != AUTO:
            _ = layers.form  # refuse now what could not be done later
        homes = Homes(paths, self._graveyard)
        life = self._lifecycle(networks, layers, homes)
        standbys, shelf = self._standbys, self._shelf
        self._announcing = Announcing(networks)
        events.listeners += [self._announcing.heard, self._heard, life.resolution.heard]
        store, images = self._stored(layers)
        volumes = Volumes(paths.volumes, self._database, events, self._graveyard, lambda: records)
        life.mounts = HostMounts(volumes, images, records, paths, user_xattrs=not means.standing.initial, shelf=shelf)
        archives = Archives(life, self._spawner, paths, means.standing, standbys, shelf)
        stopping = Stopping(life)
        execs = Execs(life, life.launcher)
        self._healths = Healths(life, execs)
        events.listeners += [self._healths.heard, LinkedHosts(records, paths).heard, execs.heard]
        self._memory = OomWatch(records, self._cgroups, life.planner.cgroup, life.publish)
        events.listeners += [VolumeUse(records, events).heard, self._memory.heard]
        removal = Removal(life, stopping, volumes, execs, homes, paths, standbys)
        life.remove = removal.remove_ended
        observing = Observing(life, images, paths)
        creation = Creation(
            records, images, volumes, homes, paths, means, standbys, archives.populate,
            archives.check_directory, settings.log, networks.ref_of, networks.warnings,
        )  # fmt: skip
        self._containers = Containers(
            records=records, paths=paths, lifecycle=life, creation=creation, stopping=stopping, removal=removal,
            updating=Updating(life, means), attaching=Attaching(life), observing=observing, archives=archives,
            execs=execs, connecting=Connecting(life, self._spawner), made_ahead=steps_of(means.standing),
        )  # fmt: skip
        commits = Commits(life, Updating(life, means), archives, images)
        system = System(
            paths, records, images, volumes, observing, self._cgroups, means.standing, events, settings.pools,
            self.leave, settings.log.type, layers, lambda: networks.lacking, self._cdi,
            settings.mirrors.get(DOCKER_HUB, ()),
        )  # fmt: skip
        self._life, self._networks, self._stopping, self._creation = life, networks, stopping, creation
        self._recovery, self._watch, self._resolution = Recovery(life, paths), NetworkWatch(networks), life.resolution
        builds = functools.cache(functools.partial(self._builds, store, images, archives, homes))
        pins = functools.cache(self._build_pins)
        images.upkeep.needed = lambda: (builds() if builds.cache_info().currsize else pins()).pins()
        self._server = Server(
            router(),
            Services(self._containers, execs, images, volumes, networks, events, system, commits, Registries(), builds),
        )

    def _lifecycle(self, networks: Networks, layers: LayerStore, homes: Homes) -> Lifecycle:
        """What starts containers and follows their lives, with who stands by for it."""
        paths, records, spawner = self._paths, self._records, self._spawner
        self._shelf = Shelf(spawner, layers, paths.root)
        planner = Planner(
            paths, networks, self._cgroups, self._settings.cgroup_parent, self._means, records.find, self._cdi,
            layers.files, layers.are_copied,
        )  # fmt: skip
        reservations = Reservations(networks)
        self._standbys = standbys = Standbys(spawner, homes, reservations)
        reservations.overtaken = standbys.unplug
        lives = Lives(lambda container: log_config.feed(container, paths))
        self._helper = NetworkHelper(spawner, paths.helper)
        resolution = Resolution(self._helper, networks, records, lives, spawner)
        proxying = Proxying(self._helper, networks.ports, records, lives)
        self._helper.renewed += [resolution.renewed, proxying.renewed]
        life = Lifecycle(
            records, lives, planner, Launcher(spawner, standbys, paths), spawner, networks, resolution, proxying,
            reservations, Foresight(planner, reservations), self._events, shelf=self._shelf,
        )  # fmt: skip
        standbys.clear_group = life.clear_group
        return life

    def _stored(self, layers: LayerStore) -> tuple[ImageStore, Images]:
        settings, records = self._settings, self._records
        store = ImageStore(self._paths.root, self._database.connection, layers, keep_blobs=settings.keep_blobs)
        store.blobs.expire()
        self._images = images = Images(store, self._events, self._paths.staging, settings.mirrors)
        images.upkeep.limit = settings.store_limit
        images.upkeep.in_use = lambda: {image for one in records for image in images_of(one)}
        return store, images

    def _builds(self, store: ImageStore, images: Images, archives: Archives, homes: Homes) -> Builds:
        """What builds, and what builds have left in the cache: loaded when somebody first builds, or collects."""
        from corten.engine.build_cache import BuildCache
        from corten.engine.build_client import ContextMemory
        from corten.engine.build_ground import Means as BuildMeans
        from corten.engine.build_layers import BuildLayers
        from corten.engine.build_mounts import BuildMounts
        from corten.engine.build_repeats import Repeats
        from corten.engine.build_rooms import Rooms
        from corten.engine.builds import Builds
        from corten.engine.workshop import Workshop

        workshop = Workshop(self._spawner)
        archives = dataclasses.replace(archives, spawner=workshop)
        staging = self._paths.staging
        layers = BuildLayers(store, images, archives, staging)
        rooms = Rooms(self._creation, self._life, self._containers.removal, homes)
        mounts = BuildMounts(archives, staging, self._paths.root / "build-mounts", self._paths.run / "secrets")
        means = BuildMeans(images, layers, BuildCache(self._database), rooms, archives, mounts, workshop, self._cdi())
        memory, repeats = ContextMemory(self._paths.root / "contexts"), Repeats(images, means.cache)
        return Builds(means, staging, memory, repeats)

    def _devices_by_name(self) -> Cdi:
        from corten.engine.cdi import Cdi

        return Cdi(self._settings.cdi_spec_dirs)

    def _build_pins(self) -> BuildPins:
        from corten.engine.build_pins import BuildPins

        return BuildPins(self._database)

    def _heard(self, event: Event) -> None:
        if event.type == "image" and event.action == "delete":
            self._standbys.images_changed()
        elif self._settings.store_limit and event.type == "container" and event.action in ("create", "start"):
            with contextlib.suppress(NotFound):
                self._images.upkeep.used(self._records.get(event.actor).image)

    def leave(self, stop_containers: bool) -> None:
        """End :meth:`run`; with ``stop_containers`` every container is stopped first."""
        if not self._leave.done():
            self._leave.set_result(stop_containers)

    async def run(self, sockets: Sequence[Listener]) -> bool:
        """Adopt what runs, serve, and leave when told; whether no container is left running."""
        self._spawner.start()
        try:
            self._creation.clear_unfinished()
            endpoints = await self._recovery.adopt()
            for notice in self._networks.start(endpoints):
                _log.info("%s", notice)
            self._recovery.note_places()
            if self._means.standing.network:
                self._watch.start()
            await self._resolution.adopt()
            await self._containers.removal.clear_builds()
            shutil.rmtree(self._paths.run / "secrets", ignore_errors=True)  # of builds that died with an engine
            await self._server.start(sockets)
            await self._recovery.resume()
            self._healths.resume()
            self._memory.resume()
            self._life.spawn(self._images.upkeep.clear_abandoned())
            _log.info("engine %d: version %s on %s", os.getpid(), __version__, self._paths.root)
            _notify_systemd("READY=1")
            if self._settings.idle:
                self._life.spawn(self._leave_when_idle(self._settings.idle))
            if await self._leave:
                await self._stop_all()
            return not any(container.state.running for container in self._records)
        finally:
            _notify_systemd("STOPPING=1")
            await self._close()

    async def _leave_when_idle(self, seconds: float) -> None:
        """systemd goes on listening, and starts the next engine for whoever knocks then."""
        since = time.monotonic()
        while not self._leave.done():
            await asyncio.sleep(seconds / _LOOKS_FOR_IDLENESS)
            if self._server.is_busy or any(one.state.running for one in self._records):
                since = time.monotonic()
            elif time.monotonic() - since > seconds:
                _log.info("engine %d: idle for %g seconds, leaving", os.getpid(), seconds)
                self.leave(stop_containers=False)

    async def _stop_all(self) -> None:
        running = [container for container in self._records if container.state.running]
        stops = (self._stopping.stop(one, signal_name=None, timeout=None) for one in running)
        for container, result in zip(running, await asyncio.gather(*stops, return_exceptions=True), strict=True):
            if isinstance(result, Exception):
                _log.warning("stop %s: %s", container.name, result)

    async def _close(self) -> None:
        """Containers that run go on with their monitors."""
        self._life.leaving = True
        self._events.close()
        await self._server.close()
        await self._standbys.close()
        await self._graveyard.settle()
        await self._shelf.settle()
        await self._images.upkeep.settle()
        self._watch.close()
        self._announcing.close()
        idle = not any(container.state.running for container in self._records)
        self._helper.close(idle=idle)
        if idle:
            self._networks.remove_from_host()
        self._networks.close()
        self._spawner.stop()
        self._records.settle()
        self._database.close()


def _notify_systemd(state: str) -> None:
    """sd_notify(3), where systemd started this process."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel, contextlib.suppress(OSError):
            channel.connect("\0" + address[1:] if address.startswith("@") else address)
            channel.send(state.encode())


async def serve(settings: Settings, paths: Paths) -> bool:
    """Run one engine until a signal or a client ends it; whether it has no container left that runs."""
    hosts = settings.hosts or (f"unix://{paths.socket}",)
    with listeners.opened(hosts, settings.security, lambda text: _log.warning("%s", text)) as sockets:
        engine = Engine(settings, paths)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, engine.leave, False)
        return await engine.run(sockets)


def main(arguments: Sequence[str] | None = None) -> int:
    """Be the engine; the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    os.umask(0o022)
    try:
        settings = Settings.parse(sys.argv[1:] if arguments is None else arguments)
        paths = Paths.of(settings.root)
        with locked(settings.root, paths.socket):
            make_run_directory(str(paths.run))
            for notice in enter(paths.monitors, lambda: end_abandoned(paths.root / "corten.db")):
                _log.info("%s", notice)
            prepare(paths)
            own_groups.enter(detect(), settings.cgroup_parent)
            idle = False
            try:
                idle = asyncio.run(serve(settings, paths))
            finally:
                own_groups.leave(detect(), settings.cgroup_parent, idle=idle)
    except CortenError as error:
        _log.error("%s%s", error.message, f"\n{error.hint}" if error.hint else "")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

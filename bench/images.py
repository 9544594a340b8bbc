"""Images: pulled cold from a registry on loopback, started from, removed; every engine on an ext4 of its own.

A pull is timed until all of it is on disk (syncfs). Its processor time is that of the engine's processes and of the
command; the kernel's own threads that write to the disk are nobody's.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import io
import os
import random
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.measures import Bench, Measure, Row
from bench.peers import corten_command
from corten.sys.paths import syncfs
from tests.support import images
from tests.support.command import run
from tests.support.dockerd import Dockerd, dockerd_problem
from tests.support.engine import Engine
from tests.support.process import descendants
from tests.support.registry import OCI_LAYER, Registry, registry_problem

_LAYERS, _FILES, _DIRECTORIES = 4, 9000, 400
_ROUNDS = 3
_CONTAINERS = 20
_GIB_LAYERS, _GIB_FILE = 4, 256 << 20
_TICK = os.sysconf("SC_CLK_TCK")
_NAME = "bench"


def _content(chance: random.Random, size: int, words: Sequence[bytes]) -> bytes:
    """Text, so to speak: a third of it is left by gzip."""
    return b" ".join(chance.choices(words, k=size // 4 + 1))[:size]


def _layer(number: int) -> bytes:
    """A layer of 9,000 files, most of them small."""
    chance = random.Random(number)
    words = [chance.randbytes(chance.randint(2, 5)).hex().encode() for _ in range(4000)]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for place in range(_FILES):
            entry = tarfile.TarInfo(f"layer-{number}/directory-{place % _DIRECTORIES}/file-{place}")
            entry.size = min(int(chance.lognormvariate(8.6, 1.3)), 2 << 20)
            entry.mtime = 1_700_000_000 + place
            archive.addfile(entry, io.BytesIO(_content(chance, entry.size, words)))
    return buffer.getvalue()


@dataclasses.dataclass(frozen=True, slots=True)
class _Side:
    """An engine with an image to pull: how it pulls and removes it, and whose processes work for it."""

    name: str
    pull: Sequence[str]
    remove: Sequence[str]
    environment: dict[str, str]
    disk: Path
    pids: Callable[[], Sequence[int]]


@contextlib.contextmanager
def own_disk(directory: Path, gib: int = 8) -> Iterator[Path]:
    """An ext4 of its own, in a loop file."""
    file, place = directory.with_suffix(".disk"), directory
    place.mkdir()
    with file.open("wb") as opened:
        opened.truncate(gib << 30)
    run(["mkfs.ext4", "-q", "-F", str(file)]).check()
    run(["mount", "-o", "loop", str(file), str(place)]).check()
    try:
        yield place
    finally:
        run(["umount", "-l", str(place)])
        file.unlink()


@contextlib.contextmanager
def corten_engine(scratch: Path, *options: str, name: str = "corten") -> Iterator[Engine]:
    """An engine on an ext4 of its own."""
    with own_disk(scratch / name) as disk:
        engine = Engine(disk / "root", *options, judged=False)
        engine.root.mkdir()
        try:
            engine.start()
            _leave_group(engine.pid)
            yield engine
        finally:
            engine.remove()


def _leave_group(pid: int) -> None:
    """The peers' daemons are started by hand, and in no control group: on a busy machine, an engine in one would get
    the share of a single one of their threads."""
    for group in ("/sys/fs/cgroup/cpu/cgroup.procs", "/sys/fs/cgroup/cgroup.procs"):
        with contextlib.suppress(OSError):
            Path(group).write_text(str(pid))


@contextlib.contextmanager
def _sides(scratch: Path, registry: Registry) -> Iterator[list[_Side]]:
    """Corten, and those of docker and podman that are here."""
    with contextlib.ExitStack() as stack:
        engine = stack.enter_context(corten_engine(scratch))
        reference = registry.reference(_NAME)
        cli = corten_command()
        sides = [_Side("corten", [*cli, "pull", reference], [*cli, "rmi", reference], engine.environment(), engine.root,
                       lambda: [engine.pid, *descendants(engine.pid)])]  # fmt: skip
        if not dockerd_problem():
            sides.append(stack.enter_context(_docker(scratch, registry)))
        if run(["which", "podman"]).code == 0:
            sides.append(stack.enter_context(_podman(scratch, registry)))
        yield sides


@contextlib.contextmanager
def _docker(scratch: Path, registry: Registry) -> Iterator[_Side]:
    """Its daemon has a network namespace of its own: so has a second registry, over the same store."""
    with docker_engine(scratch) as (daemon, disk):
        other = Registry(registry.directory)
        try:
            other.port, other.host = registry.port, registry.host
            other.within = ("nsenter", f"--net=/proc/{daemon.pid}/ns/net")
            other.start()
            reference = registry.reference(_NAME)
            yield _Side("docker", ["docker", "pull", reference], ["docker", "rmi", reference], daemon.environment(),
                        disk, lambda: [daemon.pid, *descendants(daemon.pid)])  # fmt: skip
        finally:
            other.stop()


@contextlib.contextmanager
def docker_engine(scratch: Path) -> Iterator[tuple[Dockerd, Path]]:
    """A dockerd on an ext4 of its own, and where that is."""
    with own_disk(scratch / "docker") as disk:
        daemon = Dockerd(disk / "dockerd")
        try:
            yield daemon.start(), disk
        finally:
            daemon.remove()


def podman_on(disk: Path) -> list[str]:
    """The command line of a podman that has all its own there."""
    return ["podman", "--cgroup-manager", "cgroupfs", "--root", f"{disk}/storage", "--runroot", f"{disk}/run",
            "--tmpdir", f"{disk}/tmp"]  # fmt: skip


@contextlib.contextmanager
def _podman(scratch: Path, registry: Registry) -> Iterator[_Side]:
    with own_disk(scratch / "podman") as disk:
        own = podman_on(disk)
        reference = registry.reference(_NAME)
        yield _Side("podman", [*own, "pull", "--tls-verify=false", reference], [*own, "rmi", reference],
                    dict(os.environ), disk, list)  # fmt: skip
        run([*own, "rmi", "--all", "--force"])


def _cpu(pids: Sequence[int]) -> float:
    """Seconds of processes, and of their children that have ended."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(int(field) for field in fields[11:15])
    return total / _TICK


def _timed(side: _Side, argv: Sequence[str]) -> tuple[float, float]:
    """Seconds until all is on disk, and of the processor."""
    os.sync()  # what the one before has left to be written would be paid for by this one
    before, start = _cpu(side.pids()), time.perf_counter()
    with subprocess.Popen(argv, env=side.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            assert process.stderr is not None
            raise AssertionError(f"{' '.join(argv)}: {process.stderr.read().decode()}")
    sync(side.disk)
    wall = time.perf_counter() - start
    return wall, usage.ru_utime + usage.ru_stime + _cpu(side.pids()) - before


def sync(disk: Path) -> None:
    """Return when all of a file system is on the disk."""
    descriptor = os.open(disk, os.O_RDONLY)
    try:
        syncfs(descriptor)
    finally:
        os.close(descriptor)


def pull(bench: Bench) -> Iterator[Row]:
    """A cold pull of 36,000 files in four gzip layers, and the removal of the image."""
    if problem := registry_problem():
        yield Row("pull", f"without a registry: {problem}")
        return
    with tempfile.TemporaryDirectory(prefix="bench-images-") as scratch:
        with _filled_registry(Path(scratch)) as registry, _sides(Path(scratch), registry) as sides:
            pulls: dict[str, list[tuple[float, float]]] = {side.name: [] for side in sides}
            removals: dict[str, list[tuple[float, float]]] = {side.name: [] for side in sides}
            for _ in range(_ROUNDS):
                for side in sides:
                    pulls[side.name].append(_timed(side, side.pull))
                    removals[side.name].append(_timed(side, side.remove))
    yield from _compared("pull, wall seconds", pulls, 0, "0.33")
    yield from _compared("pull, CPU seconds", pulls, 1, "0.33")
    yield from _compared("rmi of it, wall seconds", removals, 0, "0.20")


def _compared(name: str, found: dict[str, list[tuple[float, float]]], which: int, goal: str) -> Iterator[Row]:
    taken = {side: [one[which] for one in values] for side, values in found.items()}
    middle = {side: statistics.median(values) for side, values in taken.items()}
    told = {side: f"{middle[side]:.2f} ({min(values):.2f}-{max(values):.2f})" for side, values in taken.items()}
    for side, value in middle.items():
        if side != "corten":
            ratio = f"{middle['corten'] / value:.2f}"
            yield Row(name, told["corten"], side, told[side], ratio, goal if side == "docker" else "")


@contextlib.contextmanager
def _filled_registry(scratch: Path) -> Iterator[Registry]:
    registry = Registry(scratch / "registry").start()
    try:
        layers = [_layer(number) for number in range(_LAYERS)]
        packed = [gzip.compress(content, 6, mtime=0) for content in layers]
        print(f"    {sum(map(len, layers)) >> 20} MiB of archives, {sum(map(len, packed)) >> 20} compressed",
              file=sys.stderr)  # fmt: skip
        registry.put_image(_NAME, layers, packed=packed, layer_type=f"{OCI_LAYER}+gzip")
        yield registry
    finally:
        registry.remove()


def first_start(bench: Bench) -> Iterator[Row]:
    """The first start from an image of four layers that has just come, beside one from an image of one layer."""
    with tempfile.TemporaryDirectory(prefix="bench-images-") as name, corten_engine(Path(name)) as engine:
        scratch = Path(name)
        root = images.busybox_root(scratch / "busybox")
        lowest = images.layer_of(root)
        taken: dict[int, list[float]] = {1: [], 4: []}
        for number in range(2 * _ROUNDS + 1):
            for count, times in taken.items():
                reference = f"first-{count}-{number}"
                mark = images.layer({f"mark-{count}-{number}-{place}": b"x" for place in range(3)})
                layers = [lowest, mark, mark, mark] if count == 4 else [lowest + reference.encode()]
                engine.load(images.docker_archive(scratch / "archive", reference, layers))
                time.sleep(0.5)  # those who stand by have had their time: it is not part of a start
                start = time.perf_counter()
                run([*corten_command(), "run", "--rm", reference, "true"], env=engine.environment()).check()
                if number:
                    times.append((time.perf_counter() - start) * 1000)
    four, one = statistics.median(taken[4]), statistics.median(taken[1])
    yield Row("first start, 4 layers / 1, ms", f"{four:.1f}", "1 layer", f"{one:.1f}", f"{four - one:+.1f}", "+5")


def cache(bench: Bench) -> Iterator[Row]:
    """Memory of 20 containers that read the same 200 MB of one image, beside the same with directories: what their
    control groups are charged for, page cache and the kernel's share included, and the processes beside them."""
    content = {f"data/{number}": os.urandom(20 << 20) for number in range(10)}
    found = {}
    for form in ("erofs", "overlay"):
        with tempfile.TemporaryDirectory(prefix="bench-images-") as name:
            scratch = Path(name)
            layers = [images.busybox_layer(scratch), images.layer(content)]
            archive = images.docker_archive(scratch / "archive", _NAME, layers)
            with corten_engine(scratch, "--snapshotter", form, name=form) as engine:
                engine.load(archive)
                archive.unlink()
                _uncache(engine.root / "layers", (scratch / form).with_suffix(".disk"))
                for number in range(_CONTAINERS):
                    command = "cat /data/* > /dev/null; exec sleep 100000"
                    engine.cli("run", "-d", "--name", f"c{number}", _NAME, "sh", "-c", command).check()
                for number in range(_CONTAINERS):
                    engine.cli("exec", f"c{number}", "sh", "-c", "cat /data/* > /dev/null").check()
                beside = sum(_field(pid, "smaps_rollup", "Pss:") for pid in (engine.pid, *descendants(engine.pid)))
                found[form] = (_charged(engine.names.cgroup) >> 20) + round(beside)
    ratio = f"{found['erofs'] / found['overlay']:.2f}"
    yield Row("memory of 20 containers, MiB", str(found["erofs"]), "directories", str(found["overlay"]), ratio, "1.00")


def _uncache(layers: Path, disk: Path) -> None:
    """Let go of what is cached of some files: who reads them from now on is charged for them."""
    sync(layers)
    for path in (disk, *(path for path in layers.rglob("*") if path.is_file() and not path.is_symlink())):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _charged(group: str) -> int:
    """Bytes that a control group and those below it are charged for, in either version of the controller."""
    for file in (f"memory/{group}/memory.usage_in_bytes", f"{group}/memory.current"):
        with contextlib.suppress(FileNotFoundError):
            return int((Path("/sys/fs/cgroup") / file).read_text())
    raise AssertionError(f"no memory controller has {group}")


def pull_memory(bench: Bench) -> Iterator[Row]:
    """Resident memory of the engine and of all it started, at most, during the pull of an image of 1 GiB."""
    with tempfile.TemporaryDirectory(prefix="bench-images-") as name:
        scratch = Path(name)
        registry = Registry(scratch / "registry").start()
        try:
            block = os.urandom(1 << 20)
            layers = [
                images.layer({f"large-{number}": bytes([number]) + block * (_GIB_FILE >> 20)})
                for number in range(_GIB_LAYERS)
            ]
            packed = [gzip.compress(content, 1, mtime=0) for content in layers]
            registry.put_image(_NAME, layers, packed=packed, layer_type=f"{OCI_LAYER}+gzip")
            del layers, packed
            with corten_engine(scratch) as engine, _watched(engine.pid) as seen:
                engine.cli("pull", registry.reference(_NAME), timeout=600).check()
        finally:
            registry.remove()
    yield Row("pull of 1 GiB: engine, MiB", f"{max(one for one, _ in seen):.0f}", goal="150")
    yield Row("pull of 1 GiB: with workers, MiB", f"{max(both for _, both in seen):.0f}")


@contextlib.contextmanager
def _watched(pid: int) -> Iterator[list[tuple[float, float]]]:
    """Resident MiB of a process, and proportional MiB of it with all below it, as time goes on."""
    seen: list[tuple[float, float]] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            seen.append((_field(pid, "status", "VmRSS:"), sum(
                _field(one, "smaps_rollup", "Pss:") for one in (pid, *descendants(pid)))))  # fmt: skip

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def _field(pid: int, file: str, name: str) -> float:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) / 1024
    return 0.0


ALL: tuple[Measure, ...] = (pull, first_start, cache, pull_memory)

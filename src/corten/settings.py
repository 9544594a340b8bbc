"""The engine's options: what its command line says, with what is derived from the data root filled in."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from corten import __version__
from corten.api import listeners
from corten.api.listeners import Security
from corten.engine import log_config
from corten.engine.model import LogConfig
from corten.engine.paths import derived_name
from corten.engine.pull import Mirrors, mirrors
from corten.network.barrier import MODES
from corten.network.pool import DEFAULT_POOLS, Pool
from corten.store.snapshotters import AUTO, NAMES
from corten.store.unpack import MAX_BYTES
from corten.wire.places import standard_root

_IDLE = 300.0
"""Seconds."""


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """The engine's options, with what is derived from the data root filled in."""

    root: Path
    hosts: tuple[str, ...]
    bridge: str
    table: str
    cgroup_parent: str
    pools: tuple[Pool, ...]
    ipv6: bool
    firewall: str
    security: Security
    log: LogConfig
    snapshotter: str = AUTO
    """The form of new layers, or ``auto``."""
    max_layer: int = MAX_BYTES
    """Bytes that a layer's archive may have, decompressed."""
    keep_blobs: bool = True
    """Whether layers are kept compressed, too."""
    store_limit: int = 0
    """Bytes of images that the store is kept under, where that can be; 0: any."""
    mirrors: Mirrors = dataclasses.field(default_factory=dict)
    """Who is asked before a registry."""
    cdi_spec_dirs: tuple[str, ...] = ()
    """Where devices are described that can be asked for by name."""
    idle: float = 0.0
    """Seconds without a client and a container that runs, after which an engine that systemd starts on demand leaves;
    0: never."""

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> Settings:
        """From the command line. Raises InvalidInput."""
        parser = argparse.ArgumentParser(prog="corten daemon", description="Run the engine in the foreground.")
        parser.add_argument("--root", help="data root",
                            default=os.environ.get("CORTEN_ROOT") or standard_root(os.environ))  # fmt: skip
        parser.add_argument(
            "-H", "--host", action="append", default=[], help="where to listen: unix://PATH, tcp://ADDRESS:PORT"
        )
        listeners.add_options(parser)
        parser.add_argument("--log-driver", default="", help="default log driver of containers (json-file)")
        parser.add_argument(
            "--log-opt", action="append", default=[], metavar="NAME=VALUE", help="default option of that log driver"
        )
        parser.add_argument("--bridge", default="", help="interface of the default network")
        parser.add_argument("--table", default="", help="name of the firewall table")
        parser.add_argument("--cgroup-parent", default="", help="control group of all containers")
        parser.add_argument("--pool", "--default-address-pool", action="append", default=[],
                            help="address pool: base=10.9.0.0/16,size=24")  # fmt: skip
        parser.add_argument("--ipv6", action="store_true", help="give the default network IPv6")
        parser.add_argument("--firewall", choices=MODES, default="auto",
                            help="what networks are made with: nf_tables where there is (auto)")  # fmt: skip
        parser.add_argument(
            "--idle-exit", type=float, default=_IDLE, metavar="SECONDS",
            help="under socket activation, leave when so long nobody asked and nothing ran (0: never)",
        )  # fmt: skip
        parser.add_argument("--registry-mirror", action="append", default=[], metavar="[HOST=]URL",
                            help="a registry to ask before Docker's hub, or before HOST")  # fmt: skip
        parser.add_argument("--snapshotter", choices=NAMES, default=AUTO,
                            help="how new layers are kept (auto: the best that works here)")  # fmt: skip
        parser.add_argument("--keep-blobs", action=argparse.BooleanOptionalAction, default=True,
                            help="keep layers compressed, too: a push needs not make them anew")  # fmt: skip
        parser.add_argument("--max-layer-size", type=_gibibytes, default=MAX_BYTES, metavar="GIB",
                            help="most that a layer may have, decompressed (256)")  # fmt: skip
        parser.add_argument("--store-limit", type=_bytes, default=0, metavar="SIZE",
                            help="keep images under a size, e.g. 20g: those used longest ago go first")  # fmt: skip
        parser.add_argument("--cdi-spec-dir", action="append", default=[], metavar="DIRECTORY",
                            help="where devices are described (/etc/cdi, /var/run/cdi): the last one wins")  # fmt: skip
        parser.add_argument("--version", action="version", version=f"Corten {__version__}")
        found = parser.parse_args(arguments)
        root = Path(os.path.abspath(found.root))
        return cls(
            root=root,
            hosts=tuple(found.host),
            bridge=found.bridge or derived_name(root, standard="corten0", other="ct-%s"),
            table=found.table or derived_name(root, standard="corten", other="corten_%s"),
            cgroup_parent=found.cgroup_parent.strip("/") or derived_name(root, standard="corten", other="corten-%s"),
            pools=tuple(Pool.parse(text) for text in found.pool) or DEFAULT_POOLS,
            ipv6=found.ipv6,
            firewall=found.firewall,
            security=listeners.security(found),
            snapshotter=found.snapshotter,
            max_layer=found.max_layer_size,
            keep_blobs=found.keep_blobs,
            mirrors=mirrors(found.registry_mirror),
            log=log_config.of_daemon(found.log_driver, found.log_opt),
            store_limit=found.store_limit,
            cdi_spec_dirs=tuple(map(os.path.abspath, found.cdi_spec_dir)) or _cdi_spec_dirs(),
            idle=found.idle_exit if listeners.is_activated() else 0.0,
        )


def _cdi_spec_dirs() -> tuple[str, ...]:
    """As dockerd has them: the machine's, and an ordinary user's own, who can give only what is his."""
    own = []
    if os.geteuid() != 0:
        own.append(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"))
        own += filter(None, [os.environ.get("XDG_RUNTIME_DIR")])
    return ("/etc/cdi", "/var/run/cdi", *(f"{directory}/cdi" for directory in own))


def _gibibytes(text: str) -> int:
    """An option in GiB. Raises ValueError."""
    value = int(float(text) * (1 << 30))
    if value <= 0:
        raise ValueError(text)
    return value


def _bytes(text: str) -> int:
    """An option like ``20g``. Raises ValueError."""
    unit = text[-1:].lower()
    scale = 1 << (10 * ("bkmgt".index(unit) if unit in "bkmgt" and unit else 0))
    return int(float(text.rstrip("bBkKmMgGtT")) * scale)

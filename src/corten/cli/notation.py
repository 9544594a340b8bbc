"""The notations of option values: sizes, durations, ports, mounts, devices, limits, key=value files.

Each function reads one notation into the API's value and raises InvalidInput with Docker's sentence.
"""

from __future__ import annotations

import os

from corten.errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_ULIMITS = (
    "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
    "rttime", "sigpending", "stack",
)  # fmt: skip
_SYSCTLS = (
    "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
    "kernel.shmmni", "kernel.shm_rmid_forced",
)  # fmt: skip
_MODES = {
    "pid": (("", "host"), True), "uts": (("", "host"), False), "userns": (("", "host"), False),
    "cgroupns": (("", "private", "host"), False),
}  # fmt: skip
_NANOSECONDS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def size(text: str) -> int:
    """Bytes of ``512m``, ``1.5g``, ``64kb``, ``1GiB``; powers of 1024, as go-units' RAMInBytes."""
    if not text:
        return 0
    if text == "-1":
        return -1
    lowered = text.strip().lower()
    number = lowered.rstrip("kmgtpib ")
    unit = lowered[len(number) :].strip()
    factor = _UNITS.get(unit.removesuffix("ib").removesuffix("b") if unit != "b" else "b")
    if factor is None or not number.replace(".", "", 1).isdigit():
        raise InvalidInput(f"invalid size: '{text}'")
    return int(float(number) * factor)


def duration(text: str) -> int:
    """Nanoseconds of Go's ``1h2m3.5s``, ``300ms``."""
    if text in ("", "0"):
        return 0
    total, rest = 0.0, text.removeprefix("+")
    while rest:
        number = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        rest = rest[len(number) :]
        unit = rest[: len(rest) - len(rest.lstrip("nuµmsh"))]
        rest = rest[len(unit) :]
        if unit not in _NANOSECONDS or not number.replace(".", "", 1).isdigit():
            raise InvalidInput(f'time: invalid duration "{text}"')
        total += float(number) * _NANOSECONDS[unit]
    return round(total)


def nano_cpus(text: str) -> int:
    """Billionths of a CPU of ``1.5``; less than none is the engine's to refuse."""
    if not text:
        return 0
    if text.startswith("-"):
        return -nano_cpus(text[1:])
    whole, _, fraction = text.partition(".")
    if not (whole + fraction).isdigit() or len(fraction) > 9:
        raise InvalidInput(f"failed to parse {text} as a rational number")
    return int(whole or "0") * 10**9 + int(fraction.ljust(9, "0"))


def pairs(items: Iterable[str]) -> dict[str, str]:
    """``key=value`` items; a key alone has the value ''."""
    return {key: value for key, _, value in (item.partition("=") for item in items)}


def environment(items: Iterable[str], files: Iterable[str], own: Mapping[str, str]) -> list[str]:
    """``NAME=value`` for each; a name alone takes this process's value, or is left out."""
    found: list[str] = []
    for item in [*(line for path in files for line in _lines(path)), *items]:
        name, equals, _ = item.partition("=")
        if not name:
            raise InvalidInput(f"invalid environment variable: {item}")
        if equals:
            found.append(item)
        elif name in own:
            found.append(f"{name}={own[name]}")
    return found


def labels(items: Iterable[str], files: Iterable[str]) -> dict[str, str]:
    """Labels of files and options; the options win."""
    return pairs([*(line for path in files for line in _lines(path)), *items])


def _lines(path: str) -> list[str]:
    """The lines of a file of variables: neither blank nor comments."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            lines = [line.lstrip() for line in file.read().splitlines()]
    except OSError as error:
        raise InvalidInput(f"open {path}: {(error.strerror or '').lower()}") from error
    kept = [line for line in lines if line and not line.startswith("#")]
    for line in kept:
        name = line.partition("=")[0]
        if not name:
            raise InvalidInput(f"invalid env file ({path}): no variable name on line '{line}'")
        if any(blank in name for blank in " \t"):
            raise InvalidInput(f"invalid env file ({path}): variable '{name}' contains whitespaces")
    return kept


def ulimit(text: str) -> dict[str, Any]:
    """``nofile=1024:2048``."""
    name, equals, values = text.partition("=")
    soft, colon, hard = values.partition(":")
    numbers = [value for value in (soft, hard if colon else soft) if value.removeprefix("-").isdigit()]
    if name not in _ULIMITS:
        raise InvalidInput(f"invalid ulimit type: {name}" if equals else f"invalid ulimit argument: {text}")
    if not equals or len(numbers) != 2:
        raise InvalidInput(f"invalid ulimit argument: {text}")
    if -1 < int(numbers[1]) < int(numbers[0]) or (numbers[0] == "-1" and numbers[1] != "-1"):
        raise InvalidInput(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
    return {"Name": name, "Soft": int(numbers[0]), "Hard": int(numbers[1])}


def is_device_name(text: str) -> bool:
    """Whether ``--device`` names a device of the Container Device Interface: ``vendor.com/class=name``. The rule is
    that of :mod:`corten.spec.cdi`, which takes as long to load as the whole command."""
    kind, _, name = text.partition("=")
    vendor, _, group = kind.partition("/")
    kinds = all(_is_word(part, "_-.") and part[0].isalpha() for part in (vendor, group))
    return kinds and _is_word(name, "_-.:")


def _is_word(text: str, marks: str) -> bool:
    """Whether this is letters and digits, with marks between them."""
    ends = text[:1].isalnum() and text[-1:].isalnum()
    return ends and text.isascii() and all(letter.isalnum() or letter in marks for letter in text)


def device(text: str) -> dict[str, str]:
    """``/dev/host[:/dev/inside][:rwm]``."""
    parts = text.split(":")
    if len(parts) > 3 or not parts[0]:
        raise InvalidInput(f"invalid device specification: {text}")
    inside, mode = parts[0], "rwm"
    if len(parts) == 3:
        inside, mode = parts[1], parts[2]
    elif len(parts) == 2:
        if parts[1] and set(parts[1]) <= set("rwm"):
            mode = parts[1]
        else:
            inside = parts[1]
    if not mode or set(mode) - set("rwm"):
        raise InvalidInput(f"bad mode specified: {mode}")
    return {"PathOnHost": parts[0], "PathInContainer": inside, "CgroupPermissions": mode}


def check_mode(kind: str, mode: str) -> None:
    """A namespace's mode. Raises InvalidInput in Docker's words."""
    words, shared = _MODES[kind]
    if mode not in words and not (shared and mode.startswith("container:") and mode != "container:"):
        named = {"userns": "USER", "cgroupns": "CGROUP"}.get(kind, kind.upper())
        raise InvalidInput(f"--{kind}: invalid {named} mode")


def sysctl(text: str) -> str:
    """``name=value`` of a setting that a container has of its own."""
    name, equals, _ = text.partition("=")
    if not equals or (name not in _SYSCTLS and not name.startswith(("net.", "fs.mqueue."))):
        raise InvalidInput(f"sysctl '{text}' is not allowed")
    return text


def ip_address(text: str) -> str:
    """An address of either version. By the C library: ``ipaddress`` costs more than the command that asks."""
    import _socket

    for family in (_socket.AF_INET, _socket.AF_INET6):
        try:
            _socket.inet_pton(family, text.partition("%")[0])
        except OSError:
            continue
        return text
    raise InvalidInput(f"IP address is not correctly formatted: {text}")


def mac_address(text: str) -> str:
    """Six bytes in hexadecimal."""
    parts = text.replace("-", ":").split(":")
    if len(parts) != 6 or not all(len(part) == 2 and set(part) <= set("0123456789abcdefABCDEF") for part in parts):
        raise InvalidInput(f"{text} is not a valid mac address")
    return text


def throttle(text: str, *, sized: bool) -> dict[str, Any]:
    """``/dev/sda:1mb`` or ``/dev/sda:100``: bytes or operations a second."""
    path, colon, rate = text.partition(":")
    if not colon or not path.startswith("/dev/"):
        raise InvalidInput(f"bad format for device path: {text}")
    return {"Path": path, "Rate": size(rate) if sized else int(rate)}


def weight(text: str) -> dict[str, Any]:
    """``/dev/sda:200``."""
    path, colon, value = text.partition(":")
    if not colon or not path.startswith("/dev/") or not value.isdigit():
        raise InvalidInput(f"bad format: {text}")
    return {"Path": path, "Weight": int(value)}


def restart_policy(text: str) -> dict[str, Any]:
    """``no``, ``always``, ``unless-stopped``, ``on-failure[:retries]``."""
    name, colon, retries = text.partition(":")
    if colon and not retries.isdigit():
        raise InvalidInput("invalid restart policy format: maximum retry count must be an integer")
    return {"Name": name or "no", "MaximumRetryCount": int(retries or "0")}


def exposed(items: Iterable[str]) -> dict[str, dict[str, Any]]:
    """``80``, ``80/udp``, ``8000-8010``."""
    found: dict[str, dict[str, Any]] = {}
    for item in items:
        if ":" in item:
            raise InvalidInput(f"invalid port format for --expose: {item}")
        ports, protocol = _protocol(item)
        found.update({f"{port}/{protocol}": {} for port in _range(ports, "port for --expose")})
    return found


def published(items: Iterable[str]) -> dict[str, list[dict[str, str]]]:
    """``[[ip:][host]:]container[/protocol]``, with ranges: the API's PortBindings."""
    found: dict[str, list[dict[str, str]]] = {}
    for item in items:
        address, host, inside = _split_port(item)
        ports, protocol = _protocol(inside)
        _check_address(address)
        outside = _range(host, "hostPort") if host else None
        inner = _range(ports, "containerPort")
        outer = _host_ports(outside, host, len(inner), item)
        for port, bound in zip(inner, outer, strict=True):
            found.setdefault(f"{port}/{protocol}", []).append({"HostIp": address, "HostPort": bound})
    return found


def _check_address(address: str) -> None:
    if address:
        try:
            ip_address(address)
        except InvalidInput:
            raise InvalidInput(f"invalid IP address: {address}") from None


def _split_port(item: str) -> tuple[str, str, str]:
    if item.startswith("["):
        address, _, rest = item[1:].partition("]:")
        host, _, inside = rest.rpartition(":")
        return address, host, inside
    rest, _, inside = item.rpartition(":")
    address, _, host = rest.rpartition(":")
    return address, host, inside


def _protocol(text: str) -> tuple[str, str]:
    ports, _, protocol = text.partition("/")
    protocol = protocol.lower() or "tcp"
    if protocol not in ("tcp", "udp", "sctp"):
        raise InvalidInput(f"invalid proto: {protocol}")
    return ports, protocol


def _host_ports(outer: range | None, host: str, count: int, item: str) -> list[str]:
    if outer is None:
        return [""] * count
    if len(outer) == count:
        return [str(port) for port in outer]
    if count == 1:
        return [host]  # one port out of a range: the engine chooses
    raise InvalidInput(f"invalid ranges specified for container and host Ports: {item}")


def _range(text: str, what: str) -> range:
    first, dash, last = text.partition("-")
    for number in (first, last) if dash else (first,):
        if not (number.isascii() and number.isdigit() and 0 <= int(number) < 65536):
            raise InvalidInput(f"invalid {what}: {text}")
    if dash and int(last) < int(first):
        raise InvalidInput(f"invalid {what}: {text}: the range ends before it begins")
    return range(int(first), int(last if dash else first) + 1)


def volumes(items: Iterable[str]) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """``-v``: binds (``source:target[:options]``, relative sources made absolute) and anonymous volumes."""
    binds: list[str] = []
    anonymous: dict[str, dict[str, Any]] = {}
    for item in items:
        source, colon, rest = item.partition(":")
        if not colon:
            anonymous[item] = {}
        elif source.startswith((".", "~")):
            binds.append(f"{os.path.abspath(os.path.expanduser(source))}:{rest}")
        else:
            binds.append(item)
    return binds, anonymous

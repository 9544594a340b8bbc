"""Log drivers and their options: what is accepted at create, and what the monitor is told.

The sentences are dockerd's (``daemon/logger``), for tools that look for them.
"""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Mapping
from typing import Any

from corten.engine import log_details
from corten.engine.log_formats import JSON_FILE, LOCAL, Format
from corten.engine.logs import LogFeed
from corten.engine.model import Container, LogConfig
from corten.engine.paths import Paths
from corten.errors import InvalidInput
from corten.spec.monitor import LogSpec
from corten.wire import journal, syslog

DRIVERS = ("journald", "json-file", "local", "none", "syslog")
_DECIMAL = {"": 1, "b": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "p": 10**15}
_BINARY = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)(?:i?b)?", re.IGNORECASE)
_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")
_DETAILS = ("labels", "labels-regex", "env", "env-regex", "tag")
_FILE = ("max-size", "max-file", "compress", *_DETAILS)
_SYSLOG = tuple(
    f"syslog-{name}"
    for name in ("address", "facility", "format", "tls-ca-cert", "tls-cert", "tls-key", "tls-skip-verify")
)
_KNOWN: dict[str, tuple[str, ...]] = {
    "json-file": _FILE, "local": _FILE, "journald": _DETAILS, "syslog": (*_SYSLOG, *_DETAILS),
}  # fmt: skip
_CACHE = "cache-"
_COMMON = ("mode", "max-buffer-size", f"{_CACHE}disabled", *(f"{_CACHE}{name}" for name in _FILE))
"""Options of every driver: how output is taken, and the cache that ``logs`` reads where the driver cannot be read."""
_BUFFER = 1 << 20
_IN_MEMORY = 256 << 10
"""Bytes that attached clients may lag where no file is kept."""
_PROTOCOLS = ("udp", "tcp", "tcp+tls", "unix", "unixgram")


def settle(config: LogConfig, default: LogConfig) -> LogConfig:
    """The configuration with the engine's own where it is silent. Raises InvalidInput."""
    driver = config.type or default.type
    options, own = dict(config.config or {}), default.config or {}
    for name, text in own.items():
        if driver == default.type or name.startswith(_CACHE):
            options.setdefault(name, text)
    settled = LogConfig(driver, options)
    validate(settled)
    return settled


def validate(config: LogConfig) -> None:
    """Raises InvalidInput in dockerd's words."""
    driver, options = config.type, config.config or {}
    if driver == "none":
        return
    _mode(options)
    if driver not in _KNOWN:
        raise InvalidInput(f"logger: no log driver named '{driver}' is registered")
    for name in sorted(options.keys() - {*_KNOWN[driver], *_COMMON}):
        whose = "log driver local" if driver == "local" else f"{driver} log driver"
        raise InvalidInput(f"unknown log opt '{name}' for {whose}")
    _boolean(options, f"{_CACHE}disabled", f"invalid value for option cache-disabled: {options.get('cache-disabled')}")
    for name in ("labels-regex", "env-regex"):
        log_details.pattern(options.get(name, ""))
    log_details.template(options.get("tag", ""))
    _file(options) if driver == "json-file" else _local(options if driver == "local" else _cached(options))
    if driver == "syslog":
        _address(options.get("syslog-address", ""))
        _facility(options)
        _format(options)


def _mode(options: Mapping[str, str]) -> None:
    mode = options.get("mode", "")
    if mode not in ("", "blocking", "non-blocking"):
        raise InvalidInput(f"logger: logging mode not supported: {mode}")
    if "max-buffer-size" not in options:
        return
    if mode != "non-blocking":
        raise InvalidInput("logger: max-buffer-size option is only supported with 'mode=non-blocking'")
    try:
        _size(options["max-buffer-size"], _BINARY)
    except InvalidInput as error:
        raise InvalidInput(f"error parsing option max-buffer-size: {error.message}") from None


# --- what the monitor is told


def log_spec(container: Container, paths: Paths) -> LogSpec:
    """What the monitor of a container is to do with its output. Raises InvalidInput."""
    config, options = container.host.log_config, container.host.log_config.config or {}
    if config.type == "none":
        return LogSpec(driver="none")
    waits = options.get("mode") != "non-blocking"
    buffer = _size(options["max-buffer-size"], _BINARY) if "max-buffer-size" in options else _BUFFER
    if config.type in ("json-file", "local"):
        sizes = _file(options) if config.type == "json-file" else _local(options)
        path = log_file(config, paths, container.id)
        return LogSpec(config.type, path, *sizes, _told(container, options), waits)
    remote = _REMOTE[config.type](container, options)
    if not _has_cache(config):
        return LogSpec("local", "", _IN_MEMORY, 1, waits=waits, remote=remote, buffer=buffer)
    cached = _cached(options)
    path = log_file(config, paths, container.id)
    return LogSpec("local", path, *_local(cached), _told(container, cached), waits, remote, buffer)


def _told(container: Container, options: Mapping[str, str]) -> dict[str, str]:
    """What stands in every entry of a file: a tag only where one was asked for."""
    own = {"tag": log_details.tag(container, options, "")} if options.get("tag") else {}
    return {**log_details.attributes(container, options), **own}


def _journald(container: Container, options: Mapping[str, str]) -> dict[str, Any]:
    tag = log_details.tag(container, options, log_details.DEFAULT_TAG)
    variables = {
        "CONTAINER_ID": container.id[:12], "CONTAINER_ID_FULL": container.id, "CONTAINER_NAME": container.name,
        "CONTAINER_TAG": tag, "IMAGE_NAME": container.config.image, "SYSLOG_IDENTIFIER": tag,
        **log_details.attributes(container, options, journal.field_name),
    }  # fmt: skip
    return {"driver": "journald", "variables": {name: text for name, text in variables.items() if name}}


def _syslog(container: Container, options: Mapping[str, str]) -> dict[str, Any]:
    protocol, address = _address(options.get("syslog-address", ""))
    tls = {name: options.get(f"syslog-tls-{option}", "") for name, option in
           (("ca", "ca-cert"), ("cert", "cert"), ("key", "key"))}  # fmt: skip
    return {
        "driver": "syslog", "protocol": protocol, "address": address, "format": _format(options),
        "facility": _facility(options), "tag": log_details.tag(container, options, log_details.DEFAULT_TAG),
        "tls": {**tls, "verify": "syslog-tls-skip-verify" not in options},
    }  # fmt: skip


_REMOTE = {"journald": _journald, "syslog": _syslog}


# --- where it is read


def _has_cache(config: LogConfig) -> bool:
    return (config.config or {}).get(f"{_CACHE}disabled", "") not in _TRUE


def is_readable(config: LogConfig) -> bool:
    """Whether there is a file for ``logs``."""
    return config.type in ("json-file", "local") or (config.type != "none" and _has_cache(config))


def log_file(config: LogConfig, paths: Paths, id: str) -> str:
    """Where a container's log is; '' where no file is kept."""
    if config.type == "json-file":
        return str(paths.log(id))
    name = "container.log" if config.type == "local" else "container-cached.log"
    return str(paths.container(id) / name) if is_readable(config) else ""


def feed(container: Container, paths: Paths) -> LogFeed:
    """A container's log, for those who read it."""
    config = container.host.log_config
    form: Format = JSON_FILE if config.type == "json-file" else LOCAL
    return LogFeed(log_file(config, paths, container.id), form)


# --- options


def _cached(options: Mapping[str, str]) -> dict[str, str]:
    """The options of the cache, by the names that the driver ``local`` has for them."""
    return {name.removeprefix(_CACHE): text for name, text in options.items() if name.startswith(_CACHE)}


def _local(options: Mapping[str, str]) -> tuple[int, int, bool]:
    """The same of the driver ``local``, which compresses."""
    for name, read in (("max-size", _max_size), ("max-file", _count)):
        try:
            read(options.get(name, "1"))
        except InvalidInput as error:
            raise InvalidInput(f"invalid value for {name}: {options[name]}: {error.message}") from None
    if options.get("max-file") == "1" and options.get("compress", "true") in _TRUE:
        raise InvalidInput("compression cannot be enabled when max file count is 1")
    return _file({"compress": "true", **options} if options.get("max-size") != "-1" else options)


def _file(options: Mapping[str, str]) -> tuple[int, int, bool]:
    """max_size, max_file and compress of a LogSpec."""
    default = LogSpec()
    size = _max_size(options["max-size"]) if "max-size" in options else default.max_size
    count = _count(options["max-file"]) if "max-file" in options else default.max_file
    text = options.get("compress", "")
    compress = _boolean(options, "compress", f'strconv.ParseBool: parsing "{text}": invalid syntax')
    if compress and (count < 2 or not size):
        raise InvalidInput("compress cannot be true when max-file is less than 2 or max-size is not set")
    return size, count, compress


def _max_size(text: str) -> int:
    """``10m`` in bytes; ``-1`` is no limit, here 0."""
    if text == "-1":
        return 0
    size = _size(text, _DECIMAL)
    if size <= 0:
        raise InvalidInput("max-size must be a positive number")
    return size


def _size(text: str, units: Mapping[str, int]) -> int:
    matched = _SIZE.fullmatch(text)
    if not matched:
        raise InvalidInput(f"invalid size: '{text}'")
    return int(float(matched[1]) * units[matched[2].lower()])


def _count(text: str) -> int:
    if not text.removeprefix("-").isdigit():
        raise InvalidInput(f'strconv.Atoi: parsing "{text}": invalid syntax')
    if int(text) < 1:
        raise InvalidInput("max-file cannot be less than 1")
    return int(text)


def _boolean(options: Mapping[str, str], name: str, sentence: str) -> bool:
    text = options.get(name) or "false"
    if text not in (*_TRUE, *_FALSE):
        raise InvalidInput(sentence)
    return text in _TRUE


def _address(text: str) -> tuple[str, str]:
    """(protocol, address) of a syslog daemon; ('', '') is this machine's own."""
    if not text:
        return "", ""
    url = urllib.parse.urlsplit(text)
    if url.scheme not in _PROTOCOLS or "://" not in text:
        raise InvalidInput(f"syslog-address should be in form proto://address, got {text}")
    if url.scheme in ("unix", "unixgram"):
        if not os.path.exists(url.path):
            raise InvalidInput(f"stat {url.path}: no such file or directory")
        return url.scheme, url.path
    try:
        port, host = url.port or 514, url.hostname or ""
    except ValueError:
        raise InvalidInput(f"syslog-address {text}: invalid port") from None
    return url.scheme, f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _facility(options: Mapping[str, str]) -> int:
    try:
        return syslog.facility(options.get("syslog-facility", ""))
    except ValueError:
        raise InvalidInput("invalid syslog facility") from None


def _format(options: Mapping[str, str]) -> str:
    text = options.get("syslog-format", "")
    if text not in syslog.FORMATS:
        raise InvalidInput("Invalid syslog format")
    return text


def of_daemon(driver: str, options: list[str]) -> LogConfig:
    """The default of an engine, from ``--log-driver`` and ``--log-opt``. Raises InvalidInput."""
    pairs = dict(one.partition("=")[::2] for one in options)
    for one in options:
        if "=" not in one:
            raise InvalidInput(f"invalid value for log-opts: {one}", hint="it reads --log-opt NAME=VALUE")
    config = LogConfig(driver or "json-file", pairs)
    try:
        validate(config)
    except InvalidInput as error:
        raise InvalidInput(f"failed to set log opts: {error.message}", hint=error.hint) from None
    return config

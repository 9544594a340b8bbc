"""What a container starts with: the user's request laid over the image's configuration, by Docker's rules."""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from corten.engine.model import ContainerConfig, HealthConfig
from corten.errors import InvalidInput, Unsupported
from corten.network.ports import container_port
from corten.spec.image import Healthcheck, ImageConfig

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def merge(request: ContainerConfig, image: ImageConfig) -> ContainerConfig:
    """The container's configuration. Raises InvalidInput ``no command specified``."""
    entrypoint, command = _command(_words(request.entrypoint), _words(request.cmd), image)
    if not entrypoint and not command:
        raise InvalidInput("no command specified")
    return msgspec.structs.replace(
        request,
        user=request.user or image.user,
        exposed_ports=_union(_exposed(request.exposed_ports), _ports_of(image)),
        env=merge_env(request.env or (), image.env),
        entrypoint=entrypoint,
        cmd=command,
        volumes=_union(request.volumes, image.volumes),
        working_dir=_clean(request.working_dir or image.working_dir),
        labels={**image.labels, **(request.labels or {})},
        stop_signal=request.stop_signal or image.stop_signal or None,
        healthcheck=_healthcheck(request.healthcheck, image.healthcheck),
        shell=request.shell or _list(image.shell),
    )


def _clean(path: str) -> str:
    """An absolute path without ``.``, ``..`` and slashes too many; another as it is, to be refused."""
    return "/" + posixpath.normpath(path).lstrip("/") if path.startswith("/") else path


def command_line(config: ContainerConfig) -> list[str]:
    """The argument vector of a merged configuration."""
    return [*(_words(config.entrypoint) or ()), *(_words(config.cmd) or ())]


def merge_env(own: Iterable[str], inherited: Iterable[str]) -> list[str]:
    """The user's variables, then those of the image that the user does not name."""
    result = list(own)
    named = {one.partition("=")[0] for one in result}
    return result + [one for one in inherited if one.partition("=")[0] not in named]


def replace_env(defaults: Iterable[str], overrides: Iterable[str]) -> list[str]:
    """``overrides`` take the place of defaults of the same name; one without ``=`` takes the variable away."""
    variables = {one.partition("=")[0]: one for one in defaults}
    for one in overrides:
        name, assigned, _ = one.partition("=")
        if assigned:
            variables[name] = one
        else:
            variables.pop(name, None)
    return list(variables.values())


def _command(
    entrypoint: list[str] | None, command: list[str] | None, image: ImageConfig
) -> tuple[list[str] | None, list[str] | None]:
    """A new entrypoint drops the image's command; ``[""]`` drops the image's entrypoint and keeps nothing."""
    if not entrypoint:
        command = command or _list(image.cmd)
        if entrypoint is None:
            entrypoint = _list(image.entrypoint)
    return None if entrypoint == [""] else entrypoint, command


def _words(value: Sequence[str] | str | None) -> list[str] | None:
    """The API takes a string for a list of one."""
    return [value] if isinstance(value, str) else _list(value)


def _list(value: Sequence[str] | None) -> list[str] | None:
    return None if value is None else list(value)


def _union(own: Mapping[str, dict[str, Any]] | None, inherited: Iterable[str]) -> dict[str, dict[str, Any]] | None:
    both = {**{name: {} for name in inherited}, **(own or {})}
    return both or None


def _exposed(asked: Mapping[str, dict[str, Any]] | None) -> dict[str, dict[str, Any]] | None:
    return None if asked is None else {_port(text): value for text, value in asked.items()}


def _ports_of(image: ImageConfig) -> Iterator[str]:
    """Those that can be published: an image may name whatever it likes."""
    for text in image.exposed_ports:
        with contextlib.suppress(InvalidInput):
            yield _port(text)


def _port(text: str) -> str:
    try:
        number, protocol = container_port(text)
    except Unsupported as error:
        raise InvalidInput(f'invalid port specification: "{text}": unknown protocol') from error
    return f"{number}/{protocol}"


def _healthcheck(own: HealthConfig | None, image: Healthcheck | None) -> HealthConfig | None:
    """Each member that the user leaves empty is the image's."""
    if image is None:
        return own
    if own is None:
        own = HealthConfig()
    return HealthConfig(
        test=own.test or list(image.test),
        **{name: getattr(own, name) or getattr(image, name) for name in _PERIODS},
    )


_PERIODS = ("interval", "timeout", "start_period", "start_interval", "retries")

"""Routes of builds, as dockerd's classic builder answers them."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from corten.api.message import Duplex, Hijack, Request, Response
from corten.api.progress import Report, Told, progress, pruned, told
from corten.api.router import Router
from corten.engine.model import HostConfig, Ulimit
from corten.errors import CortenError, InvalidInput, Unsupported
from corten.spec import reference as references
from corten.wire import building

if TYPE_CHECKING:
    from corten.engine.build_repeats import Document, Repeated
    from corten.engine.builds import BuildRequest

_log = logging.getLogger(__name__)
ROUTES = Router()
_route = ROUTES.route
T = TypeVar("T")


@_route("POST", "/build", reads_body=True)
async def build(request: Request) -> Response | Hijack:
    asked = _asked(request)
    if request.headers.get("upgrade", "").lower() == building.PROTOCOL:
        return _followed(request, asked)
    builds, remote = request.services.builds(), request.text("remote")
    preparing = builds.remote(asked, remote) if remote else builds.prepared(asked, _chunks(request))
    ready = await preparing.__aenter__()
    done = False

    async def work(report: Report) -> None:
        nonlocal done
        done = True
        try:
            await ready.run(report)
        finally:
            await preparing.__aexit__(None, None, None)

    try:
        return Response(content=await progress(work, at_once=True))
    except BaseException:
        if not done:
            await preparing.__aexit__(None, None, None)
        raise


@_route("POST", "/build/prune")
async def prune(request: Request) -> Response:
    services = request.services
    kept = max(request.number(name) or 0 for name in ("reserved-space", "max-used-space", "keep-storage"))
    used = {container.image for container in services.containers.list(all=True)}

    async def work(deletion: Told) -> dict[str, Any]:
        deleted, reclaimed = await services.builds().prune(request.filters(), kept, used, deletion)
        return {"CachesDeleted": deleted or None, "SpaceReclaimed": reclaimed}

    return await pruned(request, work)


def _followed(request: Request, asked: BuildRequest) -> Hijack:
    """A build whose client answers for its files: see :mod:`corten.wire.building`."""
    from corten.engine.build_client import BuildClient

    async def serve(duplex: Duplex) -> None:
        client, builds = BuildClient(duplex), request.services.builds()
        try:
            if not await client.hear():
                return
            repeated = None if asked.call else builds.repeated(asked, client)
        except CortenError as refused:
            await client.end(_line(told(refused)))
            return
        if repeated is not None:
            await client.repeat(await _said(repeated))
            return

        async def work(report: Report) -> None:
            try:
                if asked.call:
                    from corten.api.build_calls import answer

                    await answer(builds, asked, client, report)
                    return
                async with builds.followed(asked, client) as ready:
                    await ready.run(report)
            except CortenError as error:
                if last := getattr(error, "last", ""):  # of a command
                    report({"failed": error.message, "last": last})
                report({"excerpt": error.excerpt})
                raise

        async def tell() -> None:
            async for lines in await progress(work, b"\n", at_once=True):
                if lines:
                    await client.say(lines)
            await client.end()

        receiving = asyncio.ensure_future(client.receive())
        telling = asyncio.ensure_future(tell())
        try:
            await asyncio.wait((receiving, telling), return_when=asyncio.FIRST_COMPLETED)
            if receiving.done() and not telling.done() and (error := receiving.exception()) is not None:
                _log.warning("build: %s", error)
        finally:
            for task in (receiving, telling):
                task.cancel()
            await asyncio.gather(receiving, telling, return_exceptions=True)

    headers = ((building.CALLED, asked.call),) if asked.call else ()
    return Hijack(serve, protocol=building.PROTOCOL, headers=headers, is_early=True)


async def _said(repeated: Repeated) -> list[Document]:
    """All that such a build says."""
    said: list[Document] = []
    try:
        await repeated.run(said.append)
    except CortenError as error:
        said.append(told(error))
    return said


def _line(document: Document) -> bytes:
    return msgspec.json.encode(document) + b"\n"


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    async for chunk in request.body:
        yield chunk


def _asked(request: Request) -> BuildRequest:
    """What the query and the headers ask for. Raises InvalidInput."""
    from corten.engine.builds import BuildRequest

    if request.flag("squash"):
        raise Unsupported("build --squash: the layers of an image stay as they are")
    if request.text("outputs") not in ("", "null", "[]"):
        raise Unsupported("build with outputs: corten build --output writes them; the API gives the image")
    if request.text("version") == "2":
        raise Unsupported("build with BuildKit's protocol: Corten speaks the classic builder's (DOCKER_BUILDKIT=0)")
    follows = request.headers.get("upgrade", "").lower() == building.PROTOCOL
    if (call := request.text("call")) and not follows:
        raise Unsupported(f"build with call={call}: corten build --call has it; the API builds")
    names = [references.parse_tagged(name) for name in request.query.get("t", ()) if name]
    arguments = _json(request, "buildargs", dict[str, str | None])
    return BuildRequest(
        dockerfile=request.text("dockerfile"),
        names=tuple(dict.fromkeys(names)),
        arguments={name: value for name, value in arguments.items() if value is not None},
        unset=tuple(name for name, value in arguments.items() if value is None),
        labels=_json(request, "labels", dict[str, str]),
        target=request.text("target"),
        platform=request.text("platform"),
        network=request.text("networkmode") or "default",
        allowed=tuple(request.query.get("allow", ())),
        no_cache=request.flag("nocache"),
        no_cache_filter=tuple(one.lower() for one in request.query.get("nocachefilter", ())),
        pull=request.flag("pull"),
        quiet=request.flag("q"),
        steps=not follows,
        cache_from=tuple(_json(request, "cachefrom", list[str])),
        cache_to=_mode(request.text("cacheto")),
        why=request.flag("why"),
        call=call,
        live=follows and request.flag("live"),
        host=_host(request),
        auths=_auths(request),
    )


def _mode(text: str) -> str:
    if text not in ("", "min", "max"):
        raise InvalidInput(f"cacheto: {text}: it is min or max")
    return text


def _json(request: Request, name: str, kind: type[T]) -> T:
    text = request.text(name)
    try:
        return msgspec.json.decode(text, type=kind) if text and text != "null" else kind()
    except msgspec.DecodeError as error:
        raise InvalidInput(f"{name}: {error}") from None


def _host(request: Request) -> HostConfig:
    """The limits of the build's containers."""
    return HostConfig(
        memory=request.number("memory") or 0,
        memory_swap=request.number("memswap") or 0,
        cpu_shares=request.number("cpushares") or 0,
        cpu_period=request.number("cpuperiod") or 0,
        cpu_quota=request.number("cpuquota") or 0,
        cpuset_cpus=request.text("cpusetcpus"),
        cpuset_mems=request.text("cpusetmems"),
        cgroup_parent=request.text("cgroupparent"),
        shm_size=request.number("shmsize") or 0,
        ulimits=_json(request, "ulimits", list[Ulimit]) or None,
        extra_hosts=[one for text in request.query.get("extrahosts", ()) for one in _hosts(text)] or None,
    )


def _hosts(text: str) -> list[str]:
    """docker sends one host a parameter; docker-py all of them in one, as JSON."""
    if not text.startswith(("{", "[")):
        return [one for one in text.split(",") if one]
    try:
        value: Any = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise InvalidInput(f"extrahosts: {error}") from None
    return [f"{name}:{address}" for name, address in value.items()] if isinstance(value, dict) else list(value)


class _Auth(msgspec.Struct):
    """What X-Registry-Config has for one registry."""

    username: str = ""
    password: str = ""
    identitytoken: str = ""
    registrytoken: str = ""


def _auths(request: Request) -> Mapping[str, Mapping[str, str]]:
    """X-Registry-Config: base64 of JSON, by registry. Never logged, never in an error."""
    header = request.headers.get("x-registry-config", "")
    if not header:
        return {}
    try:
        content = base64.urlsafe_b64decode(header + "=" * (-len(header) % 4))
        found = msgspec.json.decode(content, type=dict[str, _Auth] | None) or {}
    except (ValueError, msgspec.DecodeError):
        raise InvalidInput("invalid X-Registry-Config header") from None
    return {host: msgspec.structs.asdict(auth) for host, auth in found.items()}

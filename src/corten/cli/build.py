"""``build``: an image from a Dockerfile. The engine asks for the files that it needs; this side only lists them."""

from __future__ import annotations

import os
import sys

from corten.errors import CortenError, InvalidInput
from corten.wire import building

from . import preload
from .context import Context
from .options import FLAG, INT, LIST, STRING, Command, Option, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .build_caches import CacheTo
    from .build_call import Call
    from .build_context import Sender
    from .build_output import Output
    from .build_ssh import Agents
    from .options import Values


_RIGHTS = ("network.host", "security.insecure", "device")
_MODES = ("auto", "plain", "quiet", "tty")


def build(context: Context, values: Values, arguments: list[str]) -> int:
    """``build``."""
    where = arguments[0]
    if where == "-" and values.file == "-":
        raise InvalidInput("invalid argument: can't use stdin for both build context and dockerfile")
    for name, value in (("provenance", values.provenance), ("sbom", values.sbom)):
        if value not in ("", "false"):
            raise InvalidInput(f"--{name} {value}: a build is not attested, --{name}=false says the same")
    if values.check or values.call not in ("", "build"):
        from . import build_call

        if (call := build_call.asked(values.call, check=values.check)) is not None:
            return _followed(context, values, where, call)[0]
    outputs = _outputs([*values.output, *(["type=registry"] if values.push else [])])
    code, id = _followed(context, values, where)
    if code == 0:
        _finish(context, values, id, [name for output in outputs for name in output.names])
        for output in outputs:
            output.write(context, id, values.tag)
    return code


def _outputs(texts: list[str]) -> list[Output]:
    if not texts:  # what writes them takes longer to load than all the rest
        return []
    from .build_output import Output

    return [Output(text) for text in texts]


def _query(values: Values, where: str, mode: str) -> dict[str, Any]:
    """The build's settings. What is secret is not among them."""
    return {
        "t": tuple(values.tag),
        "dockerfile": _dockerfile(values, where),
        "buildargs": _arguments(values.build_arg) or None,
        "labels": {name: value for name, _, value in (text.partition("=") for text in values.label)} or None,
        "target": values.target,
        "platform": _platform(values.platform),
        "networkmode": values.network,
        "allow": _allowed(values.allow),
        "nocache": values.no_cache or None,
        "nocachefilter": tuple(one for text in values.no_cache_filter for one in text.split(",")),
        "pull": values.pull or None,
        "why": values.why or None,
        "live": (mode == "tty") or None,
        "extrahosts": tuple(one.replace("=", ":", 1) for one in values.add_host),
        "cgroupparent": values.cgroup_parent,
        "shmsize": _size(values.shm_size),
        "memory": _size(values.memory),
        "memswap": -1 if values.memory_swap == "-1" else _size(values.memory_swap),
        "cpushares": values.cpu_shares,
        "cpuperiod": values.cpu_period,
        "cpuquota": values.cpu_quota,
        "cpusetcpus": values.cpuset_cpus,
        "cpusetmems": values.cpuset_mems,
        "ulimits": _ulimits(values.ulimit),
    }


def _mode(values: Values) -> str:
    """How progress is shown: quiet, plain or tty. Raises UsageError."""
    asked = values.progress or os.environ.get("BUILDKIT_PROGRESS", "") or "auto"
    if asked not in _MODES:
        raise UsageError(f'invalid argument "{asked}" for "--progress" flag: it is one of {", ".join(_MODES)}')
    if values.quiet:
        return "quiet"
    return asked if asked != "auto" else "tty" if os.isatty(2) else "plain"


def _allowed(texts: list[str]) -> tuple[str, ...]:
    # What is said of a device may have a comma of its own, as with buildx.
    names = tuple(one for text in texts for one in ([text] if text.startswith("device=") else text.split(",")))
    if unknown := [name for name in names if name not in _RIGHTS and not name.startswith("device=")]:
        raise InvalidInput(f"--allow {unknown[0]}: a build can be given {', '.join(_RIGHTS)} or device=NAME")
    return names


def _platform(texts: list[str]) -> str:
    names = list(dict.fromkeys(one for text in texts for one in text.split(",")))
    if len(names) > 1:
        told = "build each with a name of its own, push them, and make one of them with corten manifest create"
        raise InvalidInput(f"--platform {','.join(names)}: a build makes an image of one platform", hint=told)
    return names[0] if names else ""


def _size(text: str) -> int | None:
    if not text:
        return None
    from .notation import size

    return size(text)


def _ulimits(texts: list[str]) -> list[Any] | None:
    if not texts:
        return None
    from .notation import ulimit

    return [ulimit(text) for text in texts]


def _dockerfile(values: Values, where: str) -> str:
    """The Dockerfile's path in the context; '' where it goes apart."""
    if not values.file or values.file == "-":
        return ""
    from .build_context import is_remote

    if where == "-" or is_remote(where):
        return str(values.file)
    below = os.path.relpath(os.path.realpath(values.file), os.path.realpath(where))
    return "" if below.startswith("../") else below


def _arguments(texts: list[str]) -> dict[str, str | None]:
    """``name=value``; a name alone has the environment's value, and None where that has none."""
    pairs = (text.partition("=") for text in texts)
    return {name: value if equals else os.environ.get(name) for name, equals, value in pairs}


def _registries(context: Context) -> dict[str, str]:
    """X-Registry-Config: what the configuration has of registries, for images that have to be pulled."""
    if not os.path.exists(context.config_path):
        return {}
    from . import auth, config

    settings = config.read(context.config_path)
    names = [*settings.get("auths", {}), *settings.get("credHelpers", {})]
    if settings.get("credsStore") and not names:
        names = [config.HUB]
    found = {name: entry for name in names if (entry := auth.credentials(settings, name))}
    return {"X-Registry-Config": auth.encode(found)} if found else {}  # type: ignore[arg-type]


# --- the connection


def _followed(context: Context, values: Values, where: str, call: Call | None = None) -> tuple[int, str]:
    """Build, or have it told what is called for, and answer for what the engine comes to need; the exit code, and the
    image's ID."""
    caches, agents = _caches([] if call else values.cache_to), _agents(values.ssh)
    mode = _mode(values)
    query = {**_query(values, where, mode), "cacheto": caches.mode if caches else ""}
    if call:
        query["call"] = call.method
    secrets = [_secret(text) for text in values.secret]
    headers = {"Upgrade": building.PROTOCOL, **_registries(context)}
    try:
        with context.client.upgrade("/build", query, headers) as upgrade:  # the engine works from here on
            preload(("cli.build_context",))
            from .build_context import Sender

            if secrets or not context.client.address.path:
                # A secret is for who speaks this protocol; and over TCP a reset may overtake why that is refused.
                upgrade.check()
            if call:
                call.agreed(upgrade.check())
            sender = Sender(upgrade, agents, caches.take if caches else None)
            _announce(sender, values, where)
            for name, value in secrets:
                sender.secret(name, value)
            for name in agents.sockets if agents else ():
                sender.agent(name)
            if values.file and not query["dockerfile"]:
                sender.dockerfile(_read(values.file))
            sender.announce()
            preload(("wire.responses", "client.response", "cli.build_progress"))
            from .build_progress import Shown

            shown = call.shown(context, quiet=mode == "quiet") if call else Shown(mode)
            with upgrade.tunnel() as tunnel:
                code = shown.all(sender.documents(tunnel, shown.tick))
    finally:
        if agents:
            agents.close()
    if caches:
        caches.finish(built=code == 0)
    return code, shown.id


# What is not asked for is not loaded.


def _announce(sender: Sender, values: Values, where: str) -> None:
    """The contexts."""
    from .build_context import directory, is_remote

    if where == "-":
        from .build_contexts import standard_input

        sender.archive(standard_input())
    elif is_remote(where):
        sender.context("", "remote", where)
    else:
        directory(sender, "", where)
    if values.build_context:
        from . import build_contexts

        for text in values.build_context:
            build_contexts.announce(sender, text)
    if values.cache_from:
        from . import build_caches

        for text in values.cache_from:
            build_caches.announce(sender, text)


def _caches(texts: list[str]) -> CacheTo | None:
    if not texts:
        return None
    from .build_caches import CacheTo

    return CacheTo(texts)


def _agents(texts: list[str]) -> Agents | None:
    if not texts:
        return None
    from .build_ssh import Agents

    return Agents(texts)


def _read(path: str) -> bytes:
    try:
        with open(0 if path == "-" else path, "rb") as file:
            return file.read()
    except OSError as error:
        raise CortenError(f"read {path}: {(error.strerror or '').lower()}") from error


def _secret(text: str) -> tuple[str, bytes]:
    """``id=NAME[,src=FILE|env=VARIABLE]``. Raises UsageError, CortenError."""
    fields = dict(field.partition("=")[::2] for field in text.split(","))
    name = fields.pop("id", "")
    kind = fields.pop("type", "")
    source = fields.pop("src", "") or fields.pop("source", "")
    variable = fields.pop("env", "")
    if not name or fields or kind not in ("", "file", "env"):
        raise UsageError(f'invalid argument "{text}" for "--secret" flag: it needs id=NAME and src=FILE or env=NAME')
    if not source and not variable:
        variable, source = (name, "") if name in os.environ else ("", name)
    if kind == "env":
        variable, source = variable or source, ""
    if variable:
        if variable not in os.environ:
            raise InvalidInput(f"secret {name}: {variable} is not set in the environment")
        return name, os.fsencode(os.environ[variable])
    return name, _read(source)


def _finish(context: Context, values: Values, id: str, more: list[str]) -> None:
    """Tell whoever asked: files, and standard output."""
    if values.iidfile:
        _write(values.iidfile, id.encode())
    if values.metadata_file:
        from corten.client import jsontext
        from corten.spec import reference as references

        image = context.client.get(f"/images/{id}/json")
        names = [str(references.parse(name).tagged()) for name in (*values.tag, *more)]
        told = {
            "containerimage.config.digest": id,
            **({"containerimage.descriptor": found, "containerimage.digest": found["digest"]}
               if (found := image.get("Descriptor")) else {}),
            **({"image.name": ",".join(names)} if names else {}),
        }  # fmt: skip
        _write(values.metadata_file, jsontext.encode(told) + b"\n")
    if values.quiet:
        sys.stdout.write(f"{id}\n")


def _write(path: str, content: bytes) -> None:
    try:
        with open(path, "wb") as file:
            file.write(content)
    except OSError as error:
        raise CortenError.from_os("write", path, error) from error


BUILD = Command(
    build,
    "Build an image from a Dockerfile",
    "[OPTIONS] PATH | URL | -",
    (
        Option("--add-host", LIST, 'Add a custom host-to-IP mapping ("host:ip")'),
        Option("--allow", LIST, 'Allow what a container is not ("network.host", "security.insecure", "device[=NAME]")'),
        Option("--build-arg", LIST, "Set build-time variables"),
        Option("--build-context", LIST, "Additional build contexts (e.g., name=path)"),
        Option("--cache-from", LIST, "External cache sources"),
        Option("--cache-to", LIST, "Cache export destinations"),
        Option("--call", STRING, 'Set method for evaluating build ("check", "outline", "targets")', "build"),
        Option("--cgroup-parent", STRING, "Set the parent cgroup for the RUN instructions during build"),
        Option("--check", FLAG, 'Shorthand for "--call=check"'),
        Option("--compress", FLAG, "Accepted for compatibility: only files that are needed are sent", hidden=True),
        Option("--cpu-period", INT, "Limit the CPU CFS (Completely Fair Scheduler) period"),
        Option("--cpu-quota", INT, "Limit the CPU CFS (Completely Fair Scheduler) quota"),
        Option("-c, --cpu-shares", INT, "CPU shares (relative weight)"),
        Option("--cpuset-cpus", STRING, "CPUs in which to allow execution (0-3, 0,1)"),
        Option("--cpuset-mems", STRING, "MEMs in which to allow execution (0-3, 0,1)"),
        Option("--disable-content-trust", FLAG, "Accepted for compatibility", True, hidden=True),
        Option("-f, --file", STRING, 'Name of the Dockerfile (default "PATH/Dockerfile")'),
        Option("--force-rm", FLAG, "Accepted for compatibility: no container is left", hidden=True),
        Option("--iidfile", STRING, "Write the image ID to a file"),
        Option("--label", LIST, "Set metadata for an image"),
        Option("--load", FLAG, "Accepted for compatibility: the image is in the engine", hidden=True),
        Option("-m, --memory", "bytes", "Memory limit"),
        Option("--memory-swap", "bytes", "Swap limit equal to memory plus swap: -1 to enable unlimited swap"),
        Option("--metadata-file", STRING, "Write build result metadata to a file"),
        Option("--network", STRING, "Set the networking mode for the RUN instructions during build", "default"),
        Option("--no-cache", FLAG, "Do not use cache when building the image"),
        Option("--no-cache-filter", LIST, "Do not cache specified stages"),
        Option("-o, --output", LIST, "Output destination"),
        Option("--platform", "strings", "Set target platform for build"),
        Option("--progress", STRING, 'Set type of progress output ("auto", "plain", "quiet", "tty") (default "auto")'),
        Option("--provenance", STRING, "Accepted for compatibility, if false: builds are not attested", hidden=True),
        Option("--pull", FLAG, "Always attempt to pull all referenced images"),
        Option("--push", FLAG, 'Shorthand for "--output type=registry"'),
        Option("-q, --quiet", FLAG, "Suppress the build output and print image ID on success"),
        Option("--rm", FLAG, "Accepted for compatibility: no container is left", True, hidden=True),
        Option("--sbom", STRING, "Accepted for compatibility, if false: builds are not attested", hidden=True),
        Option("--secret", LIST, "Secret to expose to the build (id=NAME,src=FILE or id=NAME,env=VARIABLE)"),
        Option("--shm-size", "bytes", "Shared memory size for build containers"),
        Option("--ssh", LIST, "SSH agent socket or keys to expose to the build"),
        Option("-t, --tag", LIST, 'Name and optionally a tag in the "name:tag" format'),
        Option("--target", STRING, "Set the target build stage to build"),
        Option("--ulimit", "ulimit", "Ulimit options"),
        Option("--why", FLAG, "Say of each step that is not in the cache what has changed"),
    ),
    arguments=(1, 1),
)

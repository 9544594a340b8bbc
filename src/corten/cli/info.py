"""``info``, and ``system stop``, which ends the engine."""

from __future__ import annotations

from corten import __version__
from corten.errors import Unavailable

from .context import Context
from .options import FLAG, STRING, Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .options import Values


def info(context: Context, values: Values, arguments: list[str]) -> int:
    """``info``."""
    told = context.client.get("/info")
    if values.format:
        from corten.wire.template_functions import to_json

        from .templated import parsed, rendered

        value = {**told, "ClientInfo": {"Version": __version__, "Context": "default", "Debug": False}}
        context.out(to_json(value) if values.format == "json" else rendered(parsed(values.format), value))
        return 0
    context.out(f"Client:\n Version:    {__version__}\n Context:    default\n Debug Mode: false\n\nServer:")
    for line in _server(told):
        context.out(line)
    context.out("")
    for warning in told.get("Warnings") or []:
        context.error(warning)
    return 0


def _server(told: dict[str, Any]) -> list[str]:
    from .units import bytes_size

    plugins, devices = told.get("Plugins") or {}, told.get("DiscoveredDevices") or []
    return [
        f" Containers: {told['Containers']}",
        *(f"  {name}: {told[f'Containers{name}']}" for name in ("Running", "Paused", "Stopped")),
        f" Images: {told['Images']}",
        f" Server Version: {told['ServerVersion']}",
        f" Storage Driver: {told['Driver']}",
        *(f"  {name}: {value}" for name, value in told.get("DriverStatus") or []),
        *_named(told, ("Logging Driver", "LoggingDriver"), ("Cgroup Driver", "CgroupDriver")),
        *_named(told, ("Cgroup Version", "CgroupVersion")),
        " Plugins:",
        *(f"  {name}: {' '.join(plugins[name])}" for name in ("Volume", "Network", "Log") if plugins.get(name)),
        *_listed("CDI spec directories", told.get("CDISpecDirs") or []),
        *_listed("Discovered Devices", [f"{one['Source']}: {one['ID']}" for one in devices]),
        f" Swarm: {(told.get('Swarm') or {}).get('LocalNodeState', 'inactive')}",
        f" Runtimes: {' '.join(sorted(told.get('Runtimes') or {}))}",
        *_named(told, ("Default Runtime", "DefaultRuntime"), ("Init Binary", "InitBinary")),
        *_security(told.get("SecurityOptions") or []),
        *_named(told, ("Kernel Version", "KernelVersion"), ("Operating System", "OperatingSystem")),
        *_named(told, ("OSType", "OSType"), ("Architecture", "Architecture"), ("CPUs", "NCPU")),
        f" Total Memory: {bytes_size(told['MemTotal'])}",
        *_named(told, ("Name", "Name"), ("ID", "ID"), ("Docker Root Dir", "DockerRootDir")),
        f" Debug Mode: {str(told.get('Debug', False)).lower()}",
        *_named(told, ("HTTP Proxy", "HttpProxy"), ("HTTPS Proxy", "HttpsProxy"), ("No Proxy", "NoProxy")),
        *[" Labels:", *(f"  {label}" for label in told["Labels"])] * bool(told.get("Labels")),
        f" Experimental: {str(told.get('ExperimentalBuild', False)).lower()}",
        *_registries(told.get("RegistryConfig") or {}),
        f" Live Restore Enabled: {str(told.get('LiveRestoreEnabled', False)).lower()}",
    ]


def _listed(title: str, lines: list[str]) -> list[str]:
    return [f" {title}:", *(f"  {line}" for line in lines)] if lines else []


def _named(told: dict[str, Any], *names: tuple[str, str]) -> list[str]:
    return [f" {title}: {told[key]}" for title, key in names if told.get(key) not in (None, "")]


def _security(options: list[str]) -> list[str]:
    """``name=seccomp,profile=default``: the name, and its details below it."""
    lines: list[str] = []
    for option in options:
        fields = [field.partition("=") for field in option.split(",")]
        lines += [f"  {value}" for name, _, value in fields if name == "name"]
        lines += [f"   {name.capitalize()}: {value}" for name, _, value in fields if name != "name"]
    return [" Security Options:", *lines] if lines else []


def _registries(config: dict[str, Any]) -> list[str]:
    indexes = config.get("IndexConfigs") or {}
    insecure = [name for name, index in sorted(indexes.items()) if not index.get("Secure", True)]
    insecure += config.get("InsecureRegistryCIDRs") or []
    mirrors = config.get("Mirrors") or []
    lines = [" Insecure Registries:", *(f"  {name}" for name in insecure)] if insecure else []
    return lines + ([" Registry Mirrors:", *(f"  {name}" for name in mirrors)] if mirrors else [])


def stop(context: Context, values: Values, arguments: list[str]) -> int:
    """``system stop``: an engine that is not running is stopped already."""
    client = context.make_client(autostart=False)
    try:
        client.post("/corten/system/stop", {"all": values.all})
    except Unavailable:
        context.error("no engine is running")
        return 0
    _wait_for_end(context)
    return 0


def _wait_for_end(context: Context) -> None:
    """Return when the socket is closed: who starts another engine at once must not meet the old one."""
    import select

    poller = select.poll()
    for _ in range(3000):
        try:
            context.make_client(autostart=False).open("GET", "/_ping").read()
        except Unavailable:
            return
        poller.poll(10)
    raise Unavailable("stop the engine: it still answers after 30 s")


INFO = Command(
    info,
    "Display system-wide information",
    "[OPTIONS]",
    (Option("-f, --format", STRING, "Format output using a custom template: 'json' or a Go template"),),
)
STOP = Command(
    stop,
    "Stop the engine; containers go on without it",
    "[OPTIONS]",
    (Option("-a, --all", FLAG, "Stop all running containers, too"),),
)

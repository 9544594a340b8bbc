"""The command line's entry: global options, the command, and how each kind of failure ends.

Exit codes are Docker's: 0; 1 for a failure; 125 for a wrong option, and for a failure of ``run``, ``create`` and
``start`` before the command of the container ran; 130 after Ctrl-C; else the command's own.
"""

from __future__ import annotations

import os
import sys

from corten.errors import CortenError

from . import preload
from .options import FLAG, LIST, STRING, Option, UsageError, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .options import Command, Values

PROGRAM = "corten"
GLOBAL = (
    Option("--config", STRING, "Location of client config files (default ~/.docker)"),
    Option("-D, --debug", FLAG, "Show the whole of an unexpected error"),
    Option("-H, --host", LIST, "Address of the engine to connect to"),
    Option("-l, --log-level", STRING, "Accepted for compatibility", "info", hidden=True),
    Option("--no-autostart", FLAG, "Do not start the engine where it is not running"),
    Option("--root", STRING, "Data root of the engine to use, and to start"),
    Option("--tls", FLAG, "Use TLS; implied by --tlsverify"),
    Option("--tlscacert", STRING, "Trust certs signed only by this CA (default ~/.docker/ca.pem)"),
    Option("--tlscert", STRING, "Path to TLS certificate file (default ~/.docker/cert.pem)"),
    Option("--tlskey", STRING, "Path to TLS key file (default ~/.docker/key.pem)"),
    Option("--tlsverify", FLAG, "Use TLS and verify the remote"),
    Option("-v, --version", FLAG, "Print version information and quit"),
    Option("--help", FLAG, "Print usage", hidden=True),
)
COMMON = {
    "run": "run:RUN",
    "exec": "execute:EXEC",
    "ps": "ps:LIST",
    "build": "build:BUILD",
    "pull": "pull:PULL",
    "push": "push:PUSH",
    "images": "images:LIST",
    "search": "search:SEARCH",
    "version": "version:VERSION",
    "info": "info:INFO",
}
"""The commands that are called most: to find one of these, the table of all is not read (see :mod:`.commands`)."""
CLIENT = (
    "wire.__init__", "wire.http1", "client.address", "client.connection", "client.core", "client.__init__",
    "cli.context",
)  # fmt: skip
"""What all commands need that speak to an engine, in the order in which it is loaded."""
_ANSWER = ("client.jsontext", "wire.responses", "client.response")
_ATTACHED = (*_ANSWER, "wire.frames", "cli.notation")
AHEAD = {
    "build:BUILD": ("wire.building", "cli.build"),
    "execute:EXEC": (*_ATTACHED, "cli.execute"),
    "ps:LIST": (*_ANSWER, "cli.ps", "cli.table", "cli.times"),
    "run:RUN": (*_ATTACHED, "cli.container_options", "cli.container_config", "cli.run"),
}  # fmt: skip
"""Commands that start often and always speak to the engine, with what they need besides: the engine is called before it
is loaded."""
_BROKEN_PIPE, _INTERRUPTED = 141, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; the exit code."""
    sys.stdout.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
    try:
        try:
            return _main(sys.argv[1:] if argv is None else list(argv))
        except KeyboardInterrupt:
            return _INTERRUPTED
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Who read our output has left. Python would say so once more when it flushes at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return _BROKEN_PIPE


def _main(words: list[str]) -> int:
    try:
        options, words = parse(GLOBAL, words, interspersed=False)
    except UsageError as error:
        return _usage(error, PROGRAM, "[OPTIONS] COMMAND [ARG...]")
    if options.version:
        from corten import __version__

        print(f"Corten version {__version__}")
        return 0
    if words[:1] == ["daemon"]:
        from .daemon import become

        become(options, words[1:])
    return _command(options, words)


def _command(options: Values, words: list[str]) -> int:
    try:
        place, name, rest = find(words)
    except KeyError as error:
        return _unknown(error.args[0])
    if options.help or not place:
        from .help import overview

        print(overview(name if not options.help else "", GLOBAL))
        return 0
    return _run(place, options, f"{PROGRAM} {name}", rest)


def _run(place: str, options: Values, path: str, words: list[str]) -> int:
    preload(CLIENT)
    from .context import Context

    context = Context(options, os.environ, path)
    if place in AHEAD:
        context.connect_ahead()
        preload(AHEAD[place])
    command = load(place)
    try:
        values, arguments = command.parse(words, path)
        if values.help:
            from .help import usage

            print(usage(command, path))
            return 0
        return command.run(context, values, arguments)
    except UsageError as error:
        return _usage(error, path, command.usage)
    except CortenError as error:
        return context.failure(error)
    finally:
        context.close()


def find(words: list[str]) -> tuple[str, str, list[str]]:
    """As :func:`.commands.find`."""
    if words and (place := COMMON.get(words[0])):
        return place, words[0], words[1:]
    from . import commands

    return commands.find(words)


def load(place: str) -> Command:
    """Import a command."""
    module, _, attribute = place.partition(":")
    loaded = __import__(f"{__package__}.{module}", fromlist=(attribute,))
    command: Command = getattr(loaded, attribute)
    return command


def _unknown(name: str) -> int:
    group, _, _ = name.rpartition(" ")
    above = f"{PROGRAM} {group}".rstrip()
    usage = f"\n\nUsage:  {above}" if group else ""
    sys.stderr.write(
        f"{PROGRAM}: unknown command: {PROGRAM} {name}{usage}\n\nRun '{above} --help' for more information\n"
    )
    return 1


def _usage(error: UsageError, path: str, usage: str) -> int:
    sys.stdout.flush()
    prefix = f"{PROGRAM}: " if error.code == 1 else ""
    sys.stderr.write(
        f"{prefix}{error.message}\n\nUsage:  {path} {usage}".rstrip()
        + f"\n\n{error.see} '{path} --help' for more information\n"
    )
    return error.code

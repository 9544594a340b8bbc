"""``corten-runtime``: parse the command line, do it, report as OCI engines expect (also into ``--log``)."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from corten import __version__
from corten.errors import CortenError, InvalidInput
from corten.runtime.oci import control, lifecycle
from corten.runtime.oci.state import OCI_VERSION, States
from corten.runtime.operations.options import KNOWN
from corten.spec.runtime import HOOK_NAMES, Process, decode_process, decode_resources
from corten.sys import process
from corten.sys.capabilities import NAMES
from corten.wire.places import make_run_directory, run_base


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code. An error is one line on stderr, and one in the log that was asked for."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(words)
    try:
        if os.geteuid() == 0:
            process.set_dumpable(False)  # else the user could not write its init's maps; the init sees to itself
        return int(options.handler(States(Path(options.root or _own_root())), options) or 0)
    except (CortenError, OSError) as error:
        message = f"{error.message}. {error.hint}".rstrip(". ") if isinstance(error, CortenError) else str(error)
        print(f"corten-runtime: {message}", file=sys.stderr)
        _log(options, message)
        return error.exit_code if isinstance(error, CortenError) and options.command in ("run", "exec") else 1


def _own_root() -> str:
    """This user's, where none is named."""
    root = f"{run_base(os.environ)}/corten-runtime"
    make_run_directory(root)
    return root


def _log(options: argparse.Namespace, message: str) -> None:
    if not options.log:
        return
    entry = {"level": "error", "msg": message, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    text = json.dumps(entry) if options.log_format == "json" else " ".join(f'{k}="{v}"' for k, v in entry.items())
    with open(options.log, "a") as file:
        file.write(text + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="corten-runtime", description="An OCI runtime.", allow_abbrev=False)
    version = f"corten-runtime version {__version__}\nspec: {OCI_VERSION}"
    parser.add_argument("--version", "-v", action="version", version=version)
    parser.add_argument("--root", default=os.environ.get("CORTEN_RUNTIME_ROOT"), help="where states are kept")
    parser.add_argument("--log", default="", help="a file for errors")
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    parser.add_argument("--debug", action="store_true", help="accepted, as by other runtimes")
    parser.add_argument("--systemd-cgroup", action="store_true", help=argparse.SUPPRESS)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, handler, summary, takes in _COMMANDS:
        command = commands.add_parser(name, help=summary, allow_abbrev=False)
        for flags, settings in takes:
            command.add_argument(*flags, **settings)
        command.set_defaults(handler=handler)
    return parser


def _create(states: States, options: argparse.Namespace) -> None:
    bundle = lifecycle.Bundle.read(Path(options.bundle).resolve())
    lifecycle.create(states, options.id, bundle, options.console_socket, options.pid_file)


def _start(states: States, options: argparse.Namespace) -> None:
    lifecycle.start(states, options.id)


def _run(states: States, options: argparse.Namespace) -> int:
    bundle = lifecycle.Bundle.read(Path(options.bundle).resolve())
    return lifecycle.run(states, options.id, bundle, options.console_socket, options.pid_file, detach=options.detach)


def _state(states: States, options: argparse.Namespace) -> None:
    print(json.dumps(states.describe(states.read(options.id)), indent=2))


def _kill(states: States, options: argparse.Namespace) -> None:
    lifecycle.kill(states, options.id, _signal(options.signal), every=options.all)


def _signal(text: str) -> int:
    """A number, or a name with or without SIG. Raises InvalidInput."""
    try:
        return int(text) if text.isdigit() else signal.Signals[f"SIG{text.upper().removeprefix('SIG')}"].value
    except KeyError:
        raise InvalidInput(f"signal {text!r}: not known") from None


def _delete(states: States, options: argparse.Namespace) -> None:
    lifecycle.delete(states, options.id, force=options.force)


def _exec(states: States, options: argparse.Namespace) -> int:
    return lifecycle.execute(
        states, options.id, _process(states, options), options.console_socket, options.pid_file,
        detach=options.detach,
    )  # fmt: skip


def _process(states: States, options: argparse.Namespace) -> Process:
    """Of ``--process``, or the container's own with the command and flags that were given."""
    if options.process:
        return decode_process(json.loads(Path(options.process).read_text()))
    own = lifecycle.Bundle.read(Path(states.read(options.id).bundle)).config.process
    return dataclasses.replace(
        own,
        args=tuple(options.args),
        env=(*own.env, *options.env),
        cwd=options.cwd or own.cwd,
        terminal=options.tty,
        user=dataclasses.replace(own.user, name=options.user) if options.user else own.user,
    )


def _pause(states: States, options: argparse.Namespace) -> None:
    control.pause(states, options.id)


def _resume(states: States, options: argparse.Namespace) -> None:
    control.resume(states, options.id)


def _ps(states: States, options: argparse.Namespace) -> int:
    found = control.processes(states, options.id)
    if options.format == "json":
        print(json.dumps(found))
        return 0
    # Titles and lines as ps(1) has them; The arguments are its own.
    return subprocess.run(["ps", *(options.args or ["-f"]), "-p", ",".join(map(str, found))]).returncode


def _update(states: States, options: argparse.Namespace) -> None:
    text = sys.stdin.read() if options.resources == "-" else Path(options.resources).read_text()
    try:
        resources = decode_resources(json.loads(text))
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise InvalidInput(f"read {options.resources}: {error!r} is no resources object") from error
    control.update(states, options.id, resources)


def _list(states: States, options: argparse.Namespace) -> None:
    found = [states.describe(states.read(id)) for id in states.ids()]
    if options.format == "json":
        print(json.dumps(found))
        return
    print(f"{'ID':<24} {'PID':<8} {'STATUS':<8} BUNDLE")
    for one in found:
        print(f"{one['id']:<24} {one['pid']:<8} {one['status']:<8} {one['bundle']}")


def _features(states: States, options: argparse.Namespace) -> None:
    """features.md: what this runtime understands."""
    print(json.dumps({
        "ociVersionMin": "1.0.0", "ociVersionMax": OCI_VERSION,
        "hooks": list(HOOK_NAMES), "mountOptions": sorted(KNOWN),
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "user", "uts"],
            "capabilities": [f"CAP_{name}" for name in NAMES],
            "cgroup": {"v1": True, "v2": True, "systemd": False, "systemdUser": False},
            "seccomp": {"enabled": True, "actions": [
                "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD",
                "SCMP_ACT_LOG", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP"]},
            "apparmor": {"enabled": True}, "selinux": {"enabled": False},
        },
    }, indent=2))  # fmt: skip


Argument = tuple[tuple[str, ...], dict[str, Any]]
_ID: Argument = (("id",), {"metavar": "CONTAINER"})
_PID_FILE: Argument = (("--pid-file",), {"default": "", "help": "where to write the init's pid"})
_CONSOLE: Argument = (("--console-socket",), {"default": "", "help": "who takes the terminal's master"})
_BUNDLE: Argument = (("--bundle", "-b"), {"default": ".", "help": "the bundle's directory"})
_DETACH: Argument = (("--detach", "-d"), {"action": "store_true", "help": "return when the command runs"})
_NEW = (_BUNDLE, _PID_FILE, _CONSOLE, _ID)

_COMMANDS: Sequence[tuple[str, Any, str, Sequence[Argument]]] = (
    ("create", _create, "make a container; its command waits for start", _NEW),
    ("start", _start, "execute the command of a created container", (_ID,)),
    ("run", _run, "create and start, and wait", (*_NEW, _DETACH)),
    ("state", _state, "print the state of a container", (_ID,)),
    ("kill", _kill, "send a signal", (
        (("--all", "-a"), {"action": "store_true", "help": "to every process of the container"}), _ID,
        (("signal",), {"nargs": "?", "default": "TERM"}),
    )),
    ("delete", _delete, "forget a stopped container", (
        (("--force", "-f"), {"action": "store_true", "help": "kill it first"}), _ID,
    )),
    ("exec", _exec, "run one more command in a container", (
        (("--process", "-p"), {"default": "", "help": "a file with the process object"}), _PID_FILE, _CONSOLE, _DETACH,
        (("--tty", "-t"), {"action": "store_true"}), (("--env", "-e"), {"action": "append", "default": []}),
        (("--cwd",), {"default": ""}), (("--user", "-u"), {"default": ""}), _ID,
        (("args",), {"nargs": argparse.REMAINDER}),
    )),
    ("pause", _pause, "freeze every process of a container", (_ID,)),
    ("resume", _resume, "let a paused container run again", (_ID,)),
    ("ps", _ps, "list the processes of a container", (
        (("--format", "-f"), {"choices": ("table", "json"), "default": "table"}), _ID,
        (("args",), {"nargs": argparse.REMAINDER}),
    )),
    ("update", _update, "change the limits of a container", (
        (("--resources", "-r"), {"required": True, "help": "a file with the resources object, - for stdin"}), _ID,
    )),
    ("list", _list, "list containers", ((("--format", "-f"), {"choices": ("table", "json"), "default": "table"}),)),
    ("features", _features, "print what this runtime understands", ()),
)  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())

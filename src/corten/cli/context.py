"""What a command works with: the engine's client, made when it is first asked for, and the terminal's streams."""

from __future__ import annotations

import os
import sys

from corten.client import Client
from corten.client.address import Address, parse
from corten.client.connection import Connection, own_connection
from corten.errors import CortenError, InvalidInput

from . import preload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from corten.client.address import Trust

    from .options import Values

_CONFIG = "config.json"


class Context:
    """The surroundings of one command: global options and environment, and what follows from them.

    Which engine: ``-H``, ``--root``, CORTEN_HOST, CORTEN_ROOT, DOCKER_HOST, the standard root; the first that is
    there. An engine named by its data root (or not at all) is started when it is not running; an address is not.
    """

    def __init__(self, options: Values, environment: Mapping[str, str], path: str) -> None:
        self.options = options
        self.environment = environment
        self.path = path
        """The command as it was called: ``corten container ls``."""
        self._client: Client | None = None

    @property
    def host(self) -> str:
        """The address of the engine where one was given; else ''."""
        environment = self.environment
        if self.options.host:
            return str(self.options.host[-1])
        if self.options.root:
            return ""
        host = environment.get("CORTEN_HOST", "")
        return host or ("" if "CORTEN_ROOT" in environment else environment.get("DOCKER_HOST", ""))

    @property
    def root(self) -> str:
        """The data root of the engine where no address was given."""
        from corten.wire.places import standard_root

        return self.options.root or self.environment.get("CORTEN_ROOT") or standard_root(self.environment)

    @property
    def client(self) -> Client:
        """The client of the engine; the engine is started with the first request where that is allowed."""
        if self._client is None:
            self._client = self.make_client(autostart=not self.options.no_autostart)
        return self._client

    def make_client(self, *, autostart: bool) -> Client:
        """A client of its own, e.g. for signals that arrive while another answer is read."""
        if self.host:
            return Client(self.address)
        from corten.wire.places import socket_of

        address = Address(path=socket_of(self.root, self.environment))
        return Client(address, connect=own_connection, start=self._start if autostart else None)

    def _start(self, address: Address) -> Connection:
        """A connection to an engine that is started, by code that is loaded only then."""
        from corten.client.autostart import Autostart

        return Autostart(self.root, self.environment)(address)

    def connect_ahead(self, count: int = 1) -> None:
        """Open connections while other work is done. What is wrong with the address is for the first request to say."""
        try:
            self.client.connect_ahead(count)
        except CortenError:
            return

    def prepare_attachment(self, connections: int) -> None:
        """Load what an attachment needs, and open its connections, while the engine works at the request before it."""
        self.connect_ahead(connections)
        preload(("cli.signals", "cli.streams", "cli.attachment"))
        from . import attachment  # noqa: F401

    @property
    def address(self) -> Address:
        """Where the engine is, or would be."""
        return parse(self.host, self._trust()) if self.host else self.make_client(autostart=False).address

    def _trust(self) -> Trust | None:
        """Docker's ``--tls*`` options, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH; None is plain TCP."""
        options, environment = self.options, self.environment
        verify = options.tlsverify if options.given("tlsverify") else environment.get("DOCKER_TLS_VERIFY", "") != ""
        if not (verify or options.tls or options.given("tlsverify") or environment.get("DOCKER_TLS")):
            return None
        from corten.client.address import Trust

        directory = environment.get("DOCKER_CERT_PATH") or os.path.dirname(self.config_path)
        own = {
            name: getattr(options, name) or _existing(os.path.join(directory, file))
            for name, file in (("tlscert", "cert.pem"), ("tlskey", "key.pem"))
        }
        authority = (options.tlscacert or os.path.join(directory, "ca.pem")) if verify else ""
        return Trust(authority=authority, certificate=own["tlscert"], key=own["tlskey"])

    @property
    def config_path(self) -> str:
        """Where the client's configuration is: ``--config``, DOCKER_CONFIG, ``~/.docker``."""
        home = self.environment.get("HOME") or "/"
        return os.path.join(self.options.config or self.environment.get("DOCKER_CONFIG") or f"{home}/.docker", _CONFIG)

    def setting(self, name: str) -> str:
        """A setting of the client's configuration: ``detachKeys``, ``psFormat``; '' where it is not set."""
        path = self.config_path
        try:
            os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return ""
        except OSError:
            pass  # reading it tells the same, in words
        from . import config

        return str(config.read(path).get(name, ""))

    def close(self) -> None:
        """Close what was opened."""
        if self._client is not None:
            self._client.close()

    # --- the terminal

    @staticmethod
    def check_terminal(*, tty: bool, stdin: bool) -> None:
        """A terminal is asked for and stdin is none. Raises InvalidInput with Docker's sentence."""
        if tty and stdin and not os.isatty(0):
            raise InvalidInput("the input device is not a TTY")

    @staticmethod
    def out(text: str) -> None:
        """A line on standard output."""
        sys.stdout.write(text + "\n")

    @staticmethod
    def error(text: str) -> None:
        """A line on standard error, after what was said before."""
        sys.stdout.flush()
        sys.stderr.write(text + "\n")

    def failure(self, error: CortenError, *, code: int = 1, prefix: str = "") -> int:
        """Show an error with its hint; the exit code."""
        self.error(prefix + described(error))
        return code

    @staticmethod
    def raw_out(pieces: Iterable[bytes]) -> None:
        """Bytes on standard output, as they come."""
        sys.stdout.flush()
        for piece in pieces:
            write_all(1, piece)


def _existing(path: str) -> str:
    """A file that is used where it is there."""
    return path if os.path.exists(path) else ""


def described(error: CortenError) -> str:
    """An error as people read it: who told it, the message, and on lines of its own the hint."""
    from corten.client.response import Answer

    told = "Error response from daemon: " if isinstance(error.__cause__, Answer) else ""
    return f"{told}{error.message}" + (f"\n{error.hint}" if error.hint else "")


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]

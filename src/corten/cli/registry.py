"""``registry serve``: this engine's images over the OCI distribution protocol."""

from __future__ import annotations

import os
import signal
import sys

from corten.errors import InvalidInput

from .context import Context
from .options import FLAG, STRING, Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

    from corten.client import Client
    from corten.hub.server import Server

    from .options import Values

_AUTH = ("basic", "token")


def serve(context: Context, values: Values, names: list[str]) -> int:
    """``registry serve``: until it is told to leave."""
    host, port = _address(values.address)
    if values.auth not in _AUTH:
        raise InvalidInput(f"--auth {values.auth}: it is one of {', '.join(_AUTH)}")
    server = _server(context, values, names, host, port)
    scheme = "https" if server.is_secure else "http"
    with server:
        signal.signal(signal.SIGTERM, _leave)
        context.out(f"Serving on {scheme}://{_shown(host)}:{server.server_port}")
        if not values.htpasswd and not host.startswith("127.") and host not in ("localhost", "::1"):
            context.error(f"Whoever reaches {_shown(host)} may {' and '.join(server.allowed)}: --htpasswd names users")
        sys.stdout.flush()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0


def _leave(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _server(context: Context, values: Values, names: list[str], host: str, port: int) -> Server:
    """Everything that the registry is made of. Raises CortenError."""
    from pathlib import Path

    from corten.hub.auth import Door, Users
    from corten.hub.catalog import Catalog
    from corten.hub.delivery import Delivery
    from corten.hub.registry import Registry
    from corten.hub.server import Server, tls
    from corten.hub.storage import Storage

    def connect() -> Client:
        return context.make_client(autostart=False)

    root = context.client.get("/info")["DockerRootDir"]
    catalog = Catalog(connect, names)
    catalog.offers()  # an image that is not there is told before anything is served
    storage = Storage(Path(values.storage or os.path.join(root, "registry")), shown=not names or values.allow_push)
    delivery = Delivery(connect, storage, lambda digest: catalog.offers().has_blob(digest))
    users = Users.read(values.htpasswd) if values.htpasswd else None
    allowed = ["pull", *(["push"] if values.allow_push else []), *(["delete"] if values.allow_delete else [])]
    domain = values.domain or f"{_shown(host)}:{port}"
    return Server(
        (host, port), Registry(catalog, storage, delivery, domain), Door(users, tokens=values.auth == "token"), allowed,
        tls(values.cert, values.key),
    )  # fmt: skip


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise InvalidInput(f"--address {text}: it is written ADDRESS:PORT")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104  what ":5000" means everywhere


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


SERVE = Command(
    serve,
    "Serve images of this engine as a registry",
    "[OPTIONS] [IMAGE...]",
    (
        Option("-a, --address", "address:port", "Where to listen", "127.0.0.1:5000"),
        Option("--allow-delete", FLAG, "Let clients delete tags and manifests"),
        Option("--allow-push", FLAG, "Let clients push: what they push becomes images of this engine"),
        Option("--auth", STRING, "How users show who they are: basic or token", "basic"),
        Option("--cert", "file", "Certificate to speak TLS with"),
        Option("--domain", STRING, "What pushed images are named after (default: the address)"),
        Option("--htpasswd", "file", "Users and their passwords, in the form of htpasswd -5 (SHA-crypt)"),
        Option("--key", "file", "Key of the certificate"),
        Option("--storage", "directory", "Where pushed content is that is no image of the engine"),
    ),
    arguments=(0, None),
    description="Without an image all that have a name are served, under their names without the registry's; those\n"
    "of Docker Hub also under library/NAME, those of others also under the whole of their names.",
)

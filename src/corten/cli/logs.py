"""``logs``."""

from __future__ import annotations

from corten.wire.frames import STDERR, SYSTEM, FrameReader

from .context import Context, write_all
from .options import FLAG, STRING, Command, Option
from .times import timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .options import Values


def logs(context: Context, values: Values, names: list[str]) -> int:
    """``logs``."""
    told = context.client.get(f"/containers/{names[0]}/json")
    query = {
        "stdout": True,
        "stderr": True,
        "since": timestamp(values.since),
        "until": timestamp(values.until),
        "timestamps": values.timestamps or None,
        "follow": values.follow or None,
        "details": values.details or None,
        "tail": values.tail,
    }
    with context.client.open("GET", f"/containers/{told['Id']}/logs", query) as answer:
        if told["Config"]["Tty"]:
            context.raw_out(answer)
        else:
            _demultiplex(context, answer)
    return 0


def _demultiplex(context: Context, pieces: Iterable[bytes]) -> None:
    frames = FrameReader()
    for piece in pieces:
        for stream, data in frames.receive(piece):
            if stream == SYSTEM:
                context.error(data.decode("utf-8", "replace"))
            else:
                write_all(2 if stream == STDERR else 1, data)


_WHEN = '(e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)'
LOGS = Command(
    logs,
    "Fetch the logs of a container",
    "[OPTIONS] CONTAINER",
    (
        Option("--details", FLAG, "Show extra details provided to logs"),
        Option("-f, --follow", FLAG, "Follow log output"),
        Option("--since", STRING, f"Show logs since timestamp {_WHEN}"),
        Option("-n, --tail", STRING, "Number of lines to show from the end of the logs", "all"),
        Option("-t, --timestamps", FLAG, "Show timestamps"),
        Option("--until", STRING, f"Show logs before a timestamp {_WHEN}"),
    ),
    arguments=(1, 1),
)

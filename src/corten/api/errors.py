"""The one map from errors to answers."""

from __future__ import annotations

from corten.api.message import Response, reply
from corten.api.router import ClientTooOld
from corten.errors import CortenError


def answer(error: CortenError) -> Response:
    """``{"message": …}`` with the status of the error's kind; the hint follows the message."""
    if error.status == 304:
        return Response(304)
    if isinstance(error, ClientTooOld):
        return Response(error.status, f"{error.message}\n".encode(), type="text/plain; charset=utf-8")
    message = f"{error.message}\n{error.hint}" if error.hint else error.message
    return reply({"message": message}, error.status)

"""The engine itself: what it is, what it runs on, what it uses."""

from __future__ import annotations

from typing import Any


class System:
    """What can be said of one engine."""

    def version(self) -> dict[str, Any]:
        """In the API's form (``SystemVersion``)."""
        raise NotImplementedError

    def info(self) -> dict[str, Any]:
        """In the API's form (``SystemInfo``)."""
        raise NotImplementedError

    async def df(self) -> dict[str, Any]:
        """``{"containers": [(Container, size_rw, size_root)], "volumes": [(Volume, size, references)],
        "images": [(Image, size, shared)], "layers": bytes}``; the API shapes it."""
        raise NotImplementedError

    def request_stop(self, *, all: bool = False) -> None:
        """Leave once the answer is out; with ``all`` stop every container first."""
        raise NotImplementedError

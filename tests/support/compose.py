"""An application of two services, and what a user does with it through Compose, whichever: commands and exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.command import Cli, Result
from tests.support.process import wait_until

PROJECT = "app"
_FILE = """\
version: "3.8"
services:
  web:
    image: busybox
    command: sh -c "[ -e /data/index.html ] || echo hello > /data/index.html; exec httpd -f -p 80 -h /data"
    init: true
    volumes: ["data:/data"]
    networks:
      inner: {aliases: [page]}
    labels: {part: front}
    healthcheck:
      test: ["CMD", "wget", "-q", "-O", "-", "http://127.0.0.1/index.html"]
      interval: 1s
      timeout: 5s
      retries: 20
  client:
    image: busybox
    command: sh -c "wget -q -O - http://web/ && echo asked; exec sleep 1000"
    init: true
    networks: [inner]
    depends_on:
      web: {condition: service_healthy}
volumes:
  data: {}
networks:
  inner: {}
"""


class Application:
    """The application in a directory; ``compose`` runs a command of Compose there, ``api`` asks its engine."""

    def __init__(self, directory: Path, cli: Cli, ask: Callable[[str], Any]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._file = directory / "docker-compose.yml"
        self._file.write_text(_FILE)
        self._cli, self._ask = cli, ask

    def compose(self, *words: str) -> Result:
        """One command."""
        return self._cli("-p", PROJECT, "-f", str(self._file), *words, timeout=110)

    def ids(self, service: str) -> list[str]:
        """The containers of a service."""
        return sorted(self.compose("ps", "-q", service).check().lines)

    def inspect(self, id: str) -> dict[str, Any]:
        """What the engine says of a container."""
        told: dict[str, Any] = self._ask(f"/containers/{id}/json")
        return told

    def fetch(self, name: str) -> str:
        """The page of a service, asked for by name from another."""
        return self.compose("exec", "-T", "client", "wget", "-q", "-O", "-", f"http://{name}/").check().out

    # --- the story

    def run(self) -> None:
        """Everything, in a user's order. Raises AssertionError."""
        try:
            self.up()
            self.look()
            self.scale()
            self.restart()
        finally:
            down = self.compose("down", "-v")
        down.check()
        self.gone()

    def up(self) -> None:
        """Both run when it returns; the one that depends on the other was started when that was healthy."""
        self.compose("up", "-d").check()
        (web,), (client,) = self.ids("web"), self.ids("client")
        assert self.inspect(web)["State"]["Health"]["Status"] == "healthy"
        assert self.inspect(client)["State"]["Status"] == "running"
        assert self.compose("up", "-d").check().code == 0
        assert (self.ids("web"), self.ids("client")) == ([web], [client])  # nothing was to be done

    def look(self) -> None:
        """ps, logs, exec, and names between the services."""
        shown = self.compose("ps").check().out
        assert "web" in shown
        assert "client" in shown
        wait_until(lambda: "asked" in self.compose("logs", "client").check().out, "the client's log")
        assert "hello" in self.compose("logs", "client").out
        assert [self.fetch(name) for name in ("web", "page")] == ["hello\n", "hello\n"]
        assert self.compose("exec", "-T", "web", "sh", "-c", "exit 7").code == 7
        (web,) = self.ids("web")
        networks = self.inspect(web)["NetworkSettings"]["Networks"]
        assert list(networks) == [f"{PROJECT}_inner"]
        assert {"web", "page"} <= set(networks[f"{PROJECT}_inner"]["Aliases"])

    def scale(self) -> None:
        """More of one service, and fewer again."""
        (first,) = self.ids("client")
        self.compose("up", "-d", "--scale", "client=3").check()
        assert len(self.ids("client")) == 3
        assert first in self.ids("client")
        self.compose("up", "-d", "--scale", "client=1").check()
        assert self.ids("client") == [first]

    def restart(self) -> None:
        """The same container comes back with its volume, and under its name."""
        (web,) = self.ids("web")
        began = self.inspect(web)["State"]["StartedAt"]
        self.compose("exec", "-T", "web", "sh", "-c", "echo kept > /data/index.html").check()
        self.compose("restart", "web").check()
        assert self.ids("web") == [web]
        assert self.inspect(web)["State"]["StartedAt"] > began
        wait_until(lambda: self.inspect(web)["State"]["Health"]["Status"] == "healthy", "health after a restart")
        assert self.fetch("web") == "kept\n"

    def gone(self) -> None:
        """Nothing of it is left."""
        label = json.dumps({"label": [f"com.docker.compose.project={PROJECT}"]})
        assert self._ask(f"/containers/json?all=1&filters={label}") == []
        assert not self._ask(f"/volumes?filters={label}")["Volumes"]
        assert self._ask(f"/networks?filters={label}") == []

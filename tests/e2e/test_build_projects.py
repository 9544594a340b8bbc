"""Dockerfiles as projects have them, on a Debian that was made here: built with the registries of Debian, PyPI and npm,
and run. Where one of those does not answer, its test is skipped, and says so."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engine import Engine
from tests.support.process import wait_until

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.timeout(600)]

_PROJECTS = Path(__file__).resolve().parents[1] / "data/projects"
_DEBIAN = "http://deb.debian.org/debian/dists/bookworm/Release"
_PYPI = "https://pypi.org/simple/waitress/"
_NPM = "https://registry.npmjs.org/mime-types"
_LONG = 500
"""Seconds: a machine far from the mirrors is slow, and none of this is about that."""


def needs(*urls: str) -> None:
    """Skip the test where one of them does not answer."""
    for url in urls:
        try:
            urllib.request.urlopen(url, timeout=20).close()
        except (urllib.error.URLError, OSError) as error:
            pytest.skip(f"{url} does not answer: {error}")


@pytest.fixture(scope="module")
def debian(shared_engine: Engine) -> Iterator[Engine]:
    needs(_DEBIAN)
    shared_engine.cli("image", "bootstrap", "debian:bookworm", timeout=_LONG).check()
    yield shared_engine
    shared_engine.cli("builder", "prune", "-f").check()


def build(engine: Engine, project: str) -> None:
    """An image of the project's name. The authorities that this machine trusts are shown to those commands that ask for
    them: there may be one of its own between it and the registries."""
    trusted = ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
    secret = f"id=certificates,src={trusted}"
    engine.cli("build", "-t", project, "--secret", secret, str(_PROJECTS / project), timeout=_LONG).check()


def config(engine: Engine, image: str) -> dict[str, object]:
    found: dict[str, object] = engine.api("GET", f"/images/{image}/json").check().json["Config"]
    return found


def test_a_program_in_c_of_several_stages(debian: Engine) -> None:
    build(debian, "native")
    assert debian.cli("run", "--rm", "native").check().out == "2 words\n"
    assert debian.cli("run", "--rm", "native", "a").check().out == "1 words\n"
    image = debian.api("GET", "/images/native/json").check().json
    assert image["Size"] < 2_000_000
    assert len(image["RootFS"]["Layers"]) == 2
    assert "Using cache" in debian.cli("build", str(_PROJECTS / "native"), timeout=_LONG).check().err


def test_a_web_application_in_python(debian: Engine) -> None:
    needs(_PYPI)
    build(debian, "web")
    told = config(debian, "web")
    assert told["User"] == "app"
    assert told["ExposedPorts"] == {"8000/tcp": {}}
    assert told["StopSignal"] == "SIGINT"
    assert told["Cmd"] == ["app:application"]
    debian.cli("run", "-d", "--name", "served", "web").check()
    try:
        wait_until(lambda: _health(debian) == "healthy", "a healthy application", seconds=60)
        ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8000/a<b').read().decode(), end='')"
        said = debian.cli("exec", "served", "python", "-c", ask).check().out
        assert said.startswith("hello a&lt;b, ")
        user = debian.cli("exec", "served", "id", "-u").check().out.strip()
        assert said.endswith(f" of user {user}\n")
        assert user != "0"
    finally:
        debian.cli("rm", "-f", "-v", "served")
    look = "find /srv -type f; ls -A /root /etc/ssl/certs; ls /var/cache/apt/archives/*.deb 2> /dev/null || true"
    left = debian.cli("run", "--rm", "--entrypoint", "sh", "-u", "0", "web", "-c", look).check().out
    assert left.startswith("/srv/app.py\n/etc/ssl/certs:\n")
    assert ".cache" not in left
    assert ".deb" not in left


def test_an_application_of_node(debian: Engine) -> None:
    needs(_NPM)
    build(debian, "node")
    assert debian.cli("run", "--rm", "node").check().out == "text/html\n"
    assert debian.cli("run", "--rm", "node", "node", "main.js", "a.svg").check().out == "image/svg+xml\n"
    listed = debian.cli("run", "--rm", "node", "ls", "/srv", "/srv/node_modules").check().out.split()
    assert listed == ["/srv:", "main.js", "node_modules", "package.json", "/srv/node_modules:", "mime-db", "mime-types"]
    assert config(debian, "node")["User"] == "1000:1000"


def _health(engine: Engine) -> str:
    state = json.loads(engine.cli("inspect", "--format", "{{json .State}}", "served").check().out)
    return str(state["Health"]["Status"])

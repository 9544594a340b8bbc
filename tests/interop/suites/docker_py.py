"""docker-py's integration tests. 6.1.3 is the last source distribution on PyPI that carries them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.interop.outcomes import Outcomes
from tests.interop.python import run_pytest
from tests.interop.suite import Suite, Visit, fetch_sdist, make_venv

_SDIST = "docker==6.1.3"
_VERSION = "1.41"
"""Debian's dockerd has this version of the API; a newer one has answers that some of these tests do not know."""
_SHARED = ("alpine:latest", "alpine:3.10")
"""Wanted after a test that prunes all images: busybox is kept by the containers that it has, and these with it."""
# requests 2.32 took away what this version of the library plugs itself into.
_NEEDS = ("pytest==7.4.4", "pytest-timeout==2.3.1", "requests==2.31.0", "urllib3==2.0.7", "paramiko==3.5.1",
          "websocket-client==1.8.0", "packaging==24.2", "setuptools==75.8.0")  # fmt: skip


def fetch(home: Path) -> None:
    """Its source distribution and what it needs. Raises Unavailable."""
    source = fetch_sdist(home, _SDIST)
    make_venv(home / "venv", *_NEEDS, str(source))


def run(visit: Visit) -> Outcomes:
    """Without the tests that form a swarm."""
    source = visit.home / _SDIST.replace("==", "-")
    left_out = ("api_swarm_test.py", "api_service_test.py", "models_swarm_test.py",
                "models_services_test.py", "models_nodes_test.py", "api_secret_test.py",
                "api_config_test.py")  # fmt: skip
    ignored = [f"--ignore=tests/integration/{name}" for name in left_out]
    for name in _SHARED:
        subprocess.run(["docker", "tag", "busybox:latest", name], env=visit.environment, check=True)
    own = {"DOCKER_TEST_API_VERSION": _VERSION}
    return run_pytest(visit, visit.home / "venv/bin/python", source, ["tests/integration", *ignored], own)


SUITE = Suite("docker-py", "docker-py's integration tests", fetch, run)

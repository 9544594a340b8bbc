"""The world of network namespaces, for the tests in the machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.spaces import World, private_host


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """The test itself stands on the host, in a network namespace of its own."""
    with private_host():
        made = World(tmp_path)
        try:
            yield made
        finally:
            made.close()

"""The client's configuration, ``~/.docker/config.json``: credentials of registries, and the detach keys.

Corten reads the file that Docker's command line writes, so that one login serves both.
"""

from __future__ import annotations

from corten.client import jsontext
from corten.errors import CortenError, DataCorrupt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HUB = "https://index.docker.io/v1/"


def read(path: str) -> dict[str, Any]:
    """The file's object; empty where there is no file. Raises CortenError."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise CortenError.from_os("read", path, error) from error
    value = jsontext.decode(content) if content.strip() else {}
    if not isinstance(value, dict):
        raise DataCorrupt(f"read {path}: it is not a JSON object")
    return value

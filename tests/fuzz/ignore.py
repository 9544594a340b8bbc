"""A .dockerignore of whatever bytes is read, or refused in one way; a walk and a look agree unless something is
taken back."""

from __future__ import annotations

from corten.build import ignore
from corten.errors import InvalidInput

_PATHS = ("a", "a/b", "a/b/c.txt", ".git/x", "ab/[x]/*", "a b/é")


def one(data: bytes) -> None:
    """Read it, and ask it about some files."""
    error = None
    try:
        rules = ignore.parse(data)
    except InvalidInput as caught:
        error = caught
    if error:
        assert error.message.startswith("line ")
        assert error.message.isprintable(), error.message
        return
    for path in _PATHS:
        parts = path.split("/")
        above = 0
        excluded_above = ""
        for depth in range(1, len(parts) + 1):
            here = "/".join(parts[:depth])
            excluded, above = rules.below(here, above)
            assert excluded == rules.matches(here) or rules.takes_back
            if excluded:
                excluded_above = here
            elif excluded_above:
                assert rules.may_hold(excluded_above), (here, excluded_above)

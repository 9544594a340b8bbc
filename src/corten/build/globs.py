"""Whether a source of COPY or ADD names a path: Go's ``path/filepath.Match``, and ``**`` for any number of
directories."""

from __future__ import annotations

import functools
from collections.abc import Callable

from corten.build import patterns
from corten.build.ignore import Rule

is_pattern = patterns.has_wildcards


def matches(pattern: str, path: str) -> bool:
    """Whether a pattern names a path. Raises InvalidInput for a malformed one."""
    return _compiled(pattern)(path)


@functools.lru_cache(256)
def _compiled(pattern: str) -> Callable[[str], bool]:
    return Rule(pattern).matches if "**" in pattern else patterns.Pattern(pattern).matches

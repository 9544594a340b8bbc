"""A word of whatever characters is expanded by every set of rules, or refused in one way."""

from __future__ import annotations

from corten.build.expansion import Rules, expand
from corten.errors import InvalidInput

_VARIABLES = {"a": "abc/abd.tar\nx", "b": "", "c": "$0*?\\[x]", "é": "1  2"}
_RULES = (
    Rules(),
    Rules(escape="`"),
    Rules(raw_quotes=True, raw_escapes=True, keep_unset=True),
    Rules(plain_quotes=True),
)


def one(data: bytes) -> None:
    """Expand it; words are what the text is made of."""
    text = data.decode("utf-8", "replace")
    for rules in _RULES:
        try:
            found = expand(text, _VARIABLES, rules)
        except InvalidInput:
            continue
        assert all(found.words)
        assert sum(map(len, found.words)) <= len(found.text)
        assert found.used <= set(_VARIABLES)
        assert not found.unset & set(_VARIABLES)

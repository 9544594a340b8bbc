"""``--chmod``: what each notation makes of a mode."""

from __future__ import annotations

import pytest

from corten.build.modes import parse
from corten.errors import InvalidInput

OF_FILES = [
    ("644", 0o777, 0o644),
    ("0", 0o7777, 0),
    ("07755", 0, 0o7755),
    ("0000644", 0, 0o644),
    ("u+x", 0o644, 0o744),
    ("+x", 0o644, 0o755),
    ("a-w", 0o666, 0o444),
    ("go=", 0o777, 0o700),
    ("=", 0o7777, 0o1000),
    ("u=rw,go=r", 0o777, 0o644),
    ("u=rwx,go=u-w", 0, 0o755),
    ("go=u", 0o640, 0o666),
    ("g+u", 0o620, 0o660),
    ("o-g", 0o067, 0o061),
    ("=rw,+X", 0o755, 0o777),
    ("=rw,+X", 0o644, 0o666),
    ("-X", 0o755, 0o644),
    ("u+s", 0o755, 0o4755),
    ("g+s", 0o755, 0o2755),
    ("o+s", 0o755, 0o755),
    ("+t", 0o755, 0o1755),
    ("o+t", 0o755, 0o755),
    ("u+r-w+x", 0o200, 0o500),
    ("ug+rw,o-rwx", 0o007, 0o660),
    ("+tr", 0, 0o1000),
    ("+", 0o644, 0o644),
]


@pytest.mark.parametrize(("notation", "before", "after"), OF_FILES)
def test_a_files_mode(notation: str, before: int, after: int) -> None:
    assert oct(parse(notation).apply(before, is_directory=False)) == oct(after)


@pytest.mark.parametrize(
    ("notation", "before", "after"), [("a+X", 0o600, 0o711), ("u=rwX", 0, 0o700), ("644", 0, 0o644)]
)
def test_a_directorys_mode(notation: str, before: int, after: int) -> None:
    assert oct(parse(notation).apply(before, is_directory=True)) == oct(after)


@pytest.mark.parametrize(
    "notation", ["8", "644x", "77777", "0o644", "1e3", "", "x", "u", "u+z", "u+r,", ",u+r", "u r", "u+r w"]
)
def test_a_mode_that_is_none(notation: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(notation)
    assert caught.value.message.startswith(f"invalid chmod parameter: '{notation}'. it should be ")


def test_an_octal_mode_is_refused_in_buildkits_words() -> None:
    with pytest.raises(
        InvalidInput, match=r"^invalid chmod parameter: '888'\. it should be octal string and between 0 and 07777$"
    ):
        parse("888")

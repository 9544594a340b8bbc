"""Where a bootstrapped Debian comes from: the machine's own mirror, whichever form its list has."""

from __future__ import annotations

from pathlib import Path

from corten.cli.bootstrap_debian import mirror


def test_deb822_without_a_sources_list(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    text = "Types: deb\nURIs: http://mirror.example/debian\nSuites: x\n"
    (tmp_path / "sources.list.d/debian.sources").write_text(text)
    assert mirror(str(tmp_path)) == "http://mirror.example/debian"


def test_one_line_form_without_credentials(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text("deb http://user:secret@mirror.example/debian bookworm main\n")
    assert "secret" not in mirror(str(tmp_path))


def test_no_list_at_all(tmp_path: Path) -> None:
    assert mirror(str(tmp_path)).endswith("/debian")

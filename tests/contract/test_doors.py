"""The scripts behind the doors say what is missing, and the one line that mends it."""

from __future__ import annotations

from pathlib import Path

from tests.support.command import Result, run

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"

_NO_ENSUREPIP = """#!/bin/sh
case "$*" in *ensurepip*) exit 1;; esac
exit 0
"""
_TOO_OLD = "#!/bin/sh\nexit 1\n"


def _stub(directory: Path, **programs: str) -> str:
    """A PATH on which these programs stand before the real ones."""
    for name, text in programs.items():
        (directory / name).write_text(text)
        (directory / name).chmod(0o755)
    return f"{directory}:/usr/bin:/bin"


def _make_venv(tmp_path: Path, python: str) -> Result:
    """Run make-venv where every Python is a stub."""
    names = ("python3", "python3.11", "python3.12", "python3.13")
    path = _stub(tmp_path, **dict.fromkeys(names, python))
    return run([str(SCRIPTS / "make-venv"), str(tmp_path / "venv")], env={"PATH": path, "PYTHON": " ".join(names)})


def test_without_ensurepip_the_package_is_named(tmp_path: Path) -> None:
    result = _make_venv(tmp_path, _NO_ENSUREPIP)
    assert result.code == 1
    assert "apt-get install python3-venv" in result.err


def test_without_a_new_python_the_packages_are_named(tmp_path: Path) -> None:
    result = _make_venv(tmp_path, _TOO_OLD)
    assert result.code == 1
    assert "apt-get install python3 python3-venv" in result.err


def test_every_script_is_executable_and_parses() -> None:
    for script in SCRIPTS.iterdir():
        if script.suffix or script.is_dir():
            continue
        shell = script.read_text().splitlines()[0].removeprefix("#!")
        assert script.stat().st_mode & 0o111, script
        if shell != "python":
            run([shell, "-n", str(script)]).check()

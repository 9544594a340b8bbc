"""Certificates of a test: an authority, an engine's and a client's, made with openssl."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

from tests.support.command import run


def openssl_problem() -> str:
    """Why no certificates can be made here; '' when they can."""
    return "" if shutil.which("openssl") else "not installed: openssl"


@dataclasses.dataclass(frozen=True, slots=True)
class Authority:
    """One that vouches; its files, as Docker names them, are below ``directory``."""

    directory: Path

    @classmethod
    def make(cls, directory: Path, name: str) -> Authority:
        """A new one."""
        directory.mkdir(parents=True)
        made = cls(directory)
        made._key("ca-key.pem")
        own = ("-key", "ca-key.pem", "-out", "ca.pem", "-subj", f"/CN={name}")
        _openssl(directory, "req", "-x509", *own, "-days", "2")
        return made

    @property
    def certificate(self) -> str:
        """The file of its own certificate."""
        return str(self.directory / "ca.pem")

    def issue(self, name: str, usage: str, *, names: str = "") -> Path:
        """A directory with ``ca.pem``, ``cert.pem`` and ``key.pem`` of ``name``: what DOCKER_CERT_PATH names. ``usage``
        is ``serverAuth`` or ``clientAuth``, ``names`` an engine's, such as ``IP:127.0.0.1``."""
        own = self.directory / name
        own.mkdir()
        self._key(f"{name}/key.pem")
        request = ("-key", f"{name}/key.pem", "-out", f"{name}/request", "-subj", f"/CN={name}")
        _openssl(self.directory, "req", "-new", *request)
        extensions = f"extendedKeyUsage={usage}\n" + (f"subjectAltName={names}\n" if names else "")
        (own / "extensions").write_text(extensions)
        _openssl(
            self.directory, "x509", "-req", "-in", f"{name}/request", "-CA", "ca.pem", "-CAkey", "ca-key.pem",
            "-CAcreateserial", "-out", f"{name}/cert.pem", "-days", "2", "-extfile", f"{name}/extensions",
        )  # fmt: skip
        shutil.copy(self.directory / "ca.pem", own / "ca.pem")
        return own

    def _key(self, name: str) -> None:
        _openssl(self.directory, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", name)


def _openssl(directory: Path, *arguments: str) -> None:
    run(["openssl", *arguments], cwd=str(directory)).check()

"""Repositories of git behind a real server: ``git http-backend`` below Python's, on loopback."""

from __future__ import annotations

import base64
import http.server
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BACKEND = Path("/usr/lib/git-core/git-http-backend")


def git(where: Path, *arguments: str) -> str:
    """Run git as somebody of the tests, with no settings but its own."""
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(where), "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_{what}": text for who in ("AUTHOR", "COMMITTER")
           for what, text in (("NAME", "a"), ("EMAIL", "a@b"), ("DATE", "1700000000 +0000"))},
    }  # fmt: skip
    command = ["git", "-C", str(where), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return done.stdout.strip()


def repository(where: Path, files: dict[str, str]) -> Path:
    """A repository whose branch ``main`` has one commit of such files; ``-> `` begins where a link leads."""
    where.mkdir(parents=True)
    git(where, "init", "-q", "-b", "main")
    commit(where, files)
    return where


def commit(where: Path, files: dict[str, str]) -> str:
    """One more commit; its hash."""
    for name, content in files.items():
        path = where / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content.startswith("-> "):
            path.symlink_to(content.removeprefix("-> "))
        else:
            path.write_text(content)
    git(where, "add", "-A")
    git(where, "commit", "-q", "--no-verify", "-m", "one")
    return git(where, "rev-parse", "HEAD")


class _Handler(http.server.BaseHTTPRequestHandler):
    """CGI, as far as git needs it (RFC 3875)."""

    root: Path
    password = ""

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        wanted = "Basic " + base64.b64encode(self.password.encode()).decode()
        path, _, query = self.path.partition("?")
        if path.startswith("/private") and self.headers.get("Authorization", "").lower() != wanted.lower():
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.end_headers()
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        environment = {
            "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(self.root), "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""), "REMOTE_USER": "", "REMOTE_ADDR": "127.0.0.1",
            "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
        }  # fmt: skip
        done = subprocess.run([str(BACKEND)], input=body, capture_output=True, env=environment)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


@contextmanager
def served(root: Path, password: str = "") -> Iterator[str]:
    """The URL of a server of the repositories below a directory; those below ``private`` want ``USER:PASSWORD``."""
    handler = type("Handler", (_Handler,), {"root": root, "password": password})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()

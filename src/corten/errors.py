"""The kinds of error that Corten raises.

::

    CortenError             something failed; the kinds below say what sort of failure
    ├── InvalidInput        the request itself is wrong            400   125
    │   └── DockerfileError a Dockerfile is wrong, at such a line  400   125
    ├── AccessDenied        credentials or privileges are missing  403   125
    ├── NotFound            the named object does not exist        404   125
    ├── Conflict            the object's state forbids it          409   125
    ├── NotModified         there is nothing to do                 304     0
    ├── CommandNotFound     the image has no such command          400   127
    ├── CommandNotRunnable  the command is there and cannot run    400   126
    ├── DataCorrupt         bytes are not what their digest says   500   125
    ├── Unsupported         Corten or this machine cannot do it    501   125
    └── Unavailable         a peer or the engine does not answer   503   125

The status is the one of the Docker Engine API, the last column the exit code of ``corten run``. A message
reads ``operation object: cause``; what to do about it stands apart, in ``hint``.
"""

from __future__ import annotations

import os


class CortenError(Exception):
    """Something failed: ``message`` is ``operation object: cause``, ``hint`` what to do about it (or '')."""

    status = 500
    exit_code = 125
    excerpt = ""
    """The lines of a file of the user's that it is about."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @classmethod
    def from_os(cls, operation: str, what: str, error: OSError, *, hint: str = "") -> CortenError:
        """Name the operation and the object of a failed system call; the cause is errno's sentence, lower case."""
        cause = os.strerror(error.errno).lower() if error.errno else str(error)
        return cls(f"{operation} {what}: {cause}", hint=hint)


class InvalidInput(CortenError):
    """The request itself is wrong: a bad reference, an unknown option, values that contradict each other."""

    status = 400


class DockerfileError(InvalidInput):
    """A Dockerfile cannot be followed: ``line`` to ``last_line`` of ``source`` (from 1; 0 is the file as a whole).

    ``cause`` is the sentence without its place, ``expected`` what should stand there, ``excerpt`` the lines around
    with the wrong ones marked; the message says where and why on one line.
    """

    def __init__(
        self,
        cause: str,
        *,
        source: str = "Dockerfile",
        line: int = 0,
        last_line: int = 0,
        instruction: str = "",
        expected: str = "",
        excerpt: str = "",
    ) -> None:
        place = f" on line {line}" if line else ""
        super().__init__(f"dockerfile parse error{place}: {cause}", hint=expected and f"expected {expected}")
        self.cause = cause
        self.source = source
        self.line = line
        self.last_line = last_line or line
        self.instruction = instruction
        self.expected = expected
        self.excerpt = excerpt


class AccessDenied(CortenError):
    """Credentials or privileges are missing."""

    status = 403


class NotFound(CortenError):
    """The named object does not exist."""

    status = 404


class Conflict(CortenError):
    """The state of the object, or another object, forbids it."""

    status = 409


class NotModified(CortenError):
    """There is nothing to do: the object is already as asked."""

    status = 304
    exit_code = 0


class CommandNotFound(CortenError):
    """The container's root has no such command."""

    status = 400
    exit_code = 127


class CommandNotRunnable(CortenError):
    """The command is there and cannot be executed."""

    status = 400
    exit_code = 126


class DataCorrupt(CortenError):
    """Bytes are not what their digest, size or format says."""


class Unsupported(CortenError):
    """Corten, or this machine's kernel, cannot do it."""

    status = 501


class Unavailable(CortenError):
    """A peer (the engine, a registry, a monitor) does not answer."""

    status = 503

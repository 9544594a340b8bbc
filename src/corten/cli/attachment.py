"""A container or exec in the foreground: its streams, signals, window size and detach keys, to the end."""

from __future__ import annotations

import os

from corten.errors import CortenError

from . import signals
from .streams import Pump

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from corten.client import Client
    from corten.client.response import Tunnel

    from .context import Context
    from .terminal import DetachFilter, RawMode


class Attachment:
    """What is attached: ``path`` is the API's path of the container or exec (for resize and kill)."""

    def __init__(self, context: Context, path: str, *, tty: bool, stdin: bool, keys: str, sig_proxy: bool) -> None:
        self.path = path
        self.tty = tty
        self._keys = _detach_filter(keys) if tty and stdin else None
        self._stdin = 0 if stdin else None
        self._raw = tty and stdin and os.isatty(0)
        self._proxied = signals.FORWARDED if sig_proxy else ()
        self._context = context
        self._control: Client | None = None
        self.exit_code = b""
        """In decimal, where the stream has it (:data:`corten.wire.frames.EXIT`)."""

    def run(self, tunnel: Tunnel, ready: Callable[[], None] | None = None) -> bool:
        """Move the bytes to the end; False when the user detached. ``ready`` is called once all is set up."""
        winch = (signals.SIGWINCH,) if self.tty else ()
        # Raw mode is undone by unwinding: a signal that would kill us outright must become an exception or a byte.
        deadly = (signals.SIGHUP, signals.SIGTERM, signals.SIGQUIT) if self._raw else ()
        caught = tuple({*self._proxied, *winch, *deadly})
        with signals.SignalPipe(caught) as pipe:
            mode = _raw_mode() if self._raw else None
            try:
                if mode is not None:
                    mode.__enter__()
                if ready is not None:
                    ready()
                self.resize()
                pump = self._pump(tunnel, pipe)
                stayed, self.exit_code = pump.run(), pump.exit_code
                return stayed
            finally:
                if mode is not None:
                    mode.restore()
                self._close()

    def _pump(self, tunnel: Tunnel, pipe: signals.SignalPipe) -> Pump:
        return Pump(
            tunnel,
            framed=not self.tty,
            stdin=self._stdin,
            keys=self._keys,
            signals=pipe.descriptor,
            signalled=self._signalled,
        )

    def resize(self) -> None:
        """Tell the engine how large the terminal is; a container that is not running yet learns it later."""
        if not self.tty:
            return
        from . import terminal

        rows, columns = terminal.size(1)
        if not rows:
            rows, columns = terminal.size(0)
        if rows:
            self._quietly("resize", {"h": rows, "w": columns})

    def _signalled(self, number: int) -> None:
        if number == signals.SIGWINCH:
            self.resize()
        elif number in self._proxied:
            self._quietly("kill", {"signal": number})
        else:
            raise SystemExit(128 + number)

    def _quietly(self, action: str, query: dict[str, object]) -> None:
        """A container that ended in between is no error: its end is being read."""
        if self._control is None:
            self._control = self._context.make_client(autostart=False)
        try:
            self._control.post(f"{self.path}/{action}", query)
        except CortenError:
            return

    def _close(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None


# A run without a terminal, the usual one of programs, loads nothing of terminals.


def _raw_mode() -> RawMode:
    from .terminal import RawMode

    return RawMode(0)


def _detach_filter(keys: str) -> DetachFilter:
    from . import terminal

    return terminal.DetachFilter(terminal.detach_keys(keys or terminal.DETACH_KEYS))

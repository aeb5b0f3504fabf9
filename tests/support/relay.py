"""A way to a Unix socket that a test can cut: what goes in does not come out any more."""

import socket
import threading
from contextlib import suppress
from pathlib import Path


class Relay:
    """Listens on a port and passes everything on."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._open = threading.Event()
        self._open.set()
        self._sockets: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Pass nothing on, in either direction, and tell nobody."""
        self._open.clear()

    def heal(self) -> None:
        """Pass on what has piled up, and all that comes."""
        self._open.set()

    def close(self) -> None:
        self._listening.close()
        for one in self._sockets:
            # A thread that waits in `recv` would keep the connection of a closed socket alive.
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            self._open.wait()
            far = socket.socket(socket.AF_UNIX)
            far.connect(str(self._target))
            self._sockets += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                self._open.wait()
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return

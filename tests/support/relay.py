"""A way to a server that a test can cut: what goes in does not come out any more, or in part."""

import socket
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_END_OF_HEAD = b"\r\n\r\n"


@dataclass(slots=True)
class _Pair:
    """A connection of a client, and the one that stands for it at the server."""

    near: socket.socket
    far: socket.socket
    breaks_off_request: bool = False
    breaks_off_answer: bool = False

    def break_off(self) -> None:
        # A thread that waits in `recv` would keep the connection of a closed socket alive.
        for one in (self.near, self.far):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


class Relay:
    """Listens on a port and passes everything on.

    Args:
        target: A Unix socket, or a port of this machine.
    """

    def __init__(self, target: Path | int) -> None:
        self._target = target
        self._open = threading.Event()
        self._open.set()
        self._pairs: list[_Pair] = []
        self._lock = threading.Lock()
        self._is_closed = False
        self._to_break_off: dict[bytes, deque[bool]] = {}
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Pass nothing on, in either direction, and tell nobody."""
        self._open.clear()

    def heal(self) -> None:
        """Pass on what has piled up, and all that comes."""
        self._open.set()

    def break_off(self, word: bytes) -> None:
        """Break off the next HTTP request whose head holds `word` in the middle of its body, and
        the one after in the middle of its answer.
        """
        self._to_break_off[word] = deque((False, True))

    @property
    def unbroken(self) -> set[bytes]:
        """The words of requests that still are to be broken off."""
        return {word for word, left in self._to_break_off.items() if left}

    def close(self) -> None:
        self._listening.close()
        with self._lock:
            self._is_closed = True
        for pair in self._pairs:
            pair.break_off()
            pair.near.close()
            pair.far.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            self._open.wait()
            pair = self._pair(near)
            if pair is None:
                continue
            for pass_on in (self._pass_on_requests, self._pass_on_answers):
                threading.Thread(target=pass_on, args=(pair,), daemon=True).start()

    def _pair(self, near: socket.socket) -> _Pair | None:
        """Connect a client to the server; hang up where that, or the relay, is no more."""
        try:
            pair = _Pair(near, self._connect())
        except OSError:
            near.close()
            return None
        with self._lock:
            if not self._is_closed:
                self._pairs.append(pair)
                return pair
        near.close()
        pair.far.close()
        return None

    def _connect(self) -> socket.socket:
        if isinstance(self._target, int):
            return socket.create_connection(("127.0.0.1", self._target))
        far = socket.socket(socket.AF_UNIX)
        far.connect(str(self._target))
        return far

    def _pass_on_requests(self, pair: _Pair) -> None:
        with suppress(OSError):
            while data := pair.near.recv(65536):
                self._open.wait()
                self._mark(pair, data)
                if not pair.breaks_off_request:
                    pair.far.sendall(data)
                    continue
                head = data.find(_END_OF_HEAD) + len(_END_OF_HEAD)
                if head == len(data):
                    # The body comes in a piece of its own.
                    pair.far.sendall(data)
                    continue
                pair.far.sendall(data[: (max(head, 0) + len(data)) // 2])
                pair.break_off()
            pair.far.shutdown(socket.SHUT_WR)

    def _pass_on_answers(self, pair: _Pair) -> None:
        with suppress(OSError):
            while data := pair.far.recv(65536):
                self._open.wait()
                if pair.breaks_off_answer:
                    pair.near.sendall(data[: len(data) // 2])
                    pair.break_off()
                    return
                pair.near.sendall(data)
            pair.near.shutdown(socket.SHUT_WR)

    def _mark(self, pair: _Pair, data: bytes) -> None:
        """See whether a request begins that shall be broken off."""
        head = data[: data.find(_END_OF_HEAD)]
        for word, left in self._to_break_off.items():
            if word in head and left:
                if left.popleft():
                    pair.breaks_off_answer = True
                else:
                    pair.breaks_off_request = True
                return

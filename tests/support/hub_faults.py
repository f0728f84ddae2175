"""The faults a simulated hub can show, and the sender which puts a reply on the wire, healthy or spoilt."""

import http.client
import json
import re
import select
import socket
import socketserver
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, Self

if sys.platform == "linux":
    import fcntl
    import termios

Count = Callable[[int], None]
Answer = Callable[[BaseHTTPRequestHandler], bool]
PIECE = 1 << 20  # what is in memory of a file at any moment
BODILESS = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)  # HTTP forbids a body here, and clients trip over one
_FRAMING = {"content-length", "transfer-encoding"}  # a Status fault may bring its own


@dataclass(frozen=True)
class _Plain:
    pass


@dataclass(frozen=True)
class _AtByte:
    n_bytes: int  # counted from the start of this response's body, also when it continues a file


@dataclass(frozen=True)
class Status:
    """Another answer than the healthy one, such as ``Status(429, {"Retry-After": "1"})``."""

    code: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class StallAfter(_AtByte):
    """Healthy headers and the first n bytes of the body, then silence on an open connection."""


class CutAfter(_AtByte):
    """Healthy headers and the first n bytes of the body, then a connection reset."""


class Truncated(_AtByte):
    """Healthy headers and the first n bytes of the body, then an orderly end of the connection."""


class ShortWithMatchingHeader(_AtByte):
    """Only the first n bytes of the body, with a Content-Length which says n as well."""


@dataclass(frozen=True)
class Longer:
    """The body, then extra zero bytes, with a Content-Length which counts them too."""

    extra: int


class WrongBytes(_Plain):
    """The right length, but the byte in the middle of the body is flipped."""


@dataclass(frozen=True)
class SlowDrip:
    """The header at once, the body in tiny pieces: no single read of a client times out."""

    bytes_per_second: float


@dataclass(frozen=True)
class DripHeaders:
    """The response header itself comes a byte at a time; the body after it is healthy."""

    seconds_between: float


class RedirectLoop(_Plain):
    """A redirect to the very address that was asked for."""


class Silence(_Plain):
    """The request is taken and never answered."""


class Garbage(_Plain):
    """The answer is not HTTP."""


class IgnoreRange(_Plain):
    """A Range request is answered with 200 and the whole body."""


class WrongRange(_Plain):
    """A Range request is answered with a 206 which starts elsewhere than asked, as its Content-Range says."""


BodyFault = StallAfter | CutAfter | Truncated | ShortWithMatchingHeader | Longer | WrongBytes | SlowDrip
RangeFault = IgnoreRange | WrongRange
Fault = Status | BodyFault | RangeFault | DripHeaders | RedirectLoop | Silence | Garbage


@dataclass(frozen=True)
class Content:
    """Some bytes to send: all of the source, or a part of it."""

    source: bytes | Path
    length: int
    start: int = 0

    @classmethod
    def of(cls, source: bytes | Path) -> Self:
        return cls(source, source.stat().st_size if isinstance(source, Path) else len(source))

    def pieces(self, limit: int | None = None) -> Iterator[bytes]:
        """Yield the first `limit` bytes of the content, or all of it, without ever holding a whole file."""
        end = self.start + (self.length if limit is None else min(limit, self.length))
        if isinstance(self.source, bytes):
            for offset in range(self.start, end, PIECE):
                yield self.source[offset : min(offset + PIECE, end)]
            return
        with self.source.open("rb") as stream:
            stream.seek(self.start)
            while (missing := end - stream.tell()) > 0:
                piece = stream.read(min(PIECE, missing))
                if not piece:
                    raise ValueError(f"{self.source} became shorter than it was when it was added")
                yield piece


@dataclass(frozen=True)
class Reply:
    """A healthy answer, before a fault spoils it. The length is added when it is sent."""

    status: int
    headers: Mapping[str, str]
    content: Content

    @classmethod
    def error(cls, status: int, code: str | None, message: str) -> Self:
        """Refuse as the Hub does; its client tells the errors apart by these two headers."""
        headers = {"Content-Type": "application/json; charset=utf-8", "X-Error-Message": message}
        if code is not None:
            headers["X-Error-Code"] = code
        return cls(status, headers, Content.of(json.dumps({"error": message}).encode()))

    @classmethod
    def redirect(cls, status: int, location: str, headers: Mapping[str, str]) -> Self:
        return cls(status, {**headers, "Location": location}, Content.of(f"Redirecting to {location}".encode()))

    def part(self, asked: str | None, fault: Fault | None) -> Self:
        """Turn the answer with a whole file into the one to a Range request, if this is one we understand."""
        size = self.content.length
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", asked or "")
        if match is None or match.group() == "bytes=-" or isinstance(fault, IgnoreRange):
            return self
        first, last = match.groups()
        start = int(first) if first else max(0, size - int(last))
        end = min(size, int(last) + 1) if first and last else size
        if start >= end:
            body = b"<Error><Code>InvalidRange</Code></Error>"
            return replace(self, status=416, headers={"Content-Range": f"bytes */{size}"}, content=Content.of(body))
        if isinstance(fault, WrongRange):
            start = start // 2 if start else min(1, end - 1)
        headers = {**self.headers, "Content-Range": f"bytes {start}-{end - 1}/{size}"}
        return replace(
            self, status=206, headers=headers, content=replace(self.content, start=start, length=end - start)
        )


class Wire:
    """One accepted connection, as the sender of replies sees it. The lock guards what the counting of bytes changes."""

    def __init__(self, connection: socket.socket, stopping: Event, lock: Lock) -> None:
        self._connection = connection
        self._stopping = stopping
        self._lock = lock

    def write(self, data: bytes, count: Count | None = None) -> None:
        """Send everything, and report each part to `count` as it leaves.

        A part is sent and counted under one lock: whoever holds a byte finds it counted.
        """
        rest = memoryview(data)
        while rest:
            try:
                with self._lock:
                    sent = self._connection.send(rest, socket.MSG_DONTWAIT)
                    if count is not None:
                        count(sent)
            except BlockingIOError:
                select.select([], [self._connection], [], 0.1)
            else:
                rest = rest[sent:]

    def pause(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise ConnectionAbortedError("the server is stopping")

    def wait_until_gone(self) -> None:
        """Say nothing until the client leaves or the server stops."""
        while not self._stopping.wait(0.02):
            try:
                if not self._connection.recv(PIECE, socket.MSG_DONTWAIT):
                    return
            except BlockingIOError:
                continue

    def reset(self) -> None:
        """Close the connection with a reset instead of an orderly end.

        A reset throws away what has not been delivered yet. The client would then see a random part of the bytes it
        was promised, so the reset waits until the client's side has them.
        """
        if sys.platform == "linux":
            while any(fcntl.ioctl(self._connection, termios.TIOCOUTQ, bytes(4))):
                self.pause(0.002)
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.close()


def transmit(wire: Wire, reply: Reply, fault: Fault | None, *, head_only: bool, count: Count | None) -> bool:
    """Send the reply, spoilt by the fault, and say whether the connection can carry another request."""
    if isinstance(fault, Silence):
        wire.wait_until_gone()
        return False
    if isinstance(fault, Garbage):
        wire.write(b"\x00\xff\xfethis is not HTTP\r\n\r\n")
        return False
    declared, sent = _lengths(reply.content.length, fault)
    _send_header(wire, reply, declared, fault)
    if not head_only and reply.status not in BODILESS:
        for piece in _spoilt(reply.content, sent, fault):
            if isinstance(fault, SlowDrip):
                _drip(wire, piece, fault.bytes_per_second, count)
            else:
                wire.write(piece, count)
    if isinstance(fault, StallAfter):
        wire.wait_until_gone()
    elif isinstance(fault, CutAfter):
        wire.reset()
    return not isinstance(fault, StallAfter | CutAfter | Truncated)


def _lengths(length: int, fault: Fault | None) -> tuple[int, int]:
    """How long the header says the body is, and how much of it is sent."""
    match fault:
        case StallAfter(n_bytes) | CutAfter(n_bytes) | Truncated(n_bytes):
            return length, min(n_bytes, length)
        case ShortWithMatchingHeader(n_bytes):
            return min(n_bytes, length), min(n_bytes, length)
        case Longer(extra):
            return length + extra, length + extra
    return length, length


def _send_header(wire: Wire, reply: Reply, declared: int, fault: Fault | None) -> None:
    lines = [f"HTTP/1.1 {reply.status} {http.client.responses.get(reply.status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in reply.headers.items()]
    if reply.status not in BODILESS and not {name.lower() for name in reply.headers} & _FRAMING:
        lines.append(f"Content-Length: {declared}")
    header = "\r\n".join([*lines, "", ""]).encode("latin-1")
    if not isinstance(fault, DripHeaders):
        wire.write(header)
        return
    for offset in range(len(header)):
        wire.write(header[offset : offset + 1])
        wire.pause(fault.seconds_between)


def _spoilt(content: Content, sent: int, fault: Fault | None) -> Iterator[bytes]:
    position, middle = 0, sent // 2
    for piece in content.pieces(sent):
        at = middle - position
        if isinstance(fault, WrongBytes) and 0 <= at < len(piece):
            yield piece[:at] + bytes([piece[at] ^ 0xFF]) + piece[at + 1 :]
        else:
            yield piece
        position += len(piece)
    while position < sent:
        padding = bytes(min(PIECE, sent - position))
        yield padding
        position += len(padding)


def _drip(wire: Wire, piece: bytes, bytes_per_second: float, count: Count | None) -> None:
    step = max(1, int(bytes_per_second / 20))
    for offset in range(0, len(piece), step):
        drop = piece[offset : offset + step]
        wire.write(drop, count)
        wire.pause(len(drop) / bytes_per_second)


class ConnectionServer(socketserver.TCPServer):
    """Accepts connections, serves each in a thread of its own, and can end all of them at once."""

    request_queue_size = 128  # with the usual 5, a burst of connections waits a second for a SYN to be repeated

    def __init__(self, serve: Callable[["ConnectionServer", socket.socket], None]) -> None:
        super().__init__(("127.0.0.1", 0), socketserver.BaseRequestHandler)
        self.port = int(self.socket.getsockname()[1])
        self.accepted = 0
        self.stopping = Event()
        self.failures: list[Exception] = []
        self._serve = serve
        self._lock = Lock()
        self._live: dict[socket.socket, Thread] = {}
        self._acceptor = Thread(target=partial(self.serve_forever, poll_interval=0.02), daemon=True)
        self._acceptor.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = Thread(target=self._serve_connection, args=(request,), daemon=True)
        with self._lock:
            self.accepted += 1
            self._live[request] = thread
        thread.start()

    def _serve_connection(self, connection: socket.socket) -> None:
        try:
            self._serve(self, connection)
        except (ConnectionError, TimeoutError):
            pass  # the client left, or a fault or the end of the test cut the connection
        except Exception as error:  # noqa: BLE001  # a thread cannot raise into the test; the simulator's end does
            self.failures.append(error)
        finally:
            self.shutdown_request(connection)
            with self._lock:
                del self._live[connection]

    def stop(self) -> None:
        self.stopping.set()
        self.shutdown()
        self._acceptor.join()
        self.server_close()
        with self._lock:
            live = dict(self._live)
        for connection in live:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # wakes a thread which waits to read or to write
        for thread in live.values():
            thread.join(timeout=1)


class SilentServer:
    """Accepts every connection and never answers, as a firewall or a broken proxy does."""

    _server: ConnectionServer

    def __enter__(self) -> Self:
        self._server = ConnectionServer(
            lambda server, connection: Wire(connection, server.stopping, Lock()).wait_until_gone()
        )
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.stop()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.port}"

    @property
    def accepted(self) -> int:
        return self._server.accepted


class RequestReader(BaseHTTPRequestHandler):
    """Reads the requests of one connection and has each answered, until an answer says that it was the last."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or a body after its header waits for the client's delayed acknowledgement

    def __init__(self, answer: Answer, connection: socket.socket, server: ConnectionServer) -> None:
        self._answer = answer
        super().__init__(connection, ("127.0.0.1", 0), server)

    def _respond(self) -> None:
        if not self._answer(self):
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _respond  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name in the base class
        """Keep quiet: what a test wants to know is in the simulator's record."""

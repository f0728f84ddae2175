from __future__ import annotations

import socket
import threading
from functools import partial

import pytest

from gates.request import FAILURES, Request, why
from tests.operations.gating import SECONDS, Recording, serving


def failure_of(request: Request) -> str:
    with pytest.raises(FAILURES) as caught:
        request.send()
    assert isinstance(caught.value, Exception)
    return why(caught.value)


def speaking(text: bytes) -> tuple[str, threading.Thread]:
    """Return the address of a server that sends a text to its one client, and the thread that it runs in."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener, listener.accept()[0] as connection:
            connection.recv(1 << 16)
            connection.sendall(text)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}/", thread


def test_a_right_answer_comes_back_whole() -> None:
    with serving(lambda number, body: (200, b"x" * 300_000)) as url:
        assert Request(url, expect="xx").send() == b"x" * 300_000


def test_bodies_are_sent_in_turn_with_post() -> None:
    seen: list[str] = []
    with serving(Recording(seen)) as url:
        for number in range(3):
            Request(url, ('{"a": 1}', '{"b": 2}')).send(number)
    assert seen == ['{"a": 1}', '{"b": 2}', '{"a": 1}']


@pytest.mark.parametrize("status", [302, 404, 429, 500, 503])
def test_every_status_but_a_success_is_a_failure(status: int) -> None:
    with serving(lambda number, body: (status, b"")) as url:
        assert failure_of(Request(url)) == f"status {status}"


def test_the_words_of_a_failure_are_kept() -> None:
    """Of a load balancer that has no replica, and of a replica that is busy."""
    html = b"<html><body><h1>503 Service Unavailable</h1>\nNo server is available.\n</body></html>\n"
    for body, words in ((html, "503 Service Unavailable No server is available."), (b"x" * 500, "x" * 80)):
        with serving(partial(refusing, body)) as url:
            assert failure_of(Request(url)) == f"status 503: {words}"


def refusing(answer: bytes, number: int, body: bytes) -> tuple[int, bytes]:
    return 503, answer


def test_a_success_without_the_expected_text_is_a_failure() -> None:
    """A stream whose status was sent before it failed."""
    with serving(lambda number, body: (200, b'{"phase": "error"}')) as url:
        assert failure_of(Request(url, expect='"phase": "sql"')) == "an answer without the expected text"


def test_no_answer_is_a_failure() -> None:
    with serving(lambda number, body: None) as url:
        assert failure_of(Request(url)) == "RemoteDisconnected"
    assert failure_of(Request(url)) == "ConnectionRefusedError"


@pytest.mark.parametrize(
    "text",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n",
    ],
)
def test_half_an_answer_is_a_failure(text: bytes) -> None:
    url, thread = speaking(text)
    assert failure_of(Request(url)) == "IncompleteRead"
    thread.join(SECONDS)


def test_an_answer_that_drips_is_a_failure_at_the_deadline() -> None:
    """Each byte is in time, and the whole is not."""
    listener, ended = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def drip() -> None:
        with listener, listener.accept()[0] as connection:
            connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            drops = 0
            while drops < 500 and not ended.wait(0.02):
                connection.sendall(b"x")
                drops += 1

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    assert failure_of(Request(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout=0.3)) == "TimeoutError"
    ended.set()
    thread.join(SECONDS)

"""One request, sent again and again."""

from __future__ import annotations

import http.client
import re
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from gates.verdict import UnmeasuredError

FAILURES = (OSError, http.client.HTTPException, UnmeasuredError)
"""What :meth:`Request.send` raises for an answer that does not come, or is not a right one."""


@dataclass(frozen=True)
class Request:
    """A request that is sent again and again, each time over a new connection.

    Attributes:
        url: http or https; proxies of the environment are not used.
        bodies: Sent in turn, as JSON, with POST; none for GET.
        timeout: Seconds within which an answer must be complete.
        expect: Text that the body of a right answer contains; a stream that breaks off does not.
    """

    url: str
    bodies: tuple[str, ...] = ()
    timeout: float = 10.0
    expect: str = ""

    def send(self, number: int = 0) -> bytes:
        """Return the answer's body.

        Raises:
            OSError, http.client.HTTPException, UnmeasuredError: There is no answer in time, or it is not a right one.
        """
        status, body = self.answer(number)
        if not 200 <= status < 300:  # noqa: PLR2004 - the range of HTTP's successes
            # A load balancer's own answers and those of the service have the same status, and other words.
            words = " ".join(re.sub(rb"<[^>]*>", b" ", body[:400]).decode(errors="replace").split())[:80]
            raise UnmeasuredError(f"status {status}: {words}".rstrip(": "))
        if self.expect.encode() not in body:
            raise UnmeasuredError("an answer without the expected text")
        return body

    def answer(self, number: int = 0) -> tuple[int, bytes]:
        """Return the status and the body of any answer."""
        deadline = time.monotonic() + self.timeout
        parts = urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=self.timeout)
        try:
            body = self.bodies[number % len(self.bodies)].encode() if self.bodies else None
            headers = {"Connection": "close", **({} if body is None else {"Content-Type": "application/json"})}
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("GET" if body is None else "POST", target, body, headers)
            response = connection.getresponse()
            pieces = []
            while piece := response.read1(1 << 16):
                pieces.append(piece)
                if time.monotonic() > deadline:
                    raise TimeoutError
            if response.length:  # read1 does not complain about an answer that is shorter than it said
                raise http.client.IncompleteRead(b"".join(pieces), response.length)
            return response.status, b"".join(pieces)
        finally:
            connection.close()


def why(error: Exception) -> str:
    """Return the kind of a failure, for counting."""
    return str(error) if isinstance(error, UnmeasuredError) else type(error).__name__

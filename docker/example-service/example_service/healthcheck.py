"""Ask ``/ready`` of the service in this container, for Docker's HEALTHCHECK: the exit status is 0 when it is ready."""

from __future__ import annotations

import http.client
import os
import sys

SECONDS = 4.0


def main() -> int:
    """Return 0 if the service is ready, else 1; print its answer, which ``docker inspect`` shows."""
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("SERVICE_PORT", "8020")), timeout=SECONDS)
    try:
        connection.request("GET", "/ready")
        answer = connection.getresponse()
        print(answer.read().decode(errors="replace"))  # noqa: T201 - the engine stores it
    except OSError as error:
        print(f"no answer: {error}")  # noqa: T201 - the engine stores it
        return 1
    finally:
        connection.close()
    return 0 if answer.status == http.client.OK else 1


if __name__ == "__main__":
    sys.exit(main())

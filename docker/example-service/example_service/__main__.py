"""Run the service: ``python -m example_service``."""

from __future__ import annotations

import os

import uvicorn

from example_service.app import create_app

PORT = 8020

if __name__ == "__main__":
    # One process: it uses all the cores it may use, and each further one would hold a model of its own.
    uvicorn.run(
        create_app(),
        host=os.environ.get("SERVICE_HOST", "0.0.0.0"),  # noqa: S104 - a container listens on all its interfaces
        port=int(os.environ.get("SERVICE_PORT", PORT)),
        timeout_graceful_shutdown=5,
    )

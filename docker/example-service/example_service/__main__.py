"""Run the service: ``python -m example_service``."""

from __future__ import annotations

import os

from example_service.app import create_app
from example_service.draining import Draining, make_server
from example_service.settings import Settings

PORT = 8020

if __name__ == "__main__":
    settings, draining = Settings.from_environment(os.environ), Draining()
    # One process: it uses all the cores it may use, and each further one would hold a model of its own.
    make_server(
        create_app(settings, draining=draining),
        settings,
        draining,
        host=os.environ.get("SERVICE_HOST", "0.0.0.0"),  # noqa: S104 - a container listens on all its interfaces
        port=int(os.environ.get("SERVICE_PORT", PORT)),
    ).run()

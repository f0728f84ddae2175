"""What the environment must have."""

import logging
import os

REQUIRED_VARS = ["DJANGO_API_KEY", "EMBEDDING_PROVIDER", "EMBEDDING_MODEL", "EMBEDDING_API_KEY"]


def validate_environment() -> bool:
    """Return whether all variables are there, and log which are not."""
    missing = [name for name in REQUIRED_VARS if not os.getenv(name)]
    for name in missing:
        logging.getLogger(__name__).error("Required environment variable %r is not set", name)
    return not missing

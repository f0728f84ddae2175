"""Settings of the service."""

import os

SECRET_KEY = os.environ.get("SECRET_KEY", "for development only")
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["thoth_be"]
ROOT_URLCONF = "thoth_be.urls"
DATABASES: dict[str, dict[str, str]] = {}
USE_TZ = True

EMBEDDING_MODEL = os.environ.get("EMBEDDING_MODEL", "sentence-transformers/all-MiniLM-L6-v2")
INDEX_FILE = os.environ.get("INDEX_FILE", "index.npz")

"""Django's settings."""

import os

SECRET_KEY = os.environ.get("SECRET_KEY")
API_KEY = os.environ.get("DJANGO_API_KEY")
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["thoth_core", "thoth_ai_backend"]
ROOT_URLCONF = "Thoth.urls"
WSGI_APPLICATION = "Thoth.wsgi.application"
DATABASES: dict = {}
USE_TZ = True

#!/bin/bash
# Takes no arguments, and needs the key in the volume of secrets.
set -e
if [ -f "/secrets/django_api_key" ]; then
    export DJANGO_API_KEY=$(cat /secrets/django_api_key)
else
    echo "ERROR: Django API_KEY not found at /secrets/django_api_key"
    exit 1
fi
cd /app
exec /app/.venv/bin/python run_server.py ${PORT:-8001}

#!/bin/bash
# Starts the service with the flags of its image; the address and the number of workers can be set.
set -e
exec gunicorn \
    --bind ${BIND:-0.0.0.0:8000} \
    --workers ${WORKERS:-4} \
    --threads 2 \
    --worker-class sync \
    --worker-tmp-dir /dev/shm \
    --timeout 120 \
    --graceful-timeout 30 \
    --max-requests 1000 \
    --max-requests-jitter 50 \
    Thoth.wsgi:application

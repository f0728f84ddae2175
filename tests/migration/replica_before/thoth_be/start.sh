#!/bin/sh
# The index is made by a process of its own when the container starts for the first time.
set -eu
[ -e "$INDEX_FILE" ] || python manage.py index_documents
exec gunicorn thoth_be.wsgi

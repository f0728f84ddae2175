"""Four workers with two threads each, as long as nobody says otherwise."""

import os

bind = f"0.0.0.0:{os.environ.get('PORT', '8000')}"
workers = int(os.environ.get("WEB_CONCURRENCY", "4"))
threads = 2
timeout = 120
max_requests = 1000

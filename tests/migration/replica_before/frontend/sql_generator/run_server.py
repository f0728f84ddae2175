"""Runs the service; its port is the argument."""

import sys

if __name__ == "__main__":
    import uvicorn

    from main import app

    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8180
    uvicorn.run(app, host="0.0.0.0", port=port, log_level="warning")

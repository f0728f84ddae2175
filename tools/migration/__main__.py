"""``python -m tools.migration [--cache DIR] [--check]``: write the audit, or check it against the wheels."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tools.migration.audit import PAGE, audit
from tools.migration.wheels import WheelError


def main(arguments: list[str] | None = None) -> int:
    """Write the page, or check it. Return 0 if all is well, 1 if the page differs, 2 if a wheel is not usable."""
    parser = argparse.ArgumentParser(prog="python -m tools.migration", description=__doc__)
    parser.add_argument("--cache", type=Path, default=Path(".cache/wheels"), help="where the wheels are kept")
    parser.add_argument("--check", action="store_true", help="write nothing; compare")
    options = parser.parse_args(arguments)
    try:
        page = audit(options.cache)
    except WheelError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if not options.check:
        PAGE.write_text(page, encoding="utf-8")
        return 0
    if PAGE.read_text(encoding="utf-8") == page:
        return 0
    sys.stderr.write(f"{PAGE}: expected what the wheels say, found something else; run python -m tools.migration\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())

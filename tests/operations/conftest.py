"""The gates are a folder that people copy, and no distribution that could be installed."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "operations"))

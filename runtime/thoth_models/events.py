"""Events in the log: one line for each load, fallback, eviction and refusal of a model, all by one logger.

And one for each bundle that was used although its signature is missing or not trusted (``THOTH_TRUST_POLICY=warn``).

A line is the event and its fields, such as ``load model=mini variant=onnx-fp32 seconds=0.091``. The fields are
attributes of the log record as well, for structured logging.
"""

from __future__ import annotations

import json
import logging
import re
from typing import Literal

Event = Literal["load", "fallback", "eviction", "refusal", "signature"]

_log = logging.getLogger(__name__)

_LEVELS: dict[Event, int] = {
    "load": logging.INFO,
    "eviction": logging.INFO,
    "fallback": logging.WARNING,
    "refusal": logging.WARNING,
    "signature": logging.WARNING,
}


def log_event(event: Event, **fields: str | float) -> None:
    """Log an event: loads and evictions as INFO; fallbacks, refusals and missing signatures as WARNING."""
    if _log.isEnabledFor(_LEVELS[event]):
        line = " ".join((event, *(f"{name}={_written(value)}" for name, value in fields.items())))
        _log.log(_LEVELS[event], "%s", line, extra={"event": event, **fields})


def _written(value: str | float) -> str:
    """Return a value as one token of the line; quoted as in JSON if it has spaces or other special characters."""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return text if re.fullmatch(r"[\w./:+-]+", text, re.ASCII) else json.dumps(text, ensure_ascii=False)

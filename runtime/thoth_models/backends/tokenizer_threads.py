"""The threads of `tokenizers`: where the system refuses them, texts are tokenised without, by both backends."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, TypeVar

from thoth_models.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_log = logging.getLogger(__name__)

_PARALLELISM = "TOKENIZERS_PARALLELISM"
"""Whether `tokenizers` uses threads; it reads the variable at each call."""

_REFUSED = "ThreadPoolBuildError"

_NO_REASON = "GlobalPoolAlreadyInitialized"

_cause: str | None = None
"""Why `tokenizers` got no threads; without the reason while only calls that came later have failed."""


def is_panic(error: BaseException) -> bool:
    """Return whether Rust code panicked. That is a BaseException, and its class cannot be imported."""
    return type(error).__name__ == "PanicException"


def with_or_without_threads(tokenize: Callable[[], T]) -> T:
    """Return what ``tokenize`` returns; if `tokenizers` gets no threads, call it again without them.

    `tokenizers` starts its threads at the first call of a process. If the system refuses one (a limit on processes, of
    the user or of the container), that call fails with the reason, and every later one only says that there was a call
    before. So the reason is logged, and the process tokenises without these threads from then on.

    Raises:
        BackendError: It fails without threads as well; the message has the first reason.
    """
    try:
        return tokenize()
    except BaseException as error:
        if not is_refusal(error):
            raise
        _keep_reason(str(error))
        _log.warning("tokenizers got no threads, so texts are tokenised without: %s", _cause)
    os.environ[_PARALLELISM] = "false"
    try:
        return tokenize()
    except BaseException as error:
        if not is_refusal(error):
            raise
        _keep_reason(str(error))
        raise BackendError(f"tokenizers could not start its threads: {_cause}") from error


def is_refusal(error: BaseException) -> bool:
    """Return whether `tokenizers` failed because it got no threads."""
    return is_panic(error) and _REFUSED in str(error)


def _keep_reason(message: str) -> None:
    # Of two threads whose first calls fail at once, one gets the reason, and either may come here first.
    global _cause  # noqa: PLW0603 - the reason is that of the process
    if _cause is None or _NO_REASON in _cause:
        _cause = message

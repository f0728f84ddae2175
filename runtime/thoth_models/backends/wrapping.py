"""The wrappers around a loaded backend, and their order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thoth_models.backends.counting_backend import CountingBackend
from thoth_models.backends.fork_safe import ForkSafeBackend

if TYPE_CHECKING:
    from collections.abc import Callable

    from thoth_models.process.task import Task
    from thoth_models.types import Backend


def wrap_backend(
    backend: Backend,
    reload: Callable[[], Task[Backend]],
    *,
    batches: bool = False,
    count: Callable[..., None] | None = None,
) -> Backend:
    """Return a loaded backend in its wrappers.

    A call passes them in this order:

    1. LeasedBackend keeps the model loaded for one caller; a manager adds it around the result, for each lease.
    2. CountingBackend counts the call, including the time that it waits.
    3. BatchingBackend joins it with other calls.
    4. ForkSafeBackend loads the model again in a child of fork.
    5. The backend computes.

    Args:
        backend: The backend that this process loaded.
        reload: Returns the task of loading it again.
        batches: Whether to join small calls.
        count: Called with the amounts that each call adds to the statistics; None for no statistics.
    """
    wrapped: Backend = ForkSafeBackend(backend, reload)
    if batches:
        # numpy takes longer to import than everything else, so it is imported while files are hashed, not before.
        from thoth_models.backends.batching_backend import BatchingBackend  # noqa: PLC0415

        wrapped = BatchingBackend(wrapped)
    return wrapped if count is None else CountingBackend(wrapped, count)

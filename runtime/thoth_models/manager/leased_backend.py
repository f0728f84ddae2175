"""The wrapper that keeps a model loaded for one caller, in a child of ``fork`` as well."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from thoth_models.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from thoth_models.loading.tasks import Loaded
    from thoth_models.manager.pool import Lease
    from thoth_models.types import FloatArray


@final
class LeasedBackend:
    """The backend of a model that stays loaded until :meth:`release`, or while this object lives. Threads may share it.

    A child of ``fork`` drops the leases of its parent, because most belong to threads that the child does not have. So
    the first call in a child leases the same model again, and waits for memory if other models have taken it.

    Args:
        lease: The lease.
        again: Leases the same model again.
    """

    def __init__(self, lease: Lease[Loaded], again: Callable[[], Lease[Loaded]]) -> None:
        self._lease: Lease[Loaded] | None = lease
        self._again = again

    def encode(
        self, texts: list[str], *, prompt: str | None, batch_size: int | None, show_progress_bar: bool
    ) -> FloatArray:
        """Return the backend's vectors of these texts.

        Raises:
            InvalidInputError: The lease was released.
            MemoryBudgetError: This is a child, and models in use left no memory within the deadline.
            ManagerClosedError: This is a child, and the manager was closed before the first call in it.
            ThothModelsError: This is a child, and the model could not be loaded again.
        """
        lease = self._lease
        if lease is not None and lease.is_forgotten:
            # If several threads get here at once, each takes a lease; one is kept, and the others are released.
            lease = self._lease = self._again()
        if lease is None:
            raise InvalidInputError(
                "embedding: expected a call inside its `with` block, found one after the end of the block; "
                "get_model returns an embedding that stays usable"
            )
        return lease.thing.backend.encode(
            texts, prompt=prompt, batch_size=batch_size, show_progress_bar=show_progress_bar
        )

    def release(self) -> None:
        """Release the lease. A second call does nothing."""
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.release()

"""A model in use: the use counts in a child of ``fork`` as well, and ends when its user ends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from thoth_models.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from thoth_models.embedding import FloatArray
    from thoth_models.loads import Loaded
    from thoth_models.pool import Lease


@final
class KeptBackend:
    """The backend of a model that stays loaded until :meth:`release`, or while this is there. Threads may share it.

    A child of ``fork`` forgets the uses of its parent, most of which are of threads that it does not have. So the first
    call in a child takes the same model again: it waits for room, where others took it, and is in use from then on.

    Args:
        lease: The use.
        again: Takes the same model again.
    """

    def __init__(self, lease: Lease[Loaded], again: Callable[[], Lease[Loaded]]) -> None:
        self._lease: Lease[Loaded] | None = lease
        self._again = again

    def encode(
        self, texts: list[str], *, prompt: str | None, batch_size: int | None, show_progress_bar: bool
    ) -> FloatArray:
        """Return what the backend gives for these texts.

        Raises:
            InvalidInputError: The use has ended.
            MemoryBudgetError: This is a child, and what others use there left no room within the deadline.
            ManagerClosedError: This is a child, and the manager was closed before the first call in it.
            ThothModelsError: This is a child, and the model could not be loaded again.
        """
        lease = self._lease
        if lease is not None and lease.is_forgotten:
            # Of threads that come here at once, each takes one, and one is kept; the others end by themselves.
            lease = self._lease = self._again()
        if lease is None:
            raise InvalidInputError(
                "embedding: expected a call within the `with` statement that it is of, found one after the end of "
                "that; get_model returns an embedding that stays"
            )
        return lease.thing.backend.encode(
            texts, prompt=prompt, batch_size=batch_size, show_progress_bar=show_progress_bar
        )

    def release(self) -> None:
        """End the use. A second call does nothing."""
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.release()

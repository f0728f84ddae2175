"""A model that a caller keeps: its use counts in a child of ``fork`` as well."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from collections.abc import Callable

    from thoth_models.embedding import FloatArray
    from thoth_models.loads import Loaded
    from thoth_models.pool import Lease


@final
class KeptBackend:
    """The backend of a model that stays loaded as long as this is there. Threads may share it.

    A child of ``fork`` forgets the uses of its parent, most of which are of threads that it does not have. So the first
    call in a child takes the same model again: it waits for room, where others took it, and is in use from then on.

    Args:
        lease: The use.
        again: Takes the same model again.
    """

    def __init__(self, lease: Lease[Loaded], again: Callable[[], Lease[Loaded]]) -> None:
        self._lease = lease
        self._again = again

    def encode(
        self, texts: list[str], *, prompt: str | None, batch_size: int | None, show_progress_bar: bool
    ) -> FloatArray:
        """Return what the backend gives for these texts.

        Raises:
            MemoryBudgetError: This is a child, and what others use there left no room within the deadline.
            ThothModelsError: This is a child, and the model could not be loaded again.
        """
        lease = self._lease
        if lease.is_forgotten:
            # Of threads that come here at once, each takes one, and one is kept; the others end by themselves.
            lease = self._lease = self._again()
        return lease.thing.backend.encode(
            texts, prompt=prompt, batch_size=batch_size, show_progress_bar=show_progress_bar
        )

"""Types that several packages share: vectors, and the interface of a backend. Imports nothing at run time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FloatArray: TypeAlias = "NDArray[np.float32]"


class Backend(Protocol):
    """Turns texts into raw vectors."""

    def encode(
        self, texts: list[str], *, prompt: str | None, batch_size: int | None, show_progress_bar: bool
    ) -> FloatArray:
        """Return the model's own output for at least one text: float32 of shape (len(texts), dimension), in order.

        ``prompt`` is added before every text; None and the empty string both mean no prompt. ``batch_size`` is the
        maximum number of texts to run at once; None lets the backend choose.
        """
        ...

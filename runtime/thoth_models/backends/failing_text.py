"""Find the text of a batch that makes a graph or a library fail, so that an error names its index.

The texts of the failed batch are run again, in halves: every time the half that fails is divided further. So the search
takes at most as long as two more runs of the batch, and happens only after an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from thoth_models.backends.tokenizer_threads import is_refusal
from thoth_models.errors import BackendError, InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

_OF_MEMORY: Final = ("alloc", "out of memory")
"""Parts of messages about memory, in lower case: of onnxruntime's arena, of torch's allocator, of `std::bad_alloc`."""


def run_texts(indices: Sequence[int], run: Callable[[Sequence[int]], T], *, first: int = 0) -> T:
    """Return what ``run`` returns for a batch; if it fails because of one of the texts, name that text in the error.

    Args:
        indices: The texts of the batch, by index.
        run: Runs texts.
        first: Number to add to an index, so that it is that in the caller's list.

    Raises:
        BackendError: ``run`` failed. The message begins with the index of the text, unless the error is about memory
            or threads, or no text fails alone, or every part of the batch fails, as without a working library.
    """
    try:
        return run(indices)
    except BackendError as error:
        found = _failing(indices, run) if _may_be_of_texts(error) else None
        if found is None:
            raise
        raise BackendError(f"texts[{first + found}]: {error}") from error


def expect_tokens(lengths: Sequence[int], *, first: int = 0) -> None:
    """Refuse a text without tokens: a transformer computes nothing from none, and neither does sentence-transformers.

    Args:
        lengths: Number of tokens of each text.
        first: Number to add to an index, so that it is that in the caller's list.

    Raises:
        InvalidInputError: A text has no tokens; the message has its index.
    """
    if 0 in lengths:
        raise InvalidInputError(
            f"texts[{first + list(lengths).index(0)}]: expected at least one token, found none: this model's tokenizer "
            "adds no special tokens, so that an empty text has no vector"
        )


def _failing(indices: Sequence[int], run: Callable[[Sequence[int]], object]) -> int | None:
    """Return the text that fails alone; None if none does, or if all parts of the batch fail alike."""
    is_one_of_many = len(indices) == 1
    while len(indices) > 1:
        half = len(indices) // 2
        failed = [part for part in (indices[:half], indices[half:]) if _fails(part, run)]
        if not failed:
            return None
        is_one_of_many = is_one_of_many or len(failed) == 1
        indices = failed[0]
    return indices[0] if is_one_of_many else None


def _fails(part: Sequence[int], run: Callable[[Sequence[int]], object]) -> bool:
    try:
        run(part)
    except BackendError:
        return True
    return False


def _may_be_of_texts(error: BackendError) -> bool:
    cause = error.__cause__
    if isinstance(cause, MemoryError) or (cause is not None and is_refusal(cause)):
        return False
    return not any(part in str(cause).lower() for part in _OF_MEMORY)

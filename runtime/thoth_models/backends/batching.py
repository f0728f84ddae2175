"""Form batches: which texts run together, and the input arrays for them. Pure: texts and numbers in, numbers out.

Padding costs as much as text, so texts of similar length run together, and each batch is padded to its own longest
text.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

IntArray: TypeAlias = "NDArray[np.int64]"


def blocks(
    texts: Sequence[str], *, most_texts: int, most_characters: int, prompt: str | None = None
) -> Iterator[range]:
    """Divide ``texts`` into consecutive blocks that are tokenised at once.

    A block has at most ``most_texts`` texts. It ends before the text that would make it exceed ``most_characters``,
    unless that text is its only one. The characters of ``prompt`` count for each text.
    """
    added = len(prompt or "")
    start = characters = 0
    for index, text in enumerate(texts):
        length = added + len(text)
        characters += length
        if index > start and (index - start == most_texts or characters > most_characters):
            yield range(start, index)
            start, characters = index, length
    if start < len(texts):
        yield range(start, len(texts))


def batches(lengths: Sequence[int], *, most_tokens: int, most_texts: int | None = None) -> Iterator[list[int]]:
    """Divide texts of the given ``lengths`` in tokens into batches, as positions in ``lengths``.

    The longest texts come first, so that the batch that needs most memory runs first. A batch, padded to its longest
    text, has at most ``most_tokens`` tokens unless one text alone has more, and at most ``most_texts`` texts.
    """
    order = sorted(range(len(lengths)), key=lambda position: -lengths[position])
    start = 0
    while start < len(order):
        count = max(1, most_tokens // max(1, lengths[order[start]]))
        if most_texts is not None:
            count = min(count, most_texts)
        yield order[start : start + count]
        start += count


@dataclass(frozen=True, kw_only=True, slots=True)
class Padding:
    """The padding of a batch.

    Attributes:
        token_id: Token id of the padding.
        token_type_id: Segment of the padding.
        side: Whether padding is added after the tokens or before them.
    """

    token_id: int
    token_type_id: int
    side: Literal["left", "right"]

    def arrays(
        self, inputs: Sequence[str], ids: list[list[int]], type_ids: list[list[int]], *, prompt_length: int = 0
    ) -> dict[str, IntArray]:
        """Return the named ``inputs`` of a model for one batch.

        Args:
            inputs: The inputs of the model: some of ``input_ids``, ``attention_mask``, ``token_type_ids`` and
                ``pooling_mask``.
            ids: The token ids of each text; may be empty.
            type_ids: The segment of each token of each text; used only if the model has ``token_type_ids``.
            prompt_length: How many tokens at the start of each text are excluded in ``pooling_mask``.

        Returns:
            By name, int64 of shape (texts, tokens of the longest text, but at least 1).
        """
        lengths = np.array([len(row) for row in ids])[:, np.newaxis]
        # At least one column, because operators treat arrays without columns differently.
        places = np.arange(max(1, lengths.max()))[np.newaxis, :]
        starts = places.size - lengths if self.side == "left" else np.zeros_like(lengths)
        mask = (places >= starts) & (places < starts + lengths)
        result: dict[str, IntArray] = {}
        for name in inputs:
            if name == "attention_mask":
                result[name] = mask.astype(np.int64)
            elif name == "pooling_mask":
                result[name] = (mask & (places >= starts + prompt_length)).astype(np.int64)
            elif name == "token_type_ids":
                result[name] = _filled(mask, type_ids, self.token_type_id)
            else:
                result[name] = _filled(mask, ids, self.token_id)
        return result


def _filled(mask: NDArray[np.bool_], rows: list[list[int]], padding: int) -> IntArray:
    """Return an array with the values of ``rows``, row by row, where ``mask`` is true, and ``padding`` elsewhere."""
    array = np.full(mask.shape, padding, dtype=np.int64)
    array[mask] = np.fromiter(itertools.chain.from_iterable(rows), dtype=np.int64)
    return array

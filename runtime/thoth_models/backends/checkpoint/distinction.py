"""Whether a loaded tokenizer tells texts apart: it has a vocabulary, and a text has room beside special tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROBE: Final = "The quick brown fox, 1234567890 % of the river's water? été год 日本語 اللغة"
"""A text of which every vocabulary has some pieces: Latin letters, digits and punctuation, and other scripts."""


def distinction_faults(tokenizer: Any, longest: float | None) -> Iterator[str]:  # noqa: ANN401
    """Yield what makes a model give one vector to all texts, or take texts of any length.

    A library makes an empty vocabulary where it does not find the file of one. And ``tokenizers`` truncates nothing if
    the maximum is less than the number of special tokens; if both are equal, nothing but these is left of a text.

    Args:
        tokenizer: That of transformers or of ``tokenizers``; None for code of a model's own that has none.
        longest: Longest text in tokens, with special tokens; None or infinite for no limit.
    """
    if tokenizer is None:
        return
    if callable(tokenizer):
        usual, special = _ids(tokenizer, _PROBE), set(tokenizer.all_special_ids)
    else:
        usual = tokenizer.encode(_PROBE, add_special_tokens=False).ids
        special = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    if len(set(usual) - special) <= 1:
        yield f"expected a tokenizer with a vocabulary, found one that makes {sorted(set(usual))} of any text"
    if longest is None or not callable(tokenizer):
        return
    added = len(_ids(tokenizer, ""))
    if longest <= added:
        yield (
            f"expected a max_seq_length of at least {added + 1}, because the tokenizer adds {added} special tokens to "
            f"each text, found {longest}"
        )


def _ids(tokenizer: Any, text: str) -> list[int]:  # noqa: ANN401
    ids: list[int] = tokenizer(text, verbose=False)["input_ids"]
    return ids

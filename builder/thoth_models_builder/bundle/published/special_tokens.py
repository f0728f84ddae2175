"""How many special tokens a tokenizer adds to a text, and a longest text that has room for more than these. Pure.

If the maximum is less, ``tokenizers`` truncates nothing, so that texts of any length reach the model; if both are
equal, nothing is left of a text. A build and the runtime ask the loaded tokenizer; this is what its file says before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from thoth_models_builder.errors import UnsupportedKeyError
from thoth_models_builder.spec.variants import path_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from thoth_models_builder.bundle.model_files import ModelFiles

_FAST: Final = "tokenizer.json"
_TWO: Final = ("BertProcessing", "RobertaProcessing")
"""Post-processors of ``tokenizers`` that add one special token before a text and one after it."""


def refuse_without_room(files: ModelFiles, directory: str, max_seq_length: int | None) -> None:
    """Refuse a maximum length that special tokens alone fill.

    Args:
        files: The files of the model. Without ``tokenizer.json``, nothing is refused.
        directory: Directory of the first module; empty for the top.
        max_seq_length: Longest text in tokens, with special tokens; None for no limit.

    Raises:
        UnsupportedKeyError: The maximum is too small; the message has the smallest one.
    """
    path = path_in(directory, _FAST)
    if max_seq_length is None or path not in files.digests:
        return
    added = _added(files.json(path, dict, is_large=True).get("post_processor"))
    if max_seq_length <= added:
        raise UnsupportedKeyError(
            f"max_seq_length: expected at least {added + 1}, because the tokenizer adds {added} special tokens to each "
            f"text ({path}), found {max_seq_length}"
        )


def _added(processor: object) -> int:
    """Return how many tokens a post-processor adds to a single text; what is malformed adds none."""
    added, waiting = 0, [processor]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, dict):
            continue
        waiting += _listed(one.get("processors"))  # of a Sequence
        if one.get("type") in _TWO:
            added += 2
        tokens = one.get("special_tokens")
        pieces = (piece.get("SpecialToken") for piece in _listed(one.get("single")) if isinstance(piece, dict))
        added += sum(_ids(tokens, piece) for piece in pieces if isinstance(tokens, dict) and isinstance(piece, dict))
    return added


def _ids(tokens: Mapping[str, Any], piece: Mapping[str, Any]) -> int:
    token = tokens.get(str(piece.get("id")))
    return len(_listed(token.get("ids"))) if isinstance(token, dict) else 0


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []

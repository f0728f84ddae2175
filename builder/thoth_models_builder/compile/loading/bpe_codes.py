"""Convert tokenizers that are Python code, those of PhoBERT and BERTweet, from ``vocab.txt`` and ``bpe.codes``.

Their merges pass through pieces that the vocabulary does not have. Where such a piece remains, its token is the unknown
one. A model of ``tokenizers`` needs an id for each piece, so these get ids beyond the vocabulary, and the graph
replaces such ids by that of the unknown token: :class:`Unlisted` says which.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any, Final

import transformers as untyped_transformers
from tokenizers import Regex, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import Split
from tokenizers.processors import TemplateProcessing

_transformers: Any = untyped_transformers

_END: Final = "</w>"
"""Ends the last piece of a word in ``bpe.codes``. In ``vocab.txt`` all other pieces end with the mark below instead."""
_GOES_ON: Final = "@@"
_WORD: Final = r"[^\s\x1c-\x1f]+\n?"
r"""What these tokenizers call a word, ``\S+\n?``; to Python, unlike to this library, four control characters are white
space."""
_PAIR: Final = 2
"""Pieces that a merge joins. The library also keeps lines of ``bpe.codes`` that have fewer, and never applies them."""


@dataclass(frozen=True, slots=True)
class Unlisted:
    """Ids of pieces that the vocabulary does not have: all from ``first`` on stand for the token ``unknown``."""

    first: int
    unknown: int


_converted: Final[weakref.WeakKeyDictionary[Any, tuple[Tokenizer, Unlisted]]] = weakref.WeakKeyDictionary()
"""What came of a tokenizer before: a vocabulary has some 64,000 tokens."""


def is_convertible(tokenizer: object) -> bool:
    """Return whether a tokenizer is one of these. BERTweet's own normalisation needs other packages, and is not."""
    kinds = (_transformers.PhobertTokenizer, _transformers.BertweetTokenizer)
    return isinstance(tokenizer, kinds) and not getattr(tokenizer, "normalization", False)


def convert(tokenizer: Any) -> tuple[Tokenizer, Unlisted]:  # noqa: ANN401 - a class without types
    """Return the same tokenizer for ``tokenizers``, truncating and padding as when the library calls it."""
    if tokenizer not in _converted:
        _converted[tokenizer] = _convert(tokenizer)
    return _converted[tokenizer]


def _convert(tokenizer: Any) -> tuple[Tokenizer, Unlisted]:  # noqa: ANN401
    special = dict(zip(map(str, tokenizer.all_special_tokens), tokenizer.all_special_ids, strict=True))
    added = {str(token): number for token, number in tokenizer.added_tokens_encoder.items()}
    known = tokenizer.get_vocab()
    vocabulary = {_piece(token): number for token, number in known.items() if token not in special}
    vocabulary |= {**added, **special}
    first = max(vocabulary.values()) + 1
    merges = [pair for pair, _ in sorted(tokenizer.bpe_ranks.items(), key=lambda item: item[1]) if len(pair) == _PAIR]
    pieces = dict.fromkeys(piece for left, right in merges for piece in (left, right, left + right))
    unlisted = [piece for piece in pieces if piece not in vocabulary]
    vocabulary |= {piece: first + place for place, piece in enumerate(unlisted)}
    converted = Tokenizer(BPE(vocabulary, merges, unk_token=str(tokenizer.unk_token), end_of_word_suffix=_END))
    converted.pre_tokenizer = Split(Regex(_WORD), "removed", invert=True)
    converted.add_special_tokens(list({**added, **special}))
    start, end = str(tokenizer.cls_token), str(tokenizer.sep_token)
    converted.post_processor = TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(token, vocabulary[token]) for token in dict.fromkeys((start, end))]
    )
    converted.enable_truncation(tokenizer.model_max_length)
    converted.enable_padding(
        direction=tokenizer.padding_side,
        pad_id=tokenizer.pad_token_id,
        pad_type_id=tokenizer.pad_token_type_id,
        pad_token=str(tokenizer.pad_token),
    )
    return converted, Unlisted(first, vocabulary[str(tokenizer.unk_token)])


def _piece(token: str) -> str:
    return token.removesuffix(_GOES_ON) if token.endswith(_GOES_ON) else token + _END

"""Whether a repository has a tokenizer that can be used, and rows in the embedding table for its tokens. Pure."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any, Final

from thoth_models.backends.checkpoint.unused import WITHOUT_ROW
from thoth_models_builder.errors import UnsupportedModelError
from thoth_models_builder.spec.variants import path_in

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from thoth_models_builder.bundle.model_files import ModelFiles

_FAST: Final = "tokenizer.json"
_ALONE: Final = ("vocab.txt", "sentencepiece.bpe.model", "spiece.model", "spm.model", "tokenizer.model")
_PAIRS: Final = (("vocab.json", "merges.txt"), ("vocab.txt", "bpe.codes"))
_SLOW: Final = ("vocab.txt", "vocab.json", "added_tokens.json")
"""Files that have the tokens in words, where there is no tokenizer.json."""

_MERGES: Final = {"PhobertTokenizer": "bpe.codes", "BertweetTokenizer": "bpe.codes"}
"""Classes for which ``vocab.txt`` alone is not enough, and the file with their merges."""

_OTHER_PROGRAMS: Final = {
    "BertJapaneseTokenizer": "MeCab or Sudachi",
    "JumanppTokenizer": "Juman++",
    "CPMTokenizer": "jieba",
    "CpmTokenizer": "jieba",
    "RoFormerTokenizer": "jieba",
    "CanineTokenizer": "its code points",
    "ByT5Tokenizer": "its bytes",
}
"""Classes of transformers that the library ``tokenizers``, with which the runtime cuts texts, has no form of."""

_LAST: Final = 10
"""How many of the last tokens of a table are looked at; more than are accepted without a row."""


_DIGITS: Final = 18
"""Of the largest id of a token that is read; longer numbers are ids of no vocabulary, and slow to read."""


def refuse_without_tokenizer(
    paths: Collection[str], directory: str, files: ModelFiles, *, is_static: bool = False
) -> None:
    """Refuse a repository whose first module has no tokenizer, or one that needs another program.

    Args:
        paths: Every path of the repository.
        directory: Directory of the transformer or StaticEmbedding; empty for the top.
        files: The files that were read, of which ``tokenizer_config.json`` and ``config.json`` are two.
        is_static: Whether it is a StaticEmbedding, which has no other form of a tokenizer than tokenizer.json.

    Raises:
        UnsupportedModelError: There is none that can be used.
    """

    def has(name: str) -> bool:
        return path_in(directory, name) in paths

    if has(_FAST):
        return
    if is_static:
        raise UnsupportedModelError(
            f"{path_in(directory, _FAST)}: expected this file, in which alone a StaticEmbedding has tokens, found none"
        )
    place, stated = _tokenizer_class(files, directory)
    if (program := _OTHER_PROGRAMS.get(stated)) is not None:
        raise UnsupportedModelError(
            f"{place}: tokenizer_class: expected a tokenizer that has the form of {_FAST}, found {stated}, which cuts "
            f"texts with {program}; choose a model with {_FAST}"
        )
    if (merges := _MERGES.get(stated)) is not None and not has(merges):
        raise UnsupportedModelError(
            f"{path_in(directory, merges)}: expected this file, the merges of {stated} ({place}), or {_FAST}, found "
            "none"
        )
    if not any(map(has, _ALONE)) and not any(has(first) and has(second) for first, second in _PAIRS):
        names = ", ".join((_FAST, *_ALONE, *(" with ".join(pair) for pair in _PAIRS)))
        raise UnsupportedModelError(
            f"{path_in(directory, _FAST)}: expected a tokenizer ({names}), found none; save one there with the "
            "tokenizer's `save_pretrained`, or choose a repository that has one"
        )


def _tokenizer_class(files: ModelFiles, directory: str) -> tuple[str, str]:
    """Return the file that names the class of the tokenizer, in the order of transformers, and the class, or ``""``."""
    for name in ("tokenizer_config.json", "config.json"):
        stated = files.optional_object(path_in(directory, name)).get("tokenizer_class")
        if isinstance(stated, str) and stated:
            return path_in(directory, name), stated.removesuffix("Fast")
    return path_in(directory, "tokenizer_config.json"), ""


def compiled_fault(files: ModelFiles, directory: str, *, is_static: bool = False) -> str | None:
    """Return what small files say against every compiled variant, so that a build leaves them out; None for nothing.

    None does not mean that they can be compiled: most of what speaks against it shows when the model is loaded.

    Args:
        files: The files that were read, of which ``tokenizer_config.json`` is one, and ``tokenizer.json`` may be.
        directory: Directory of the transformer or StaticEmbedding; empty for the top.
        is_static: Whether it is a StaticEmbedding.
    """
    fast = path_in(directory, _FAST)
    if is_static:
        truncates = fast in files.digests and bool(files.json(fast, dict, is_large=True).get("truncation"))
        return f"{fast}: expected no truncation in a StaticEmbedding, found one" if truncates else None
    settings = path_in(directory, "tokenizer_config.json")
    _, stated = _tokenizer_class(files, directory)
    if stated == "BertweetTokenizer" and files.optional_object(settings).get("normalization"):
        return f"{settings}: expected a tokenizer that `tokenizers` runs, found {stated} with `normalization`"
    return None


def vocabularies(paths: Collection[str], directory: str) -> frozenset[str]:
    """Return the files with tokens that :func:`refuse_tokens_beyond_rows` reads, of those that the repository has.

    Args:
        paths: Every path of the repository.
        directory: Directory of the transformer or StaticEmbedding; empty for the top.
    """
    fast = path_in(directory, _FAST)
    names = {fast} if fast in paths else {path_in(directory, name) for name in _SLOW}
    return frozenset(names & set(paths))


def refuse_tokens_beyond_rows(files: ModelFiles, directory: str, *, is_static: bool = False) -> None:
    """Refuse a tokenizer that can make a token for which the embedding table has no row.

    Such a token ends in an index error, for the text that has it and for all texts of its batch. More rows than tokens
    are fine, and common.

    Args:
        files: The files of the model. What small files do not state is not checked.
        directory: Directory of the transformer or StaticEmbedding; empty for the top.
        is_static: Whether it is a StaticEmbedding, whose rows are those of its weights.

    Raises:
        UnsupportedModelError: There is such a token; the message names the one with the largest id.
    """
    rows = _static_rows(files, directory) if is_static else _stated_rows(files, directory)
    model_type = files.optional_object(path_in(directory, "config.json")).get("model_type")
    accepted = WITHOUT_ROW.get(model_type, {}) if isinstance(model_type, str) else {}
    tokens = (token for token in _tokens(files, directory) if token[1] not in accepted)
    largest = max(tokens, key=lambda token: token[0], default=None)
    if rows is None or largest is None or largest[0] < rows[0]:
        return
    (count, place), (token_id, token, path) = rows, largest
    raise UnsupportedModelError(
        f"{path}: expected tokens with ids below {count}, the rows of the embedding table ({place}), found {token!r} "
        f"with the id {token_id}; a text with it would fail, so take it out, or save the model after "
        "`resize_token_embeddings`"
    )


def _stated_rows(files: ModelFiles, directory: str) -> tuple[int, str] | None:
    path = path_in(directory, "config.json")
    count = files.optional_object(path).get("vocab_size")
    return (count, f"vocab_size in {path}") if isinstance(count, int) and count > 0 else None


def _static_rows(files: ModelFiles, directory: str) -> tuple[int, str] | None:
    path = path_in(directory, "model.safetensors")
    shapes = files.shapes(path) if path in files.digests else {}
    shape = shapes.get("embedding.weight", shapes.get("embeddings"))
    is_table = isinstance(shape, list) and bool(shape) and isinstance(shape[0], int)
    return (shape[0], path) if is_table and shape is not None else None


def _tokens(files: ModelFiles, directory: str) -> Iterator[tuple[int, str, str]]:
    """Yield tokens, the last one of each vocabulary among them: id, token, and the path of the file that has it."""
    stated = path_in(directory, "tokenizer_config.json")
    for path in sorted(vocabularies(files.digests, directory)):
        if path.endswith(_FAST):
            yield from _last(_fast_tokens(files.json(path, dict, is_large=True)), path)
        elif path.endswith(".json"):
            yield from _last(((value, key) for key, value in files.json(path, dict).items()), path)
        elif path_in(directory, "bpe.codes") not in files.digests:  # beside it, ids are not those of the lines
            lines = files.read(path).decode("utf-8", "replace").rstrip("\n").split("\n")
            yield len(lines) - 1, lines[-1].rstrip("\r"), path
    decoder = files.optional_object(stated).get("added_tokens_decoder")
    entries = decoder.items() if isinstance(decoder, dict) else ()
    ids = (
        (int(key), _content(value))
        for key, value in entries
        if key.isascii() and key.isdecimal() and len(key) <= _DIGITS
    )
    yield from _last(ids, stated)


def _last(tokens: Iterator[tuple[Any, Any]], path: str) -> Iterator[tuple[int, str, str]]:
    whole = [(token_id, str(token)) for token_id, token in tokens if type(token_id) is int]
    yield from ((token_id, token, path) for token_id, token in heapq.nlargest(_LAST, whole))


def _fast_tokens(tokenizer: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
    model = tokenizer.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocabulary, dict):  # WordPiece, BPE, WordLevel: an id for each token
        yield from ((token_id, token) for token, token_id in vocabulary.items())
    elif isinstance(vocabulary, list) and vocabulary:  # Unigram: pairs of token and score, in the order of their ids
        yield len(vocabulary) - 1, vocabulary[-1][0] if isinstance(vocabulary[-1], list) and vocabulary[-1] else ""
    added = tokenizer.get("added_tokens")
    for entry in added if isinstance(added, list) else ():
        if isinstance(entry, dict):
            yield entry.get("id"), entry.get("content")


def _content(entry: object) -> object:
    return entry.get("content") if isinstance(entry, dict) else entry

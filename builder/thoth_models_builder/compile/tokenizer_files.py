"""Write tokenizer.json and settings.json, with which ``tokenizers`` alone tokenizes as sentence-transformers does.

The library is called to tokenize, and the Rust tokenizer that it uses is saved in the resulting state. The tokens of
the written files are then compared with those of the library.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from thoth_models.bundle.canonical_json import canonical_json
from thoth_models_builder.compile.errors import NotExportableError
from thoth_models_builder.compile.loading.bpe_codes import Unlisted, convert, is_convertible
from thoth_models_builder.compile.texts import golden_texts

if TYPE_CHECKING:
    from pathlib import Path

    from sentence_transformers import SentenceTransformer
    from tokenizers import Encoding

POOLING_MASK: Final = "pooling_mask"
"""Input of a graph that excludes the prompt from pooling: the mask of the pooled tokens."""

_VERSION: Final = 1
_INPUTS: Final = ("attention_mask", "input_ids", "token_type_ids")
_PROBES: Final = (
    "",
    " ",
    "A quick question: where is THE river?\n",
    "  Straße  ÉTÉ, e\u0301 und 42 日本語 🙂  ",
    "word " * 40,
)
_MAX_WORDS: Final = 20_000
"""Words of the longest probe, longer than the maximum of most models."""


def write_tokenizer(model: SentenceTransformer, directory: Path) -> None:
    """Write ``tokenizer.json`` and ``settings.json``; the bytes are the same every time.

    Args:
        model: A model from :func:`~thoth_models_builder.compile.export.load_reference`.
        directory: Existing target directory.

    Raises:
        NotExportableError: ``tokenizers`` cannot run the tokenizer alone, or cannot do everything that it does.
    """
    first = model[0]
    if isinstance(first, StaticEmbedding):
        tokenizer, padding = _copied(first.tokenizer), None
        if tokenizer.truncation is not None:
            # It would, in the library too; but to the library, and so to the manifest, such a model has no maximum.
            raise NotExportableError(
                f"StaticEmbedding: expected a tokenizer without truncation, found {tokenizer.truncation}"
            )
    else:
        tokenizer, padding = _as_called(model)
    truncation = tokenizer.truncation
    settings: dict[str, Any] = {
        "version": _VERSION,
        "inputs": graph_inputs(model),
        "add_special_tokens": padding is not None,
        "pad_token_id": padding["pad_id"] if padding else 0,
        "pad_token_type_id": padding["pad_type_id"] if padding else 0,
        "padding_side": padding["direction"] if padding else "right",
        "max_tokens": truncation["max_length"] if truncation else None,
        "excludes_prompt": _excludes_prompt(model),
    }
    _compare(model, tokenizer, settings)
    directory.joinpath("tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8", newline="\n")
    directory.joinpath("settings.json").write_bytes(canonical_json(settings))


def graph_inputs(model: SentenceTransformer) -> list[str]:
    """Return the inputs of the graph, sorted: those that the tokenizer gives and the encoder accepts.

    Raises:
        NotExportableError: The encoder needs an input that this release does not support.
    """
    first = model[0]
    if isinstance(first, StaticEmbedding):
        return ["attention_mask", "input_ids"]
    names = {name for name, value in _preprocessed(model, [_PROBES[2]]).items() if hasattr(value, "shape")}
    if unknown := sorted(names - set(_INPUTS)):
        raise NotExportableError(f"expected inputs among {', '.join(_INPUTS)}, found {', '.join(unknown)}")
    if _excludes_prompt(model):
        names.add(POOLING_MASK)
    return sorted(names)


def max_tokens(model: SentenceTransformer) -> int | None:
    """Return the longest input in tokens, including special tokens, or None if there is no truncation."""
    if isinstance(model[0], StaticEmbedding):
        return None
    _preprocessed(model, [_PROBES[0]])
    truncation = _backend(model[0]).truncation
    return truncation["max_length"] if truncation else None


def unlisted_tokens(model: SentenceTransformer) -> Unlisted | None:
    """Return which ids of the written tokenizer the graph must replace by that of the unknown token; usually None."""
    tokenizer = _tokenizer_of(model[0])
    return convert(tokenizer)[1] if is_convertible(tokenizer) else None


def _as_called(model: SentenceTransformer) -> tuple[Tokenizer, dict[str, Any]]:
    """Return the tokenizer in the state after a call of the library, without its padding, and that padding."""
    _preprocessed(model, [_PROBES[0]])
    backend = _backend(model[0])
    padding = backend.padding
    if padding is None:
        raise NotExportableError("expected a tokenizer that pads, found one that does not")
    return _copied(backend), padding


def _backend(first: Any) -> Tokenizer:  # noqa: ANN401 - the modules of a model have no more specific type
    if not hasattr(first, "tokenizer"):
        raise NotExportableError(f"expected a Transformer or a StaticEmbedding first, found {type(first).__name__}")
    if isinstance(first, Transformer) and "message" in first.modality_config:
        raise NotExportableError("expected a model for plain text, found one with a chat template")
    tokenizer = _tokenizer_of(first)
    if is_convertible(tokenizer):
        return convert(tokenizer)[0]
    if not isinstance(tokenizer, PreTrainedTokenizerBase) or not tokenizer.is_fast:
        raise NotExportableError(f"expected a tokenizer that `tokenizers` runs, found {type(tokenizer).__name__}")
    backend: Tokenizer = tokenizer.backend_tokenizer
    return backend


def _tokenizer_of(first: Any) -> Any:  # noqa: ANN401 - see _backend
    """Return the tokenizer of a Transformer, or of a module of the model's own, which has it under the older name."""
    return first.processor if isinstance(first, Transformer) else getattr(first, "tokenizer", None)


def _copied(tokenizer: Tokenizer) -> Tokenizer:
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.no_padding()
    return copy


def _preprocessed(model: SentenceTransformer, texts: list[str]) -> dict[str, Any]:
    _backend(model[0])
    try:
        return dict(model.preprocess(texts))
    except (TypeError, ValueError) as error:
        name = type(_tokenizer_of(model[0])).__name__
        raise NotExportableError(f"{name}: {str(error).splitlines()[0]}") from error


def _excludes_prompt(model: SentenceTransformer) -> bool:
    return any(isinstance(module, Pooling) and not module.include_prompt for module in model)


def _compare(model: SentenceTransformer, tokenizer: Tokenizer, settings: dict[str, Any]) -> None:
    """Refuse settings that do not give the same tokens as the library."""
    longest = "word " * min((settings["max_tokens"] or 0) + 10, _MAX_WORDS)
    special = " ".join(token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special)
    unlisted = unlisted_tokens(model)
    golden = [text for _, text in golden_texts(settings["max_tokens"], {})]
    for texts in ([_PROBES[2], longest], [_PROBES[2], special], *([text] for text in (*_PROBES, *golden))):
        encodings = tokenizer.encode_batch(texts, add_special_tokens=settings["add_special_tokens"])
        if isinstance(model[0], StaticEmbedding):
            found, expected = {"input_ids": [encoding.ids for encoding in encodings]}, _ragged(model, texts)
        else:
            found = _padded(encodings, settings)
            if unlisted is not None:
                rows = found["input_ids"]
                found["input_ids"] = [[unlisted.unknown if i >= unlisted.first else i for i in row] for row in rows]
            features = _preprocessed(model, texts)
            expected = {name: features[name].tolist() for name in settings["inputs"] if name in features}
        for name, rows in found.items():
            if rows != (told := expected.get(name, rows)):
                raise NotExportableError(
                    f"{name} of {texts[-1][:40]!r}: expected {str(told)[:200]}, found {str(rows)[:200]}"
                )
    if settings["excludes_prompt"]:
        # The length of a prompt is counted without the special token at its end, so both must have the same special
        # tokens.
        known = set(model.tokenizer.all_special_ids)
        marked = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
        if known != marked:
            raise NotExportableError(f"expected the special tokens {sorted(known)}, found {sorted(marked)} marked so")


def _ragged(model: SentenceTransformer, texts: list[str]) -> dict[str, list[list[int]]]:
    """Return the token ids that the library passes to an EmbeddingBag, one list per text."""
    features = model.preprocess(texts)
    ids, starts = features["input_ids"].tolist(), features["offsets"].tolist()
    return {"input_ids": [ids[start:end] for start, end in itertools.pairwise([*starts, len(ids)])]}


def _padded(encodings: list[Encoding], settings: dict[str, Any]) -> dict[str, list[list[int]]]:
    """Return the inputs of a batch as a runtime creates them, padded to the longest text."""
    width = max(len(encoding.ids) for encoding in encodings)

    def filled(values: list[int], pad: int) -> list[int]:
        padding = [pad] * (width - len(values))
        return values + padding if settings["padding_side"] == "right" else padding + values

    return {
        "input_ids": [filled(encoding.ids, settings["pad_token_id"]) for encoding in encodings],
        "attention_mask": [filled([1] * len(encoding.ids), 0) for encoding in encodings],
        "token_type_ids": [filled(encoding.type_ids, settings["pad_token_type_id"]) for encoding in encodings],
    }

"""What ``tokenizers`` alone needs to treat text as sentence-transformers does: tokenizer.json and settings.json.

Nothing is worked out anew: the library is asked to tokenize, and the Rust tokenizer below it is kept as it then stands.
What comes out of the written files is compared with what the library makes of the same texts.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from thoth_models.canonical import canonical_json
from thoth_models_builder.compile.errors import NotExportableError

if TYPE_CHECKING:
    from pathlib import Path

    from sentence_transformers import SentenceTransformer
    from tokenizers import Encoding

POOLING_MASK: Final = "pooling_mask"
"""Input of a graph that leaves the prompt out of pooling: which tokens are pooled."""

_VERSION: Final = 1
_INPUTS: Final = ("attention_mask", "input_ids", "token_type_ids")
_PROBES: Final = (
    "",
    " ",
    "A quick question: where is THE river?\n",
    "  Straße  ÉTÉ, e\u0301 und 42 日本語 🙂  ",
    "word " * 40,
)
_LONGEST: Final = 20_000
"""Words of the longest probe, beyond the maximum of every model but a few."""


def write_tokenizer(model: SentenceTransformer, directory: Path) -> None:
    """Write ``tokenizer.json`` and ``settings.json``, the same bytes every time.

    Args:
        model: As :func:`~thoth_models_builder.compile.export.load_reference` returns it.
        directory: Where to; it exists.

    Raises:
        NotExportableError: The tokenizer is none that ``tokenizers`` can run alone, or does more than it can.
    """
    first = model[0]
    if isinstance(first, StaticEmbedding):
        tokenizer, padding = _copied(first.tokenizer), None
        if tokenizer.truncation is not None:
            # It would, in the library too; but to the library, and so to the manifest, such a model has no maximum.
            raise NotExportableError(
                f"StaticEmbedding: expected a tokenizer that cuts nothing off, found {tokenizer.truncation}"
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
    """Return the inputs of the graph, sorted: what the tokenizer makes and the encoder takes.

    Raises:
        NotExportableError: The encoder wants something that this release cannot make.
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
    """Return the longest input in tokens, special ones counted, or None where nothing is cut off."""
    if isinstance(model[0], StaticEmbedding):
        return None
    _preprocessed(model, [_PROBES[0]])
    truncation = _backend(model[0]).truncation
    return truncation["max_length"] if truncation else None


def _as_called(model: SentenceTransformer) -> tuple[Tokenizer, dict[str, Any]]:
    """Return the tokenizer as a call of the library leaves it, without its padding, and that padding."""
    _preprocessed(model, [_PROBES[0]])
    backend = _backend(model[0])
    padding = backend.padding
    if padding is None:
        raise NotExportableError("expected a tokenizer that pads, found one that does not")
    return _copied(backend), padding


def _backend(first: Any) -> Tokenizer:  # noqa: ANN401 - the modules of a model are no more to a type checker
    if not isinstance(first, Transformer):
        raise NotExportableError(f"expected a Transformer or a StaticEmbedding first, found {type(first).__name__}")
    if "message" in first.modality_config:
        raise NotExportableError("expected a model that takes text, found one with a chat template")
    tokenizer = first.processor
    if not isinstance(tokenizer, PreTrainedTokenizerBase) or not tokenizer.is_fast:
        raise NotExportableError(f"expected a tokenizer that `tokenizers` runs, found {type(tokenizer).__name__}")
    backend: Tokenizer = tokenizer.backend_tokenizer
    return backend


def _copied(tokenizer: Tokenizer) -> Tokenizer:
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.no_padding()
    return copy


def _preprocessed(model: SentenceTransformer, texts: list[str]) -> dict[str, Any]:
    _backend(model[0])
    try:
        return dict(model.preprocess(texts))
    except (TypeError, ValueError) as error:
        raise NotExportableError(f"{type(model[0].processor).__name__}: {str(error).splitlines()[0]}") from error


def _excludes_prompt(model: SentenceTransformer) -> bool:
    return any(isinstance(module, Pooling) and not module.include_prompt for module in model)


def _compare(model: SentenceTransformer, tokenizer: Tokenizer, settings: dict[str, Any]) -> None:
    """Refuse settings that do not make of a text what the library makes of it."""
    longest = "word " * min((settings["max_tokens"] or 0) + 10, _LONGEST)
    special = " ".join(token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special)
    for texts in ([_PROBES[2], longest], [_PROBES[2], special], *([text] for text in _PROBES)):
        encodings = tokenizer.encode_batch(texts, add_special_tokens=settings["add_special_tokens"])
        if isinstance(model[0], StaticEmbedding):
            found, expected = {"input_ids": [encoding.ids for encoding in encodings]}, _ragged(model, texts)
        else:
            found = _padded(encodings, settings)
            features = _preprocessed(model, texts)
            expected = {name: features[name].tolist() for name in settings["inputs"] if name in features}
        for name, rows in found.items():
            if rows != (told := expected.get(name, rows)):
                raise NotExportableError(
                    f"{name} of {texts[-1][:40]!r}: expected {str(told)[:200]}, found {str(rows)[:200]}"
                )
    if settings["excludes_prompt"]:
        # The length of a prompt is counted without the special token at its end, so both must know the same ones.
        known = set(model.tokenizer.all_special_ids)
        marked = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
        if known != marked:
            raise NotExportableError(f"expected the special tokens {sorted(known)}, found {sorted(marked)} marked so")


def _ragged(model: SentenceTransformer, texts: list[str]) -> dict[str, list[list[int]]]:
    """Return what the library feeds to a bag of rows, a list for each text."""
    features = model.preprocess(texts)
    ids, starts = features["input_ids"].tolist(), features["offsets"].tolist()
    return {"input_ids": [ids[start:end] for start, end in itertools.pairwise([*starts, len(ids)])]}


def _padded(encodings: list[Encoding], settings: dict[str, Any]) -> dict[str, list[list[int]]]:
    """Return the inputs of a batch as a runtime makes them, padded to the longest."""
    width = max(len(encoding.ids) for encoding in encodings)

    def filled(values: list[int], pad: int) -> list[int]:
        padding = [pad] * (width - len(values))
        return values + padding if settings["padding_side"] == "right" else padding + values

    return {
        "input_ids": [filled(encoding.ids, settings["pad_token_id"]) for encoding in encodings],
        "attention_mask": [filled([1] * len(encoding.ids), 0) for encoding in encodings],
        "token_type_ids": [filled(encoding.type_ids, settings["pad_token_type_id"]) for encoding in encodings],
    }

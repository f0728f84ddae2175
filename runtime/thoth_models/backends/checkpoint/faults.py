"""The rule: which differences between a loaded model and its files make its vectors wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from thoth_models.backends.checkpoint.distinction import distinction_faults
from thoth_models.backends.checkpoint.formats import MODEL2VEC, TABLE, format_faults, listed, stored_formats
from thoth_models.backends.checkpoint.unused import WITHOUT_ROW, may_be_in_excess, may_be_missing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from thoth_models.backends.checkpoint.reports import LoadReport

_MODULES, _WEIGHTS = "modules.json", "model.safetensors"


def faults(model: Any, directory: Path, reports: Sequence[LoadReport]) -> list[str]:  # noqa: ANN401
    """Return what makes the vectors of a loaded model wrong, one line for each kind of fault; empty for none.

    These are, but for what :mod:`~thoth_models.backends.checkpoint.unused` lists: tensors that a checkpoint lacks, has
    in excess, or has in another shape; weights in a number format for quantised ones; and tokens without a row in the
    embedding table, with which a text fails, and with it the batch that it is in.

    Args:
        model: A ``SentenceTransformer``.
        directory: The directory that it was loaded from.
        reports: The reports of :func:`~thoth_models.backends.checkpoint.reports.load_reports` while it was loaded.
    """
    by_model = {id(report.model): report for report in reports}
    found: list[str] = []
    modules, paths = list(model.children()), _paths(directory)
    if len(modules) != len(paths):
        found.append(f"expected the {len(paths)} modules of {_MODULES}, found {len(modules)}")
    for module, path in zip(modules, paths, strict=False):
        kind, place = type(module).__name__, directory / path
        transformer = _transformer_of(module, reports)
        if transformer is not None:
            model_type = str(transformer.config.model_type)
            report = by_model.get(id(transformer))
            described = f"{kind} ({model_type})"
            if report is None:
                found.append(f"{described}: expected the library's report about its weights, found none")
            else:
                found += (f"{described}: {fault}" for fault in _report_faults(report, module, model_type))
            tokenizer = getattr(module, "tokenizer", None)
            faults = [
                *_token_faults(tokenizer, _rows(transformer), model_type),
                *distinction_faults(tokenizer, getattr(module, "max_seq_length", None)),
            ]
            found += (f"{described}: {fault}" for fault in faults)
        elif (place / _WEIGHTS).is_file() and (expected := set(module.state_dict())):
            found += (f"{kind}: {fault}" for fault in _name_faults(expected, set(stored_formats(place / _WEIGHTS))))
            if hasattr(module, "tokenizer"):
                rows = module.state_dict()[TABLE].shape[0]
                faults = [*_token_faults(module.tokenizer, rows, ""), *distinction_faults(module.tokenizer, None)]
                found += (f"{kind}: {fault}" for fault in faults)
        elif next(module.parameters(), None) is not None:
            found.append(f"{kind}: expected the library's report about its weights, or {_WEIGHTS}, found neither")
        found += format_faults(module if transformer is None else transformer, place, directory)
    return found


def _transformer_of(module: Any, reports: Sequence[LoadReport]) -> Any:  # noqa: ANN401
    """Return the encoder of a module, or None; a class of the model's own may keep it under any name."""
    transformer = getattr(module, "auto_model", None)
    if transformer is None:
        loaded = {id(report.model) for report in reports}
        transformer = next((part for part in module.modules() if id(part) in loaded), None)
    return transformer


def _paths(directory: Path) -> list[str]:
    """Return the directory of each module, relative to that of the model."""
    return [str(entry.get("path", "")) for entry in json.loads((directory / _MODULES).read_bytes())]


def _report_faults(report: LoadReport, module: Any, model_type: str) -> Iterator[str]:  # noqa: ANN401
    takes_pooler_output = _takes_pooler_output(module)
    prefix = f"{getattr(report.model, 'base_model_prefix', '')}."
    missing = [
        name
        for name in report.missing
        if not may_be_missing(model_type, name.removeprefix(prefix), takes_pooler_output=takes_pooler_output)
    ]
    in_excess = [name for name in report.unexpected if not may_be_in_excess(model_type, name.removeprefix(prefix))]
    if hidden := getattr(report.model, "_keys_to_ignore_on_load_missing", None):
        names = ", ".join(sorted(hidden))
        yield f"expected an architecture of which the library reports every missing tensor, found it silent on {names}"
    if missing:
        yield f"expected weights for every tensor of the model, found none for {listed(missing)}"
    if in_excess:
        yield f"expected only tensors that the model has a place for, found others: {listed(in_excess)}"
    if report.mismatched:
        names = listed(
            f"{name} of shape {stored} instead of {expected}" for name, (stored, expected) in report.mismatched.items()
        )
        yield f"expected the shapes that config.json describes, found others: {names}"


def _takes_pooler_output(module: Any) -> bool:  # noqa: ANN401
    """Return whether a Transformer takes its output from the pooler; True if it does not say."""
    modalities = getattr(module, "modality_config", None)
    if not isinstance(modalities, dict):
        return True
    return any("pooler_output" in str(how.get("method_output_name")) for how in modalities.values())


def _name_faults(expected: set[str], found: set[str]) -> Iterator[str]:
    if TABLE in expected and "embeddings" in found:
        expected = {"embeddings", *(found & MODEL2VEC)}
    if missing := expected - found:
        yield f"expected weights for every tensor of the module, found none for {listed(missing)}"
    if in_excess := found - expected:
        yield f"expected only tensors that the module has a place for, found others: {listed(in_excess)}"


def _rows(encoder: Any) -> int:  # noqa: ANN401
    """Return the number of rows of an encoder's embedding table."""
    try:
        rows: int = encoder.get_input_embeddings().weight.shape[0]
    except NotImplementedError:
        rows = encoder.config.vocab_size  # an encoder of the model's own code need not say which of its tables it is
    return rows


def _token_faults(tokenizer: Any, rows: int, model_type: str) -> Iterator[str]:  # noqa: ANN401
    accepted = WITHOUT_ROW.get(model_type, {})
    tokens = {token: number for token, number in _beyond(tokenizer, rows).items() if token not in accepted}
    if tokens:
        names = listed(f"{token!r} with id {number}" for token, number in tokens.items())
        yield (
            f"expected token ids below {rows}, the number of rows of the embedding table, found {names}; "
            "a text with such a token has no vector"
        )


def _beyond(tokenizer: Any, rows: int) -> dict[str, int]:  # noqa: ANN401
    """Return the tokens whose id is ``rows`` or more; none without a tokenizer, as of code of a model's own."""
    if tokenizer is None:
        return {}
    fast = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if hasattr(fast, "id_to_token"):
        # Where each of the first ids has a token, these are all: in a quarter of the time that the whole vocabulary
        # takes to become a dict, 0.1 s for 250,000 tokens.
        count = fast.get_vocab_size()
        if count <= rows and None not in map(fast.id_to_token, range(count)):
            return {}
    return {token: number for token, number in tokenizer.get_vocab().items() if number >= rows}

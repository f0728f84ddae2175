"""Export a whole sentence-transformers pipeline as one ONNX graph, with torch's own exporter.

The library's own modules are exported, in their own order, so the graph computes the same. Only two things that a graph
cannot express are replaced: a bag of rows becomes a masked mean, and the prompt that pooling excludes becomes an input.
The finished graph is compared with the modules at other shapes, because an exporter may record a size of the example as
a constant.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnxruntime
import torch
import transformers.utils.logging as untyped_logging
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Dropout, LayerNorm, Pooling, StaticEmbedding

from thoth_models_builder.compile.attention.limits import limits_of
from thoth_models_builder.compile.attention.torch_attention import (
    NAME,
    UnsupportedAttentionError,
    attention_of,
    rotation_of,
)
from thoth_models_builder.compile.errors import NotExportableError, UnusableModelError
from thoth_models_builder.compile.exporters import by_program, by_tracing
from thoth_models_builder.compile.graphs.one_task import OneTask
from thoth_models_builder.compile.graphs.reading import OUTPUT_NAME
from thoth_models_builder.compile.graphs.writing import write_graph
from thoth_models_builder.compile.loading.load_checked import load_checked
from thoth_models_builder.compile.tokenizer_files import (
    POOLING_MASK,
    graph_inputs,
    max_tokens,
    unlisted_tokens,
    write_tokenizer,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from onnx import ModelProto
    from sentence_transformers import SentenceTransformer
    from torch import Tensor

__all__ = ["OUTPUT_NAME", "export_graph", "load_reference", "write_tokenizer"]

_transformers_logging: Any = untyped_logging

_MODULES: Final = (Transformer, StaticEmbedding, Pooling, Dense, LayerNorm, Dropout, Normalize)
_EXAMPLE: Final = (2, 7)
"""Batch size and tokens of the example; neither 0 nor 1, which torch treats as constants."""

_CHECKED: Final = ((1, 1), (1, 2), (3, 1), (3, 11), (2, 300), (1, 512))
"""Batch sizes and tokens at which graph and modules are compared; tokens up to the maximum of the model."""
_PADDED: Final = 300
"""The longest of these with padding. Limits of the graph's attention from there on need a size of their own."""
_BEYOND: Final = 256
"""Tokens by which that size is above the limit, so that a wrong window changes more than the tolerance."""
_SHORT: Final = 512
"""Maximum of a model, in tokens, up to which its attention holds the whole matrix, which is 2 % faster for short texts:
12 MiB for a text of 512 tokens with 12 heads."""
_TOLERANCE: Final = 1e-4
"""Largest difference relative to the largest component of a vector. Kernels differ by 2e-6 in the tiny models of the
tests, and by 8e-6 after 36 layers; a wrong mask differs by 1e-2, and a window of 601 tokens instead of 600 by 2e-4."""


def load_reference(directory: Path, *, runs_code: bool = False) -> SentenceTransformer:
    """Load a model directory in fp32 on the CPU, with the attention that every architecture has.

    Args:
        directory: Absolute path of the directory, which contains the whole model.
        runs_code: Whether the model's own code may run; only in the sandbox.

    Raises:
        NotExportableError: The model does not support that attention, or needs code of its own that may not run.
        UnusableModelError: Its weights or tokens are not complete; see
            :mod:`~thoth_models_builder.compile.loading.load_checked`.
    """
    with _quiet():
        try:
            return load_checked(directory, runs_code=runs_code, attn_implementation="eager")
        except UnusableModelError as error:
            if not isinstance(error.__cause__, ValueError):
                raise
            raise NotExportableError(f"cannot be loaded for export: {_first_line(error)}") from error


def export_graph(model: SentenceTransformer, target: Path, *, runs_code: bool = False) -> None:
    """Write the whole pipeline as one graph; with one toolchain, the bytes are the same every time.

    Inputs are those of :func:`~thoth_models_builder.compile.tokenizer_files.graph_inputs`, int64 of shape
    (batch, tokens); the output is ``sentence_embedding``, float32 of shape (batch, dimension).

    Args:
        model: As :func:`load_reference` returns it.
        target: Path of the graph. Its weights are written beside it, with ``.data`` appended to the name.
        runs_code: Whether the encoder may be of the model's own code, and its modules of classes derived there.

    Raises:
        NotExportableError: The pipeline cannot be exported, or the graph computes something else than the modules.
    """
    _check_modules(model, runs_code=runs_code)
    names = graph_inputs(model)
    pipeline = _Pipeline(model, excludes_prompt=POOLING_MASK in names)
    example = _example(model, names, *_EXAMPLE)
    limit = max_tokens(model)
    exporters: tuple[Callable[[], tuple[ModelProto, dict[str, Any]]], ...] = (
        *([lambda: _in_blocks(model, names, example)] if limit is None or limit > _SHORT else []),
        lambda: by_tracing(pipeline, example),
        lambda: by_program(pipeline, example, limit),
    )
    failed: NotExportableError | None = None
    for export in exporters:
        try:
            with _quiet(), OneTask() if runs_code else contextlib.nullcontext():
                graph, weights = export()
            limits = limits_of(graph)
            write_graph(graph, target, weights)
            with _quiet(), _its_usual_attention(model):
                _compare(model, pipeline, names, target, limits)
        except MemoryError:
            raise
        except NotExportableError as error:
            failed = error
        except Exception as error:  # noqa: BLE001 - exporters raise any error of the model's code and of their own
            failed = NotExportableError(f"{_described(model)}: {_first_line(error)}")
            failed.__cause__ = error
        else:
            return
    if failed is not None:
        raise failed


def _in_blocks(
    model: SentenceTransformer, names: list[str], example: dict[str, Tensor]
) -> tuple[ModelProto, dict[str, Any]]:
    """Return the graph with attention that never holds the whole matrix of a long text, and its weights.

    Raises:
        UnsupportedAttentionError: The model's attention cannot be replaced.
    """
    side = getattr(model.tokenizer, "padding_side", "right")
    pipeline = _Pipeline(model, excludes_prompt=POOLING_MASK in names, moves_padding=side == "left")
    with attention_of(model, NAME), rotation_of(model):
        return by_tracing(pipeline, example)


@contextlib.contextmanager
def _its_usual_attention(model: SentenceTransformer) -> Iterator[None]:
    """Let the model use the attention that it has in the library, which takes little memory, if it has that one."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(UnsupportedAttentionError):
            stack.enter_context(attention_of(model, "sdpa"))
        yield


class _Pipeline(torch.nn.Module):
    """The modules of a model in their order, from a dict of token tensors to the vectors.

    Args:
        model: The modules.
        excludes_prompt: Whether one of the inputs is the mask of the pooled tokens.
        moves_padding: Whether padding on the left is moved to the right first, where no token sees it by causality.
    """

    def __init__(self, model: SentenceTransformer, *, excludes_prompt: bool, moves_padding: bool = False) -> None:
        super().__init__()
        self.steps = torch.nn.ModuleList(_exportable(module) for module in model)
        self.excludes_prompt = excludes_prompt
        self.kept = model.truncate_dim
        self.unlisted = unlisted_tokens(model)
        self.moves_padding = moves_padding

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return the vectors of token tensors by name of the input."""
        features: dict[str, Any] = dict(inputs)
        if self.unlisted is not None:
            ids = features["input_ids"]
            features["input_ids"] = torch.where(ids >= self.unlisted.first, self.unlisted.unknown, ids)
        if self.moves_padding:
            features = _moved(features)
        # The encoder must not see it; some pass on all of their inputs.
        pooling_mask = features.pop(POOLING_MASK, None)
        for step in self.steps:
            if isinstance(step, _PoolingByMask):
                features[POOLING_MASK] = pooling_mask
            features = step(features)
        vectors: Tensor = features[OUTPUT_NAME]
        # As the library does after the last module, whatever that is.
        return vectors if self.kept is None else vectors[..., : self.kept]


def _moved(features: dict[str, Any]) -> dict[str, Any]:
    """Return token tensors with the padding on the right instead of on the left."""
    mask: Tensor = features["attention_mask"]
    starts = mask.argmax(dim=1, keepdim=True)
    places = (torch.arange(mask.shape[1]) + starts) % mask.shape[1]
    return {name: torch.gather(values, 1, places) for name, values in features.items()}


class _PoolingByMask(Pooling):
    """Pooling with a mask of the tokens to exclude, instead of the length of the prompt."""

    def forward(self, features: dict[str, Tensor], **_: object) -> dict[str, Tensor]:
        """Pool with the mask in the features."""
        tokens, mask = features["token_embeddings"], features["attention_mask"]
        # The replacement for the prompt's length must be true, which a tensor cannot be while it is traced.
        kept: Any = (features[POOLING_MASK],)
        vectors = self._forward_padded(tokens, mask, features, prompt_length=kept)
        return {**features, OUTPUT_NAME: torch.cat(vectors, dim=-1)}

    @staticmethod
    def _exclude_prompt_from_mask(attention_mask: Tensor, prompt_length: Any) -> Tensor:  # noqa: ANN401, ARG004
        kept: Tensor = prompt_length[0]
        return kept


class _MeanOfRows(torch.nn.Module):
    """The equivalent of ``EmbeddingBag`` for padded tokens, not a ragged list; zeros for a text without tokens."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.rows = torch.nn.Parameter(rows.detach(), requires_grad=False)

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Add the mean of the rows of each text to the features."""
        mask = features["attention_mask"].to(self.rows.dtype)
        rows = torch.nn.functional.embedding(features["input_ids"], self.rows)
        total = torch.matmul(mask.unsqueeze(1), rows).squeeze(1)
        return {**features, OUTPUT_NAME: total / mask.sum(dim=1, keepdim=True).clamp(min=1)}


def _exportable(module: torch.nn.Module) -> torch.nn.Module:
    if isinstance(module, StaticEmbedding):
        return _MeanOfRows(module.embedding.weight)
    if isinstance(module, Pooling) and not module.include_prompt:
        by_mask: torch.nn.Module = _PoolingByMask(module.embedding_dimension, module.pooling_mode, include_prompt=False)
        return by_mask
    return module


def _check_modules(model: SentenceTransformer, *, runs_code: bool) -> None:
    for index, (name, module) in enumerate(model.named_children()):
        if runs_code and index == 0 and hasattr(module, "tokenizer"):
            # Its class may be the model's own, which derives from none of the library's.
            continue
        if not (isinstance(module, _MODULES) if runs_code else type(module) in _MODULES):
            known = ", ".join(kind.__name__ for kind in _MODULES)
            raise NotExportableError(f"module {name}: expected one of {known}, found {_class_of(module)}")
        if runs_code or not isinstance(module, Transformer):
            continue
        if not type(module.model).__module__.startswith("transformers."):
            raise NotExportableError(
                f"module {name}: expected an encoder of the transformers library, found {_class_of(module.model)}"
            )


def _compare(
    model: SentenceTransformer, pipeline: _Pipeline, names: list[str], graph: Path, limits: Collection[int]
) -> None:
    """Refuse a graph that differs from the modules at shapes other than that of the example.

    Args:
        model: The model.
        pipeline: Its modules.
        names: Names of the graph's inputs.
        graph: Path of the graph.
        limits: Numbers of tokens above which its attention changes.
    """
    longest = max_tokens(model)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    beyond = [(2, limit + _BEYOND) for limit in limits if limit >= _PADDED and (longest is None or limit < longest)]
    shapes = {(batch, tokens if longest is None else min(tokens, longest)) for batch, tokens in (*_CHECKED, *beyond)}
    for batch, tokens in sorted(shapes):
        example = _example(model, names, batch, tokens)
        with torch.no_grad():
            expected = pipeline(example).numpy()
        place = f"{_described(model)}: {batch} x {tokens} tokens"
        try:
            (found,) = session.run([OUTPUT_NAME], {name: tensor.numpy() for name, tensor in example.items()})
        except Exception as error:  # onnxruntime has no common error class for errors of kernels
            raise NotExportableError(f"{place}: the graph cannot be run: {_first_line(error)}") from error
        difference = np.abs(found - expected).max() if found.shape == expected.shape else np.inf
        if not difference <= _TOLERANCE * np.abs(expected).max():
            raise NotExportableError(
                f"{place}: expected the vectors of the modules from the graph, found a difference of {difference:.2g}"
            )


def _example(model: SentenceTransformer, names: list[str], batch: int, tokens: int) -> dict[str, Tensor]:
    """Return real tokens of that shape: the first row is full, the others are padded as the tokenizer pads."""
    text = "The quick brown fox jumps over the lazy dog; 42 bottles, and some water."
    ids = torch.as_tensor(model.preprocess([text])["input_ids"]).flatten()
    # Every row starts at another token, so that a graph that mixes up rows is detected. In a long text each token is
    # repeated before the next one: of a text that is repeated as a whole, any window would see the same tokens.
    repeated = max(1, tokens // len(ids))
    place = (torch.arange(tokens) // repeated).unsqueeze(0) + torch.arange(batch).unsqueeze(1)
    mask = torch.ones(batch, tokens, dtype=torch.int64)
    for row in range(1, batch):
        mask[row, max(1, tokens - row) :] = 0
    tokenizer = model.tokenizer
    if getattr(tokenizer, "padding_side", "right") == "left":
        mask = mask.flip(1)
    pad = getattr(tokenizer, "pad_token_id", None) or 0
    # Excludes the first token, as for a prompt, if another one remains.
    pooling_mask = mask.clone()
    if tokens > 1:
        pooling_mask[torch.arange(batch), mask.argmax(dim=1)] = (mask.sum(dim=1) == 1).to(torch.int64)
    values = {
        "input_ids": torch.where(mask == 1, ids[place % len(ids)], pad),
        "attention_mask": mask,
        "token_type_ids": torch.zeros_like(mask),
        POOLING_MASK: pooling_mask,
    }
    return {name: values[name] for name in names}


def _described(model: SentenceTransformer) -> str:
    first = model[0]
    return _class_of(first.model if isinstance(first, Transformer) else first)


def _class_of(module: torch.nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"


def _first_line(error: BaseException) -> str:
    """Return the first line of the message of an error's root cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress progress bars of libraries, and their warnings about each other."""
    before, shows_progress = logging.root.manager.disable, _transformers_logging.is_progress_bar_enabled()
    logging.disable(logging.WARNING)
    _transformers_logging.disable_progress_bar()
    try:
        # On an error, torch prints the whole graph.
        silence = io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
        if shows_progress:
            _transformers_logging.enable_progress_bar()

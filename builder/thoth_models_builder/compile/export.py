"""A whole sentence-transformers pipeline as one ONNX graph, by torch's own exporter.

What is exported is the library's own modules, run in their own order, so the graph is what they are; only what a graph
cannot have is put differently: a bag of rows becomes a masked mean, and the prompt that pooling leaves out becomes an
input. Both axes are symbols while torch traces, so nothing of the example can be burnt in, and the finished graph is
compared with the modules at other shapes before it is let out.
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
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Dropout, LayerNorm, Pooling, StaticEmbedding

from thoth_models_builder.compile.errors import NotExportableError
from thoth_models_builder.compile.graphs import write_graph
from thoth_models_builder.compile.tokenizer_files import POOLING_MASK, graph_inputs, max_tokens, write_tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import Tensor

__all__ = ["OUTPUT_NAME", "export_graph", "load_reference", "write_tokenizer"]

OUTPUT_NAME: Final = "sentence_embedding"
"""The one output of every graph: float32 of shape (batch, dimension)."""

_transformers_logging: Any = untyped_logging

_OPSET: Final = 20
"""The first with Gelu as one operator, which has a quick kernel; earlier ones spell it out in five."""

_MODULES: Final = (Transformer, StaticEmbedding, Pooling, Dense, LayerNorm, Dropout, Normalize)
_EXAMPLE: Final = (2, 7)
"""Batch and tokens while tracing; neither 0 nor 1, which torch would take for constants."""

_CHECKED: Final = ((1, 1), (1, 2), (3, 1), (3, 11), (1, 512))
"""Batch and tokens at which the graph is compared with the modules, tokens up to the maximum of the model."""
_TOLERANCE: Final = 1e-3
"""Largest difference, as a part of the largest number of a vector. Kernels differ by 1e-6, a wrong mask by 1e-2."""


def load_reference(directory: Path) -> SentenceTransformer:
    """Load a model directory in fp32 on the CPU, with the attention whose graph is the plainest.

    Args:
        directory: Absolute path of the directory; everything that the model consists of is in it.

    Raises:
        NotExportableError: The model has no such attention, or needs code of its own.
    """
    options = {"dtype": torch.float32, "use_safetensors": True, "attn_implementation": "eager"}
    with _quiet():
        try:
            model = SentenceTransformer(
                str(directory), device="cpu", local_files_only=True, trust_remote_code=False, model_kwargs=options
            )
        except ValueError as error:
            raise NotExportableError(f"cannot be loaded for export: {_first_line(error)}") from error
    # Half-precision modules beside the transformer do not listen to `dtype`.
    model.float()
    model.eval()
    return model


def export_graph(model: SentenceTransformer, target: Path) -> None:
    """Write the whole pipeline as one graph, the same bytes every time for one toolchain.

    Inputs are those of :func:`~thoth_models_builder.compile.tokenizer_files.graph_inputs`, int64 of shape
    (batch, tokens); the output is ``sentence_embedding``, float32 of shape (batch, dimension).

    Args:
        model: As :func:`load_reference` returns it.
        target: Path of the graph. Its weights come to lie beside it, under the name with ``.data`` behind.

    Raises:
        NotExportableError: The pipeline cannot be written as a graph, or the graph does not say what the modules say.
    """
    _check_modules(model)
    names = graph_inputs(model)
    pipeline = _Pipeline(model, excludes_prompt=POOLING_MASK in names)
    batch, tokens = torch.export.Dim("batch"), torch.export.Dim("tokens", max=max_tokens(model))
    example = _example(model, names, *_EXAMPLE)
    with _quiet(), torch.no_grad():
        try:
            traced = torch.export.export(
                pipeline, (example,), dynamic_shapes=({name: {0: batch, 1: tokens} for name in names},), strict=False
            )
            program = torch.onnx.export(
                traced, input_names=names, output_names=[OUTPUT_NAME], opset_version=_OPSET, verbose=False
            )
        except MemoryError:
            raise
        except Exception as error:  # the exporter raises whatever the model's code and its own raise
            raise NotExportableError(f"{_described(model)}: {_first_line(error)}") from error
    if program is None:
        raise AssertionError("the exporter of dynamic graphs returns a program")
    write_graph(program.model_proto, target)
    _compare(model, pipeline, names, target)


class _Pipeline(torch.nn.Module):
    """The modules of a model in their order, from a table of token tensors to the vectors."""

    def __init__(self, model: SentenceTransformer, *, excludes_prompt: bool) -> None:
        super().__init__()
        self.steps = torch.nn.ModuleList(_exportable(module) for module in model)
        self.excludes_prompt = excludes_prompt

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return the vectors of token tensors by name of the input."""
        features: dict[str, Any] = dict(inputs)
        # The encoder must not see it; some pass on whatever they are given.
        pooling_mask = features.pop(POOLING_MASK, None)
        for step in self.steps:
            if isinstance(step, _PoolingByMask):
                features[POOLING_MASK] = pooling_mask
            features = step(features)
        vectors: Tensor = features[OUTPUT_NAME]
        return vectors


class _PoolingByMask(Pooling):
    """Pooling that is told which tokens to leave out, in place of how many the prompt has."""

    def forward(self, features: dict[str, Tensor], **_: object) -> dict[str, Tensor]:
        """Pool by the mask among the features."""
        tokens, mask = features["token_embeddings"], features["attention_mask"]
        # What stands in the place of the prompt's length must be true, which a tensor cannot be while it is traced.
        kept: Any = (features[POOLING_MASK],)
        vectors = self._forward_padded(tokens, mask, features, prompt_length=kept)
        return {**features, OUTPUT_NAME: torch.cat(vectors, dim=-1)}

    @staticmethod
    def _exclude_prompt_from_mask(attention_mask: Tensor, prompt_length: Any) -> Tensor:  # noqa: ANN401, ARG004
        kept: Tensor = prompt_length[0]
        return kept


class _MeanOfRows(torch.nn.Module):
    """What ``EmbeddingBag`` makes of a ragged list of tokens, for padded ones: zeros where there is no token."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.rows = torch.nn.Parameter(rows.detach(), requires_grad=False)

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Put the mean of the rows of each text among the features."""
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


def _check_modules(model: SentenceTransformer) -> None:
    for name, module in model.named_children():
        if type(module) not in _MODULES:
            known = ", ".join(kind.__name__ for kind in _MODULES)
            raise NotExportableError(f"module {name}: expected one of {known}, found {_class_of(module)}")
        if isinstance(module, Transformer) and not type(module.model).__module__.startswith("transformers."):
            raise NotExportableError(
                f"module {name}: expected an encoder of the transformers library, found {_class_of(module.model)}"
            )


def _compare(model: SentenceTransformer, pipeline: _Pipeline, names: list[str], graph: Path) -> None:
    """Refuse a graph that differs from the modules at a shape other than the one that it was traced with."""
    limit = max_tokens(model)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    shapes = {(batch, tokens if limit is None else min(tokens, limit)) for batch, tokens in _CHECKED}
    for batch, tokens in sorted(shapes):
        example = _example(model, names, batch, tokens)
        with torch.no_grad():
            expected = pipeline(example).numpy()
        place = f"{_described(model)}: {batch} x {tokens} tokens"
        try:
            (found,) = session.run([OUTPUT_NAME], {name: tensor.numpy() for name, tensor in example.items()})
        except Exception as error:  # onnxruntime has no error class that it raises for all that a kernel refuses
            raise NotExportableError(f"{place}: the graph cannot be run: {_first_line(error)}") from error
        difference = np.abs(found - expected).max() if found.shape == expected.shape else np.inf
        if not difference <= _TOLERANCE * np.abs(expected).max():
            raise NotExportableError(
                f"{place}: expected the graph to say what the modules say, found a difference of {difference:.2g}"
            )


def _example(model: SentenceTransformer, names: list[str], batch: int, tokens: int) -> dict[str, Tensor]:
    """Return real tokens of that shape: full in the first row, padded in the others as the tokenizer pads."""
    text = "The quick brown fox jumps over the lazy dog; 42 bottles, and some water."
    ids = torch.as_tensor(model.preprocess([text])["input_ids"]).flatten()
    # Every row begins at another token, so that two rows of a wrong graph cannot look alike.
    place = torch.arange(tokens).unsqueeze(0) + torch.arange(batch).unsqueeze(1)
    mask = torch.ones(batch, tokens, dtype=torch.int64)
    for row in range(1, batch):
        mask[row, max(1, tokens - row) :] = 0
    tokenizer = model.tokenizer
    if getattr(tokenizer, "padding_side", "right") == "left":
        mask = mask.flip(1)
    pad = getattr(tokenizer, "pad_token_id", None) or 0
    # Leaves out the first token, as a prompt would, wherever another one is left.
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
    """Return what the first cause of an error says, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the progress of libraries, and their remarks about each other, to themselves."""
    before, shows_progress = logging.root.manager.disable, _transformers_logging.is_progress_bar_enabled()
    logging.disable(logging.WARNING)
    _transformers_logging.disable_progress_bar()
    try:
        # Where it fails, torch prints the whole graph.
        silence = io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
        if shows_progress:
            _transformers_logging.enable_progress_bar()

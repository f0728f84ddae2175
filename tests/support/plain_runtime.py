"""Running what the compile room writes with nothing but its files: the shortest runtime that there can be.

Apart from the real one on purpose, so that a mistake that both rooms share does not hide here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


class PlainRuntime:
    """A graph, its tokenizer and its settings; ``optimize`` lets onnxruntime change the graph as it likes."""

    def __init__(self, graph: Path, *, optimize: bool = False) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        self.settings: dict[str, Any] = json.loads(graph.with_name("settings.json").read_bytes())
        self.tokenizer = Tokenizer.from_file(str(graph.with_name("tokenizer.json")))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        levels = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimize else levels.ORT_DISABLE_ALL
        self.session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def encode(self, texts: list[str], *, prompt: str = "", batch_size: int = 1) -> NDArray[np.float32]:
        encodings = self._tokenize([prompt + text for text in texts])
        prompt_length = self._prompt_length(prompt)
        batches = [encodings[start : start + batch_size] for start in range(0, len(encodings), batch_size)]
        return np.concatenate([self._run(batch, prompt_length) for batch in batches])

    def _tokenize(self, texts: list[str]) -> Any:
        return self.tokenizer.encode_batch(texts, add_special_tokens=self.settings["add_special_tokens"])

    def _prompt_length(self, prompt: str) -> int:
        if not prompt or not self.settings["excludes_prompt"]:
            return 0
        (encoding,) = self._tokenize([prompt])
        special = self.tokenizer.get_added_tokens_decoder().get(encoding.ids[-1])
        return len(encoding.ids) - (special is not None and special.special)

    def _run(self, encodings: list[Any], prompt_length: int) -> NDArray[np.float32]:
        settings = self.settings
        width = max(len(encoding.ids) for encoding in encodings)
        columns: dict[str, list[list[int]]] = {name: [] for name in settings["inputs"]}
        for encoding in encodings:
            count = len(encoding.ids)
            rows = {
                "input_ids": (encoding.ids, settings["pad_token_id"]),
                "attention_mask": ([1] * count, 0),
                "token_type_ids": (encoding.type_ids, settings["pad_token_type_id"]),
                "pooling_mask": ([0] * min(prompt_length, count) + [1] * (count - min(prompt_length, count)), 0),
            }
            for name, column in columns.items():
                values, filler = rows[name]
                padding = [filler] * (width - count)
                column.append([*values, *padding] if settings["padding_side"] == "right" else [*padding, *values])
        inputs = {
            name: np.asarray(column, dtype=np.int64).reshape(len(encodings), width) for name, column in columns.items()
        }
        vectors: NDArray[np.float32] = self.session.run(["sentence_embedding"], inputs)[0]
        return vectors


def cosines(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the cosine of each pair of rows; of two rows of zeros 1."""
    a, b = one.astype(np.float64), other.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    both_zero = ~a.any(axis=1) & ~b.any(axis=1)
    return np.where(both_zero, 1.0, (a * b).sum(axis=1) / np.where(lengths == 0, 1.0, lengths))

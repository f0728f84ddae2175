"""How fast texts are encoded under a CPU quota: ours, beside one thread tuned by hand and the engine's own defaults.

``python -m tests.docker.subjects.quota ROUNDS``: the three take turns, so that what else goes on here meets all.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from tests.docker.subjects.events import attempts, tell, texts
from thoth_models import load_embedding
from thoth_models.process.environment import threads

if TYPE_CHECKING:
    from collections.abc import Callable

PLACE = "/models/mini/onnx-fp32"
BATCH = 16
COUNT = 128


def direct(count: int | None) -> Callable[[list[str]], object]:
    """Return an encoder made of the engine alone, with that many threads; None for what the engine takes by itself."""
    options = onnxruntime.SessionOptions()
    if count is not None:
        options.intra_op_num_threads = options.inter_op_num_threads = count
    session = onnxruntime.InferenceSession(f"{PLACE}/model.onnx", options, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_inputs()]
    tokenizer = Tokenizer.from_file(f"{PLACE}/tokenizer.json")
    tokenizer.enable_truncation(256)
    tokenizer.enable_padding()

    def encode(sentences: list[str]) -> object:
        ordered = sorted(sentences, key=len)  # least padding
        found = []
        for start in range(0, len(ordered), BATCH):
            encodings = tokenizer.encode_batch(ordered[start : start + BATCH])
            columns = {
                "input_ids": [encoding.ids for encoding in encodings],
                "attention_mask": [encoding.attention_mask for encoding in encodings],
                "token_type_ids": [encoding.type_ids for encoding in encodings],
            }
            found.append(session.run(None, {name: np.array(columns[name], dtype=np.int64) for name in names})[0])
        return np.concatenate(found)

    return encode


def main(rounds: int) -> None:
    generator = random.Random(0)  # noqa: S311 - texts, not secrets
    words = " ".join(texts()).split()
    sentences = [" ".join(generator.choices(words, k=generator.randint(3, 40))) for _ in range(COUNT)]
    embedding = load_embedding("mini", variants=["onnx-fp32"])
    encoders = {"tuned": direct(1), "ours": embedding.encode, "default": direct(None)}
    seconds: dict[str, list[float]] = {name: [] for name in encoders}
    for turn in range(rounds + 1):
        for name, encode in encoders.items():
            started = time.perf_counter()
            encode(sentences)
            if turn:  # the first one warms up
                seconds[name].append(time.perf_counter() - started)
    rates = {name: COUNT / statistics.median(values) for name, values in seconds.items()}
    tell("ready", vectors=embedding.encode(texts()).tolist(), attempts=attempts(), rates=rates, threads=threads())


if __name__ == "__main__":
    main(int(sys.argv[1]))

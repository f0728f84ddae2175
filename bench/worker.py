"""One process that is measured: loads one subject as its users would, encodes one text, and then does what it is told.

Run as a script by the interpreter of the subject's environment, where neither this package nor this project need be
installed, so it imports nothing but the standard library until it knows what to load. Its argument is a JSON table; see
:class:`bench.processes.Worker` for the commands. Answers go to what was standard output when it started; whatever the
libraries print goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time

TYPE_CHECKING = False  # without importing typing, which takes time that would be measured
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Encode = Callable[[list[str]], Any]


def sentence_transformers(task: dict[str, Any]) -> Encode:
    """Plain sentence-transformers, as its documentation says, from a local directory."""
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - this import is measured

    return SentenceTransformer(task["path"], device="cpu", local_files_only=True).encode


def openvino(task: dict[str, Any]) -> Encode:
    """The OpenVINO backend of sentence-transformers, in fp32 also where the processor has bfloat16."""
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - this import is measured

    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": str(task["threads"])}
    model = SentenceTransformer(
        task["path"],
        device="cpu",
        backend="openvino",
        local_files_only=True,
        model_kwargs={"file_name": "openvino/openvino_model.xml", "ov_config": settings},
    )
    return model.encode


def fastembed(task: dict[str, Any]) -> Encode:
    """Fastembed with a model of the user's own, from a local directory."""
    from fastembed import TextEmbedding  # type: ignore[import-not-found]  # noqa: PLC0415 - this import is measured
    from fastembed.common import model_description as fe  # type: ignore[import-not-found]  # noqa: PLC0415

    TextEmbedding.add_custom_model(
        model="local/model",
        pooling=fe.PoolingType(task["pooling"].upper()),
        normalization=task["normalize"],
        sources=fe.ModelSource(hf="local/model"),
        dim=task["dimension"],
        model_file="model.onnx",
    )
    model = TextEmbedding(
        "local/model", specific_model_path=task["path"], local_files_only=True, threads=task["threads"]
    )

    def encode(texts: list[str]) -> Any:  # noqa: ANN401 - an array of a library that is not imported here
        import numpy as np  # noqa: PLC0415 - fastembed has imported it already

        return np.array(list(model.embed(texts)))

    return encode


def thoth_models(task: dict[str, Any]) -> Encode:
    """Load one variant of a bundle with this project; every byte of it is verified, as always."""
    from thoth_models import load_embedding  # noqa: PLC0415 - this import is measured

    embedding = load_embedding(task["model"], root=task["path"], variants=[task["variant"]])
    if embedding.info.model != task["model"]:
        raise AssertionError(f"expected {task['model']}, found that {embedding.info.model} answers")
    return embedding.encode


def thoth_models_manager(task: dict[str, Any]) -> Encode:
    """The same through the manager, as a service holds it."""
    from thoth_models import EmbeddingManager, ManagerConfig  # noqa: PLC0415 - this import is measured

    manager = EmbeddingManager.get_instance(ManagerConfig(root=task["path"], variants=[task["variant"]]))
    model: str = task["model"]
    return lambda texts: manager.encode(texts, model)


def thoth_models_prepacked(task: dict[str, Any]) -> Encode:
    """Load a variant with onnxruntime's prepacking on, which this project turns off, to see what that gains and costs.

    onnxruntime is imported before the files are hashed, not meanwhile, so the first vector is a little late.
    """
    import onnxruntime  # noqa: PLC0415 - this import is measured

    class Options(onnxruntime.SessionOptions):  # type: ignore[misc]  # it has no types
        def add_session_config_entry(self, key: str, value: str) -> None:
            if key != "session.disable_prepacking":
                super().add_session_config_entry(key, value)

    onnxruntime.SessionOptions = Options
    return thoth_models(task)


_LOADERS: dict[str, Callable[[dict[str, Any]], Encode]] = {
    "sentence-transformers": sentence_transformers,
    "openvino": openvino,
    "fastembed": fastembed,
    "thoth-models": thoth_models,
    "thoth-models-manager": thoth_models_manager,
    "thoth-models-prepacked": thoth_models_prepacked,
}


def read_memory() -> dict[str, int]:
    """Return the resident and the proportional memory of this process in bytes."""
    with open("/proc/self/smaps_rollup") as file:  # noqa: PTH123 - pathlib need not be imported for this
        lines = dict(line.split(":", 1) for line in list(file)[1:])
    # In kilobytes, each line with its unit.
    return {name.lower(): int(lines[name].split()[0]) * 1024 for name in ("Rss", "Pss")}


def peak_while(work: Callable[[], object]) -> dict[str, float]:
    """Return the resident memory before some work, the most of it meanwhile, in bytes, and its seconds."""
    before = read_memory()["rss"]
    with open("/proc/self/clear_refs", "w") as file:  # noqa: PTH123 - as above
        file.write("5")  # the peak begins again at what there is
    started = time.monotonic()
    work()
    seconds = time.monotonic() - started
    with open("/proc/self/status") as file:  # noqa: PTH123 - as above
        (line,) = (line for line in file if line.startswith("VmHWM:"))
    return {"before": before, "peak": int(line.split()[1]) * 1024, "seconds": seconds}


def encode_in_threads(encode: Encode, texts: list[str], callers: int, calls: int) -> float:
    """Return the seconds of ``calls`` calls, each with its share of the texts, by so many callers at the same time."""
    shares = [texts[number::calls] for number in range(calls)]
    if callers == 1:
        started = time.monotonic()
        for share in shares:
            encode(share)
        return time.monotonic() - started
    import threading  # noqa: PLC0415 - not before the first vector

    ready = threading.Barrier(callers + 1)
    errors: list[BaseException] = []

    def call(mine: list[list[str]]) -> None:
        ready.wait()
        try:
            for share in mine:
                encode(share)
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    threads = [threading.Thread(target=call, args=(shares[number::callers],)) for number in range(callers)]
    for thread in threads:
        thread.start()
    ready.wait()
    started = time.monotonic()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - started
    if errors:
        raise errors[0]
    return seconds


def product_rate() -> float:
    """Return the operations per second of matrix products of the sizes of all-MiniLM-L6-v2, of 2,048 tokens."""
    import torch  # noqa: PLC0415 - only where it is imported already

    states, up, down = (torch.rand(*sides) for sides in ((2048, 384), (384, 1536), (1536, 384)))
    rates = []
    for _ in range(20):
        started = time.monotonic()
        states @ up @ down
        rates.append(2 * 2 * 2048 * 384 * 1536 / (time.monotonic() - started))
    return sorted(rates)[len(rates) // 2]


def obey(command: dict[str, Any], encode: Encode) -> dict[str, Any]:
    """Carry out one command and return the answer."""
    if command["do"] == "memory":
        return {"memory": read_memory()}
    if command["do"] == "product":
        return {"rate": product_rate()}
    with open(command["texts"], encoding="utf-8") as file:  # noqa: PTH123 - as above
        texts = json.load(file)
    if command["do"] == "peak":
        return peak_while(lambda: encode(texts))
    if command["do"] == "encode":
        return {"seconds": encode_in_threads(encode, texts, command["callers"], command["calls"])}
    import numpy as np  # noqa: PLC0415 - every subject has imported it already

    np.save(command["to"], np.asarray(encode(texts), dtype=np.float32), allow_pickle=False)
    heavy = ("torch", "transformers", "huggingface_hub", "onnxruntime", "openvino")
    return {"imported": [name for name in heavy if name in sys.modules]}


def main() -> None:
    """Load, encode one text, report the time of its vector, and then follow commands."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    task = json.loads(sys.argv[1])
    if "memory_limit" in task:
        import resource  # noqa: PLC0415 - only where memory may run out, and another process would be killed for it

        resource.setrlimit(resource.RLIMIT_DATA, (task["memory_limit"],) * 2)
    encode = _LOADERS[task["loader"]](task)
    encode([task["text"]])
    print(json.dumps({"first": time.monotonic()}), file=answers, flush=True)
    for line in sys.stdin:
        try:
            answer = obey(json.loads(line), encode)
        except Exception as error:  # noqa: BLE001 - the benchmark reports it as the failure of this subject
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()

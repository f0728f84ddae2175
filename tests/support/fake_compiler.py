"""The compiler process without libraries, for tests: its steps are what the prompts of a job say.

Each prompt is a step of its name, and each word of it is something that the step does: ``sleep`` for a minute, ``kill``
itself, ``raise``, ``wait`` for a moment, ``read`` its input, ``print`` what few encodings have, ``pid`` writes its
number into a file of its name, ``result`` writes a result,
``after:NAME`` makes it wait for another step, ``weights:N`` says what it holds in memory, ``confined`` that it would be
in the sandbox.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

from thoth_models.bundle.accuracy import Accuracy
from thoth_models.bundle.digest import ContentDigest, Digest
from thoth_models_builder.compile import server
from thoth_models_builder.compile.steps import Step
from thoth_models_builder.spec.compile_job import MODEL_DIRECTORY, RESULT_NAME, CompileJob, CompileResult

if TYPE_CHECKING:
    from pathlib import Path

GOLDEN = b"golden vectors"


def steps_of(job: CompileJob) -> tuple[Step, ...]:
    return tuple(_step(name, words.split()) for name, words in job.prompts.items())


def _step(name: str, words: list[str]) -> Step:
    def run(directory: Path, _threads: int) -> None:
        for word in words:
            _do(word, name, directory)

    needs = frozenset(word.removeprefix("after:") for word in words if word.startswith("after:"))
    weights = next((float(word.removeprefix("weights:")) for word in words if word.startswith("weights:")), 1.0)
    confined = {"made": 1} if "confined" in words else {}
    return Step(name=name, run=run, needs=needs, weights=weights, confined=confined)


def _do(word: str, name: str, directory: Path) -> None:
    if word == "sleep":
        time.sleep(60)
    elif word == "hold":
        ctypes.PyDLL(None).pause()  # as a library that hangs and keeps the interpreter lock
    elif word == "wait":
        time.sleep(0.3)
    elif word == "read":
        assert sys.stdin.read() == ""
    elif word == "print":
        sys.stdout.write("ligature ﬁ, 日本\n")
    elif word == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif word == "raise":
        raise ValueError(f"what step {name} says")
    elif word == "pid":
        (directory.parent / f"{name}.pid").write_text(str(os.getpid()), encoding="utf-8")
    elif word == "result":
        place = directory / MODEL_DIRECTORY
        place.mkdir(exist_ok=True)
        (place / "golden.json").write_bytes(GOLDEN)
        accuracy = Accuracy(minimum_cosine=1.0, mean_cosine=1.0, largest_difference=0.0, neighbour_agreement=1.0)
        files = {"golden.json": ContentDigest(size=len(GOLDEN), sha256=Digest.of(GOLDEN))}
        result = CompileResult(files=files, accuracy={"torch-fp32": accuracy}, omitted={})
        (directory / RESULT_NAME).write_bytes(result.to_bytes())


if __name__ == "__main__":
    sys.exit(server.main(sys.argv[1:], names=(), steps=steps_of, cores=2))

"""Run a step of a job with the model's own code: in a directory of its own, confined, and with its results checked."""

from __future__ import annotations

import os
import re
import resource
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from thoth_models.bundle.digest import hash_file
from thoth_models.bundle.golden import GOLDEN_NAME, Golden
from thoth_models.process.offline import network_guard
from thoth_models_builder.compile.errors import ConfinedError, SandboxError
from thoth_models_builder.compile.sandbox.confine import HOME, Limits, memory_limit
from thoth_models_builder.compile.sandbox.results import remove_tree, take_results
from thoth_models_builder.compile.sandbox.supervise import run_confined
from thoth_models_builder.compile.texts import golden_texts
from thoth_models_builder.spec.compile_job import (
    JOB_NAME,
    MODEL_DIRECTORY,
    OMITTED_SUFFIX,
    REFUSAL_NAME,
    WORK_DIRECTORY,
    CompileJob,
)
from thoth_models_builder.spec.variants import GRAPH_NAME, SOURCE_DIRECTORY

if TYPE_CHECKING:
    from thoth_models_builder.compile.steps import Step

_REFUSAL_BYTES: Final = 64 * 1024
_READ_BYTES: Final = 2 * 1024**3
"""Memory for reading what a step leaves, of which a graph takes most: a few times its length."""
_DISK_WEIGHTS: Final = 6
_DISK_BYTES: Final = 1024**3
"""Files of a step: as many bytes, and a multiple of the weights, of which an export writes a copy in fp32."""


def limits_for(weight_bytes: int, memory: int | None) -> Limits:
    """Return what a step may use.

    Args:
        weight_bytes: Length of the model's weights.
        memory: Available memory of the machine in bytes, or None if it is unknown.
    """
    return Limits(memory=memory_limit(memory), disk=_DISK_WEIGHTS * weight_bytes + _DISK_BYTES)


def run_step(step: Step, directory: Path, threads: int, limits: Limits) -> None:
    """Run a step in the sandbox, and move its results to the directory of its job.

    Args:
        step: The step; it gets a directory with the files of the job that it reads, which are copies, and ``threads``.
        directory: Directory of the job, which is not changed if the step fails.
        threads: Number of threads.
        limits: What it may use.

    Raises:
        SandboxError: The step failed, could not be confined, or left something else than it should have.
    """
    job = CompileJob.from_bytes((directory / JOB_NAME).read_bytes())
    source = (directory / MODEL_DIRECTORY / SOURCE_DIRECTORY).resolve()
    _check_code(job, source)
    scratch = directory / f"confined-{os.getpid()}"
    (scratch / MODEL_DIRECTORY).mkdir(parents=True)
    try:
        shutil.copyfile(directory / JOB_NAME, scratch / JOB_NAME)
        (scratch / JOB_NAME).chmod(0o644)
        (scratch / MODEL_DIRECTORY / SOURCE_DIRECTORY).symlink_to(source)
        copies = _give(step.given, directory, scratch)

        def work() -> None:
            _keep_modules_in(scratch / HOME / "modules")
            with network_guard():
                step.run(scratch, threads)

        own = replace(limits, computing=threads)
        given = frozenset({f"{MODEL_DIRECTORY}/{SOURCE_DIRECTORY}", *copies})
        try:
            run_confined(work, scratch=scratch, outside=directory.parent, readable=[source], limits=own)
        except ConfinedError:
            take_results(scratch, directory, {re.escape(REFUSAL_NAME): _REFUSAL_BYTES}, given)
            raise
        taken = take_results(scratch, directory, step.confined, given)
        # A variant that was omitted before has none.
        if not taken and not any(path.endswith(OMITTED_SUFFIX) for path in copies):
            raise SandboxError("expected the results of the step, found none: the model's own code ended the process")
        _limit_reading()
        for path in taken:
            _check_result(directory / path, job)
    finally:
        remove_tree(scratch)


def _give(pattern: str, directory: Path, scratch: Path) -> list[str]:
    """Copy the files of earlier steps that a step reads, and return their paths."""
    found = []
    for place in (MODEL_DIRECTORY, WORK_DIRECTORY):
        for path in sorted((directory / place).rglob("*")):
            relative = str(path.relative_to(directory))
            if path.is_file() and re.fullmatch(pattern, relative):
                (scratch / relative).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, scratch / relative)
                (scratch / relative).chmod(0o644)
                found.append(relative)
    return found


def _limit_reading() -> None:
    """Limit the memory of this process, which ends after the step: a small file can become large when it is read."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + _READ_BYTES, hard))


def _check_code(job: CompileJob, source: Path) -> None:
    for path in job.code:
        with (source / path).open("rb") as file:
            found = hash_file(file)
        if found != job.source[path]:
            raise SandboxError(f"{path}: expected the reviewed sha256 {job.source[path].sha256}, found {found.sha256}")


def _keep_modules_in(directory: Path) -> None:
    """Make transformers copy the code to a directory that this process can write, and import it from there."""
    import transformers.dynamic_module_utils as untyped_modules  # noqa: PLC0415 - the server has imported it

    modules: Any = untyped_modules
    modules.HF_MODULES_CACHE = str(directory)


def _check_result(path: Path, job: CompileJob) -> None:
    """Read a result that others use: golden vectors of the very texts, and a graph that names no other file.

    Raises:
        SandboxError: The file has something else.
    """
    if path.name == GOLDEN_NAME:
        golden = Golden.from_bytes(path.read_bytes(), dimension=job.dimension)
        # Without those of which the tokenizer makes no tokens.
        known = set(golden_texts(job.max_seq_length, job.prompts))
        if not golden.texts or not known.issuperset(zip(golden.prompts, golden.texts, strict=True)):
            raise SandboxError(f"{GOLDEN_NAME}: expected the vectors of the golden texts, found those of others")
    elif path.parent.name == WORK_DIRECTORY and path.name == GRAPH_NAME:
        from thoth_models_builder.compile.sandbox.graph import check_graph  # noqa: PLC0415 - needs onnx

        check_graph(path)

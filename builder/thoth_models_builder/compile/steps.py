"""The steps of compiling one model, and their dependencies; each step runs in its own process.

When the first step starts, a job's directory has ``job.json`` and the source files. Each step reads files of earlier
steps and writes files for later ones; the last one writes ``result.json``.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from thoth_models.bundle.agreement import Agreement, compare, measured, neighbour_agreement
from thoth_models.bundle.canonical_json import FormatError
from thoth_models.bundle.digest import hash_file
from thoth_models.bundle.golden import GOLDEN_NAME, Golden
from thoth_models.process.environment import THREADS_VARIABLE
from thoth_models_builder.compile.errors import NotExportableError, UnusableModelError
from thoth_models_builder.compile.measured_bundle import load_variant
from thoth_models_builder.compile.texts import corpus, golden_texts
from thoth_models_builder.spec.compile_job import (
    JOB_NAME,
    MODEL_DIRECTORY,
    OMITTED_SUFFIX,
    PLAIN_ARITHMETIC,
    REFUSAL_NAME,
    RESULT_NAME,
    WORK_DIRECTORY,
    CompileJob,
    CompileResult,
    printable,
)
from thoth_models_builder.spec.variants import GRAPH_NAME, SOURCE_DIRECTORY, VARIANTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from thoth_models.bundle.digest import ContentDigest
    from thoth_models.types import FloatArray

_TORCH: Final = "torch-fp32"
_CONTROL: Final = 9
"""Every so-many-th text of the corpus is also encoded by sentence-transformers alone. Nine has no factor in common with
the five forms in which a subject meets a property, so texts of every form are."""
_CONTROL_COSINE: Final = 0.9999

_GOLDEN, _EXPORT, _CORPUS, _RECORD = "golden vectors", "export", "reference vectors", "record"


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A step of a job.

    Attributes:
        name: Name in progress and messages.
        run: Runs the step, given the directory of a job and its number of threads.
        needs: Names of the steps that must be done before.
        is_plain: Whether it computes only with the instructions of every processor.
        uses_cores: Whether it can use more than one thread.
        weights: Its approximate memory, as a multiple of the model's weights.
        confined: For a step of a model with its own code: patterns of the paths of files that it leaves in the job's
            directory, and the maximum length of each in bytes. Empty for models without.
        given: Pattern of the paths of the files of earlier steps that a confined step reads.
    """

    name: str
    run: Callable[[Path, int], None]
    needs: frozenset[str] = frozenset()
    is_plain: bool = False
    uses_cores: bool = False
    weights: float = 1.0
    confined: Mapping[str, int] = field(default_factory=dict)
    given: str = ""


_TEXT_BYTES: Final = 64 * 1024
_JSON_BYTES: Final = 64 * 1024 * 1024
_ARRAY_BYTES: Final = 512 * 1024 * 1024
"""Also for a graph, whose weights are in another file, but not its constants, such as tables of positions."""
_WEIGHT_BYTES: Final = 2**40
"""No limit of its own: the sandbox limits the disk by the weights of the model."""
_LEFT_BY_EXPORT: Final = {
    rf"{WORK_DIRECTORY}/onnx-(fp32|int8){re.escape(OMITTED_SUFFIX)}": _TEXT_BYTES,
    rf"{WORK_DIRECTORY}/{re.escape(GRAPH_NAME)}": _ARRAY_BYTES,
    rf"{WORK_DIRECTORY}/{re.escape(GRAPH_NAME)}\.data": _WEIGHT_BYTES,
    rf"{MODEL_DIRECTORY}/onnx-(fp32|int8)/(tokenizer|settings)\.json": _JSON_BYTES,
}
_GOLDEN_PATH: Final = rf"{MODEL_DIRECTORY}/{re.escape(GOLDEN_NAME)}"
_OMITTED: Final = rf"{WORK_DIRECTORY}/[a-z0-9-]+{re.escape(OMITTED_SUFFIX)}"


def steps_of(job: CompileJob) -> tuple[Step, ...]:
    """Return the steps of a job, in the preferred order of starting.

    Raises:
        FormatError: The job has code, and a variant that would run it without the sandbox.
    """
    if job.code and _TORCH in job.variants:
        raise FormatError(f"variants: expected compiled ones only, because the job has code, found {_TORCH}")
    compiled = [name for name in job.variants if VARIANTS[name].is_compiled]
    made = {name: _make_step(name) for name in compiled}
    steps = []
    if compiled:
        export = Step(
            name=_EXPORT,
            run=lambda place, _: Workshop(place).export(),
            weights=1.5,
            confined=_LEFT_BY_EXPORT,
        )
        steps.append(export)
    golden = Step(
        name=_GOLDEN,
        run=lambda place, _: Workshop(place).write_golden(),
        is_plain=True,
        confined={_GOLDEN_PATH: _JSON_BYTES},
    )
    steps += [golden, *made.values()]
    if _TORCH in job.variants:
        steps.append(_measure_step(_TORCH, _GOLDEN))
    else:
        reference = Step(
            name=_CORPUS,
            run=lambda place, threads: Workshop(place).write_corpus(threads),
            uses_cores=True,
            confined={rf"{WORK_DIRECTORY}/corpus-reference\.npy": _ARRAY_BYTES},
        )
        steps.append(reference)
    steps += [_measure_step(name, _GOLDEN, step.name) for name, step in made.items()]
    if not job.code:
        steps = [replace(step, confined={}) for step in steps]
    names = frozenset(step.name for step in steps)
    return (*steps, Step(name=_RECORD, run=lambda place, threads: Workshop(place).record(threads), needs=names))


def _make_step(variant: str) -> Step:
    is_rounded = VARIANTS[variant].precision == "int8"
    graph = re.escape(GRAPH_NAME)
    made = rf"{MODEL_DIRECTORY}/{VARIANTS[variant].directory}/{graph}"
    return Step(
        name=f"{'quantise' if is_rounded else 'optimise'} {variant}",
        run=lambda place, _: Workshop(place).make(variant),
        needs=frozenset([_EXPORT]),
        weights=3.0 if is_rounded else 2.0,
        confined={
            made: _ARRAY_BYTES,
            rf"{made}\.data": _WEIGHT_BYTES,
            rf"{made}\.tensors\.json": _JSON_BYTES,
            rf"{WORK_DIRECTORY}/{variant}{re.escape(OMITTED_SUFFIX)}": _TEXT_BYTES,
        },
        given=rf"{WORK_DIRECTORY}/{graph}(\.data)?|{_OMITTED}",
    )


def _measure_step(variant: str, *needs: str) -> Step:
    return Step(
        name=f"measure {variant}",
        run=lambda place, threads: Workshop(place).measure(variant, threads),
        needs=frozenset(needs),
        uses_cores=True,
        confined={
            rf"{WORK_DIRECTORY}/{variant}\.json": _TEXT_BYTES,
            rf"{WORK_DIRECTORY}/corpus-{variant}\.npy": _ARRAY_BYTES,
        },
        given=rf"{MODEL_DIRECTORY}/{VARIANTS[variant].directory}/.+|{_GOLDEN_PATH}|{_OMITTED}",
    )


class Workshop:
    """The directory of a job, and the work of the steps in it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._job = CompileJob.from_bytes((directory / JOB_NAME).read_bytes())
        self._model = directory / MODEL_DIRECTORY
        self._source = (self._model / SOURCE_DIRECTORY).resolve()
        self._work = directory / WORK_DIRECTORY
        self._work.mkdir(exist_ok=True)

    def write_golden(self) -> None:
        """Encode the golden texts with sentence-transformers, one at a time."""
        from thoth_models_builder.compile.reference import Reference  # noqa: PLC0415 - not every step needs torch

        with self._refusals():
            reference = Reference(self._source, runs_code=bool(self._job.code))
            every = golden_texts(self._job.max_seq_length, self._job.prompts)
            texts = [(prompt, text) for prompt, text in every if reference.has_tokens(prompt, text)]
            vectors = reference.golden_vectors(texts, self._job.dimension)
        golden = Golden(
            texts=tuple(text for _, text in texts),
            prompts=tuple(prompt for prompt, _ in texts),
            vectors=vectors,
        )
        (self._model / GOLDEN_NAME).write_bytes(golden.to_bytes())

    def export(self) -> None:
        """Write the graph from which the variants are compiled, and the tokenizer files of each variant."""
        from thoth_models_builder.compile.export import (  # noqa: PLC0415 - see write_golden
            export_graph,
            load_reference,
            write_tokenizer,
        )

        variants = [name for name in self._job.variants if VARIANTS[name].is_compiled]
        try:
            with self._refusals():
                model = load_reference(self._source, runs_code=bool(self._job.code))
            export_graph(model, self._work / GRAPH_NAME, runs_code=bool(self._job.code))
            written = self._work / "tokenizer"
            written.mkdir()
            write_tokenizer(model, written)
        except NotExportableError as error:
            for name in variants:
                self._omit(name, error)
            return
        for name in variants:
            target = self._model / VARIANTS[name].directory
            target.mkdir()
            for path in written.iterdir():
                (target / path.name).write_bytes(path.read_bytes())

    def make(self, variant: str) -> None:
        """Derive the graph of a variant from the exported one."""
        if variant in self._omitted():
            return
        from thoth_models_builder.compile.graphs.feed_forward import UNDIVIDED_TOKENS  # noqa: PLC0415 - see write_golden
        from thoth_models_builder.compile.graphs.writing import finish_graph  # noqa: PLC0415 - see write_golden

        graph = self._work / GRAPH_NAME
        try:
            if VARIANTS[variant].precision == "int8":
                from thoth_models_builder.compile.quantize import quantize_graph  # noqa: PLC0415 - see write_golden

                graph = self._work / f"{variant}.onnx"
                quantize_graph(self._work / GRAPH_NAME, graph)
            target = self._model / VARIANTS[variant].directory
            target.mkdir(exist_ok=True)
            # Without a limit are only static embeddings, which have no layers.
            longest = self._job.max_seq_length or 0
            finish_graph(
                graph,
                target / GRAPH_NAME,
                precision=VARIANTS[variant].precision,
                is_for_long_texts=longest > UNDIVIDED_TOKENS,
            )
        except NotExportableError as error:
            self._omit(variant, error)

    def write_corpus(self, threads: int) -> None:
        """Encode the corpus with sentence-transformers, unless a measured variant does so."""
        self._save_corpus("reference", self._reference_vectors(corpus(), threads))

    def measure(self, variant: str, threads: int) -> None:
        """Measure how closely a variant follows the golden vectors; it is loaded and called as by a service."""
        if variant in self._omitted():
            return
        os.environ[THREADS_VARIABLE] = str(threads)
        embedding = load_variant(self._job, self._model, variant, self._work / f"measure-{variant}")
        agreement = embedding.check_golden()
        if agreement is None or not np.isfinite([agreement.minimum_cosine, agreement.largest_difference]).all():
            raise ArithmeticError(
                f"{variant}: expected finite numbers in every golden vector, found others: {agreement}"
            )
        golden = Golden.from_bytes((self._model / GOLDEN_NAME).read_bytes(), dimension=self._job.dimension)
        worst = golden.texts[agreement.worst]
        print(f"{variant}: {agreement}; the worst is {worst[:60]!r}")  # noqa: T201 - the log
        vectors = embedding.encode(corpus(), prompt="", normalize_embeddings=False)
        if variant == _TORCH:
            self._check_reference(vectors, threads)
        self._save_corpus(variant, vectors)
        (self._work / f"{variant}.json").write_text(json.dumps(asdict(agreement)), encoding="utf-8")

    def record(self, threads: int) -> None:
        """Write the result from the files and figures of all steps."""
        omitted = self._omitted()
        made = [name for name in self._job.variants if name not in omitted]
        if not made and self._job.code:
            raise NotExportableError(
                "expected a variant that can be compiled, because a bundle carries no code of a model, found none: "
                f"{'; '.join(f'{name}: {reason}' for name, reason in omitted.items())}"
            )
        if not made:
            # sentence-transformers itself can always run it, because it has computed the golden vectors.
            made = [_TORCH]
            self.measure(_TORCH, threads)
        reference = _TORCH if _TORCH in self._job.variants else "reference"
        vectors = self._load_corpus(reference)
        accuracy = {}
        for name in made:
            agreement = Agreement(**json.loads((self._work / f"{name}.json").read_bytes()))
            # It is its own reference.
            neighbours = 1.0 if name == reference else neighbour_agreement(vectors, self._load_corpus(name))
            accuracy[name] = measured(agreement, neighbours)
        result = CompileResult(files=self._made_files(), accuracy=accuracy, omitted=omitted)
        (self._directory / RESULT_NAME).write_bytes(result.to_bytes())

    def _check_reference(self, vectors: FloatArray, threads: int) -> None:
        """Compare texts of the corpus with sentence-transformers alone, because other variants are measured against it.

        Otherwise, an error of the runtime in batches or their order would be the same on both sides.
        """
        expected = self._reference_vectors(corpus()[::_CONTROL], threads)
        agreement = compare(expected, np.ascontiguousarray(vectors[::_CONTROL]))
        if not agreement.reaches(_CONTROL_COSINE):
            raise ArithmeticError(f"{_TORCH}: expected the vectors of sentence-transformers, found others: {agreement}")

    def _reference_vectors(self, texts: list[str], threads: int) -> FloatArray:
        from thoth_models_builder.compile.reference import Reference  # noqa: PLC0415 - see write_golden

        with self._refusals():
            reference = Reference(self._source, threads=threads, runs_code=bool(self._job.code))
        return reference.encode_corpus(texts)

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        """Leave the reason for the builder if a bundle must not contain the model."""
        try:
            yield
        except UnusableModelError as error:
            # Replaced at once, because another step may refuse the model in the same moment.
            written = self._work / f"{REFUSAL_NAME}-{os.getpid()}"
            written.write_text(str(error), encoding="utf-8")
            written.replace(self._directory / REFUSAL_NAME)
            raise

    def _save_corpus(self, name: str, vectors: FloatArray) -> None:
        np.save(self._work / f"corpus-{name}.npy", vectors)

    def _load_corpus(self, name: str) -> FloatArray:
        vectors: FloatArray = np.load(self._work / f"corpus-{name}.npy")
        return vectors

    def _omit(self, variant: str, reason: NotExportableError) -> None:
        (self._work / f"{variant}{OMITTED_SUFFIX}").write_text(str(reason), encoding="utf-8")

    def _omitted(self) -> dict[str, str]:
        return {
            path.stem: printable(path.read_text(encoding="utf-8", errors="replace"))
            for path in sorted(self._work.glob(f"*{OMITTED_SUFFIX}"))
        }

    def _made_files(self) -> dict[str, ContentDigest]:
        """Return the files that were written, without those of variants that failed."""
        omitted = {VARIANTS[name].directory for name in self._omitted()}
        files = {}
        for path in sorted(self._model.rglob("*")):
            relative = path.relative_to(self._model)
            if path.is_file() and relative.parts[0] not in (SOURCE_DIRECTORY, *omitted):
                with path.open("rb") as file:
                    files[str(relative)] = hash_file(file)
        return files


def use_native_arithmetic(settings: Mapping[str, str]) -> None:
    """Allow the libraries of this process to use all instructions of the processor; call it before they compute.

    Args:
        settings: The builder's own values of the variables of plain arithmetic.
    """
    for name in PLAIN_ARITHMETIC:
        os.environ.pop(name, None)
    os.environ.update(settings)

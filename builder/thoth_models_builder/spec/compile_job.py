"""The messages between the builder and its compiler process: jobs, results, requests and events.

Pure. A job is a directory: the builder writes :data:`JOB_NAME` and the source files, and the compiler writes its output
files and :data:`RESULT_NAME`. Requests are lines of JSON on the compiler's standard input, events on a pipe of their
own, because libraries may write to standard output.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final, Self

from thoth_models.bundle.accuracy import Accuracy
from thoth_models.bundle.canonical_json import canonical_json, parse_json, safe_path
from thoth_models.bundle.digest import ContentDigest
from thoth_models_builder.spec.variants import VARIANTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from thoth_models.bundle.canonical_json import Node

JOB_NAME: Final = "job.json"
RESULT_NAME: Final = "result.json"
REFUSAL_NAME: Final = "refusal.txt"
"""File that a failed job leaves instead of a result if a bundle must not contain the model: one reason a line."""
MODEL_DIRECTORY: Final = "model"
"""Directory for the files of the model in a job's directory; laid out like the model's directory in a bundle."""
WORK_DIRECTORY: Final = "work"
"""Directory for what steps leave for later ones, and no bundle has."""
OMITTED_SUFFIX: Final = ".omitted"
"""Appended to the name of a variant for the file in it that says why the variant is not made."""
LOG_DIRECTORY: Final = "logs"
"""Directory for the output of the steps, one file per step."""

PLAIN_ARITHMETIC: Final = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "MKL_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
}
"""Variables that make torch's libraries use only the instructions of every x86-64 processor, in a fixed order.

With other instructions or more threads, the last bits of matrix products differ. The compiler process is started with
these variables, so that they are set before any import; steps that may use more instructions remove them.
"""

COMPILER_ENVIRONMENT: Final = {
    # No result may depend on hash order; if one does, it is at least the same every time.
    "PYTHONHASHSEED": "0",
    # Libraries may open text files, and print texts, without stating an encoding.
    "PYTHONUTF8": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "ORT_DISABLE_TELEMETRY": "1",
    **PLAIN_ARITHMETIC,
}
"""Variables that the compiler process is started with."""

_INHERITED: Final = re.compile(
    r"PATH|HOME|USER|LOGNAME|LANG|LC_\w+|TZ|TMPDIR|LD_\w+|PYTHON\w+|VIRTUAL_ENV|COV_\w+|COVERAGE_\w+|GLIBC_TUNABLES|MALLOC_\w+"
    r"|KMP_\w+|GOMP_\w+|OPENBLAS_\w+|TORCH\w*|THOTH_MODELS_(THREADS|MEMORY)"
)


def compiler_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the compiler process: no tokens, proxies or addresses, which it does not need.

    The code of a model that runs in a child of it can read the environment that it was started with.
    """
    return {
        **{name: value for name, value in environment.items() if _INHERITED.fullmatch(name)},
        **COMPILER_ENVIRONMENT,
    }


_VERSION: Final = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class CompileJob:
    """What to compile: everything that decides the result, and nothing else.

    Attributes:
        source: Content of each source file, by path in the model's source directory.
        variants: Names of the variants to compile, sorted.
        dimension: Length of a vector.
        max_seq_length: Longest input in tokens, or None.
        pooling: How token vectors become one.
        similarity: Similarity function that the model was published for.
        prompts: Prompts by name; a prompt is a string that is added before a text.
        default_prompt_name: Name of the prompt that is used if the caller names none, or None.
        code: Paths of the source files that are reviewed Python code, sorted; steps that run them are confined.
    """

    source: Mapping[str, ContentDigest]
    variants: tuple[str, ...]
    dimension: int
    max_seq_length: int | None
    pooling: str
    similarity: str
    prompts: Mapping[str, str]
    default_prompt_name: str | None
    code: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        """Return the canonical JSON."""
        return canonical_json(
            {
                "version": _VERSION,
                "code": list(self.code),
                "source": {path: content.to_document() for path, content in self.source.items()},
                "variants": list(self.variants),
                "dimension": self.dimension,
                "max_seq_length": self.max_seq_length,
                "pooling": self.pooling,
                "similarity": self.similarity,
                "prompts": dict(self.prompts),
                "default_prompt_name": self.default_prompt_name,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read the JSON of a job.

        Raises:
            FormatError: The document does not have the form that this release reads; the message names the key.
        """
        keys = parse_json(data).members(
            "version",
            "code",
            "source",
            "variants",
            "dimension",
            "max_seq_length",
            "pooling",
            "similarity",
            "prompts",
            "default_prompt_name",
        )
        keys["version"].one_of(_VERSION)
        limit = keys["max_seq_length"]
        source = _files(keys["source"])
        return cls(
            source=source,
            code=keys["code"].sorted_unique(lambda node: node.one_of(*source)),
            variants=keys["variants"].sorted_unique(lambda node: node.one_of(*VARIANTS)),
            dimension=keys["dimension"].integer(minimum=1),
            max_seq_length=None if limit.value is None else limit.integer(minimum=1),
            pooling=keys["pooling"].text(),
            similarity=keys["similarity"].text(),
            prompts=keys["prompts"].texts(),
            default_prompt_name=keys["default_prompt_name"].optional_text(),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class CompileResult:
    """The result of a job.

    Attributes:
        files: Content of each output file, by path in the model's directory.
        accuracy: Measured figures of each compiled variant.
        omitted: By variant, the reason why it could not be compiled.
    """

    files: Mapping[str, ContentDigest]
    accuracy: Mapping[str, Accuracy]
    omitted: Mapping[str, str]

    def to_bytes(self) -> bytes:
        """Return the canonical JSON."""
        return canonical_json(
            {
                "version": _VERSION,
                "files": {path: content.to_document() for path, content in self.files.items()},
                "accuracy": {name: accuracy.to_document() for name, accuracy in self.accuracy.items()},
                "omitted": dict(self.omitted),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read the JSON of a result.

        Raises:
            FormatError: The document does not have the form that this release reads; the message names the key.
        """
        keys = parse_json(data).members("version", "files", "accuracy", "omitted")
        keys["version"].one_of(_VERSION)
        measured = {node.key_node().one_of(*VARIANTS): Accuracy.from_node(node) for node in keys["accuracy"].mapping()}
        return cls(files=_files(keys["files"]), accuracy=measured, omitted=keys["omitted"].texts())


def _files(node: Node) -> dict[str, ContentDigest]:
    return {safe_path(entry.key_node()): ContentDigest.from_node(entry) for entry in node.mapping()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A request of the builder to the compiler.

    Attributes:
        kind: ``compile`` a job, or ``cancel`` it.
        job: Name of the job.
        directory: Its directory; empty to cancel.
        weight_bytes: Length of the model's weights, from which the needed memory is estimated.
    """

    kind: str
    job: str
    directory: str = ""
    weight_bytes: int = 0

    def to_line(self) -> bytes:
        """Return a line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Read a line of JSON that :meth:`to_line` wrote."""
        return cls(**json.loads(line))


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """An event of a job, reported by the compiler.

    Attributes:
        kind: ``begun``, ``step_begun``, ``step_ended``, and last either ``done`` or ``failed``.
        job: Name of the job.
        steps: For ``begun``: the names of its steps, in their usual order.
        step: For the others except ``done``: name of the step.
        seconds: For ``step_ended``: how long it took.
        reason: For ``failed``: how the step ended.
    """

    kind: str
    job: str
    steps: tuple[str, ...] = field(default=())
    step: str = ""
    seconds: float = 0.0
    reason: str = ""

    def to_line(self) -> bytes:
        """Return a line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Read a line of JSON that :meth:`to_line` wrote."""
        values = json.loads(line)
        return cls(**{**values, "steps": tuple(values["steps"])})


def log_name(step: str) -> str:
    """Return the name of the file in :data:`LOG_DIRECTORY` with the output of a step."""
    return f"{step.replace(' ', '-')}.log"


_EXCEPTION: Final = re.compile(r"([a-z_]\w*\.)*[A-Z]\w*(Error|Exception|Violation|Interrupt|Exit)(:|$)")


def cause_of(log: str) -> str:
    """Return the exception that ended a log, to be put before the exit code; empty if none did."""
    last = log.rpartition("\n")[2]
    return f"{last}; " if _EXCEPTION.match(last) else ""


def printable(text: str) -> str:
    """Return a text without control characters: what a model's own code writes must not command the terminal."""
    return "".join(character if character.isprintable() or character in "\n\t" else "\ufffd" for character in text)

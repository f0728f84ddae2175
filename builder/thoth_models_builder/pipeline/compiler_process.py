"""Compiling a model in a process of its own, once for each set of inputs; what comes of it goes into the store.

Wires the compile room to the store, which do not know each other.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from thoth_models.errors import ManifestError, ThothModelsError
from thoth_models.golden import GOLDEN_NAME
from thoth_models.manifest import MANIFEST_NAME, BuiltModel, Manifest, Model, Origin, Proof, Variant
from thoth_models.verify import verify
from thoth_models_builder.derivation import Derived, derived_from
from thoth_models_builder.errors import CompileError, StoreError
from thoth_models_builder.files import link_or_copy
from thoth_models_builder.variants import SOURCE_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from thoth_models.digest import ContentDigest, Digest
    from thoth_models_builder.describe import ModelFacts
    from thoth_models_builder.store import Store

_MODEL: Final = "model"
"""What the model is called while it is compiled: its name is not among what the result follows from."""

_WORKER: Final = "thoth_models_builder.compile.worker"
_LOG_SHOWN = 4000  # last characters of a failed worker's log that a message repeats

# Matrix products come out differently in the last bits with other instructions or more threads. These make the
# libraries of torch use what every x86-64 processor has, in one order.
_PLAIN_ARITHMETIC: Final = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "MKL_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
}


def find_compiled(store: Store, key: Digest) -> Derived | None:
    """Return an earlier compilation with that key if the store still has all of its files, hashed again."""
    record = store.read_record(key)
    if record is None:
        return None
    try:
        derived = derived_from(Manifest.from_bytes(record), _MODEL, key)
    except ManifestError:
        return None  # of another release of the builder
    if derived is None or any(store.find(file.sha256, file.size) is None for file in derived.files.values()):
        return None
    return derived


def compile_model(  # noqa: PLR0913 - all of them decide what is made
    contents: Mapping[str, ContentDigest],
    places: Mapping[str, Path],
    facts: ModelFacts,
    variants: Sequence[str],
    *,
    key: Digest,
    toolchain: Mapping[str, str],
    store: Store,
    deadline: float,
) -> Derived:
    """Compile a model, keep the result in the store, and return it.

    Args:
        contents: Content of each source file, by path in the model's source directory.
        places: Where each of them can be read.
        facts: What they say of the model.
        variants: Names of the variants to make.
        key: Identity of the compilation.
        toolchain: Versions of what takes part.
        store: Where the result goes.
        deadline: Seconds for each of the two steps.

    Raises:
        CompileError: The worker failed or took too long; the message has the end of its log.
        StoreError: The store cannot be written.
    """
    with _job(store) as root:
        for path, place in places.items():
            target = root / _MODEL / SOURCE_DIRECTORY / path
            target.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(place, target)
        manifest = _before(contents, facts, key, toolchain)
        (root / MANIFEST_NAME).write_bytes(manifest.to_bytes())
        _run(["golden", str(root)], _PLAIN_ARITHMETIC, deadline)
        _run(["variants", str(root), *sorted(set(variants))], {}, deadline)
        shutil.rmtree(root / "work", ignore_errors=True)
        try:
            report = verify(root)
        except ThothModelsError as error:
            raise CompileError(f"expected the compiler to leave an intact bundle: {error}") from error
        derived = derived_from(report.manifest, _MODEL, key)
        if derived is None:
            raise CompileError(f"expected the compiler to keep the key {key.short}, found another one")
        for path, content in derived.files.items():
            _keep(store, root / _MODEL / path, path, content)
        store.write_record(key, report.manifest.to_bytes())
    return derived


@contextmanager
def _job(store: Store) -> Iterator[Path]:
    try:
        store.prepare()
        with tempfile.TemporaryDirectory(dir=store.scratch, prefix="compile-") as directory:
            yield Path(directory)
    except OSError as error:
        raise StoreError(f"{store.scratch}: cannot be written: {error.strerror or error}") from error


def _before(
    contents: Mapping[str, ContentDigest], facts: ModelFacts, key: Digest, toolchain: Mapping[str, str]
) -> Manifest:
    """Return the manifest of a bundle that has only the source files of the model, and nothing to load."""
    files = {f"{_MODEL}/{SOURCE_DIRECTORY}/{path}": content for path, content in contents.items()}
    golden = f"{_MODEL}/{GOLDEN_NAME}"
    placeholder = Variant(
        name="torch-fp32",
        backend="torch",
        precision="fp32",
        directory=f"{_MODEL}/{SOURCE_DIRECTORY}",
        files=tuple(sorted(files)),
    )
    built = BuiltModel(
        # None of these has a part in what is made; they are left out of the bundle that the user gets.
        origin=Origin(kind="directory", id=SOURCE_DIRECTORY, revision=None),
        license=None,
        max_seq_length=facts.max_seq_length,
        pooling=facts.pooling,
        normalize=False,
        similarity=facts.similarity,
        prompts=facts.prompts,
        default_prompt_name=facts.default_prompt_name,
        space=key,
        variants=(placeholder,),
        proof=Proof(golden=golden, derivation=key, toolchain=toolchain, omitted={}),
    )
    model = Model(name=_MODEL, aliases=(), alternates=(), dimension=facts.dimension, built=built)
    # The golden vectors are not there yet, but the manifest must list them.
    files[golden] = next(iter(contents.values()))
    return Manifest(name="compile", default=_MODEL, models={_MODEL: model}, files=files)


def _run(arguments: Sequence[str], environment: Mapping[str, str], deadline: float) -> None:
    """Run one step of the worker, and wait for it no longer than ``deadline`` seconds."""
    command = [sys.executable, "-P", "-m", _WORKER, *arguments]
    # Hash order must not decide anything; if it ever does, then at least the same every time.
    fixed = {"PYTHONHASHSEED": "0", "TOKENIZERS_PARALLELISM": "false", "ORT_DISABLE_TELEMETRY": "1"}
    settings = {**os.environ, **fixed, **environment}
    with tempfile.TemporaryFile() as log:
        # The pipe stays open as long as this process lives, and the worker ends when it closes.
        with subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, env=settings
        ) as process:
            try:
                code = process.wait(deadline)
            except subprocess.TimeoutExpired:
                process.kill()
                raise CompileError(
                    f"expected the compiler's step {arguments[0]!r} to end within {deadline:g} s, found it at work "
                    f"still\n{_end_of(log)}"
                ) from None
            except BaseException:
                process.kill()
                raise
        if code:
            how = f"exit code {code}" if code > 0 else f"signal {-code} (9 is often a lack of memory)"
            raise CompileError(f"expected the compiler's step {arguments[0]!r} to succeed, found {how}\n{_end_of(log)}")


def _end_of(log: IO[bytes]) -> str:
    log.seek(0)
    return log.read().decode(errors="replace")[-_LOG_SHOWN:].strip()


def _keep(store: Store, file: Path, path: str, content: ContentDigest) -> None:
    with store.writer(path, digest=content.sha256, size=content.size) as writer, file.open("rb") as data:
        data.seek(writer.offset)
        while block := data.read(1024 * 1024):
            writer.write(block)
        writer.finish()

"""Convert pickled weights to safetensors when a model is locked, or again when a build has only the pickles.

The pickles are read in a process of its own (:mod:`thoth_models_builder.compile.pickles.convert`), in the sandbox. The
lock has both digests, so a conversion that gives other bytes is an error.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from thoth_models_builder.errors import (
    BuildError,
    CompileError,
    CompilerUnavailableError,
    StoreError,
    UnsupportedModelError,
)
from thoth_models_builder.pipeline.compiler_process import end_of_log
from thoth_models_builder.pipeline.store_directory import scratch_for
from thoth_models_builder.spec.compile_job import compiler_environment
from thoth_models_builder.spec.reviewed.conversion import (
    CONVERSION_NAME,
    CONVERTED_DIRECTORY,
    NOT_CONFINED,
    conversion_document,
    plan_conversions,
)
from thoth_models_builder.spec.reviewed.records import ConvertedFile
from thoth_models_builder.storage.files import link_or_copy

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from thoth_models.bundle.digest import ContentDigest
    from thoth_models_builder.pipeline.fetch import FetchContext
    from thoth_models_builder.sources.source import RemoteFile, Source
    from thoth_models_builder.spec.plan import PlannedModel
    from thoth_models_builder.spec.reviewed.conversion import Conversion
    from thoth_models_builder.storage.store import Store

_log = logging.getLogger(__name__)

_CONVERTER: Final = "thoth_models_builder.compile.pickles.convert"
_SECONDS: Final = 3600.0
"""Time limit of a conversion, which takes seconds for each gigabyte."""
_PULL_REQUESTS: Final = "refs/pr/"
_END_SECONDS: Final = 30.0
_READ_SIZE: Final = 1024 * 1024


def lock_converted(
    remote: Mapping[str, RemoteFile],
    directories: Collection[str],
    fetch: Callable[[Sequence[RemoteFile]], Mapping[str, ContentDigest]],
    store: Store,
) -> tuple[ConvertedFile, ...]:
    """Convert the pickled weights of a model, and return what was made, sorted by path.

    Args:
        remote: Every file of the source, by path.
        directories: Directories of the model's modules.
        fetch: Fetches files into the store, and returns their contents by path.
        store: Receives the converted files.

    Raises:
        CompilerUnavailableError: torch is not installed.
        UnsupportedModelError: A pickle is refused; the message has its path, and the reason.
        SourceError, StoreError: A pickle cannot be fetched, or the store cannot be written.
    """
    planned = plan_conversions(remote, directories)
    if not planned:
        return ()
    contents = fetch([remote[pickle.path] for conversion in planned for pickle in conversion.pickles])
    return _convert(planned, contents, store)


def convert_again(model: PlannedModel, context: FetchContext) -> dict[str, ContentDigest] | None:
    """Return the content of each converted file of a model, which the store has afterwards; None if a source failed.

    A file that the store does not have is made again from its pickles.

    Raises:
        CompilerUnavailableError, UnsupportedModelError, StoreError: As :func:`lock_converted`.
        CompileError: The conversion gave other bytes than at the time of the lock; has both digests.
    """
    expected = {file.path: file.content for file in model.locked.converted}
    if all(context.store.find(content.sha256, content.size) for content in expected.values()):
        return expected
    pickles = {path: content for file in model.locked.converted for path, content in file.made_from.items()}
    if not context.fetch_contents(model, pickles):
        return None
    directories = {path.rpartition("/")[0] for path in expected}
    for made in _convert(plan_conversions(pickles, directories), pickles, context.store):
        if made.content != expected.get(made.path):
            wanted = expected[made.path].sha256 if made.path in expected else "none"
            raise CompileError(
                f"{model.name}: {made.path}: expected sha256 {wanted}, as converted when the model was locked, found "
                f"{made.content.sha256}; lock the model again with the libraries of this machine"
            )
    return expected


def advice(remote: Collection[str], source: Source) -> str:
    """Return how a model whose weights are pickles can be built; empty if they are not.

    A commit of the same repository that has safetensors is named if the Hub lists one; failing to ask is not an error.
    """
    # Those of modules: elsewhere there may be weights of other frameworks or times.
    directories = {path.rpartition("/")[0] for path in remote if path.rpartition("/")[2] == "config.json"}
    planned = plan_conversions(remote, directories)
    if not planned:
        return ""
    path, pickle = planned[0].path, planned[0].pickles[0].path
    text = f"; `pickle: convert` in models.yaml converts {pickle} in a sandbox when the model is locked"
    find = getattr(source, "find_commit", None)
    try:
        found = None if find is None else find(path)
    except BuildError as error:
        _log.info("no commit with safetensors was found: %s", error)
        return text
    if found is None:
        return text
    reference, commit = found
    if reference.startswith(_PULL_REQUESTS):
        return (
            f"{text}; the commit {commit} ({reference}) has {path}, but it is a pull request that is not merged, and "
            "anyone may have opened it: do not write it as `revision` unless you know whose weights these are"
        )
    return f"{text}; the commit {commit} ({reference}) of the same repository has {path}: write it as `revision`"


def _convert(
    planned: Sequence[Conversion], contents: Mapping[str, ContentDigest], store: Store
) -> tuple[ConvertedFile, ...]:
    if missing := [name for name in ("torch", "safetensors") if find_spec(name) is None]:
        raise CompilerUnavailableError(
            f"expected the libraries that convert pickles (the extra `compile`), found no {', '.join(missing)}"
        )
    try:
        place = scratch_for(store, is_confined=True)
        with tempfile.TemporaryDirectory(dir=place, prefix="convert-", ignore_cleanup_errors=True) as name:
            directory = Path(name)
            (directory / "pickles").mkdir()
            for conversion in planned:
                for pickle in conversion.pickles:
                    link_or_copy(store.path(contents[pickle.path].sha256), directory / pickle.file)
            (directory / CONVERSION_NAME).write_bytes(conversion_document(planned))
            _run(directory)
            return tuple(
                ConvertedFile(
                    path=conversion.path,
                    content=_kept(directory / CONVERTED_DIRECTORY / str(index), conversion.path, store),
                    made_from={pickle.path: contents[pickle.path] for pickle in conversion.pickles},
                )
                for index, conversion in enumerate(planned)
            )
    except OSError as error:
        raise StoreError(f"{store.scratch}: cannot be written: {error.strerror or error}") from error


def _run(directory: Path) -> None:
    log = directory / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-P", "-m", _CONVERTER, str(directory), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
            env=compiler_environment(os.environ),
        )
    try:
        code = process.wait(_SECONDS)
    except BaseException as error:
        _end(process)
        if isinstance(error, subprocess.TimeoutExpired):
            raise CompileError(
                f"expected pickles to be converted within {_SECONDS:g} s, found it still at work"
            ) from error
        raise
    if not code:
        return
    with log.open("rb") as data:
        reasons = end_of_log(data).splitlines() or [f"exit code {code}"]
    if code == NOT_CONFINED:
        raise CompileError(f"pickle: expected a machine that confines the process that reads it, found {reasons[-1]}")
    raise UnsupportedModelError(f"pickle: expected weights that can be converted, found {reasons[-1]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    # It ends the confined process first.
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _kept(made: Path, path: str, store: Store) -> ContentDigest:
    with made.open("rb") as data, store.writer(path, digest=None, size=made.stat().st_size) as writer:
        while block := data.read(_READ_SIZE):
            writer.write(block)
        return writer.finish()

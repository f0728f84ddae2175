"""Write a bundle from a manifest and verified files, and move it into place atomically.

Files are cloned where the file system can do that, and otherwise copied; or linked, if that is asked for. The tree is
written beside its final place, verified there by the runtime, and then renamed in one step. A killed build leaves the
previous bundle or none, never a partial one.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import re
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from thoth_models.bundle.digest import Digest
from thoth_models.bundle.manifest import CHECKSUMS_NAME, MANIFEST_NAME
from thoth_models.errors import ThothModelsError, VerificationError
from thoth_models.verification.report_file import report_path
from thoth_models.verification.verify import VerificationReport, verify
from thoth_models_builder.errors import OutputError
from thoth_models_builder.storage.files import (
    FILE_MODE,
    clone_or_copy,
    link_or_copy,
    lock_directory,
    remove_leftovers,
    sync_directory,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from thoth_models.bundle.manifest import Manifest

_DIRECTORY_MODE, _WORK_MODE = 0o555, 0o755
_WORK_SUFFIX = ".building"
_MANIFEST_LINE = re.compile(rb"^[0-9a-f]{64}  manifest\.json$", re.MULTILINE)
_MANIFEST_START = b'{"bundle":{"default":'
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


def read_previous(output: Path) -> tuple[VerificationReport | None, str | None]:
    """Verify the bundle that exists at ``output``.

    Returns:
        The runtime's report if the bundle is intact; otherwise None, and the reason if there is a damaged bundle.

    Raises:
        OutputError: ``output`` exists but is not a bundle, or has other files as well, so it must not be replaced.
    """
    if output.is_symlink() or (output.exists() and not output.is_dir()):
        raise OutputError(f"{output}: expected a bundle directory or nothing, found a file or symlink")
    if not output.exists():
        return None, None
    entries = {entry.name for entry in output.iterdir()}
    if not entries:
        return None, None
    if not _is_bundle(output):
        raise OutputError(f"{output}: expected a bundle directory or nothing, found another directory")
    try:
        return verify(output, strict=True), None
    except ThothModelsError as error:
        problems = error.problems if isinstance(error, VerificationError) else ()
        if others := [problem.path for problem in problems if problem.kind == "extra"]:
            raise OutputError(
                f"{output}: expected only the files of a bundle, which a build replaces, found others: "
                f"{', '.join(others)}; move them elsewhere"
            ) from error
        return None, str(error)


def _is_bundle(directory: Path) -> bool:
    """Return whether a directory is a bundle, even a damaged one.

    Other programs use the names ``manifest.json`` and ``SHA256SUMS`` too; those of a bundle refer to each other, or
    start in a specific way.
    """
    checksums, manifest = directory / CHECKSUMS_NAME, directory / MANIFEST_NAME
    try:
        begins_as_ours = manifest.is_file() and manifest.read_bytes().startswith(_MANIFEST_START)
        # Other checksum lists may have a manifest.json as well; a bundle has no other files at the top.
        files = {entry.name for entry in directory.iterdir() if not entry.is_dir()}
        is_listed = checksums.is_file() and _MANIFEST_LINE.search(checksums.read_bytes()) is not None
    except OSError as error:
        raise OutputError(f"{directory}: expected a readable bundle, found: {error.strerror}") from error
    return begins_as_ours or (is_listed and files <= {MANIFEST_NAME, CHECKSUMS_NAME})


@contextlib.contextmanager
def claim(output: Path, locks: Path) -> Iterator[None]:
    """Lock ``output`` for this build, and remove the leftovers of killed builds beside it.

    Raises:
        OutputError: Another build is writing ``output``, or its parent cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            locks.mkdir(parents=True, exist_ok=True)
            # The lock is in the store, not beside the output, where it would look like a part of the user's project.
            name = Digest.of(os.fsencode(output.parent.resolve() / output.name)).hex
            file = stack.enter_context((locks / name).open("a+b"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_leftovers(report_path(output))
            for leftover in _leftovers(output):
                # A build with another store may be writing it.
                if (descriptor := lock_directory(leftover)) is not None:
                    stack.callback(os.close, descriptor)
                    _remove_tree(leftover)
        except BlockingIOError as error:
            raise OutputError(f"{output}: expected to be its only writer, found another build writing it") from error
        except OSError as error:
            raise _cannot_write(output, error) from error
        yield


def _leftovers(output: Path) -> list[Path]:
    """Return the work trees for exactly this output: not those of ``b.x`` for ``b``, and no files of other programs."""
    pattern = re.compile(rf"\.{re.escape(output.name)}\.[a-z0-9_]{{8}}(\.building\.previous)?\.building", re.DOTALL)
    found = []
    for path in output.parent.iterdir():
        if pattern.fullmatch(path.name):
            status = path.lstat()
            # In a directory that other users may write to, a name proves nothing, and a link may lead anywhere.
            if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
                found.append(path)
    return found


def write_bundle(
    manifest: Manifest, locate: Callable[[str], Path], output: Path, *, link: bool = False
) -> VerificationReport:
    """Write the bundle that ``manifest`` describes, verify it, and move it to ``output`` in one step.

    Args:
        manifest: The manifest of the bundle.
        locate: Returns the file that has the content of a manifest path.
        output: Target directory; an existing bundle is replaced.
        link: Make hard links where possible, so that the bytes are on the disk once. Who changes one of these files in
            place then changes it everywhere.

    Raises:
        VerificationError: The written tree does not match the manifest; ``output`` was not changed.
        OutputError: The bundle cannot be written.
    """
    tree: Path | None = None
    descriptor: int | None = None
    try:
        # Beside the output: a rename within one directory is atomic, and needs no permission for the moved directory.
        tree = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}.", suffix=_WORK_SUFFIX))
        descriptor = lock_directory(tree)
        tree.chmod(_WORK_MODE)
        for path in sorted(manifest.files):
            target = tree / path
            target.parent.mkdir(parents=True, exist_ok=True)
            (link_or_copy if link else clone_or_copy)(locate(path), target)
        for name, data in ((MANIFEST_NAME, manifest.to_bytes()), (CHECKSUMS_NAME, manifest.checksums())):
            _write(tree / name, data)
        _close_directories(tree)
        report = verify(tree, strict=True)
        _move_into_place(tree, output)
    except OSError as error:
        raise _cannot_write(output, error) from error
    finally:
        if tree is not None:
            _remove_rest(tree, output)
        if descriptor is not None:
            os.close(descriptor)
    return report


def _cannot_write(output: Path, error: OSError) -> OutputError:
    place = "" if error.filename is None else f" ({error.filename})"
    return OutputError(f"{output}: cannot be written: {error.strerror or error}{place}")


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fchmod(file.fileno(), FILE_MODE)
        os.fsync(file.fileno())


def _close_directories(tree: Path) -> None:
    directories = [Path(directory) for directory, _, _ in os.walk(tree, topdown=False)]
    for directory in directories:
        directory.chmod(_DIRECTORY_MODE)
        sync_directory(directory)


def _move_into_place(tree: Path, output: Path) -> None:
    """Rename ``tree`` to ``output``; the previous bundle gets the name of ``tree``, or a similar one."""
    if not output.exists():
        tree.rename(output)
    elif not _exchange(tree, output):
        # In two steps: a build that is killed between them leaves no bundle, and the next build writes it again.
        previous = tree.with_name(f"{tree.name}.previous{_WORK_SUFFIX}")
        output.rename(previous)
        try:
            tree.rename(output)
        except OSError:
            previous.rename(output)
            raise
        _remove_tree(previous)
    sync_directory(output.parent)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two names atomically, if kernel and file system support it; otherwise return False."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    if renameat2 is None:
        return False
    flags = ctypes.c_uint(_RENAME_EXCHANGE)
    return bool(renameat2(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), flags) == 0)


def _remove_rest(tree: Path, output: Path) -> None:
    """Remove the work tree, or the bundle before, which has its name now."""
    try:
        _remove_tree(tree)
    except OSError as error:
        raise OutputError(f"{output}: expected to remove {tree} beside it, found: {error.strerror or error}") from error


def _remove_tree(path: Path) -> None:
    """Remove a tree with read-only directories; do nothing if it does not exist."""
    # Another build may be removing the same leftover.
    with contextlib.suppress(FileNotFoundError):
        for directory, _, _ in os.walk(path):
            Path(directory).chmod(_WORK_MODE)
        shutil.rmtree(path)

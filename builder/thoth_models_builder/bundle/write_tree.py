"""From verified files to a bundle: the manifest, the tree, and the one step that moves it into place.

Files are linked, cloned or, where neither works, copied, so the bytes are on the disk once. The tree is written beside
its final place and verified there by the runtime; then it takes that place in one step. A killed build leaves the
previous bundle or none, never half a one.
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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from thoth_models.digest import Digest
from thoth_models.errors import ThothModelsError
from thoth_models.manifest import (
    CHECKSUMS_NAME,
    MANIFEST_NAME,
    Alternate,
    BuiltModel,
    Manifest,
    Model,
    Origin,
    Proof,
    Variant,
)
from thoth_models.verify import VerificationReport, verify
from thoth_models_builder.errors import AlternateError, OutputError
from thoth_models_builder.files import FILE_MODE, link_or_copy, sync_directory
from thoth_models_builder.variants import SOURCE_DIRECTORY, VARIANTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from thoth_models.digest import ContentDigest
    from thoth_models_builder.derivation import Derived
    from thoth_models_builder.describe import ModelFacts
    from thoth_models_builder.plan import PlannedModel

_DIRECTORY_MODE, _WORK_MODE = 0o555, 0o755
_WORK_SUFFIX = ".building"
_MANIFEST_LINE = re.compile(rb"^[0-9a-f]{64}  manifest\.json$", re.MULTILINE)
_MANIFEST_START = b'{"bundle":{"default":'
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


@dataclass(frozen=True, kw_only=True, slots=True)
class Ingredients:
    """What one model of a bundle is made of.

    Attributes:
        model: As specified and locked.
        contents: Content of each source file, by path in the model's source directory.
        facts: What the files say of the model.
        space: Identity of its embedding space.
        derived: What was made of these files, or None for a model without golden vectors.
    """

    model: PlannedModel
    contents: Mapping[str, ContentDigest]
    facts: ModelFacts
    space: Digest
    derived: Derived | None

    @property
    def files(self) -> dict[str, ContentDigest]:
        """Content of each file that the bundle ships of this model, by path in the model's directory."""
        is_run = any(not VARIANTS[variant].is_compiled for variant in self.variants)
        source = {f"{SOURCE_DIRECTORY}/{path}": content for path, content in self.contents.items()}
        return {**(source if is_run else {}), **({} if self.derived is None else self.derived.files)}

    @property
    def variants(self) -> tuple[str, ...]:
        """Names of the variants that the bundle ships, in order of preference."""
        listed = self.model.spec.variants
        if self.derived is None:
            return tuple(listed)
        made = self.derived.accuracy
        # What was made without being listed is what runs where nothing that is listed could be made.
        return (*(name for name in listed if name in made), *(name for name in made if name not in listed))


def compose(name: str, default: str, planned: Sequence[PlannedModel], present: Mapping[str, Ingredients]) -> Manifest:
    """Return the manifest of a bundle.

    Args:
        name: Name of the bundle.
        default: Model that answers when no name is asked for; left out if it is not among ``planned``.
        planned: Every model of the bundle, also those that are absent.
        present: What those are made of that are not absent.

    Raises:
        AlternateError: An alternate could never stand in, because of its dimension or its space.
    """
    names = {model.name for model in planned}
    _check_alternates(planned, present)
    models = {
        model.name: Model(
            name=model.name,
            aliases=tuple(sorted(model.spec.aliases)),
            alternates=tuple(
                Alternate(model=alternate.model, accepts_other_space=alternate.other_space == "accept")
                for alternate in model.spec.alternates
                if alternate.model in names
            ),
            dimension=model.locked.dimension,
            built=_built(present[model.name]) if model.name in present else None,
        )
        for model in planned
    }
    files = {
        f"{model_name}/{path}": content
        for model_name, ingredients in present.items()
        for path, content in ingredients.files.items()
    }
    return Manifest(name=name, default=default if default in names else None, models=models, files=files)


def _built(ingredients: Ingredients) -> BuiltModel:
    model, facts, derived = ingredients.model, ingredients.facts, ingredients.derived
    return BuiltModel(
        origin=Origin(kind=model.locked.origin.kind, id=model.locked.origin.id, revision=model.locked.revision),
        license=model.locked.license,
        max_seq_length=facts.max_seq_length,
        pooling=facts.pooling,
        normalize=model.spec.normalize,
        similarity=facts.similarity,
        prompts=facts.prompts,
        default_prompt_name=facts.default_prompt_name,
        space=ingredients.space,
        variants=tuple(_variant(ingredients, name) for name in ingredients.variants),
        proof=None
        if derived is None
        else Proof(
            golden=f"{model.name}/{derived.golden}",
            derivation=derived.derivation,
            toolchain=derived.toolchain,
            omitted=derived.omitted,
        ),
    )


def _variant(ingredients: Ingredients, name: str) -> Variant:
    kind, model, derived = VARIANTS[name], ingredients.model.name, ingredients.derived
    prefix = f"{kind.directory}/"
    return Variant(
        name=name,
        backend=kind.backend,
        precision=kind.precision,
        directory=f"{model}/{kind.directory}",
        files=tuple(sorted(f"{model}/{path}" for path in ingredients.files if path.startswith(prefix))),
        accuracy=None if derived is None else derived.accuracy[name],
    )


def _check_alternates(planned: Sequence[PlannedModel], present: Mapping[str, Ingredients]) -> None:
    by_name = {model.name: model for model in planned}
    for model in planned:
        for alternate in model.spec.alternates:
            other = by_name.get(alternate.model)
            if other is None:
                continue
            place = f"models.{model.name}.alternates: {alternate.model}"
            if other.locked.dimension != model.locked.dimension:
                raise AlternateError(
                    f"{place}: expected {model.locked.dimension} dimensions, as {model.name} has, "
                    f"found {other.locked.dimension}: it could never stand in"
                )
            both = [present.get(model.name), present.get(alternate.model)]
            spaces = {ingredients.space for ingredients in both if ingredients is not None}
            if alternate.other_space == "refuse" and len(spaces) > 1:
                raise AlternateError(
                    f"{place}: expected the embedding space of {model.name}, or `other_space: accept`, "
                    "found another space"
                )


# --- the tree ---


def read_previous(output: Path) -> tuple[VerificationReport | None, str | None]:
    """Return what the runtime says of a bundle that is already at ``output``.

    Returns:
        Its report if it is intact, else None and, where there is a bundle that is not, the reason.

    Raises:
        OutputError: There is something at ``output`` that is not a bundle, and must not be replaced.
    """
    if output.is_symlink() or (output.exists() and not output.is_dir()):
        raise OutputError(f"{output}: expected a bundle directory or nothing, found a file or symlink")
    if not output.exists():
        return None, None
    entries = {entry.name for entry in output.iterdir()}
    if not entries:
        return None, None
    if not _is_bundle(output):
        raise OutputError(f"{output}: expected a bundle directory or nothing, found a directory of something else")
    try:
        return verify(output, strict=True), None
    except ThothModelsError as error:
        return None, str(error)


def _is_bundle(directory: Path) -> bool:
    """Tell whether a directory is a bundle, be it a damaged one.

    A ``manifest.json`` or ``SHA256SUMS`` as such may be anybody's; ours name each other, or begin as ours do.
    """
    checksums, manifest = directory / CHECKSUMS_NAME, directory / MANIFEST_NAME
    try:
        begins_as_ours = manifest.is_file() and manifest.read_bytes().startswith(_MANIFEST_START)
        # Others list a manifest.json as well; ours have no other files at the top.
        files = {entry.name for entry in directory.iterdir() if not entry.is_dir()}
        is_listed = checksums.is_file() and _MANIFEST_LINE.search(checksums.read_bytes()) is not None
    except OSError as error:
        raise OutputError(f"{directory}: expected a readable bundle, found: {error.strerror}") from error
    return begins_as_ours or (is_listed and files <= {MANIFEST_NAME, CHECKSUMS_NAME})


@contextlib.contextmanager
def claim(output: Path, locks: Path) -> Iterator[None]:
    """Be the only build that writes ``output``, and remove what a killed one left beside it.

    Raises:
        OutputError: Another build is writing it, or its parent cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            locks.mkdir(parents=True, exist_ok=True)
            # In the store, not beside the output, where it would look like a part of somebody's project.
            name = Digest.of(os.fsencode(output.parent.resolve() / output.name)).hex
            file = stack.enter_context((locks / name).open("a+b"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for leftover in _leftovers(output):
                # A build with another store may be at work on it.
                if (descriptor := _lock_tree(leftover)) is not None:
                    stack.callback(os.close, descriptor)
                    _remove_tree(leftover)
        except BlockingIOError as error:
            raise OutputError(f"{output}: expected to be its only writer, found another build at it") from error
        except OSError as error:
            raise _cannot_write(output, error) from error
        yield


def _leftovers(output: Path) -> list[Path]:
    """Return the work trees of builds of exactly this output: not those of ``b.x`` for ``b``, nor what is not ours."""
    pattern = re.compile(rf"\.{re.escape(output.name)}\.[a-z0-9_]{{8}}(\.building\.previous)?\.building", re.DOTALL)
    found = []
    for path in output.parent.iterdir():
        if pattern.fullmatch(path.name):
            status = path.lstat()
            # In a directory that others may write to, a name proves nothing, and a link leads anywhere.
            if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
                found.append(path)
    return found


def write_bundle(manifest: Manifest, locate: Callable[[str], Path], output: Path) -> VerificationReport:
    """Write the bundle that ``manifest`` describes, verify it, and move it to ``output`` in one step.

    Args:
        manifest: What the bundle is to be.
        locate: Returns where the content of a path of the manifest can be linked or copied from.
        output: Where the bundle goes; replaced if it is there.

    Raises:
        VerificationError: What was written is not what the manifest says; ``output`` was not touched.
        OutputError: It cannot be written.
    """
    tree: Path | None = None
    descriptor: int | None = None
    try:
        # Beside the output: a move within one directory is one step, and needs no permission on what is moved.
        tree = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}.", suffix=_WORK_SUFFIX))
        descriptor = _lock_tree(tree)
        tree.chmod(_WORK_MODE)
        for path in sorted(manifest.files):
            target = tree / path
            target.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(locate(path), target)
        for name, data in ((MANIFEST_NAME, manifest.to_bytes()), (CHECKSUMS_NAME, manifest.checksums())):
            _write(tree / name, data)
        _close_directories(tree)
        report = verify(tree, strict=True)
        _move_into_place(tree, output)
    except OSError as error:
        raise _cannot_write(output, error) from error
    finally:
        if tree is not None:
            _remove_tree(tree)
        if descriptor is not None:
            os.close(descriptor)
    return report


def _lock_tree(tree: Path) -> int | None:
    """Lock a work tree until the descriptor is closed, or its process dies; None where another process holds it."""
    descriptor = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        pass  # a file system without locks
    return descriptor


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
    """Give ``tree`` the name ``output``; what had it before gets the name of ``tree``, or one like it."""
    if not output.exists():
        tree.rename(output)
    elif not _exchange(tree, output):
        # Two steps: killed between them, there is no bundle, and the next build writes it anew.
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
    """Swap two names in one step, where kernel and file system can; False where they cannot."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    if renameat2 is None:
        return False
    flags = ctypes.c_uint(_RENAME_EXCHANGE)
    return bool(renameat2(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), flags) == 0)


def _remove_tree(path: Path) -> None:
    """Remove a tree whose directories are read-only; nothing where there is none."""
    # Another build may be removing the same leftover.
    with contextlib.suppress(FileNotFoundError):
        for directory, _, _ in os.walk(path):
            Path(directory).chmod(_WORK_MODE)
        shutil.rmtree(path)

"""Convert pickled weights to safetensors: ``python -m thoth_models_builder.compile.pickles.convert DIRECTORY PARENT``.

The directory has ``conversion.json`` (see :mod:`thoth_models_builder.spec.reviewed.conversion`) and the pickles. They
are read in the sandbox, with torch's reader that builds tensors and nothing else (``weights_only``). The files that it
leaves are in ``converted/``, one for each target. Tensors keep their names, types and values; what shares memory is
written twice.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import sys
import traceback
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from thoth_models.process.environment import available_memory
from thoth_models.process.offline import enforce_offline
from thoth_models_builder.compile.errors import ConfinedError, NotConfinedError, SandboxError
from thoth_models_builder.compile.sandbox.confine import PR_SET_PARENT_DEATH_SIGNAL, Limits, memory_limit
from thoth_models_builder.compile.sandbox.results import remove_tree, take_results
from thoth_models_builder.compile.sandbox.supervise import run_confined
from thoth_models_builder.spec.reviewed.conversion import (
    CONVERSION_NAME,
    CONVERTED_DIRECTORY,
    NOT_CONFINED,
    Conversion,
    conversions_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

_MAX_HEADER: Final = 64 * 1024 * 1024
_GROWTH: Final = 2
"""Length of what is written, as a multiple of the pickles: tensors that share memory are written twice."""


def convert(directory: Path, memory: int | None) -> None:
    """Convert what ``conversion.json`` in a directory lists.

    Args:
        directory: The directory, on a disk with room for the pickles twice.
        memory: Available memory in bytes, or None if it is unknown.

    Raises:
        SandboxError: A pickle could not be converted; nothing was left.
    """
    conversions = conversions_of((directory / CONVERSION_NAME).read_bytes())
    pickles = [directory / pickle.file for conversion in conversions for pickle in conversion.pickles]
    size = sum(path.stat().st_size for path in pickles) * _GROWTH + 16 * 1024 * 1024
    scratch = directory / "scratch"
    (scratch / CONVERTED_DIRECTORY).mkdir(parents=True)
    try:

        def work() -> None:
            for index, conversion in enumerate(conversions):
                write(directory, conversion, scratch / CONVERTED_DIRECTORY / str(index), size)

        limits = Limits(memory=memory_limit(memory), disk=size)
        run_confined(work, scratch=scratch, outside=directory.parent, readable=pickles, limits=limits)
        expected = {rf"{CONVERTED_DIRECTORY}/{index}": size for index in range(len(conversions))}
        made = take_results(scratch, directory, expected, frozenset())
        if len(made) != len(conversions):
            raise SandboxError(f"expected {len(conversions)} converted files, found {', '.join(made) or 'none'}")
        for path in made:
            _check(directory / path)
    finally:
        remove_tree(scratch)


def write(directory: Path, conversion: Conversion, target: Path, limit: int) -> None:
    """Write the tensors of some pickles as one safetensors file; the bytes are the same every time.

    Args:
        directory: Directory that the paths of the pickles start from.
        conversion: The pickles.
        target: The file to write.
        limit: Length of all tensors together in bytes, at most.

    Raises:
        SandboxError: A pickle has something other than tensors by name, two have the same tensor, or all are too long.
    """
    from safetensors.torch import save_file  # noqa: PLC0415 - with torch, imported before the process is confined

    tensors: dict[str, torch.Tensor] = {}
    for pickle in conversion.pickles:
        for name, tensor in _read(directory / pickle.file, pickle.path).items():
            if name in tensors:
                raise SandboxError(f"{pickle.path}: {name}: expected each tensor once, found it again")
            tensors[name] = tensor
    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if total > limit:
        # A tensor can say that it repeats a few bytes as often as it likes.
        paths = ", ".join(pickle.path for pickle in conversion.pickles)
        raise SandboxError(f"{paths}: expected at most {limit} bytes of tensors, found {total}")
    save_file(_apart(tensors), str(target), metadata={"format": "pt"})


def _read(path: Path, name: str) -> Mapping[str, torch.Tensor]:
    import torch  # noqa: PLC0415 - imported before the process is confined

    # Older pickles are not archives, and cannot be mapped into memory.
    is_mapped = zipfile.is_zipfile(path)
    if is_mapped:
        with zipfile.ZipFile(path) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise SandboxError(f"{name}: expected an archive as torch writes it, found compressed entries")
    try:
        value: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=is_mapped)
    except MemoryError:
        raise
    except Exception as error:  # readers of torch raise errors of many kinds
        reason = str(error).strip().splitlines() or [type(error).__name__]
        globals_named = re.findall(r"GLOBAL (\S+)", str(error))
        found = f", such as {globals_named[0]}" if globals_named else ""
        raise SandboxError(f"{name}: expected a pickle of tensors alone{found}: {reason[0]}") from error
    if not isinstance(value, dict):
        raise SandboxError(f"{name}: expected tensors by name, found {type(value).__name__}")
    for key, tensor in value.items():
        if not isinstance(key, str) or not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided:
            raise SandboxError(f"{name}: expected tensors by name, found {type(tensor).__name__} under {key!r}")
    if not value:
        raise SandboxError(f"{name}: expected tensors by name, found none")
    return value


def _apart(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return tensors that do not share memory with each other, and are contiguous."""
    seen: set[int] = set()
    result = {}
    for name in sorted(tensors):
        tensor = tensors[name].detach()
        place = tensor.untyped_storage().data_ptr()
        is_shared = place in seen or not tensor.is_contiguous()
        result[name] = tensor.clone().contiguous() if is_shared else tensor
        seen.add(place)
    return result


def _check(path: Path) -> None:
    """Read the header of a converted file, which the confined process could have written as it liked."""
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - see write

    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    try:
        if header > _MAX_HEADER:
            raise SandboxError(f"expected a header of at most {_MAX_HEADER} bytes, found {header}")
        with safe_open(path, framework="np") as opened:
            if not list(opened.keys()):
                raise SandboxError("expected tensors in the converted file, found none")
    except SafetensorError as error:
        raise SandboxError(f"expected a safetensors file, found something else: {error}") from error


def main(arguments: Sequence[str]) -> int:
    """Run the conversion in a directory, and return the exit code; errors are written to standard error.

    It ends with the process whose id is the second argument, which has started it.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != int(arguments[1]):
        return 1
    enforce_offline()
    # Before the process is confined, which a library's import need not be.
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)
    try:
        convert(Path(arguments[0]), available_memory())
    except NotConfinedError:
        return NOT_CONFINED
    except ConfinedError:
        return 1  # the error of the confined process is the end of the log
    except (SandboxError, OSError) as error:
        traceback.print_exception(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

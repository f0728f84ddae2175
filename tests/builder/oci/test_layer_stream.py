"""The bytes of a layer: compared with what was verified while they are packed, and again in an archive."""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import resource
import subprocess
import sys
import tarfile
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.support.bundles import (
    flip_bit,
    opened,
)
from tests.support.images import two_models
from tests.support.registry_server import needs
from thoth_models.bundle.digest import Digest
from thoth_models.errors import VerificationError
from thoth_models_builder.oci import layer_stream
from thoth_models_builder.oci.layer_stream import LayerStream, packed_digest
from thoth_models_builder.oci.layers import Layer, LayerFile, bundle_layers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def layers_of(root: Path, *, top: str = "/models", mtime: int = 0, **more: object) -> dict[str, Layer]:
    manifest = two_models(root, **more)  # type: ignore[arg-type]
    return {layer.name: layer for layer in bundle_layers(manifest, root, root=top, mtime=mtime)}


def packed(layer: Layer) -> bytes:
    stream = LayerStream(layer)
    data = b"".join(bytes(piece) for piece in stream)  # a piece is good until the next one
    assert stream.digest is not None
    assert stream.digest.hex == hashlib.sha256(data).hexdigest()
    assert len(data) == layer.size == stream.size
    return data


@pytest.mark.hostile
def test_a_changed_byte_is_noticed_while_packing(place: Path) -> None:
    layer = layers_of(place / "b")["other/torch-fp32"]
    flip_bit(place / "b", "other/source/model.safetensors", offset=1234)
    with pytest.raises(VerificationError) as caught:
        packed(layer)
    (problem,) = caught.value.problems
    assert (problem.kind, problem.path) == ("changed", "models/other/source/model.safetensors")
    assert problem.expected.startswith("sha256 ")
    assert "packed after it was verified" in str(caught.value)


@pytest.mark.hostile
@pytest.mark.parametrize(("content", "found"), [(b"", "0 bytes"), (b"x" * 3001, "3001 bytes")])
def test_another_length_is_noticed_while_packing(content: bytes, found: str, place: Path) -> None:
    layer = layers_of(place / "b")["other/torch-fp32"]
    with opened(place / "b"):
        (place / "b" / "other" / "source" / "model.safetensors").write_bytes(content)
    with pytest.raises(VerificationError, match=f"expected 3000 bytes, found {found}"):
        packed(layer)


def test_a_missing_file_is_noticed_while_packing(place: Path) -> None:
    layer = layers_of(place / "b")["other/torch-fp32"]
    with opened(place / "b"):
        (place / "b" / "other" / "source" / "model.safetensors").unlink()
    with pytest.raises(VerificationError, match="expected a readable file, found No such file"):
        packed(layer)


def test_large_files_in_pieces(place: Path) -> None:
    content = bytes(range(256)) * 4096 * 11 + b"the end"  # more pieces than there are buffers
    layer = layers_of(place / "b", more={"large.bin": content})["other/torch-fp32"]
    data = packed(layer)
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as file:
        opened_file = file.extractfile("models/other/source/large.bin")
        assert opened_file is not None
        assert opened_file.read() == content
    archive = place / "archive.tar"
    archive.write_bytes(data)
    found = packed_digest(archive, layer)
    assert found is not None
    assert found.hex == hashlib.sha256(data).hexdigest()


class _Counted:
    """Stands in for sha256, which takes half a minute for these zeros: its digest says how many bytes it was given."""

    def __init__(self) -> None:
        self.count = 0

    def update(self, data: bytes | memoryview) -> None:
        self.count += len(data)

    def hexdigest(self) -> str:
        return f"{self.count:064x}"


@pytest.mark.big
def test_a_file_of_more_than_8_gib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Larger than the size field of a plain header can say; zeros that take no room on the disk."""
    monkeypatch.setattr(layer_stream, "hashlib", SimpleNamespace(sha256=_Counted))
    # Reading as many zeros from a file takes half a minute more; the buffers are zeros already.
    monkeypatch.setattr(os, "preadv", lambda _file, buffers, _offset: len(buffers[0]))
    size = 8 * 1024**3 + 12_345
    (tmp_path / "zeros").touch()
    os.truncate(tmp_path / "zeros", size)
    layer = Layer(
        name="mini/onnx-fp32",
        kind="variant",
        directory="models",
        files=(
            LayerFile(path="models/a", size=size, sha256=Digest(f"{size:064x}"), origin=tmp_path / "zeros"),
            LayerFile(path="models/b", size=21, sha256=Digest(f"{21:064x}"), origin=b"what follows is found"),
        ),
        directories={"models": 0o555},
        mtime=0,
    )
    stream = LayerStream(layer)
    before, written = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0
    # Into a file with holes, in which tar seeks: through a pipe, these zeros take half a minute.
    with (tmp_path / "layer.tar").open("wb") as archive:
        for data in stream:
            written += len(data)
            if np.frombuffer(data, np.uint8).any():
                archive.write(data)
            else:
                archive.seek(len(data), os.SEEK_CUR)
        archive.truncate()
    listing = [needs("tar"), "--list", "--verbose", "--file", str(tmp_path / "layer.tar")]
    listed = subprocess.run(listing, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [(line.split()[2], line.split()[-1]) for line in listed] == [
        ("0", "models/"),
        (str(size), "models/a"),
        ("21", "models/b"),
    ]
    assert written == layer.size
    assert stream.digest == Digest(f"{written:064x}")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


@pytest.mark.hostile
def test_any_other_byte_of_an_archive_is_seen(place: Path) -> None:
    layer = layers_of(place / "b")["mini/torch-fp32"]
    data = packed(layer)
    archive = place / "archive.tar"
    archive.write_bytes(data)
    assert packed_digest(archive, layer) is not None
    # Headers, content, padding and the end alike; a prime step, so that every part is met.
    for position in [*range(0, len(data), 61), len(data) - 1]:
        changed = bytearray(data)
        changed[position] ^= 1
        archive.write_bytes(changed)
        assert packed_digest(archive, layer) is None, position


@pytest.mark.hostile
@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"\0", lambda _: b""])
def test_an_archive_of_another_length_is_seen(change: object, place: Path) -> None:
    layer = layers_of(place / "b")["mini/torch-fp32"]
    archive = place / "archive.tar"
    archive.write_bytes(change(packed(layer)))  # type: ignore[operator]
    assert packed_digest(archive, layer) is None


def test_an_archive_that_is_not_there(place: Path) -> None:
    layer = layers_of(place / "b")["mini/torch-fp32"]
    assert packed_digest(place / "nothing", layer) is None
    assert packed_digest(place, layer) is None


class _Interrupt(BaseException):
    """As the handler of a signal raises it."""


_INTERRUPTED = ("threading.py", "thread.py", "_base.py", "daemon_executor.py", "layer_stream.py")


def is_interrupted(work: Callable[[], object], number: int) -> bool:
    """Do some work, and raise where it returns from a function of the threads for the ``number``-th time."""
    seen = 0

    def trace(frame: Any, event: str, _: object) -> Any:
        nonlocal seen
        if event == "return" and frame.f_code.co_filename.endswith(_INTERRUPTED):
            seen += 1
            if seen > number:
                sys.settrace(None)
                raise _Interrupt
        return trace

    before = sys.gettrace()
    try:
        sys.settrace(trace)
        work()
    except _Interrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.unmeasured
# An interrupt between opening a file and the `with` that closes it leaves that to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_anywhere_leaves_no_thread_that_is_waited_for(place: Path) -> None:
    """SIGTERM raises in the main thread, which may be in the middle of handing something to another one."""
    layer = layers_of(place / "b")["other/torch-fp32"]
    done: list[int] = []

    def interrupt_everywhere() -> None:
        done.append(next(number for number in itertools.count() if not is_interrupted(lambda: packed(layer), number)))

    thread = threading.Thread(target=interrupt_everywhere, daemon=True)
    thread.start()
    thread.join(60)
    assert done, "expected the end of a stream that was interrupted, found it waiting"
    assert done[0] > 50

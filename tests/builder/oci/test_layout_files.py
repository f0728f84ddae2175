"""The files of a layout: documents compared with their digests, written whole or not at all."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.support.hand_layouts import flip
from thoth_models.bundle.digest import Digest
from thoth_models_builder.errors import LayoutError, OutputError
from thoth_models_builder.oci import layout_files
from thoth_models_builder.oci.descriptors import OCI_MANIFEST, Descriptor
from thoth_models_builder.oci.layout_files import (
    blob_path,
    has_blob,
    prepare_layout,
    read_document,
    read_index,
    write_blob,
    write_index,
)

if TYPE_CHECKING:
    from pathlib import Path

DATA = b'{"schemaVersion": 2}'


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    prepare_layout(tmp_path / "layout")
    return tmp_path / "layout"


def put(layout: Path, data: bytes = DATA) -> Descriptor:
    return Descriptor(media_type=OCI_MANIFEST, digest=write_blob(layout, data), size=len(data))


def test_a_new_layout_has_a_marker_and_no_index(layout: Path) -> None:
    assert json.loads((layout / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    assert sorted(path.name for path in layout.iterdir()) == ["blobs", "oci-layout"]
    prepare_layout(layout)
    with pytest.raises(LayoutError, match=r"index\.json: expected a file of an OCI image layout, found No such file"):
        read_index(layout)


@pytest.mark.hostile
def test_a_directory_of_something_else_is_not_a_layout(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(OutputError, match="expected an OCI image layout or an empty directory, found other files"):
        prepare_layout(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]
    with pytest.raises(LayoutError, match="oci-layout: expected a file of an OCI image layout"):
        read_index(tmp_path)


def test_a_marker_that_a_killed_run_began_is_in_no_ones_way(tmp_path: Path) -> None:
    (tmp_path / ".oci-layout.0123456789abcdef").write_bytes(b"{")
    prepare_layout(tmp_path)
    assert (tmp_path / "oci-layout").exists()


def test_an_index_is_read_as_it_was_written(layout: Path) -> None:
    entries = [put(layout), put(layout, b"{}")]
    write_index(layout, entries)
    assert read_index(layout) == entries


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Expecting value"),
        (b"[]", "expected a JSON object, found a list"),
        (b"{}", "manifests: expected a list, found a NoneType"),
        (b'{"manifests": [{}]}', r"manifests\[0\]\.mediaType: expected a media type, found None"),
    ],
)
def test_an_index_that_is_damaged_is_named(content: bytes, message: str, layout: Path) -> None:
    (layout / "index.json").write_bytes(content)
    with pytest.raises(LayoutError, match=rf"index\.json: {message}"):
        read_index(layout)


@pytest.mark.hostile
def test_a_document_is_compared_with_its_digest_and_length(layout: Path) -> None:
    entry = put(layout)
    assert read_document(layout, entry) == DATA
    longer = Descriptor(media_type=OCI_MANIFEST, digest=entry.digest, size=entry.size + 1)
    with pytest.raises(LayoutError, match=rf"expected {entry.size + 1} bytes, found {entry.size}$"):
        read_document(layout, longer)
    flip(blob_path(layout, entry.digest))
    with pytest.raises(LayoutError, match=rf"expected sha256 {entry.digest}, found [0-9a-f]{{64}}$"):
        read_document(layout, entry)


@pytest.mark.hostile
def test_a_document_is_not_read_beyond_what_registries_accept(layout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout_files, "MAX_DOCUMENT_SIZE", len(DATA) - 1)
    with pytest.raises(LayoutError, match=rf"expected at most {len(DATA) - 1} bytes, found more"):
        read_document(layout, put(layout))


def test_a_blob_is_there_if_its_content_is(layout: Path) -> None:
    entry = put(layout)
    assert has_blob(layout, entry)
    assert not has_blob(layout, Descriptor(media_type=OCI_MANIFEST, digest=Digest.of(b"x"), size=1))
    flip(blob_path(layout, entry.digest))
    assert not has_blob(layout, entry)


@pytest.mark.hostile
def test_a_pipe_in_place_of_a_file_is_not_waited_for(layout: Path) -> None:
    os.mkfifo(layout / "index.json")
    with pytest.raises(LayoutError, match="not a regular file"):
        read_index(layout)


def test_a_layout_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=rf"{tmp_path}/file: expected to write an OCI image layout, found"):
        prepare_layout(tmp_path / "file")
    with pytest.raises(OutputError, match="expected to write an OCI image layout, found Not a directory"):
        write_blob(tmp_path / "file", DATA)

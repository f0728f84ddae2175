"""The files of an image layout on disk, by https://github.com/opencontainers/image-spec/blob/main/image-layout.md."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from thoth_models.bundle.digest import Digest, hash_file
from thoth_models_builder.errors import LayoutError, OutputError
from thoth_models_builder.oci.descriptors import (
    MAX_DOCUMENT_SIZE,
    OCI_INDEX,
    Descriptor,
    parse_descriptor,
    parse_document,
)
from thoth_models_builder.storage.files import open_regular, replace_file, sync_directory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MARKER = b'{"imageLayoutVersion":"1.0.0"}'
"""Content of the file ``oci-layout``."""


def blob_path(layout: Path, digest: Digest) -> Path:
    """Return the path of a blob, whether it exists or not."""
    return layout / "blobs" / "sha256" / str(digest)


def read_index(layout: Path) -> list[Descriptor]:
    """Return the entries of a layout's index.json.

    Raises:
        LayoutError: It is missing or malformed, or the directory is not a layout.
    """
    _read_small(layout / "oci-layout")
    path = layout / "index.json"
    try:
        document = parse_document(_read_small(path))
        entries = document.get("manifests")
        if not isinstance(entries, list):
            raise LayoutError(f"{path}: manifests: expected a list, found a {type(entries).__name__}")
        return [parse_descriptor(entry, f"manifests[{index}]") for index, entry in enumerate(entries)]
    except ValueError as error:
        raise LayoutError(f"{path}: {error}") from error


def read_document(layout: Path, descriptor: Descriptor) -> bytes:
    """Return the bytes of a manifest or an index after comparing them with its digest.

    Raises:
        LayoutError: They are missing, or have another digest or length.
    """
    path = blob_path(layout, descriptor.digest)
    data = _read_small(path)
    found = Digest.of(data)
    if found != descriptor.digest:
        raise LayoutError(f"{path}: expected sha256 {descriptor.digest}, found {found}")
    if len(data) != descriptor.size:
        raise LayoutError(f"{path}: expected {descriptor.size} bytes, found {len(data)}")
    return data


def prepare_layout(layout: Path) -> None:
    """Create a layout in a new or empty directory, or accept an existing layout.

    Raises:
        OutputError: The directory contains something else, or cannot be created.
    """
    try:
        layout.mkdir(parents=True, exist_ok=True)
        marker = layout / "oci-layout"
        if not marker.exists():
            # A run that was killed may have left a temporary file of the marker.
            if any(not path.name.startswith(".oci-layout.") for path in layout.iterdir()):
                raise OutputError(f"{layout}: expected an OCI image layout or an empty directory, found other files")
            replace_file(marker, MARKER)
        (layout / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(layout, error) from error


def has_blob(layout: Path, descriptor: Descriptor) -> bool:
    """Return whether a layout has a blob; its content is hashed, the name alone does not count."""
    try:
        with open_regular(blob_path(layout, descriptor.digest)) as file:
            content = hash_file(file)
    except OSError:
        return False
    return content.sha256 == descriptor.digest and content.size == descriptor.size


def write_index(layout: Path, entries: Sequence[Descriptor]) -> None:
    """Write index.json, as the last step: a layout that has one is complete.

    Raises:
        OutputError: The layout cannot be written.
    """
    document = {"manifests": [entry.as_json() for entry in entries], "mediaType": OCI_INDEX, "schemaVersion": 2}
    try:
        sync_directory(layout / "blobs" / "sha256")
        replace_file(layout / "index.json", json.dumps(document, sort_keys=True, separators=(",", ":")).encode())
        sync_directory(layout)
    except OSError as error:
        raise unwritable(layout, error) from error


def write_blob(layout: Path, data: bytes) -> Digest:
    """Write a small blob and return its digest.

    Raises:
        OutputError: The layout cannot be written.
    """
    digest = Digest.of(data)
    try:
        replace_file(blob_path(layout, digest), data)
    except OSError as error:
        raise unwritable(layout, error) from error
    return digest


def unwritable(layout: Path, error: OSError) -> OutputError:
    """Return the error for a layout that cannot be written."""
    return OutputError(f"{layout}: expected to write an OCI image layout, found {error.strerror or error}")


def _read_small(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            data = file.read(MAX_DOCUMENT_SIZE + 1)
    except OSError as error:
        raise LayoutError(f"{path}: expected a file of an OCI image layout, found {error.strerror}") from error
    if len(data) > MAX_DOCUMENT_SIZE:
        raise LayoutError(f"{path}: expected at most {MAX_DOCUMENT_SIZE} bytes, found more")
    return data

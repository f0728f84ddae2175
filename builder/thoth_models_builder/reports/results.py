"""What the pipeline tells of its work: frozen data for the command line to show, and what it may be watched with.

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from thoth_models_builder.errors import SourceAttempt
    from thoth_models_builder.variants import Refusal


class Watcher(Protocol):
    """What is told about work that takes time."""

    def transfer(self, label: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """Begin a transfer of ``total`` bytes; the function that is given takes the number of bytes that came."""
        ...

    def note(self, message: str) -> None:
        """Take a line that a person should see."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedModelReport:
    """What became of one model's lock entry.

    Attributes:
        name: Name of the model.
        state: ``resolved`` anew with another content than before, ``unchanged``, ``kept`` because the sources did not
            answer, ``missing`` because there was nothing to keep either, or ``removed`` with its model.
        source: Label of the source that was asked with success, or None.
        files: Number of files.
        bytes: Their length together.
        refused: Files that the source has and the lock leaves out, each with the reason.
        attempts: Sources that did not deliver.
    """

    name: str
    state: Literal["resolved", "unchanged", "kept", "missing", "removed"]
    source: str | None = None
    files: int = 0
    bytes: int = 0
    refused: tuple[Refusal, ...] = ()
    attempts: tuple[SourceAttempt, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class LockReport:
    """What ``lock`` did.

    Attributes:
        file: The lock.
        is_rewritten: Whether its bytes changed.
        models: In the order of the specification.
        differences: What in the lock still does not fit the specification.
    """

    file: str
    is_rewritten: bool
    models: tuple[LockedModelReport, ...]
    differences: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltFileReport:
    """One file of a bundle: its path below the model's directory, and where its bytes came from in this build."""

    path: str
    size: int
    sha256: str
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltModelReport:
    """One model of a bundle.

    Attributes:
        name: Name of the model.
        is_absent: Whether the bundle lacks it.
        stand_ins: Models of the bundle that may stand in for it, in order.
        license: As published, or None.
        dimension: Length of a vector.
        space: Identity of the embedding space, or None for an absent model.
        variants: In order of preference; those that could be made.
        accuracy: What was measured of each variant, see :class:`thoth_models.accuracy.Accuracy`.
        files: Sorted by path; empty for an absent model.
    """

    name: str
    is_absent: bool
    stand_ins: tuple[str, ...]
    license: str | None
    dimension: int
    space: str | None
    variants: tuple[str, ...]
    accuracy: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    files: tuple[BuiltFileReport, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildReport:
    """What ``build`` did.

    Attributes:
        output: The bundle directory.
        is_unchanged: Whether it was there already, and nothing was written.
        bundle_digest: sha256 of the manifest.
        set_digest: sha256 of the checksum list.
        models: In the order of the specification.
        attempts: Sources that did not deliver.
        notes: What else a person should know, such as that a damaged bundle was replaced.
        own_seconds: Time spent by the builder itself.
        source_seconds: Time spent waiting for sources.
        compile_seconds: Time spent compiling and measuring.
    """

    output: str
    is_unchanged: bool
    bundle_digest: str
    set_digest: str
    models: tuple[BuiltModelReport, ...]
    attempts: tuple[SourceAttempt, ...]
    notes: tuple[str, ...] = field(default=())
    own_seconds: float
    source_seconds: float
    compile_seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckReport:
    """What ``verify`` found in an intact bundle.

    Attributes:
        output: The bundle directory.
        bundle_digest: sha256 of the manifest.
        set_digest: sha256 of the checksum list.
        files: Number of files that were compared.
        bytes: Their length together.
        warnings: Entries that others than their owner may write.
        seconds: Time spent.
    """

    output: str
    bundle_digest: str
    set_digest: str
    files: int
    bytes: int
    warnings: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageLayerReport:
    """One layer of an image: its name, length and digest, and whether the layout had it already."""

    name: str
    size: int
    digest: str
    is_reused: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageManifestReport:
    """One image of an index, or the only one: its platform (empty for an artifact) and digests."""

    platform: str
    digest: str
    config_digest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageOutputReport:
    """One destination: as it was asked for, the name of the image there, its digest, and the bytes that went there.

    The digest is that of the index or manifest; in an engine or a docker-archive it is that of the configuration, which
    is the image's id. Bytes of a layout are those of layers that were written anew; of a registry, those of blobs that
    it lacked.
    """

    destination: str
    name: str
    digest: str
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageReport:
    """What ``image`` did.

    Attributes:
        format: ``image`` or ``modelpack``.
        digest: Of the index, or of the manifest where there is one only.
        bundle_digest: sha256 of the bundle's manifest.
        set_digest: sha256 of its checksum list.
        manifests: In the order of the index.
        base_layers: Number of layers, of all platforms, that came from a base.
        layers: Ours, the lowest first.
        outputs: In the order of the destinations.
        seconds: Time spent.
    """

    format: str
    digest: str
    bundle_digest: str
    set_digest: str
    manifests: tuple[ImageManifestReport, ...]
    base_layers: int
    layers: tuple[ImageLayerReport, ...]
    outputs: tuple[ImageOutputReport, ...]
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class CollectionReport:
    """What ``gc`` removed, or would remove: number of files and their length in bytes."""

    store: str
    files: int
    bytes: int
    is_dry_run: bool

"""The results of each command, as frozen data that the command line shows. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from thoth_models_builder.errors import SourceAttempt
    from thoth_models_builder.spec.variants import Refusal


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedModelReport:
    """The result for the lock entry of one model.

    Attributes:
        name: Name of the model.
        state: ``resolved`` with new content, ``unchanged``, ``kept`` because its origin did not deliver it, ``missing``
            because there was no entry to keep, or ``removed`` together with its model.
        source: Label of the source that delivered it, or None.
        files: Number of files.
        bytes: Total length of the files.
        refused: Files of the source that the lock leaves out, each with the reason.
        attempts: Failed attempts.
        configured: Files that a build changes or adds, by path, each with the reasons.
        notes: Remarks for the author of the specification.
    """

    name: str
    state: Literal["resolved", "unchanged", "kept", "missing", "removed"]
    source: str | None = None
    files: int = 0
    bytes: int = 0
    refused: tuple[Refusal, ...] = ()
    attempts: tuple[SourceAttempt, ...] = ()
    configured: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class LockReport:
    """The result of ``lock``.

    Attributes:
        file: Path of the lock.
        is_rewritten: Whether its bytes changed.
        models: Results in the order of the specification.
        differences: Remaining differences between lock and specification.
    """

    file: str
    is_rewritten: bool
    models: tuple[LockedModelReport, ...]
    differences: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class EditReport:
    """The result of ``init``, ``add`` or ``remove``.

    Attributes:
        file: Path of the specification.
        lock: Path of the lock.
        is_new: Whether the specification was created.
        models: The models that were added, with their entries in the lock, or removed.
        sources: The source of each added model as the specification has it now, by name.
        differences: Remaining differences between lock and specification.
    """

    file: str
    lock: str
    is_new: bool
    models: tuple[LockedModelReport, ...]
    sources: Mapping[str, str]
    differences: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class OutdatedModelReport:
    """How the lock of one model compares with a branch upstream.

    Attributes:
        name: Name of the model.
        state: ``current``; ``same vectors`` or ``new space`` for another commit; ``refused`` for another commit that a
            bundle cannot contain; ``unknown`` if the Hub did not answer; ``not asked`` for a model of another kind of
            source.
        source: Label of the origin, with the locked commit of a repository.
        upstream: The commit upstream, or None.
        branch: Branch, or tag, whose commit that is; None if the Hub is not asked.
        changed: Paths of files with other content, or that are only there, of those that the lock has.
        reason: Why the state is ``refused`` or ``unknown``; otherwise None.
        is_pinned: Whether the specification names a commit, and not a branch or tag.
    """

    name: str
    state: Literal["current", "same vectors", "new space", "refused", "unknown", "not asked"]
    source: str
    upstream: str | None = None
    branch: str | None = None
    changed: tuple[str, ...] = ()
    reason: str | None = None
    is_pinned: bool = False

    @property
    def is_outdated(self) -> bool:
        """Whether the branch upstream has another commit."""
        return self.state in ("same vectors", "new space", "refused")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCheckReport:
    """What the small files of a model say about a bundle with it.

    Attributes:
        name: Name that it would have.
        source: Label of its source.
        revision: Commit of a repository of the Hub, else None.
        license: Its licence, or None if it states none.
        spdx: What SPDX calls its licence, if that is more than another case; else None.
        architecture: Its ``model_type``, or the kind of its first module.
        modules: The steps of its pipeline.
        dimension: Length of a vector.
        max_seq_length: Longest text in tokens, or None for no limit.
        pooling: How token vectors become one.
        is_normalized: Whether the model itself makes vectors unit length.
        similarity: Similarity function that it was published for.
        prompts: Prompts by name.
        default_prompt_name: The prompt that is used if the caller names none, or None.
        variants: Forms that its small files say nothing against; whether each can be made, only a build finds out.
        weight_bytes: Total length of its weights.
        bytes: Total length of the files that would be locked.
        files: Paths of those files.
        refused: Files that would be left out, each with the reason.
        configured: Files that a build changes or adds, by path, each with the reasons.
        notes: What its files do not say.
        entry: Text of its entry in models.yaml, below ``models:``.
    """

    name: str
    source: str
    revision: str | None
    license: str | None
    spdx: str | None
    architecture: str
    modules: tuple[str, ...]
    dimension: int
    max_seq_length: int | None
    pooling: str
    is_normalized: bool
    similarity: str
    prompts: Mapping[str, str]
    default_prompt_name: str | None
    variants: tuple[str, ...]
    weight_bytes: int
    bytes: int
    files: tuple[str, ...]
    refused: tuple[Refusal, ...]
    configured: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...]
    entry: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltFileReport:
    """One file of a bundle: its path in the directory of the model, and the source of its bytes in this build."""

    path: str
    size: int
    sha256: str
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltModelReport:
    """One model of a bundle.

    Attributes:
        name: Name of the model.
        is_absent: Whether the model is missing from the bundle.
        stand_ins: Models of the bundle that may stand in for an absent model, in order of preference.
        license: Licence as published, or None.
        dimension: Length of a vector.
        space: Identity of the embedding space, or None for an absent model.
        variants: Variants that could be built, in order of preference.
        gates: Thresholds that each variant passed, see :class:`thoth_models.bundle.accuracy.Gate`.
        accuracy: Measured figures of each variant, see :class:`thoth_models.bundle.accuracy.Accuracy`; empty if they
            are unknown.
        files: Files, sorted by path; empty for an absent model.
        configured: Source files that differ from those of the origin, by path, each with the reasons.
    """

    name: str
    is_absent: bool
    stand_ins: tuple[str, ...]
    license: str | None
    dimension: int
    space: str | None
    variants: tuple[str, ...]
    gates: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    accuracy: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    files: tuple[BuiltFileReport, ...] = ()
    configured: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildReport:
    """The result of ``build``.

    Attributes:
        output: The bundle directory.
        report: Path of the file with the measured figures beside the bundle; None if nothing was
            measured, or it could not be written.
        is_unchanged: Whether the bundle existed already, and nothing was written.
        bundle_digest: sha256 of the manifest.
        set_digest: sha256 of the checksum list.
        models: Results in the order of the specification.
        attempts: Failed attempts.
        notes: Remarks for the user, such as that a damaged bundle was replaced.
        own_seconds: Time spent by the builder itself.
        source_seconds: Time spent waiting for sources.
        compile_seconds: Time spent compiling and measuring.
    """

    output: str
    report: str | None
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
class SignReport:
    """The result of ``sign``.

    Attributes:
        output: Path of the signature.
        bytes: Its length.
        is_unchanged: Whether the file was there already, with the same bytes.
        bundle_digest: sha256 of the manifest.
        set_digest: sha256 of the checksum list.
        files: Number of files that are signed, including both.
        signed_by: Who signed, in words.
    """

    output: str
    bytes: int
    is_unchanged: bool
    bundle_digest: str
    set_digest: str
    files: int
    signed_by: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckReport:
    """The result of ``verify`` for an intact bundle.

    Attributes:
        output: The bundle directory.
        bundle_digest: sha256 of the manifest.
        set_digest: sha256 of the checksum list.
        release: Number of the release, or None.
        files: Number of verified files.
        bytes: Total length of the files.
        warnings: Files and directories that other users than their owner may write, and what is wrong with the
            signature, where that is only warned of.
        signed_by: Who signed the bundle, in words; None if that was not checked, or is not trusted.
        attested: Each attestation that was checked, in words: what it states, and who signed it.
        seconds: Time spent.
    """

    output: str
    bundle_digest: str
    set_digest: str
    release: int | None
    files: int
    bytes: int
    warnings: tuple[str, ...]
    signed_by: str | None = None
    attested: tuple[str, ...] = ()
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PageReport:
    """The result of ``report``.

    Attributes:
        output: The page.
        bytes: Its length.
        bundle_digest: sha256 of the manifest of the bundle.
        problems: What differs from the manifest; empty for an intact bundle.
        needs_reindex: Whether an index must be made again, or None if the bundle was compared with no other.
    """

    output: str
    bytes: int
    bundle_digest: str
    problems: tuple[str, ...]
    needs_reindex: bool | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageLayerReport:
    """One layer of an image: name, length, digest, and whether the layout had it already."""

    name: str
    size: int
    digest: str
    is_reused: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageManifestReport:
    """One image of an index, or a single image: its platform (empty for an artifact) and digests."""

    platform: str
    digest: str
    config_digest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageOutputReport:
    """One destination: the text that the user gave, the name and digest of the image there, and the bytes written.

    The digest is that of the index or manifest; in an engine or a docker-archive it is that of the configuration, the
    id of the image. For a layout, the bytes are those of new layers; for a registry, those of blobs that it lacked.
    """

    destination: str
    name: str
    digest: str
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageReport:
    """The result of ``image``.

    Attributes:
        format: ``image`` or ``modelpack``.
        digest: Digest of the index, or of the manifest if there is only one.
        bundle_digest: sha256 of the bundle's manifest.
        set_digest: sha256 of its checksum list.
        manifests: Images in the order of the index.
        base_layers: Number of layers of the base, over all platforms.
        layers: Layers of the bundle, lowest first.
        outputs: Results in the order of the destinations.
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
    """The files that ``gc`` removed, or would remove: their number and total length in bytes."""

    store: str
    files: int
    bytes: int
    is_dry_run: bool

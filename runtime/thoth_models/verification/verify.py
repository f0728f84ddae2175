"""Verify bundles. Only this module creates a :class:`VerifiedVariant`.

:func:`verify` checks a whole bundle. :func:`open_bundle` and :func:`verify_variant` check what loading needs: the
manifest, and exactly the files of one variant.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

from thoth_models.bundle.canonical_json import FormatError
from thoth_models.bundle.digest import Digest
from thoth_models.bundle.manifest import CHECKSUMS_NAME, MANIFEST_NAME, Manifest
from thoth_models.errors import BundleNotFoundError, ManifestError, Problem, VerificationError
from thoth_models.process.environment import checked_digest, checked_release, checked_trust, usable_cores
from thoth_models.process.task import call_within
from thoth_models.verification.configurations import check_all_configurations, check_configurations
from thoth_models.verification.contents import check_contents, map_contents, read_compared, unread
from thoth_models.verification.entries import check_permissions, check_tree
from thoth_models.verification.regular_file import NotRegularError, RegularFile
from thoth_models.verification.release import check_release

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from thoth_models.bundle.golden import Golden
    from thoth_models.bundle.manifest import BuiltModel, Model, Variant
    from thoth_models.process.environment import BundlePlace, Trust
    from thoth_models.verification.signatures.signature_file import SignatureCheck

_MAX_INDEX_SIZE = 64 * 1024 * 1024
"""Maximum size of a manifest or checksum list in bytes; a real one has a few kilobytes per model."""

VERIFY_SECONDS: Final = 3600.0
"""Default deadline of verifying a whole bundle: enough for 100 GB at 30 MB/s."""

_SEAL: Final = object()


@dataclass(frozen=True, kw_only=True, slots=True)
class VerificationReport:
    """The result of a successful verification.

    Attributes:
        root: Absolute path of the bundle.
        manifest: The manifest of the bundle.
        bundle_digest: sha256 of the manifest's bytes.
        set_digest: sha256 of the checksum list's bytes; independent of how the bundle is packed.
        files: Number of files whose content was compared, including the manifest and the checksum list.
        bytes: Their total length.
        warnings: Entries that users other than the owner may write; with ``strict`` they are errors instead. And what
            is wrong with the signature, where that is only warned of.
        signed_by: Who signed the bundle, in words; None if no trusted signature was found, or none was looked for.
        seconds: Duration.
    """

    root: Path
    manifest: Manifest
    bundle_digest: Digest
    set_digest: Digest
    files: int
    bytes: int
    warnings: tuple[Problem, ...]
    signed_by: str | None = None
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenBundle:
    """A bundle whose manifest was verified, but not its model files.

    Attributes:
        root: Absolute path of the bundle, free of symlinks.
        manifest: The manifest of the bundle.
        bundle_digest: sha256 of the manifest's bytes.
    """

    root: Path
    manifest: Manifest
    bundle_digest: Digest


@final
class VerifiedVariant:
    """A variant whose every byte was compared with the manifest. Backends accept nothing else.

    Attributes:
        model: The model of the variant.
        built: That model's files and settings.
        variant: The variant.
        directory: Absolute path of the directory for the backend.
        contents: The compared pages of the files, by path within the directory; processes share them.
        golden: Texts with their reference vectors, or None for a model without golden vectors.
    """

    __slots__ = ("built", "contents", "directory", "golden", "model", "variant")

    def __init__(  # noqa: PLR0913 - one for each attribute, and the seal
        self,
        seal: object,
        *,
        model: Model,
        built: BuiltModel,
        variant: Variant,
        directory: Path,
        contents: Mapping[str, memoryview],
        golden: Golden | None,
    ) -> None:
        if seal is not _SEAL:
            raise TypeError("a VerifiedVariant is made by thoth_models.verification.verify.verify_variant only")
        self.model = model
        self.built = built
        self.variant = variant
        self.directory = directory
        self.contents = contents
        self.golden = golden


def open_place(place: BundlePlace) -> OpenBundle:
    """Open the bundle at a place, with everything that the place asks of it; see :func:`open_bundle`."""
    return open_bundle(place.path, expect_digest=place.expect_digest, min_release=place.min_release, trust=place.trust)


def open_bundle(
    root: str | os.PathLike[str],
    *,
    expect_digest: str | None = None,
    min_release: int | None = None,
    trust: Trust | None = None,
) -> OpenBundle:
    """Read the manifest of the bundle at ``root`` and check it against the checksum list.

    Args:
        root: The bundle directory.
        expect_digest: The bundle digest, which is compared before the manifest is parsed; None accepts any.
        min_release: The lowest release that is accepted; None accepts any, and a bundle without one.
        trust: Who must have signed the bundle, which is verified before the manifest is parsed; None for no check.

    Raises:
        BundleNotFoundError: There is no directory at ``root``, or no manifest in it.
        ManifestError: The manifest is malformed.
        VerificationError: It is another bundle than the expected one, it was not signed as it must be, it is an older
            release than is accepted, or the manifest and the checksum list disagree.
        EnvironmentFault: The trust settings cannot be used.
    """
    path = _absolute(root)
    data, digest = _read_manifest(path, expect_digest)
    signature = _check_signature(path, trust, digest)
    manifest = Manifest.from_bytes(data)
    if signature is not None:
        signature.check_files(manifest)
    check_release(path, manifest, min_release)
    if problems := list(_check_checksums(path, manifest)):
        raise VerificationError(str(path), problems)
    return OpenBundle(root=path, manifest=manifest, bundle_digest=digest)


def verify_variant(
    bundle: OpenBundle, model: Model, built: BuiltModel, variant: Variant, *, spare_cores: int = 0
) -> VerifiedVariant:
    """Compare every file of ``variant``, and the golden vectors of its model, with the manifest.

    If the variant's directory has an entry that the manifest does not list for it, the variant is refused: a library
    that looks for optional files by name would read it.

    Args:
        bundle: The open bundle.
        model: The model.
        built: That model's files and settings.
        variant: The variant.
        spare_cores: Number of cores to leave free while hashing; at least one core is used.

    Raises:
        VerificationError: A file is missing, changed or not a regular file, or there is an extra entry. Has all
            problems.
        ManifestError: The golden vectors have the right digest, but a form that this release does not read.
    """
    directory = bundle.root / variant.directory
    problems = list(check_tree(bundle.root, variant.directory, set(variant.files)))
    in_the_way = {problem.path for problem in problems}
    wanted = {path: bundle.manifest.files[path] for path in variant.files if path not in in_the_way}
    contents, changed = map_contents(bundle.root, wanted, workers=max(usable_cores() - spare_cores, 1))
    # Configurations are read only after their digests were compared.
    problems += changed
    if not problems:
        problems += check_configurations(bundle.manifest, model, built, variant, lambda path: bytes(contents[path]))
    golden: bytes | Problem | None = None
    if built.record is not None:
        golden = read_compared(bundle.root, built.record.golden, bundle.manifest.files[built.record.golden])
        problems += [golden] if isinstance(golden, Problem) else []
    if problems:
        raise VerificationError(str(bundle.root), sorted(problems, key=lambda problem: problem.path))
    return VerifiedVariant(
        _SEAL,
        model=model,
        built=built,
        variant=variant,
        directory=directory,
        contents={path.removeprefix(f"{variant.directory}/"): content for path, content in contents.items()},
        golden=_parse_golden(golden, built, model) if isinstance(golden, bytes) else None,
    )


def _parse_golden(data: bytes, built: BuiltModel, model: Model) -> Golden:
    # Imports numpy, which a loading process does while files are hashed.
    from thoth_models.bundle.golden import Golden  # noqa: PLC0415

    try:
        return Golden.from_bytes(data, dimension=model.dimension)
    except FormatError as error:
        place = "" if built.record is None else built.record.golden
        raise ManifestError(f"{place}: {error}") from error


def verify(  # noqa: PLR0913 - keyword arguments with defaults
    root: str | os.PathLike[str],
    *,
    strict: bool = False,
    expect_digest: str | None = None,
    min_release: int | None = None,
    trust: Trust | str | os.PathLike[str] | None = None,
    timeout: float = VERIFY_SECONDS,
) -> VerificationReport:
    """Check a whole bundle: manifest, checksum list, the content of every file, and that nothing else is there.

    Args:
        root: The bundle directory.
        strict: Treat entries that users other than the owner may write as errors, not as warnings; and compare the
            digest of the whole of each file over 64 MiB as well, on one core, not only the digests of its parts.
        expect_digest: The bundle digest, which is compared before anything else is read; None accepts any.
        min_release: The lowest release that is accepted; None accepts any, and a bundle without one.
        trust: A file or directory with the public keys and certificates of which one must have signed the bundle. None
            for no check: variables such as ``THOTH_TRUST`` are for what loads models, and for commands.
        timeout: Seconds until :class:`LoadTimeout`, for everything together.

    Raises:
        BundleNotFoundError: There is no directory at ``root``, or no manifest in it.
        InvalidInputError: ``expect_digest`` is not a sha256, ``min_release`` not a release, or ``trust`` not a path.
        VerificationError: There are differences; has each of them, with what was expected and what was found.
        LoadTimeout: The deadline passed, as on storage that stopped answering; has the stacks of all threads.
        EnvironmentFault: The keys and certificates cannot be read, or the extra ``signing`` is not installed.
    """
    expected = None if expect_digest is None else checked_digest(expect_digest)
    lowest = None if min_release is None else checked_release(min_release)
    signers = checked_trust(trust)
    what = f"verifying {os.fspath(root)}"

    def check() -> VerificationReport:
        return _verify(root, expected, lowest, signers, strict=strict)

    return call_within(timeout, what, "comparing files", check)


def _verify(
    root: str | os.PathLike[str], expect_digest: str | None, lowest: int | None, trust: Trust | None, *, strict: bool
) -> VerificationReport:
    started = time.monotonic()
    path = _absolute(root)
    data, digest = _read_manifest(path, expect_digest)
    signature = _check_signature(path, trust, digest)
    try:
        manifest = Manifest.from_bytes(data)
    except ManifestError as error:
        found = _checksum_of(path, MANIFEST_NAME)
        expected = f"sha256 {found}" if found else "a well-formed manifest"
        problem = Problem(kind="manifest", path=MANIFEST_NAME, expected=expected, found=f"sha256 {digest}: {error}")
        raise VerificationError(str(path), [problem]) from error
    if signature is not None:
        signature.check_files(manifest)
    check_release(path, manifest, lowest)
    problems = list(_check_checksums(path, manifest))
    problems += check_tree(path, "", {*manifest.files, MANIFEST_NAME, CHECKSUMS_NAME})
    in_the_way = {problem.path for problem in problems}
    wanted = {name: content for name, content in manifest.files.items() if name not in in_the_way}
    problems += check_contents(path, wanted, workers=usable_cores(), whole=strict)
    if not problems:
        problems += check_all_configurations(path, manifest)
    warnings = tuple(check_permissions(path, {*manifest.files, MANIFEST_NAME, CHECKSUMS_NAME}))
    if strict:
        problems += warnings
    if problems:
        # Without repetitions: the checks of the checksum list and of the tree may find the same problem.
        raise VerificationError(str(path), sorted(dict.fromkeys(problems), key=lambda problem: problem.path))
    checksums = manifest.checksums()
    return VerificationReport(
        root=path,
        manifest=manifest,
        bundle_digest=digest,
        set_digest=Digest.of(checksums),
        files=len(manifest.files) + 2,
        bytes=sum(content.size for content in manifest.files.values()) + len(data) + len(checksums),
        warnings=warnings if signature is None else (*signature.warnings, *warnings),
        signed_by=None if signature is None else signature.signer,
        seconds=time.monotonic() - started,
    )


def _absolute(root: str | os.PathLike[str]) -> Path:
    path = Path(root)
    try:
        resolved = path.resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        # RuntimeError: a symlink loop, before Python 3.13. ValueError: a null character in the path.
        raise BundleNotFoundError(f"expected a bundle directory at {path}, found none ({error})") from error
    if not resolved.is_dir():
        raise BundleNotFoundError(f"expected a bundle directory at {path}, found a file")
    return resolved


def _read_manifest(root: Path, expect_digest: str | None) -> tuple[bytes, Digest]:
    """Read the manifest and its digest, which is compared with the expected one before anything parses the bytes."""
    data = _read_index(root, MANIFEST_NAME)
    digest = Digest.of(data)
    if expect_digest not in (None, digest.hex):
        problem = Problem(
            kind="pin",
            path=MANIFEST_NAME,
            expected=f"the bundle {expect_digest}",
            found=f"the bundle {digest}",
        )
        raise VerificationError(str(root), [problem])
    return data, digest


def _check_signature(root: Path, trust: Trust | None, digest: Digest) -> SignatureCheck | None:
    """Verify that a bundle with this digest was signed, before anything parses its manifest."""
    if trust is None:
        return None
    from thoth_models.verification.signatures.signature_file import SignatureCheck  # noqa: PLC0415 - only where it is asked for

    check = SignatureCheck(root, trust)
    check.check_manifest(digest)
    return check


def _read_index(root: Path, name: str) -> bytes:
    """Read the manifest or the checksum list, which must be a regular file within the size limit."""
    try:
        with RegularFile(root, name) as file:
            if file.size <= _MAX_INDEX_SIZE:
                return os.pread(file.descriptor, file.size, 0)
            problem = Problem(
                kind="changed", path=name, expected=f"at most {_MAX_INDEX_SIZE} bytes", found=f"{file.size} bytes"
            )
            raise VerificationError(str(root), [problem])
    except FileNotFoundError as error:
        raise BundleNotFoundError(f"expected {name} in the bundle at {root}, found none") from error
    except (OSError, NotRegularError) as error:
        raise VerificationError(str(root), [unread(name, error)]) from error


def _check_checksums(root: Path, manifest: Manifest) -> Iterator[Problem]:
    expected = manifest.checksums()
    try:
        found = _read_index(root, CHECKSUMS_NAME)
    except BundleNotFoundError:
        yield Problem(kind="missing", path=CHECKSUMS_NAME, expected="a regular file", found="nothing")
        return
    except VerificationError as error:
        yield from error.problems
        return
    if found == expected:
        return
    listed = _listed(found, MANIFEST_NAME)
    actual = Digest.of(manifest.to_bytes())
    if listed is not None and listed != actual.hex:
        yield Problem(kind="changed", path=MANIFEST_NAME, expected=f"sha256 {listed}", found=f"sha256 {actual}")
    yield Problem(
        kind="changed",
        path=CHECKSUMS_NAME,
        expected=f"the list that follows from {MANIFEST_NAME}, sha256 {Digest.of(expected)}",
        found=f"sha256 {Digest.of(found)}",
    )


def _checksum_of(root: Path, name: str) -> str | None:
    try:
        return _listed(_read_index(root, CHECKSUMS_NAME), name)
    except (BundleNotFoundError, VerificationError):
        return None


def _listed(checksums: bytes, name: str) -> str | None:
    suffix = f"  {name}".encode()
    for line in checksums.splitlines():
        if line.endswith(suffix):
            return line.removesuffix(suffix).decode(errors="replace")
    return None

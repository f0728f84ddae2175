"""``attest``: state what a bundle was built from, how accurate it was measured and its licences, and sign that."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from thoth_models.bundle.canonical_json import FormatError
from thoth_models.bundle.digest import Digest
from thoth_models.bundle.hidden_characters import HIDDEN
from thoth_models.verification.report_file import read_report
from thoth_models.verification.verify import open_bundle
from thoth_models_builder import __version__
from thoth_models_builder.bundle.compiler_sources import sources_digest
from thoth_models_builder.bundle.configure import settings_of
from thoth_models_builder.errors import CompilerUnavailableError, OutputError, UsageError
from thoth_models_builder.pipeline.inputs import read_lock_bytes, read_spec_bytes
from thoth_models_builder.pipeline.inspect import sbom
from thoth_models_builder.pipeline.signing.check_attestations import KINDS, compare
from thoth_models_builder.pipeline.signing.sign import SignerOptions, outside, read_beside, sign_statement, write_beside
from thoth_models_builder.spec.lockfile import Lock
from thoth_models_builder.spec.models_yaml import parse_spec
from thoth_models_builder.spec.plan import plan_models
from thoth_models_builder.trust.attestations.accuracy import ACCURACY, accuracy_predicate, not_measured
from thoth_models_builder.trust.attestations.attestation_file import (
    MAX_ATTESTATIONS,
    MAX_LINES,
    attestations_path,
    unverified_statements,
)
from thoth_models_builder.trust.attestations.distributions import distribution_digest
from thoth_models_builder.trust.attestations.licences import LICENCES
from thoth_models_builder.trust.attestations.provenance import (
    COMPILER,
    PROVENANCE,
    PYTHON,
    Builder,
    Request,
    provenance_predicate,
    toolchain_of,
)
from thoth_models_builder.trust.attestations.statement import Attestation, SignedStatement

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from thoth_models.bundle.manifest import Manifest
    from thoth_models.bundle.report import Report
    from thoth_models.verification.verify import OpenBundle

_SHOWN = 3
"""How many differences between a bundle and its lock a message lists."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AttestOptions(SignerOptions):
    """Options of ``attest``.

    Attributes:
        bundle: The bundle directory.
        file: The specification that it was built from.
        lock: The lock that it was built from.
        builder_id: URI of the platform that ran the build.
        invocation_id: What the platform calls the run, or None.
        output: Where to write the attestations; None for the file beside the bundle.
    """

    bundle: Path
    file: Path
    lock: Path
    builder_id: str
    invocation_id: str | None = None
    output: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AttestReport:
    """The result of ``attest``.

    Attributes:
        output: Path of the attestations.
        bytes: Its length.
        is_unchanged: Whether the file was there already, with the same bytes.
        bundle_digest: sha256 of the manifest.
        attested: What was attested: ``provenance``, ``accuracy``, ``licences``.
        signed_by: Who signed, in words.
        without_digest: Members of the toolchain that the statement has no digest of, with their versions, because other
            versions are installed here.
    """

    output: str
    bytes: int
    is_unchanged: bool
    bundle_digest: str
    attested: tuple[str, ...]
    signed_by: str
    without_digest: tuple[str, ...]


def attest(options: AttestOptions) -> AttestReport:
    """Write the attestations of a bundle, which stays as it is. With a key, the same input gives the same bytes.

    Raises:
        BundleError: The bundle is missing, or its manifest is malformed or changed.
        SpecError, LockError, LockOutOfDateError: The specification or the lock is wrong, or they disagree.
        UsageError: The bundle was not built from them, or it was not measured; a key, certificate or token, or the id
            of the builder, cannot be used; the attestations would be in the bundle; or an extra is not installed.
        OutputError: The attestations cannot be written, or another file is in their place.
        SigningServiceError: A service failed that an identity signs with.
    """
    _check_uri(options.builder_id)
    bundle = open_bundle(options.bundle)
    path = options.output or attestations_path(bundle.root)
    previous, others = _previous(outside(bundle.root, path, "--attestations-file"), bundle.bundle_digest)
    report = read_report(bundle.root, bundle.bundle_digest).report
    if missing := not_measured(bundle.manifest, report):
        raise UsageError(
            f"expected the report of the build beside {bundle.root}, with the measured figures of each variant, "
            f"found none of {', '.join(missing)}"
        )
    digests = _digests(bundle.manifest)
    predicates = {
        PROVENANCE: _provenance(options, bundle.manifest, digests),
        ACCURACY: accuracy_predicate(bundle.manifest, report),
        LICENCES: json.loads(sbom(options.bundle)),
    }
    # All are compared first: an entry of a log cannot be taken back.
    attestations = [_compared(options, bundle, kind, predicate, report) for kind, predicate in predicates.items()]
    signed = [sign_statement(attestation, options) for attestation in attestations]
    lines = [*(one.signature.to_bytes().rstrip(b"\n") for one in signed), *others]
    data = b"".join(line + b"\n" for line in lines)
    if len(data) > MAX_ATTESTATIONS or len(lines) > MAX_LINES:
        found = f"{len(data)} bytes in {len(lines)}"
        raise OutputError(f"{path}: expected at most {MAX_ATTESTATIONS} bytes in {MAX_LINES} lines, found {found}")
    write_beside(path, data, previous)
    return AttestReport(
        output=str(path),
        bytes=len(data),
        is_unchanged=data == previous,
        bundle_digest=bundle.bundle_digest.hex,
        attested=tuple(KINDS[kind] for kind in predicates),
        signed_by=signed[0].signer,
        without_digest=tuple(
            f"{tool['name']} {version}"
            for tool in toolchain_of(bundle.manifest)
            if tool["name"] != PYTHON and (tool["name"], version := tool["annotations"]["version"]) not in digests
        ),
    )


def _compared(
    options: AttestOptions, bundle: OpenBundle, kind: str, predicate: object, report: Report | None
) -> Attestation:
    """Return a statement that was compared with the bundle as ``verify --attestations`` does."""
    attestation = Attestation(bundle.manifest.name, bundle.bundle_digest, kind, predicate)
    try:
        found = compare(SignedStatement.from_bytes(attestation.to_bytes()), bundle.manifest, report)
    except FormatError as error:
        raise UsageError(
            f"{KINDS[kind]}: expected a statement that can be read again, found another: {error}"
        ) from error
    if found:
        shown = "; ".join(f"{one.path}: expected {one.expected}, found {one.found}" for one in found[:_SHOWN])
        raise UsageError(
            f"{KINDS[kind]}: expected {options.file} and {options.lock} that {bundle.root} was built from, "
            f"found {len(found)} differences: {shown}"
        )
    return attestation


def _provenance(
    options: AttestOptions, manifest: Manifest, digests: dict[tuple[str, str], dict[str, str]]
) -> dict[str, Any]:
    specification, locked = read_spec_bytes(options.file), read_lock_bytes(options.lock)
    spec = parse_spec(specification, str(options.file))
    lock = Lock.from_bytes(locked, str(options.lock))
    planned = plan_models(spec, lock, [*manifest.models], str(options.lock))
    request = Request(
        bundle=spec.bundle.model_dump(mode="json", exclude_unset=True),
        planned=planned,
        settings={model.name: settings_of(model.spec) for model in planned},
        specification=Digest.of(specification),
        lock=Digest.of(locked),
        is_selection=len(planned) < len(spec.models),
    )
    builder = Builder(id=options.builder_id, version=__version__, invocation_id=options.invocation_id)
    return provenance_predicate(manifest, request, builder, digests)


def _digests(manifest: Manifest) -> dict[tuple[str, str], dict[str, str]]:
    """Return the digests of the toolchain, as far as the same versions are installed here."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for tool in toolchain_of(manifest):
        name, version = tool["name"], tool["annotations"]["version"]
        if name == COMPILER:
            if (ours := _sources_digest()) is not None and ours.short == version:
                found[name, version] = {"sha256": ours.hex}
        elif (digest := distribution_digest(name, version)) is not None:
            found[name, version] = {"dirHash": digest}
    return found


def _sources_digest() -> Digest | None:
    try:
        return sources_digest()
    except CompilerUnavailableError:  # installed without sources
        return None


def _check_uri(text: str) -> None:
    try:
        scheme = urlsplit(text).scheme
    except ValueError:
        scheme = ""
    if not scheme or text == f"{scheme}:" or HIDDEN.search(text) or any(character.isspace() for character in text):
        raise UsageError(f"--builder-id: expected a URI such as https://ci.example.org/runner, found {text!r:.200}")


def _previous(place: Path, bundle_digest: Digest) -> tuple[bytes | None, list[bytes]]:
    """Return the attestations that are replaced, and the lines among them that stay: of other kinds, about this bundle.

    Raises:
        OutputError: Another file is in their place, or it cannot be read.
    """

    def others(data: bytes) -> list[bytes]:
        return [
            line
            for line, statement in unverified_statements(data).items()
            if statement.predicate_type not in KINDS and bundle_digest in statement.subjects
        ]

    found = read_beside(place, others, expected="earlier attestations", kind=OutputError, maximum=MAX_ATTESTATIONS)
    return (None, []) if found is None else found

"""``verify --attestations``: whether each kind of statement about a bundle is there, signed, and true of the bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from thoth_models.bundle.canonical_json import FormatError
from thoth_models.errors import Problem, VerificationError
from thoth_models.verification.regular_file import read_small
from thoth_models.verification.report_file import read_report
from thoth_models.verification.signatures.trust_store import read_trust_store
from thoth_models_builder.bundle.derivation import cache_key
from thoth_models_builder.errors import UsageError
from thoth_models_builder.pipeline.signing.sign import read_beside
from thoth_models_builder.trust.attestations.accuracy import ACCURACY, accuracy_differences
from thoth_models_builder.trust.attestations.attestation_file import (
    MAX_ATTESTATIONS,
    Refused,
    attestations_path,
    read_attestations,
    unverified_statements,
)
from thoth_models_builder.trust.attestations.compare_provenance import provenance_differences
from thoth_models_builder.trust.attestations.licences import LICENCES, licence_differences
from thoth_models_builder.trust.attestations.provenance import PROVENANCE

if TYPE_CHECKING:
    from pathlib import Path

    from thoth_models.bundle.manifest import Manifest
    from thoth_models.bundle.report import Report
    from thoth_models.process.environment import Trust
    from thoth_models.verification.verify import VerificationReport
    from thoth_models_builder.trust.attestations.differences import Difference
    from thoth_models_builder.trust.attestations.statement import SignedStatement

KINDS: Final = {PROVENANCE: "provenance", ACCURACY: "accuracy", LICENCES: "licences"}
"""What a bundle has to have, by the type of the predicate."""

_SHOWN: Final = 4
"""How many lines that do not count a message lists."""


def check_attestations(bundle: VerificationReport, trust: Trust, path: Path | None = None) -> tuple[str, ...]:
    """Check the attestations of a bundle, and return for each of them in words what it states and who signed it.

    Args:
        bundle: The bundle, verified.
        trust: Who must have signed them.
        path: The file; None for the one beside the bundle.

    Raises:
        VerificationError: A kind is missing, or what was stated is not so; has each difference.
        EnvironmentFault: The keys and certificates cannot be used, or the extra ``signing`` is not installed.
        UsageError: The extra ``signing`` of the builder is not installed.
    """
    store = read_trust_store(trust.path)
    path = path or attestations_path(bundle.root)
    try:
        accepted, refused = read_attestations(read_small(path, MAX_ATTESTATIONS), bundle.bundle_digest, store)
    except FileNotFoundError:
        raise _failed(bundle, [_problem(path, "the attestations of this bundle", "nothing")]) from None
    except OSError as error:
        problem = _problem(path, "a readable file", error.strerror or str(error))
        raise _failed(bundle, [problem]) from error
    except FormatError as error:
        raise _failed(bundle, [_problem(path, "attestations, one on each line", str(error))]) from error
    report = read_report(bundle.root, bundle.bundle_digest).report
    problems: list[Problem] = []
    present: dict[str, str] = {}
    ignored = list(refused)
    for one in accepted:
        name = KINDS.get(one.statement.predicate_type)
        if name is None:
            continue  # a statement of another kind, which in-toto asks to ignore
        try:
            found = compare(one.statement, bundle.manifest, report)
        except FormatError as error:
            ignored.append(Refused(one.line, f"a statement of {name} as `thoth-bundle attest` writes it", str(error)))
            continue
        present[name] = f"{name}, by {one.signer}"
        problems += [_problem(path, f"{item.expected} ({name}, {item.path})", item.found) for item in found]
    reasons = "".join(f"; {one}" for one in ignored[:_SHOWN])
    problems += [
        _problem(path, f"an attestation of {name} ({kind}) about this bundle, by a trusted signer", f"none{reasons}")
        for kind, name in KINDS.items()
        if name not in present
    ]
    if problems:
        raise _failed(bundle, problems)
    return tuple(present[name] for name in KINDS.values())


def compare(statement: SignedStatement, manifest: Manifest, report: Report | None) -> list[Difference]:
    """Return what is not so of a statement of one of :data:`KINDS`.

    Args:
        statement: The statement.
        manifest: Manifest of the bundle that it is about.
        report: The measured figures, or None.

    Raises:
        FormatError: The statement has another form.
    """
    if statement.predicate_type == PROVENANCE:
        return list(provenance_differences(statement.predicate, manifest, cache_key))
    if statement.predicate_type == ACCURACY:
        return list(accuracy_differences(statement.predicate, manifest, report))
    return list(licence_differences(statement.predicate, manifest))


def packed_attestations(bundle: VerificationReport) -> bytes | None:
    """Return the attestations beside a bundle for its image, all of which must be about it; None if there are none.

    Who signed is not looked at: that is for those to decide who use the bundle.

    Raises:
        UsageError: Another file is there, one of them is about another bundle, or it cannot be read.
    """
    path = attestations_path(bundle.root)
    found = read_beside(
        path,
        unverified_statements,
        expected="the attestations of the bundle",
        kind=UsageError,
        maximum=MAX_ATTESTATIONS,
    )
    if found is None:
        return None
    data, statements = found
    for statement in statements.values():
        if bundle.bundle_digest not in statement.subjects:
            what = f"expected attestations of the bundle {bundle.bundle_digest}, found one of {statement.about}"
            raise UsageError(f"{path}: {what}")
    return data


def _problem(path: Path, expected: str, found: str) -> Problem:
    return Problem(kind="attestation", path=str(path), expected=expected, found=found)


def _failed(bundle: VerificationReport, problems: list[Problem]) -> VerificationError:
    return VerificationError(str(bundle.root), problems)

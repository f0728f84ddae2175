"""Check the signature beside a bundle: read it, verify who signed, and compare what was signed with the bundle.

In two steps, because nothing of a bundle is parsed before it is known to be signed: the signature, and the digest of
``manifest.json`` in it, before the manifest is parsed; the digest of every other file afterwards. The files themselves
are compared with the manifest, as without a signature, and nothing is hashed for it a second time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thoth_models.bundle.canonical_json import FormatError
from thoth_models.bundle.manifest import MANIFEST_NAME
from thoth_models.errors import EnvironmentFault, Problem, VerificationError
from thoth_models.events import log_event
from thoth_models.process.environment import TRUST_VARIABLE
from thoth_models.verification.entries import reason
from thoth_models.verification.regular_file import read_small
from thoth_models.verification.signatures.signature import MAX_SIGNATURE, SIGNATURE_SUFFIX, Signature, Statement
from thoth_models.verification.signatures.signers import RefusedSignatureError, verify_signature
from thoth_models.verification.signatures.trust_store import read_trust_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from thoth_models.bundle.digest import Digest
    from thoth_models.bundle.manifest import Manifest
    from thoth_models.process.environment import Trust

_FORMAT = "a signature in the model-signing format"

_logged: dict[str, object] = {}
"""What was logged by the policy ``warn``; a service opens its bundle with each model that it loads."""


def signature_path(root: Path) -> Path:
    """Return the path of the signature of the bundle at ``root``, whether it exists or not."""
    return root.parent / f"{root.name}{SIGNATURE_SUFFIX}"


class SignatureCheck:
    """The check of one bundle's signature, by the policy of the process.

    Args:
        root: The bundle directory, free of symlinks.
        trust: Who must have signed.

    Attributes:
        signer: Who signed, in words; None before the check, and if no trusted signature was found.
        warnings: What is wrong, where the policy only warns.
    """

    def __init__(self, root: Path, trust: Trust) -> None:
        self._root = root
        self._trust = trust
        self._statement: Statement | None = None
        self.signer: str | None = None
        self.warnings: tuple[Problem, ...] = ()

    def check_manifest(self, digest: Digest) -> None:
        """Verify the signature, and that it is about a bundle whose manifest has this digest.

        Raises:
            VerificationError: One of both is not so, and the policy requires it.
            EnvironmentFault: The trust settings cannot be used, or an extra is not installed.
        """
        store = read_trust_store(self._trust.path)
        if self._trust.path.resolve().is_relative_to(self._root):
            what = f"expected a place outside of the bundle, found {self._trust.path}"
            raise EnvironmentFault(f"{TRUST_VARIABLE}: {what}")
        path = self._trust.signature or signature_path(self._root)
        try:
            signature = Signature.from_bytes(read_small(path, MAX_SIGNATURE))
            signer = verify_signature(signature, store)
            statement = Statement.from_bytes(signature.payload)
        except FileNotFoundError:
            problem = _problem(str(path), "a signature of this bundle", "nothing")
        except OSError as error:
            problem = _problem(str(path), "a readable file", reason(error))
        except FormatError as error:
            problem = _problem(str(path), _FORMAT, f"another file: {error}")
        except RefusedSignatureError as error:
            problem = _problem(str(path), error.expected, error.found)
        else:
            signed = statement.files.get(MANIFEST_NAME)
            if signed == digest:
                self._statement, self.signer = statement, signer
                return
            other = "a directory without a manifest" if signed is None else f"the bundle {signed}"
            problem = _problem(str(path), f"a signature of the bundle {digest}", f"one of {other}, by {signer}")
        self._judge([problem])

    def check_files(self, manifest: Manifest) -> None:
        """Compare what was signed with the manifest, file by file.

        Raises:
            VerificationError: There is a difference, and the policy requires a signature of every file.
        """
        if self._statement is not None and (problems := list(_differences(self._statement, manifest))):
            self.signer = None
            self._judge(problems)

    def _judge(self, problems: list[Problem]) -> None:
        if self._trust.policy == "require":
            raise VerificationError(str(self._root), problems)
        self.warnings = tuple(problems)
        for problem in problems:
            said = object()
            if _logged.setdefault(f"{self._root}\n{problem}", said) is said:
                log_event("signature", bundle=str(self._root), problem=str(problem))


def _problem(path: str, expected: str, found: str) -> Problem:
    return Problem(kind="signature", path=path, expected=expected, found=found)


def _differences(statement: Statement, manifest: Manifest) -> Iterator[Problem]:
    expected, signed = Statement.of(manifest).files, statement.files
    for path in sorted({*expected, *signed}):
        if path not in signed:
            yield _problem(path, "a file that was signed", "one that was not")
        elif path not in expected:
            yield _problem(path, "a file of the bundle, as it was signed", "none in the manifest")
        elif signed[path] != expected[path]:
            yield _problem(path, f"sha256 {signed[path]}, as it was signed", f"sha256 {expected[path]} in the manifest")

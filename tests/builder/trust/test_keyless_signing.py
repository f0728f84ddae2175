"""Signing as an identity, against services of the tests: what is asked for, and what is an error."""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING

import pytest

from thoth_models.bundle.digest import Digest
from thoth_models.verification.signatures.signature import Signature, Statement
from thoth_models.verification.signatures.signers import verify_signature
from thoth_models.verification.signatures.trust_store import Identity, RefusedSignatureError, TrustStore
from thoth_models_builder.errors import SigningServiceError, UsageError
from thoth_models_builder.trust.keyless_signing import KeylessSignature, sign_keyless

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.sigstore_simulator import Sigstore

pytestmark = pytest.mark.signing
STATEMENT = Statement(name="bundle", files={"manifest.json": Digest.of(b"1"), "a": Digest.of(b"2")})
OF_CI = (
    *("GITHUB_ACTIONS", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_URL"),
    *("GITLAB_CI", "SIGSTORE_ID_TOKEN", "BUILDKITE", "CIRCLECI", "GOOGLE_SERVICE_ACCOUNT_NAME"),
)


@pytest.fixture(autouse=True)
def no_ci_system(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OF_CI:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def sigstore() -> Sigstore:
    from tests.support.sigstore_simulator import Sigstore

    return Sigstore()


@pytest.fixture
def url(sigstore: Sigstore) -> Iterator[str]:
    from tests.support.sigstore_simulator import serve

    with serve(sigstore) as address:
        yield address


@pytest.fixture
def config(sigstore: Sigstore, url: str, tmp_path: Path) -> Path:
    path = tmp_path / "sigstore.json"
    path.write_text(json.dumps(sigstore.trust_config(url)))
    return path


@pytest.fixture
def token(sigstore: Sigstore, tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{sigstore.token()}\n")
    return path


def signer_of(made: KeylessSignature) -> str:
    store = TrustStore(keys={}, identities=(made.identity,), trusted_root=made.trusted_root)
    return verify_signature(made.signature, store)


def test_two_services_are_asked_and_the_runtime_accepts_the_signature(
    sigstore: Sigstore, config: Path, token: Path
) -> None:
    from tests.support.sigstore_simulator import IDENTITY, ISSUER

    made = sign_keyless(STATEMENT, token, config)
    assert sigstore.requests == ["/api/v2/signingCert", "/api/v1/log/entries"]
    assert made.identity == Identity(IDENTITY, ISSUER)
    assert Statement.from_bytes(made.signature.payload) == STATEMENT
    assert signer_of(made) == f"the identity {IDENTITY} (issuer {ISSUER})"


def test_the_time_is_signed_as_well_where_the_instance_has_a_service_for_it(
    sigstore: Sigstore, url: str, config: Path, token: Path
) -> None:
    """As the public instance has. Its time counts beside that of the log."""
    config.write_text(json.dumps(sigstore.trust_config(url, has_clock=True)))
    made = sign_keyless(STATEMENT, token, config)
    assert sigstore.requests == ["/api/v2/signingCert", "/timestamp", "/api/v1/log/entries"]
    signer_of(made)
    document = json.loads(made.signature.keyless)
    assert len(document["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"]) == 1
    # Without the log's own time, that of the service alone counts.
    (entry,) = document["verificationMaterial"]["tlogEntries"]
    del entry["inclusionPromise"]
    stamped = made._replace(signature=Signature.from_bytes(json.dumps(document).encode()))
    signer_of(stamped)
    root = json.loads(made.trusted_root)
    root["certificateAuthorities"][0]["validFor"]["end"] = sigstore.begin.isoformat()
    del entry["integratedTime"]
    stamped = KeylessSignature(
        Signature.from_bytes(json.dumps(document).encode()), made.identity, json.dumps(root).encode()
    )
    with pytest.raises(RefusedSignatureError, match="certificates not found in trusted root"):
        signer_of(stamped)


def test_a_job_of_github_actions_brings_its_token(
    sigstore: Sigstore, config: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"{url}/job-token")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "of-the-job")
    signer_of(sign_keyless(STATEMENT, None, config))
    assert sigstore.requests[0] == "/job-token?audience=sigstore"
    monkeypatch.delenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
    with pytest.raises(SigningServiceError, match=r"asking the CI system .*OIDC token permissions"):
        sign_keyless(STATEMENT, None, config)


def test_a_job_of_gitlab_brings_its_token(sigstore: Sigstore, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITLAB_CI", "true")
    monkeypatch.setenv("SIGSTORE_ID_TOKEN", sigstore.token())
    signer_of(sign_keyless(STATEMENT, None, config))


@pytest.mark.parametrize("content", ["", "no token", "a.b.c", "é"])
def test_without_a_token_nothing_is_asked_for(sigstore: Sigstore, config: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "token").write_text(content)
    with pytest.raises((UsageError, SigningServiceError)) as caught:
        sign_keyless(STATEMENT, tmp_path / "token" if content else None, config)
    assert ("expected --identity-token, or a CI system" in str(caught.value)) == (not content)
    assert sigstore.requests == []


def test_a_trust_configuration_that_is_none(token: Path, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("{}")
    with pytest.raises(SigningServiceError, match=r"reading the trust configuration: .*mediaType"):
        sign_keyless(STATEMENT, token, tmp_path / "config")
    with pytest.raises(UsageError, match="expected a readable file, found: No such file"):
        sign_keyless(STATEMENT, token, tmp_path / "absent")


@pytest.mark.hostile
def test_a_token_that_is_refused_is_in_no_message(sigstore: Sigstore, config: Path, tmp_path: Path) -> None:
    from tests.support.sigstore_simulator import Sigstore as Another

    secret = Another().token()
    (tmp_path / "token").write_text(secret)
    with pytest.raises(SigningServiceError, match=r"asking for a certificate for repo:acme/models.*403") as caught:
        sign_keyless(STATEMENT, tmp_path / "token", config)
    assert "Forbidden for ***" in str(caught.value)
    assert secret[:20] not in str(caught.value)
    assert caught.value.__cause__ is None
    assert sigstore.requests == ["/api/v2/signingCert"]


@pytest.mark.hostile
def test_services_that_do_not_answer_are_not_waited_for(sigstore: Sigstore, config: Path, token: Path) -> None:
    sigstore.is_silent = True
    started = time.monotonic()
    with pytest.raises(SigningServiceError, match="expected a signature within 2 s, but was still asking for a cert"):
        sign_keyless(STATEMENT, token, config, deadline=2)
    assert time.monotonic() - started < 30


@pytest.mark.hostile
def test_what_the_services_forge_is_not_written(sigstore: Sigstore, config: Path, token: Path) -> None:
    """A log, and an authority, with other keys than those that the configuration has."""
    from tests.support.sigstore_simulator import Sigstore as Another

    with restored(sigstore):
        sigstore.log = Another().log
        with pytest.raises(SigningServiceError, match=r"a signature that would be refused: .*invalid log entry"):
            sign_keyless(STATEMENT, token, config)
    with restored(sigstore):
        sigstore.authority = Another().authority
        with pytest.raises(SigningServiceError, match=r"a signature that would be refused: .*certificate chain"):
            sign_keyless(STATEMENT, token, config)
    sign_keyless(STATEMENT, token, config)


@contextlib.contextmanager
def restored(sigstore: Sigstore) -> Iterator[None]:
    before = sigstore.log, sigstore.authority
    yield
    sigstore.log, sigstore.authority = before


def test_without_the_extra(config: Path, token: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sigstore", None)
    with pytest.raises(UsageError, match=r"pip install 'thoth-models-builder\[keyless\]'"):
        sign_keyless(STATEMENT, token, config)

"""The signature of an identity: what is imported for it. The attacks are in scenarios/hostile."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest

from thoth_models.errors import EnvironmentFault
from thoth_models.verification.signatures.keyless import verified_identity, verify_keyless
from thoth_models.verification.signatures.signature import Signature
from thoth_models.verification.signatures.trust_store import (
    Identity,
    RefusedSignatureError,
    TrustStore,
    read_trust_store,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sigstore_simulator import Sigstore

pytestmark = pytest.mark.signing


@pytest.fixture(scope="module")
def sigstore() -> Sigstore:
    from tests.support.sigstore_simulator import Sigstore

    return Sigstore()


def made(sigstore: Sigstore, **more: Any) -> Signature:
    return Signature.from_bytes(json.dumps(sigstore.bundle(b"{}", **more)).encode())


def root_of(sigstore: Sigstore) -> bytes:
    return json.dumps(sigstore.trusted_root()).encode()


def test_any_identity_is_said_where_none_is_asked_for(sigstore: Sigstore) -> None:
    found = verified_identity(made(sigstore, name="a@b.example", issuer="https://c.example"), root_of(sigstore), None)
    assert found == Identity("a@b.example", "https://c.example")


@pytest.mark.hostile
def test_the_payload_is_the_one_that_the_library_verified(sigstore: Sigstore) -> None:
    """Both read the file on their own."""
    signature = made(sigstore)
    with pytest.raises(RefusedSignatureError, match="found one of another payload"):
        verified_identity(signature._replace(payload=b'{"another": 1}'), root_of(sigstore), None)


def test_a_trust_root_that_is_none_is_an_error(sigstore: Sigstore) -> None:
    for content in (b"", b"{}", b"[]"):
        with pytest.raises(EnvironmentFault, match="expected a trust root of Sigstore, found another"):
            verified_identity(made(sigstore), content, None)


def test_the_trust_root_of_the_public_instance_is_read(sigstore: Sigstore, tmp_path: Path) -> None:
    """A real one, which the library has for its first start."""
    (found,) = (
        place / "trusted_root.json"
        for place in resources.files("sigstore._store").iterdir()
        if place.name.endswith("sigstore.dev")
    )
    (tmp_path / "trusted_root.json").write_bytes(found.read_bytes())
    (tmp_path / "identities.json").write_text('{"identities": [{"identity": "a@b.example", "issuer": "x"}]}')
    with pytest.raises(RefusedSignatureError, match="failed to build timestamp certificate chain"):
        verify_keyless(made(sigstore), read_trust_store(tmp_path))


def test_many_trusted_identities_are_not_all_listed(sigstore: Sigstore) -> None:
    trusted = tuple(Identity(f"{number}@b.example", "x") for number in range(5))
    with pytest.raises(RefusedSignatureError, match=r"2@b\.example \(issuer x\) or others, as"):
        verify_keyless(made(sigstore), TrustStore(keys={}, identities=trusted, trusted_root=root_of(sigstore)))


def test_the_library_is_imported_only_for_such_a_signature() -> None:
    program = (
        "import sys\n"
        "from thoth_models.verification.signatures import keyless, signature_file, signers, trust_store\n"
        "found = {'sigstore', 'requests', 'pydantic', 'cryptography'} & set(sys.modules)\n"
        "sys.exit(str(found) if found else 0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)

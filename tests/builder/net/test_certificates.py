"""Which variable names the certificates that are trusted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from thoth_models_builder.net.certificates import adopt_certificates, certificate_advice, named_certificates

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_the_own_variables_come_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in (("SSL_CERT_DIR", "/own"), ("REQUESTS_CA_BUNDLE", "/other")):
        monkeypatch.setenv(name, value)
    adopt_certificates()
    assert "SSL_CERT_FILE" not in os.environ
    assert named_certificates() == " (SSL_CERT_DIR is /own)"
    monkeypatch.delenv("SSL_CERT_DIR")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path))
    adopt_certificates()
    assert os.environ["SSL_CERT_DIR"] == str(tmp_path)
    assert "SSL_CERT_FILE" not in os.environ


def test_other_errors_are_not_about_certificates() -> None:
    assert certificate_advice(OSError("refused")) == ""
    assert named_certificates() == ""

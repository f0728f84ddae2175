"""The options that say which model a command loads."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tests.support.bundles import FakeBackend, put_backend
from thoth_models.cli.model_options import load_as_asked, model_options

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from thoth_models.verification.verify import VerifiedVariant


def test_the_model_that_is_asked_for_is_loaded(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(verified: VerifiedVariant) -> FakeBackend:
        return FakeBackend(verified.model.dimension)

    put_backend(monkeypatch, load)
    parser = argparse.ArgumentParser(parents=[model_options()])
    options = parser.parse_args(["--model", "legacy", "--variant", "onnx-fp32", "--same-space"])
    options.root = bundle
    info = load_as_asked(options).info
    assert (info.requested, info.model, info.variant) == ("legacy", "mini", "onnx-fp32")

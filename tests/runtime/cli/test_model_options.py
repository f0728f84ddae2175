"""The options that say which model a command loads."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import pytest

from thoth_models.cli.model_options import load_as_asked, model_options

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.usefixtures("fake_backends")
def test_the_model_that_is_asked_for_is_loaded(bundle: Path) -> None:
    parser = argparse.ArgumentParser(parents=[model_options()])
    options = parser.parse_args(["--model", "legacy", "--variant", "onnx-fp32", "--same-space"])
    options.root, options.expect_digest, options.min_release = bundle, None, None
    info = load_as_asked(options).info
    assert (info.requested, info.model, info.variant) == ("legacy", "mini", "onnx-fp32")

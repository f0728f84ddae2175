from __future__ import annotations

import sys

import pytest

from thoth_models_builder.errors import UsageError
from thoth_models_builder.trust.attestations.package_urls import package_url


@pytest.mark.parametrize(
    ("arguments", "url"),
    [
        (
            ("hub", "org/Name", "c0ffee", "1_Pooling/config.json"),
            "pkg:huggingface/org/Name@c0ffee#1_Pooling/config.json",
        ),
        (("hub", "bert-base", None), "pkg:huggingface/bert-base"),
        (("wheel", "Some_Model == 1.0+cpu"), "pkg:pypi/some-model@1.0%2Bcpu"),
        (("directory", "../model", None, "config.json"), None),
    ],
)
def test_addresses(arguments: tuple[str, ...], url: str | None) -> None:
    assert package_url(*arguments) == url


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "packageurl", None)
    with pytest.raises(UsageError, match=r"pip install 'thoth-models-builder\[signing\]'"):
        package_url("hub", "org/name")

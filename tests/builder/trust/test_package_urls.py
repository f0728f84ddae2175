from __future__ import annotations

import sys

import pytest

from thoth_models_builder.errors import UsageError
from thoth_models_builder.trust.package_urls import package_url


@pytest.mark.parametrize(
    ("arguments", "url"),
    [
        (
            ("hub", "org/Name", "c0ffee", "1_Pooling/config.json"),
            "pkg:huggingface/org/Name@c0ffee#1_Pooling/config.json",
        ),
        (("hub", "bert-base", None), "pkg:huggingface/bert-base"),
        (("wheel", "Some_Model == 1.0+cpu"), "pkg:pypi/some-model@1.0%2Bcpu"),
        (("wheel", "some-model"), None),
        (("hub", "org/"), None),
        (("directory", "../model", None, "config.json"), None),
    ],
)
def test_addresses(arguments: tuple[str, ...], url: str | None) -> None:
    found = package_url(*arguments)
    assert (None if found is None else found.to_string()) == url


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "packageurl", None)
    with pytest.raises(UsageError, match=r"pip install 'thoth-models-builder\[signing,sbom\]'"):
        package_url("hub", "org/name")

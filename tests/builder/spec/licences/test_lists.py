from __future__ import annotations

import json
from typing import Any

import pytest

from thoth_models_builder.errors import SpecError
from thoth_models_builder.spec.licences.lists import MAX_LICENCES, listed
from thoth_models_builder.spec.models_yaml import ANY_LICENCE, LicencePolicy, Spec, parse_spec

MODEL = {"sources": [{"directory": "models/mini"}], "variants": ["torch-fp32"]}


def parsed(**keys: Any) -> Spec:
    document = {"version": 1, "bundle": {"name": "b", "default": "mini"}, "models": {"mini": MODEL}, **keys}
    return parse_spec(json.dumps(document, indent=1).encode(), "models.yaml")


def findings(**lists: Any) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parsed(licences=lists)
    return [f"{finding.path}: {finding.message}" for finding in caught.value.findings]


def test_without_the_key_any_licence_will_do() -> None:
    assert parsed().licences == ANY_LICENCE == LicencePolicy(unstated="accept")
    assert (ANY_LICENCE.allow, ANY_LICENCE.deny) == (None, [])


def test_with_the_key_a_licence_has_to_be_stated() -> None:
    assert parsed(licences={}).licences == LicencePolicy(unstated="refuse")


def test_ids_names_and_exceptions_are_listed() -> None:
    allow = ["mit", "gemma", "other", "openrail++", "LicenseRef-apache2.0", "MIT-0"]
    deny = ["gpl-2.0 WITH Classpath-exception-2.0", "GPL-3.0"]
    found = parsed(licences={"allow": allow, "deny": deny, "unstated": "accept"}).licences
    assert found == LicencePolicy(allow=allow, deny=deny, unstated="accept")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            "apache2.0",
            "expected an SPDX id, found 'apache2.0', which is similar to Apache-2.0",
        ),
        (
            "MIT OR ISC",
            "expected one licence, found 'MIT OR ISC', which are several; list those that are meant, each as an entry",
        ),
        (
            "Classpath-exception-2.0",
            "expected a licence, found 'Classpath-exception-2.0', which is an exception",
        ),
        ("unknown", "expected a licence, found 'unknown', which states none; `unstated` says what to do then"),
        ("", "expected a licence, found '', which states none; `unstated` says what to do then"),
        ("a\nb", "expected printable text of at most 200 characters, found 'a\\nb'"),
        ("x" * 201, f"expected printable text of at most 200 characters, found '{'x' * 99}"),
    ],
)
def test_an_entry_that_is_not_one_licence(entry: str, message: str) -> None:
    (finding,) = findings(deny=[entry])
    assert finding.startswith(f"licences.deny[0]: {message}")


def test_an_id_in_both_lists_is_refused_however_it_is_written() -> None:
    (finding,) = findings(allow=["mit", "GPL-3.0-only"], deny=["ISC", "gpl-3.0"])
    assert finding == (
        "licences.deny[1]: expected a licence that is listed once, found 'gpl-3.0', which `allow` has in line 22"
    )


def test_an_id_twice_in_a_list_is_refused() -> None:
    assert findings(allow=["gemma", "MIT", "Gemma"])[0].startswith(
        "licences.allow[2]: expected a licence that is listed once, found 'Gemma', which `allow` has in line"
    )


@pytest.mark.parametrize(
    ("lists", "finding"),
    [
        ({"allow": []}, "licences.allow: expected at least one licence; leave the key out to allow any, found a list"),
        ({"allow": None}, "licences.allow: expected a list of at most 500 licences, found nothing"),
        ({"deny": "mit"}, "licences.deny: expected a list of at most 500 licences, found 'mit'"),
        ({"deny": [1]}, "licences.deny: expected a list of strings, found a list"),
        ({"deny": ["x"] * (MAX_LICENCES + 1)}, "licences.deny: expected a list of at most 500 licences, found a list"),
        ({"unstated": "warn"}, "licences.unstated: expected 'refuse' or 'accept', found 'warn'"),
        ({"forbid": []}, "licences.forbid: expected no such key, found an unknown one"),
    ],
)
def test_another_value(lists: dict[str, Any], finding: str) -> None:
    assert findings(**lists) == [finding]


def test_a_key_without_a_value_is_no_policy() -> None:
    with pytest.raises(SpecError, match="licences: expected a mapping, found nothing"):
        parsed(licences=None)


def test_an_entry_is_a_term() -> None:
    assert str(listed("gpl-3.0")) == "GPL-3.0-only"
    assert listed("MIT OR ISC") is None

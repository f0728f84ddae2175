from __future__ import annotations

from typing import Any

import pytest

from thoth_models_builder.errors import LicenceError, LicenceViolation
from thoth_models_builder.spec.licences import names
from thoth_models_builder.spec.models_yaml import ANY_LICENCE, LicencePolicy
from thoth_models_builder.trust.licence_policy import refuse_licences


def is_permitted(published: str | None, **policy: Any) -> bool:
    try:
        refuse_licences(LicencePolicy(**policy), {"mini": published})
    except LicenceError:
        return False
    return True


@pytest.mark.parametrize("published", ["apache-2.0", "Apache-2.0", "APACHE-2.0", "(apache-2.0)"])
@pytest.mark.parametrize("entry", ["apache-2.0", "Apache-2.0"])
def test_ids_match_whatever_their_case(published: str, entry: str) -> None:
    assert is_permitted(published, allow=[entry])
    assert not is_permitted(published, deny=[entry])
    assert not is_permitted(published, allow=["MIT"])
    assert is_permitted(published, deny=["MIT"])


@pytest.mark.parametrize(
    ("published", "entry"),
    [
        ("gemma", "Gemma"),
        ("gemma", "LicenseRef-gemma"),
        ("LicenseRef-Gemma", "gemma"),
        ("llama3 community", "Llama3 Community"),
        ("llama3 community", "LicenseRef-llama3-community"),
        ("openrail++", "openrail++"),
        ("other", "other"),
        ("odbl", "ODbL-1.0"),
    ],
)
def test_names_match_as_published_and_as_in_a_bill_of_materials(published: str, entry: str) -> None:
    assert is_permitted(published, allow=[entry])
    assert not is_permitted(published, deny=[entry])


@pytest.mark.parametrize(
    ("published", "entry"),
    [("openrail++", "openrail"), ("openrail", "openrail++"), ("llama3.1", "llama3"), ("LicenseRef-MIT", "MIT"),
     ("LicenseRef-MIT-TC", "MIT"),
     ("MIT-0", "MIT"), ("GPL-3.0-only", "GPL-2.0-only"), ("许可", "协议"), ("LicenseRef-None", "MIT")],
)  # fmt: skip
def test_other_names_do_not_match(published: str, entry: str) -> None:
    assert not is_permitted(published, allow=[entry])
    assert is_permitted(published, deny=[entry])


def test_deny_comes_before_allow() -> None:
    both = {"allow": ["GPL-3.0-or-later", "MIT"], "deny": ["GPL-3.0-only"]}
    assert is_permitted("mit", **both)
    assert not is_permitted("GPL-3.0-or-later", **both)


@pytest.mark.parametrize(
    ("published", "entry", "is_allowed"),
    [
        ("GPL-3.0-only", "GPL-3.0", True),
        ("GPL-3.0-or-later", "GPL-3.0-only", True),
        ("GPL-3.0+", "gpl-3.0", True),
        ("GPL-3.0-only", "GPL-3.0-or-later", False),
        ("Apache-2.0+", "Apache-2.0", True),
        ("Apache-2.0", "Apache-2.0+", False),
    ],
)
def test_a_version_and_later_ones(published: str, entry: str, *, is_allowed: bool) -> None:
    """Later versions are a further choice: who allows one may take it, and who denies one denies both."""
    assert is_permitted(published, allow=[entry]) is is_allowed
    assert not is_permitted(published, deny=[entry])


@pytest.mark.parametrize(
    ("published", "entry", "is_covered"),
    [
        ("GPL-2.0 WITH Classpath-exception-2.0", "GPL-2.0", True),
        ("GPL-2.0 WITH Classpath-exception-2.0", "GPL-2.0-only WITH classpath-exception-2.0", True),
        ("GPL-2.0", "GPL-2.0-only WITH classpath-exception-2.0", False),
        ("GPL-2.0 WITH Font-exception-2.0", "GPL-2.0-only WITH classpath-exception-2.0", False),
        ("MIT WITH restrictions", "MIT", False),
    ],
)
def test_exceptions(published: str, entry: str, *, is_covered: bool) -> None:
    assert is_permitted(published, allow=[entry]) is is_covered
    assert is_permitted(published, deny=[entry]) is not is_covered


@pytest.mark.parametrize(
    ("published", "policy", "expected"),
    [
        ("mit or gpl-3.0", {"allow": ["MIT"]}, True),
        ("mit or gpl-3.0", {"deny": ["GPL-3.0"]}, True),
        ("mit or gpl-3.0", {"deny": ["GPL-3.0", "MIT"]}, False),
        ("mit and gpl-3.0", {"allow": ["MIT"]}, False),
        ("mit and gpl-3.0", {"deny": ["GPL-3.0"]}, False),
        ("mit and gpl-3.0", {"allow": ["MIT", "GPL-3.0"]}, True),
        # The choice has to be permitted by both lists at once.
        ("mit or gpl-3.0", {"allow": ["MIT"], "deny": ["MIT-0"]}, True),
        ("isc or gpl-3.0", {"allow": ["GPL-3.0-or-later", "MIT"], "deny": ["ISC"]}, False),
        ("isc and (mit or gemma)", {"allow": ["ISC", "gemma"]}, True),
    ],
)
def test_expressions(published: str, policy: dict[str, Any], *, expected: bool) -> None:
    assert is_permitted(published, **policy) is expected


@pytest.mark.parametrize("entry", ["acme terms", "Acme Terms", "LicenseRef-acme-terms", "other (acme terms)"])
def test_a_licence_beside_other_matches_by_its_name(entry: str) -> None:
    assert is_permitted("other (Acme Terms)", allow=[entry])
    assert not is_permitted("other (Acme Terms)", deny=[entry])
    assert not is_permitted("other (else)", allow=[entry])
    assert is_permitted("other (else)", deny=[entry])


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("published", "entry"),
    [
        ("other (MIT)", "MIT"),
        ("other (gpl-3.0)", "GPL-3.0-or-later"),
        ("other (x OR MIT)", "MIT"),
        ("other (acme)", "other"),
        ("other (other (gpl-3.0))", "GPL-3.0"),
    ],
)
def test_a_name_beside_other_never_permits_what_it_looks_like(published: str, entry: str) -> None:
    assert not is_permitted(published, allow=[entry])


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("published", "entry"),
    [
        ("other (MIT)", "MIT"),
        ("other (gpl-3.0)", "GPL-3.0-or-later"),
        ("other (gpl-3.0 AND mit)", "GPL-3.0"),
        ("other (acme)", "other"),
        ("other (other (gpl-3.0))", "GPL-3.0"),
    ],
)
def test_a_name_beside_other_is_denied_as_what_it_looks_like(published: str, entry: str) -> None:
    assert not is_permitted(published, deny=[entry])


@pytest.mark.parametrize("published", [None, "", "unknown", "NOASSERTION"])
def test_a_licence_that_is_not_stated(published: str | None) -> None:
    assert not is_permitted(published)
    assert not is_permitted(published, allow=["other", "MIT"])
    assert is_permitted(published, allow=["MIT"], unstated="accept")


def test_the_message_names_model_licence_list_and_what_spdx_calls_it() -> None:
    policy = LicencePolicy(allow=["MIT", "gpl-3.0", *(f"name-{number}" for number in range(11))], deny=["gpl-2.0"])
    with pytest.raises(LicenceError) as caught:
        refuse_licences(policy, {"a": "gemma", "b": "mit", "c": "gpl-2.0", "d": None, "e": "unknown"})
    listed = f"MIT, gpl-3.0, {', '.join(f'name-{number}' for number in range(8))}, and 3 more"
    assert str(caught.value).splitlines() == [
        "`licences` in models.yaml does not permit:",
        f"  a: expected one of `licences.allow` ({listed}), found gemma (no SPDX id)",
        "  c: expected none of `licences.deny` (gpl-2.0), found gpl-2.0 (SPDX: GPL-2.0-only)",
        "  d: expected a licence, because `licences.unstated` is refuse, found none",
        "  e: expected a licence, because `licences.unstated` is refuse, found 'unknown'",
    ]
    assert caught.value.violations[1] == LicenceViolation(
        model="c",
        published="gpl-2.0",
        spdx="GPL-2.0-only",
        reason="expected none of `licences.deny` (gpl-2.0), found gpl-2.0 (SPDX: GPL-2.0-only)",
    )


def test_a_choice_of_which_each_list_refuses_one_names_both() -> None:
    with pytest.raises(LicenceError) as caught:
        refuse_licences(LicencePolicy(allow=["ISC"], deny=["ISC"]), {"a": "isc or mit"})
    assert caught.value.violations[0].reason == (
        "expected one of `licences.allow` (ISC) and none of `licences.deny` (ISC), found isc or mit (SPDX: ISC OR MIT)"
    )


def test_without_a_policy_the_list_of_licences_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "_ids", None)
    refuse_licences(ANY_LICENCE, {"mini": "gpl-3.0", "other": None})

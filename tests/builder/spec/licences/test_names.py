from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.projects import environment_of_children
from thoth_models_builder.spec.licences.names import (
    is_exception,
    joined_spdx,
    licence_of,
    other_spdx,
    similar_ids,
    spdx_of,
    with_name,
)

IN_SPDX = {
    "apache-2.0": "Apache-2.0",
    "mit": "MIT",
    "afl-3.0": "AFL-3.0",
    "artistic-2.0": "Artistic-2.0",
    "bsl-1.0": "BSL-1.0",
    "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "bsd-3-clause-clear": "BSD-3-Clause-Clear",
    "c-uda": "C-UDA-1.0",
    "cc0-1.0": "CC0-1.0",
    "cc-by-4.0": "CC-BY-4.0",
    "cc-by-sa-3.0": "CC-BY-SA-3.0",
    "cc-by-nc-4.0": "CC-BY-NC-4.0",
    "cc-by-nd-4.0": "CC-BY-ND-4.0",
    "cc-by-nc-sa-2.0": "CC-BY-NC-SA-2.0",
    "cdla-permissive-2.0": "CDLA-Permissive-2.0",
    "wtfpl": "WTFPL",
    "ecl-2.0": "ECL-2.0",
    "epl-2.0": "EPL-2.0",
    "etalab-2.0": "etalab-2.0",
    "eupl-1.2": "EUPL-1.2",
    "agpl-3.0": "AGPL-3.0-only",
    "gfdl": "GFDL-1.1-or-later",
    "gpl": "GPL-1.0-or-later",
    "gpl-2.0": "GPL-2.0-only",
    "gpl-3.0": "GPL-3.0-only",
    "lgpl": "LGPL-2.0-or-later",
    "lgpl-2.1": "LGPL-2.1-only",
    "lgpl-3.0": "LGPL-3.0-only",
    "lgpl-lr": "LGPLLR",
    "isc": "ISC",
    "lppl-1.3c": "LPPL-1.3c",
    "ms-pl": "MS-PL",
    "mpl-2.0": "MPL-2.0",
    "ncsa": "NCSA",
    "odbl": "ODbL-1.0",
    "odc-by": "ODC-By-1.0",
    "ofl-1.1": "OFL-1.1",
    "osl-3.0": "OSL-3.0",
    "pddl": "PDDL-1.0",
    "postgresql": "PostgreSQL",
    "unlicense": "Unlicense",
    "zlib": "Zlib",
    # Not of the Hub.
    "GPL-2.0+": "GPL-2.0-or-later",
    "gpl-3.0-OR-LATER": "GPL-3.0-or-later",
    "apache-2.0+": "Apache-2.0+",
}
NAMES = (
    *("other", "bsd", "cc", "gemma", "llama2", "llama3.1", "openrail", "openrail++", "bigscience-bloom-rail-1.0"),
    *("bigscience-openrail-m", "bigcode-openrail-m", "creativeml-openrail-m", "deepfloyd-if-license", "apple-ascl"),
    *("apple-amlr", "h-research", "intel-research", "fair-noncommercial-research-license", "grok2-community"),
)
"""Ids of the Hub for which SPDX has none."""


@pytest.mark.parametrize(("published", "spdx"), IN_SPDX.items())
def test_names_that_spdx_has_get_its_spelling_and_its_present_id(published: str, spdx: str) -> None:
    assert spdx_of(published) == spdx_of(spdx) == spdx
    assert not licence_of(published).is_name  # type: ignore[union-attr]


@pytest.mark.parametrize("published", NAMES)
def test_other_names_become_references(published: str) -> None:
    licence = licence_of(published)
    assert licence is not None
    assert licence.is_name
    assert licence.spdx == f"LicenseRef-{published.replace('+', '-')}"
    assert str(licence) == f"{published} (no SPDX id)"


@pytest.mark.parametrize("published", [None, "", "  ", "unknown", "Unknown", "NOASSERTION", "NONE"])
def test_a_word_for_nothing_is_nothing(published: str | None) -> None:
    assert licence_of(published) is None
    assert spdx_of(published) is None


@pytest.mark.parametrize(
    ("published", "spdx"),
    [
        ("mit or apache-2.0 and gpl-3.0", "MIT OR (Apache-2.0 AND GPL-3.0-only)"),
        ("(MIT OR isc) AND gemma", "(MIT OR ISC) AND LicenseRef-gemma"),
        ("( mit )", "MIT"),
        ("gpl-2.0 with classpath-exception-2.0", "GPL-2.0-only WITH Classpath-exception-2.0"),
        # What an unknown addition means is unknown.
        ("MIT WITH restrictions", "LicenseRef-MIT-WITH-restrictions"),
        ("MIT WITH ISC", "LicenseRef-MIT-WITH-ISC"),
        ("LicenseRef-ours", "LicenseRef-ours"),
        ("licenseref-ours", "LicenseRef-ours"),
    ],
)
def test_expressions(published: str, spdx: str) -> None:
    assert spdx_of(published) == spdx


@pytest.mark.parametrize(
    "published",
    [
        "llama3 community",
        "mit, isc",
        "mit/x11",
        "()",
        "(mit",
        "mit)",
        "mit or",
        "or",
        "with",
        "GPLv3",
        "许可",
        "+",
        "-only",
    ],
)
def test_what_is_no_expression_is_one_name(published: str) -> None:
    licence = licence_of(published)
    assert licence is not None
    assert licence.is_name
    assert licence.term is not None
    assert licence.term.name == published.casefold()


@pytest.mark.parametrize(
    ("published", "name", "spdx"),
    [
        ("other (acme-terms)", "acme-terms", "LicenseRef-acme-terms"),
        ("Other (Llama 3 (2024))", "Llama 3 (2024)", "LicenseRef-Llama-3--2024-"),
        ("other (LicenseRef-acme)", "LicenseRef-acme", "LicenseRef-acme"),
        # The publisher says that it is none of the licences with an id.
        ("other (mit)", "mit", "LicenseRef-mit"),
        ("other (x OR mit)", "x OR mit", "LicenseRef-x-OR-mit"),
    ],
)
def test_a_name_beside_other_is_that_name_and_never_an_id(published: str, name: str, spdx: str) -> None:
    licence = licence_of(published)
    assert licence is not None
    assert (licence.name, licence.spdx, licence.is_name) == (name, spdx, True)
    assert licence.term is not None
    assert licence.term.is_other


def test_a_name_counts_only_beside_other() -> None:
    assert with_name("other", " acme ") == "other (acme)"
    assert with_name("other", " ") == "other"
    assert with_name("mit", "acme") == "mit"
    for published in ("other", "mit", "another (x)", "other(x)", "other ()"):
        licence = licence_of(published)
        assert licence is not None
        assert licence.name == published
        assert licence.term is not None
        assert not licence.term.is_other


def test_what_is_too_long_is_not_read_as_an_expression() -> None:
    long = licence_of(" OR ".join(["MIT"] * 100))
    assert long is not None
    assert long.is_name


def test_only_more_than_another_case_is_worth_showing() -> None:
    assert [other_spdx(text) for text in ("apache-2.0", "gpl-3.0", "gemma", None)] == [
        None,
        "GPL-3.0-only",
        "LicenseRef-gemma",
        None,
    ]


def test_licences_of_several_things_apply_together() -> None:
    assert joined_spdx(["mit", None, "mit or gemma", "MIT", "unknown"]) == "MIT AND (MIT OR LicenseRef-gemma)"
    assert joined_spdx(["mit or isc", "MIT OR ISC"]) == "MIT OR ISC"
    assert joined_spdx([None, "unknown"]) is None


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("apache2.0", "Apache-2.0"),
        ("Apache 2.0", "Apache-2.0"),
        ("Apache License, Version 2.0", "Apache-2.0"),
        ("apche-2.0", "Apache-2.0"),
        ("apache", "Apache-2.0"),
        ("MIT License", "MIT"),
        ("GPLv3", "GPL-3.0-only"),
        ("cc-by-nc-4", "CC-BY-NC-4.0"),
        ("cc-by-nc", "CC-BY-NC-4.0"),
        ("bsd-3", "BSD-3-Clause"),
    ],
)
def test_a_name_like_an_id(name: str, meant: str) -> None:
    assert meant in similar_ids(name)


@pytest.mark.parametrize("name", [*IN_SPDX, *NAMES, "LicenseRef-apache2.0", "qwen-research", "tongyi-qianwen"])
def test_neither_ids_nor_names_without_one_are_taken_for_mistakes(name: str) -> None:
    assert similar_ids(name) == ()


def test_exceptions_are_no_licences() -> None:
    assert is_exception("classpath-exception-2.0")
    assert not is_exception("MIT")
    assert spdx_of("classpath-exception-2.0") == "LicenseRef-classpath-exception-2.0"


def test_the_list_is_read_only_where_a_licence_is_looked_at() -> None:
    program = "import sys, thoth_models_builder.cli.main; print('license_expression' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", program], env=environment_of_children(), capture_output=True, text=True, check=True
    )
    assert found.stdout == "False\n"

"""Licences that models.yaml does not permit reach neither the lock nor a bundle, by any command."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bills import component
from tests.support.hub_simulator import Status
from tests.support.projects import (
    COMMIT,
    FAST,
    FAST_OPTIONS,
    Project,
    as_json,
    is_intact,
    model_files,
    snapshot,
    write_files,
)
from thoth_models_builder.errors import LicenceError
from thoth_models_builder.pipeline.inspect import sbom
from thoth_models_builder.pipeline.page.write_page import PageOptions, write_page
from thoth_models_builder.pipeline.specification import add
from thoth_models_builder.pipeline.specification.both_files import Places
from thoth_models_builder.pipeline.specification.outdated import outdated

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.builder_fixtures import Outcome
    from tests.support.hub_simulator import HubSimulator

HINT = "hint: choose another model, or change `licences` in models.yaml, if those who decide on licences agree"
STATIC = as_json([{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.StaticEmbedding"}])


def hub_models(hub: HubSimulator, licences: dict[str, str | None]) -> dict[str, Any]:
    """Publish a model for each licence, by name, and return the models of a specification."""
    for name, licence in licences.items():
        hub.add_model(f"org/{name}", model_files(name), revision=COMMIT, license=licence)
    return {name: {"sources": [{"hub": f"org/{name}", "revision": COMMIT}]} for name in licences}


@pytest.fixture
def three(hub: HubSimulator, project: Project) -> dict[str, Any]:
    models = hub_models(hub, {"free": "apache-2.0", "copyleft": "gpl-3.0", "silent": None})
    project.specify(models)
    return models


def test_lock_names_every_model_that_is_not_permitted_and_writes_nothing(
    three: dict[str, Any], hub: HubSimulator, project: Project, command: Callable[..., Outcome]
) -> None:
    project.specify(three, licences={"allow": ["Apache-2.0", "MIT"]})
    outcome = command(*project.arguments("lock"))
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.splitlines()[-4:] == [
        "thoth-bundle: `licences` in models.yaml does not permit:",
        "  copyleft: expected one of `licences.allow` (Apache-2.0, MIT), found gpl-3.0 (SPDX: GPL-3.0-only)",
        "  silent: expected a licence, because `licences.unstated` is refuse, found none",
        HINT,
    ]
    assert not project.lock_file.exists()
    assert hub.bytes_sent("model.safetensors") == 0
    document = json.loads(command(*project.arguments("lock", "--json")).out)
    assert (document["ok"], document["error"]) == (False, "LicenceError")
    assert document["violations"][0] == {
        "model": "copyleft",
        "published": "gpl-3.0",
        "spdx": "GPL-3.0-only",
        "reason": "expected one of `licences.allow` (Apache-2.0, MIT), found gpl-3.0 (SPDX: GPL-3.0-only)",
    }
    assert [(one["model"], one["published"], one["spdx"]) for one in document["violations"][1:]] == [
        ("silent", None, None)
    ]


def test_weights_that_lock_would_download_are_not_before_the_licence_is_known(
    hub: HubSimulator, project: Project
) -> None:
    header = as_json({"embedding.weight": {"dtype": "F32", "shape": [50, 12], "data_offsets": [0, 2400]}})
    weights = len(header).to_bytes(8, "little") + header + bytes(2400)
    files = {"modules.json": STATIC, "tokenizer.json": b"{}", "model.safetensors": weights}
    hub.add_model("org/static", files, revision=COMMIT, license="gpl-3.0")
    models = {"static": {"sources": [{"hub": "org/static", "revision": COMMIT}]}}
    project.specify(models, licences={"deny": ["gpl-3.0"]})
    with pytest.raises(LicenceError):
        project.lock()
    assert hub.bytes_sent("model.safetensors") == 0
    project.specify(models, licences={"allow": ["gpl-3.0"]})
    project.lock()
    assert hub.bytes_sent("model.safetensors") > 0


def test_the_lock_keeps_the_licence_as_published(three: dict[str, Any], project: Project) -> None:
    policy = {"allow": ["Apache-2.0", "GPL-3.0-only"], "unstated": "accept"}
    project.specify(three, licences=policy)
    project.lock()
    assert {name: entry.license for name, entry in project.locked().models.items()} == {
        "free": "apache-2.0",
        "copyleft": "gpl-3.0",
        "silent": None,
    }
    locked = project.lock_file.read_bytes()
    project.specify(three)
    assert not project.lock().is_rewritten
    assert project.lock_file.read_bytes() == locked


def test_a_policy_of_today_applies_to_the_lock_of_yesterday(
    three: dict[str, Any], project: Project, command: Callable[..., Outcome]
) -> None:
    project.lock()
    project.build()
    project.specify(three, licences={"deny": ["GPL-3.0-or-later"], "unstated": "accept"})
    before = {path: entry for path, entry in snapshot(project.root).items() if not path.startswith("store")}
    for arguments in (("lock", "--check"), ("build",), ("lock",)):
        outcome = command(*project.arguments(*arguments))
        assert outcome.code == 1, arguments
        assert outcome.err.splitlines()[-2:] == [
            "  copyleft: expected none of `licences.deny` (GPL-3.0-or-later), found gpl-3.0 (SPDX: GPL-3.0-only)",
            HINT,
        ]
    after = {path: entry for path, entry in snapshot(project.root).items() if not path.startswith("store")}
    assert after == before
    # Of other models, a bundle can be built; and of this one, once it is permitted.
    project.build(models=["free", "silent"])
    project.specify(three, licences={"deny": ["MIT"], "unstated": "accept"})
    assert command(*project.arguments("lock", "--check")).code == 0
    project.build()
    built = is_intact(project.output).models["copyleft"].built
    assert built is not None
    assert built.license == "gpl-3.0"


def test_differences_come_before_licences(
    three: dict[str, Any], project: Project, command: Callable[..., Outcome]
) -> None:
    project.lock()
    del three["free"]
    project.specify(three, licences={"allow": ["MIT"]})
    outcome = command(*project.arguments("lock", "--check"))
    assert (outcome.code, outcome.out.splitlines()) == (
        1,
        ["free: expected no entry, because the specification has no such model, found one"],
    )


def test_an_entry_that_is_kept_is_looked_at_too(three: dict[str, Any], hub: HubSimulator, project: Project) -> None:
    project.lock()
    before = project.lock_file.read_bytes()
    project.specify(three, licences={"allow": ["apache-2.0"], "unstated": "accept"})
    hub.fault("api", Status(503))
    with pytest.raises(LicenceError, match="copyleft: expected one of"):
        project.lock()
    assert project.lock_file.read_bytes() == before


def test_add_writes_nothing(hub: HubSimulator, project: Project) -> None:
    models = hub_models(hub, {"free": "apache-2.0", "open": "mit", "copyleft": "gpl-3.0"})
    project.specify({"free": models["free"]}, licences={"allow": ["Apache-2.0", "MIT"]})
    project.lock()
    places = Places(file=project.file, lock=project.lock_file, store=project.store)
    before = [project.file.read_bytes(), project.lock_file.read_bytes()]
    with pytest.raises(LicenceError, match="copyleft: expected one of"):
        add.add(places, [add.NewModelOptions(source="org/copyleft")], limits=FAST, watcher=project.watcher)
    assert [project.file.read_bytes(), project.lock_file.read_bytes()] == before
    add.add(places, [add.NewModelOptions(source="org/open")], limits=FAST, watcher=project.watcher)
    assert set(project.locked().models) == {"free", "open"}


def test_a_commit_upstream_with_another_licence_is_said_to_be_refused(hub: HubSimulator, project: Project) -> None:
    models = hub_models(hub, {"free": "apache-2.0"})
    project.specify(models, licences={"allow": ["apache-2.0"]})
    project.lock()
    places = Places(file=project.file, lock=project.lock_file, store=project.store)
    hub.add_model("org/free", model_files("free"), revision="b" * 40, license="cc-by-nc-4.0")
    (report,) = outdated(places, limits=FAST, watcher=project.watcher)
    assert (report.state, report.reason) == (
        "refused",
        "expected one of `licences.allow` (apache-2.0), found cc-by-nc-4.0 (SPDX: CC-BY-NC-4.0)",
    )
    hub.add_model("org/free", model_files("free"), revision="c" * 40, license="Apache-2.0")
    (report,) = outdated(places, limits=FAST, watcher=project.watcher)
    assert report.state == "same vectors"


def test_the_extra_for_bills_of_materials_is_not_needed(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cyclonedx", "packageurl"):
        monkeypatch.setitem(sys.modules, name, None)
    write_files(project.root / "model", {**model_files("mini"), "README.md": b"---\nlicense: gpl-3.0\n---\n"})
    project.specify({"mini": {"sources": [{"directory": "model"}]}}, licences={"allow": ["mit"]})
    with pytest.raises(LicenceError):
        project.lock()


def test_check_model_says_what_spdx_calls_a_licence(
    three: dict[str, Any], project: Project, command: Callable[..., Outcome]
) -> None:
    del three
    arguments = [f"--store={project.store}", *FAST_OPTIONS]
    assert "  licence       gpl-3.0 (SPDX: GPL-3.0-only)\n" in command("check-model", "org/copyleft", *arguments).out
    assert "  licence       apache-2.0\n" in command("check-model", "org/free", *arguments).out
    assert "  licence       not stated\n" in command("check-model", "org/silent", *arguments).out
    assert json.loads(command("check-model", "org/copyleft", "--json", *arguments).out)["spdx"] == "GPL-3.0-only"


def test_a_name_beside_other_counts_from_the_lock_to_the_bill_of_materials(hub: HubSimulator, project: Project) -> None:
    card = {"license_name": "Acme Terms", "license_link": "LICENSE.md"}
    hub.add_model("org/named", model_files("named"), revision=COMMIT, license="other", card=card)
    models = {"named": {"sources": [{"hub": "org/named", "revision": COMMIT}]}}
    project.specify(models, licences={"allow": ["mit", "other"]})
    with pytest.raises(LicenceError, match=r"found other \(Acme Terms\) \(no SPDX id\)"):
        project.lock()
    project.specify(models, licences={"deny": ["LicenseRef-Acme-Terms"]})
    with pytest.raises(LicenceError, match="expected none of"):
        project.lock()
    project.specify(models, licences={"allow": ["acme terms"]})
    project.lock()
    project.build()
    entry = project.locked().models["named"]
    assert (entry.license, entry.license_link) == ("other (Acme Terms)", "LICENSE.md")
    (licence,) = component(json.loads(sbom(project.output)), "named")["licenses"]
    assert licence["license"] == {
        "acknowledgement": "declared",
        "name": "Acme Terms",
        "url": f"https://huggingface.co/org/named/blob/{COMMIT}/LICENSE.md",
    }
    write_page(PageOptions(bundle=project.output, output=project.root / "page.html"))
    assert "other (Acme Terms)" in (project.root / "page.html").read_text(encoding="utf-8")

from __future__ import annotations

import shutil

import pytest

from tests.support.bundles import make_writable
from tests.support.hub_simulator import HubSimulator, Status
from tests.support.projects import (
    COMMIT,
    Project,
    is_intact,
    model_files,
    sources_of,
)
from thoth_models_builder.errors import (
    SourcesFailedError,
    UsageError,
)

HUB = {"hub": "org/mini", "revision": COMMIT}
WHEEL = {"wheel": "some-mini==0.1.0", "path": "some_mini/model"}
DIRECTORY = {"directory": "model"}


@pytest.fixture
def two(project: Project, hub: HubSimulator) -> Project:
    """Two models of a hub, locked, the first of which a build may go without; the store is empty."""
    hub.add_model("org/large", model_files("large"), revision=COMMIT)
    hub.add_model("org/mini", model_files("mini"), revision=COMMIT)
    project.specify(
        {
            "large": {
                "sources": [{"hub": "org/large", "revision": COMMIT}],
                "alternates": [{"model": "mini", "other_space": "accept"}],
                "when_unavailable": "use-alternates",
            },
            "mini": {"sources": [HUB], "aliases": ["small"]},
        }
    )
    project.lock()
    shutil.rmtree(project.store)
    return project


def only(hub: HubSimulator, repository: str) -> None:
    """Let the hub forget all repositories but one."""
    for name in list(hub._repositories):
        if name != repository:
            del hub._repositories[name]


def test_an_absent_model_is_told_and_its_stand_in_named(two: Project, hub: HubSimulator) -> None:
    only(hub, "org/mini")
    report = two.build()
    absent, present = report.models
    assert (absent.name, absent.is_absent, absent.stand_ins) == ("large", True, ("mini",))
    assert (absent.files, absent.space) == ((), None)
    assert not present.is_absent
    assert report.attempts
    assert {attempt.model for attempt in report.attempts} == {"large"}
    manifest = is_intact(two.output)
    assert manifest.models["large"].built is None
    assert manifest.models["large"].dimension == 8
    assert manifest.default == "large"


def test_strict_allows_no_absent_model(two: Project, hub: HubSimulator) -> None:
    only(hub, "org/mini")
    with pytest.raises(SourcesFailedError, match="large: no source delivered all of its files, and with --strict no"):
        two.build(strict=True)
    assert not two.output.exists()


def test_a_model_is_not_absent_without_somebody_to_stand_in(two: Project, hub: HubSimulator) -> None:
    only(hub, "org/nobody")
    with pytest.raises(SourcesFailedError, match=r"large: .* and none of its alternates is in the bundle") as caught:
        two.build()
    assert {attempt.model for attempt in caught.value.attempts} == {"large"}


def test_a_model_that_is_not_said_to_be_dispensable_fails_the_build(two: Project, hub: HubSimulator) -> None:
    only(hub, "org/large")
    with pytest.raises(SourcesFailedError, match=r"mini: .* does not say `when_unavailable: use-alternates`"):
        two.build()


def test_an_absent_model_comes_back_with_its_source(two: Project, hub: HubSimulator) -> None:
    complete = two.build().bundle_digest
    make_writable(two.output)
    shutil.rmtree(two.output)
    shutil.rmtree(two.store)
    only(hub, "org/mini")
    without = two.build()
    assert without.bundle_digest != complete
    again = two.build()
    assert again.is_unchanged
    assert len(hub._repositories) == 1
    hub.add_model("org/large", model_files("large"), revision=COMMIT)
    back = two.build()
    assert not back.is_unchanged
    assert back.bundle_digest == complete
    assert sources_of(back, "mini") == {"the bundle that was there"}
    assert f"hub:org/large@{COMMIT}" in sources_of(back, "large")


def test_only_a_model_that_the_bundle_goes_without_is_asked_for_just_once(project: Project, hub: HubSimulator) -> None:
    hub.add_model("org/mini", model_files("old"), revision="c" * 40)
    hub.add_model("org/mini", model_files("new"), revision=COMMIT)
    project.specify({"mini": {"sources": [{"hub": "org/mini", "revision": "c" * 40}]}})
    project.lock()
    project.build()
    project.specify({"mini": {"sources": [HUB]}})
    project.lock()
    # One passing failure: a model that the bundle has in an older form is worth a second attempt.
    hub.fault("model.safetensors", Status(503), times=1)
    report = project.build()
    assert report.attempts == ()
    assert (project.output / "mini/source/vocab.txt").read_bytes() == model_files("new")["vocab.txt"]


def test_an_absent_model_costs_one_attempt_the_second_time(two: Project, hub: HubSimulator) -> None:
    hub.fault("model.safetensors", Status(503), times=2)
    first = two.build()
    assert first.models[0].is_absent
    hub.fault("model.safetensors", Status(503), times=1)
    assert two.build().is_unchanged
    assert not two.build().models[0].is_absent


def test_some_of_the_models(two: Project) -> None:
    complete = two.build()
    report = two.build(models=["mini"], output=two.root / "some")
    assert [model.name for model in report.models] == ["mini"]
    manifest = is_intact(two.root / "some")
    assert list(manifest.models) == ["mini"]
    assert manifest.default is None
    assert report.bundle_digest != complete.bundle_digest
    with pytest.raises(UsageError, match="expected a model of the specification"):
        two.build(models=["small"])

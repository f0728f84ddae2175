"""What a refusal says to do about pickles; that of code is in the tests of code."""

from __future__ import annotations

import pytest

from tests.support.hub_simulator import Fault, HubSimulator, Silence, Status
from tests.support.projects import Project, model_files
from thoth_models_builder.errors import UnsupportedModelError

HUB = {"sources": [{"hub": "org/mini"}]}
OTHER = "c" * 40


def pickled() -> dict[str, bytes]:
    files = model_files("pickled")
    del files["model.safetensors"]
    return {**files, "pytorch_model.bin": b"a pickle"}


def test_the_refusal_names_the_key(hub: HubSimulator, project: Project) -> None:
    hub.add_model("org/mini", pickled())
    project.specify({"mini": HUB})
    with pytest.raises(UnsupportedModelError, match=r"pickled weights .* `pickle: convert` in models\.yaml") as raised:
        project.lock()
    assert "the commit" not in str(raised.value)


def advised(hub: HubSimulator, project: Project, *references: str) -> str:
    hub.add_model("org/mini", model_files("pickled"), revision=OTHER, branches=dict.fromkeys(references, OTHER))
    hub.add_model("org/mini", pickled())
    project.specify({"mini": HUB})
    with pytest.raises(UnsupportedModelError) as raised:
        project.lock()
    return str(raised.value)


def test_the_refusal_names_a_commit_with_safetensors(hub: HubSimulator, project: Project) -> None:
    found = advised(hub, project, "refs/pr/7", "refs/convert/safetensors")
    assert f"{OTHER} (refs/convert/safetensors) of the same repository has model.safetensors: write it as" in found


@pytest.mark.hostile
def test_a_pull_request_is_named_as_what_a_stranger_may_have_opened(hub: HubSimulator, project: Project) -> None:
    found = advised(hub, project, "refs/pr/7")
    assert f"{OTHER} (refs/pr/7) has model.safetensors, but it is a pull request that is not merged" in found
    assert "anyone may have opened it: do not write it as `revision` unless" in found


@pytest.mark.parametrize("fault", [Status(500), Silence()])
def test_a_hub_without_that_list_is_not_an_error_of_its_own(hub: HubSimulator, project: Project, fault: Fault) -> None:
    hub.add_model("org/mini", pickled())
    hub.fault("refs", fault)
    project.specify({"mini": HUB})
    with pytest.raises(UnsupportedModelError, match="pickle: convert"):
        project.lock()

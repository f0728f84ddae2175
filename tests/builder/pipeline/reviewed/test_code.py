"""Code that a model brings: listed with its digests at the lock, fetched and compared when it is built."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.projects import COMMIT, Project, as_json, model_files
from thoth_models.bundle.digest import Digest
from thoth_models_builder.bundle.code.references import without_code
from thoth_models_builder.bundle.model_files import ModelFiles
from thoth_models_builder.errors import UnsupportedModelError
from thoth_models_builder.pipeline.fetch import FetchContext
from thoth_models_builder.pipeline.reviewed.code import CodeFinder, code_of_job, fetch_code
from thoth_models_builder.sources.source import RemoteFile
from thoth_models_builder.spec.lockfile import LockedFile
from thoth_models_builder.spec.plan import PlannedModel
from thoth_models_builder.storage.store import Store

if TYPE_CHECKING:
    from tests.support.hub_simulator import HubSimulator

MODELING = b"from .configuration import Config\nraise SystemExit('never imported here')\n"
CODE = {"modeling.py": MODELING, "configuration.py": b"class Config: ...\n", "unused.py": b"import os\n"}
OTHER_COMMIT = "e" * 40


def model_with_code(auto_map: dict[str, str]) -> dict[str, bytes]:
    files = model_files("code")
    return {**files, "config.json": as_json({**json.loads(files["config.json"]), "auto_map": auto_map})}


def digests(*names: str, prefix: str = "") -> dict[str, str]:
    return {f"{prefix}{name}": Digest.of(CODE[name]).hex for name in names}


def specify(project: Project, code: dict[str, str] | None) -> None:
    more: dict[str, Any] = {} if code is None else {"code": code}
    origin = {"hub": "org/mini", "revision": COMMIT}
    project.specify({"mini": {"sources": [origin], "variants": ["onnx-fp32"], "golden": True, **more}})


@pytest.fixture
def own(hub: HubSimulator) -> HubSimulator:
    """A repository with code of its own."""
    hub.add_model("org/mini", {**model_with_code({"AutoModel": "modeling.Model"}), **CODE}, revision=COMMIT)
    return hub


@pytest.fixture
def other(hub: HubSimulator) -> HubSimulator:
    """A repository whose code is in another one."""
    hub.add_model("org/mini", model_with_code({"AutoModel": "org/code--modeling.Model"}), revision=COMMIT)
    hub.add_model("org/code", CODE, revision=OTHER_COMMIT)
    return hub


def block(message: str) -> dict[str, str]:
    """Return the files of the block to paste that a message ends with."""
    lines = message.split("    code:\n")[1].splitlines()
    return dict(line.strip().rsplit(": ", 1) for line in lines)


@pytest.mark.usefixtures("own")
def test_the_refusal_has_the_block_that_makes_it_accepted(project: Project) -> None:
    specify(project, None)
    with pytest.raises(UnsupportedModelError, match="a bundle carries no code") as raised:
        project.lock()
    listed = block(str(raised.value))
    assert listed == digests("modeling.py", "configuration.py")
    specify(project, listed)
    project.lock()
    model = project.locked().models["mini"]
    assert {code.name: code.content.sha256.hex for code in model.code} == listed
    assert not [file.path for file in model.files if file.path.endswith(".py")]


@pytest.mark.hostile
@pytest.mark.usefixtures("other")
def test_code_of_another_repository_is_pinned_to_its_commit(project: Project) -> None:
    specify(project, None)
    with pytest.raises(UnsupportedModelError) as raised:
        project.lock()
    listed = block(str(raised.value))
    assert listed == digests("modeling.py", "configuration.py", prefix=f"org/code@{OTHER_COMMIT}:")
    specify(project, listed)
    project.lock()
    assert [code.path for code in project.locked().models["mini"].code] == ["configuration.py", "modeling.py"]


@pytest.mark.hostile
def test_later_commits_of_reviewed_code_do_not_matter(other: HubSimulator, project: Project) -> None:
    specify(project, digests("modeling.py", "configuration.py", prefix=f"org/code@{OTHER_COMMIT}:"))
    other.add_model("org/code", {**CODE, "modeling.py": b"evil"}, revision="d" * 40)
    project.lock()


@pytest.mark.hostile
@pytest.mark.usefixtures("own")
def test_a_changed_file_of_code_is_refused_with_both_digests(project: Project) -> None:
    specify(project, {**digests("configuration.py"), "modeling.py": "0" * 64})
    with pytest.raises(UnsupportedModelError) as raised:
        project.lock()
    found = Digest.of(MODELING).hex
    assert f"code: modeling.py: expected the reviewed sha256 {'0' * 64}, found {found}" in str(raised.value)
    assert not project.lock_file.exists()


@pytest.mark.hostile
@pytest.mark.usefixtures("own")
def test_a_file_of_code_that_is_not_listed_is_refused_and_one_more_may_be(project: Project) -> None:
    specify(project, digests("modeling.py"))
    with pytest.raises(UnsupportedModelError, match=r"code: configuration\.py: expected it to be listed"):
        project.lock()
    specify(project, digests(*CODE))
    project.lock()
    assert [code.name for code in project.locked().models["mini"].code] == sorted(CODE)
    specify(project, {**digests(*CODE), "absent.py": "0" * 64})
    with pytest.raises(UnsupportedModelError, match=r"code: absent\.py: expected this file, found none"):
        project.lock()


def test_a_model_without_code_needs_no_list(hub: HubSimulator, project: Project) -> None:
    hub.add_model("org/mini", {**model_files("plain"), **CODE}, revision=COMMIT)
    specify(project, digests("modeling.py"))
    with pytest.raises(UnsupportedModelError, match="code: expected no files, because the model brings no code"):
        project.lock()


def test_a_job_has_the_code_and_a_configuration_that_finds_it(other: HubSimulator, project: Project) -> None:
    from thoth_models_builder.pipeline.inputs import read_spec

    specify(project, digests("modeling.py", "configuration.py", prefix=f"org/code@{OTHER_COMMIT}:"))
    project.lock()
    locked = project.locked().models["mini"]
    model = PlannedModel(name="mini", spec=read_spec(project.file).models["mini"], locked=locked)
    options = project.options()
    # Another machine: an empty store.
    context = FetchContext(
        store=Store(project.root / "other"), base=project.root, limits=options.limits, watcher=project.watcher
    )
    files = model_with_code({"AutoModel": "org/code--modeling.Model"})
    published = ModelFiles({path: Digest.of(data) for path, data in files.items()}, files.__getitem__)
    job = code_of_job(model, published, without_code(published, {}), context)
    assert job is not None
    assert job.code == ("configuration.py", "modeling.py")
    assert json.loads(job.places["config.json"].read_bytes())["auto_map"] == {"AutoModel": "modeling.Model"}
    assert job.places["modeling.py"].read_bytes() == MODELING
    # Other bytes than the locked ones are a failed attempt with both digests.
    other.add_model("org/code", {**CODE, "modeling.py": MODELING.swapcase()}, revision=OTHER_COMMIT)
    context = FetchContext(
        store=Store(project.root / "third"), base=project.root, limits=options.limits, watcher=project.watcher
    )
    assert not fetch_code(model, context)
    assert any(Digest.of(MODELING).hex in str(attempt) for attempt in context.attempts)


@pytest.mark.hostile
@pytest.mark.parametrize("stated", [4 * 1024**2 + 1, None])
def test_too_long_a_file_of_code_is_refused_also_where_its_size_is_not_stated(stated: int | None) -> None:
    files = model_with_code({"AutoModel": "modeling.Model"})
    published = ModelFiles({path: Digest.of(data) for path, data in files.items()}, files.__getitem__)
    long = LockedFile(path="modeling.py", size=4 * 1024**2 + 1, sha256=Digest.of(b""))
    unused: Any = None
    finder = CodeFinder(unused, {}, unused, lambda _, asked: {file.path: long for file in asked})
    with pytest.raises(UnsupportedModelError, match=r"modeling\.py: expected at most 4194304 bytes of code, found "):
        finder.locked({"modeling.py": RemoteFile(path="modeling.py", size=stated)}, published)

"""What surrounds a build may be arranged so that it waits, fills memory, or destroys what is not its own."""

from __future__ import annotations

import gzip
import json
import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.hub_simulator import Status
from tests.support.projects import FAST, Project, run_builder
from thoth_models_builder.errors import LockError, SourceError, SpecError, UsageError
from thoth_models_builder.sources import hub as hub_module
from thoth_models_builder.sources.hub import HubRepository

if TYPE_CHECKING:
    from tests.support.hub_simulator import HubSimulator

pytestmark = pytest.mark.hostile

REPOSITORY = "some-organisation/some-model"


@pytest.mark.parametrize("which", ["file", "lock_file"])
def test_a_fifo_in_place_of_a_file_is_not_waited_for(local: Project, which: str) -> None:
    path = getattr(local, which)
    path.unlink()
    os.mkfifo(path)
    errors: list[Exception] = []

    def build() -> None:
        try:
            local.build()
        except (SpecError, LockError) as error:
            errors.append(error)

    thread = threading.Thread(target=build, daemon=True)
    thread.start()
    thread.join(30)
    assert "not a regular file" in str(errors[0])


@pytest.mark.parametrize(("output", "store"), [("store/objects/zz", "store"), ("bundle", "bundle/store"), ("a", "a")])
def test_output_and_store_must_be_apart(local: Project, output: str, store: str) -> None:
    with pytest.raises(UsageError, match="expected --output and --store outside of each other"):
        local.build(output=local.root / output, store=local.root / store)
    assert not (local.root / output).exists()


def test_a_specification_named_by_its_directory(local: Project) -> None:
    finished = run_builder("build", "--file", ".", cwd=local.root)
    assert finished.returncode == 2
    assert "Traceback" not in finished.stderr


def metadata(**changes: Any) -> dict[str, Any]:
    return {"id": REPOSITORY, "sha": "a" * 40, "siblings": [{"rfilename": "config.json", "size": 3}], **changes}


def listing(hub: HubSimulator, body: bytes, headers: dict[str, str] | None = None) -> str:
    hub.fault("api", Status(200, {"Content-Type": "application/json", **(headers or {})}, body))
    with pytest.raises(SourceError) as caught:
        HubRepository(REPOSITORY, "main", limits=replace(FAST, attempts=1)).list_files()
    return str(caught.value)


def test_metadata_without_end_does_not_fill_the_memory(hub: HubSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "_MAX_METADATA_SIZE", 10_000)
    body = json.dumps(metadata(description="x" * 20_000)).encode()
    assert listing(hub, body) == "expected an answer of at most 10000 bytes, found more"


def test_metadata_that_would_unpack_is_refused(hub: HubSimulator) -> None:
    body = gzip.compress(json.dumps(metadata(description="x" * 1_000_000)).encode())
    assert "found it encoded as 'gzip'" in listing(hub, body, {"Content-Encoding": "gzip"})
    # It was asked for as it is, so an honest server has no reason to.
    assert {request.headers["accept-encoding"] for request in hub.requests} == {"identity"}


@pytest.mark.parametrize(
    "changes",
    [
        {"sha": 5},
        {"sha": "main\x1b[2J"},
        {"cardData": "x"},
        {"cardData": ["x"]},
        {"siblings": [{"rfilename": "config.json", "size": "abc"}]},
        {"siblings": [{"rfilename": "config.json", "size": -5}]},
        {"siblings": [{"rfilename": "config.json", "size": 3.5}]},
        {"siblings": [{"rfilename": 5, "size": 3}]},
        {"siblings": [{"rfilename": "config.json", "size": 3, "blobId": "x"}]},
        {"siblings": [{"rfilename": "a.safetensors", "size": 3, "lfs": {"sha256": 5, "size": 3, "pointerSize": 1}}]},
        {"siblings": [{"rfilename": "a.safetensors", "size": 3, "lfs": {"sha256": "x", "size": 3, "pointerSize": 1}}]},
        {"siblings": "x"},
    ],
)
def test_metadata_of_other_types_is_an_error_of_the_source(hub: HubSimulator, changes: dict[str, Any]) -> None:
    assert "expected" in listing(hub, json.dumps(metadata(**changes)).encode())


def test_a_license_that_would_command_a_terminal_is_not_taken(hub: HubSimulator) -> None:
    body = json.dumps(metadata(cardData={"license": "mit\x1b]0;owned\x07"})).encode()
    hub.fault("api", Status(200, {"Content-Type": "application/json"}, body))
    assert HubRepository(REPOSITORY, "main", limits=FAST).list_files().license is None

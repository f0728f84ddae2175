"""What is said when something goes wrong: exit codes, hints, no traceback, and never a token."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import flip_bit
from tests.support.hub_simulator import HubSimulator, RedirectLoop, SlowDrip, Status, WrongBytes
from tests.support.projects import (
    COMMIT,
    Project,
    contents,
    environment_of_children,
    is_intact,
    model_files,
    write_files,
)
from thoth_models_builder.pipeline import build

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.builder_fixtures import Outcome
    from tests.support.hub_simulator import Fault

HUB = {"hub": "org/mini", "revision": COMMIT}
TOKEN = "hf_bait0123456789abcdefghijklmnop"


@pytest.fixture
def served(hub: HubSimulator, project: Project) -> Project:
    hub.add_model("org/mini", model_files("mini"), revision=COMMIT)
    project.specify({"mini": {"sources": [HUB]}})
    project.lock()
    shutil.rmtree(project.store)
    return project


def check(outcome: Outcome, code: int, start: str, hint: str | None = None) -> None:
    assert outcome.code == code
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    lines = [line for line in outcome.err.splitlines() if " MB" not in line]
    assert lines[0].startswith(f"thoth-bundle: {start}")
    hints = [line.removeprefix("hint: ") for line in lines if line.startswith("hint: ")]
    assert len(hints) == 1
    assert hint in (None, *hints)


# --- exit codes and hints ---


def test_a_bundle_that_does_not_verify(local: Project, command: Callable[..., Outcome]) -> None:
    local.build()
    flip_bit(local.output, "mini/source/vocab.txt")
    outcome = command("verify", str(local.output))
    check(outcome, 1, f"{local.output}: verification failed, 1 problem")
    assert "mini/source/vocab.txt: changed: expected sha256 " in outcome.err
    outcome = command("verify", str(local.output), "--json")
    document = json.loads(outcome.out)
    assert (outcome.code, outcome.err) == (1, "")
    assert (document["ok"], document["error"]) == (False, "VerificationError")
    assert [(problem["kind"], problem["path"]) for problem in document["problems"]] == [
        ("changed", "mini/source/vocab.txt")
    ]


def test_a_manifest_that_cannot_be_read(local: Project, command: Callable[..., Outcome]) -> None:
    local.build()
    flip_bit(local.output, "manifest.json")
    check(command("inspect", str(local.output)), 1, "")
    check(command("verify", str(local.output)), 1, f"{local.output}: verification failed")


def test_no_bundle_is_no_failed_verification(local: Project, command: Callable[..., Outcome]) -> None:
    for verb in ("verify", "inspect"):
        check(command(verb, str(local.output)), 4, f"expected a bundle directory at {local.output}")


def test_a_lock_that_does_not_fit(local: Project, command: Callable[..., Outcome]) -> None:
    local.specify({"mini": {"sources": [HUB]}})
    hint = "run `thoth-bundle lock`, and review the lock as a diff"
    check(command(*local.arguments("build")), 1, f"{local.lock_file} does not fit the specification:", hint)
    outcome = command(*local.arguments("build", "--json"))
    assert json.loads(outcome.out)["differences"] == [
        f"mini: sources: expected hub:org/mini@{COMMIT}, found directory:model"
    ]


def test_no_lock(local: Project, command: Callable[..., Outcome]) -> None:
    local.lock_file.unlink()
    hint = "`thoth-bundle lock` writes the lock"
    message = f"{local.lock_file}: expected a readable lock, found: No such file or directory"
    for arguments in (local.arguments("build"), local.arguments("lock", "--check"), local.arguments("gc")):
        check(command(*arguments), 2, message, hint)


def test_a_model_that_nobody_knows(local: Project, command: Callable[..., Outcome]) -> None:
    check(command(*local.arguments("build", "--model=maxi")), 2, "--model: expected a model of the specification")


def test_a_model_that_is_refused(local: Project, command: Callable[..., Outcome]) -> None:
    (local.root / "model" / "model.safetensors").unlink()
    (local.root / "model" / "pytorch_model.bin").write_bytes(b"x")
    before = local.lock_file.read_bytes()
    outcome = command(*local.arguments("lock"))
    check(outcome, 2, "mini (directory:model): model.safetensors: expected weights as safetensors, found none; pickled")
    assert local.lock_file.read_bytes() == before


def test_an_alternate_that_could_never_stand_in(project: Project, command: Callable[..., Outcome]) -> None:
    write_files(project.root / "model", model_files("mini"))
    write_files(project.root / "wide", model_files("wide", dimension=16))
    alternates = [{"model": "wide", "other_space": "accept"}]
    project.specify(
        {
            "mini": {"sources": [{"directory": "model"}], "alternates": alternates},
            "wide": {"sources": [{"directory": "wide"}]},
        }
    )
    project.lock()
    check(command(*project.arguments("build")), 2, "models.mini.alternates: wide: expected 8 dimensions")


def test_sources_that_fail(served: Project, hub: HubSimulator, command: Callable[..., Outcome]) -> None:
    hub.fault("model.safetensors", WrongBytes())
    hint = "a mirror can be listed as a further source of the model: wheel or directory"
    outcome = command(*served.arguments("build"))
    assert outcome.code == 3
    assert f"hint: {hint}\n" in outcome.err
    assert "thoth-bundle: mini: no source delivered all of its files, " in outcome.err
    # At once, and in the final message.
    assert outcome.err.count("expected sha256 ") == 2
    outcome = command(*served.arguments("build", "--json"))
    document = json.loads(outcome.out)
    assert (outcome.code, document["ok"], document["error"]) == (3, False, "SourcesFailedError")
    assert [(attempt["model"], attempt["path"]) for attempt in document["attempts"]] == [("mini", "model.safetensors")]


def test_a_lock_that_lacks_a_model(hub: HubSimulator, project: Project, command: Callable[..., Outcome]) -> None:
    project.specify({"mini": {"sources": [HUB]}})
    outcome = command(*project.arguments("lock"))
    assert outcome.code == 3
    assert "mini: no source delivered it, and there is no entry to keep\n" in outcome.out
    outcome = command(*project.arguments("lock", "--json"))
    document = json.loads(outcome.out)
    assert (outcome.code, document["ok"]) == (3, False)
    assert document["differences"] == ["mini: expected an entry, found none"]
    assert document["models"][0]["attempts"][0]["source"] == f"hub:org/mini@{COMMIT}"


def test_a_lock_that_keeps_an_entry_that_fits_is_done(
    served: Project, hub: HubSimulator, command: Callable[..., Outcome]
) -> None:
    hub.fault("api", Status(500))
    outcome = command(*served.arguments("lock"))
    assert outcome.code == 0
    assert "mini: its origin did not deliver it, the existing entry is kept" in outcome.out


@pytest.mark.parametrize("store", ["models.yaml", "models.yaml/store"])
def test_a_store_that_cannot_be_made(store: str, local: Project, command: Callable[..., Outcome]) -> None:
    check(
        command(*local.arguments("build", f"--store={local.root / store}")), 4, f"{local.root / store}: expected a dir"
    )


def test_an_output_that_is_something_else(local: Project, command: Callable[..., Outcome]) -> None:
    write_files(local.output, {"thesis.txt": b"mine"})
    check(command(*local.arguments("build")), 4, f"{local.output}: expected a bundle directory or nothing")
    assert contents(local.output) == {"thesis.txt": b"mine"}


def test_a_directory_where_the_lock_should_go(local: Project, command: Callable[..., Outcome]) -> None:
    local.lock_file.unlink()
    local.lock_file.mkdir()
    message = f"{local.lock_file}: expected a readable lock, found: Is a directory"
    for verb in ("lock", "build"):
        check(command(*local.arguments(verb)), 2, message, "`thoth-bundle lock` writes the lock")


def test_what_nobody_thought_of_is_no_failed_verification(
    local: Project, command: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(build, "build", fail)
    outcome = command(*local.arguments("build"))
    assert outcome.code == 4
    assert "Traceback" in outcome.err
    assert outcome.err.splitlines()[-2] == "thoth-bundle: division by zero"
    assert outcome.err.splitlines()[-1].startswith("hint: this is a fault of thoth-bundle: report it")
    outcome = command(*local.arguments("build", "--json"))
    assert outcome.code == 4
    assert json.loads(outcome.out) == {"ok": False, "error": "ZeroDivisionError", "message": "division by zero"}


# --- Ctrl-C ---


def test_an_interrupted_build(served: Project, hub: HubSimulator) -> None:
    hub.fault("model.safetensors", SlowDrip(100))
    with subprocess.Popen(
        [sys.executable, "-m", "thoth_models_builder", *served.arguments("build", "--file-deadline=100")],
        env=environment_of_children(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 30
        while not hub.bytes_sent("model.safetensors") and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    assert process.returncode == 4
    assert out == ""
    assert err.splitlines()[-1] == "interrupted"
    assert "Traceback" not in err
    assert {path.name for path in served.root.iterdir()} == {"models.yaml", "models.lock", "store"}
    hub.clear_faults()
    served.build()
    is_intact(served.output)


# --- secrets ---


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("nothing", Status(500)),
        ("api", Status(401, {}, b"Bearer " + TOKEN.encode())),
        ("api", Status(503)),
        ("model.safetensors", Status(403)),
        ("model.safetensors", RedirectLoop()),
        ("model.safetensors", WrongBytes()),
    ],
)
def test_no_token_is_in_any_output(
    *,
    path: str,
    fault: Fault,
    hub: HubSimulator,
    project: Project,
    command: Callable[..., Outcome],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.add_model("org/mini", model_files("mini"), revision=COMMIT, token=TOKEN)
    project.specify({"mini": {"sources": [HUB]}})
    project.lock()
    shutil.rmtree(project.store)
    hub.fault(path, fault)
    outcomes = [
        command("-v", *project.arguments("lock")),
        command("-v", *project.arguments("build")),
        command("-v", *project.arguments("build", "--json")),
    ]
    if project.output.exists():
        outcomes.append(command("inspect", str(project.output)))
    assert any(request.headers.get("authorization") == f"Bearer {TOKEN}" for request in hub.requests)
    for outcome in outcomes:
        assert TOKEN not in outcome.out + outcome.err
        assert "X-Amz-Signature" not in outcome.out + outcome.err
    for place, data in contents(project.root).items():
        assert TOKEN not in place
        assert TOKEN.encode() not in data

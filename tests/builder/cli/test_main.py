"""Every command, as text and as JSON, and the exit codes; the errors are in test_cli_errors.py."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import make_writable
from tests.support.projects import (
    COMMIT,
    NEEDED,
    Project,
    environment_of_children,
    is_intact,
    model_files,
    run_builder,
)
from thoth_models_builder import __version__
from thoth_models_builder.cli import main as cli
from thoth_models_builder.pipeline import build, inputs
from thoth_models_builder.reports.results import BuildReport
from thoth_models_builder.sources.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.builder_fixtures import Outcome
    from tests.support.hub_simulator import HubSimulator

HUB = {"hub": "org/mini", "revision": COMMIT}


@pytest.fixture
def served(hub: HubSimulator, project: Project) -> Project:
    hub.add_model("org/mini", model_files("mini"), revision=COMMIT)
    project.specify({"mini": {"sources": [HUB]}})
    return project


# --- the commands ---


def test_from_list_to_verified_bundle(served: Project, command: Callable[..., Outcome]) -> None:
    locked = command(*served.arguments("lock"))
    assert locked.code == 0
    assert locked.out.startswith(f"mini: resolved from hub:org/mini@{COMMIT}, 10 files, ")
    assert "  left out: README.md (documentation)\n" in locked.out
    assert locked.out.endswith(f"{served.lock_file}: written\n")
    built = command(*served.arguments("build"))
    assert built.code == 0
    assert f"{served.output}: built and verified\n" in built.out
    assert "mini from hub:org/mini@" in built.err
    again = command(*served.arguments("build"))
    assert (again.code, again.err) == (0, "")
    assert f"{served.output}: nothing to do, the bundle is up to date\n" in again.out
    verified = command("verify", str(served.output))
    assert verified.code == 0
    assert verified.out.startswith(f"{served.output}: {len(NEEDED) + 2} files, ")
    inspected = command("inspect", str(served.output))
    assert inspected.code == 0
    collected = command(*served.arguments("gc", "--unused-days=0"))
    assert (collected.code, collected.out) == (0, f"{served.store}: removed 0 files, 0 bytes\n")
    digest = next(line for line in built.out.splitlines() if line.startswith("bundle digest "))
    assert all(digest in other.out.splitlines() for other in (again, verified))
    assert digest.split()[-1] in inspected.out


def test_the_same_as_json(served: Project, command: Callable[..., Outcome]) -> None:
    def document(*arguments: str) -> dict[str, object]:
        outcome = command(*arguments, "--json")
        assert outcome.code == 0
        parsed: dict[str, object] = json.loads(outcome.out)
        assert parsed.pop("ok") is True
        return parsed

    locked = document(*served.arguments("lock"))
    assert (locked["file"], locked["is_rewritten"], locked["differences"]) == (str(served.lock_file), True, [])
    assert document(*served.arguments("lock", "--check")) == {"differences": []}
    built = document(*served.arguments("build"))
    assert built.keys() == {field.name for field in dataclasses.fields(BuildReport)}
    verified = document("verify", str(served.output), "--strict")
    assert (verified["bundle_digest"], verified["files"]) == (built["bundle_digest"], len(NEEDED) + 2)
    inspected = document("inspect", str(served.output))
    assert inspected["bundle_digest"] == built["bundle_digest"]
    assert inspected["manifest"] == json.loads((served.output / "manifest.json").read_bytes())
    collected = document(*served.arguments("gc", "--dry-run"))
    assert collected == {"store": str(served.store), "files": 0, "bytes": 0, "is_dry_run": True}


def test_the_schema(command: Callable[..., Outcome]) -> None:
    outcome = command("schema")
    assert (outcome.code, outcome.out, outcome.err) == (0, inputs.schema(), "")


def test_defaults_are_places_here(
    served: Project, command: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(served.root)
    monkeypatch.setenv("THOTH_STORE", "somewhere")
    assert command("lock").code == 0
    assert command("lock", "--check").code == 0
    assert command("build").code == 0
    assert command("verify").code == 0
    assert command("inspect").code == 0
    assert command("gc").code == 0
    is_intact(served.output)
    assert {path.name for path in served.root.iterdir()} == {"models.yaml", "models.lock", "bundle", "somewhere"}


def test_the_lock_lies_beside_the_list(
    served: Project, command: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = f"--store={served.store}"
    assert command("lock", f"--file={served.file}", store).code == 0
    assert served.lock_file.exists()
    assert command("build", "--file", "project/models.yaml", store, "--output=project/../out").code == 0
    is_intact(tmp_path / "out")
    make_writable(tmp_path / "out")


@pytest.mark.parametrize("output", ["{root}/bundle/", "{root}/./bundle", "{root}/x/../bundle"])
def test_an_output_is_spelled_in_many_ways(output: str, served: Project, command: Callable[..., Outcome]) -> None:
    assert command(*served.arguments("lock")).code == 0
    assert command(*served.arguments("build", f"--output={output.format(root=served.root)}")).code == 0
    is_intact(served.output)


@pytest.mark.hostile
def test_an_output_that_is_a_symlink_is_not_followed(served: Project, command: Callable[..., Outcome]) -> None:
    assert command(*served.arguments("lock")).code == 0
    (served.root / "elsewhere").mkdir()
    served.output.symlink_to(served.root / "elsewhere")
    outcome = command(*served.arguments("build"))
    assert outcome.code == 4
    assert "expected a bundle directory or nothing, found a file or symlink" in outcome.err


def test_some_models_only(hub: HubSimulator, project: Project, command: Callable[..., Outcome]) -> None:
    hub.add_model("org/mini", model_files("mini"), revision=COMMIT)
    project.specify({name: {"sources": [HUB]} for name in ("a", "b", "c")})
    assert command(*project.arguments("lock")).code == 0
    assert command(*project.arguments("build", "--model=c", "--model", "a")).code == 0
    assert list(is_intact(project.output).models) == ["a", "c"]


def test_limits_reach_the_sources(served: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Limits] = []

    def record(options: build.BuildOptions, _watcher: object) -> None:
        seen.append(options.limits)
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "build", record)
    assert cli.main(["build"]) == 4
    names = {"connect": 1.5, "read": 2.5, "stall_window": 3.5, "stall_bytes": 4, "attempts": 5, "file_deadline": 6.5}
    flags = {"connect": "connect-timeout", "read": "read-timeout"}
    options = [f"--{flags.get(name, name.replace('_', '-'))}={value}" for name, value in names.items()]
    assert cli.main(["build", *options, "--wheel-deadline=7.5"]) == 4
    assert seen == [Limits(), Limits(**names, wheel_deadline=7.5)]  # type: ignore[arg-type]


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"thoth-bundle {__version__}\n"


# --- bad usage ---


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["push"], "invalid choice: 'push'"),
        (["build", "--colour"], "unrecognized arguments: --colour"),
        (["build", "--attempts=0"], "expected an integer of at least 1, found 0"),
        (["build", "--attempts=1.5"], "expected an integer of at least 1, found 1.5"),
        (["build", "--attempts=inf"], "expected an integer of at least 1, found inf"),
        (["build", "--attempts=nan"], "expected an integer of at least 1, found nan"),
        (["build", "--attempts=x"], "expected a number, found x"),
        (["build", "--read-timeout=0"], "expected a positive number, found 0"),
        (["build", "--read-timeout=-1"], "expected a positive number, found -1"),
        (["build", "--read-timeout=inf"], "expected a positive number, found inf"),
        (["build", "--read-timeout=nan"], "expected a positive number, found nan"),
        (["gc", "--unused-days=x"], "expected a number, found x"),
        (["gc", "--unused-days=-1"], "expected a number of at least 0, found -1"),
        (["gc", "--unused-days=nan"], "expected a number of at least 0, found nan"),
        (["schema", "--json"], "unrecognized arguments: --json"),
    ],
)
def test_bad_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


# --- as a process ---


def test_the_module_is_the_command(served: Project) -> None:
    finished = run_builder(*served.arguments("lock", "--json"))
    assert finished.returncode == 0
    assert json.loads(finished.stdout)["ok"] is True
    assert run_builder("lock", "--check", f"--file={served.file}", "--lock=/nowhere").returncode == 2


@pytest.mark.parametrize("arguments", [["inspect"], ["inspect", "--json"], ["schema"]])
def test_a_reader_that_goes_away_is_no_failed_verification(
    arguments: list[str], served: Project, tmp_path: Path
) -> None:
    # More than a pipe holds, so that the command is still writing when nobody reads any more.
    served.specify({"mini": {"sources": [HUB], "aliases": [f"alias-{'x' * 100}-{index}" for index in range(2000)]}})
    served.lock()
    served.build()
    ready, write = os.pipe()
    os.close(ready)
    with os.fdopen(write, "wb") as closed:
        finished = subprocess.run(
            [sys.executable, "-m", "thoth_models_builder", *arguments],
            cwd=served.root,
            env=environment_of_children(),
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert finished.returncode == 4
    assert finished.stderr == ""

"""What roll-out.sh asks Compose for, in which order, and when it stops; tests/docker has the real engine."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.operations.gating import OPERATIONS, SECONDS

if TYPE_CHECKING:
    from pathlib import Path

FAKES = {
    # Without the plugin; with it, FAKE_PLUGIN is set.
    "docker": '#!/bin/sh\n[ -n "$FAKE_PLUGIN" ] || exit 1\n[ "$2" = version ] || echo "docker $*" >>"$LOG"\n',
    "docker-compose": '#!/bin/sh\necho "$* image=$SQL_GENERATOR_IMAGE" >>"$LOG"\n',
    # `python3 -m gates ready --within TIME URL`: ready, but for what FAKE_NOT names.
    "python3": '#!/bin/sh\necho "ready $6" >>"$LOG"\ncase " $FAKE_NOT " in *" $6 "*) exit 1;; esac\n',
}
URL = "http://127.0.0.1:"


class Script:
    """A copy of the stack, and programs that write down how they were called."""

    def __init__(self, place: Path) -> None:
        self.place = place
        shutil.copytree(OPERATIONS / "compose", place / "compose")
        (programs := place / "programs").mkdir()
        for name, text in FAKES.items():
            (programs / name).write_text(text, encoding="utf-8")
            (programs / name).chmod(0o755)
        self.release = place / "next.env"
        self.release.write_text("SQL_GENERATOR_IMAGE=name@sha256:ab\n", encoding="utf-8")
        self.log = place / "log"

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(self.place / "programs"), os.environ["PATH"]])
        self.log.write_text("", encoding="utf-8")
        return subprocess.run(
            [self.place / "compose" / "roll-out.sh", *arguments],
            env={**os.environ, "LOG": str(self.log), **environment, "PATH": path},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def steps(self) -> list[str]:
        """Return what was called, without what is the same in all calls of Compose."""
        same = f"--file {self.place}/compose/compose.yaml --env-file {self.release} --profile canary "
        lines = self.log.read_text(encoding="utf-8").splitlines()
        return [line.replace(same, "").replace(" image=", "").strip() for line in lines]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(tmp_path)


REPLICA_1 = ["up --detach --no-deps replica-1", f"ready {URL}8021/ready", f"ready {URL}8021/in-traffic"]
REPLICA_2 = ["up --detach --no-deps replica-2", f"ready {URL}8022/ready", f"ready {URL}8022/in-traffic"]
FIRST = ["up --detach --no-deps proxy", f"ready {URL}8022/in-traffic"]
LAST = ["rm --stop --force canary"]


def test_a_replica_has_traffic_again_before_the_next_one_leaves_it(script: Script) -> None:
    done = script.run("replicas", str(script.release))
    assert done.returncode == 0, done.stderr
    assert script.steps() == [*FIRST, *REPLICA_1, *REPLICA_2, *LAST]


def test_a_replica_without_traffic_comes_first(script: Script) -> None:
    """The other one is all there is: a roll-out that failed half-way must not take it away on the way back."""
    state = script.place / "asked"
    fake = script.place / "programs" / "python3"
    once = f'case $6 in *8022/in-traffic) [ -e "{state}" ] || {{ touch "{state}"; exit 1; }};; esac\n'
    fake.write_text(FAKES["python3"] + once, encoding="utf-8")
    done = script.run("replicas", str(script.release))
    assert done.returncode == 0, done.stderr
    assert script.steps() == [*FIRST, *REPLICA_2, *REPLICA_1, *LAST]


@pytest.mark.parametrize("step", [1, 2])
def test_a_replica_that_is_not_ready_or_gets_no_traffic_is_the_last_one(script: Script, step: int) -> None:
    done = script.run("replicas", str(script.release), FAKE_NOT=REPLICA_1[step].removeprefix("ready "))
    assert done.returncode == 1
    assert script.steps() == [*FIRST, *REPLICA_1[: step + 1]]
    assert done.stderr.startswith("roll-out: replica-1\nroll-out: replica-1 of next.env ")


def test_a_canary_leaves_the_replicas_alone(script: Script) -> None:
    done = script.run("canary", str(script.release))
    assert done.returncode == 0, done.stderr
    assert script.steps() == [FIRST[0], "up --detach --no-deps canary", f"ready {URL}8029/ready"]


def test_ports_are_those_of_the_stack(script: Script) -> None:
    script.run("replicas", str(script.release), REPLICA_1_PORT="1", REPLICA_2_PORT="2")
    assert [line for line in script.steps() if line.startswith("ready")][1:3] == [
        f"ready {URL}1/ready",
        f"ready {URL}1/in-traffic",
    ]


def test_the_release_is_the_one_in_its_file_whatever_the_shell_says(script: Script) -> None:
    """Compose prefers the shell's variables: the way back would bring back nothing."""
    script.run("replicas", str(script.release), SQL_GENERATOR_IMAGE="another")
    calls = [line for line in script.log.read_text(encoding="utf-8").splitlines() if " up " in line]
    assert len(calls) == 3
    assert all(line.endswith("image=") for line in calls)


def test_the_plugin_is_preferred_where_it_is_there(script: Script) -> None:
    script.run("canary", str(script.release), FAKE_PLUGIN="1")
    assert script.steps()[0] == "docker compose up --detach --no-deps proxy"


def test_a_second_one_at_the_same_time_is_refused(script: Script) -> None:
    with (script.place / "compose" / "compose.yaml").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = script.run("replicas", str(script.release))
    assert (done.returncode, script.steps()) == (1, [])
    assert done.stderr == "roll-out: another roll-out of this stack is running\n"


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ("SERVICE_STOP_SECONDS=33", 0),
        ("SERVICE_STOP_SECONDS=34", 2),
        ("SERVICE_STOP_SECONDS='60'", 2),
        ("SERVICE_DRAIN_SECONDS=12.5", 2),
        ("SERVICE_STOP_SECONDS=60\nSTOP_GRACE=70s", 0),
        ("STOP_GRACE=1m", 2),
    ],
)
def test_a_release_that_the_engine_would_kill_while_it_answers_is_refused(
    script: Script, lines: str, code: int
) -> None:
    script.release.write_text(f"SQL_GENERATOR_IMAGE=name@sha256:ab\n{lines}\n", encoding="utf-8")
    done = script.run("replicas", str(script.release))
    assert done.returncode == code, done.stderr
    assert bool(script.steps()) == (code == 0)
    assert code == 0 or done.stderr.startswith("roll-out: STOP_GRACE: expected ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "expected canary or replicas, and an environment file; found 0 arguments"),
        (["replicas", "/nowhere.env"], "expected an environment file, found none: /nowhere.env"),
        (["all", "RELEASE"], "expected canary or replicas, found all"),
    ],
)
def test_wrong_usage_ends_with_2(script: Script, arguments: list[str], said: str) -> None:
    done = script.run(*[str(script.release) if one == "RELEASE" else one for one in arguments])
    assert (done.returncode, done.stderr) == (2, f"roll-out: {said}\n")
    assert script.steps() == []

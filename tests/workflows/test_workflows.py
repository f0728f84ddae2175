"""What every workflow must be like, beyond what actionlint and zizmor see in `nox -s lint`."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.y*ml"))
ACTION = ROOT / "action.yml"
RELEASE = ROOT / ".github" / "workflows" / "release.yml"
SCRIPTS = ROOT / ".github" / "scripts"
PYTHONS = ["3.11", "3.12", "3.13"]

_PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
_USES = re.compile(r"^\s*(?:- )?uses:\s*(.*)$", re.MULTILINE)
_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_SESSION = re.compile(r"(?:-s|--sessions?)\s+((?:\"[^\"]+\"|[\w.-]+)(?:\s+(?:\"[^\"]+\"|(?!--)[\w.-]+))*)")


def load(path: Path) -> dict[Any, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    return dict(load(path)["jobs"])


ALL_JOBS = [pytest.param(path, name, id=f"{path.stem}-{name}") for path in WORKFLOWS for name in jobs(path)]


def steps(path: Path) -> list[dict[str, Any]]:
    document = load(path)
    if path == ACTION:
        return list(document["runs"]["steps"])
    return [step for job in document["jobs"].values() for step in job["steps"]]


def unpinned(text: str) -> list[str]:
    return [used for used in _USES.findall(text) if not _PINNED.fullmatch(used)]


def interpolated(script: str) -> list[str]:
    """What an expression puts into a script before a shell reads it; a variable is what belongs there."""
    return _EXPRESSION.findall(script)


def sessions(script: str) -> list[str]:
    """The names of sessions that a script asks nox for, with $PYTHON for each Python of the matrix."""
    if "nox " not in script or "pip install" in script:
        return []
    names = [name.strip('"') for found in _SESSION.findall(script) for name in re.findall(r'"[^"]+"|[\w.-]+', found)]
    return [name.replace("$PYTHON", python) for name in names for python in (PYTHONS if "$PYTHON" in name else [""])]


def known_sessions() -> set[str]:
    """The sessions of noxfile.py, by its source: nox itself need not be installed here."""
    tree = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    found = set()
    for function in [node for node in tree.body if isinstance(node, ast.FunctionDef)]:
        for decorator in function.decorator_list:
            text = ast.unparse(decorator)
            if not text.startswith("nox.session"):
                pytest.fail(f"{function.name}: this test does not know {text}")
            if "python=RUNTIME_PYTHONS" in text:
                found |= {f"{function.name}-{python}" for python in PYTHONS}
            else:
                assert "python=" not in text, text
                found.add(function.name)
    return found


def test_there_are_workflows_and_lint_sees_all_of_them() -> None:
    assert {path.name for path in WORKFLOWS} == {"bundle.yml", "ci.yml", "comment.yml", "release.yml"}
    assert '".github/workflows/*.yml"' in (ROOT / "noxfile.py").read_text(encoding="utf-8")


@pytest.mark.hostile
@pytest.mark.parametrize("path", [*WORKFLOWS, ACTION], ids=lambda path: path.name)
def test_actions_are_pinned_by_commit_with_the_version_beside(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert unpinned(text) == []
    assert len(_USES.findall(text)) == sum("uses" in step for step in steps(path))


def test_an_action_has_one_pin_everywhere() -> None:
    pins: dict[str, set[str]] = {}
    for path in [*WORKFLOWS, ACTION]:
        for used in _USES.findall(path.read_text(encoding="utf-8")):
            name, _, pin = used.partition("@")
            pins.setdefault(name, set()).add(pin)
    assert {name: found for name, found in pins.items() if len(found) > 1} == {}
    assert len(pins) >= 6


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_nothing_is_permitted_but_what_a_job_asks_for(path: Path) -> None:
    assert load(path)["permissions"] == {}


@pytest.mark.parametrize(("path", "name"), ALL_JOBS)
def test_every_job_says_what_it_may_and_ends(path: Path, name: str) -> None:
    job = jobs(path)[name]
    assert isinstance(job["permissions"], dict)
    assert 1 <= job["timeout-minutes"] <= 90


def test_only_the_release_may_sign_or_push_and_only_the_comment_may_write() -> None:
    writes = {
        f"{path.stem}.{name}: {what}"
        for path in WORKFLOWS
        for name, job in jobs(path).items()
        for what, level in job["permissions"].items()
        if level != "read"
    }
    assert writes == {
        "release.publish: packages",
        "release.publish: id-token",
        "release.attest: packages",
        "release.attest: id-token",
        "release.attest: attestations",
        "release.pypi: id-token",
        "release.pypi: attestations",
        "release.pages: pages",
        "release.pages: id-token",
        "comment.comment: pull-requests",
    }


def triggers(path: Path) -> set[str]:
    on = load(path)[True]  # YAML 1.1 reads `on` so
    return {on} if isinstance(on, str) else set(on)


@pytest.mark.hostile
def test_the_code_of_a_pull_request_is_never_given_a_secret_or_the_right_to_write() -> None:
    for path in WORKFLOWS:
        assert "pull_request_target" not in triggers(path)
        assert "issue_comment" not in triggers(path)
        if "pull_request" in triggers(path):
            assert "secrets." not in path.read_text(encoding="utf-8")
            assert all(set(job["permissions"].values()) <= {"read"} for job in jobs(path).values())


@pytest.mark.hostile
def test_what_runs_with_the_right_to_comment_checks_out_nothing_of_the_pull_request() -> None:
    path = ROOT / ".github" / "workflows" / "comment.yml"
    assert triggers(path) == {"workflow_run"}
    for step in steps(path):
        if "checkout" in step.get("uses", ""):
            assert set(step["with"]) == {"persist-credentials"}  # no `ref`, no `repository`
        if "download-artifact" in step.get("uses", ""):
            assert step["with"]["path"].startswith("${{ runner.temp }}")  # not over the code that runs next


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_no_checkout_leaves_the_token_behind(path: Path) -> None:
    for step in steps(path):
        if "actions/checkout@" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.hostile
@pytest.mark.parametrize("path", [*WORKFLOWS, ACTION], ids=lambda path: path.name)
def test_no_expression_is_put_into_a_script(path: Path) -> None:
    assert [found for step in steps(path) for found in interpolated(step.get("run", ""))] == []


@pytest.mark.parametrize("path", [*WORKFLOWS, ACTION], ids=lambda path: path.name)
def test_scripts_of_more_than_a_line_are_files_that_shellcheck_sees(path: Path) -> None:
    scripts = [step["run"].strip() for step in steps(path) if "run" in step]
    assert scripts
    assert [script for script in scripts if "\n" in script] == []
    for script in scripts:
        for name in re.findall(r"\.github/scripts/([\w.]+)", script):
            assert (SCRIPTS / name).is_file()
            assert name.endswith(".py") or (SCRIPTS / name).stat().st_mode & 0o111


def test_every_session_that_a_workflow_runs_exists() -> None:
    asked = {name for path in WORKFLOWS for step in steps(path) for name in sessions(step.get("run", ""))}
    assert asked - known_sessions() == set()
    assert {"lint", "types", "tests", "wheel_tests", "docker_tests", "server_tests", "build_bundle"} <= asked
    assert "recipe_tests" in asked
    assert {f"{session}-{python}" for session in ("runtime_tests", "onnx_tests") for python in PYTHONS} <= asked


def test_ci_runs_all_that_nox_runs_without_being_told() -> None:
    asked = {
        name for step in steps(ROOT / ".github" / "workflows" / "ci.yml") for name in sessions(step.get("run", ""))
    }
    tree = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    listed = [
        name
        for node in tree.body
        if isinstance(node, (ast.Assign, ast.AugAssign)) and "nox.options.sessions" in ast.unparse(node).split(" ")
        for name in ast.literal_eval(node.value)
    ]
    assert len(listed) >= 8
    assert set(listed) <= asked


def test_the_matrix_is_every_python_that_is_supported() -> None:
    tests = jobs(ROOT / ".github" / "workflows" / "ci.yml")["tests"]
    assert tests["strategy"]["matrix"]["python"] == PYTHONS


def test_one_gate_waits_for_every_other_job_and_is_never_skipped() -> None:
    found = jobs(ROOT / ".github" / "workflows" / "ci.yml")
    gate = found.pop("gate")
    assert gate["if"] == "always()"
    assert sorted(gate["needs"]) == sorted(found)
    assert gate["env"] == {"RESULTS": "${{ join(needs.*.result, ' ') }}"}


def test_a_comment_follows_the_workflow_that_exists() -> None:
    comment = load(ROOT / ".github" / "workflows" / "comment.yml")
    bundle = load(ROOT / ".github" / "workflows" / "bundle.yml")
    assert comment[True]["workflow_run"]["workflows"] == [bundle["name"]]
    assert {"models.yaml", "models.lock"} == set(bundle[True]["pull_request"]["paths"])


@pytest.mark.hostile
def test_a_release_takes_nothing_from_a_cache_and_leaves_nothing_out() -> None:
    assert not any("cache" in step.get("uses", "") for step in steps(RELEASE))
    assert any(step.get("run") == "nox -s build_bundle -- --strict" for step in steps(RELEASE))


def before(name: str) -> set[str]:
    """Return the jobs of a release that must succeed before one begins."""
    found: set[str] = set()
    asked = [name]
    while asked:
        needs = jobs(RELEASE)[asked.pop()].get("needs", [])
        for one in [needs] if isinstance(needs, str) else needs:
            if one not in found:
                found.add(one)
                asked.append(one)
    return found


def test_what_cannot_be_taken_back_comes_after_all_that_can_fail() -> None:
    assert before("publish") == {"packages", "build", "base"}
    assert before("pypi") == {"packages", "build", "base", "publish", "attest", "answer", "site"}
    assert before("pages") == before("pypi") | {"pypi"}
    assert all("if" not in job and "continue-on-error" not in job for job in jobs(RELEASE).values())


def test_the_packages_are_built_once_and_from_then_on_taken_as_they_are() -> None:
    scripts = {name: [step.get("run", "") for step in job["steps"]] for name, job in jobs(RELEASE).items()}
    assert [name for name, lines in scripts.items() if any("-s packages" in line for line in lines)] == ["packages"]
    (tests,) = [step for step in jobs(RELEASE)["packages"]["steps"] if "wheel_tests" in step.get("run", "")]
    assert tests["env"] == {"THOTH_PACKAGES": "${{ github.workspace }}/dist"}
    for name in ("base", "pypi"):
        given = [step["with"] for step in jobs(RELEASE)[name]["steps"] if "download-artifact" in step.get("uses", "")]
        assert {"name": "packages", "path": "dist"} in given


def test_what_publishes_elsewhere_runs_no_code_of_the_repository() -> None:
    """A token that PyPI or the site takes meets the artifact and pinned actions, and nothing that was installed."""
    for name in ("attest", "pypi", "pages"):
        uses = {step["uses"].partition("@")[0] for step in jobs(RELEASE)[name]["steps"] if "uses" in step}
        assert "actions/checkout" not in uses
        runs = [step["run"] for step in jobs(RELEASE)[name]["steps"] if "run" in step]
        assert all(line.startswith('printf %s "$TOKEN" | docker login ') for line in runs)
    for name in ("publish", "pypi", "pages"):
        assert jobs(RELEASE)[name]["environment"]


def test_each_platform_is_built_and_answers_on_a_machine_of_its_own() -> None:
    pairs = {(one["architecture"], one["runner"]) for one in jobs(RELEASE)["base"]["strategy"]["matrix"]["include"]}
    assert pairs == {("amd64", "ubuntu-24.04"), ("arm64", "ubuntu-24.04-arm")}
    assert set(jobs(RELEASE)["answer"]["strategy"]["matrix"]["runner"]) == {runner for _, runner in pairs}
    assert "for architecture in amd64 arm64; do" in (SCRIPTS / "push.sh").read_text(encoding="utf-8")


def test_the_site_links_to_the_repository_and_the_tag_that_it_is_built_from() -> None:
    assert jobs(RELEASE)["site"]["env"] == {
        "REPOSITORY_URL": "${{ github.server_url }}/${{ github.repository }}",
        "REPOSITORY_REVISION": "${{ github.ref_name }}",
    }


def test_the_action_describes_itself_and_gives_what_its_scripts_tell() -> None:
    action = load(ACTION)
    assert all(part["description"] for part in (*action["inputs"].values(), *action["outputs"].values()))
    told = re.findall(r"^\s*tell ([\w-]+)", (SCRIPTS / "action_build.sh").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(told) == sorted(action["outputs"])
    used = {text.strip() for step in steps(ACTION) for text in _EXPRESSION.findall(str(step))}
    names = {name for text in used for name in re.findall(r"inputs\.([\w-]+)", text)}
    names |= {name for step in steps(ACTION) for name in re.findall(r"inputs\.([\w-]+)", step.get("if", ""))}
    assert names == set(action["inputs"])


def test_the_helpers_above_would_see_what_they_look_for() -> None:
    """The positive controls."""
    sha = "9c091bb21b7c1c1d1991bb908d89e4e9dddfe3e0"
    assert unpinned(f"  - uses: actions/checkout@{sha} # v7.0.0\n") == []
    for wrong in ("actions/checkout@v4", f"actions/checkout@{sha}", f"actions/checkout@{sha[:-1]} # v7.0.0", "./local"):
        assert unpinned(f"      uses: {wrong}\n") == [wrong]
    assert interpolated("echo ${{ github.event.pull_request.title }}") == [" github.event.pull_request.title "]
    assert interpolated('echo "$TITLE"') == []
    assert sessions("nox -f a/noxfile.py -s build_bundle -- --strict") == ["build_bundle"]
    assert sessions('nox -s "runtime_tests-$PYTHON" lint') == [*(f"runtime_tests-{one}" for one in PYTHONS), "lint"]
    assert "no_such_session" not in known_sessions()

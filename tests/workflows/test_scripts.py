"""The scripts of the workflows and of the action, run as a runner runs them; only `cosign` is a stand-in."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.support.bundles import invented_model, make_bundle, make_writable
from tests.support.hand_layouts import write_image
from thoth_models_builder.cli.terminal import TerminalWatcher
from thoth_models_builder.pipeline import image
from thoth_models_builder.reports.pull_request import MARKER

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / ".github" / "scripts"
DIGESTS = [f"sha256:{hashlib.sha256(bytes([number])).hexdigest()}" for number in range(7)]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "work").mkdir()
    (tmp_path / "temp").mkdir()
    write_program(tmp_path / "bin" / "thoth-bundle", f'exec "{sys.executable}" -m thoth_models_builder "$@"')
    yield tmp_path
    make_writable(tmp_path)


def write_program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/usr/bin/env bash\n{script}\n")
    path.chmod(0o755)


def run(place: Path, script: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    # A step of one line must not rest on the options that a runner gives its shell.
    command = [script] if isinstance(script, Path) else ["bash", "-c", script]
    return subprocess.run(
        command,
        check=False,
        cwd=place / "work",
        env={
            "PATH": f"{place / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(str(ROOT / name) for name in ("runtime", "builder")),
            "HOME": str(place),
            "RUNNER_TEMP": str(place / "temp"),
            "GITHUB_OUTPUT": str(place / "output"),
            "GITHUB_STEP_SUMMARY": str(place / "summary"),
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_WORKFLOW_REF": "acme/models/.github/workflows/release.yml@refs/tags/v1",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=120,
    )


def done(finished: subprocess.CompletedProcess[str]) -> str:
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def outputs(place: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in (place / "output").read_text().splitlines())


# --- compare.sh ---


def built(place: Path, name: str, *, more: bytes = b"") -> None:
    """What `nox -s build_bundle` leaves in a checkout."""
    checkout = place / "work" / name
    make_bundle(checkout / "bundle", [invented_model("mini", space="one", more={"x": more})], default="mini")
    options = image.ImageOptions(bundle=checkout / "bundle", to=[f"oci:{checkout / 'image'}"])
    image.image(options, TerminalWatcher())
    command = (place / "bin" / "thoth-bundle").read_text().splitlines()[1]
    write_program(checkout / ".nox/build_bundle/bin/thoth-bundle", command)


def report(place: Path) -> dict[str, Any]:
    return dict(json.loads((place / "work/report/report.json").read_text()))


def test_two_builds_are_compared_for_the_comment_and_the_summary(place: Path) -> None:
    built(place, "before")
    built(place, "after", more=b"more")
    done(run(place, SCRIPTS / "compare.sh", BEFORE="success", AFTER="success", NUMBER="12"))
    assert (place / "work/report/number").read_text() == "12\n"
    assert report(place)["models"][0]["verdict"] == "same space"
    assert {layer["state"] for layer in report(place)["layers"][0]["layers"]} == {"changed"}
    assert (place / "summary").read_text().startswith(MARKER)
    assert "What changes" in (place / "work/report/report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("before", "after", "missing"),
    [("failure", "success", "before"), ("success", "failure", "after"), ("skipped", "failure", "after")],
)
def test_what_was_not_built_is_told(place: Path, before: str, after: str, missing: str) -> None:
    built(place, "after")
    done(run(place, SCRIPTS / "compare.sh", BEFORE=before, AFTER=after, NUMBER="12"))
    assert report(place) == {"unavailable": missing}
    assert (place / "work/report/report.html").exists() == (after == "success")


def test_without_a_base_the_page_is_about_the_bundle_alone(place: Path) -> None:
    built(place, "after")
    (place / "work/after/bench").mkdir()
    shutil.copy(ROOT / "bench/results.json", place / "work/after/bench")
    done(run(place, SCRIPTS / "compare.sh", BEFORE="failure", AFTER="success", NUMBER="12"))
    text = (place / "work/report/report.html").read_text(encoding="utf-8")
    assert "What changes" not in text
    assert "This run measured no model with an embedding space of this bundle." in text


def test_a_base_from_before_there_were_images_is_no_failure(place: Path) -> None:
    built(place, "after")
    (place / "work/before/bundle").mkdir(parents=True)
    done(run(place, SCRIPTS / "compare.sh", BEFORE="success", AFTER="success", NUMBER="12"))
    assert report(place) == {"unavailable": "before"}


def test_a_damaged_layout_fails_and_leaves_no_document(place: Path) -> None:
    built(place, "before")
    built(place, "after", more=b"more")
    (place / "work/before/image/index.json").unlink()
    assert run(place, SCRIPTS / "compare.sh", BEFORE="success", AFTER="success", NUMBER="12").returncode != 0
    assert not (place / "work/report/report.json").exists()


# --- unpack.sh ---


def archive(place: Path) -> str:
    manifest = make_bundle(place / "made" / "bundle", [invented_model("mini")], default="mini")
    subprocess.run(["tar", "--create", "--file", place / "work/bundle.tar", "-C", place / "made", "bundle"], check=True)
    return hashlib.sha256(manifest.to_bytes()).hexdigest()


def test_the_bundle_that_was_built_is_taken_with_its_modes(place: Path) -> None:
    done(run(place, SCRIPTS / "unpack.sh", EXPECTED=archive(place)))
    assert stat.S_IMODE((place / "work/bundle/manifest.json").stat().st_mode) == 0o444


@pytest.mark.hostile
def test_another_bundle_is_not_taken(place: Path) -> None:
    archive(place)
    finished = run(place, SCRIPTS / "unpack.sh", EXPECTED="0" * 64)
    assert finished.returncode == 1
    assert f"expected the bundle sha256:{'0' * 64}, found sha256:" in finished.stderr


@pytest.mark.hostile
def test_a_bundle_with_a_changed_byte_is_not_taken(place: Path) -> None:
    expected = archive(place)
    make_writable(place / "made")
    path = place / "made/bundle/mini/source/model.safetensors"
    path.write_bytes(b"X" + path.read_bytes()[1:])
    subprocess.run(["tar", "--create", "--file", place / "work/bundle.tar", "-C", place / "made", "bundle"], check=True)
    assert run(place, SCRIPTS / "unpack.sh", EXPECTED=expected).returncode == 1


# --- base_image.sh ---


def building(place: Path, *, answers: bool = True) -> tuple[int, list[str]]:
    """Run it with stand-ins that write down what they are asked; returns the exit code and that."""
    log, ask = place / "log", f'echo "$(basename "$0") $*" >>"{place / "log"}"'
    write_program(place / "bin" / "python", ask)
    write_program(place / "bin" / "docker", f'{ask}\n[ "$1" != run ] || {"true" if answers else "false"}')
    finished = run(place, SCRIPTS / "base_image.sh", ARCHITECTURE="arm64")
    return finished.returncode, log.read_text().splitlines() if log.exists() else []


def test_a_base_is_built_with_the_wheel_of_the_release_and_must_answer(place: Path) -> None:
    (place / "work/dist").mkdir()
    for name in ("thoth_models-1.2.3-py3-none-any.whl", "thoth_models_builder-1.2.3-py3-none-any.whl"):
        (place / "work/dist" / name).touch()
    wheel = "./dist/thoth_models-1.2.3-py3-none-any.whl[onnx]"
    candidate = "thoth-models-candidate:latest"
    calls = [
        f"python docker/load.py bundle --required --requirement {wheel} --to docker:{candidate}",
        f"docker run --rm --network none --read-only --cap-drop ALL {candidate} thoth-models doctor --all",
        "docker tag thoth-models-runtime thoth-models-runtime:arm64",
        "docker save --output runtime-arm64.tar thoth-models-runtime:arm64",
    ]
    assert building(place) == (0, calls)
    (place / "log").unlink()
    assert building(place, answers=False) == (1, calls[:2])


@pytest.mark.parametrize("names", [[], ["thoth_models-1.2.3-py3-none-any.whl", "thoth_models-1.2.4-py3-none-any.whl"]])
def test_a_base_without_one_wheel_of_the_runtime_is_not_built(place: Path, names: list[str]) -> None:
    (place / "work/dist").mkdir()
    for name in names:
        (place / "work/dist" / name).touch()
    assert building(place) == (1, [])


# --- push.sh ---


def test_three_images_are_pushed_under_a_name_that_registries_take(place: Path) -> None:
    log, ask = place / "log", f'echo "$(basename "$0") $*" >>"{place / "log"}"'
    write_program(place / "bin" / "python", f'exec "{sys.executable}" "$@"')
    write_program(place / "bin" / "docker", ask)
    reports = {
        "base": {"digest": "b" * 64, "manifests": [("linux/amd64", "0" * 64), ("linux/arm64/v8", "1" * 64)]},
        "data": {"digest": "d" * 64, "manifests": [("linux/amd64", "2" * 64), ("linux/arm64", "3" * 64)]},
        "modelpack": {"digest": "e" * 64, "manifests": [("", "e" * 64)]},
    }
    for name, report in reports.items():
        manifests = [{"platform": platform, "digest": digest} for platform, digest in report["manifests"]]
        (place / f"{name}.json").write_text(json.dumps({"digest": report["digest"], "manifests": manifests}))
    choose = f"""case "$*" in
        *-data\\ *) cat "{place}/data.json" ;;
        *-modelpack\\ *) cat "{place}/modelpack.json" ;;
        *) cat "{place}/base.json" ;;
    esac"""
    write_program(place / "bin" / "thoth-bundle", f"{ask}\n{choose}")
    (place / "work/.github").symlink_to(ROOT / ".github")
    variables = {
        "IMAGE": "ghcr.io/Acme/Models",
        "TAG": "v1",
        "GITHUB_REPOSITORY": "Acme/Models",
        "GITHUB_SHA": "c" * 40,
    }
    done(run(place, SCRIPTS / "push.sh", **variables))
    labels = (
        "--label org.opencontainers.image.source=https://github.com/Acme/Models "
        f"--label org.opencontainers.image.revision={'c' * 40} --label org.opencontainers.image.version=v1"
    )
    name = "ghcr.io/acme/models"
    bases = "--base docker:thoth-models-runtime:amd64 --base docker:thoth-models-runtime:arm64"
    artifact = "--sbom modelpack.cdx.json --format modelpack"
    assert log.read_text().splitlines() == [
        "docker load --input runtime-amd64.tar",
        "docker load --input runtime-arm64.tar",
        f"thoth-bundle image bundle --to registry:{name}:v1 {labels} --sbom base.cdx.json {bases} --json",
        f"thoth-bundle image bundle --to registry:{name}:v1-data {labels} --sbom data.cdx.json --json",
        f"thoth-bundle image bundle --to registry:{name}:v1-modelpack {labels} {artifact} --json",
    ]
    found = outputs(place)
    expected = {
        "base": "b" * 64,
        "base-amd64": "0" * 64,
        "base-arm64": "1" * 64,
        "data": "d" * 64,
        "data-amd64": "2" * 64,
        "data-arm64": "3" * 64,
        "modelpack": "e" * 64,
    }
    assert found["name"] == name
    assert found["base"] == f"sha256:{'b' * 64}"
    assert {image["name"]: image["digest"] for image in json.loads(found["images"])} == {
        image: f"sha256:{digest}" for image, digest in expected.items()
    }
    assert {image["name"]: image["sbom"] for image in json.loads(found["images"])} == {
        image: f"{image.partition('-')[0]}.cdx.json" for image in expected
    }
    assert found["digests"].split() == [f"sha256:{digest}" for digest in expected.values()]


def test_what_is_pushed_has_the_digests_of_the_report(place: Path) -> None:
    """The reports above are made by hand; this one is real."""
    make_bundle(place / "work/bundle", [invented_model("mini")], default="mini")
    report = done(run(place, "thoth-bundle image bundle --to oci:layout --json"))
    (place / "work/data.json").write_text(report)
    printed = done(run(place, f'"{sys.executable}" "{SCRIPTS / "digests.py"}" data.json'))
    images = json.loads(dict(line.split("=", 1) for line in printed.splitlines())["images"])
    assert [image["name"] for image in images] == ["data", "data-amd64", "data-arm64"]
    (entry,) = json.loads((place / "work/layout/index.json").read_text())["manifests"]
    index = json.loads((place / "work/layout/blobs/sha256" / entry["digest"][7:]).read_text())
    assert [image["digest"] for image in images] == [entry["digest"], *(one["digest"] for one in index["manifests"])]


# --- sign.sh ---


def signing(place: Path, *, digests: list[str] = DIGESTS, fail: str = "") -> tuple[int, list[str]]:
    log = place / "log"
    write_program(place / "bin" / "cosign", f'echo "$*" >>"{log}"; [ "$1" != "$FAIL" ]')
    environment = {"NAME": "ghcr.io/acme/models", "DIGESTS": " ".join(digests), "FAIL": fail}
    finished = run(place, SCRIPTS / "sign.sh", **environment)
    return finished.returncode, log.read_text().splitlines() if log.exists() else []


def test_every_image_is_signed_by_digest_and_the_signature_checked(place: Path) -> None:
    code, calls = signing(place)
    assert code == 0
    identity = "https://github.com/acme/models/.github/workflows/release.yml@refs/tags/v1"
    issuer = "https://token.actions.githubusercontent.com"
    expected = []
    for digest in DIGESTS:
        image = f"ghcr.io/acme/models@{digest}"
        check = f"verify --certificate-oidc-issuer {issuer} --certificate-identity {identity} {image}"
        expected += [f"sign --yes {image}", check]
    assert calls == expected


@pytest.mark.hostile
@pytest.mark.parametrize("wrong", ["", "latest", "sha256:12", f"sha256:{'A' * 64}", f"sha256:{'a' * 64} --key x"])
def test_nothing_is_signed_where_one_has_not_the_form_of_a_digest(place: Path, wrong: str) -> None:
    assert signing(place, digests=[*DIGESTS[:-1], wrong]) == (1, [])


@pytest.mark.parametrize("step", ["sign", "verify"])
def test_a_signature_that_fails_fails_the_job(place: Path, step: str) -> None:
    assert signing(place, fail=step)[0] != 0


# --- the gate ---


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ("success success", 0),
        ("success failure", 1),
        ("failure success", 1),
        ("success skipped", 1),
        ("cancelled success", 1),
    ],
)
def test_the_gate_opens_only_where_every_job_succeeded(place: Path, results: str, code: int) -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    (step,) = workflow["jobs"]["gate"]["steps"]
    assert run(place, step["run"], RESULTS=results).returncode == code


# --- action_build.sh ---


class Project:
    """What a repository that uses the action has: a list with a model in a directory, and a lock."""

    def __init__(self, place: Path) -> None:
        self.place = place
        environment = place / "temp/thoth-models/environment/bin/thoth-bundle"
        write_program(environment, (place / "bin/thoth-bundle").read_text().splitlines()[1])

    def build(self, **inputs: str) -> subprocess.CompletedProcess[str]:
        defaults = {"FILE": "models.yaml", "LOCK": "", "OUTPUT": "bundle", "STRICT": "true"}
        optional = {"IMAGE": "", "BASE": "", "SBOM": ""}
        return run(self.place, SCRIPTS / "action_build.sh", **{**defaults, **optional, **inputs})


@pytest.fixture
def project(place: Path) -> Project:
    # A stand-in for the build alone, which needs torch; what is done with its bundle is real.
    make_bundle(place / "made", [invented_model("mini")], default="mini")
    found = Project(place)
    program = place / "temp/thoth-models/environment/bin/thoth-bundle"
    real = (place / "bin/thoth-bundle").read_text().splitlines()[1]
    log = place / "log"
    copy = f'echo "$* store=$THOTH_STORE" >>"{log}"; cp -r "{place / "made"}" bundle; exit 0'
    write_program(program.with_name("python"), f'exec "{sys.executable}" "$@"')
    write_program(program, f'if [ "$1" = build ]; then {copy}; fi\n{real}')
    return found


def build_calls(project: Project) -> list[str]:
    return (project.place / "log").read_text().splitlines()


def test_a_bundle_and_its_digests(project: Project) -> None:
    done(project.build())
    store = f"store={project.place / 'temp/thoth-models/store'}"
    assert build_calls(project) == [f"build --file models.yaml --output bundle --strict {store}"]
    manifest = project.place / "made/manifest.json"
    assert outputs(project.place) == {
        "command": str(project.place / "temp/thoth-models/environment/bin/thoth-bundle"),
        "bundle": "bundle",
        "bundle-digest": hashlib.sha256(manifest.read_bytes()).hexdigest(),
        "set-digest": hashlib.sha256((project.place / "made/SHA256SUMS").read_bytes()).hexdigest(),
    }


def test_a_lock_elsewhere_and_less_strictly(project: Project) -> None:
    done(project.build(FILE="a list.yaml", LOCK="locks/a lock", STRICT="false"))
    (call,) = build_calls(project)
    assert call.startswith("build --file a list.yaml --output bundle --lock locks/a lock store=")


def test_a_strictness_that_is_none_is_refused_before_anything_is_built(project: Project) -> None:
    finished = project.build(STRICT="yes")
    assert finished.returncode == 2
    assert "::error::strict: expected true or false, found 'yes'" in finished.stdout
    assert not (project.place / "log").exists()


def test_images_and_the_bill_of_materials(project: Project) -> None:
    done(project.build(IMAGE="oci:first\n\noci:second\n", SBOM="sbom.json"))
    work = project.place / "work"
    digests = {
        f"sha256:{json.loads((work / name / 'index.json').read_text())['manifests'][0]['digest'][7:]}"
        for name in ("first", "second")
    }
    assert digests == {outputs(project.place)["image-digest"]}
    assert json.loads((work / "sbom.json").read_text())["bomFormat"] == "CycloneDX"


def test_a_base_is_what_the_layers_are_put_on(project: Project) -> None:
    write_image(project.place / "work/base")
    done(project.build(IMAGE="oci:first", BASE="oci:base"))
    blobs = {path.name for path in (project.place / "work/first/blobs/sha256").iterdir()}
    manifest = json.loads((project.place / "work/base/index.json").read_text())["manifests"][0]["digest"][7:]
    layers = json.loads((project.place / "work/base/blobs/sha256" / manifest).read_text())["layers"]
    assert {layer["digest"][7:] for layer in layers} <= blobs


def test_a_base_without_an_image_is_a_mistake(project: Project) -> None:
    finished = project.build(BASE="oci:base")
    assert finished.returncode == 2
    assert "::error::base:" in finished.stdout


def test_a_build_that_fails_gives_no_outputs(project: Project) -> None:
    write_program(project.place / "temp/thoth-models/environment/bin/thoth-bundle", "exit 3")
    assert project.build().returncode == 3
    assert not (project.place / "output").exists()

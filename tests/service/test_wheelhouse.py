"""The wheels of an image: what is gathered, and that nothing is where that fails."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.projects import write_wheel

SCRIPT = Path(__file__).parents[2] / "docker/wheelhouse.py"


def script() -> Any:
    """The script as a module."""
    specification = importlib.util.spec_from_file_location("wheelhouse_of_docker", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # dataclasses look themselves up there
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """A directory that pip takes wheels from."""
    directory = tmp_path / "index"
    write_wheel(directory, "some-library", "1.0", "some_library", {"data": b"1"})
    write_wheel(directory, "some-library", "2.0", "some_library", {"data": b"2"})
    return directory


@pytest.fixture
def constraints(tmp_path: Path) -> Path:
    path = tmp_path / "constraints.txt"
    path.write_text("some-library==1.0\n", encoding="utf-8")
    return path


def run(*arguments: str | Path, index: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments],
        env={**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index), "PIP_CONFIG_FILE": os.devnull},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_wheels_and_their_digests_are_gathered(tmp_path: Path, index: Path, constraints: Path) -> None:
    target = tmp_path / "wheelhouse"
    listed = tmp_path / "requirements.in"
    listed.write_text("# what it needs\n\nsome-library  # of the constrained version\n", encoding="utf-8")
    result = run("--to", target, "--constraints", constraints, "--file", listed, index=index)
    assert result.returncode == 0, result.stderr
    wheel = target / "some_library-1.0-py3-none-any.whl"
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    text = (target / "requirements.txt").read_text(encoding="utf-8")
    assert text == f"# --python 3.13 --glibc 36 --machine x86_64\nsome-library==1.0 --hash=sha256:{digest}\n"
    assert sorted(path.name for path in target.iterdir()) == ["requirements.txt", wheel.name]


def test_a_wheel_that_was_built_before_is_taken_as_it_is(tmp_path: Path, index: Path, constraints: Path) -> None:
    """A release builds its wheels once; the images have the same bytes as the package index."""
    write_wheel(tmp_path / "dist", "ours", "3.0", "ours", {"data": b"3"})
    (built,) = (tmp_path / "dist").iterdir()
    target = tmp_path / "wheelhouse"
    result = run("--to", target, "--constraints", constraints, f"{built}[extra]", index=index)
    assert result.returncode == 0, result.stderr
    assert (target / built.name).read_bytes() == built.read_bytes()
    digest = hashlib.sha256(built.read_bytes()).hexdigest()
    _made_for, *lines = (target / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert lines == [f"ours==3.0 --hash=sha256:{digest}"]


def test_what_was_there_is_replaced_as_a_whole(tmp_path: Path, index: Path, constraints: Path) -> None:
    target = tmp_path / "wheelhouse"
    target.mkdir()
    (target / "old-1.0-py3-none-any.whl").write_bytes(b"")
    assert run("--to", target, "--constraints", constraints, "some-library", index=index).returncode == 0
    assert not (target / "old-1.0-py3-none-any.whl").exists()


def test_a_wheel_that_is_not_there_leaves_everything_as_it_was(tmp_path: Path, index: Path, constraints: Path) -> None:
    target = tmp_path / "wheelhouse"
    target.mkdir()
    (target / "old").touch()
    result = run("--to", target, "--constraints", constraints, "other-library", index=index)
    assert result.returncode == 1
    assert "other-library" in result.stderr
    assert "wheelhouse: pip download ended with 1" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["constraints.txt", "index", "wheelhouse"]
    assert (target / "old").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["./nowhere[onnx]"], "./nowhere[onnx]: expected a wheel, or a directory with a pyproject.toml"),
        (["--file", "nowhere.in"], "nowhere.in: expected a file of requirements"),
        ([], "expected requirements, found none"),
    ],
)
def test_bad_usage_is_told(tmp_path: Path, index: Path, constraints: Path, arguments: list[str], message: str) -> None:
    result = run("--to", tmp_path / "wheelhouse", "--constraints", constraints, *arguments, index=index)
    assert result.returncode != 0
    assert message in result.stderr
    assert not (tmp_path / "wheelhouse").exists()


def test_platforms_are_those_that_the_glibc_of_the_image_runs() -> None:
    module = script()
    image = module.Image(python="3.13", glibc=17, machine="aarch64")
    assert module.platforms_of(image)[:4] == [
        "manylinux_2_17_aarch64",
        "manylinux2014_aarch64",
        "manylinux_2_16_aarch64",
        "manylinux_2_15_aarch64",
    ]
    assert "manylinux_2_28_x86_64" in module.platforms_of(module.Image(python="3.13", glibc=36, machine="x86_64"))

"""``thoth-models doctor --quick``: what a health check asks every few seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bundles import flip_bit, golden_of, invented_model, make_bundle, make_writable, opened, proved
from thoth_models import ModelUnavailableError, UnknownModelError
from thoth_models.cli import doctor
from thoth_models.cli.doctor import check_quickly
from thoth_models.cli.main import main
from thoth_models.process.environment import bundle_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WEIGHTS = "mini/source/model.safetensors"


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A model of two variants with golden vectors, and one of another space that may stand in."""
    plan = proved(
        invented_model("mini", variants=("torch-fp32", "onnx-fp32"), alternates=(("other", "accept"),)),
        golden_of(["first"]),
    )
    make_bundle(tmp_path / "bundle", [plan, invented_model("other")], default="mini")
    yield tmp_path / "bundle"
    make_writable(tmp_path)


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Which libraries are installed; a test takes some away."""
    names = {"onnxruntime", "tokenizers", "torch", "sentence_transformers"}
    monkeypatch.setattr(doctor, "find_spec", lambda name: ModuleSpec(name, None) if name in names else None)
    return names


def test_all_is_well(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--quick", "--root", str(root)]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("ok: mini/torch-fp32 can answer: 5 files, ")
    assert captured.out.count("\n") == 1
    assert captured.err == ""
    assert main(["doctor", "--quick", "--root", str(root), "--json", "--variant", "onnx-fp32"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["ok"], document["variant"], document["files"]) == (True, "onnx-fp32", 5)
    assert [f"{attempt['model']}/{attempt['variant']}" for attempt in document["passed_over"]] == [
        "mini/torch-fp32",
        "other/torch-fp32",
    ]


def test_without_a_default_every_model_has_to_be_able_to_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "bundle"
    make_bundle(root, [invented_model("mini"), invented_model("other")])
    assert main(["doctor", "--quick", "--root", str(root)]) == 0
    assert [line.split(" can ")[0] for line in capsys.readouterr().out.splitlines()] == [
        "ok: mini/torch-fp32",
        "ok: other/torch-fp32",
    ]
    assert main(["doctor", "--quick", "--root", str(root), "--json"]) == 0
    assert [model["model"] for model in json.loads(capsys.readouterr().out)["models"]] == ["mini", "other"]
    with opened(root):
        (root / "other/source/model.safetensors").unlink()
    assert main(["doctor", "--quick", "--root", str(root)]) == 1
    assert "other" in capsys.readouterr().err
    make_writable(tmp_path)


def remove(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def link(path: Path) -> None:
    path.rename(path.with_name("kept"))
    path.symlink_to("kept")


def add(path: Path) -> None:
    path.with_name("extra.json").write_bytes(b"{}")


@pytest.mark.parametrize("damage", [remove, cut, link, add])
def test_a_variant_that_cannot_answer_is_passed_over(
    root: Path, damage: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with opened(root):
        damage(root / WEIGHTS)
    assert main(["doctor", "--quick", "--root", str(root)]) == 0
    line = capsys.readouterr().out
    assert line.startswith("ok: mini/onnx-fp32 can answer")
    assert "passed over: mini/torch-fp32: mini/source/" in line
    assert line.count("\n") == 1
    with opened(root):
        damage(root / "mini/onnx-fp32/model.safetensors")
    assert check_quickly(bundle_place(root)).model == "other"
    with pytest.raises(ModelUnavailableError, match="mini/source/"):
        check_quickly(bundle_place(root), same_space=True)
    with opened(root):
        damage(root / "other/source/model.safetensors")
    assert main(["doctor", "--quick", "--root", str(root)]) == 1
    assert "no variant of 'mini' could be loaded" in capsys.readouterr().err


def test_golden_vectors_that_are_missing(root: Path) -> None:
    with opened(root):
        (root / "mini/golden.json").unlink()
    check = check_quickly(bundle_place(root))
    assert check.model == "other"
    assert "mini/golden.json: missing" in str(check)


def test_libraries_that_are_missing(root: Path, installed: set[str]) -> None:
    installed.remove("sentence_transformers")
    # The invented variants are all of the torch backend, whatever they are called.
    with pytest.raises(ModelUnavailableError, match="mini/torch-fp32: sentence_transformers is not installed"):
        check_quickly(bundle_place(root))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "manifest.json").unlink(), "expected manifest.json in the bundle"),
        (lambda root: (root / "SHA256SUMS").unlink(), "SHA256SUMS: missing"),
        (lambda root: (root / "manifest.json").write_bytes(b"{}"), "manifest.json"),
    ],
)
def test_a_bundle_that_is_none_is_unhealthy_and_nothing_else(
    root: Path, damage: Callable[[Path], Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Docker reserves exit code 2, and knows no 4."""
    with opened(root):
        damage(root)
    assert main(["doctor", "--quick", "--root", str(root)]) == 1
    assert message in capsys.readouterr().err


def test_a_wrong_name_or_number_of_threads(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UnknownModelError):
        check_quickly(bundle_place(root), "nobody")
    assert main(["doctor", "--quick", "--root", str(root), "--model", "nobody"]) == 1
    monkeypatch.setenv("THOTH_MODELS_THREADS", "many")
    assert main(["doctor", "--quick", "--root", str(root), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"] == "EnvironmentFault"


def test_quick_and_all_exclude_each_other(root: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["doctor", "--quick", "--all", "--root", str(root)])
    assert caught.value.code == 2


def test_content_is_not_read(root: Path) -> None:
    """So that it costs the same whatever the models weigh. Loading compares every byte, and `doctor` alone does too."""
    flip_bit(root, WEIGHTS)
    assert check_quickly(bundle_place(root)).variant == "torch-fp32"


_MODULES = """
import re, sys
from thoth_models.cli.main import main
code = main(["doctor", "--quick", "--root", sys.argv[1]])
heavy = {"numpy", "onnxruntime", "tokenizers", "torch", "sentence_transformers", "transformers"} & set(sys.modules)
most = int(re.search(r"VmHWM:\\s*([0-9]+) kB", open("/proc/self/status").read())[1])
print(code, sorted(heavy), most < 60_000)
"""


@pytest.mark.torch
def test_nothing_heavy_is_imported(root: Path, run_python: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    started = time.monotonic()
    done = run_python("-c", _MODULES, str(root))
    assert done.stdout.splitlines()[-1] == "0 [] True", done.stderr
    # Seconds on a busy machine; a tenth of one on an idle one.
    assert time.monotonic() - started < 5


@pytest.mark.torch
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_any_user_may_ask_and_nothing_is_written() -> None:
    import thoth_models

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-B", *arguments],
            env={"PYTHONPATH": str(Path(thoth_models.__file__).parents[1]), "HOME": "/nonexistent"},
            user=12345,
            group=12345,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    try:
        closed = run("-c", "import thoth_models").returncode != 0
    except PermissionError:
        closed = True
    if closed:
        pytest.skip("this checkout or its interpreter is closed to other users")
    # pytest's own directories are.
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        root = Path(directory) / "bundle"
        make_bundle(root, [invented_model("mini")], default="mini")
        before = sorted(root.rglob("*"))
        done = run("-m", "thoth_models", "doctor", "--quick", "--root", str(root))
        assert done.returncode == 0, done.stderr
        assert sorted(root.rglob("*")) == before
        (root / WEIGHTS).chmod(0o400)
        done = run("-m", "thoth_models", "doctor", "--quick", "--root", str(root))
        assert (done.returncode, "unreadable" in done.stderr) == (1, True), done.stderr
        make_writable(root)

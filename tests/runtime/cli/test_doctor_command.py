"""``thoth-models doctor``: what it prints, for one model and for all, and when it fails."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import onnx_models
from tests.support.bundles import (
    golden_of,
    invented_model,
    make_bundle,
    make_writable,
    proved,
)
from thoth_models.cli.main import main

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

Capture = pytest.CaptureFixture[str]


def report(capsys: Capture) -> Any:
    return json.loads(capsys.readouterr().out)


@pytest.mark.usefixtures("fake_backends")
def test_it_says_what_it_finds(capsys: Capture) -> None:
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    for part in (
        "python: ",
        "libraries:\n  thoth-models: ",
        "offline_before_loading:",
        "verified: 14 files",
        "answer: 8",
    ):
        assert part in text
    assert "attempts: none" in text
    assert main(["doctor", "--json", "--model", "other"]) == 0
    found = report(capsys)
    assert found["ok"] is True
    assert found["info"]["model"] == "other"
    assert found["offline_after_loading"]["HF_HUB_OFFLINE"] == "1"
    assert found["models"] == ["mini", "other"]
    assert found["answer"] == "8 dimensions, length 1.000000"


@pytest.mark.usefixtures("fake_backends")
def test_it_tells_what_it_found_out_before_it_failed(capsys: Capture) -> None:
    assert main(["doctor", "--root", "/nothing/here"]) == 4
    captured = capsys.readouterr()
    assert "root: /nothing/here" in captured.out
    assert "expected a bundle directory" in captured.err


@pytest.mark.usefixtures("fake_backends")
def test_it_shows_attempts(capsys: Capture) -> None:
    assert main(["doctor", "--variant", "onnx-fp32"]) == 0
    assert "  attempts:\n    mini/torch-fp32: not among the variants" in capsys.readouterr().out


@pytest.fixture
def absent(tmp_path: Path) -> Iterator[Path]:
    """A bundle whose default is absent, and stood in for; a model without any doubt; no stand-in for a third one."""
    root = tmp_path / "absent"
    gone = invented_model("gone", variants=(), alternates=(("mini", "accept"),))
    mini = proved(invented_model("mini", variants=("onnx-fp32", "torch-fp32")), golden_of(["a", "b"]))
    make_bundle(root, [gone, mini, invented_model("other")], default="gone")
    yield root
    make_writable(root)


@pytest.mark.usefixtures("fake_backends")
@pytest.mark.filterwarnings("default")  # as in a process of its own, where a warning does not raise
def test_a_fallback_is_told_once_and_can_be_refused(capsys: Capture, absent: Path) -> None:
    arguments = ["doctor", "--root", str(absent), "--model", "gone"]
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert captured.out.count("stands in for 'gone'") == 1
    assert captured.out.count("no source delivered it") == 1
    assert captured.err == ""
    assert "gone (absent)" in captured.out
    assert main([*arguments, "--same-space"]) == 2
    assert "no model of the embedding space of 'gone' can answer" in capsys.readouterr().err


@pytest.mark.usefixtures("fake_backends")
def test_all_checks_every_model_and_says_who_stands_in(capsys: Capture, absent: Path) -> None:
    arguments = ["doctor", "--all", "--root", str(absent)]
    assert main([*arguments, "--json"]) == 0
    found = report(capsys)
    assert found["ok"] is True
    assert [(check["model"], check["variant"], check["state"]) for check in found["golden"]] == [
        ("gone", None, "absent"),
        ("mini", "onnx-fp32", "right"),
        ("mini", "torch-fp32", "right"),
        ("other", "torch-fp32", "unproved"),
    ]
    assert found["info"]["model"] == "mini"
    assert main(arguments) == 0
    stands_in = "no source delivered it; mini stands in, with vectors of another embedding space"
    assert f"  gone: absent: {stands_in}\n" in capsys.readouterr().out
    assert main([*arguments, "--model", "gone"]) == 0
    assert f"golden: gone: absent: {stands_in}\n" in capsys.readouterr().out


@pytest.mark.usefixtures("fake_backends")
def test_strict_refuses_an_absent_model(capsys: Capture, absent: Path) -> None:
    arguments = ["doctor", "--all", "--strict", "--root", str(absent)]
    assert main(arguments) == 4
    assert "expected every model in the bundle, found gone absent" in capsys.readouterr().err
    assert main([*arguments, "--json"]) == 4
    assert report(capsys)["ok"] is False
    assert main([*arguments, "--model", "mini"]) == 0
    assert main(["doctor", "--strict", "--root", str(absent)]) == 2
    assert "--strict: expected --all" in capsys.readouterr().err


@pytest.mark.usefixtures("fake_backends")
def test_an_absent_model_without_a_stand_in_is_wrong(capsys: Capture, tmp_path: Path) -> None:
    root = tmp_path / "alone"
    # Its alternate has another dimension, so that a service which asks for it gets nothing.
    gone = invented_model("gone", variants=(), alternates=(("mini", "accept"),))
    make_bundle(root, [replace(gone, dimension=gone.dimension + 1), invented_model("mini")])
    assert main(["doctor", "--all", "--root", str(root)]) == 4
    printed = capsys.readouterr()
    assert "gone: wrong: it is absent, and no model stands in" in printed.out
    assert "expected a model to stand in, found none for gone\nhint: build the bundle again" in printed.err
    assert "does not give the golden vectors" not in printed.err
    make_writable(root)


@pytest.mark.usefixtures("fake_backends")
def test_all_needs_no_default(capsys: Capture, tmp_path: Path) -> None:
    root = tmp_path / "several"
    make_bundle(root, [invented_model("one"), invented_model("two")])
    assert main(["doctor", "--all", "--root", str(root), "--json"]) == 0
    found = report(capsys)
    assert [check["model"] for check in found["golden"]] == ["one", "two"]
    assert "info" not in found
    make_writable(root)


_NO_THREAD = """
import sys
import onnxruntime

def refuse(*_):
    raise RuntimeError("Resource temporarily unavailable")  # as where no thread can be started

onnxruntime.InferenceSession._create_inference_session = refuse
from thoth_models.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.onnx
@pytest.mark.parametrize("arguments", [["doctor", "--all", "--json"], ["doctor", "--json"], ["embed", "--text", "a"]])
def test_nothing_but_results_is_printed_where_onnxruntime_makes_no_session(
    run_python: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, arguments: list[str]
) -> None:
    """Left to itself, it prints that it tries once more, on standard output."""
    make_bundle(tmp_path / "bundle", [onnx_models.plan(onnx_models.variant_files(tmp_path))], default="mini")
    environment = {"ORT_DISABLE_TELEMETRY": "1"}
    done = run_python("-c", _NO_THREAD, *arguments, "--root", str(tmp_path / "bundle"), environment=environment)
    assert done.returncode == 4, done.stderr
    assert "EP Error" not in done.stdout + done.stderr
    if "--json" in arguments:
        assert json.loads(done.stdout)["ok"] is False
    else:
        assert done.stdout == ""
        assert "Resource temporarily unavailable" in done.stderr
    make_writable(tmp_path / "bundle")


@pytest.mark.onnx
def test_nothing_is_said_twice_on_standard_error(
    run_python: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """Events are for the logs of services; Python prints those that have no handler."""
    gone = replace(
        invented_model("gone", variants=(), alternates=(("mini", "accept"),)), dimension=onnx_models.DIMENSION
    )
    mini = onnx_models.plan(onnx_models.variant_files(tmp_path))
    make_bundle(tmp_path / "bundle", [gone, mini], default="gone")
    environment = {"THOTH_MODELS_DIR": str(tmp_path / "bundle"), "ORT_DISABLE_TELEMETRY": "1"}
    done = run_python("-m", "thoth_models", "doctor", environment=environment)
    assert (done.returncode, done.stderr) == (0, "")
    done = run_python("-m", "thoth_models", "embed", "--text", "a", environment=environment)
    assert done.returncode == 0
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["warning"]
    make_writable(tmp_path / "bundle")

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.support.bundles import FakeBackend, flip_bit, invented_model, make_bundle, opened, put_backend
from thoth_models.cli import main as cli
from thoth_models.cli.main import main

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from thoth_models.verification.verify import VerifiedVariant

WEIGHTS = "mini/source/model.safetensors"
Capture = pytest.CaptureFixture[str]


pytestmark = pytest.mark.usefixtures("fake_backends")


def report(capsys: Capture) -> Any:
    captured = capsys.readouterr()
    return json.loads(captured.out)


def give_input(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def expected(*texts: str) -> Any:
    vectors = np.stack([FakeBackend().vector(text) for text in texts])
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


# --- exit codes: 0 done, 1 verification failed, 2 bad usage, 4 anything else ---


@pytest.mark.parametrize(
    "arguments",
    [[], ["nothing"], ["verify", "--nothing"], ["embed", "--input-format", "xml"], ["embed", "--timeout", "x"]],
)
def test_bad_usage(capsys: Capture, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: thoth-models" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["embed", "--help"]])
def test_help_and_version(capsys: Capture, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 0
    assert "thoth-models" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["doctor", "--model", "mimi"], 2, "UnknownModelError"),
        (["doctor", "--variant", "int8"], 2, "InvalidInputError"),
        (["doctor", "--timeout", "0"], 2, "InvalidInputError"),
        (["doctor", "--timeout", "nan"], 2, "InvalidInputError"),
        (["embed", "--output", "vectors.txt"], 2, "InvalidInputError"),
        (["embed", "--batch-size", "0"], 2, "InvalidInputError"),
        (["embed", "--truncate-dim", "9"], 2, "InvalidInputError"),
        (["embed", "--prompt-name", "nope"], 2, "UnknownPromptError"),
        (["verify", "--root", "/nothing/here"], 4, "BundleNotFoundError"),
        (["list", "--root", "/nothing/here"], 4, "BundleNotFoundError"),
        (["embed", "/nothing/here.txt"], 4, "FileNotFoundError"),
        (["embed", "--output", "/nothing/here.npy"], 4, "FileNotFoundError"),
    ],
)
def test_failures(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, error: str
) -> None:
    give_input(monkeypatch, b"text\n")
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert "thoth-models: " in captured.err
    assert "Traceback" not in captured.err
    give_input(monkeypatch, b"text\n")
    assert main([*arguments, "--json"]) == code
    found = report(capsys)
    assert (found["ok"], found["error"], found["problems"]) == (False, error, [])
    assert found["message"] in captured.err


def test_a_hint_where_there_is_no_bundle(capsys: Capture) -> None:
    assert main(["verify", "--root", "/nothing/here"]) == 4
    assert "hint: build one with `thoth-bundle build`, or set --root or THOTH_MODELS_DIR" in capsys.readouterr().err


def test_a_bug_does_not_look_like_a_failed_verification(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_: VerifiedVariant) -> FakeBackend:
        raise ZeroDivisionError("a bug")

    put_backend(monkeypatch, load)
    assert main(["doctor", "--json"]) == 4
    captured = capsys.readouterr()
    assert json.loads(captured.out)["error"] == "ZeroDivisionError"
    assert "Traceback" in captured.err


def test_an_interruption(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "list_models", interrupt)
    assert main(["list"]) == 4
    assert capsys.readouterr().err == "interrupted\n"


# --- verify ---


def test_verify(capsys: Capture, bundle: Path) -> None:
    assert main(["verify"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{bundle}: 14 files, ")
    assert [line.rsplit(maxsplit=1)[0] for line in lines[1:]] == ["bundle digest", "set digest"]
    assert main(["verify", "--strict", "--json"]) == 0
    found = report(capsys)
    assert found.keys() == {
        *("ok", "root", "bundle_digest", "set_digest", "release", "signed_by", "files", "bytes", "warnings", "seconds"),
    }
    assert (found["ok"], found["files"], found["warnings"], found["signed_by"]) == (True, 14, [], None)


def test_verify_of_a_damaged_bundle(capsys: Capture, bundle: Path) -> None:
    flip_bit(bundle, WEIGHTS)
    with opened(bundle):
        (bundle / "extra").mkdir()
    assert main(["verify"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "verification failed, 2 problems" in captured.err
    assert f"{WEIGHTS}: changed: expected sha256" in captured.err
    assert captured.err.splitlines()[-1].startswith("hint: build the bundle again")
    assert main(["verify", "--json"]) == 1
    found = report(capsys)
    assert (found["ok"], found["error"]) == (False, "VerificationError")
    assert [(problem["kind"], problem["path"]) for problem in found["problems"]] == [
        ("extra", "extra"), ("changed", WEIGHTS),
    ]  # fmt: skip
    assert main(["doctor"]) == 1
    assert main(["list"]) == 0


def test_verify_strict(capsys: Capture, bundle: Path) -> None:
    (bundle / "mini").chmod(0o777)
    assert main(["verify"]) == 0
    assert "warning: mini: writable: expected no write permission for group and others" in capsys.readouterr().err
    assert main(["verify", "--json"]) == 0
    assert [warning["path"] for warning in report(capsys)["warnings"]] == ["mini"]
    assert main(["verify", "--strict"]) == 1
    assert "mini: writable" in capsys.readouterr().err


def test_a_malformed_manifest(capsys: Capture, bundle: Path) -> None:
    with opened(bundle):
        (bundle / "manifest.json").write_bytes(b"{}\n")
    for command in ("verify", "list", "doctor"):
        assert main([command]) == 1
        captured = capsys.readouterr()
        assert "manifest.json" in captured.err
        assert captured.err.splitlines()[-1].startswith("hint: build the bundle again")


# --- list ---


def test_list(capsys: Capture, tmp_path: Path) -> None:
    root = tmp_path / "listed"
    models = [
        invented_model("mini", aliases=("legacy", "small")),
        invented_model("gone", variants=(), alternates=(("mini", "accept"),)),
        invented_model("lost", variants=()),
        invented_model("raw", normalize=False, variants=("onnx-fp32", "torch-fp32")),
    ]
    models[0] = type(models[0])(**{**models[0].__dict__, "license": None, "revision": None})
    make_bundle(root, models, default="mini")
    assert main(["list", "--root", str(root)]) == 0
    text = capsys.readouterr().out
    for line in (
        "mini (default)", "  aliases     legacy, small", "  origin      hub:tests/mini", "  licence     not stated",
        "  vectors     8 dimensions, unit length", "  input       16 tokens", "  variants    torch-fp32",
        "  absent      no source delivered it at build time; standing in: mini",
        "  absent      no source delivered it at build time; standing in: nothing",
        "  vectors     8 dimensions, not normalised", "  variants    onnx-fp32, torch-fp32",
        "  origin      hub:tests/raw@1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
    ):  # fmt: skip
        assert line in text.splitlines()
    assert main(["list", "--root", str(root), "--json"]) == 0
    found = report(capsys)
    rows = {row["name"]: row for row in found["models"]}
    assert sorted(rows) == ["gone", "lost", "mini", "raw"]
    assert rows["gone"] == {
        "name": "gone", "default": False, "aliases": [], "alternates": ["mini"], "dimension": 8, "absent": True,
    }  # fmt: skip
    assert (rows["raw"]["normalize"], rows["mini"]["default"]) == (False, True)


# --- embed ---


def test_embed_from_standard_input_to_standard_output(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    give_input(monkeypatch, "alpha\nbêta\n".encode())
    assert main(["embed"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["index"] for row in rows] == [0, 1]
    assert np.allclose([row["embedding"] for row in rows], expected("alpha", "bêta"))


def test_embed_of_texts_on_the_command_line(capsys: Capture) -> None:
    assert main(["embed", "--text", "alpha", "--text", "bêta"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert np.allclose([row["embedding"] for row in rows], expected("alpha", "bêta"))
    assert main(["embed", "--text", "alpha", "file.txt"]) == 2
    assert "expected texts by --text or a file of them, found both: 'file.txt'" in capsys.readouterr().err


def test_vectors_do_not_take_the_place_of_their_texts(tmp_path: Path, capsys: Capture) -> None:
    texts = tmp_path / "texts.jsonl"
    texts.write_bytes(b'"water"\n')
    (tmp_path / "out.jsonl").symlink_to(texts)
    for output in (texts, tmp_path / "out.jsonl"):
        assert main(["embed", str(texts), "--output", str(output)]) == 2
        assert "--output: expected another file than that of the texts, found " in capsys.readouterr().err
    assert texts.read_bytes() == b'"water"\n'


def test_embed_of_nothing_says_so(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose standard input nobody attached."""
    give_input(monkeypatch, b"")
    assert main(["embed"]) == 0
    found = capsys.readouterr()
    assert found.out == ""
    assert "`docker run` needs -i" in found.err


def test_embed_to_npy(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b'"alpha"\n{"text":"beta"}\n')
    output = tmp_path / "out.npy"
    assert main(["embed", str(tmp_path / "in.jsonl"), "--output", str(output)]) == 0
    assert capsys.readouterr().out == f"{output}: 2 vectors of mini/torch-fp32\n"
    vectors = np.load(output)
    assert vectors.dtype == np.float32
    assert np.allclose(vectors, expected("alpha", "beta"))


def test_embed_to_jsonl_with_options(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"alpha\nbeta\n" * 600)
    output = tmp_path / "out.jsonl"
    arguments = ["embed", str(tmp_path / "in"), "--output", str(output), "--json"]
    assert main([*arguments, "--no-normalize", "--truncate-dim", "3", "--model", "other", "--batch-size", "5"]) == 0
    found = report(capsys)
    assert (found["ok"], found["output"], found["texts"], found["info"]["model"]) == (True, str(output), 1200, "other")
    rows = [json.loads(line) for line in output.read_bytes().splitlines()]
    assert [row["index"] for row in rows] == list(range(1200))
    assert rows[1199]["embedding"] == FakeBackend().vector("beta")[:3].tolist()


def test_embed_of_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give_input(monkeypatch, b"")
    assert main(["embed", "--output", str(tmp_path / "out.npy"), "--truncate-dim", "3"]) == 0
    assert np.load(tmp_path / "out.npy").shape == (0, 3)


@pytest.mark.parametrize("ending", ["npy", "jsonl"])
def test_embed_names_a_bad_line_and_leaves_what_was_there(capsys: Capture, tmp_path: Path, ending: str) -> None:
    (tmp_path / "in.jsonl").write_bytes(b'"alpha"\n{"txt":"beta"}\n')
    output = tmp_path / f"out.{ending}"
    output.write_bytes(b"before")
    assert main(["embed", str(tmp_path / "in.jsonl"), "--output", str(output)]) == 2
    assert "in.jsonl, line 2: expected a string, or an object with a string" in capsys.readouterr().err
    assert output.read_bytes() == b"before"
    (tmp_path / "in.jsonl").write_bytes(b'"\\ud800"\n')
    assert main(["embed", str(tmp_path / "in.jsonl"), "--output", str(output)]) == 2
    assert "expected Unicode text, found a lone surrogate at 0" in capsys.readouterr().err


# --- as a process of its own ---


def test_python_m(run_python: Callable[..., subprocess.CompletedProcess[str]], bundle: Path) -> None:
    done = run_python("-m", "thoth_models", "verify", "--json", environment={"THOTH_MODELS_DIR": str(bundle)})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ok"] is True
    flip_bit(bundle, WEIGHTS)
    assert run_python("-m", "thoth_models", "verify", "--root", str(bundle)).returncode == 1
    assert run_python("-m", "thoth_models").returncode == 2


def test_a_reader_that_goes_away(run_python: Callable[..., subprocess.CompletedProcess[str]], bundle: Path) -> None:
    script = (
        "import os, sys\n"
        "reader, writer = os.pipe()\n"
        "os.close(reader)\n"
        "os.dup2(writer, 1)\n"
        "sys.stdout.reconfigure(line_buffering=True)\n"
        "from thoth_models.cli.main import main\n"
        "sys.exit(main(['list', '--root', sys.argv[1]]))\n"
    )
    done = run_python("-c", script, str(bundle))
    assert done.returncode == 4
    assert done.stderr == ""


def test_a_plain_import_is_light(run_python: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    heavy = [
        "torch",
        "transformers",
        "sentence_transformers",
        "onnxruntime",
        "tokenizers",
        "huggingface_hub",
        "pydantic",
        "yaml",
    ]
    script = f"import sys, thoth_models.cli.main; print([name for name in {heavy} if name in sys.modules])"
    done = run_python("-W", "error", "-c", script, environment={"PYTHONNOUSERSITE": "1"})
    assert done.stdout == "[]\n", done.stderr

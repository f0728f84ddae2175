"""Pickled weights: refused with what to do, converted in the sandbox, and compared when they are converted again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bundles import make_writable
from tests.support.projects import Project, contents, is_intact, model_files
from thoth_models.bundle.digest import Digest
from thoth_models_builder.errors import CompileError, CompilerUnavailableError, UnsupportedModelError
from thoth_models_builder.pipeline.reviewed import pickles

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.hub_simulator import HubSimulator
    from tests.support.tiny_models import TinyModel

HUB = {"sources": [{"hub": "org/mini"}]}


def pickled(**more: bytes) -> dict[str, bytes]:
    files = model_files("pickled")
    del files["model.safetensors"]
    return {**files, "pytorch_model.bin": b"a pickle", **more}


def test_without_torch_the_error_names_it(hub: HubSimulator, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add_model("org/mini", pickled())
    project.specify({"mini": {**HUB, "pickle": "convert"}})
    monkeypatch.setattr(pickles, "find_spec", lambda name: None if name == "torch" else object())
    with pytest.raises(CompilerUnavailableError, match=r"that convert pickles .* found no torch"):
        project.lock()
    assert not project.lock_file.exists()


@pytest.mark.parametrize(
    ("keys", "files", "says"),
    [
        ({"default_prompt_name": "querry"}, {}, "default_prompt_name: expected one of query, document, found 'querry'"),
        ({"max_seq_length": 65}, {}, "max_seq_length: expected at most 64"),
        (
            {},
            {"added_tokens.json": b'{"<last>": 7}', "config.json": b'{"vocab_size": 7}'},
            "expected tokens with ids be",
        ),
    ],
)
def test_what_small_files_show_is_refused_before_pickles_are_fetched(
    keys: dict[str, Any], files: dict[str, bytes], says: str, hub: HubSimulator, project: Project
) -> None:
    published = pickled(**files)
    del published["tokenizer.json"]
    hub.add_model("org/mini", published)
    project.specify({"mini": {**HUB, "pickle": "convert", **keys}})
    with pytest.raises(UnsupportedModelError, match=f"mini .*: .*{says}"):
        project.lock()
    assert hub.bytes_sent("pytorch_model.bin") == 0


def test_other_pickles_than_those_of_transformers_are_not_called_refused(hub: HubSimulator, project: Project) -> None:
    files = pickled(**{"weights.pt": b"a pickle"})
    del files["pytorch_model.bin"]
    hub.add_model("org/mini", files)
    project.specify({"mini": {**HUB, "pickle": "convert"}})
    with pytest.raises(
        UnsupportedModelError, match=r"only those in pytorch_model\.bin, or its shards, can be converted$"
    ):
        project.lock()


def converter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str) -> None:
    """Make a module the converter that does something else."""
    (tmp_path / "other_converter.py").write_text(f"import signal, sys, time\n{code}", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr(pickles, "_CONVERTER", "other_converter")


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        # A machine that cannot confine says nothing about the model.
        ("print('no Landlock'); sys.exit(3)", CompileError, "a machine that confines .* found no Landlock$"),
        ("print('x\\n' * 10**6 + 'the end'); sys.exit(1)", UnsupportedModelError, "converted, found the end$"),
        ("signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)", CompileError, "within 1 s, found it still"),
    ],
)
def test_how_a_conversion_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str, kind: type[Exception], message: str
) -> None:
    converter(monkeypatch, tmp_path, code)
    monkeypatch.setattr(pickles, "_SECONDS", 1.0)
    monkeypatch.setattr(pickles, "_END_SECONDS", 0.1)
    with pytest.raises(kind, match=message):
        pickles._run(tmp_path)


def test_a_conversion_whose_builder_has_ended_does_not_begin(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", pickles._CONVERTER, str(tmp_path / "absent"), "0"]
    found = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert (found.returncode, found.stdout + found.stderr) == (1, b"")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, wordpiece_model: TinyModel) -> Path:
    """A model with two shards of pickles, in the place of its safetensors."""
    import torch
    from safetensors.torch import load_file

    directory = tmp_path_factory.mktemp("pickled") / "model"
    shutil.copytree(wordpiece_model.directory, directory)
    tensors = load_file(directory / "model.safetensors")
    names = sorted(tensors)
    parts = [names[:5], names[5:]]
    for number, part in enumerate(parts, start=1):
        torch.save({name: tensors[name] for name in part}, directory / f"pytorch_model-0000{number}-of-00002.bin")
    where = {name: f"pytorch_model-0000{number}-of-00002.bin" for number, part in enumerate(parts, 1) for name in part}
    (directory / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": where}), encoding="utf-8")
    (directory / "model.safetensors").unlink()
    return directory


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory, published: Path) -> Iterator[Project]:
    project = Project(tmp_path_factory.mktemp("converted") / "project")
    specify(project, published)
    project.lock()
    yield project
    make_writable(project.root)


def specify(project: Project, directory: Path, **more: Any) -> None:
    project.specify({"mini": {"sources": [{"directory": str(directory)}], "pickle": "convert", **more}})


@pytest.mark.torch
def test_the_lock_has_both_digests_and_the_bundle_has_what_was_converted(
    converted: Project, published: Path, wordpiece_model: TinyModel
) -> None:
    from safetensors.torch import load_file

    (made,) = converted.locked().models["mini"].converted
    names = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"]
    assert made.path == "model.safetensors"
    assert {path: content.sha256 for path, content in made.made_from.items()} == {
        name: Digest.of((published / name).read_bytes()) for name in names
    }
    assert list((converted.store / "scratch").iterdir()) == []
    converted.build()
    is_intact(converted.output)
    assert not [path for path in contents(converted.output) if path.endswith(".bin")]
    shipped, expected = (
        load_file(path)
        for path in (
            converted.output / "mini/source/model.safetensors",
            wordpiece_model.directory / "model.safetensors",
        )
    )
    assert shipped.keys() == expected.keys()
    assert all(shipped[name].equal(expected[name]) and shipped[name].dtype == expected[name].dtype for name in expected)


@pytest.mark.hostile
@pytest.mark.torch
def test_a_build_elsewhere_converts_pickles_again_and_compares(converted: Project, tmp_path: Path) -> None:
    project = Project(tmp_path / "elsewhere")
    project.root.mkdir()
    shutil.copy(converted.file, project.file)
    shutil.copy(converted.lock_file, project.lock_file)
    report = project.build()
    assert "converted from pickles" in {file.source for file in report.models[0].files}
    (made,) = converted.locked().models["mini"].converted
    other = made.content.sha256.hex[::-1]
    make_writable(project.root)
    shutil.rmtree(project.store)
    shutil.rmtree(project.output)
    project.lock_file.write_text(project.lock_file.read_text().replace(made.content.sha256.hex, other))
    with pytest.raises(CompileError, match=f"model.safetensors: expected sha256 {other}, as converted"):
        project.build()


class Evil:
    """What a pickle runs when it is read by Python."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


@pytest.mark.hostile
@pytest.mark.torch
def test_a_pickle_that_runs_code_is_refused_by_name_and_leaves_nothing(tmp_path: Path, published: Path) -> None:
    import pickle

    import torch

    project = Project(tmp_path / "project")
    shutil.copytree(published, tmp_path / "evil", ignore=shutil.ignore_patterns("pytorch_model*"))
    torch.save({"weight": Evil(tmp_path / "ran")}, tmp_path / "evil" / "pytorch_model.bin")
    specify(project, tmp_path / "evil")
    with pytest.raises(
        UnsupportedModelError, match=r"pytorch_model\.bin: expected a pickle of tensors alone"
    ) as raised:
        project.lock()
    assert "posix.system" in str(raised.value)
    assert not (tmp_path / "ran").exists()
    assert not project.lock_file.exists()
    assert list((project.store / "scratch").iterdir()) == []
    # The control: read as pickles usually are, it does run.
    pickle.loads(pickle.dumps(Evil(tmp_path / "ran")))  # noqa: S301
    assert (tmp_path / "ran").exists()

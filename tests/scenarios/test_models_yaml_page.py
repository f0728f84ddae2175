"""docs/models-yaml.md: what it shows of keys is what the commands do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import yaml

from tests.support.bundles import make_writable
from tests.support.projects import COMMIT, REPOSITORY, is_intact, model_files, spec_of
from thoth_models_builder.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from tests.support.builder_fixtures import Outcome
    from tests.support.hub_simulator import HubSimulator
    from tests.support.projects import Project

PAGE = REPOSITORY / "docs" / "models-yaml.md"
PLAIN = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


def test_the_examples_of_the_page_are_accepted() -> None:
    page = PAGE.read_text(encoding="utf-8")
    examples = [
        text for text in re.findall(r"^```text\n(.*?)^```$", page, re.DOTALL | re.MULTILINE) if text[:4] == "    "
    ]
    assert len(examples) == 2
    for text in examples:
        settings = {"sources": [{"hub": "org/mini"}], "golden": True, "variants": ["onnx-fp32"], **yaml.safe_load(text)}
        spec_of({"mini": settings})


def test_the_licences_of_the_page_are_refused_as_it_shows(
    hub: HubSimulator, project: Project, command: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    section = PAGE.read_text(encoding="utf-8").split("\n## Licences\n")[1].split("\n### ")[0]
    (_, policy), (_, shown) = re.findall(r"^```(text|console)\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    licences = {"reader": "gpl-3.0", "writer": "cc-by-nc-4.0", "drafts": None, "plain": "apache-2.0"}
    for name, licence in licences.items():
        hub.add_model(f"org/{name}", model_files(name), revision=COMMIT, license=licence)
    project.specify({name: {"sources": [{"hub": f"org/{name}"}]} for name in licences}, **yaml.safe_load(policy))
    monkeypatch.chdir(project.root)
    outcome = command("lock", f"--store={project.store}")
    assert outcome.code == 1
    prompt, *lines = shown.splitlines()
    assert prompt == "$ thoth-bundle lock"
    assert outcome.err.splitlines()[-len(lines) :] == lines  # after the progress of transfers


def test_the_example_of_the_page(
    hub: HubSimulator, project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = PAGE.read_text(encoding="utf-8")
    section = page.split("## What the files of a model do not say")[1].split("\n## ")[0]
    blocks = re.findall(r"^```(yaml|console)\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    (_, text), (_, shown) = blocks
    files = model_files("e5")
    del files["README.md"]
    hub.add_model("intfloat/e5-small-v2", files)
    hub.add_model("org/ours", {path: model_files("ours")[path] for path in PLAIN})
    project.root.mkdir(exist_ok=True)
    project.file.write_text(text, encoding="utf-8")
    monkeypatch.chdir(project.root)
    assert main(["lock", f"--store={project.store}"]) == 0
    prompt, *lines = shown.splitlines()
    assert prompt == "$ thoth-bundle lock"
    # How large the files of the tests are is of no interest on the page.
    assert re.sub(r"\d+ files, [\d,]+ bytes", "…", capsys.readouterr().out).splitlines() == lines
    project.build()
    e5, ours = (is_intact(project.output).models[name].built for name in ("e5", "ours"))
    assert e5 is not None
    assert ours is not None
    assert e5.prompts == {"query": "query: ", "document": "passage: "}
    assert (ours.pooling, ours.max_seq_length, ours.normalize) == ("cls", 48, True)
    make_writable(project.root)

"""The Python files that a configuration refers to, found without importing any of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.projects import as_json, model_files
from thoth_models.bundle.digest import ContentDigest, Digest
from thoth_models_builder.bundle.code.references import (
    code_references,
    relative_imports,
    review,
    with_local_code,
    without_code,
)
from thoth_models_builder.bundle.describe import describe
from thoth_models_builder.bundle.model_files import ModelFiles
from thoth_models_builder.bundle.space_of import space_of
from thoth_models_builder.errors import UnsupportedModelError

AUTO_MAP = {
    "AutoConfig": "configuration.Config",
    "AutoModel": "org/code--modeling.Model",
    "AutoModelForMaskedLM": "org/code--masked.Model",
}


def files_of(modules: list[Any] | None = None, **config: Any) -> ModelFiles:
    files = model_files("code")
    files["config.json"] = as_json({**json.loads(files["config.json"]), **config})
    if modules is not None:
        files["modules.json"] = as_json(modules)
    return ModelFiles({path: Digest.of(data) for path, data in files.items()}, files.__getitem__)


def custom_modules() -> list[Any]:
    modules: list[Any] = json.loads(model_files("code")["modules.json"])
    return [{**modules[0], "type": "custom_st.Transformer"}, *modules[1:]]


def test_references_are_found_in_each_file_that_is_followed() -> None:
    found = code_references(files_of(custom_modules(), auto_map=AUTO_MAP))
    assert [(one.place, one.repository, one.path) for one in found] == [
        ("modules.json: [0].type", None, "custom_st.py"),
        ("config.json: auto_map.AutoConfig", None, "configuration.py"),
        ("config.json: auto_map.AutoModel", "org/code", "modeling.py"),
    ]
    assert code_references(files_of()) == []


@pytest.mark.hostile
@pytest.mark.parametrize("value", ["modeling", "../modeling.Model", "a.b.Model", 5, "x/y/z--a.B"])
def test_a_reference_to_code_outside_of_the_model_is_refused(value: Any) -> None:
    with pytest.raises(UnsupportedModelError, match=r"config\.json: auto_map\.AutoModel: expected a file and a class"):
        code_references(files_of(auto_map={"AutoModel": value}))


def test_relative_imports_are_followed_by_the_syntax_tree() -> None:
    source = b"import torch\nfrom .one import x\nif x:\n    from .two import y\nfrom . import z\n"
    assert relative_imports(source, "a.py") == ["one", "two"]
    with pytest.raises(UnsupportedModelError, match=r"a\.py: expected Python source"):
        relative_imports(b"def", "a.py")


def test_facts_are_those_without_the_references_and_the_space_has_the_code() -> None:
    files = files_of(custom_modules(), auto_map=AUTO_MAP)
    with pytest.raises(UnsupportedModelError, match=r"custom_st\.Transformer.* trust_remote_code|code of the model"):
        describe(files)
    code = [ContentDigest(size=3, sha256=Digest.of(code)) for code in (b"one", b"two")]
    views = [without_code(files, {"modeling.py": content}) for content in code]
    assert describe(views[0]) == describe(files_of())
    spaces = {space_of(view, describe(view), normalize=True) for view in views}
    assert len(spaces) == 2


def test_a_job_has_its_classes_beside_the_configuration() -> None:
    files = files_of(custom_modules(), auto_map=AUTO_MAP)
    effective = without_code(files, {}).changed("config.json", as_json({"hidden_size": 8, "repaired": True}))
    changed = with_local_code(files, effective)
    assert json.loads(changed["config.json"])["repaired"] is True
    assert json.loads(changed["config.json"])["auto_map"] == {
        "AutoConfig": "configuration.Config",
        "AutoModel": "modeling.Model",
    }
    assert json.loads(changed["modules.json"])[0]["type"] == "custom_st.Transformer"


def test_a_review_names_each_difference_and_the_block_to_paste() -> None:
    review({"a.py": "1" * 64}, {"a.py": "1" * 64}, ["a.py"])
    with pytest.raises(UnsupportedModelError) as raised:
        review({"a.py": "1" * 64, "c.py": "3" * 64}, {"a.py": "2" * 64, "b.py": "4" * 64}, ["a.py", "b.py"])
    text = str(raised.value)
    assert f"code: a.py: expected the reviewed sha256 {'1' * 64}, found {'2' * 64}" in text
    assert "code: b.py: expected it to be listed, found it needed" in text
    assert "code: c.py: expected this file, found none" in text
    assert text.endswith(f"    code:\n      a.py: {'2' * 64}\n      b.py: {'4' * 64}")

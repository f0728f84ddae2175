"""`remove`: one model leaves both files, unless another one needs it."""

from __future__ import annotations

import pytest

from tests.support.projects import Project, model_files, write_files
from thoth_models_builder.errors import LockError, SpecNotFoundError, UsageError
from thoth_models_builder.pipeline.inputs import read_spec
from thoth_models_builder.pipeline.specification.check_lock import check_lock
from thoth_models_builder.pipeline.specification.remove import remove

TEXT = """\
version: 1
bundle: {name: b, default: a}
models:
  # about a
  a:
    sources: [{directory: model}]
    variants: [torch-fp32]
    golden: false
    alternates: [{model: b}]

  # about b
  b:
    sources: [{directory: model}]
    variants: [torch-fp32]
    golden: false
    aliases: [second]

  # about c
  c:  # the third
    sources: [{directory: model}]
    variants: [torch-fp32]
    golden: false
"""


@pytest.fixture
def three(project: Project) -> Project:
    write_files(project.root / "model", model_files("mini"))
    project.file.write_text(TEXT, encoding="utf-8")
    project.lock()
    return project


def test_a_model_leaves_both_files(three: Project) -> None:
    report = remove(three.file, three.lock_file, "c")
    assert [(model.name, model.state) for model in report.models] == [("c", "removed")]
    assert three.file.read_text(encoding="utf-8") == TEXT[: TEXT.index("\n  # about c")]
    assert set(three.locked().models) == {"a", "b"}
    assert (check_lock(three.file, three.lock_file), report.differences) == ([], ())


def test_without_a_lock_none_is_written(three: Project) -> None:
    three.lock_file.unlink()
    remove(three.file, three.lock_file, "c")
    assert list(read_spec(three.file).models) == ["a", "b"]
    assert not three.lock_file.exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a", "found: bundle.default is a; change that first"),
        ("b", "found: models.a.alternates has b; change that first"),
        ("second", r"expected a model of .* \(a, b, c\), found 'second', which is an alias of b"),
        ("d", r"expected a model of .* \(a, b, c\), found 'd'$"),
    ],
)
def test_what_is_used_or_not_there_stays(name: str, message: str, three: Project) -> None:
    lock = three.lock_file.read_bytes()
    with pytest.raises(UsageError, match=message):
        remove(three.file, three.lock_file, name)
    assert three.file.read_text(encoding="utf-8") == TEXT
    assert three.lock_file.read_bytes() == lock


def test_the_only_model_stays(local: Project) -> None:
    with pytest.raises(UsageError, match="expected a model that stays, found 'mini' as the only one"):
        remove(local.file, local.lock_file, "mini")


def test_a_lock_with_errors_stays_and_so_does_the_file(three: Project) -> None:
    three.lock_file.write_bytes(b"{}")
    with pytest.raises(LockError):
        remove(three.file, three.lock_file, "c")
    assert three.file.read_text(encoding="utf-8") == TEXT


def test_no_file(project: Project) -> None:
    with pytest.raises(SpecNotFoundError, match="expected the list of models to ship, found no such file"):
        remove(project.file, project.lock_file, "c")

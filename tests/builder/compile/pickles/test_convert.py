"""Tensors of pickles as safetensors: the same bytes every time, all tensors, their types, and nothing else."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from thoth_models_builder.compile.errors import SandboxError
from thoth_models_builder.compile.pickles.convert import write
from thoth_models_builder.spec.reviewed.conversion import Conversion, Pickle

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.torch

ENOUGH = 10_000


def converted(directory: Path, *values: Any, limit: int = ENOUGH, **options: Any) -> Any:
    import torch
    from safetensors.torch import load_file

    for index, value in enumerate(values):
        torch.save(value, directory / str(index), **options)
    pickles = tuple(Pickle(path=f"pytorch_model-{index}.bin", file=str(index)) for index in range(len(values)))
    write(directory, Conversion(path="model.safetensors", pickles=pickles), directory / "made", limit)
    return load_file(directory / "made")


@pytest.mark.parametrize("is_archive", [True, False])
def test_names_types_and_values_stay(tmp_path: Path, is_archive: bool) -> None:  # noqa: FBT001
    import torch

    shared = torch.arange(6, dtype=torch.float16)
    tensors = {"b": shared, "a": torch.ones(2, 3).T, "shared": shared, "part": shared[2:4], "whole": torch.tensor([7])}
    found = converted(tmp_path, tensors, _use_new_zipfile_serialization=is_archive)
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].equal(tensor)
    before = (tmp_path / "made").read_bytes()
    converted(tmp_path, dict(reversed(tensors.items())), _use_new_zipfile_serialization=is_archive)
    assert (tmp_path / "made").read_bytes() == before


def test_shards_are_one_file_and_no_tensor_is_there_twice(tmp_path: Path) -> None:
    import torch

    assert converted(tmp_path, {"a": torch.ones(1)}, {"b": torch.ones(2)}).keys() == {"a", "b"}
    with pytest.raises(SandboxError, match=r"pytorch_model-1\.bin: a: expected each tensor once"):
        converted(tmp_path, {"a": torch.ones(1)}, {"a": torch.ones(1)})


@pytest.mark.hostile
@pytest.mark.parametrize("value", [{}, [1], {"a": 5}, {"state": {"a": 5}}, {5: None}])
def test_a_pickle_of_anything_but_tensors_by_name_is_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(SandboxError, match=r"pytorch_model-0\.bin: expected tensors by name, found"):
        converted(tmp_path, value)


@pytest.mark.hostile
def test_a_tensor_that_says_to_be_enormous_is_refused(tmp_path: Path) -> None:
    import torch

    with pytest.raises(
        SandboxError, match=r"pytorch_model-0\.bin: expected at most 10000 bytes of tensors, found 4000000"
    ):
        converted(tmp_path, {"a": torch.ones(1).expand(10**12)})


@pytest.mark.hostile
def test_a_compressed_archive_of_pickles_is_refused(tmp_path: Path) -> None:
    import torch

    torch.save({"a": torch.zeros(1000)}, tmp_path / "plain")
    with zipfile.ZipFile(tmp_path / "plain") as plain, zipfile.ZipFile(tmp_path / "0", "w") as packed:
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry), compress_type=zipfile.ZIP_DEFLATED)
    conversion = Conversion(path="model.safetensors", pickles=(Pickle(path="pytorch_model.bin", file="0"),))
    with pytest.raises(
        SandboxError, match=r"pytorch_model\.bin: expected an archive as torch writes it, found compressed"
    ):
        write(tmp_path, conversion, tmp_path / "made", ENOUGH)

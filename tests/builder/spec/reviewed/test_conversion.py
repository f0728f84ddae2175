"""Which pickles become which safetensors files."""

from __future__ import annotations

import pytest

from thoth_models_builder.spec.reviewed.conversion import conversion_document, conversions_of, plan_conversions

SHARDS = [f"pytorch_model-0000{number}-of-00003.bin" for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["pytorch_model.bin", "config.json"], {"model.safetensors": ["pytorch_model.bin"]}),
        (["pytorch_model.bin", "model.safetensors"], {}),
        (["pytorch_model.bin", "model-00001-of-00002.safetensors"], {}),
        (SHARDS, {"model.safetensors": SHARDS}),
        (SHARDS[:2], {}),
        (["pytorch_model.bin", *SHARDS], {"model.safetensors": ["pytorch_model.bin"]}),
        (
            ["2_Dense/pytorch_model.bin", "model.safetensors"],
            {"2_Dense/model.safetensors": ["2_Dense/pytorch_model.bin"]},
        ),
        (["elsewhere/pytorch_model.bin", "training_args.bin"], {}),
    ],
)
def test_a_module_without_safetensors_has_them_made(paths: list[str], expected: dict[str, list[str]]) -> None:
    planned = plan_conversions(paths, ["", "2_Dense"])
    assert {one.path: [pickle.path for pickle in one.pickles] for one in planned} == expected
    assert conversions_of(conversion_document(planned)) == planned

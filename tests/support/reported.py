"""Bundles with everything that the page about a bundle can show, made of invented bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.support.bundles import ModelPlan, golden_of, invented_model, make_bundle, proved, seal
from thoth_models.bundle.accuracy import Accuracy
from thoth_models.bundle.digest import Digest
from thoth_models.bundle.manifest import ConfiguredFile, Manifest, Origin
from thoth_models.bundle.report import Report
from thoth_models.verification.report_file import report_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TEXTS = ("water", "", "  ", "a line\nand another", "العمود customer_id", "👩‍👩‍👧 family", "x" * 3000, "SELECT 1;")
EXACT = (1.0,) * len(TEXTS)
ROUNDED = (0.99912, 0.98, 0.9951, 0.9993, 1.0, 0.99921, 0.99001, 0.9981)

HOSTILE = (
    "<script>document.title='run'</script>",
    "\"'><img src=x onerror=document.title='run'>",
    "{{ 7 * 7 }}{% raw %}",
    "</style></svg><b>bold</b>&amp;",
    "safe\u202eexe.cod",
    "line\r\nfeed\x00\x1b[31m\u2028\ufeff",
    "W" * 400,
)
"""Texts that a page which shows them as they are would run, read, turn round or be stretched by."""


CONFIGURED = (
    ConfiguredFile(path="config.json", origin=Digest.of(b"as published"), reasons=("one", "two")),
    ConfiguredFile(path="modules.json", origin=None, reasons=("pooling: mean",)),
)


def measured_plan(name: str, *, more: bytes = b"", space: str | None = None) -> ModelPlan:
    """Plan a model with three variants and golden vectors."""
    plan = invented_model(
        name,
        variants=("onnx-fp32", "onnx-int8", "torch-fp32"),
        more={"weights.bin": b"w" * 400_000 + more},
        aliases=(f"{name}-v1", "legacy"),
        space=space,
        prompts={"query": "query: ", "document": ""},
    )
    variants = dict(plan.variants)
    variants["onnx-int8"] = replace(
        variants["onnx-int8"], files={**variants["onnx-int8"].files, "weights.bin": b"i" * 100_000 + more}
    )
    plan = replace(plan, variants=variants, configured=CONFIGURED)
    return proved(plan, golden_of(TEXTS), required_cosine=0.95)


def plain_plan() -> ModelPlan:
    """Plan a model without golden vectors, licence, limit of length and unit length."""
    return replace(
        invented_model("plain", normalize=False), license=None, max_seq_length=None, similarity="dot", revision=None
    )


def absent_plan(name: str = "missing", *alternates: tuple[str, str]) -> ModelPlan:
    """Plan a model that no source delivered."""
    return replace(invented_model(name, variants=()), alternates=alternates)


def report_on(
    root: Path, manifest: Manifest, cosines: dict[str, Sequence[float]], *, digest: Digest | None = None
) -> None:
    """Write the report beside a bundle, with these cosines of the variants of every measured model."""
    found = {
        variant: Accuracy(
            minimum_cosine=min(values, default=0.5),
            mean_cosine=0.99845,
            largest_difference=0.02,
            neighbour_agreement=0.978,
            cosines=tuple(values),
        )
        for variant, values in cosines.items()
    }
    models = {
        name: found
        for name, model in manifest.models.items()
        if model.built is not None and model.built.record is not None
    }
    report = Report(bundle_digest=digest or Digest.of(manifest.to_bytes()), models=models)
    report_path(root).write_bytes(report.to_bytes())


def full_bundle(root: Path, *, more: bytes = b"", space: str = "one") -> Manifest:
    """Write a bundle with a measured, a plain and an absent model, and its report."""
    models = [measured_plan("mini", more=more, space=space), plain_plan(), absent_plan("missing", ("mini", "accept"))]
    manifest = make_bundle(root, models, default="missing", name="three-models")
    report_on(root, manifest, {"onnx-fp32": EXACT, "onnx-int8": ROUNDED, "torch-fp32": EXACT})
    return manifest


def hostile_bundle(root: Path) -> Manifest:
    """Write a bundle in which everything that its format does not restrict is hostile, and its report."""
    plan = measured_plan("mini")
    names = sorted(HOSTILE)
    files = {**plan.variants["torch-fp32"].files, "<img src=x>'\".txt": b"x", f"{'N' * 200}.bin": b"y"}
    plan = replace(
        plan,
        variants={**plan.variants, "torch-fp32": replace(plan.variants["torch-fp32"], files=files)},
        aliases=tuple(names),
        license=HOSTILE[0],
        configured=(ConfiguredFile(path="<img src=x>'\".txt", origin=None, reasons=tuple(HOSTILE)),),
        pooling=HOSTILE[1],
        prompts=dict(zip(names, reversed(names), strict=True)),
        default_prompt_name=names[0],
        golden=golden_of(HOSTILE, prompts=list(reversed(HOSTILE))),
    )
    manifest = make_bundle(root, [plan], default="mini")
    model = manifest.models["mini"]
    assert model.built is not None
    assert model.built.record is not None
    record = replace(
        model.built.record,
        toolchain=dict(zip(names, reversed(names), strict=True)),
        omitted={"onnx-int4": HOSTILE[0] + HOSTILE[4]},
    )
    built = replace(model.built, origin=Origin(kind="directory", id=HOSTILE[1], revision=HOSTILE[4]), record=record)
    manifest = replace(manifest, models={"mini": replace(model, built=built)})
    seal(root, manifest)
    report_on(root, manifest, {"onnx-fp32": [1.0] * len(HOSTILE)})
    return manifest

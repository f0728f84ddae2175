"""Each reader of a stranger's bytes: a function, valid inputs to start from, and the errors that it may raise."""

from __future__ import annotations

import functools
import io
import json
import os
import tempfile
import zipfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tests.support.bundles import golden_of, invented_model, make_bundle, make_writable, proved
from tests.support.described import files_of
from tests.support.docker_archives import archive
from tests.support.small_files import BASES, HEADER, KEYS, described
from thoth_models.backends.onnx_external_data import ExternalTensor, read_tensors, tensors_document
from thoth_models.bundle.accuracy import Accuracy
from thoth_models.bundle.canonical_json import FormatError
from thoth_models.bundle.digest import Digest
from thoth_models.bundle.golden import Golden
from thoth_models.bundle.manifest import Manifest
from thoth_models.bundle.report import Report
from thoth_models.errors import ManifestError
from thoth_models.verification.signatures.signature import Signature, Statement
from thoth_models_builder.bundle.code.references import without_code
from thoth_models_builder.engine.archive_reader import write_layout
from thoth_models_builder.errors import (
    CredentialsError,
    EngineError,
    LayoutError,
    LockError,
    OutputError,
    RegistryError,
    SourceError,
    SpecError,
    UnsupportedModelError,
)
from thoth_models_builder.oci.layout_files import MARKER, read_index
from thoth_models_builder.pipeline.signing.check_attestations import KINDS, compare
from thoth_models_builder.registry.challenge import parse_challenges, read_token, token_request
from thoth_models_builder.registry.credentials import find_credentials
from thoth_models_builder.sources.model_card import license_of
from thoth_models_builder.sources.wheel import WheelArchive
from thoth_models_builder.spec.lockfile import Lock
from thoth_models_builder.spec.models_yaml import parse_spec
from thoth_models_builder.trust.attestations.accuracy import ACCURACY, accuracy_predicate
from thoth_models_builder.trust.attestations.licences import LICENCES
from thoth_models_builder.trust.attestations.provenance import BUILD_TYPE, PROVENANCE
from thoth_models_builder.trust.attestations.statement import Attestation, SignedStatement
from thoth_models_builder.trust.bill.requirements import parse_requirements

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

REPOSITORY: Final = Path(__file__).parents[2]
FULL_SPEC: Final = b"""\
version: 1
bundle: {name: fuzz, default: mini}
models:
  mini:
    sources:
      - hub: org/name
        revision: 0123456789abcdef0123456789abcdef01234567
      - wheel: package==1.0
        path: package/model
      - directory: model
    aliases: [small]
    variants: [onnx-int8, onnx-fp32, torch-fp32]
    prompts: {query: "query: "}
    pooling: mean
    max_seq_length: 128
    normalize: true
    int8_floor: {minimum_cosine: 0.9, neighbour_agreement: 0.8}
    alternates: [{model: other}]
  other:
    sources: [{directory: other}]
    variants: [torch-fp32]
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reader:
    """A reader.

    Attributes:
        read: Reads the bytes; its result is not looked at.
        seeds: Valid inputs, from which others are made.
        errors: What it may raise for other inputs.
        words: Parts of inputs that chance does not find.
    """

    read: Callable[[bytes], object]
    seeds: Sequence[bytes]
    errors: tuple[type[Exception], ...]
    words: Sequence[str] = field(default=())


def _manifests() -> list[bytes]:
    golden = golden_of(["one", "two"], prompts=["", "query: "])
    first = proved(
        invented_model(
            "mini",
            variants=("onnx-fp32", "torch-fp32"),
            aliases=("small",),
            alternates=(("other", "accept"),),
            prompts={"query": "query: "},
            default_prompt_name="query",
        ),
        golden,
    )
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        whole = make_bundle(Path(name) / "bundle", [first, invented_model("other")], default="mini").to_bytes()
        make_writable(Path(name))
    return [whole, Manifest(name="empty", default=None, models={}, files={}).to_bytes()]


def _report() -> bytes:
    accuracy = Accuracy(
        minimum_cosine=0.9,
        mean_cosine=0.95,
        largest_difference=0.1,
        neighbour_agreement=0.9,
        cosines=(0.9, 1.0),
    )
    return Report(bundle_digest=Digest.of(b""), models={"mini": {"onnx-int8": accuracy}}).to_bytes()


def _tensors() -> bytes:
    return tensors_document(
        [
            ExternalTensor(name="a", type="float32", shape=(2, 4), offset=0, length=32),
            ExternalTensor(name="b", type="int8", shape=(0, 3), offset=4096, length=0),
        ]
    )


def _small_file(data: bytes) -> None:
    """Describe a model of which one file has these bytes; the first two choose which."""
    bases, names = sorted(BASES), sorted(KEYS)
    contents = BASES[bases[data[0] % len(bases)]] if data else BASES["usual"]
    path = names[data[1] % len(names)] if len(data) > 1 else names[0]
    files = files_of({**contents, path: data[2:]})
    described(files, None)
    described(without_code(files, {}), None)


def _small_files() -> list[bytes]:
    return [
        bytes([base, place]) + BASES[name][path]
        for base, name in enumerate(sorted(BASES))
        for place, path in enumerate(sorted(KEYS))
        if path in BASES[name]
    ]


def _in_a_directory(read: Callable[[bytes, Path], object]) -> Callable[[bytes], object]:
    def read_there(data: bytes) -> object:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
            return read(data, Path(name))

    return read_there


def _wheel(data: bytes, place: Path) -> None:
    wheel = WheelArchive("mini==1", "mini/model", scratch=place, timeout=1)
    wheel._wheel = place / "mini-1-py3-none-any.whl"
    wheel._wheel.write_bytes(data)
    listing = wheel.list_files()
    for file in listing.files:
        wheel.read_beginning(file, 1000)


def _some_wheel() -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr("mini/model/README.md", "---\nlicense: mit\n---\n")
        wheel.writestr("mini/model/config.json", "{}")
        wheel.writestr("mini-1.dist-info/METADATA", "Name: mini\n")
    return written.getvalue()


def _archive(data: bytes, place: Path) -> None:
    write_layout(iter([data[:512], data[512:]]), place / "layout", "an image")


def _some_archive() -> bytes:
    layer = archive({})
    digest = Digest.of(layer).hex
    return archive(
        {
            "manifest.json": _json([{"Config": "config.json", "Layers": ["layer.tar"]}]),
            "config.json": _json({"rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]}}),
            "layer.tar": layer,
        }
    )


def _index(data: bytes, place: Path) -> None:
    (place / "oci-layout").write_bytes(MARKER)
    (place / "index.json").write_bytes(data)
    read_index(place)


def _challenge(data: bytes) -> None:
    for challenge in parse_challenges([data.decode("latin-1")]):
        if challenge.scheme == "bearer":
            token_request(challenge, None, ["repository:a:pull"], registry="registry.example", plain_http=False)


def _credentials(data: bytes, place: Path) -> None:
    (place / "config.json").write_bytes(data)
    before = os.environ.get("DOCKER_CONFIG")
    os.environ["DOCKER_CONFIG"] = str(place)
    try:
        find_credentials("registry.example")
    finally:
        os.environ.pop("DOCKER_CONFIG")
        if before is not None:
            os.environ["DOCKER_CONFIG"] = before


def _views(data: bytes) -> None:
    for tensor in read_tensors(data):
        with suppress(FormatError):  # outside of the weights
            tensor.view(memoryview(bytes(4096)))


def _signature(data: bytes) -> None:
    Statement.from_bytes(Signature.from_bytes(data).payload)


def _signatures() -> list[bytes]:
    payload = Statement(name="fuzz", files={"manifest.json": Digest.of(b""), "mini/a": Digest.of(b"a")}).to_bytes()
    key = Signature(payload=payload, signature=b"made", key=Digest.of(b"key"))
    return [key.to_bytes(), Signature(payload=payload, signature=b"made", certificates=(b"one", b"two")).to_bytes()]


@functools.cache
def _attested() -> Manifest:
    return Manifest.from_bytes(_manifests()[0])


def _statement(data: bytes) -> None:
    """Read what a trusted key signed; ``signature`` has the envelope around it."""
    statement = SignedStatement.from_bytes(data)
    if statement.predicate_type in KINDS:
        compare(statement, _attested(), None)


def _statements() -> list[bytes]:
    model = {"variants": [], "settings": {}, "derivation": "0" * 64, "omitted": {}, "toolchain": {"torch": "2"}}
    notes = {"kind": "source", "model": "mini", "path": "config.json"}
    source = {"name": "a", "digest": {"sha256": "0" * 64}, "annotations": notes}
    tool = {"name": "torch", "uri": "pkg:pypi/torch@2", "annotations": {"kind": "toolchain", "version": "2"}}
    provenance = {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"bundle": {"name": "fuzz"}, "models": {"mini": {"variants": ["onnx-fp32"]}}},
            "internalParameters": {"models": {"mini": model}},
            "resolvedDependencies": [source, tool],
        }
    }
    licences = [{"license": {"id": "MIT"}}, {"expression": "MIT"}]
    bill = {
        "bomFormat": "CycloneDX",
        "components": [{"type": "machine-learning-model", "name": "mini", "licenses": licences}],
    }
    predicates = {PROVENANCE: provenance, ACCURACY: accuracy_predicate(_attested(), None), LICENCES: bill}
    return [Attestation("fuzz", Digest.of(b""), kind, value).to_bytes() for kind, value in predicates.items()]


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


READERS: Final = {
    "manifest": Reader(read=Manifest.from_bytes, seeds=_manifests(), errors=(ManifestError,)),
    "report": Reader(read=Report.from_bytes, seeds=[_report()], errors=(FormatError,)),
    "golden": Reader(
        read=lambda data: Golden.from_bytes(data, dimension=2),
        seeds=[Golden(texts=("a", "b"), prompts=("", "c"), vectors=np.ones((2, 2), np.float32)).to_bytes()],
        errors=(FormatError,),
    ),
    "signature": Reader(read=_signature, seeds=_signatures(), errors=(FormatError,)),
    "attestation": Reader(read=_statement, seeds=_statements(), errors=(FormatError,)),
    "tensors": Reader(read=_views, seeds=[_tensors()], errors=(FormatError,)),
    "requirements": Reader(
        read=parse_requirements,
        seeds=[
            f"# --python 3.13\nnumpy==2.4.6 --hash=sha256:{'0' * 64}\na==1 \\\n  --hash=sha256:{'1' * 64}\n".encode()
        ],
        errors=(),
        words=["==", "--hash=sha256:", "\\\n", "#", "-r "],
    ),
    "lock": Reader(
        read=lambda data: Lock.from_bytes(data, "models.lock"),
        seeds=[(REPOSITORY / "models.lock").read_bytes()],
        errors=(LockError,),
    ),
    "spec": Reader(
        read=lambda data: parse_spec(data, "models.yaml"),
        seeds=[(REPOSITORY / "models.yaml").read_bytes(), FULL_SPEC],
        errors=(SpecError,),
        words=["<<: *a", "&a", "*a", "!!python/object", "- ", ": ", "1:20:30", "0x", "null", "{}", "[]", "|", ">"],
    ),
    "card": Reader(
        read=license_of,
        seeds=[
            b"---\nlicense: mit\ntags:\n- a\n---\n# A model\n",
            b"---\na: &a {b: c}\nd: *a\nlicense: x\n---\n",
            b"---\nlicense: other\nlicense_name: x\nlicense_link: LICENSE\n---\n",
        ],
        errors=(),
        words=["---\n", "license: ", "license_name: ", "license_link: https://", "<<: *a", "&a ", "*a", "1:20:30"],
    ),
    "small-files": Reader(
        read=_small_file,
        seeds=_small_files(),
        errors=(UnsupportedModelError,),
        words=sorted({f'"{key}"' for keys in KEYS.values() for key in keys}),
    ),
    "safetensors": Reader(
        read=lambda data: files_of({"model.safetensors": data}).shapes("model.safetensors"),
        seeds=[len(HEADER).to_bytes(8, "little") + HEADER + bytes(32)],
        errors=(UnsupportedModelError,),
    ),
    "wheel": Reader(read=_in_a_directory(_wheel), seeds=[_some_wheel()], errors=(SourceError,)),
    "image-index": Reader(
        read=_in_a_directory(_index),
        seeds=[
            _json({"manifests": [{"mediaType": "application/x", "digest": f"sha256:{'0' * 64}", "size": 1}]}),
            b'{"manifests":[]}',
        ],
        errors=(LayoutError,),
    ),
    "image-archive": Reader(read=_in_a_directory(_archive), seeds=[_some_archive()], errors=(EngineError, OutputError)),
    "challenge": Reader(
        read=_challenge,
        seeds=[
            b'Bearer realm="https://auth.example/token",service="registry",scope="repository:a:pull"',
            b"Basic realm=x",
        ],
        errors=(RegistryError,),
    ),
    "token": Reader(
        read=lambda data: read_token(data, "registry.example"),
        seeds=[b'{"token":"a","expires_in":300}', b'{"access_token":"a"}'],
        errors=(RegistryError,),
    ),
    "credentials": Reader(
        read=_in_a_directory(_credentials),
        seeds=[b'{"auths":{"registry.example":{"auth":"YTpi"}}}', b'{"credHelpers":{"a":"b"},"auths":{}}'],
        errors=(CredentialsError,),
        words=['"registry.example"', '"identitytoken"', '"username"', '"password"'],
    ),
}

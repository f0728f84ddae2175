from __future__ import annotations

import json
from typing import Any

import hypothesis.strategies as st
from hypothesis import given

from tests.support.strategies import digests, names, parts, texts
from thoth_models.bundle.accuracy import Accuracy, Gate
from thoth_models.bundle.canonical_json import canonical_json
from thoth_models.bundle.digest import CHUNK_SIZE, CHUNKED_ABOVE, ContentDigest, Digest
from thoth_models.bundle.manifest import (
    Alternate,
    BuildRecord,
    BuiltModel,
    ConfiguredFile,
    Manifest,
    Model,
    Origin,
    Variant,
)
from thoth_models.bundle.report import Report
from thoth_models.info import MAX_RELEASE


@st.composite
def contents(draw: st.DrawFn) -> ContentDigest:
    size = draw(st.one_of(st.integers(0, 1000), st.integers(CHUNKED_ABOVE - 1, CHUNKED_ABOVE + 3 * CHUNK_SIZE)))
    count = -(-size // CHUNK_SIZE) if size > CHUNKED_ABOVE else 0
    return ContentDigest(
        size=size, sha256=draw(digests), chunks=tuple(draw(st.lists(digests, min_size=count, max_size=count)))
    )


def decimals(low: int, high: int, places: int) -> st.SearchStrategy[float]:
    return st.integers(low * 10**places, high * 10**places).map(lambda number: number / 10**places)


gates = st.builds(Gate, required_cosine=decimals(0, 1, 5), required_agreement=st.none() | decimals(0, 1, 3))
accuracies = st.builds(
    Accuracy,
    minimum_cosine=decimals(-1, 1, 5),
    mean_cosine=decimals(-1, 1, 5),
    largest_difference=decimals(0, 9, 9),
    neighbour_agreement=decimals(0, 1, 3),
)


@st.composite
def variants(
    draw: st.DrawFn, name: str, directory: str, files: dict[str, ContentDigest], gate: st.SearchStrategy[Any]
) -> Variant:
    # The file names all begin differently from the directories, so no path is both.
    paths = sorted({f"{directory}/f{part}" for part in draw(st.lists(parts, min_size=1, max_size=3))})
    files.update({path: draw(contents()) for path in paths})
    return Variant(
        name=name,
        backend=draw(texts),
        precision=draw(texts),
        directory=directory,
        files=tuple(paths),
        gate=draw(gate),
    )


@st.composite
def built_models(draw: st.DrawFn, directory: str, files: dict[str, ContentDigest]) -> BuiltModel:
    prompts = draw(st.dictionaries(texts, texts, max_size=3))
    variant_names = draw(st.lists(names, min_size=1, max_size=2, unique=True))
    golden = f"{directory}/golden.json"
    record = draw(
        st.none()
        | st.builds(
            BuildRecord,
            golden=st.just(golden),
            derivation=digests,
            toolchain=st.dictionaries(texts, texts, max_size=3),
            omitted=st.dictionaries(texts, texts, max_size=2),
        )
    )
    if record is not None:
        files[golden] = draw(contents())
    gate = st.none() if record is None else st.none() | gates
    return BuiltModel(
        origin=Origin(
            kind=draw(st.sampled_from(["hub", "wheel", "directory"])),
            id=draw(texts),
            revision=draw(st.none() | texts),
        ),
        license=draw(st.none() | texts),
        max_seq_length=draw(st.none() | st.integers(1, 10**18)),
        pooling=draw(texts),
        normalize=draw(st.booleans()),
        similarity=draw(st.sampled_from(["cosine", "dot", "euclidean", "manhattan"])),
        prompts=prompts,
        default_prompt_name=draw(st.none() | st.sampled_from(sorted(prompts)) if prompts else st.none()),
        space=draw(digests),
        variants=tuple(draw(variants(name, f"{directory}/d{name}", files, gate)) for name in variant_names),
        record=record,
        configured=tuple(
            ConfiguredFile(path=path, origin=draw(st.none() | digests), reasons=(draw(texts),))
            for path in sorted(draw(st.sets(parts, max_size=2)))
        ),
        license_link=draw(st.none() | texts),
    )


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    model_names = draw(st.lists(names, max_size=3, unique=True))
    aliases = draw(st.lists(texts.filter(lambda alias: alias not in model_names), max_size=4, unique=True))
    files: dict[str, ContentDigest] = {}
    models = {}
    for index, name in enumerate(model_names):
        alternates = [
            Alternate(model=other, accepts_other_space=draw(st.booleans()))
            for other in draw(st.lists(st.sampled_from(model_names), max_size=2))
        ]
        models[name] = Model(
            name=name,
            aliases=tuple(sorted(aliases[index :: len(model_names)])),
            alternates=tuple(alternates),
            dimension=draw(st.integers(1, 4096)),
            built=draw(st.none() | built_models(name, files)),
        )
    return Manifest(
        name=draw(names),
        default=draw(st.none() | st.sampled_from(model_names) if model_names else st.none()),
        models=models,
        files=files,
        release=draw(st.none() | st.integers(1, MAX_RELEASE)),
    )


@given(manifests())
def test_any_manifest_survives_its_bytes(manifest: Manifest) -> None:
    data = manifest.to_bytes()
    assert Manifest.from_bytes(data) == manifest
    assert Manifest.from_bytes(data).to_bytes() == data


@given(
    st.builds(
        Report,
        bundle_digest=digests,
        models=st.dictionaries(texts, st.dictionaries(texts, accuracies, max_size=3), max_size=3),
    )
)
def test_any_report_survives_its_bytes(report: Report) -> None:
    assert Report.from_bytes(report.to_bytes()) == report


@given(manifests())
def test_the_bytes_do_not_depend_on_the_order_in_which_mappings_were_filled(manifest: Manifest) -> None:
    def reverse(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: reverse(value[key]) for key in reversed(value)}
        return [reverse(item) for item in value] if isinstance(value, list) else value

    data = manifest.to_bytes()
    assert canonical_json(reverse(json.loads(data))) == data
    reversed_manifest = Manifest(
        name=manifest.name,
        default=manifest.default,
        models=dict(reversed(list(manifest.models.items()))),
        files=dict(reversed(list(manifest.files.items()))),
        release=manifest.release,
    )
    assert reversed_manifest.to_bytes() == data
    assert reversed_manifest.checksums() == manifest.checksums()


@given(manifests())
def test_the_checksum_list_names_every_file_once(manifest: Manifest) -> None:
    lines = manifest.checksums().decode().removesuffix("\n").split("\n")
    assert [line[66:] for line in lines] == sorted({*manifest.files, "manifest.json"})
    assert all(Digest(line[:64]).hex + "  " == line[:66] for line in lines)

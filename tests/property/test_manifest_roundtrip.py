from __future__ import annotations

import json
from typing import Any

import hypothesis.strategies as st
from hypothesis import given

from thoth_models.accuracy import Accuracy
from thoth_models.canonical import canonical_json
from thoth_models.digest import CHUNK_SIZE, CHUNKED_ABOVE, ContentDigest, Digest
from thoth_models.manifest import Alternate, BuiltModel, Manifest, Model, Origin, Proof, Variant

# Text of any kind but for lone surrogates, which have no UTF-8.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
names = st.from_regex(r"[a-z0-9][a-z0-9-]{0,12}", fullmatch=True)
digests = st.binary(min_size=32, max_size=32).map(lambda data: Digest(data.hex()))
_forbidden = {chr(code) for code in range(32)} | {"\x7f", "\\", "/"}
parts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=_forbidden), min_size=1, max_size=8).filter(
    lambda part: part not in (".", "..")
)


@st.composite
def contents(draw: st.DrawFn) -> ContentDigest:
    size = draw(st.one_of(st.integers(0, 1000), st.integers(CHUNKED_ABOVE - 1, CHUNKED_ABOVE + 3 * CHUNK_SIZE)))
    count = -(-size // CHUNK_SIZE) if size > CHUNKED_ABOVE else 0
    return ContentDigest(
        size=size, sha256=draw(digests), chunks=tuple(draw(st.lists(digests, min_size=count, max_size=count)))
    )


def decimals(low: int, high: int, places: int) -> st.SearchStrategy[float]:
    return st.integers(low * 10**places, high * 10**places).map(lambda number: number / 10**places)


accuracies = st.builds(
    Accuracy,
    minimum_cosine=decimals(-1, 1, 5),
    mean_cosine=decimals(-1, 1, 5),
    largest_difference=decimals(0, 9, 9),
    neighbour_agreement=decimals(0, 1, 3),
    required_cosine=decimals(0, 1, 5),
)


@st.composite
def variants(
    draw: st.DrawFn, name: str, directory: str, files: dict[str, ContentDigest], accuracy: st.SearchStrategy[Any]
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
        accuracy=draw(accuracy),
    )


@st.composite
def built_models(draw: st.DrawFn, directory: str, files: dict[str, ContentDigest]) -> BuiltModel:
    prompts = draw(st.dictionaries(texts, texts, max_size=3))
    variant_names = draw(st.lists(names, min_size=1, max_size=2, unique=True))
    golden = f"{directory}/golden.json"
    proof = draw(
        st.none()
        | st.builds(
            Proof,
            golden=st.just(golden),
            derivation=digests,
            toolchain=st.dictionaries(texts, texts, max_size=3),
            omitted=st.dictionaries(texts, texts, max_size=2),
        )
    )
    if proof is not None:
        files[golden] = draw(contents())
    accuracy = st.none() if proof is None else st.none() | accuracies
    return BuiltModel(
        origin=Origin(
            kind=draw(st.sampled_from(["hub", "wheel", "directory"])),
            id=draw(texts),
            revision=draw(st.none() | texts),
        ),
        license=draw(st.none() | texts),
        max_seq_length=draw(st.none() | st.integers(1, 10**20)),
        pooling=draw(texts),
        normalize=draw(st.booleans()),
        similarity=draw(st.sampled_from(["cosine", "dot", "euclidean", "manhattan"])),
        prompts=prompts,
        default_prompt_name=draw(st.none() | st.sampled_from(sorted(prompts)) if prompts else st.none()),
        space=draw(digests),
        variants=tuple(draw(variants(name, f"{directory}/d{name}", files, accuracy)) for name in variant_names),
        proof=proof,
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
    )


@given(manifests())
def test_any_manifest_survives_its_bytes(manifest: Manifest) -> None:
    data = manifest.to_bytes()
    assert Manifest.from_bytes(data) == manifest
    assert Manifest.from_bytes(data).to_bytes() == data


@given(manifests())
def test_the_bytes_do_not_depend_on_the_order_in_which_tables_were_filled(manifest: Manifest) -> None:
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
    )
    assert reversed_manifest.to_bytes() == data
    assert reversed_manifest.checksums() == manifest.checksums()


@given(manifests())
def test_the_checksum_list_names_every_file_once(manifest: Manifest) -> None:
    lines = manifest.checksums().decode().removesuffix("\n").split("\n")
    assert [line[66:] for line in lines] == sorted({*manifest.files, "manifest.json"})
    assert all(Digest(line[:64]).hex + "  " == line[:66] for line in lines)

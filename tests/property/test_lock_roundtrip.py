from __future__ import annotations

import json

import hypothesis.strategies as st
from hypothesis import given

from tests.support.strategies import digests, names, parts, texts
from thoth_models_builder.spec.lockfile import Lock, LockedFile, LockedModel, LockedSource

paths = st.lists(parts, min_size=1, max_size=3).map("/".join)
hexadecimal = st.text("0123456789abcdef", min_size=40, max_size=40)
sources = st.one_of(
    st.builds(LockedSource, kind=st.sampled_from(["hub", "wheel"]), id=texts, detail=texts),
    st.builds(LockedSource, kind=st.just("directory"), id=texts, detail=st.none()),
)
files = st.builds(LockedFile, path=paths, size=st.integers(0, 10**18), sha256=digests, blob_id=st.none() | hexadecimal)


@st.composite
def models(draw: st.DrawFn) -> LockedModel:
    return LockedModel(
        sources=tuple(draw(st.lists(sources, min_size=1, max_size=3))),
        variants=tuple(sorted(draw(st.sets(texts, max_size=3)))),
        revision=draw(st.none() | hexadecimal),
        license=draw(st.none() | texts),
        dimension=draw(st.integers(1, 10**6)),
        files=tuple(
            sorted(
                draw(st.lists(files, min_size=1, max_size=4, unique_by=lambda file: file.path)),
                key=lambda file: file.path,
            )
        ),
        license_link=draw(st.none() | texts),
    )


locks = st.dictionaries(names, models(), max_size=3).map(lambda by_name: Lock(models=by_name))


@given(locks)
def test_any_lock_survives_its_bytes(lock: Lock) -> None:
    data = lock.to_bytes()
    assert Lock.from_bytes(data, "models.lock") == lock
    assert Lock.from_bytes(data, "models.lock").to_bytes() == data


@given(locks)
def test_the_bytes_do_not_depend_on_the_order_of_models(lock: Lock) -> None:
    assert Lock(models=dict(reversed(list(lock.models.items())))).to_bytes() == lock.to_bytes()


@given(locks)
def test_every_file_has_a_line_of_its_own(lock: Lock) -> None:
    # Split at line feeds only: JSON may hold other characters that str.splitlines takes for the end of a line.
    lines = [line.strip().removesuffix(",") for line in lock.to_bytes().decode().split("\n")]
    of_files = [json.loads(line) for line in lines if line.startswith('{"path": ')]
    expected = [file.path for _, model in sorted(lock.models.items()) for file in model.files]
    assert [document["path"] for document in of_files if "sha256" in document] == expected


@given(locks)
def test_keys_are_sorted_at_every_level_above_files_and_sources(lock: Lock) -> None:
    document = json.loads(lock.to_bytes())
    for table in [document, document["models"], *document["models"].values()]:
        assert list(table) == sorted(table)

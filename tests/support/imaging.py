"""Images of a bundle, made in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from thoth_models_builder.pipeline.image import ImageOptions, image

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from thoth_models_builder.reports.results import ImageReport


class Quiet:
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)

    def transfer(self, label: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        import contextlib

        self.notes.append(f"{label} {total}")
        return contextlib.nullcontext(lambda _: None)


def make(bundle: Path, *to: str, watcher: Quiet | None = None, **options: Any) -> ImageReport:
    return image(ImageOptions(bundle=bundle, to=to, **options), watcher or Quiet())


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}

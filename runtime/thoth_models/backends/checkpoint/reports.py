"""What transformers reports about each checkpoint that it loads, collected while sentence-transformers loads a model.

The library returns the report only to a caller that asks for it, and sentence-transformers does not. So its public
``from_pretrained`` is wrapped, once in a process and for good: without a lock, which a child of ``fork`` might find
locked for ever. Outside of :func:`load_reports`, and in other threads, the wrapper passes every call on unchanged.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_MARK: Final = "_collected_by_thoth_models"


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadReport:
    """What the library reports about a checkpoint.

    Attributes:
        model: The loaded model.
        missing: Names of the model's tensors that the checkpoint does not have.
        unexpected: Names of the checkpoint's tensors that the model does not have.
        mismatched: By name, the shape in the checkpoint and that in the model.
    """

    model: Any
    missing: frozenset[str]
    unexpected: frozenset[str]
    mismatched: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]


class _Collected(threading.local):
    reports: list[LoadReport] | None = None


_collected: Final = _Collected()


@contextlib.contextmanager
def load_reports(library: Any) -> Iterator[list[LoadReport]]:  # noqa: ANN401 - the class is not imported here
    """Collect the reports of this thread in the list that the context has.

    Tensors of another shape are no error of the library meanwhile, because its error does not name them: the caller
    must refuse them, as :func:`~thoth_models.backends.checkpoint.faults.faults` does.

    Args:
        library: The class ``transformers.PreTrainedModel``.
    """
    _wrap(library)
    before = _collected.reports
    reports: list[LoadReport] = []
    _collected.reports = reports
    try:
        yield reports
    finally:
        _collected.reports = before


def _wrap(library: Any) -> None:  # noqa: ANN401
    if hasattr(library.from_pretrained, _MARK):
        return
    original = library.from_pretrained.__func__

    @functools.wraps(original)
    def from_pretrained(cls: Any, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        reports = _collected.reports
        if reports is None:
            return original(cls, *arguments, **options)
        # Not those of models that it makes of parts: they belong to the model as a whole.
        _collected.reports = None
        try:
            asked = {**options, "output_loading_info": True, "ignore_mismatched_sizes": True}
            model, report = original(cls, *arguments, **asked)
        finally:
            _collected.reports = reports
        reports.append(
            LoadReport(
                model=model,
                missing=frozenset(report["missing_keys"]),
                unexpected=frozenset(report["unexpected_keys"]),
                mismatched={
                    name: (tuple(stored), tuple(expected)) for name, stored, expected in report["mismatched_keys"]
                },
            )
        )
        return model

    setattr(from_pretrained, _MARK, True)
    library.from_pretrained = classmethod(from_pretrained)

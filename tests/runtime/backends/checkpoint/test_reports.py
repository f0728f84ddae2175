"""How the reports of a library are collected, with a library that only reports."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from thoth_models.backends.checkpoint.reports import load_reports


class Library:
    """Loads nothing, and reports what its subclasses say."""

    parts: tuple[type[Library], ...] = ()
    mismatched: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = ()

    @classmethod
    def from_pretrained(cls, name: str, **options: Any) -> Any:
        """Return a model, and its report if it is asked for."""
        for part in cls.parts:
            part.from_pretrained(f"{name} part")
        model = cls()
        model.asked = options  # type: ignore[attr-defined]
        report = {"missing_keys": {name}, "unexpected_keys": {"more"}, "mismatched_keys": set(cls.mismatched)}
        return (model, report) if options.get("output_loading_info") else model


@pytest.fixture
def library() -> type[Library]:
    """A class that no test before has wrapped."""

    class Own(Library):
        from_pretrained: Any = classmethod(vars(Library)["from_pretrained"].__func__)

    return Own


def test_a_report_is_collected_for_a_caller_that_does_not_ask_for_it(library: type[Library]) -> None:
    library.mismatched = (("w", (3,), (4,)),)
    with load_reports(library) as reports:
        model = library.from_pretrained("first", dtype="x")
    assert isinstance(model, library)
    (report,) = reports
    assert report.model is model
    assert report.missing == {"first"}
    assert report.unexpected == {"more"}
    assert report.mismatched == {"w": ((3,), (4,))}
    assert model.asked["dtype"] == "x"


def test_a_subclass_is_reported_too(library: type[Library]) -> None:
    class Sub(library):  # type: ignore[misc, valid-type]
        pass

    with load_reports(library) as reports:
        model = Sub.from_pretrained("sub")
    assert isinstance(model, Sub)
    assert [report.model for report in reports] == [model]


def test_a_part_of_a_model_is_no_model_of_its_own(library: type[Library]) -> None:
    class Whole(library):  # type: ignore[misc, valid-type]
        parts = (library,)

    with load_reports(library) as reports:
        Whole.from_pretrained("whole")
    assert [report.missing for report in reports] == [{"whole"}]


def test_nothing_changes_outside_of_the_context_and_in_other_threads(library: type[Library]) -> None:
    found: list[Any] = []
    with load_reports(library) as reports:
        thread = threading.Thread(target=lambda: found.append(library.from_pretrained("other", a=1)))
        thread.start()
        thread.join(30)
    found.append(library.from_pretrained("later", a=1))
    assert reports == []
    assert [model.asked for model in found] == [{"a": 1}, {"a": 1}]
    assert library.from_pretrained("asked", output_loading_info=True)[1]["missing_keys"] == {"asked"}


def test_it_is_wrapped_once_however_often_models_are_loaded(library: type[Library]) -> None:
    wrapped = []
    for _ in range(3):
        with load_reports(library) as reports:
            library.from_pretrained("one")
            wrapped.append(library.from_pretrained.__func__)  # type: ignore[attr-defined]
        assert len(reports) == 1
    assert len(set(wrapped)) == 1


def test_an_error_of_the_library_passes_and_collecting_goes_on(library: type[Library]) -> None:
    class Broken(library):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            raise OSError("no such file")

    with load_reports(library) as reports:
        with pytest.raises(OSError, match="no such file"):
            Broken.from_pretrained("broken")
        library.from_pretrained("next")
    assert [report.missing for report in reports] == [{"next"}]

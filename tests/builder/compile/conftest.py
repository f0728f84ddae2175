"""Tiny models and what the compile room makes of them, each exported once in a test run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.exported import MAKERS, Exported

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Exported]:
    """Return a function that exports a model of :data:`MAKERS`, or returns what it made before."""
    made: dict[str, Exported] = {}

    def export(name: str) -> Exported:
        if name not in made:
            from thoth_models_builder.compile.export import export_graph, load_reference, write_tokenizer
            from thoth_models_builder.compile.graphs.writing import finish_graph

            place = tmp_path_factory.mktemp("exported")
            tiny = MAKERS[name](place / "source")
            model = load_reference(tiny.directory)
            export_graph(model, place / "raw.onnx")
            write_tokenizer(model, place)
            finish_graph(place / "raw.onnx", place / "model.onnx")
            made[name] = Exported(tiny, place)
        return made[name]

    return export

"""Streamlit: an app in Streamlit's own test runner, whose sessions share what is cached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.recipes.running import Runner


def check(names: dict[str, Any]) -> None:
    from pathlib import Path

    from streamlit.testing.v1 import AppTest

    from thoth_models import EmbeddingManager

    found = []
    for question in ("where does she live?", "what does it cost?"):
        app = AppTest.from_file(str(Path("app.py").resolve()), default_timeout=60).run()
        assert not app.exception
        assert not app.markdown
        app.text_input[0].set_value(question).run()
        assert not app.exception
        found.append(app.markdown[0].value)
    assert found == ["customer city: where the customer lives", "order total: price of the order in euros"]
    mini = EmbeddingManager.get_instance().stats().models["mini"]
    assert (mini.loads, mini.texts) == (1, 4)  # the columns once, and the questions


def test_the_recipe(runner: Runner) -> None:
    runner.follow("streamlit", check)

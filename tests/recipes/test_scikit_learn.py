"""scikit-learn: a pipeline, its clone, and a grid search over two processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.recipes.running import assert_ours

if TYPE_CHECKING:
    from tests.recipes.running import Runner


def check(names: dict[str, Any]) -> None:
    import joblib
    from sklearn.base import clone

    best = names["search"].best_estimator_
    assert list(names["answer"]) == ["place", "price"]
    again = clone(best)
    assert again.get_params()["functiontransformer__kw_args"] == {"model": "mini"}
    assert_ours(again[0].transform(names["places"]), names["places"])
    joblib.dump(best, "pipeline.joblib")
    assert list(joblib.load("pipeline.joblib").predict(["what does it cost?"])) == ["price"]


def test_the_recipe(runner: Runner) -> None:
    runner.follow("scikit-learn", check)

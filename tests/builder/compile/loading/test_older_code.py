"""Code for earlier releases of the libraries: what fails, or is wrong, without the context and is right in it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.torch


def classes(*, calls_post_init: bool = True) -> Any:
    """Return a model whose frequencies are computed when it is made, and are in no checkpoint."""
    import torch
    from transformers import PretrainedConfig, PreTrainedModel

    class Config(PretrainedConfig):  # type: ignore[no-untyped-call]
        model_type = "older"

    class Model(PreTrainedModel):  # type: ignore[no-untyped-call]
        config_class = Config

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.layer = torch.nn.Linear(4, 4)
            self.register_buffer("frequencies", 10000.0 ** -torch.arange(0, 1, 0.25), persistent=False)
            if calls_post_init:
                self.post_init()  # type: ignore[no-untyped-call]

    return Config, Model


def saved(directory: Path) -> Path:
    config, model = classes()
    model(config()).save_pretrained(directory)
    return directory


def frequencies(directory: Path, model: Any, inside: Any) -> Any:
    import torch

    # What was freed has other numbers than zeros, which would hide memory that is not initialised.
    [torch.full((4,), 7.0) for _ in range(64)]
    with inside:
        return model.from_pretrained(directory).frequencies


def test_buffers_that_no_checkpoint_has_keep_the_values_of_the_code(tmp_path: Path) -> None:
    import torch

    from thoth_models_builder.compile.loading.older_code import for_older_code

    directory, (_, model) = saved(tmp_path), classes()
    expected = 10000.0 ** -torch.arange(0, 1, 0.25)
    assert torch.equal(frequencies(directory, model, for_older_code()), expected)
    # If this fails, transformers keeps them itself, and the context has one reason less.
    assert not torch.equal(frequencies(directory, model, contextlib.nullcontext()), expected)


def test_weights_are_those_of_the_checkpoint(tmp_path: Path) -> None:
    import torch

    from thoth_models_builder.compile.loading.older_code import for_older_code

    directory, (_, model) = saved(tmp_path), classes()
    plain = model.from_pretrained(directory)
    with for_older_code():
        found = model.from_pretrained(directory)
    assert torch.equal(found.layer.weight, plain.layer.weight)
    assert not found.layer.weight.is_meta


def test_a_class_that_does_not_call_post_init_loads(tmp_path: Path) -> None:
    from thoth_models_builder.compile.loading.older_code import for_older_code

    directory, (_, model) = saved(tmp_path), classes(calls_post_init=False)
    with pytest.raises(AttributeError, match="all_tied_weights_keys"):
        model.from_pretrained(directory)
    with for_older_code():
        model.from_pretrained(directory)
    # Nothing of it is left.
    with pytest.raises(AttributeError, match="all_tied_weights_keys"):
        model.from_pretrained(directory)


def test_a_module_that_names_the_cache_itself_is_not_given_it_twice(tmp_path: Path) -> None:
    from sentence_transformers.base.modules import Transformer

    from thoth_models_builder.compile.loading.older_code import for_older_code

    def names() -> list[set[str]]:
        given = Transformer._load_init_kwargs(str(tmp_path), local_files_only=True, model_kwargs={"dtype": "auto"})
        return [set(given[key]) for key in ("model_kwargs", "processor_kwargs", "config_kwargs")]

    usual = names()
    assert all("cache_dir" in one for one in usual)
    with for_older_code():
        assert names() == [one - {"cache_dir"} for one in usual]
    assert names() == usual

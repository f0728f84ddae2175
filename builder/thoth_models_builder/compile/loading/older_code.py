"""Let code load that was written for earlier releases of the libraries, as most code in model repositories was.

transformers 5 creates every model without memory ("meta"), and after loading gives buffers that no checkpoint has, such
as the frequencies of rotary positions, memory that is not initialised. Its own architectures compute them again; those
of a repository do not, so that their vectors depend on what was in the memory, and are wrong without an error. Two more
changes make such code fail: classes that do not call ``post_init``, and modules that pass on ``cache_dir`` twice. The
code of jina-embeddings-v3 meets all three.

What the code computes is not changed: with the libraries that it was written for, the values are the same.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import torch
from sentence_transformers.base.modules import Transformer
from transformers import PreTrainedModel

if TYPE_CHECKING:
    from collections.abc import Iterator

_ARGUMENTS: Final = ("model_kwargs", "processor_kwargs", "config_kwargs")

_library: Any = PreTrainedModel
_module: Any = Transformer


@contextlib.contextmanager
def for_older_code() -> Iterator[None]:
    """Load models as the code of repositories expects, within the context; only in a process that runs such code."""
    with (
        _replaced(_library, "get_init_context", classmethod(_with_memory(_library))),
        _replaced(_library, "_move_missing_keys_from_meta_to_device", _keeping_buffers(_library)),
        # What `post_init` sets. Without it, tensors that should be tied count as missing, and are refused.
        _replaced(_library, "all_tied_weights_keys", {}),
        _replaced(_module, "_load_init_kwargs", classmethod(_without_cache(_module))),
    ):
        yield


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: object) -> Iterator[None]:  # noqa: ANN401 - a class of the library
    before = vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if before is None:
            delattr(owner, name)
        else:
            setattr(owner, name, before)


def _with_memory(library: Any) -> Any:  # noqa: ANN401 - methods of the library, which are not typed
    original = library.get_init_context.__func__

    def get_init_context(cls: Any, *arguments: Any, **options: Any) -> list[Any]:  # noqa: ANN401
        contexts = original(cls, *arguments, **options)
        return [context for context in contexts if not isinstance(context, torch.device)]

    return get_init_context


def _keeping_buffers(library: Any) -> Any:  # noqa: ANN401 - see _with_memory
    original = library._move_missing_keys_from_meta_to_device  # noqa: SLF001 - there is no public way

    def move(self: Any, missing: Any, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        own = {name for name, _ in self.named_non_persistent_buffers()} | set(missing)
        kept = {name: buffer for name, buffer in self.named_buffers() if name in own and not buffer.is_meta}
        original(self, missing, *arguments, **options)
        for name, buffer in kept.items():
            place, _, attribute = name.rpartition(".")
            buffer._is_hf_initialized = True  # noqa: SLF001 - else the library would initialise its module again
            setattr(self.get_submodule(place), attribute, buffer)

    return move


def _without_cache(module: Any) -> Any:  # noqa: ANN401 - see _with_memory
    original = module._load_init_kwargs.__func__  # noqa: SLF001 - there is no public way

    def load_init_kwargs(cls: Any, *arguments: Any, **options: Any) -> dict[str, Any]:  # noqa: ANN401
        given: dict[str, Any] = original(cls, *arguments, **options)
        for name in _ARGUMENTS:
            # None is the default, which modules that name the argument themselves pass on as well.
            if given[name].get("cache_dir", "") is None:
                del given[name]["cache_dir"]
        return given

    return load_init_kwargs

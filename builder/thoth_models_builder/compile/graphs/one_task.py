"""Follow a task that is the same for every text of a batch, so that its adapters become constants of a graph.

Code with adapters for several tasks gets the task of each text, looks up which ones there are, and computes the rows of
each apart. Which rows these are depends on values, which no exporter can follow; but a bundle has one task, so there is
one, and its rows are all. Within this mode, a tensor from ``torch.full`` is known to have one value; its ``unique``
value is that value, the rows that equal it are all rows, and to read or write all rows is to read or write the tensor.
What the task selects then depends on weights alone, and the optimiser merges an adapter into the weights it belongs to.

The finished graph is compared with the modules, which compute without this mode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Mapping

_ALL_ROWS: Final = object()
_MORE_OF_UNIQUE: Final = ("return_inverse", "return_counts", "dim")
_EQUAL: Final = frozenset({"eq", "__eq__"})


class OneTask(TorchFunctionMode):
    """The mode; one object is for one export, and keeps the small tensors that it knows something about."""

    def __init__(self) -> None:
        super().__init__()
        # The tensors as well, because an id means nothing once its object is gone.
        self._known: dict[int, tuple[Any, Any]] = {}

    def __torch_function__(  # noqa: PLW3201 - the protocol of torch
        self,
        func: Any,  # noqa: ANN401 - any function of torch, its arguments and its result
        types: Any,  # noqa: ANN401, ARG002
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Call a function of torch, or return what it would return for a tensor of one value."""
        options = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        first = args[0] if args else None
        if name == "full":
            return self._noted(func(*args, **options), options.get("fill_value", args[1] if len(args) > 1 else None))
        wants_more = any(options.get(key) for key in _MORE_OF_UNIQUE) or len(args) > 1
        if name == "unique" and not wants_more and (value := self._value(first)) is not None:
            return self._noted(torch.tensor([value], dtype=first.dtype, device=first.device), value)
        if name == "unbind" and (value := self._value(first)) is not None:
            return tuple(self._noted(part, value) for part in func(*args, **options))
        if name in _EQUAL and (value := self._value(first)) is not None:
            other = self._value(args[1]) if isinstance(args[1], torch.Tensor) else args[1]
            found = func(*args, **options)
            return found if other is None else self._noted(found, bool(value == other))
        if name == "nonzero" and self._value(first) is True and first.dim() == 1:
            rows = self._noted(torch.arange(first.shape[0], device=first.device), _ALL_ROWS)
            return (rows,) if options.get("as_tuple", args[1:] == (True,)) else rows.unsqueeze(1)
        if name == "__getitem__" and self._takes_all(first, args[1]):
            return first.clone()
        if name == "__setitem__" and self._takes_all(first, args[1]):
            first.zero_().add_(args[2])  # there is no operator of ONNX for copy_
            return None
        if name == "__setitem__" or (name.endswith("_") and not name.endswith("__")):
            self._known.pop(id(first), None)
        return func(*args, **options)

    def _noted(self, tensor: Any, value: Any) -> Any:  # noqa: ANN401 - as above
        if value is _ALL_ROWS or isinstance(value, bool | int):
            self._known[id(tensor)] = tensor, value
        return tensor

    def _value(self, tensor: Any) -> Any:  # noqa: ANN401 - as above
        """Return the value that all of a tensor has, or None; one that was changed through a view is not known."""
        value = self._known.get(id(tensor), (None, None))[1]
        if value is None or value is _ALL_ROWS:
            return None
        # Others than plain tensors have shapes, and no values. As an array, so that no trace contains the question.
        if type(tensor) is torch.Tensor and not (tensor.numpy() == value).all():
            return None
        return value

    def _takes_all(self, tensor: Any, index: Any) -> bool:  # noqa: ANN401 - as above
        """Return whether an index is all rows of a tensor."""
        known = self._known.get(id(index), (None, None))
        return known[1] is _ALL_ROWS and bool(tensor.shape[0] == known[0].shape[0])

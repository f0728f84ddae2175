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


class OneTask(TorchFunctionMode):
    """The mode; one object is for one export, and keeps the small tensors that it knows something about."""

    def __init__(self) -> None:
        super().__init__()
        # The tensors as well, because an id means nothing once its object is gone.
        self._known: dict[int, tuple[Any, Any]] = {}
        self._rules = {
            "full": self._full,
            "unique": self._unique,
            "unbind": self._unbind,
            "eq": self._equal,
            "__eq__": self._equal,
            "nonzero": self._nonzero,
            "__getitem__": self._read,
            "__setitem__": self._write,
        }

    def __torch_function__(
        self,
        func: Any,  # noqa: ANN401 - any function of torch, its arguments and its result
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Call a function of torch, or return what it would return for a tensor of one value."""
        options = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        rule = self._rules.get(name)
        found = None if rule is None else rule(func, args, options)
        if found is not None:
            return found[0]
        if args and (name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))):
            self._known.pop(id(args[0]), None)
        return func(*args, **options)

    # Each rule returns a tuple with the result, or None where it does not apply.

    def _full(self, func: Any, args: Any, options: Any) -> tuple[Any] | None:  # noqa: ANN401 - as above
        value = options["fill_value"] if "fill_value" in options else args[1]
        return (self._noted(func(*args, **options), value),)

    def _unique(self, _func: Any, args: Any, options: Any) -> tuple[Any] | None:  # noqa: ANN401
        value = self._value(args[0])
        if value is None or len(args) > 1 or any(options.get(key) not in (None, False) for key in _MORE_OF_UNIQUE):
            return None
        return (self._noted(torch.tensor([value], dtype=args[0].dtype, device=args[0].device), value),)

    def _unbind(self, func: Any, args: Any, options: Any) -> tuple[Any] | None:  # noqa: ANN401
        value = self._value(args[0])
        return None if value is None else (tuple(self._noted(part, value) for part in func(*args, **options)),)

    def _equal(self, func: Any, args: Any, options: Any) -> tuple[Any] | None:  # noqa: ANN401
        values = [self._value(one) if isinstance(one, torch.Tensor) else one for one in args]
        return None if None in values else (self._noted(func(*args, **options), bool(values[0] == values[1])),)

    def _nonzero(self, _func: Any, args: Any, options: Any) -> tuple[Any] | None:  # noqa: ANN401
        mask = args[0]
        if self._value(mask) is not True or mask.dim() != 1:
            return None
        rows = self._noted(torch.arange(mask.shape[0], device=mask.device), _ALL_ROWS)
        return ((rows,) if options.get("as_tuple") else rows.unsqueeze(1),)

    def _read(self, _func: Any, args: Any, _options: Any) -> tuple[Any] | None:  # noqa: ANN401
        return (args[0].clone(),) if self._takes_all(*args) else None

    def _write(self, _func: Any, args: Any, _options: Any) -> tuple[Any] | None:  # noqa: ANN401
        tensor, index, values = args
        # There is no operator of ONNX for copy_.
        return (tensor.zero_().add_(values),) if self._takes_all(tensor, index) else None

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

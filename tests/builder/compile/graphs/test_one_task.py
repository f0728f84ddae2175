"""A task that is the same for every text, followed through the functions with which code looks up its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.torch, pytest.mark.onnx]


def routed(change: Callable[[Any], None] = lambda _: None) -> Any:
    """Return a module with a matrix for each of three tasks, of which every row of a batch has the last."""
    import torch

    class Routed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            generator = torch.Generator().manual_seed(3)
            self.matrices = torch.nn.Parameter(torch.randn(3, 4, 4, generator=generator))

        def forward(self, values: Any) -> Any:
            mask = torch.full((values.shape[0],), 2, dtype=torch.int32)
            change(mask)
            found = torch.empty_like(values)
            for task in torch.unique(mask):
                rows = (mask == task).nonzero(as_tuple=True)[0]
                found[rows] = values[rows] @ self.matrices[task]
            return found

    return Routed().eval()


def functions_of(module: Any) -> list[str]:
    """Return what a module computes for three rows, as the names of torch's operators."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    class Seen(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self.names: list[str] = []

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.names.append(func.overloadpacket.__name__)
            return func(*args, **(kwargs or {}))

    with torch.no_grad(), Seen() as seen:
        module(torch.ones(3, 4))
    names: list[str] = seen.names
    return names


def test_the_result_is_the_same_without_functions_that_depend_on_values() -> None:
    import torch

    from thoth_models_builder.compile.graphs.one_task import OneTask

    module = routed()
    dependent = {"_unique2", "nonzero"}
    assert dependent <= set(functions_of(module))
    values = torch.randn(3, 4, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        expected = module(values)
        with OneTask():
            found = module(values)
            names = functions_of(module)
    assert torch.equal(found, expected)
    assert dependent.isdisjoint(names)


@pytest.mark.parametrize("through_a_view", [False, True])
def test_a_task_that_differs_in_a_row_is_not_followed(through_a_view: bool) -> None:  # noqa: FBT001 - a parameter
    import torch

    from thoth_models_builder.compile.graphs.one_task import OneTask

    def change(mask: Any) -> None:
        if through_a_view:
            mask[:1].fill_(0)
        else:
            mask[0] = 0

    module = routed(change)
    values = torch.ones(3, 4)
    with torch.no_grad(), OneTask():
        found = module(values)
    with torch.no_grad():
        assert torch.equal(found, module(values))
    assert not torch.equal(found[0], found[1])


def test_what_else_unique_returns_is_left_to_torch() -> None:
    import torch

    from thoth_models_builder.compile.graphs.one_task import OneTask

    with OneTask():
        values, counts = torch.unique(torch.full((3,), 7), return_counts=True)
    assert (values.tolist(), counts.tolist()) == ([7], [3])


def test_rows_of_another_tensor_are_read_one_by_one() -> None:
    """Not all of its rows have a text."""
    import torch

    from thoth_models_builder.compile.graphs.one_task import OneTask

    with OneTask():
        mask = torch.full((2,), 1)
        rows = torch.nonzero(mask == 1, as_tuple=True)[0]
        assert torch.arange(5)[rows].tolist() == [0, 1]


@pytest.mark.filterwarnings("ignore")
def test_an_adapter_becomes_part_of_the_weights(tmp_path: Path) -> None:
    import onnx
    import torch

    from thoth_models_builder.compile.exporters import by_tracing
    from thoth_models_builder.compile.graphs.one_task import OneTask
    from thoth_models_builder.compile.graphs.writing import finish_graph, write_graph

    module = routed()

    class Pipeline(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, inputs: dict[str, Any]) -> Any:
            return self.module(inputs["input_ids"].to(torch.float32)[:, :1].expand(-1, 4))

    with OneTask():
        graph, weights = by_tracing(Pipeline(), {"input_ids": torch.ones(2, 7, dtype=torch.int64)})
    write_graph(graph, tmp_path / "raw.onnx", weights)
    finish_graph(tmp_path / "raw.onnx", tmp_path / "graph.onnx")
    finished = onnx.load(tmp_path / "graph.onnx")
    # Of three matrices there is one.
    assert max(len(tensor.dims) for tensor in finished.graph.initializer) == 2

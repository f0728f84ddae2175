"""Trace the attention of a model as one node: what transformers calls instead of its own, and the mask it passes on.

transformers lets a program register an attention under a name, and how its mask is made. Instead of a matrix of
tokens x tokens, the mask made here is a description: the tokens that are no padding, and a band around the diagonal.
The trace then contains one node for each layer, which :mod:`~thoth_models_builder.compile.attention.nodes` replaces.

A model that does not call the registered attention, or asks it for something that a description cannot express, raises
:class:`UnsupportedAttentionError`, or its trace has no such node.
"""

from __future__ import annotations

import contextlib
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from transformers import AttentionInterface, AttentionMaskInterface

from thoth_models_builder.compile.attention.nodes import BIDIRECTIONAL, CAUSAL, DOMAIN, ROTATED, WINDOWED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sentence_transformers import SentenceTransformer
    from torch import Tensor

NAME: Final = "thoth"
"""The name under which transformers knows this attention."""

_FURTHEST: Final = 65_536
"""Distance up to which a mask is examined; a wider band counts as unlimited. The longest inputs have 32,768 tokens."""
_QUERIES: Final = (0, 1, 2, 3, 62, 509, *(2**power + one for power in range(12, 17) for one in (-1, 0)), 70_000)
"""Positions of the queries whose masks must all be the same band. No mask of chunks of up to 70,000 tokens passes: the
last query sees the part of its chunk that is before it, and others would have to see as much."""


class UnsupportedAttentionError(Exception):
    """The model's attention is not one that this package can replace; the message says why."""


@dataclass(frozen=True)
class Band:
    """Which keys a query sees: those from ``left`` positions before it to ``right`` after it; None for no limit."""

    left: int | None
    right: int | None


@dataclass(frozen=True)
class _Mask:
    """A mask as transformers passes it on to the attention of each layer; ``padding`` is true where a token is."""

    padding: Tensor
    band: Band


def band_of(mask_function: Callable[..., Any]) -> Band:
    """Return the band of one of transformers' mask functions, which say whether a position sees another.

    Raises:
        UnsupportedAttentionError: It is not the same band for every query.
    """
    keys = torch.arange(_QUERIES[-1] + _FURTHEST + 1)
    seen = [_row(mask_function, query, keys) for query in _QUERIES]
    distances = torch.nonzero(seen[-1]).flatten() - _QUERIES[-1]
    if not distances.numel():
        raise UnsupportedAttentionError("expected a mask in which a token sees some other, found an empty one")
    first, last = int(distances[0]), int(distances[-1])
    band = Band(None if first <= -_FURTHEST else -first, None if last >= _FURTHEST else last)
    for query, row in zip(_QUERIES, seen, strict=True):
        if not torch.equal(row, _within(band, keys - query)):
            raise UnsupportedAttentionError("expected a mask that is the same band for every token, found another")
    return band


def _row(mask_function: Callable[..., Any], query: int, keys: Tensor) -> Tensor:
    zero = torch.zeros((), dtype=torch.int64)
    seen: Tensor = mask_function(zero, zero, torch.full((), query), keys)
    return seen.expand(keys.shape)


def _within(band: Band, distance: Tensor) -> Tensor:
    """Return where a key at a distance from its query is in the band."""
    seen = torch.ones_like(distance, dtype=torch.bool)
    if band.left is not None:
        seen &= distance >= -band.left
    if band.right is not None:
        seen &= distance <= band.right
    return seen


class _Attention(torch.autograd.Function):
    """One node in a trace; outside of it, the same by torch's own attention with the whole matrix as a mask."""

    @staticmethod
    def forward(  # noqa: PLR0913, PLR0917 - the inputs of one node
        _: Any,  # noqa: ANN401 - torch has no public type for it
        query: Tensor,
        key: Tensor,
        value: Tensor,
        padding: Tensor,
        band: Band,
        settings: tuple[int, int, float],
    ) -> Tensor:
        """Return the values that each query attends to, of shape (batch, heads, tokens, size), as the queries."""
        places = torch.arange(query.shape[2])
        seen = _within(band, places.unsqueeze(0) - places.unsqueeze(1)) & padding[:, None, None, :]
        return torch.nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=seen, scale=settings[2], enable_gqa=True
        )

    @staticmethod
    def symbolic(  # noqa: PLR0913, PLR0917 - as forward
        graph: Any,  # noqa: ANN401 - torch has no public type for it
        query: Any,  # noqa: ANN401 - values of the traced graph
        key: Any,  # noqa: ANN401
        value: Any,  # noqa: ANN401
        padding: Any,  # noqa: ANN401
        band: Band,
        settings: tuple[int, int, float],
    ) -> Any:  # noqa: ANN401
        """Return the node that stands for it in a graph; the settings are heads, heads of the keys, and scale."""
        heads, kv_heads, scale = settings
        if band.right == 0:
            window = -1 if band.left is None else band.left + 1
            sizes = {"heads_i": heads, "kv_heads_i": kv_heads, "window_i": window}
            made = graph.op(f"{DOMAIN}::{CAUSAL}", query, key, value, scale_f=scale, **sizes)
        elif band.left is None:
            made = graph.op(f"{DOMAIN}::{BIDIRECTIONAL}", query, key, value, padding, scale_f=scale)
        else:
            made = graph.op(
                f"{DOMAIN}::{WINDOWED}", query, key, value, padding, scale_f=scale, left_i=band.left, right_i=band.right
            )
        return made.setType(query.type())


def _attend(  # noqa: PLR0913, PLR0917 - called by transformers
    _module: object,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any,  # noqa: ANN401 - what _describe returned, unless the model made another mask
    dropout: float = 0.0,
    scaling: float | None = None,
    **options: object,
) -> tuple[Tensor, None]:
    """Compute the attention of a layer; query, key and value have the shape (batch, heads, tokens, size)."""
    if not isinstance(attention_mask, _Mask) or dropout:
        raise UnsupportedAttentionError("expected the mask that was described, found another")
    if asked := sorted(name for name in ("position_bias", "softcap", "s_aux") if options.get(name) is not None):
        raise UnsupportedAttentionError(f"expected attention without {', '.join(asked)}")
    band = attention_mask.band
    if band.right != 0 and (band.left is None) != (band.right is None):
        raise UnsupportedAttentionError(f"expected a window on both sides, found {band}")
    # While a graph is traced, sizes are tensors.
    if int(query.shape[-1]) != int(value.shape[-1]):
        raise UnsupportedAttentionError("expected values as wide as the queries")
    heads, kv_heads = int(query.shape[1]), int(key.shape[1])
    if band.right != 0 and heads != kv_heads:
        count = heads // kv_heads
        key, value = (part.unsqueeze(2).expand(-1, -1, count, -1, -1).flatten(1, 2) for part in (key, value))
    scale = float(query.shape[-1]) ** -0.5 if scaling is None else float(scaling)
    apply: Any = _Attention.apply
    mixed: Tensor = apply(query, key, value, attention_mask.padding, band, (heads, kv_heads, scale))
    return mixed.transpose(1, 2).contiguous(), None


class _Rotation(torch.autograd.Function):
    """One node in a trace for rotary positions; outside of it, what the model computes."""

    @staticmethod
    def forward(_: Any, states: Tensor, cosines: Tensor, sines: Tensor, half: int) -> Tensor:  # noqa: ANN401, ARG004
        """Return states, of shape (batch, heads, tokens, 2 x half), turned by angles of shape (1, tokens, 2 x half)."""
        first, second = states.chunk(2, dim=-1)
        turned = torch.cat((-second, first), dim=-1)
        return states * cosines.unsqueeze(1) + turned * sines.unsqueeze(1)

    @staticmethod
    def symbolic(graph: Any, states: Any, cosines: Any, sines: Any, half: int) -> Any:  # noqa: ANN401 - as above
        """Return the node that stands for it in a graph."""
        return graph.op(f"{DOMAIN}::{ROTATED}", states, cosines, sines, half_i=[half]).setType(states.type())


@contextlib.contextmanager
def rotation_of(model: SentenceTransformer) -> Iterator[None]:
    """Let rotary positions of a model be one node of a trace within the context, if it has them in the usual form.

    Models of the transformers library apply them by a function of the same name in each module. The halves of the
    angles are taken to be the same, as that function has it; where they are not, the graph differs from the model.
    """
    module = sys.modules[type(getattr(model[0], "model", None)).__module__]
    before = getattr(module, _ROTATE, None)
    if before is None:
        yield
        return

    def rotate(query: Tensor, key: Tensor, cosines: Tensor, sines: Tensor, unsqueeze_dim: int = 1) -> Any:  # noqa: ANN401
        is_usual = unsqueeze_dim == 1 and cosines.ndim == 3 and int(cosines.shape[0]) == 1  # noqa: PLR2004
        size = int(query.shape[-1])
        if not is_usual or int(cosines.shape[-1]) != size:
            return before(query, key, cosines, sines, unsqueeze_dim=unsqueeze_dim)
        apply: Any = _Rotation.apply
        return apply(query, cosines, sines, size // 2), apply(key, cosines, sines, size // 2)

    setattr(module, _ROTATE, rotate)
    try:
        yield
    finally:
        setattr(module, _ROTATE, before)


_ROTATE: Final = "apply_rotary_pos_emb"


def _describe(
    *,
    q_offset: int = 0,
    kv_offset: int = 0,
    mask_function: Callable[..., Any],
    attention_mask: Tensor | None = None,
    **_: object,
) -> _Mask:
    """Return a description where transformers would make a matrix."""
    if attention_mask is None or q_offset or kv_offset:
        raise UnsupportedAttentionError("expected a mask of the padding, and no cache")
    # In a thread of its own, where torch does not trace, and tensors have values.
    with ThreadPoolExecutor(1) as thread:
        band = thread.submit(band_of, mask_function).result()
    return _Mask(attention_mask, band)


@contextlib.contextmanager
def attention_of(model: SentenceTransformer, name: str) -> Iterator[None]:
    """Let the transformer of a model use another attention, such as :data:`NAME` or ``sdpa``, within the context.

    Raises:
        UnsupportedAttentionError: The model has no transformer, or one that cannot change its attention.
    """
    transformer: Any = getattr(model[0], "model", None)
    change = getattr(transformer, "set_attn_implementation", None)
    if change is None:
        raise UnsupportedAttentionError("expected a transformer, whose attention can be replaced")
    before = transformer.config._attn_implementation  # noqa: SLF001 - transformers has no public name for it
    try:
        change(name)
    except (KeyError, ValueError) as error:
        raise UnsupportedAttentionError(str(error)) from error
    try:
        if transformer.config._attn_implementation != name:  # noqa: SLF001
            raise UnsupportedAttentionError(f"{type(transformer).__name__} has its own attention only")
        yield
    finally:
        change(before)


AttentionInterface.register(NAME, _attend)
AttentionMaskInterface.register(NAME, _describe)

"""The nodes of traced attention, and what each becomes in a graph: operators of onnxruntime that work in blocks.

Each function of attention takes query, key and value of shape (batch, heads, tokens, size), and all but the causal one
the tokens that are no padding, bool of shape (batch, tokens); it returns what the queries attend to, shaped as they
are. One more applies rotary positions to queries or keys: as seven operators they take five times the memory of one.
docs/decisions/0032-long-texts.md has what was measured of each operator, and of the alternatives.
"""

from __future__ import annotations

from typing import Final

import onnx
from onnx import inliner, parser

DOMAIN: Final = "thoth"
BIDIRECTIONAL: Final = "BidirectionalAttention"
WINDOWED: Final = "WindowedAttention"
CAUSAL: Final = "CausalAttention"
ROTATED: Final = "RotatedStates"

FULL_TOKENS: Final = 64
"""Tokens up to which attention to texts without padding holds the whole matrix, which is faster."""
PADDED_TOKENS: Final = 256
"""The same where some of the texts are padded; heads x 256 KiB for each text at most."""
CAUSAL_TOKENS: Final = 1_024
"""Tokens up to which causal attention holds the whole matrix, which is faster: heads x 4 MiB at most."""
WINDOW_TOKENS: Final = 256
"""Queries in a block of attention with a window."""

_OPSETS: Final = '"" : 20, "com.microsoft" : 1, "thoth" : 1'

_BIDIRECTIONAL: Final = f"""
<domain: "{DOMAIN}", opset_import: [{_OPSETS}]>
{BIDIRECTIONAL} <scale> (query, key, value, padding) => (result)
{{
    # From the padding, so that these nodes are the same in all layers, and an optimiser merges them.
    counted = Cast <to = 6> (padding)
    fewest = ReduceMin <keepdims = 0> (counted)
    is_full = Cast <to = 9> (fewest)
    zero = Constant <value_float = 0.0> ()
    never = Constant <value_float = -1e30> ()
    costs = Where (padding, zero, never)
    between = Constant <value_ints = [1, 2]> ()
    cost_row = Unsqueeze (costs, between)
    one = Constant <value_ints = [1]> ()
    size = Shape <start = 1, end = 2> (padding)
    most_padded = Constant <value_ints = [{PADDED_TOKENS}]> ()
    most_full = Constant <value_ints = [{FULL_TOKENS}]> ()
    most = Where (is_full, most_full, most_padded)
    is_whole = LessOrEqual (size, most)
    # A row for each query where it is added to the whole matrix, which is faster than to repeat one.
    count = Where (is_whole, size, one)
    sides_of_cost = Concat <axis = 0> (one, one, count, one)
    cost = Expand (cost_row, sides_of_cost)
    result = If (is_whole) <
        then_branch = whole () => (float[batch, heads, tokens, width] mixed_whole) {{
            product = com.microsoft.FusedMatMul <alpha: float = @scale, transB = 1> (query, key)
            scores = Add (product, cost)
            shares = Softmax <axis = -1> (scores)
            mixed_whole = MatMul (shares, value)
        }},
        else_branch = blocks () => (float[batch, heads, tokens, width] mixed_blocks) {{
            # Each head as a text of one head, so that the operator finds the order of axes that it works with.
            shape = Shape (query)
            each = Constant <value_ints = [-1]> ()
            sides = Shape <start = 2, end = 4> (query)
            alone = Concat <axis = 0> (each, sides)
            value_alone = Reshape (value, alone)
            mixed_alone = If (is_full) <
                then_branch = full () => (float[rows, tokens, width] mixed_full) {{
                    query_alone = Reshape (query, alone)
                    key_alone = Reshape (key, alone)
                    mixed_full = com.microsoft.MultiHeadAttention <num_heads = 1, scale: float = @scale> (
                        query_alone, key_alone, value_alone
                    )
                }},
                else_branch = padded () => (float[rows, tokens, width] mixed_padded) {{
                    # The operator has no form in blocks with a mask. So each query and key has one more component,
                    # whose product is added to their score: 1 x 0, or 1 x -1e30 for padding.
                    cost_column = Transpose <perm = [0, 1, 3, 2]> (cost_row)
                    above = Shape <start = 0, end = 3> (query)
                    column = Concat <axis = 0> (above, one)
                    key_column = Expand (cost_column, column)
                    query_column = ConstantOfShape <value = float[1] {{1.0}}> (column)
                    query_more = Concat <axis = 3> (query, query_column)
                    key_more = Concat <axis = 3> (key, key_column)
                    tokens_side = Shape <start = 2, end = 3> (query)
                    width_more = Shape <start = 3, end = 4> (query_more)
                    alone_more = Concat <axis = 0> (each, tokens_side, width_more)
                    query_alone_more = Reshape (query_more, alone_more)
                    key_alone_more = Reshape (key_more, alone_more)
                    mixed_padded = com.microsoft.MultiHeadAttention <num_heads = 1, scale: float = @scale> (
                        query_alone_more, key_alone_more, value_alone
                    )
                }}
            >
            mixed_blocks = Reshape (mixed_alone, shape)
        }}
    >
}}
"""

_WINDOWED: Final = f"""
<domain: "{DOMAIN}", opset_import: [{_OPSETS}]>
{WINDOWED} <scale, left, right> (query, key, value, padding) => (result)
{{
    axis = Constant <value_ints = [2]> ()
    first = Constant <value_ints = [0]> ()
    second = Constant <value_ints = [1]> ()
    size = Shape <start = 1, end = 2> (padding)
    tokens = Squeeze (size)
    left = Constant <value_int: int = @left> ()
    right = Constant <value_int: int = @right> ()
    block = Constant <value_int = {WINDOW_TOKENS}> ()
    # A place, as the step; the other zero is a cost.
    nought = Constant <value_int = 0> ()
    step = Constant <value_int = 1> ()
    zero = Constant <value_float = 0.0> ()
    never = Constant <value_float = -1e30> ()
    yes = Constant <value = bool {{1}}> ()
    places = Range (nought, tokens, step)
    negative_left = Neg (left)
    before_end = Sub (block, step)
    up = Add (tokens, before_end)
    blocks = Div (up, block)
    narrow = Min (left, right)
    is_short = LessOrEqual (tokens, narrow)
    result = If (is_short) <
        then_branch = short () => (float[batch, heads, tokens, width] mixed_short) {{
            mixed_short = {DOMAIN}.{BIDIRECTIONAL} <scale: float = @scale> (query, key, value, padding)
        }},
        else_branch = long () => (float[batch, heads, tokens, width] mixed_long) {{
            none = SequenceEmpty ()
            all = Loop (blocks, yes, none) <
                body = each (int64 index, bool go, seq(float[batch, heads, some, width]) done)
                    => (bool still, seq(float[batch, heads, some, width]) more)
                {{
                    start = Mul (index, block)
                    end = Add (start, block)
                    left_edge = Sub (start, left)
                    key_start = Max (left_edge, nought)
                    key_end = Add (end, right)
                    starts = Unsqueeze (start, first)
                    ends = Unsqueeze (end, first)
                    key_starts = Unsqueeze (key_start, first)
                    key_ends = Unsqueeze (key_end, first)
                    query_block = Slice (query, starts, ends, axis)
                    key_block = Slice (key, key_starts, key_ends, axis)
                    value_block = Slice (value, key_starts, key_ends, axis)
                    padding_block = Slice (padding, key_starts, key_ends, second)
                    query_places = Slice (places, starts, ends, first)
                    key_places = Slice (places, key_starts, key_ends, first)
                    query_column = Unsqueeze (query_places, second)
                    distance = Sub (key_places, query_column)
                    not_left = GreaterOrEqual (distance, negative_left)
                    not_right = LessOrEqual (distance, right)
                    near = And (not_left, not_right)
                    padding_row = Unsqueeze (padding_block, second)
                    seen = And (near, padding_row)
                    costs = Where (seen, zero, never)
                    cost = Unsqueeze (costs, second)
                    product = com.microsoft.FusedMatMul <alpha: float = @scale, transB = 1> (query_block, key_block)
                    scores = Add (product, cost)
                    shares = Softmax <axis = -1> (scores)
                    mixed_block = MatMul (shares, value_block)
                    more = SequenceInsert (done, mixed_block)
                    still = Identity (go)
                }}
            >
            mixed_long = ConcatFromSequence <axis = 2> (all)
        }}
    >
}}
"""

_CAUSAL: Final = f"""
<domain: "{DOMAIN}", opset_import: [{_OPSETS}]>
{CAUSAL} <heads, kv_heads, scale, window> (query, key, value) => (result)
{{
    merged = Constant <value_ints = [0, 0, -1]> ()
    query_last = Transpose <perm = [0, 2, 1, 3]> (query)
    key_last = Transpose <perm = [0, 2, 1, 3]> (key)
    value_last = Transpose <perm = [0, 2, 1, 3]> (value)
    query_rows = Reshape (query_last, merged)
    key_rows = Reshape (key_last, merged)
    value_rows = Reshape (value_last, merged)
    shape = Shape (query_last)
    size = Shape <start = 2, end = 3> (query)
    rows = Shape <start = 0, end = 1> (query)
    tokens = Squeeze (size)
    total = Cast <to = 6> (tokens)
    one = Constant <value = int32 {{1}}> ()
    # The place of the last token, for each text: padding counts as tokens, which those before it do not see.
    last = Sub (total, one)
    lasts = Expand (last, rows)
    most = Constant <value_int = {CAUSAL_TOKENS}> ()
    is_short = LessOrEqual (tokens, most)
    mixed = If (is_short) <
        then_branch = short () => (float[batch, tokens, width] mixed_short) {{
            mixed_short = com.microsoft.GroupQueryAttention <
                num_heads: int = @heads, kv_num_heads: int = @kv_heads, scale: float = @scale,
                local_window_size: int = @window
            > (query_rows, key_rows, value_rows, "", "", lasts, total)
        }},
        else_branch = long () => (float[batch, tokens, width] mixed_long) {{
            # With these outputs, which are not used, the operator works in blocks.
            mixed_long, present_keys, present_values = com.microsoft.GroupQueryAttention <
                num_heads: int = @heads, kv_num_heads: int = @kv_heads, scale: float = @scale,
                local_window_size: int = @window
            > (query_rows, key_rows, value_rows, "", "", lasts, total)
        }}
    >
    mixed_last = Reshape (mixed, shape)
    result = Transpose <perm = [0, 2, 1, 3]> (mixed_last)
}}
"""

_ROTATED: Final = f"""
<domain: "{DOMAIN}", opset_import: [{_OPSETS}]>
{ROTATED} <half> (states, cosines, sines) => (result)
{{
    # Both halves of the last axis are the same, and the operator takes one of them.
    nought = Constant <value_ints = [0]> ()
    last = Constant <value_ints = [2]> ()
    end = Constant <value_ints: ints = @half> ()
    cosine_halves = Slice (cosines, nought, end, last)
    sine_halves = Slice (sines, nought, end, last)
    cosine_rows = Squeeze (cosine_halves, nought)
    sine_rows = Squeeze (sine_halves, nought)
    result = com.microsoft.RotaryEmbedding (states, nought, cosine_rows, sine_rows)
}}
"""

_SHAPED_AS_QUERIES: Final = """
<domain: "thoth", opset_import: ["" : 20]>
NAME <scale> (query, key, value) => (result)
{
    result = Identity (query)
}
"""


def declare(model: onnx.ModelProto) -> list[str]:
    """Add functions with the right shapes for the nodes of traced attention, so that shapes can be inferred.

    Returns:
        The kinds of nodes that the graph has, sorted.
    """
    kinds = sorted({node.op_type for node in model.graph.node if node.domain == DOMAIN})
    for kind in kinds:
        function = parser.parse_function(_SHAPED_AS_QUERIES.replace("NAME", kind))
        if kind in (BIDIRECTIONAL, WINDOWED):
            function.input.append("padding")
        sample = next(node for node in model.graph.node if node.op_type == kind)
        del function.attribute[:]
        function.attribute.extend(attribute.name for attribute in sample.attribute)
        model.functions.append(function)
    return kinds


def expand(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace the nodes of traced attention by the operators that compute it; return the new graph."""
    del model.functions[:]
    model.functions.extend(parser.parse_function(text) for text in (_BIDIRECTIONAL, _WINDOWED, _CAUSAL, _ROTATED))
    domains = {opset.domain for opset in model.opset_import}
    for domain in (DOMAIN, "com.microsoft"):
        if domain not in domains:
            model.opset_import.add(domain=domain, version=1)
    expanded = inliner.inline_local_functions(model)
    kept = [opset for opset in expanded.opset_import if opset.domain != DOMAIN]
    del expanded.opset_import[:]
    expanded.opset_import.extend(kept)
    del expanded.functions[:]
    return expanded

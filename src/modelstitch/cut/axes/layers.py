"""Operators that say which axis holds channels: layers sum over it, norms have a weight for each of its entries."""

from __future__ import annotations

import re

from torch.fx import Node

from modelstitch.cut.axes.maps import Axes, Key, length
from modelstitch.cut.axes.walk import LAYER, NORM, POOLED, Rule, Walk
from modelstitch.cut.operators import argument, operator_name


def _pointwise(walk: Walk, node: Node) -> Axes:
    """Entry by entry. A vector of weights along one axis has a number for each of its entries: it names channels."""
    given = [one for one in node.all_input_nodes if walk.sizes(one)]
    axes = walk.broadcast([walk.axes(one) for one in given])
    if any(map(walk.is_data, given)) and len(axes) > 1:
        for one in given:
            long = [key for key in walk.axes(one) if length(key) != 1]
            if walk.is_weight(one) and len(long) == 1:
                walk.testify(long[0], NORM)
    return axes


def _contracted(walk: Walk, a: Node, b: Node, summed: Key, free: tuple[tuple[Key, ...], tuple[Key, ...]]) -> None:
    """A sum over products: of data with weights it is a layer, and sums over channels; what it makes are channels."""
    for data, weight, made in ((a, b, free[1]), (b, a, free[0])):
        if walk.is_data(data) and walk.is_weight(weight):
            walk.testify(summed, LAYER)
            for key in made:
                walk.testify(key, LAYER)


def _linear(walk: Walk, node: Node) -> Axes:
    x, weight = node.args[:2]
    assert isinstance(x, Node)
    assert isinstance(weight, Node)
    out, summed = walk.axes(weight)[:1], walk.axes(weight)[-1]
    summed = walk.one([walk.axes(x)[-1], summed])
    _contracted(walk, x, weight, summed, ((), out))
    return (*walk.axes(x)[:-1], *out)


def _matmul(walk: Walk, node: Node) -> Axes:
    first = 1 if operator_name(node) in ("addmm", "baddbmm") else 0
    a, b = node.args[first : first + 2]
    assert isinstance(a, Node)
    assert isinstance(b, Node)
    left, right = walk.axes(a), walk.axes(b)
    rows, columns = left[-2:-1], right[-1:] if len(right) > 1 else ()
    summed = walk.one([left[-1], right[-2] if len(right) > 1 else right[-1]])
    # Of one matrix for each example or head, the axes in front are shared and not made.
    shared = walk.broadcast([left[:-2], right[:-2]])
    _contracted(walk, a, b, summed, (rows, columns))
    return (*shared, *rows, *columns)


def _einsum(walk: Walk, node: Node) -> Axes | list[Axes]:
    equation, given = str(node.args[0]).replace(" ", ""), node.args[1]
    assert isinstance(given, (list, tuple))
    terms, arrow, out = equation.partition("->")
    letters = terms.split(",")
    if "." in equation or not arrow or any(len(t) != len(walk.axes(x)) for t, x in zip(letters, given, strict=True)):
        return walk.unknown(node)
    by_letter: dict[str, list[Key]] = {}
    for term, x in zip(letters, given, strict=True):
        for letter, key in zip(term, walk.axes(x), strict=True):
            by_letter.setdefault(letter, []).append(key)
    known = {letter: walk.one(keys) for letter, keys in by_letter.items()}
    of_data, of_weights = (
        {letter for term, x in zip(letters, given, strict=True) if asked(x) for letter in term}
        for asked in (walk.is_data, walk.is_weight)
    )
    if of_data:
        for letter in of_weights:
            if (letter in of_data) != (letter in out):
                walk.testify(known[letter], LAYER)
    return tuple(known[letter] for letter in out)


def _attention(walk: Walk, node: Node) -> Axes | list[Axes]:
    query, key, value = (walk.axes(one) for one in node.args[:3])
    walk.one([query[-1], key[-1]])
    walk.one([key[-2], value[-2]])
    # Several heads of queries may share one of keys, in which case these axes differ in length.
    for one, other in zip(query[:-2], value[:-2], strict=False):
        walk.maps.same(one, other)
    return [(*query[:-1], value[-1])]


def _convolution(walk: Walk, node: Node) -> Axes:
    x, weight = node.args[:2]
    axes, sizes, kernel = walk.axes(x), walk.sizes(node), walk.axes(weight)
    at = len(axes) - len(kernel) + 1
    made = kernel[0] if length(kernel[0]) == sizes[at] else walk.maps.fresh(sizes[at])
    if walk.is_data(x):
        walk.testify(axes[at], LAYER)
        walk.testify(made, LAYER)
    return (*axes[:at], made, *walk.like(axes[at + 1 :], sizes[at + 1 :]))


def _norm_of_last(walk: Walk, node: Node) -> list[Axes]:
    axes = walk.axes(node.args[0])
    shape = argument(node, "normalized_shape", ())
    if len(shape) == 1:
        walk.testify(axes[-1], NORM)
    return [axes]


def _norm_of_second(walk: Walk, node: Node) -> list[Axes]:
    axes = walk.axes(node.args[0])
    if len(axes) > 1:
        walk.testify(axes[1], NORM)
    return [axes]


def _embedding(walk: Walk, node: Node) -> Axes:
    weight, index = node.args[:2]
    made = walk.axes(weight)[-1]
    walk.testify(made, NORM)
    return (*walk.axes(index), made)


def _pooled(walk: Walk, node: Node) -> list[Axes]:
    """A pooling or a resize: the last axes are positions, the one before them it leaves alone."""
    axes, name = walk.axes(node.args[0]), operator_name(node)
    told = re.search(r"(\d)d", name)
    at = len(axes) - int(told[1]) - 1 if told else 1
    if at > 0:
        walk.testify(axes[at], POOLED)
    sizes = walk.several(node) or [walk.sizes(node)]
    return [walk.like(axes, one) if len(one) == len(axes) else () for one in sizes]


def _recurrent(walk: Walk, node: Node) -> list[Axes]:
    axes = walk.axes(node.args[0])
    sizes = walk.several(node)
    made = walk.maps.fresh(sizes[0][-1])
    for key in (axes[-1], made):
        walk.testify(key, LAYER)
    return [(*axes[:-1], made)]


def _names(text: str, dims: str = "123") -> list[str]:
    return [name.replace("#", dim) for name in text.split() for dim in (dims if "#" in name else "1")]


_CONVOLUTIONS = _names("convolution _convolution conv#d conv_transpose#d")
_POOLS = _names("""max_pool#d max_pool#d_with_indices avg_pool#d adaptive_avg_pool#d _adaptive_avg_pool#d
    adaptive_max_pool#d fractional_max_pool#d lp_pool#d upsample_nearest#d _upsample_nearest_exact#d upsample_linear1d
    upsample_bilinear2d _upsample_bilinear2d_aa upsample_bicubic2d _upsample_bicubic2d_aa upsample_trilinear3d
    grid_sampler_2d grid_sampler_3d""")
_NORMS = """batch_norm native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training cudnn_batch_norm
    _batch_norm_impl_index group_norm native_group_norm instance_norm local_response_norm"""
_ATTENTION = """scaled_dot_product_attention _scaled_dot_product_flash_attention_for_cpu
    _scaled_dot_product_flash_attention _scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention
    _scaled_dot_product_attention_math"""

LAYERS: dict[str, Rule] = {
    "pointwise": _pointwise,
    "linear": _linear,
    **dict.fromkeys(("matmul", "mm", "bmm", "mv", "addmm", "baddbmm"), _matmul),
    **dict.fromkeys(_CONVOLUTIONS, _convolution),
    **dict.fromkeys(_POOLS, _pooled),
    **dict.fromkeys(_NORMS.split(), _norm_of_second),
    **dict.fromkeys(_ATTENTION.split(), _attention),
    **dict.fromkeys(("layer_norm", "native_layer_norm", "rms_norm", "_fused_rms_norm"), _norm_of_last),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), _recurrent),
    "einsum": _einsum,
    "embedding": _embedding,
}

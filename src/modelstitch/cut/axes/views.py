"""Operators that move, split, join, drop or repeat axes and take none for channels."""

from __future__ import annotations

from typing import Any

from torch.fx import Node

from modelstitch.cut.axes.maps import Axes, Key, length
from modelstitch.cut.axes.walk import Rule, Walk, axes_argument, axis_argument
from modelstitch.cut.operators import argument


def _same(walk: Walk, node: Node) -> Axes | list[Axes]:
    """The axes of the first tensor, in each of the results; where a length changes, of the same kind."""
    axes = walk.axes(node.args[0])
    sizes = walk.several(node) or [walk.sizes(node)]
    return [walk.like(axes, one) if len(one) == len(axes) else () for one in sizes]


def _reshaped(walk: Walk, node: Node) -> Axes:
    return walk.maps.reshaped(walk.axes(node.args[0]), walk.sizes(node))


def _permuted(walk: Walk, node: Node) -> Axes:
    axes = walk.axes(node.args[0])
    return tuple(axes[dim] for dim in axes_argument(node, len(axes), "dims"))


def _transposed(walk: Walk, node: Node) -> Axes:
    axes = list(walk.axes(node.args[0]))
    a, b = axis_argument(node, len(axes), "dim0"), axis_argument(node, len(axes), "dim1")
    axes[a], axes[b] = axes[b], axes[a]
    return tuple(axes)


def _turned(walk: Walk, node: Node) -> Axes:
    return walk.axes(node.args[0])[::-1]


def _matrix_turned(walk: Walk, node: Node) -> Axes:
    *others, a, b = walk.axes(node.args[0])
    return (*others, b, a)


def _moved(walk: Walk, node: Node) -> Axes:
    axes = walk.axes(node.args[0])
    source, target = (axes_argument(node, len(axes), name) for name in ("source", "destination"))
    rest = iter(index for index in range(len(axes)) if index not in source)
    order = [source[target.index(i)] if i in target else next(rest) for i in range(len(axes))]
    return tuple(axes[index] for index in order)


def _unsqueezed(walk: Walk, node: Node) -> Axes:
    axes = walk.axes(node.args[0])
    at = axis_argument(node, len(axes) + 1)
    return (*axes[:at], walk.maps.fresh(1), *axes[at:])


def _squeezed(walk: Walk, node: Node) -> Axes:
    axes = walk.axes(node.args[0])
    dims = axes_argument(node, len(axes))
    return tuple(key for index, key in enumerate(axes) if index not in dims or length(key) != 1)


def _expanded(walk: Walk, node: Node) -> Axes:
    sizes, axes = walk.sizes(node), walk.axes(node.args[0])
    padded = ((),) * (len(sizes) - len(axes)) + axes
    pairs = zip(padded, sizes, strict=True)
    return tuple(key if length(key) == size else walk.maps.fresh(size) for key, size in pairs)


def _repeated(walk: Walk, node: Node) -> Axes:
    sizes, axes = walk.sizes(node), walk.axes(node.args[0])
    padded = ((),) * (len(sizes) - len(axes)) + axes
    # A single entry that is repeated says nothing of the many.
    pairs = zip(padded, sizes, strict=True)
    return tuple(walk.maps.fresh(size) if length(key) == 1 < size else walk.part(key, size) for key, size in pairs)


def _selected(walk: Walk, node: Node) -> Axes:
    axes = walk.axes(node.args[0])
    at = axis_argument(node, len(axes))
    return axes[:at] + axes[at + 1 :]


def _unbound(walk: Walk, node: Node) -> list[Axes]:
    axes = walk.axes(node.args[0])
    at = axis_argument(node, len(axes))
    return [axes[:at] + axes[at + 1 :] for _ in walk.several(node)]


def _joined(walk: Walk, node: Node) -> Axes:
    sizes = walk.sizes(node)
    given: Any = node.args[0]
    several = [axes for axes in map(walk.axes, given) if len(axes) == len(sizes)]
    at = axis_argument(node, len(sizes))
    if len(several) == 1:
        return several[0]
    joined = walk.maps.fresh(sizes[at])
    for axes in several:
        walk.maps.akin(joined, axes[at])
    return tuple(joined if i == at else walk.one(keys) for i, keys in enumerate(zip(*several, strict=True)))


def _stacked(walk: Walk, node: Node) -> Axes:
    sizes = walk.sizes(node)
    given: Any = node.args[0]
    at = axis_argument(node, len(sizes))
    axes = walk.broadcast([walk.axes(one) for one in given])
    return (*axes[:at], walk.maps.fresh(sizes[at]), *axes[at:])


def _reduced(walk: Walk, node: Node) -> Axes | list[Axes]:
    axes = walk.axes(node.args[0])
    dims = axes_argument(node, len(axes))
    many = walk.several(node)
    kept: list[Key] = [walk.part(key, 1) if index in dims else key for index, key in enumerate(axes)]
    if len(many[0] if many else walk.sizes(node)) != len(axes):
        kept = [key for index, key in enumerate(axes) if index not in dims]
    return [tuple(kept)] * max(1, len(many))


def _indexed(walk: Walk, node: Node) -> Axes:
    """``x[a, :, b]``: the axes of the indices stand where they were used, or in front where they were used apart."""
    axes, told = walk.axes(node.args[0]), argument(node, "indices")
    indices = [*told, *[None] * (len(axes) - len(told))]
    used = [i for i, one in enumerate(indices) if one is not None]
    picked = [walk.axes(indices[i]) for i in used]
    if len(used) == 1 and len(picked[0]) == 1:
        at = used[0]
        return tuple(walk.part(key, walk.sizes(node)[at]) if i == at else key for i, key in enumerate(axes))
    inner = walk.broadcast(picked)
    at = used[0] if used == list(range(used[0], used[-1] + 1)) else 0
    rest = [key for i, key in enumerate(axes) if i not in used]
    return (*rest[:at], *inner, *rest[at:])


def _picked(walk: Walk, node: Node) -> Axes:
    axes = walk.axes(node.args[0])
    at = axis_argument(node, len(axes))
    return tuple(walk.part(key, walk.sizes(node)[i]) if i == at else key for i, key in enumerate(axes))


def _rearranged(walk: Walk, node: Node) -> Axes:
    """Pixel shuffle and its inverse, as the view and exchange of axes that they are."""
    axes, sizes = walk.axes(node.args[0]), walk.sizes(node)
    lengths = [length(key) for key in axes]
    *lead, c, h, w = range(len(axes))
    if sizes[c] < lengths[c]:
        r = sizes[h] // lengths[h]
        split = walk.maps.reshaped(axes, [*(lengths[i] for i in lead), sizes[c], r, r, lengths[h], lengths[w]])
        order = (c, c + 3, c + 1, c + 4, c + 2)
    else:
        r = lengths[h] // sizes[h]
        split = walk.maps.reshaped(axes, [*(lengths[i] for i in lead), lengths[c], sizes[h], r, sizes[w], r])
        order = (c, c + 2, c + 4, c + 1, c + 3)
    moved = tuple(split[i] for i in (*lead, *order))
    return walk.maps.reshaped(moved, sizes)


def _windowed(walk: Walk, node: Node) -> Axes:
    """``unfold``: one axis becomes windows of it, and the places in a window come last."""
    axes, sizes = walk.axes(node.args[0]), walk.sizes(node)
    return (*walk.like(axes, sizes[:-1]), walk.maps.fresh(sizes[-1]))


def _patches(walk: Walk, node: Node) -> Axes:
    """``im2col``: channels and the places in a patch on one axis, the patches on the other."""
    batch, channels, *_ = walk.axes(node.args[0])
    sizes = walk.sizes(node)
    inside = sizes[1] // max(1, length(channels))
    return (batch, (*channels, *walk.maps.fresh(inside)), walk.maps.fresh(sizes[2]))


def _part_of(walk: Walk, node: Node) -> Axes:
    found = walk.each(node.args[0])
    index: Any = node.args[1]
    return found[index] if isinstance(index, int) and -len(found) <= index < len(found) else ()


def _without_last(walk: Walk, node: Node) -> Axes:
    return walk.axes(node.args[0])[:-1]


def _with_last(walk: Walk, node: Node) -> Axes:
    return (*walk.axes(node.args[0]), walk.maps.fresh(walk.sizes(node)[-1]))


_SAME = """softmax _softmax log_softmax _log_softmax cumsum cumprod logcumsumexp cummax cummin roll flip sort argsort
    topk dropout alpha_dropout feature_dropout native_dropout clone contiguous alias detach to _to_copy type_as lift
    lift_fresh lift_fresh_copy zeros_like ones_like full_like empty_like rand_like randn_like new_zeros_like tril triu
    constant_pad_nd pad reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d
    replication_pad3d _pad_circular slice narrow split split_with_sizes chunk tensor_split unsafe_split unsafe_chunk
    unsafe_split_with_sizes glu slice_scatter select_scatter diagonal_scatter index_put _unsafe_index_put scatter
    scatter_add scatter_reduce index_copy index_add index_fill masked_scatter copy fill fill_ resolve_conj
    channel_shuffle native_channel_shuffle fft_fft fft_ifft fft_rfft fft_irfft fft_fft2 fft_ifft2 fft_rfft2 fft_irfft2
    fft_fftn fft_ifftn _fft_r2c _fft_c2c _fft_c2r nan_to_num bernoulli renorm gather take_along_dim"""
_REDUCED = """mean sum amax amin max min argmax argmin var std var_mean std_mean prod norm linalg_vector_norm logsumexp
    median nanmedian any all mode kthvalue nansum nanmean count_nonzero"""

VIEWS: dict[str, Rule] = {
    **dict.fromkeys(_SAME.split(), _same),
    **dict.fromkeys(_REDUCED.split(), _reduced),
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "flatten", "unflatten", "view_as", "reshape_as"), _reshaped),
    **dict.fromkeys(("transpose", "swapaxes", "swapdims"), _transposed),
    **dict.fromkeys(("t", "numpy_T"), _turned),
    **dict.fromkeys(("mT", "adjoint", "mH"), _matrix_turned),
    **dict.fromkeys(("movedim", "moveaxis"), _moved),
    **dict.fromkeys(("expand", "expand_as"), _expanded),
    **dict.fromkeys(("repeat", "tile", "repeat_interleave"), _repeated),
    **dict.fromkeys(("cat", "concat", "concatenate"), _joined),
    **dict.fromkeys(("index", "_unsafe_index"), _indexed),
    **dict.fromkeys(("pixel_shuffle", "pixel_unshuffle"), _rearranged),
    "permute": _permuted,
    "unsqueeze": _unsqueezed,
    "squeeze": _squeezed,
    "select": _selected,
    "unbind": _unbound,
    "stack": _stacked,
    "index_select": _picked,
    "unfold": _windowed,
    "im2col": _patches,
    "view_as_complex": _without_last,
    "view_as_real": _with_last,
    "getitem": _part_of,
}

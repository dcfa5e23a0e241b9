"""What is learnt in a graph, and what is only read off token ids: the one rule of what counts as crossing a cut.

Some of what a network computes from token ids is no activation: which tokens are padding, where a sentence ends, how
long it is. A stitch does not map it. The top computes it again from the ids, which it is given beside the tensor at its
cut, just as it is given masks that are inputs of their own.

The rule: a value is *read off* the main input (in the code: told from it) when all of these hold.

- The main input is token ids: whole numbers of 32 or 64 bits. Measured values (floating point, the bytes of an image)
  are never given to a top.
- On the way the ids are compared with a number (``ids != 0``) or with several (``torch.isin(ids, ends)``), which gives
  one yes or no for each id, or they are asked for the position of the largest or smallest.
  What is made of the ids themselves (a one-hot vector, the ids as numbers) is the input in another form, and counts.
- Nothing *learnt* comes in: no tensor of the ``state_dict`` with more than one floating-point number, nor what is made
  of one. The embedding of a position is learnt, even where the position is read off, and crosses where it is made below
  a cut and used above; made above, it is the top's own.

Beware: the comparison counts, not its purpose. A top repeats every comparison that its own network makes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import sympy
import torch
from torch import Tensor
from torch.fx import Node

from modelstitch.cut.lengths import SHAPE_OPERATORS, sizes
from modelstitch.support.tensors import is_ids

aten = torch.ops.aten
_POSITIONS = frozenset({aten.argmax, aten.argmin})


def weights_among(names: Mapping[Node, str], state: Mapping[str, Tensor]) -> set[Node]:
    """The nodes that stand for something trained.

    Args:
        names: of the nodes that are tensors of the network.
        state: the network's ``state_dict``.
    """
    # Numbers written into a forward come as tensors of one number: a saved half holds them beside its weights.
    return {
        node
        for node, name in names.items()
        if name in state and state[name].is_floating_point() and state[name].numel() > 1
    }


def data_among(nodes: Sequence[Node], main: Node, weights: Collection[Node]) -> tuple[list[Node], set[Node]]:
    """The nodes whose values count as crossing: they depend on the main input's values, and are not read off it.

    Of these, the second result holds those into which nothing learnt has come.

    Args:
        nodes: of a graph, in order.
        main: the placeholder of the main input.
        weights: the nodes that stand for something trained.
    """
    values, told, learnt, trained = {main}, set[Node](), set[Node](), set(weights)
    for node in nodes:
        given = set(node.all_input_nodes)
        # A shape is no value.
        if node.op == "output" or node.target in SHAPE_OPERATORS:
            continue
        if not given & (values | told | learnt):
            if given & trained:
                trained.add(node)
        elif given & (learnt | trained):
            learnt.add(node)
        elif not given & values or (is_ids(main.meta["val"]) and _tells(node, given & values, main)):
            told.add(node)
        else:
            values.add(node)
    crossing = {main, *learnt}
    for node in reversed(nodes):
        # Ids in another shape or type that are only compared are made anew as well; what nothing uses crosses nowhere.
        if node in values and any(user in crossing or user.op == "output" for user in node.users):
            crossing.add(node)
    return [node for node in nodes if node in crossing], values


def _tells(node: Node, ids: Collection[Node], main: Node) -> bool:
    """Whether a node compares ids with numbers, or asks at which position the largest or smallest is."""
    # Yes or no for each of the ids; were it for each pair, or for each word, it would spell the ids out.
    if not all(_is_no_more(one, main) for one in ids):
        return False
    value = node.meta.get("val")
    operator = getattr(node.target, "overloadpacket", None)
    if operator in _POSITIONS:
        return True
    compares = isinstance(value, Tensor) and value.dtype == torch.bool and len(ids) == 1
    if operator is aten.isin:
        # However many numbers it is asked for, there is one answer for each of its first argument.
        return compares and node.args[0] in ids
    others = [one for one in node.all_input_nodes if one not in ids]
    return compares and all(size == 1 for one in others for size in sizes(one))


def _is_no_more(node: Node, main: Node) -> bool:
    """Whether a value holds no more numbers than the ids themselves, and is no comparison that spelled them out."""
    ratio = sympy.simplify(sympy.prod(sizes(node)) / sympy.prod(sizes(main)))
    above, below = sympy.fraction(ratio)
    spelled = getattr(node.meta["val"], "dtype", None) == torch.bool
    return not spelled and bool(above.is_Integer and above <= below.subs(_shortest(below)))


def _shortest(size: sympy.Expr) -> dict[sympy.Symbol, int]:
    """Every length that may vary as short as it may be."""
    return dict.fromkeys(size.free_symbols, 1)

"""Whatever a user calls data, as examples: every public call reads its data through here.

Read once, in the order given. A mapping keeps its order, and its first tensor is the main input; what stands under
``labels`` (or ``label``, ``label_ids``) in it is the targets, and columns of text are left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

from modelstitch.data.arrays import Arrays, check_arrays
from modelstitch.data.batches import IDS, MASK, Parts, apart, gathered, is_documents, parts_of, yields
from modelstitch.data.distinct import check_distinct
from modelstitch.data.examples import Examples, check_disjoint, check_finite
from modelstitch.data.leaf import Documents, Leaf, Unreadable, counts
from modelstitch.data.samples import Samples, check_samples
from modelstitch.data.split import Split
from modelstitch.data.tokens import Tokens
from modelstitch.errors import DataError

_DO = "give (inputs, targets), a Dataset or DataLoader that yields such pairs or mappings, or modelstitch.data.Examples"


def as_examples(source: object, *, name: str = "data", classes: int | None = None, targets: bool = True) -> Examples:
    """Turn what holds examples into `Examples`, and check them.

    One tensor with one integer label an example, from 0 up, becomes `Samples`; token ids of different lengths become
    `Tokens`; all else `Arrays`.

    Args:
        source: one of

            - examples, checked and returned as they are;
            - a pair ``(inputs, targets)`` of tensors, arrays, lists or frames. Several inputs are a tuple or a mapping
              of their own: ``((x, y), targets)``. Targets may be None;
            - a mapping of such; or inputs alone: a tensor, array or frame;
            - a list of lists of token ids;
            - a torch ``Dataset`` or ``DataLoader``, or a data set of the library ``datasets``, of pairs, of mappings or
              of inputs alone. It is gone through once, so that the order that it happens to give is the order that
              every network sees. Padding is cut off by the ``attention_mask`` where batches differ in length.

            Arrays of float64 become float32, which networks compute in; tensors stay as they are.
        name: what to call the data in records.
        classes: how many classes there are, where the targets are labels; by default one more than the highest.
        targets: False leaves the targets unread: any are welcome, and none.

    Raises:
        DataError: something else, or examples that `check_samples` or `check_arrays` refuses.

    Example:
        >>> import torch
        >>> as_examples((torch.zeros(3, 2), [0, 1, 1])).classes
        2
        >>> type(as_examples(({"x": torch.zeros(3, 2)}, [0.5, 1.0, 2.0]))).__name__
        'Arrays'
    """
    if isinstance(source, Examples):
        return _checked(source, targets)
    inputs, found, pad = _read(source, targets)
    try:
        if any(isinstance(leaf, Documents) for leaf in pytree.tree_leaves(inputs)):
            return _tokens(name, inputs, found, pad)
        if isinstance(inputs, Tensor) and found is not None and (classes is not None or _are_labels(found)):
            return _samples(name, inputs, found, classes)
        return check_arrays(Arrays(name, inputs, _targets(found), _mask(inputs)))
    except Unreadable as error:
        raise _refusal(source, error) from error


def both_sets(train: object, test: object, *, name: str = "data") -> tuple[Examples, Examples]:
    """Examples to fit on and examples to measure on, none of them in both.

    Args:
        train: what `as_examples` takes.
        test: likewise; of examples with labels there are as many classes as both sets show together.
        name: what to call the data in records.

    Raises:
        DataError: examples that no honest number can come from, that repeat, or that are in both sets.

    Example:
        >>> import torch
        >>> inputs = torch.arange(6.0).view(6, 1)
        >>> fit_on, test = both_sets((inputs[:4], [0, 1, 2, 0]), (inputs[4:], [0, 1]))
        >>> test.classes
        3
    """
    fit_on = as_examples(train, name=name)
    measure_on = as_examples(test, name=name)
    given = [isinstance(one, Examples) for one in (train, test)]
    fit_on, measure_on = _of_one_count(fit_on, measure_on, given)
    check_disjoint(fit_on, measure_on)
    check_distinct(measure_on)
    return fit_on, measure_on


def _of_one_count(fit_on: Examples, measure_on: Examples, given: list[bool]) -> tuple[Examples, Examples]:
    """Both sets with as many classes as the two show together; where examples came with a number, that one stands."""
    if not isinstance(fit_on, Samples) or not isinstance(measure_on, Samples) or all(given):
        return fit_on, measure_on
    told = fit_on.classes if given[0] else measure_on.classes if given[1] else 0
    classes = told or max(fit_on.classes, measure_on.classes)
    both = (dataclasses.replace(one, classes=classes) for one in (fit_on, measure_on))
    return tuple(map(check_samples, both))  # type: ignore[return-value]


def as_samples(source: object, *, name: str = "data", classes: int | None = None) -> Samples:
    """Turn what holds one tensor of inputs and one label an example into samples, and check them.

    Args:
        source: what `as_examples` takes.
        name: what to call the data in records.
        classes: how many classes there are; by default one more than the highest label.

    Raises:
        DataError: other examples, or such as `check_samples` refuses.

    Example:
        >>> import torch
        >>> as_samples((torch.zeros(3, 2), [0, 1, 1])).classes
        2
    """
    if isinstance(source, Samples):
        return check_samples(source)
    inputs, labels, _ = (source, None, 0) if isinstance(source, Examples) else _read(source)
    try:
        if not isinstance(inputs, Tensor):
            raise Unreadable("inputs that are not one tensor", "give one tensor with one integer label per example")
        return _samples(name, inputs, labels, classes)
    except Unreadable as error:
        raise _refusal(source, error) from error


def _read(source: Any, targets: bool = True) -> tuple[Parts, Parts, int]:
    """Inputs, targets, and the token that pads."""
    try:
        inputs, found, pad = _parts(source, targets)
        held = inputs.values() if isinstance(inputs, dict) else inputs if isinstance(inputs, tuple) else [inputs]
        if not all(isinstance(one, Leaf) for one in held):
            raise Unreadable("inputs within inputs", "give a tensor, a tuple of tensors or a mapping of tensors")
        return inputs, found, pad
    except (Unreadable, TypeError, ValueError, RuntimeError) as error:
        raise _refusal(source, error) from error


def _refusal(source: Any, error: Exception) -> DataError:
    found = (str(error).splitlines() or [type(error).__name__])[0]
    return DataError(f"read examples from a {type(source).__name__}", found, getattr(error, "do", "") or _DO)


def _parts(source: Any, targets: bool) -> tuple[Parts, Parts, int]:
    if isinstance(source, Split):
        raise Unreadable("a train set and a test set", "give one of them: split.train or split.test")
    if isinstance(source, (str, bytes)):
        raise Unreadable(f"a name, {source!r}", f"load it: modelstitch.load({source!r}).train")
    if yields(source):
        return gathered(source, targets)
    if isinstance(source, Mapping):
        if any(yields(one) for one in source.values()):
            told = ", ".join(map(repr, source))
            raise Unreadable(f"a mapping of data sets: {told}", f"give one of them: data[{next(iter(source))!r}]")
        return (*apart(source, targets), 0)
    if isinstance(source, list) and (len(source) != 2 or is_documents(source)):
        return parts_of(source), None, 0
    if isinstance(source, (tuple, list)):
        if len(source) == 2:
            return parts_of(source[0]), parts_of(source[1]) if targets else None, 0
        return (*apart(source, targets), 0) if len(source) > 2 else (parts_of(source), None, 0)
    if hasattr(source, "__array__") or isinstance(source, Tensor):
        return parts_of(source), None, 0
    raise Unreadable(f"a {type(source).__name__}, which holds no examples")


def _are_labels(targets: Parts) -> bool:
    """Whether targets read as classes: integers from 0 up, one an example."""
    if not isinstance(targets, Tensor) or targets.dim() != 1 or not counts(targets):
        return False
    return not len(targets) or int(targets.min()) >= 0


def _samples(name: str, inputs: Tensor, labels: Parts, classes: int | None) -> Samples:
    if not isinstance(labels, Tensor):
        raise Unreadable("no labels" if labels is None else "targets of several parts", "give one label per example")
    if classes is None:
        classes = 1 + int(labels.max()) if labels.numel() else 0
    return check_samples(Samples(name, inputs, labels.long() if counts(labels) else labels, classes))


def _targets(found: Parts) -> Any:
    """Targets with every integer as int64, which torch's losses ask for."""

    def long(leaf: Leaf | None) -> Tensor | None:
        if isinstance(leaf, Documents):
            raise Unreadable("targets of different lengths", "give as many targets for each example")
        return leaf.long() if leaf is not None and counts(leaf) else leaf

    return pytree.tree_map(long, found)


def _mask(inputs: Parts) -> Tensor | None:
    """What a mapping says of padding; None where it says nothing or all positions are real."""
    mask = inputs.get(MASK) if isinstance(inputs, dict) else None
    if not isinstance(mask, Tensor) or mask.dim() != 2 or bool(mask.bool().all()):
        return None
    return mask.bool()


def _tokens(name: str, inputs: Parts, found: Parts, pad: int) -> Tokens:
    if isinstance(inputs, Documents):
        return _labelled(name, inputs, found, pad=pad)
    do = "pad the tokens to one length"
    if not isinstance(inputs, dict):
        raise Unreadable("tokens of different lengths beside other inputs", do)
    ids, mask = inputs.get(IDS), inputs.get(MASK)
    if not isinstance(ids, Documents):
        raise Unreadable(f"no {IDS!r} of different lengths", f"call the tokens {IDS!r}")
    others = {key: one for key, one in inputs.items() if key not in (IDS, MASK)}
    whole = next((key for key, one in others.items() if not isinstance(one, Documents)), None)
    if whole:
        raise Unreadable(f"tokens of different lengths beside {whole!r}", do)
    if isinstance(mask, Documents) and not all(bool(row.all()) for row in mask.rows):
        raise Unreadable(f"an {MASK} with zeros among documents of different lengths", "leave the padding out")
    beside = {key: one.rows for key, one in others.items()}
    return _labelled(name, ids, found, pad=pad, masked=True, beside=beside)


def _labelled(name: str, ids: Documents, found: Parts, **settings: Any) -> Tokens:
    """Tokens with their targets: labels of a document, of each token, or the tokens themselves."""
    if not isinstance(found, Documents):
        return Tokens(name, ids.rows, _targets(found), **settings)
    same = len(found) == len(ids) and all(map(_equal, found.rows, ids.rows))
    return Tokens(name, ids.rows, None if same else found.rows, next_token=same, **settings)


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool((a == b).all())


def _checked(examples: Examples, targets: bool) -> Examples:
    if isinstance(examples, Arrays):
        return check_arrays(examples)
    if isinstance(examples, Samples) and targets:
        return check_samples(examples)
    asked = f"use the {len(examples)} examples of {examples.name!r}"
    if not len(examples):
        raise DataError(asked, "no examples", "check the folder, filter or split that they come from")
    if isinstance(examples, Samples):
        check_finite(examples.inputs, asked)
    return examples

"""One recipe at several sizes: what a size changes is laid over the rest, mapping by mapping.

Nodes of YAML are merged, not values, so that every error still names the line that its value stands in.
"""

from __future__ import annotations

from typing import Any

import yaml

from modelstitch.errors import SettingError, did_you_mean
from modelstitch.recipe.plain import PlainLoader

_WIDTH = 120


def at_size(text: str, size: str) -> str:
    """A recipe's text with one of its sizes written into it: a recipe of its own, below the same header."""
    return _written(laid_over(yaml.compose(text, Loader=PlainLoader), size, "recipe"), text)


def with_data(text: str, name: str | None, folder: str | None) -> str:
    """A recipe's text with other data, called NAME-DATA where the data set is another."""
    content = {key: value for key, value in (("name", name), ("folder", folder)) if value is not None}
    other = yaml.compose(yaml.safe_dump({"data": content}), Loader=PlainLoader)
    merged = _merged(yaml.compose(text, Loader=PlainLoader), other)
    return _written(merged if name is None else _called(merged, name), text)


def _written(recipe: Any, text: str) -> str:
    """A recipe as YAML, below the header of the text that it was made from."""
    header = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    return header + yaml.serialize(recipe, width=_WIDTH, allow_unicode=True)


def laid_over(root: yaml.Node | None, size: str, source: str) -> Any:
    """A recipe with one of its sizes laid over it, called NAME-SIZE.

    Args:
        root: the recipe.
        size: one of its ``sizes``.
        source: what to call it in errors.

    Raises:
        SettingError: it has no such size.
    """
    sizes = _get(root, "sizes")
    known = [key.value for key, _ in sizes.value] if isinstance(sizes, yaml.MappingNode) else []
    if size not in known:
        do = did_you_mean(size, known, f"choose among {', '.join(known)}") if known else "leave the size out"
        raise SettingError(f"the recipe {source} at size {size!r}", f"sizes: {', '.join(known) or 'none'}", do)
    assert isinstance(root, yaml.MappingNode)
    plain = yaml.MappingNode(root.tag, [pair for pair in root.value if pair[0].value != "sizes"], root.start_mark)
    return _called(_merged(plain, _get(sizes, size)), size)


def _called(recipe: Any, more: str) -> Any:
    """The recipe under its name and one word more."""
    name = _get(recipe, "name")
    if not (isinstance(recipe, yaml.MappingNode) and isinstance(name, yaml.ScalarNode)):
        return recipe
    longer = yaml.ScalarNode(name.tag, f"{name.value}-{more}", name.start_mark)
    pairs = [(key, longer if key.value == "name" else inner) for key, inner in recipe.value]
    return yaml.MappingNode(recipe.tag, pairs, recipe.start_mark)


def _get(node: yaml.Node | None, key: str) -> Any:
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return next((inner for name, inner in pairs if name.value == key), None)


def _merged(below: Any, above: Any) -> Any:
    """Mappings join key by key; everything else is replaced whole."""
    if not (isinstance(below, yaml.MappingNode) and isinstance(above, yaml.MappingNode)):
        return below if above is None else above
    changed = {key.value: (key, inner) for key, inner in above.value}
    kept = []
    for key, inner in below.value:
        laid = changed.pop(key.value, None)
        kept.append((key, inner if laid is None else _merged(inner, laid[1])))
    return yaml.MappingNode(below.tag, [*kept, *changed.values()], below.start_mark)

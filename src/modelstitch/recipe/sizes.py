"""One recipe at several sizes: what a size changes is laid over the rest, mapping by mapping.

Nodes of YAML are merged, not values, so that every error still names the line that its value stands in.
"""

from __future__ import annotations

from typing import Any

import yaml

from modelstitch.errors import SettingError, did_you_mean

_WIDTH = 120


class PlainLoader(yaml.SafeLoader):
    """YAML without anchors: a few bytes of them can stand for gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """A node that carries no anchor."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise yaml.MarkedYAMLError(problem="anchors and aliases are not read", problem_mark=event.start_mark)
        return super().compose_node(parent, index)


def at_size(text: str, size: str) -> str:
    """A recipe's text with one of its sizes written into it: a recipe of its own, below the same header."""
    header = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    merged = laid_over(yaml.compose(text, Loader=PlainLoader), size, "recipe")
    return header + yaml.serialize(merged, width=_WIDTH, allow_unicode=True)


def with_data(text: str, name: str | None, folder: str | None) -> str:
    """A recipe's text with other data, called NAME-DATA where the data set is another."""
    header = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    content = {key: value for key, value in (("name", name), ("folder", folder)) if value is not None}
    other = yaml.compose(yaml.safe_dump({"data": content}), Loader=PlainLoader)
    merged = _merged(yaml.compose(text, Loader=PlainLoader), other)
    named = merged if name is None else _called(merged, name)
    return header + yaml.serialize(named, width=_WIDTH, allow_unicode=True)


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

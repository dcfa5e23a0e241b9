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
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise yaml.MarkedYAMLError(problem="anchors and aliases are not read", problem_mark=event.start_mark)
        return super().compose_node(parent, index)


def at_size(text: str, size: str) -> str:
    """A recipe's text with one of its sizes written into it: a recipe of its own, below the same header."""
    header = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    merged = laid_over(yaml.compose(text, Loader=PlainLoader), size, "recipe")
    return header + yaml.serialize(merged, width=_WIDTH, allow_unicode=True)


def laid_over(root: yaml.Node | None, size: str, source: str) -> yaml.Node:
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
    merged = _merged(plain, _get(sizes, size))
    name = _get(merged, "name")
    if isinstance(name, yaml.ScalarNode):
        sized = yaml.ScalarNode(name.tag, f"{name.value}-{size}", name.start_mark)
        merged.value = [(key, sized if key.value == "name" else inner) for key, inner in merged.value]
    return merged


def _get(node: yaml.Node | None, key: str) -> Any:
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return next((inner for name, inner in pairs if name.value == key), None)


def _merged(below: yaml.Node, above: Any) -> yaml.Node:
    """Mappings join key by key; everything else is replaced whole."""
    if not (isinstance(below, yaml.MappingNode) and isinstance(above, yaml.MappingNode)):
        return above if isinstance(above, yaml.Node) else below
    changed = {key.value: (key, inner) for key, inner in above.value}
    kept = [
        (key, _merged(inner, changed.pop(key.value)[1]) if key.value in changed else inner) for key, inner in below.value
    ]
    return yaml.MappingNode(below.tag, [*kept, *changed.values()], below.start_mark)

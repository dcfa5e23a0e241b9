"""Which keys a recipe may have at a place: read off the JSON schema, to say which was meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

Place = tuple[str | int, ...]
Schema = dict[str, Any]


def known_at(schema: Schema, place: Sequence[str | int]) -> list[str]:
    """The keys that the mapping at a place may have, or the words that may stand there.

    Args:
        schema: of the whole recipe.
        place: keys and indices that lead there; pydantic's names of alternatives among them are passed by.

    Example:
        >>> known_at({"properties": {"a": {"enum": ["x", "y"]}}}, [])
        ['a']
        >>> known_at({"properties": {"a": {"enum": ["x", "y"]}}}, ["a"])
        ['x', 'y']
    """
    nodes = list(_alternatives(schema, schema))
    for step in place:
        below = [inner for node in nodes for inner in _inside(schema, node, step)]
        # A step that leads nowhere names one of several alternatives: they are all looked at anyway.
        nodes = below or nodes
    keys = [key for node in nodes for key in node.get("properties", {})]
    words = [str(word) for node in nodes for word in words_of(node)]
    return list(dict.fromkeys(keys or words))


def _alternatives(schema: Schema, node: Schema) -> Iterator[Schema]:
    """The node itself with references followed, or each of its alternatives."""
    if "$ref" in node:
        yield from _alternatives(schema, schema["$defs"][node["$ref"].rpartition("/")[2]])
        return
    choices = [*node.get("anyOf", ()), *node.get("oneOf", ())]
    if not choices:
        yield node
    for choice in choices:
        yield from _alternatives(schema, choice)


def _inside(schema: Schema, node: Schema, step: str | int) -> Iterator[Schema]:
    inner = node.get("items") if isinstance(step, int) else node.get("properties", {}).get(step)
    if inner is None and not isinstance(step, int):
        patterns = list(node.get("patternProperties", {}).values())
        inner = patterns[0] if patterns else node.get("additionalProperties")
    if isinstance(inner, dict):
        yield from _alternatives(schema, inner)


def words_of(node: Schema) -> list[object]:
    """The words that a schema allows, apart from its alternatives."""
    return [*node.get("enum", ()), *([node["const"]] if "const" in node else [])]

"""Catalogues: the classes that `modelstitch.vocabulary` lists, each found in the module of its name.

A family, a matching, a task or a control is one file; one line of the vocabulary, which loads no torch, makes it
known to the command line, to recipes, to records, to figures and here.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from modelstitch.vocabulary import Word


def classes_of(room: str, words: Mapping[str, Word]) -> dict[str, Any]:
    """The classes of a room by name: ``affine``, titled ``Affine``, is the class ``Affine`` of ``room.affine``.

    A word that names its class (``made_by``) is read so instead.

    Args:
        room: a package.
        words: by name, in the order in which people are shown them.

    Example:
        >>> from modelstitch.vocabulary import FAMILIES
        >>> classes_of("modelstitch.stitches", FAMILIES)["affine"].__name__
        'Affine'
    """
    return {name: getattr(import_module(f"{room}.{name}"), word.made_by or word.title) for name, word in words.items()}


def class_titled(title: str, room: str, classes: Mapping[str, Any]) -> Any:
    """One of the classes by the name that Python gives it, for the ``__getattr__`` of a room.

    Raises:
        AttributeError: there is none.
    """
    for one in classes.values():
        if one.__name__ == title:
            return one
    raise AttributeError(f"module {room!r} has no attribute {title!r}")

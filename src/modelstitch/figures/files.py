"""A figure on disk, in the format that its ending names."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import altair as alt

from modelstitch.errors import SettingError
from modelstitch.support.files import write_whole

# `inline` puts the drawing code into the page: it opens without a network, and long after a CDN has moved on.
_FORMATS: dict[str, dict[str, Any]] = {
    ".png": {"format": "png", "scale_factor": 2},
    ".svg": {"format": "svg"},
    ".pdf": {"format": "pdf"},
    ".html": {"format": "html", "inline": True},
}


def save_figure(chart: alt.TopLevelMixin, path: str | Path) -> None:
    """Write a chart as ``.png`` (twice the screen's resolution), ``.svg``, ``.pdf`` or ``.html`` (works offline).

    Args:
        chart: any Altair chart.
        path: where; its ending decides the format.

    Raises:
        SettingError: no format has that ending.
        NotWritable: the place refuses; what lay there before is untouched.
    """
    ending = check_ending(path)
    drawn: io.StringIO | io.BytesIO = io.BytesIO() if ending in (".png", ".pdf") else io.StringIO()
    chart.save(drawn, **_FORMATS[ending])
    content = drawn.getvalue()
    write_whole(path, content.encode() if isinstance(content, str) else content)


def check_ending(path: str | Path) -> str:
    """The ending of a path that a figure can be written to: to be asked before the work, not after it.

    Raises:
        SettingError: no format has that ending.
    """
    ending = Path(path).suffix.lower()
    if ending not in _FORMATS:
        raise SettingError(f"a figure in {path}", f"the ending {ending!r}", f"use one of {', '.join(_FORMATS)}")
    return ending

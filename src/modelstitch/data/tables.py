"""Examples from files with named columns: texts, numbers, labels.

| ending | what it holds |
|---|---|
| ``.csv``, ``.tsv`` | a table with a line of names |
| ``.parquet`` | the same; needs pyarrow |
| ``.json``, ``.jsonl`` | one object a line |
| ``.txt`` | one text a line, in a column ``text`` |
| ``.npz``, ``.safetensors`` | tensors by name: sound, series, tokens |

A folder is read as ``save_to_disk`` of the library ``datasets`` wrote it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch

from modelstitch.errors import BadFile, DataError, SettingError, StitchError

Columns = Mapping[str, Any]
"""By name, one value an example."""
SAVED = ("dataset_dict.json", "state.json")
"""What ``save_to_disk`` leaves in a folder of several sets, and in that of one."""


def is_table(source: object) -> bool:
    """Whether a name is that of a file with columns, by its ending, or of a saved data set."""
    if not isinstance(source, (str, Path)):
        return hasattr(source, "column_names")
    path = Path(source)
    return path.suffix.lower() in READERS or any((path / one).is_file() for one in SAVED)


def read_columns(path: Path) -> Columns:
    """The columns of a file.

    Raises:
        DataError: no such file.
        BadFile: it cannot be read.
        SettingError: a package is missing.
    """
    asked = f"read {path}"
    if not path.is_file():
        raise DataError(asked, "no such file", "check the path")
    try:
        columns = READERS[path.suffix.lower()](path)
    except StitchError:
        raise
    except ImportError as error:
        raise SettingError(asked, str(error).splitlines()[0], "pip install 'modelstitch[parquet]'") from error
    except (OSError, ValueError, UnicodeDecodeError, safetensors.SafetensorError) as error:
        raise BadFile(asked, (str(error).splitlines() or [type(error).__name__])[0], "save it again") from error
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in list(lengths.items())[:4])
        raise BadFile(asked, f"columns of different lengths: {told}", "give every column one value per example")
    return columns


def _frame(read: str, **options: Any) -> Callable[[Path], Columns]:
    def columns(path: Path) -> Columns:
        import pandas

        frame = getattr(pandas, read)(path, **options)
        bad = {str(name): int(frame[name].isna().sum()) for name in frame.columns if frame[name].isna().any()}
        if bad:
            told = ", ".join(f"{count} in {name!r}" for name, count in bad.items())
            raise BadFile(f"read {path}", f"empty cells: {told}", "fill them, or leave these rows out")
        return {str(name): frame[name].to_numpy() for name in frame.columns}

    return columns


def _lines(path: Path) -> Columns:
    return {"text": [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]}


def _arrays(path: Path) -> Columns:
    # Without pickles: what is no array is refused.
    with np.load(path, allow_pickle=False) as held:
        return {name: held[name] for name in held.files}


# An empty cell is an empty text, and "NA" a word, where a column holds texts.
READERS: dict[str, Callable[[Path], Columns]] = {
    ".csv": _frame("read_csv", keep_default_na=False, na_values=[""]),
    ".tsv": _frame("read_csv", sep="\t", keep_default_na=False, na_values=[""]),
    ".parquet": _frame("read_parquet"),
    ".jsonl": _frame("read_json", lines=True),
    ".json": _frame("read_json", lines=True),
    ".txt": _lines,
    ".npz": _arrays,
    ".safetensors": lambda path: safetensors.torch.load_file(path),
}


def saved_sets(folder: Path) -> Any:
    """A data set of the library ``datasets``, from where ``save_to_disk`` left it.

    Raises:
        SettingError: the library is missing.
        BadFile: the folder is damaged.
    """
    asked = f"read the data set in {folder}"
    try:
        datasets = import_module("datasets")
    except ImportError as error:
        raise SettingError(asked, "no package datasets", "pip install datasets") from error
    try:
        return datasets.load_from_disk(str(folder))
    except Exception as error:  # the library's errors are of many kinds
        raise BadFile(asked, (str(error).splitlines() or [type(error).__name__])[0], "save it again") from error

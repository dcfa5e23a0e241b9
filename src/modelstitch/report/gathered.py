"""A run's store, gathered into what a report is made of."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from modelstitch.errors import BadFile, SettingError, did_you_mean
from modelstitch.recipe import parse_recipe
from modelstitch.recipe.published import Reference
from modelstitch.records import Store
from modelstitch.report.findings import Findings
from modelstitch.support.files import expanded


def findings_of(path: str | Path, recipe: str | None = None) -> Findings:
    """What a run found, of one recipe.

    Args:
        path: a store.
        recipe: the name of a recipe in it; by default the one that was run last.

    Raises:
        BadFile: no store, or a damaged one.
        SettingError: it holds no recipe, or none of that name.
    """
    if not expanded(path).is_file():
        raise BadFile(f"report on {path}", "no such file", "name the store that `modelstitch sweep` has written")
    store = Store(path)
    texts = dict(store.recipes())
    if not texts:
        do = "make one with `modelstitch sweep RECIPE`; figures of other records: `Records.plot`"
        raise SettingError(f"report on {path}", "records without a recipe", do)
    name = recipe or list(texts)[-1]
    if name not in texts:
        do = did_you_mean(name, texts, f"choose among {', '.join(texts)}")
        raise SettingError(f"report on the recipe {name!r} in {path}", "no recipe of that name", do)
    asked = parse_recipe(texts[name], name)
    return Findings(
        name=asked.name,
        question=asked.question,
        recipe=texts[name],
        records=store.records().to_pandas(),
        similarities=pd.DataFrame(store.similarities()),
        networks=store.networks(),
        failures=store.failures(),
        verdicts=asked.claims,
        references=[Reference(f"{one.curve}, {one.figure}", one.figure, one.curve) for one in asked.reference],
        kinds=asked.kinds(),
    )

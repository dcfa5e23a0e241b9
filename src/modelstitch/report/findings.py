"""What a report is made of: plain values, whoever collected them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from modelstitch.recipe import Claim
from modelstitch.recipe.published import Reference

Network = tuple[str, str, Mapping[str, Any]]
"""Name, fingerprint of the weights, and the configuration that `train_network` stores; empty for a foreign network."""


def _nothing() -> pd.DataFrame:
    return pd.DataFrame()


@dataclass(frozen=True, eq=False)
class Findings:
    """All that a run found, and what it was asked.

    Args:
        name: of the recipe.
        question: what the run shall answer, in a sentence.
        recipe: its text, verbatim.
        records: one row per record, as `Records.to_pandas` gives it.
        similarities: one row per value, as `Comparison.to_pandas` gives it, of any number of pairs; may be empty.
        networks: the base networks.
        failures: by job, why a training or a pair failed as a whole.
        verdicts: what the recipe expects; the report judges it.
        references: published curves to draw beside the records.
        kinds: what each network is called without its seed, where the recipe trains it from several.
    """

    name: str
    question: str
    recipe: str
    records: pd.DataFrame
    similarities: pd.DataFrame = field(default_factory=_nothing)
    networks: Sequence[Network] = ()
    failures: Mapping[str, str] = field(default_factory=dict)
    verdicts: Sequence[Claim] = ()
    references: Sequence[Reference] = ()
    kinds: Mapping[str, str] = field(default_factory=dict)

"""Which charts a run has: those for which it holds something to show."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from altair.utils.schemapi import debug_mode

from modelstitch.figures import save_figure
from modelstitch.recipe.published import curve_of
from modelstitch.report import charts, maps
from modelstitch.report.charts import PRINT, READABLE, SCREEN, Names, Theme
from modelstitch.report.findings import Findings
from modelstitch.report.rows import farthest, measures_of, prepared, rows_of
from modelstitch.report.seeds import PENALTY, over_seeds
from modelstitch.support.files import expanded
from modelstitch.vocabulary import CONTROLS

_CELL, _PRINTED = 36, (300, 220)
_DRAWN = ["pair", "setting", "bottom_cut", "top_cut", "place", "matched", "status", "control", "n_pairs"]
_DRAWN += ["score", "unit", *PENALTY]
# A published figure keeps its text when it is scaled; a raster does not.
_ENDINGS = (".svg", ".png", ".pdf")


# About how high a chart is, how high a name, and how wide as a share of the chart.
_CHART, _NAME_HIGH, _NAME_WIDE = 240, 14, 0.5


def _lifts(frame: pd.DataFrame) -> pd.Series[float]:
    """How far above its highest point each curve is named, so that names do not stand on each other."""
    lifts = pd.Series(np.nan, index=frame.index)
    for _, rows in frame.dropna(subset="value").groupby("quantity"):
        pixels = _CHART * rows["value"] / (rows["value"].max() - min(rows["value"].min(), 0.0) or 1.0)
        placed: list[tuple[float, float]] = []
        for peak in pixels.loc[rows.groupby("label", sort=False)["value"].idxmax()].sort_values().index:
            x, y = float(rows["place"][peak]), float(pixels[peak]) + 10
            while any(abs(x - other) < _NAME_WIDE and abs(y - high) < _NAME_HIGH for other, high in placed):
                y += 2
            placed.append((x, y))
            lifts[peak] = y - float(pixels[peak])
    return lifts


@dataclass(frozen=True, eq=False)
class Gallery:
    """The charts of a run and the rows they draw."""

    findings: Findings

    @cached_property
    def records(self) -> pd.DataFrame:
        """The records, prepared."""
        return prepared(self.findings.records)

    @cached_property
    def stitchings(self) -> pd.DataFrame:
        """The records that are no control and have a value."""
        return self.records[(self.records["status"] == "ok") & (self.records["control"] == "")]

    @cached_property
    def over_seeds(self) -> pd.DataFrame:
        """The records, pairs that differ in their seeds alone as one; nothing where no such pairs are."""
        frame = prepared(over_seeds(self.findings.records, self.findings.kinds))
        proper = frame[frame["control"] != "self"]
        # Without their keys: a point stands for several records.
        return (frame if (proper["n_pairs"] > 1).any() else frame.iloc[:0])[_DRAWN]

    @cached_property
    def names(self) -> Names:
        """The pairs and settings to pick among."""
        return Names.of(self.records)

    @cached_property
    def measures(self) -> dict[str, str]:
        """The measures for which a stitching has a value, with their titles."""
        titles = measures_of(self.findings.records)
        return {name: title for name, title in titles.items() if self.stitchings[name].notna().any()}

    @cached_property
    def similarities(self) -> pd.DataFrame:
        """The similarities with their ``pair``, and ``similar``: 0 to 1, most similar, for a distance too."""
        frame = self.findings.similarities.reset_index(drop=True)
        if frame.empty:
            return frame
        most = frame["measure"].map(farthest).astype("float64")
        pair = frame["network_a"].astype(str) + " → " + frame["network_b"].astype(str)
        value = frame["value"].astype("float64")
        return frame.assign(pair=pair, value=value, similar=value.where(most.isna(), 1 - value / most))

    @cached_property
    def published(self) -> pd.DataFrame:
        """Points of the published curves asked for; ``lift`` is how far above its peak a curve is named, in pixels."""
        rows = [row for reference in self.findings.references for row in curve_of(reference)]
        frame = pd.DataFrame(rows, columns=["label", "quantity", "place", "value"])
        return frame.assign(lift=_lifts(frame))

    @cached_property
    def training(self) -> pd.DataFrame:
        """The learning curves of the base networks."""
        rows = [
            {"network": name, "epoch": step.get("epoch"), "loss": step.get("loss"), "error": step.get("error")}
            for name, _, config in self.findings.networks
            for step in config.get("training", {}).get("curve", [])
        ]
        return pd.DataFrame(rows, columns=["network", "epoch", "loss", "error"])

    @cached_property
    def grid(self) -> pd.DataFrame:
        """The stitchings, if some top is met by more than one cut of a bottom: what a heat-map can show."""
        group = ["pair", "setting", "top_cut"]
        cuts = self.stitchings.groupby(group)["bottom_cut"].nunique()
        return self.stitchings if (cuts > 1).any() else self.stitchings.iloc[:0]

    @property
    def learns(self) -> bool:
        """Whether a matching took more than one epoch: one point is no curve."""
        return any(len(curve) > 1 for curve in self.records["curve"])

    def screen(self) -> dict[str, alt.LayerChart]:
        """The charts of the page, as wide as their place, without their rows."""
        return self._charts(SCREEN, ("container", 320))

    def print(self) -> dict[str, alt.LayerChart]:
        """The charts for a paper's column, each with its rows."""
        rows = {name: rows_of(frame) for name, frame in self.datasets().items()}
        drawn = self._charts(PRINT, _PRINTED)
        for chart in drawn.values():
            # The rows join last and by name: each step above copies and checks what the chart holds.
            used = str(chart.to_dict(validate=False))
            chart.datasets = {name: held for name, held in rows.items() if f"'name': '{name}'" in used}
        return drawn

    def datasets(self) -> dict[str, pd.DataFrame]:
        """All rows, by the names that the charts use."""
        return {
            "records": self.records,
            "over_seeds": self.over_seeds,
            "similarities": self.similarities,
            "published": self.published,
            "training": self.training,
        }

    # Altair would hold each part to its schema as it is made, half of the time that a page takes; the tests do it once.
    @debug_mode(False)
    def _charts(self, theme: Theme, size: tuple[Any, int]) -> dict[str, alt.LayerChart]:
        drawn = {}
        valued = set(self.records.loc[self.records["status"] == "ok", "control"])
        for control in CONTROLS:
            if control in valued and control != "self":
                drawn[control] = charts.penalty(self.names, theme, size, control)
        if len(self.stitchings):
            drawn["penalty"] = charts.penalty(self.names, theme, size)
        if len(self.over_seeds):
            drawn["over_seeds"] = charts.over_seeds(Names.of(self.over_seeds), theme, size)
        # On the page one chart shows any measure; on paper each has its own.
        shown = {"": "the measure picked"} if theme is SCREEN and self.measures else self.measures
        for name, title in shown.items():
            told = (self.names, theme, size, name or next(iter(self.measures)), title)
            drawn[f"measure_over_depth_{name}".rstrip("_")] = charts.measure_over_depth(*told)
            drawn[f"scatter_{name}".rstrip("_")] = charts.scatter(*told)
        if len(self.grid):
            drawn["penalty_map"] = self._penalty_map(theme, size[0])
        if self.similarities.get("value", pd.Series(dtype="float64")).notna().any():
            drawn["similarity_map"] = self._similarity_map(theme, size[0])
        if self.learns:
            drawn["learning"] = maps.learning(self.names, theme, size)
        if len(self.training):
            drawn["training"] = maps.training(list(self.training["network"].unique()), theme, size)
        return drawn

    def _penalty_map(self, theme: Theme, width: Any) -> alt.LayerChart:
        across, upwards = (int(self.grid.groupby("pair")[c].nunique().max()) for c in ("bottom_cut", "top_cut"))
        most = max(float(self.grid["penalty"].abs().max()), 1.0 if self.names.unit == "points" else 1e-3)
        size = (width, _CELL * max(upwards, 4))
        return maps.penalty_map(self.names, theme, size, most, max(across, upwards) <= READABLE)

    def _similarity_map(self, theme: Theme, width: Any) -> alt.LayerChart:
        valued = self.similarities[self.similarities["value"].notna()]
        across, upwards = (int(valued.groupby("pair")[cut].nunique().max()) for cut in ("cut_a", "cut_b"))
        first = valued.iloc[0]
        size = (width, _CELL * max(upwards, 4))
        return maps.similarity_map(
            str(first["pair"]), str(first["measure"]), theme, size, max(across, upwards) <= READABLE
        )


def write_figures(findings: Findings, folder: str | Path) -> list[Path]:
    """Write every chart of a run as SVG, PNG and PDF, one column of a paper wide.

    Args:
        findings: what the run found.
        folder: where; made if need be.

    Returns:
        The files, in the order of the page.

    Raises:
        NotWritable: the place refuses.
        SettingError: a published curve does not exist.
    """
    written = []
    for name, chart in Gallery(findings).print().items():
        for ending in _ENDINGS:
            path = expanded(folder) / f"{name}{ending}"
            save_figure(chart, path)
            written.append(path)
    return written

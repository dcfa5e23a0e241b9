"""What a comparison of two networks found: one row for each measure and pair of cuts, and its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, overload

from modelstitch.errors import SettingError, did_you_mean

if TYPE_CHECKING:
    import altair
    import pandas


@dataclass(frozen=True)
class Similarity:
    """One measure at one pair of cuts.

    Attributes:
        measure: its name.
        network_a: name of the first network.
        cut_a: where the first network was cut.
        depth_a: share (0 to 1) of its conv and linear layers below.
        network_b: name of the second network.
        cut_b: where the second network was cut.
        depth_b: share (0 to 1) of its conv and linear layers below.
        value: in the measure's own range; None where there is none.
        note: why there is no value, or what to beware of; else empty.
        data: name of the examples.
        n: how many examples the value is of.
        layout: ``flatten``, ``pool`` or ``position``.
    """

    measure: str
    network_a: str
    cut_a: str
    depth_a: float
    network_b: str
    cut_b: str
    depth_b: float
    value: float | None
    note: str
    data: str
    n: int
    layout: str


class Comparison(Sequence[Similarity]):
    """All values of one call, in the order of measures, then cuts of the first network, then of the second."""

    def __init__(self, found: Sequence[Similarity]) -> None:
        self._found = tuple(found)

    @overload
    def __getitem__(self, index: int) -> Similarity: ...
    @overload
    def __getitem__(self, index: slice) -> Comparison: ...
    def __getitem__(self, index: int | slice) -> Similarity | Comparison:
        return Comparison(self._found[index]) if isinstance(index, slice) else self._found[index]

    def __len__(self) -> int:
        return len(self._found)

    @property
    def measures(self) -> list[str]:
        """The measures, in the order asked."""
        return list(dict.fromkeys(one.measure for one in self))

    def to_pandas(self) -> pandas.DataFrame:
        """One row a value, with everything that `Similarity` tells."""
        import pandas

        frame = pandas.DataFrame([asdict(one) for one in self], columns=list(Similarity.__dataclass_fields__))
        return frame.astype({"value": "float64"})

    def table(self, measure: str) -> pandas.DataFrame:
        """One measure as a table: a row for each cut of the first network, a column for each of the second.

        Args:
            measure: one of `measures`; where a value is missing the cell is NaN, and `to_pandas` says why.

        Raises:
            SettingError: it was not measured.
        """
        if measure not in self.measures:
            do = did_you_mean(measure, self.measures, f"choose among {', '.join(self.measures)}")
            raise SettingError(f"the table of {measure!r}", "it was not measured", do)
        frame = self.to_pandas()
        frame = frame[frame["measure"] == measure]
        table = frame.pivot(index="cut_a", columns="cut_b", values="value")
        # A pivot sorts by name; the order of the layers is what a reader looks for.
        table = table.loc[frame["cut_a"].unique(), frame["cut_b"].unique()]
        return table.rename_axis(index=frame["network_a"].iloc[0], columns=frame["network_b"].iloc[0])

    def plot(self) -> altair.ConcatChart:
        """A heat-map for each measure: cuts of the first network across, of the second upwards."""
        from modelstitch.figures import Panel, heatmaps
        from modelstitch.measures import MEASURES

        kept = {name: MEASURES[name].promises for name in self.measures}
        panels = [
            Panel(name, MEASURES[name].title, promises.range, promises.higher_is_more_similar)
            for name, promises in kept.items()
        ]
        return heatmaps(self.to_pandas(), panels)

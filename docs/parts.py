"""What may be asked of the records of a figure: each function here makes one part of a claim."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from judged import Found, NotRun, Value, by_cut, chosen, difference, over_seeds, records, within

from modelstitch.vocabulary import spoken

ROOT = Path(__file__).resolve().parents[1]
CONNECTIVITY = ROOT / "results" / "connectivity"
SPURIOUS = ROOT / "results" / "spurious_features"

FIRST_HALF = ("conv1", "layer1.0", "layer1.1", "layer2.0", "layer2.1")
LATE = ("layer4.0", "layer4.1")

MOST = 5.0
"""Points: what "stitches" means. The paper's largest is 4.8, of two seeds of ViT."""


def recipe(name: str) -> Any:
    """A script of recipes/, imported without being run."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "recipes" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def at_every_cut(
    label: str, figure: str, of: str, under: str, high: float, **columns: str | int
) -> Callable[[], Found]:
    """No penalty above a bound, at any cut."""
    return lambda: within(label, by_cut(chosen(figure, of, under, **columns)), high=high)


def more(
    label: str, *which: str, low: float = -np.inf, high: float = np.inf, cuts: Sequence[str] = (), **columns: str
) -> Callable[[], Found]:
    """The difference between two kinds of bottoms, within bounds."""
    return lambda: within(label, [difference(*which, cuts, **columns)], low, high)


def at_cuts(label: str, *which: str, cuts: Sequence[str], **bounds: float) -> Callable[[], Found]:
    """Penalties at some cuts, within bounds."""
    return lambda: within(label, by_cut(chosen(*which, cuts)), **bounds)


def untrained(label: str, cuts: Sequence[str], control: str = "untrained", **bounds: float) -> Callable[[], Found]:
    """Penalties of a control below the seeds' tops."""
    return lambda: within(label, by_cut(chosen("fig2a", "net", "net", cuts, control=control)), **bounds)


def blind(label: str, figure: str, of: str, under: str, like: tuple[str, str]) -> Callable[[], Found]:
    """CKA calls a pair less alike than two seeds at the cut where it falls most, and stitching does not mind."""

    def found() -> Found:
        pair, seeds = (
            chosen(figure, *names).groupby("top_cut", sort=False)["cka"].mean() for names in ((of, under), like)
        )
        cut = (pair - seeds).idxmin()
        penalty = by_cut(chosen(figure, of, under, (cut,)))[0]
        told = f"{label}CKA {pair[cut]:.2f}, of seeds {seeds[cut]:.2f}, where the penalty is "
        # 0.1 less of CKA is what the paper's own pairs of seeds differ by among themselves.
        if pair[cut] >= seeds[cut] - 0.1:
            return Found(f"{told}{penalty}", "fails")
        return within(told, [penalty], high=MOST)

    return found


def kernels() -> Found:
    """The largest change that a wider kernel brings at any cut."""
    frame = chosen("fig4", "net", "net").copy()
    frame["family"] = frame["family"].map(spoken)
    plain = frame[frame["family"] == "Affine(kernel=1)"].set_index("top_cut")
    changes = []
    for _, row in frame[frame["family"] != "Affine(kernel=1)"].iterrows():
        one = plain.loc[row["top_cut"]]
        # The ends of both intervals: wide rather than narrow.
        low, high = row["penalty_low"] - one["penalty_high"], row["penalty_high"] - one["penalty_low"]
        changes.append(Value(row["penalty"] - one["penalty"], low, high, f"by `{row['family']}` at `{row['top_cut']}`"))
    return within("largest change ", changes, low=-2, high=2)


def selves() -> Found:
    """Self-stitches by the identity."""
    penalties = pd.concat([records(figure) for figure in ("fig2a", "fig2b")]).query("control == 'self'")["penalty"]
    told = f"{len(penalties)} self-stitches, penalties from {penalties.min():.2f} to {penalties.max():.2f}"
    return Found(told, "holds" if (penalties == 0).all() else "fails")


def worse() -> Found:
    """Every untrained bottom at a late cut has a positive penalty."""
    rows = chosen("fig2a", "net", "net", LATE, control="untrained")
    told = f"{int((rows['penalty_low'] > 0).sum())} of {len(rows)} untrained bottoms have a positive penalty"
    return Found(told, "holds" if (rows["penalty_low"] > 0).all() else "fails")


def spurious(label: str, kind: str, amount: float, what: str, stages: str, **bounds: float) -> Callable[[], Found]:
    """The change that spurious features bring from the plain bottom, over pairs of seeds and a mean of stages."""

    def found() -> Found:
        frame = recipe("spurious_figure").measured(SPURIOUS)
        rows = frame[(frame["kind"] == kind) & (frame["amount"] == amount) & (frame["what"] == what)]
        rows = rows[(rows["stage"] == "layer4") == (stages == "last")]
        return within(label, [over_seeds(list(rows.groupby("top_network")["change"].mean()))], **bounds)

    return found


def tuned(label: str, control: str) -> Callable[[], Found]:
    """How much more fine-tuned tops lose than stitches below the same bottoms at the same cuts, mean over the cuts."""

    def found() -> Found:
        frame = chosen("fig8", "net", "net", control=control).set_index("top_cut")
        tuned = frame["matching"].map(lambda told: json.loads(told).get("top", "frozen") != "frozen")
        columns = ["penalty", "penalty_low", "penalty_high"]
        (value, low, high), (other, other_low, other_high) = (frame[one][columns].mean() for one in (tuned, ~tuned))
        return within(label, [Value(value - other, low - other_high, high - other_low)], high=0)

    return found


def errs(label: str, figure: str, of: str, high: float = np.inf, low: float = -np.inf) -> Callable[[], Found]:
    """How many points more a bottom's network errs by itself than the top's, over pairs of seeds."""

    def found() -> Found:
        rows = records(figure)
        rows = rows[rows["of"].str.startswith(of)].drop_duplicates("bottom_network")
        return within(label, [over_seeds(list(rows["error_bottom"] - rows["error_top"]))], low, high)

    return found


def folds() -> Found:
    """Whether every stitched network of the chain folds exactly; each fold is checked before it is called one."""
    chain = between()
    chain = chain[(chain["way"] == "stitching") & chain["x"].between(0, 1, inclusive="neither")]
    same, more = chain["fold"] == "same architecture", chain["fold"].str.startswith("projection")
    told = f"of {len(chain)} stitched networks {same.sum()} fold into the top's architecture, {more.sum()} into it "
    told += "and one projection more"
    return Found(told, "holds" if same.all() else "fails")


def between() -> pd.DataFrame:
    """The points of the chain and the paths between two networks."""
    path = CONNECTIVITY / "points.csv"
    if not path.exists():
        raise NotRun("results/connectivity")
    return pd.read_csv(path, keep_default_na=False, na_values=[""], dtype={"cut": str, "fold": str})

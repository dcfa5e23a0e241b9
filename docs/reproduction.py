"""The claims of Bansal, Nakkiran and Barak (2021), each held against the records under results/paper/.

Bounds stand in the claims; they were written down before anything was run.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from judged import FOLDER, Claim, Found, NotRun, by_cut, chosen, difference, over_seeds, records, within

import modelstitch as ms

ROOT = Path(__file__).resolve().parents[1]
SPURIOUS = ROOT / "results" / "spurious_features"
sys.path.insert(0, str(ROOT / "recipes"))

FIRST_HALF = ("conv1", "layer1.0", "layer1.1", "layer2.0", "layer2.1")
LATE = ("layer4.0", "layer4.1")


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
        told = f"{label}CKA {pair[cut]:.2f}, of seeds {seeds[cut]:.2f}, at `{cut}`, where the penalty is {penalty}"
        # 0.1 less of CKA is what the paper's own pairs of seeds differ by among themselves.
        return Found(told, "holds" if pair[cut] < seeds[cut] - 0.1 and penalty.high <= MOST else "fails")

    return found


def kernels() -> Found:
    """The largest change that a wider kernel brings at any cut."""
    frame = chosen("fig4", "net", "net")
    plain = frame[frame["family"] == "Affine(kernel=1)"].set_index("top_cut")["penalty"]
    wide = frame[frame["family"] != "Affine(kernel=1)"]
    change = wide["penalty"] - wide["top_cut"].map(plain)
    worst = change.abs().idxmax()
    told = f"largest change {change[worst]:+.2f}, `{wide['family'][worst]}` at `{wide['top_cut'][worst]}`"
    return Found(told, "holds" if change.abs().max() <= 2 else "fails")


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
        frame = importlib.import_module("spurious_figure").measured(SPURIOUS)
        rows = frame[(frame["kind"] == kind) & (frame["amount"] == amount) & (frame["what"] == what)]
        rows = rows[(rows["stage"] == "layer4") == (stages == "last")]
        return within(label, [over_seeds(list(rows.groupby("top_network")["change"].mean()))], **bounds)

    return found


MOST = 5.0
"""Points: what "stitches" means. The paper's largest is 4.8, of two seeds of ViT."""

RECIPE = "`reproduce {} --size small`"

CLAIMS = (
    Claim(
        "C1",
        f"seeds stitch at every layer (≤ {MOST:g})",
        "3.3 (ResNet-18), 1.4 (Myrtle), 4.8 (ViT), 1.6 (ResNet-164)",
        RECIPE.format("fig2a"),
        (
            at_every_cut("ResNet-18 ", "fig2a", "net", "net", MOST),
            at_every_cut("its batch statistics ", "fig2a", "net", "net", MOST, batch_norm="batch"),
            at_every_cut("Myrtle ", "fig2a", "myrtle", "myrtle", MOST),
            at_every_cut("ViT ", "fig2a", "vit", "vit", MOST),
            at_every_cut("ResNet-164 ", "fig2a-deep", "deep", "deep", MOST),
        ),
    ),
    Claim(
        "C2",
        f"so do networks of disjoint halves of the data (≤ {MOST:g})",
        "2.7",
        RECIPE.format("fig2a"),
        (at_every_cut("", "fig2a", "half0", "half1", MOST),),
    ),
    Claim(
        "C3",
        f"so do half and double width (≤ {MOST:g})",
        "1",
        RECIPE.format("fig2a"),
        (
            at_every_cut("half ", "fig2a", "narrow", "narrow", MOST),
            at_every_cut("double ", "fig2a", "wide", "wide", MOST),
        ),
    ),
    Claim(
        "C4",
        "an untrained bottom does near the input (≤ 3) and not late (≥ 10)",
        "0, then 33",
        RECIPE.format("fig2a"),
        (
            untrained("early ", ("conv1",), high=3),
            untrained("late ", LATE, low=10),
            untrained("a fresh stem and classifier, early ", ("conv1",), "stem_reset", high=3),
            untrained("and late ", LATE, "stem_reset", low=10),
        ),
    ),
    Claim(
        "C5",
        f"self-supervised bottoms serve supervised tops (≤ {MOST:g})",
        "3.1",
        RECIPE.format("fig2b"),
        (at_every_cut("", "fig2b", "simclr", "net", MOST),),
    ),
    Claim(
        "C6",
        f"and the reverse (≤ {MOST:g})",
        "1.7",
        RECIPE.format("fig2b"),
        (at_every_cut("", "fig2b", "net", "simclr", MOST),),
    ),
    Claim(
        "C7",
        f"early layers do not mind labels (first half ≤ {MOST:g}); late ones do (≥ 5; all noise ≥ 20)",
        "≤ 3; last layers 21.7 coarse, 12.8, 22.8, 80 for 10, 50, 100 % of noise",
        RECIPE.format("fig3a"),
        (
            at_cuts("coarse, early ", "fig3a", "super", "net", cuts=FIRST_HALF, high=MOST),
            at_cuts("10 % noise, early ", "fig3a", "noise10", "net", cuts=FIRST_HALF, high=MOST),
            at_cuts("50 % noise, early ", "fig3a", "noise50", "net", cuts=FIRST_HALF, high=MOST),
            at_cuts("100 % noise, early ", "fig3a", "noise100", "net", cuts=FIRST_HALF, high=MOST),
            at_cuts("coarse, late ", "fig3a", "super", "net", cuts=("layer4.1",), low=5),
            at_cuts("100 % noise, late ", "fig3a", "noise100", "net", cuts=("layer4.1",), low=20),
        ),
    ),
    Claim(
        "C8",
        "bottoms of more data help (< 0 beside the top's own number), of fewer harm (> 0)",
        "−22 (25K), +18 (5K), at most, below 10K",
        RECIPE.format("fig2c"),
        (
            more("more data ", "fig2c", "many", "some", "some", high=0, n_fit=10000),
            more("fewer data ", "fig2c", "few", "some", "some", low=0, n_fit=10000),
            more("fitted on the top's own data: more ", "fig2c", "many", "some", "some", high=0, n_fit=3000),
            more("and fewer ", "fig2c", "few", "some", "some", low=0, n_fit=3000),
        ),
    ),
    Claim(
        "C9",
        "bottoms that trained longer help late layers (< 0), shorter harm (> 0); the stem is done early (≤ 0.5)",
        "−0.8 and +4.7 at most",
        RECIPE.format("fig3b"),
        (
            more("twice the time ", "fig3b", "long", "middle", "middle", high=0, cuts=LATE),
            more("half ", "fig3b", "short", "middle", "middle", low=0, cuts=LATE),
            more("half, after the stem ", "fig3b", "short", "middle", "middle", high=0.5, cuts=("conv1",)),
        ),
    ),
    Claim(
        "C10",
        "wider bottoms help narrower tops (< 0 beside bottoms of the top's width), narrower harm (> 0), also below "
        "wider tops",
        "−1 (2×), +6.5 (0.125×), at most, below 0.25×; the reverse not shown",
        RECIPE.format("fig3c"),
        (
            more("4 times ", "fig3c", "double", "quarter", "quarter", high=0),
            more("twice ", "fig3c", "whole", "quarter", "quarter", high=0),
            more("half ", "fig3c", "eighth", "quarter", "quarter", low=0),
            more("half, below a wider top ", "fig3c", "quarter", "whole", "whole", low=0),
        ),
    ),
    Claim("C11", "the kernel hardly matters (≤ 2 either way)", "about 2", RECIPE.format("fig4"), (kernels,)),
    Claim(
        "C12",
        f"CKA cannot see C1, C6, C8 (0.1 below that of seeds where the penalty is ≤ {MOST:g})",
        "0.36 (SimCLR), 0.03 (5K and 25K)",
        RECIPE.format("fig2b") + ", `fig2c`",
        (
            blind("SimCLR: ", "fig2b", "simclr", "net", ("net", "net")),
            blind("more data: ", "fig2c", "many", "some", ("some", "some")),
        ),
    ),
    Claim(
        "C15",
        "useless features lower CKA (≤ −0.5) and not stitching (≤ 1 point); shuffled pixels the reverse (0; ≥ 5)",
        "argued, not run",
        "`python recipes/spurious_features.py`",
        (
            spurious("99 % noise appended, CKA ", "+noise", 0.99, "flattened", "early", high=-0.5),
            spurious("its penalty ", "+noise", 0.99, "task", "early", high=1),
            spurious(
                "99 % of an untrained network's channels appended, CKA ",
                "+features",
                0.99,
                "flattened",
                "early",
                high=-0.5,
            ),
            spurious("its penalty ", "+features", 0.99, "task", "early", low=-1, high=1),
            spurious("all positions shuffled, CKA ", "#", 1.0, "flattened", "early", low=-1e-6, high=1e-6),
            spurious("its penalty ", "#", 1.0, "task", "early", low=5),
            spurious("after the last stage ", "#", 1.0, "task", "last", low=5),
        ),
    ),
    Claim("C17", "end points are exact", "0", RECIPE.format("fig2a") + ", `fig2b`", (selves,)),
    Claim("C18", "worse is positive", "a slip in one sentence", RECIPE.format("fig2a"), (worse,)),
)


def table() -> str:
    """One row a claim: the paper's number, ours, and the verdict."""
    head = "| claim | paper | here, with its 95 % interval | verdict | recipe |\n|---|---|---|---|---|"
    rows = []
    for claim in CLAIMS:
        parts = [looked_at(part) for part in claim.parts]
        told, verdicts = "<br>".join(part.told for part in parts), "<br>".join(part.verdict for part in parts)
        rows.append(f"| **{claim.name}** {claim.claim} | {claim.paper} | {told} | {verdicts} | {claim.recipe} |")
    return "\n".join([head, *rows])


def looked_at(part: Callable[[], Found]) -> Found:
    """What a part gives, or that its records are not there."""
    try:
        return part()
    except NotRun as missing:
        return Found(f"no records: {missing}", "not run")


def made_with() -> str:
    """What the records were made with."""
    lines = []
    for path in sorted(FOLDER.glob("*-small.jsonl")):
        frame = ms.open_records(path).to_pandas()
        first, failed = frame.iloc[0], int((frame["status"] == "failed").sum())
        versions = ", ".join(f"{name} {version}" for name, version in first["versions"].items())
        threads = f"{first['threads']} thread"
        commits = ", ".join(frame["commit"].str.slice(0, 12).unique())
        sizes = " or ".join(f"{n:,}" for n in sorted(frame["n_fit"].unique()))
        bases = frame.groupby("top_network")["error_top"].first()
        lines.append(
            f"- `{path.stem}`: {len(frame)} stitchings, {failed} failed; data {first['data']}, fitted on {sizes}, "
            f"measured on {first['n_test']:,}; {versions}; {first['device']}, {threads}, commit {commits}. "
            f"Base errors of tops: {', '.join(f'{name} {error:.2f} %' for name, error in bases.items())}."
        )
    return "\n".join(lines)

"""The claims of Bansal, Nakkiran and Barak (2021), each held against the records under results/paper/.

Bounds stand in the claims; they were written down before anything was run.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from judged import FOLDER, Claim, Found, NotRun
from parts import (
    FIRST_HALF,
    LATE,
    MOST,
    at_cuts,
    at_every_cut,
    blind,
    errs,
    folds,
    kernels,
    more,
    selves,
    spurious,
    tuned,
    untrained,
    worse,
)

import modelstitch as ms

RECIPE = "`reproduce {} --size small`"

DEEP = ("fig2a-deep", "deep", "deep")


def fitted(epochs: int) -> str:
    """The matching of the recipes, as a record tells it."""
    told = {"name": "task", "epochs": epochs, "learning_rate": 0.003, "batch_size": 128, "start": "least_squares"}
    return json.dumps(told)


CLAIMS = (
    Claim(
        "C1",
        f"seeds stitch at every layer (≤ {MOST:g})",
        "3.3 (ResNet-18), 1.4 (Myrtle), 4.8 (ViT), 1.6 (ResNet-164)",
        RECIPE.format("fig2a") + ", `fig2a-deep`",
        (
            at_every_cut("ResNet-18 ", "fig2a", "net", "net", MOST),
            at_every_cut("its batch statistics ", "fig2a", "net", "net", MOST, batch_norm="batch"),
            at_every_cut("Myrtle ", "fig2a", "myrtle", "myrtle", MOST),
            at_every_cut("ViT ", "fig2a", "vit", "vit", MOST),
            at_every_cut("ResNet-164 ", *DEEP, MOST, matching=fitted(4)),
            at_every_cut("its worst cuts, by five times the steps ", *DEEP, MOST, matching=fitted(20)),
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
            errs("what is supposed: networks of more data err less than the top ", "fig2c", "many", high=0),
            errs("and of fewer more ", "fig2c", "few", low=0),
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
        "C13",
        "fine-tuning overstates: a fresh top that trains as a whole loses less than a stitch (< 0 beside it)",
        "−3 to −4",
        RECIPE.format("fig8"),
        (tuned("above untrained bottoms ", "untrained"), tuned("above trained ones ", "")),
    ),
    Claim(
        "C14",
        "first and last layers of little data, frozen, cost little (≤ 3 above training all on all)",
        "2.4 (5,000 samples alone: 43.5)",
        RECIPE.format("fig9"),
        (errs("frozen ", "fig9", "frozen", high=3), errs("little data alone ", "fig9", "few", low=3)),
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
    Claim(
        "C16",
        "the fold is exact, so that every network of the chain has one architecture",
        "stated",
        "`python recipes/connectivity.py`",
        (folds,),
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
        devices = " and ".join(frame["device"].unique())
        commits = ", ".join(frame["commit"].str.slice(0, 12).unique())
        sizes = " or ".join(f"{n:,}" for n in sorted(frame["n_fit"].unique()))
        bases = frame.groupby("top_network")["error_top"].first()
        lines.append(
            f"- `{path.stem}`: {len(frame)} stitchings, {failed} failed; data {first['data']}, fitted on {sizes}, "
            f"measured on {first['n_test']:,}; {versions}; {devices}, {threads}, commit {commits}. "
            f"Base errors of tops: {', '.join(f'{name} {error:.2f} %' for name, error in bases.items())}."
        )
    return "\n".join(lines)

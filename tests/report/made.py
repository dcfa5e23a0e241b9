"""Findings for the tests of reports: real ones, and made-up ones of any shape."""

import json
import math
import zlib
from pathlib import Path

import pandas as pd

from modelstitch.comparison.comparison import Comparison, Similarity
from modelstitch.recipe import Claim
from modelstitch.records import MeasureRow, Record, Records, ScoreRow, open_records
from modelstitch.report import Findings, Reference

SEEDS = Path(__file__).parents[2] / "results" / "fashion_mnist_seeds"
HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "</script><b>", "__proto__")
CUTS = ("stem", "layer1", "layer2", "layer3")
CLAIMS = [
    Claim(claim="two seeds stitch everywhere", at_most=3.0),
    Claim(claim="a network with itself costs nothing", control="self", at_most=0.0, at_least=0.0),
    Claim(
        claim="an untrained bottom costs more than ten points somewhere",
        control="untrained",
        statistic="some",
        at_least=10.0,
    ),
]


def real(**more):
    """What two seeds of a ResNet-18 gave on Fashion-MNIST."""
    configs = [(name, json.loads((SEEDS / f"{name}.json").read_text())) for name in ("seed0", "seed1")]
    return Findings(
        name="fashion_mnist_seeds",
        question="Do two seeds stitch?",
        recipe="networks: two seeds\n",
        records=open_records(SEEDS / "records.jsonl").to_pandas(),
        networks=[(name, config["weights"], config) for name, config in configs],
        verdicts=CLAIMS,
        references=[Reference("paper: ResNet-18 (CIFAR-10)", "fig2A", "ResNet-18")],
        **more,
    )


def record(bottom="A", top="B", cut="layer1", top_cut=None, penalty=1.0, half=0.5, control="", family="affine", **more):
    """A record with the penalty asked for and its interval of twice ``half``, in points unless ``score`` is another."""
    score, unit = more.pop("score", ("error", "points"))
    top_cut = top_cut or cut
    depths = {name: (i + 1) / (len(CUTS) + 1) for i, name in enumerate(CUTS)}
    asked = {
        "key": f"{zlib.crc32(repr((bottom, top, cut, top_cut, control, family, more.get('seed'))).encode()):016x}",
        "stitching": f"{bottom}@{cut} -> {top}@{top_cut}",
        "bottom_depth": depths.get(cut, 0.5),
        "top_depth": depths.get(top_cut, 0.5),
        **dict.fromkeys(("bottom_weights", "top_weights", "fit_data", "test_data", "commit"), "0123"),
        **dict.fromkeys(("bottom_graph", "top_graph", "bottom_kind", "top_kind"), ""),
        "task": '{"name": "classification"}',
        "data": "digits",
        "n_fit": 1500,
        "n_test": 297,
        "matching": '{"name": "direct", "ridge": 0.1}',
        "batch_norm": "frozen",
        "seed": 0,
        "seconds": 1.0,
        "device": "cpu",
        "threads": 1,
        "versions": {"torch": "2.13.0"},
        "created": "2026-01-01",
    }
    scores = [ScoreRow(score, unit, "lower", *(0.5,) * 3, float(penalty), penalty - half, penalty + half)]
    scores += [ScoreRow("loss", "nats", "lower", *(0.5,) * 3, *(0.0,) * 3)] if score == "error" else []
    values = {"agreement_top": 0.5, "agreement_bottom": 0.5, "cka": 0.9, "procrustes": 0.2 + penalty / 99}
    values |= more.pop("values", {})
    measures = [MeasureRow(name, value) for name, value in values.items()]
    found = {"status": "ok", "scores": tuple(scores), "measures": tuple(measures)}
    if more.get("status") == "failed":
        found = {}
    names = {"bottom_network": bottom, "top_network": top, "bottom_cut": cut, "top_cut": top_cut}
    family = json.dumps({"name": family, "kernel": 1} if family == "affine" else {"name": family})
    return Record(**{**asked, **found, **names, "control": control, "family": family, **more})


def frame(*records):
    return Records(records).to_pandas()


def grid(names=("A", "B"), families=("affine", "orthogonal"), cuts=CUTS):
    """Every cut into every cut, both ways, by each family; untrained bottoms, networks with themselves, a failure."""
    made = []
    for a in names:
        for b in names:
            for family in families if a != b else ():
                for i, cut in enumerate(cuts):
                    for j, top_cut in enumerate(cuts):
                        curve = tuple(0.5 * math.exp(-epoch) for epoch in range(3))
                        made.append(record(a, b, cut, top_cut, i - j + 0.7, family=family, curve=curve))
                    made.append(record(a, b, cut, penalty=9.0 * i, control="untrained", family=family))
        made.append(record(a, a, penalty=0.0, half=0.0, control="self", family="identity"))
    failed = record(*names[:2], status="failed", reason=f"not finite {names[0]}", family=families[0], seed=9)
    return frame(*made, failed)


def similarities(names=("A", "B"), cuts=CUTS):
    return Comparison(
        [
            Similarity(measure, *(names[0], a, i / 9), *(names[1], b, j / 9), value, note, "digits", 297, "flatten")
            for measure in ("cka", "procrustes")
            for i, a in enumerate(cuts)
            for j, b in enumerate(cuts)
            for value, note in [(None, f"too few rows {names[0]}") if i == j == 0 else (abs(i - j) / 9, "")]
        ]
    ).to_pandas()


def layers(names=("A", "B"), **more):
    """A run with everything in it."""
    curve = [{"epoch": epoch, "loss": 1 / epoch, "error": 9 / epoch} for epoch in (1, 2, 3)]
    config = {"architecture": names[0], "training": {"seed": 3, "epochs": 3, "curve": curve}, "test_error": 8.5}
    told = {
        "name": names[0],
        "question": f"Which layer feeds which? {names[0]}",
        "recipe": f"networks: {names[1]}",
        "records": grid(names),
        "similarities": similarities(names),
        "networks": [(name, "0123", config) for name in names],
        "failures": {f"train {names[0]}": f"out of memory {names[1]}"},
        "verdicts": [*CLAIMS, Claim(claim=f"free {names[0]}", bottoms=names[0], statistic="mean", at_most=0.0)],
        "references": [Reference(f"paper: {names[0]}", "fig7", "Width 0.25x vs 2x")],
    }
    return Findings(**{**told, **more})


def nothing():
    """A run that was asked nothing and found nothing."""
    return Findings(name="none", question="?", recipe="", records=Records().to_pandas(), similarities=pd.DataFrame())

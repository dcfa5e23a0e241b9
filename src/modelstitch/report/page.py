"""One page of a run: a single file that needs no network and runs no code but its own.

The policy at its head lets the browser run exactly the scripts that stand in it, named by their hashes, and fetch
nothing. So a name or a reason that looks like markup does no harm even where escaping were to fail.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from modelstitch.recipe.published import published
from modelstitch.report import tables
from modelstitch.report.findings import Findings
from modelstitch.report.gallery import Gallery
from modelstitch.report.rows import packed, script_json
from modelstitch.report.verdicts import RULE, judge
from modelstitch.report.words import record_words, what_a_penalty_is
from modelstitch.support.files import write_whole
from modelstitch.support.version import VERSION
from modelstitch.vocabulary import CONTROLS

# What the page shows of a record; the fields of `Record` and what was derived from them.
_LEFT_OUT = ("series",)
# Altair would else put what it transforms itself into the chart.
_AS_DRAWN = {"pre_transform": False}


def page(findings: Findings) -> str:
    """The page of a run as HTML, complete in itself.

    Args:
        findings: what the run found; it may be empty.

    Returns:
        The text of the file.

    Raises:
        SettingError: a claim has no bound, or a published curve does not exist.
    """
    gallery = Gallery(findings)
    charts = gallery.screen()
    scripts = {
        "vega": _safe_script(_drawing_code()),
        "page": _safe_script(_packaged("page.js")),
    }
    environment = Environment(
        loader=PackageLoader("modelstitch.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        findings=findings,
        policy=_policy(list(scripts.values())),
        scripts=scripts,
        style=Markup(_packaged("page.css")),
        data=Markup(script_json(_data(gallery, charts))),
        verdicts=[_told(judge(claim, findings.records, findings.kinds)) for claim in findings.verdicts],
        rule=RULE,
        published=published(),
        penalty=what_a_penalty_is(gallery.names.scores),
        nothing=f"0 {gallery.names.unit}".rstrip(),
        even="one point" if gallery.names.unit == "points" else "a thirtieth of its ends",
        controls={name: control for name, control in CONTROLS.items() if name != "self"},
        gallery=gallery,
        figures=list(charts),
        tables=_tables(gallery),
        counts=_counts(gallery),
        wrong_selves=_wrong_selves(gallery),
        version=VERSION,
    )


def write_page(findings: Findings, path: str | Path) -> None:
    """Write the page of a run.

    Args:
        findings: what the run found.
        path: the HTML file; its folder is made if need be.

    Raises:
        NotWritable: the place refuses; what lay there before is untouched.
        SettingError: a claim has no bound, or a published curve does not exist.
    """
    write_whole(path, page(findings).encode())


@cache
def _drawing_code() -> str:
    """Vega, Vega-Lite and what shows them, from the wheel that also draws the figures."""
    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed")
    return bundle


def _packaged(name: str) -> str:
    return files("modelstitch.report").joinpath("templates", name).read_text(encoding="utf-8")


def _safe_script(text: str) -> Markup:
    """A script that cannot be ended from within: its strings mean the same with the slash escaped."""
    return Markup(text.replace("</script", "<\\/script").replace("<!--", "<\\!--"))


def _policy(scripts: list[Markup]) -> str:
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{one}'" for one in hashes)
    nothing = "default-src 'none'; base-uri 'none'; form-action 'none'"
    return f"{nothing}; script-src {allowed}; style-src 'unsafe-inline'; img-src data:"


def _data(gallery: Gallery, charts: dict[str, alt.LayerChart]) -> dict[str, Any]:
    datasets = gallery.datasets()
    records = datasets["records"].drop(columns=[name for name in _LEFT_OUT if name in datasets["records"]])
    return {
        "datasets": {name: packed(frame) for name, frame in {**datasets, "records": records}.items()},
        "charts": {
            name: chart.to_dict(validate=False, context={"pre_transform": False}) for name, chart in charts.items()
        },
        "picks": {"setting": gallery.names.setting},
        "words": record_words(gallery.findings.records),
    }


def _tables(gallery: Gallery) -> dict[str, tables.Table]:
    findings = gallery.findings
    return {
        "controls": tables.controls(gallery),
        "penalties": tables.penalties(gallery),
        "measures": tables.measures(gallery),
        "similarities": tables.similarities(gallery),
        "networks": tables.networks(findings),
        "failures": tables.failures(findings),
        "records": tables.every_record(gallery),
        "provenance": tables.provenance(findings),
    }


def _told(verdict: Any) -> dict[str, Any]:
    shown = "" if verdict.penalty is None else tables.interval(verdict.penalty, verdict.low, verdict.high, verdict.unit)
    sizes = " to ".join(f"{n:,}" for n in verdict.n_test)
    return {"verdict": verdict, "number": shown, "sizes": sizes, "word": verdict.answer.replace(" ", "-")}


def _counts(gallery: Gallery) -> dict[str, int]:
    frame = gallery.records
    return {
        "records": len(frame),
        "failed": int((frame["status"] == "failed").sum()),
        "stitchings": len(gallery.stitchings),
        "pairs": len(gallery.names.pairs),
        "self": int((frame["control"] == "self").sum()),
        "self_failed": int(((frame["control"] == "self") & (frame["status"] == "failed")).sum()),
        "untrained": int((frame["control"] == "untrained").sum()),
    }


def _wrong_selves(gallery: Gallery) -> list[str]:
    frame = gallery.records
    wrong = frame[(frame["control"] == "self") & (frame["status"] == "ok") & (frame["penalty"] != 0)]
    told = wrong[["stitching", "penalty", "penalty_low", "penalty_high", "unit"]].itertuples(index=False)
    return [f"{what}: {tables.interval(*numbers)}" for what, *numbers in told]

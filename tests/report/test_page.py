"""The page as text: complete in itself, harmless whatever it is told, small, and readable in both schemes."""

import base64
import dataclasses
import hashlib
import itertools
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from made import CUTS, HOSTILE, frame, grid, layers, nothing, real, record

from modelstitch.errors import NotWritable
from modelstitch.recipe import Claim
from modelstitch.report import page, write_page
from modelstitch.report.page import _packaged, _safe_script

SECTIONS = ["h-verdicts", "h-controls", "h-penalty", "h-measures", "h-maps", "h-learning", "h-networks", "failures"]
SECTIONS += ["h-records", "h-recipe", "h-provenance"]


class Read(HTMLParser):
    """Tags with their attributes, the text of each script, and all other text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.scripts, self.text = [], [], ""
        self.inside = None
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.inside = dict(attributes) if tag == "script" else self.inside

    def handle_endtag(self, tag):
        self.inside = None if tag == "script" else self.inside

    def handle_data(self, data):
        if self.inside is None:
            self.text += data
        else:
            self.scripts.append((self.inside.get("type"), data))

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def whole():
    return Read(page(layers()))


def test_the_policy_names_each_script_and_forbids_the_rest(whole):
    policy = next(meta["content"] for meta in whole.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    code = [text for kind, text in whole.scripts if kind is None]
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in code]
    assert re.findall(r"'sha256-([^']+)'", policy) == hashes
    assert len(hashes) == 2
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy
    assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]


def test_each_control_is_drawn_and_said_to_be_what_it_is():
    told = {
        "stem_reset": "a fresh first layer",
        "noise": "that of a guess",
        "clustered_noise": "nothing but the label",
        "shuffled": "beside another's",
    }
    records = frame(record(), *(record(control=control) for control in told))
    shown = Read(page(dataclasses.replace(nothing(), records=records)))
    for control, words in told.items():
        assert any(one.get("data-chart") == control for _, one in shown.tags)
        assert words in " ".join(shown.text.split())


def test_no_script_can_be_ended_from_within():
    assert _safe_script("'</script>' + '<!--'") == "'<\\/script>' + '<\\!--'"


def test_nothing_in_it_is_fetched_from_elsewhere(whole):
    for tag, attributes in whole.tags:
        for name in ("src", "href", "srcset", "action", "poster"):
            assert attributes.get(name, "#").startswith(("#", "data:,")), (tag, attributes)
    assert "url(" not in _packaged("page.css")
    assert "@import" not in _packaged("page.css")


def test_hostile_names_are_text_and_nothing_else():
    tame, hostile = Read(page(layers())), Read(page(layers(HOSTILE[:2], name=HOSTILE[2])))
    tags = [sorted({tag for tag, _ in one.tags}) for one in (tame, hostile)]
    assert tags[0] == tags[1]
    assert len(hostile.all("script")) == len(tame.all("script")) == 3
    assert {name for _, attributes in hostile.tags for name in attributes if name.startswith("on")} == set()
    for text in HOSTILE[:3]:
        assert text in hostile.text
    held = json.loads(next(text for kind, text in hostile.scripts if kind))
    assert HOSTILE[0] in held["datasets"]["records"]["columns"]["bottom_network"]["levels"]


def test_the_sections_stand_in_order_under_headings_in_order(whole):
    headings = [(tag, attributes.get("id")) for tag, attributes in whole.tags if re.fullmatch("h[1-6]", tag)]
    assert [name for tag, name in headings if tag == "h2"] == SECTIONS
    levels = [int(tag[1]) for tag, _ in headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_what_can_be_used_has_a_name(whole):
    labelled = {label["for"] for label in whole.all("label")}
    assert {select["id"] for select in whole.all("select")} == labelled
    charts = [div for div in whole.all("div") if "data-chart" in div]
    assert len(charts) == 8
    assert all(chart["role"] == "img" and len(chart["aria-label"]) > 20 for chart in charts)
    assert {"header", "main", "footer", "aside"} <= {tag for tag, _ in whole.tags}
    assert whole.all("html")[0]["lang"] == "en"


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_computed_as_defined():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_and_lines_stand_out_from_their_ground(scheme):
    roots = re.findall(r":root \{(.*?)\}", _packaged("page.css"), re.DOTALL)
    assert len(roots) == 2
    colours = dict(re.findall(r"--([\w-]+): (#\w{6});", roots[scheme]))
    for ground in ("paper", "panel"):
        for text in ("ink", "faint", "link", "good", "bad", "unsure"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for line in ["axis", *(name for name in colours if name.startswith("series"))]:
        assert contrast(colours[line], colours["paper"]) >= 3, line


def test_each_verdict_shows_its_number_and_how_many():
    text = Read(page(real())).text
    assert [*re.findall("(holds|fails|cannot tell)\n", text)] == ["holds", "holds", "holds"]
    assert re.search(r"holds\s+\+2\.02 \[\+1\.55, \+2\.51\]", text)
    assert "20 stitchings" in text
    assert "10,000 test examples" in text
    assert "compare the shape, not the height" in text


def test_self_stitchings_that_cost_something_raise_the_alarm():
    fine, wrong = (frame(record(), record("A", "A", penalty=p, half=0, control="self")) for p in (0.0, 0.01))
    assert "1 of 1 self-stitchings cost exactly 0" in page(layers(records=fine))
    told = page(layers(records=wrong))
    assert "Do not trust this run" in told
    assert "A@layer1 -&gt; A@layer1: +0.01" in told
    assert "No self-stitching in this run" in page(layers(records=frame(record())))


def test_failures_are_told_with_their_reason(whole):
    for told in ("out of memory B", "not finite A", "A@layer1 -> B@layer1"):
        assert told in whole.text


def test_a_run_that_found_nothing_says_so():
    text = Read(page(nothing())).text
    for told in ("No stitching has a value", "Nothing failed", "claims nothing", "No self-stitching"):
        assert told in text
    failed = frame(record(status="failed", reason="why not"))
    assert "why not" in page(dataclasses.replace(nothing(), records=failed))


def test_a_large_run_stays_small():
    names = tuple("ABCDEFGHIJ")
    records = grid(names, families=("affine", "orthogonal"))
    assert len(records) > 3000
    # Records with every measure and a longer name take half as much again: still below 5 MB.
    assert len(page(layers(names, records=records)).encode()) < 3e6


def test_the_file_holds_the_page_and_a_refusal_is_told(tmp_path):
    write_page(nothing(), tmp_path / "new" / "page.html")
    assert (tmp_path / "new" / "page.html").read_text(encoding="utf-8") == page(nothing())
    (tmp_path / "file").write_text("")
    with pytest.raises(NotWritable, match="write "):
        write_page(nothing(), tmp_path / "file" / "page.html")


MADE = """
import sys
from modelstitch.records import Records
from modelstitch.report import Findings, page
page(Findings("name", "question", "recipe", Records().to_pandas()))
print("torch" in sys.modules)
"""


def test_reports_load_no_torch():
    told = subprocess.run([sys.executable, "-c", MADE], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["False"]


def test_a_page_of_another_score_speaks_of_it():
    records = frame(
        *(record(cut=cut, top_cut=top, penalty=0.02, half=0.01, score=("r2", "R²")) for cut in CUTS for top in CUTS)
    )
    shown = Read(page(layers(records=records, verdicts=[Claim(claim="all", at_most=0.1)])))
    text = " ".join(shown.text.split())
    for told in (
        "how much worse the R² of the stitched network is",
        "each at most 0.1 R²",
        "+0.0200 [+0.0100, +0.0300]",
    ):
        assert told in text
    held = json.loads(next(text for kind, text in shown.scripts if kind))
    assert held["charts"]["penalty"]["layer"][3]["encoding"]["y"]["title"] == "penalty, R²"
    assert held["words"]["titles"]["penalty"] == "penalty, R²"
    assert held["words"]["titles"]["r2_top"] == "R² of the top"
    assert held["words"]["decimals"] == {"R²": 4}


def test_a_page_of_two_tasks_tells_the_unit_of_each():
    other = record(cut="layer2", score=("r2", "R²"), task='{"name": "regression"}')
    text = " ".join(Read(page(layers(records=frame(record(), other), verdicts=[]))).text.split())
    for told in (
        "how much worse the test error or R²",
        "Penalty in points of test error or R²",
        "test error 0.50 %",
    ):
        assert told in text


def test_claims_of_the_cuts_can_be_narrowed_on_the_page():
    told = page(layers(verdicts=[Claim(claim="late", cuts=f"{CUTS[-1]}*", at_most=9.0)]))
    assert "each at most 9 points: stitchings at layer3*" in told

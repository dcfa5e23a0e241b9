"""The verbs of a whole experiment: planned, carried out, reported, and refused in words."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from command_line import typed
from modelstitch.cli.sweep import _executor
from modelstitch.compute import Compute

RECIPE = """\
name: tiny
question: Do they <b>stitch</b>?
data: {name: digits, train: 64, test: 40}
networks:
  net: {architecture: mlp, options: {widths: [8]}, samples: 200, epochs: 1, seeds: [0, 1]}
stitchings:
  - pairs: [[net-0, net-1]]
    matchings: [{name: direct}]
claims:
  - {claim: "They </script><script>alert(1)</script>", at_most: 50}
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A folder in which the recipe was planned and carried out, with what was printed."""
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "tiny.yaml").write_text(RECIPE)
    planned = typed("sweep", "tiny.yaml", "--dry-run", cwd=folder)
    made = sorted(path.name for path in folder.iterdir())
    return folder, planned, made, typed("sweep", "tiny.yaml", cwd=folder)


def test_a_plan_is_printed_and_nothing_is_made(ran):
    _, planned, made, _ = ran
    assert (planned.code, made) == (0, ["tiny.yaml"])
    assert "train   net-0, about" in planned.out
    assert "1 stitchings in all, 0 of them there" in planned.out


def test_a_recipe_is_carried_out_and_its_records_are_printed(ran):
    folder, _, _, done = ran
    assert done.code == 0
    assert "net-0@layer1 -> net-1@layer1" in done.out
    assert "1 records in runs/tiny.sqlite" in done.err
    again = typed("sweep", "tiny.yaml", "--json", cwd=folder)
    (line,) = again.out.splitlines()
    assert json.loads(line)["stitching"] == "net-0@layer1 -> net-1@layer1"


def test_the_report_is_one_page_in_which_nothing_hostile_runs(ran):
    folder, *_ = ran
    done = typed("report", "runs/tiny.sqlite", "--figures", "figures", cwd=folder)
    assert (done.code, done.err) == (0, "1 records of tiny\n")
    assert done.out.splitlines()[0] == "runs/tiny.html"
    page = (folder / "runs" / "tiny.html").read_text()
    assert "alert(1)" in page
    assert "<script>alert" not in page
    assert "<b>stitch</b>" not in page
    endings = {Path(line).suffix for line in done.out.splitlines()[1:]}
    assert endings == {".svg", ".png", ".pdf"}
    assert all((folder / line).stat().st_size > 1000 for line in done.out.splitlines())


def test_a_failed_job_is_told_and_the_exit_code_says_so(tmp_path):
    (tmp_path / "bad.yaml").write_text(RECIPE.replace("widths: [8]", "widht: 8"))
    done = typed("sweep", "bad.yaml", cwd=tmp_path)
    assert done.code == 1
    assert "failed: train net-0" in done.err
    assert "did you mean 'widths'" in done.err


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("sweep", "none.yaml"), "No such file"),
        (("sweep", "wrong.yaml"), "line 1: nam: unknown key"),
        (("sweep", "setting.yaml"), "line 8: stitchings[0].matchings[0].epochs: unknown key"),
        (("sweep", "tiny.yaml", "--jobs", "0"), "no process to run in"),
        (("sweep", "tiny.yaml", "--jobs", "2", "--ray", "local"), "two ways to run jobs"),
        (("report", "none.sqlite"), "no such file"),
        (("report", "runs/tiny.sqlite", "--recipe", "tini"), "did you mean 'tiny'"),
    ],
)
def test_wrong_requests_end_with_three_lines_and_two(ran, arguments, found):
    folder, *_ = ran
    (folder / "wrong.yaml").write_text(RECIPE.replace("name: tiny", "nam: tiny"))
    (folder / "setting.yaml").write_text(RECIPE.replace("{name: direct}", "{name: direct, epochs: 2}"))
    done = typed(*arguments, cwd=folder)
    assert (done.code, done.out) == (2, "")
    assert found in done.err
    assert [line[:6] for line in done.err.splitlines()[:3]] == ["asked:", "found:", "do:   "]


@pytest.mark.parametrize(("device", "gpus"), [(None, 0), ("cpu", 0), ("cuda", 1), ("cuda:0", 1)])
def test_a_task_of_ray_reserves_a_gpu_where_it_computes_on_one(monkeypatch, device, gpus):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert _executor(1, "local", Compute(device)).gpus == gpus


def test_the_schema_is_json_and_tells_the_settings_of_every_matching(tmp_path):
    told = typed("schema", cwd=tmp_path).out
    assert "stitchings" in json.loads(told)["properties"]
    assert '"patience"' in told


def test_a_report_loads_no_torch(ran):
    folder, *_ = ran
    code = (
        "import sys; from modelstitch.report import findings_of as f; f(sys.argv[1]); sys.exit('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, "runs/tiny.sqlite"]
    assert subprocess.run(command, cwd=folder, check=False).returncode == 0

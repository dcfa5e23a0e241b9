"""The six jobs, one a task: their pages say what the records say, and their data are what they are said to be."""

import sys
from pathlib import Path

import pytest
import torch

import modelstitch as ms
from modelstitch.data import Samples, both_sets

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "results" / "tasks"

# The scripts import each other by name, as they do when they are run.
sys.path.insert(0, str(ROOT / "recipes"))
try:
    import tasks_data
    import tasks_figure
    import tasks_tables
    from tasks_jobs import JOBS
finally:
    sys.path.remove(str(ROOT / "recipes"))

RECORDS = tasks_figure.found(OUT)


def test_every_job_has_its_records():
    assert set(RECORDS) == set(JOBS)
    tasks = {name: ms.open_records(OUT / f"{name}.jsonl")[0].task for name in JOBS}
    assert all(f'"name": "{job.task.name}"' in tasks[name] for name, job in JOBS.items())


@pytest.mark.parametrize("name", JOBS)
def test_the_controls_behave_as_they_must(name):
    frame = RECORDS[name].to_pandas()
    assert (frame["status"] == "ok").all()
    own = frame[frame["control"] == "self"]
    assert len(own) > 0
    assert all(str(value) == "0.0" for column in ("penalty", "penalty_low", "penalty_high") for value in own[column])
    noise = frame[frame["control"] == "noise"]["penalty"]
    assert (noise > frame[frame["control"] == ""]["penalty"].max()).all()


def test_the_page_says_what_the_records_say():
    page = (OUT / "README.md").read_text(encoding="utf-8")
    made = tasks_tables.tables(RECORDS, tasks_figure.guesses(OUT))
    assert {name for _, name, _ in tasks_tables.MARKED.findall(page)} == set(made)
    assert tasks_tables.written(page, made) == page


def test_every_job_has_a_panel_alone_and_one_beside_controls():
    drawn = tasks_figure.figure(RECORDS).to_dict()
    assert len(drawn["concat"]) == 2 * len(JOBS)
    axes = [panel["layer"][2]["encoding"]["y"]["title"] for panel in drawn["concat"][::2]]
    assert axes == [job.axis for job in JOBS.values()]
    assert axes[:2] == [["penalty, R²"], ["penalty, points of", JOBS["lemmas"].task.scores[0].title]]


def test_diabetes_is_standardised_by_what_is_fitted_on():
    split = tasks_data.diabetes()
    assert (len(split.train), len(split.test)) == (332, 110)
    for part in (split.train.inputs, split.train.targets):
        assert torch.allclose(part.mean(0), torch.zeros(part.shape[1]), atol=1e-5)
        assert torch.allclose(part.std(0), torch.ones(part.shape[1]), atol=1e-5)
    both_sets(split.train, split.test)


def test_pixels_are_of_the_class_of_the_garment_that_covers_them():
    images = torch.zeros(12, 1, 28, 28, dtype=torch.uint8)
    images[:, :, 4:24, 4:24] = 200
    labels = torch.arange(12) % 10
    x, y = tasks_data.canvases(Samples("squares", images, labels, 10), 4)
    assert (x.shape, y.shape) == ((4, 1, 32, 32), (4, 32, 32))
    for canvas in range(4):
        seen = y[canvas][y[canvas] > 0]
        # A square of 20 pixels is one of 10 at half the size, and none hides another.
        kinds, counts = seen.unique(return_counts=True)
        assert set(kinds.tolist()) <= {1 + int(labels[3 * canvas + i]) for i in range(3)}
        assert set(counts.tolist()) == {100}
        assert bool((x[canvas, 0][y[canvas] > 0] > 0.5).all())
        assert bool((x[canvas, 0][y[canvas] == 0] < 0.4).all())


def test_what_letters_alone_give_is_the_entropy_of_their_shares():
    texts = ms.Tokens("two", [[0, 1, 2], [0, 1, 2]], next_token=True)
    assert tasks_data.letters_alone(texts) == pytest.approx(torch.tensor(2.0).log().item())

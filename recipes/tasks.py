"""Six jobs, one a task: numbers, several labels, next tokens, pixels, retrieval, and no labels at all.

    python recipes/tasks.py NETS OUT [--jobs diabetes,lemmas]

Question: does the one call, `ms.stitch_all(A, B, train, test, task=…)`, give penalties that can be read, in each task's
own unit, beside controls that behave as they must?
Networks: two for each job that differ in their seed alone, trained by its task into NETS/JOB/seed0 and seed1.
Expected: both networks do clearly better than a guess; self-stitches cost exactly 0; noise in place of a bottom costs
about all that the top has learnt; a trained bottom costs less than an untrained one at the later cuts.
Data: `tasks_data`, where each set says what it needs to be installed.
Records go to OUT/JOB.sqlite as they are made, so that a run that is called again goes on, and from there to
OUT/JOB.jsonl; the figure OUT/penalty.png and the tables in OUT/README.md are made of those. The same jobs on
the command line stand in that page; the first begins, from the root of the repository, with
`modelstitch train mlp --data py:recipes.tasks_data:diabetes --task regression --width 32 … --out nets/diabetes/seed0`.
Time: about a quarter of an hour on one core.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import tasks_figure
from tasks_jobs import JOBS, Job

import modelstitch as ms
from modelstitch.pretraining import default_schedule


def trained(job: Job, nets: Path) -> list[ms.Network]:
    """The two networks, trained unless they are there."""
    split, folder = job.learnt(), nets / job.networks
    for seed in (0, 1):
        ms.train_network(
            job.architecture,
            split,
            seed=seed,
            folder=folder / f"seed{seed}",
            task=job.trained_by(nets),
            schedule=default_schedule(job.name, **job.schedule),
            **job.sizes(),
        )
    return [ms.load_network(str(folder / f"seed{seed}")) for seed in (0, 1)]


def run(job: Job, nets: Path, out: Path) -> None:
    """Train, stitch at every cut both ways with controls, and write the records."""
    begun = time.perf_counter()
    a, b = trained(job, nets)
    split, store = job.data(), ms.Store(out / f"{job.name}.sqlite")
    records = ms.stitch_all(
        a.module,
        b.module,
        split.train,
        split.test,
        names=(a.name, b.name),
        task=job.judged(nets),
        by=ms.TaskLoss(**job.stitch),
        controls=job.controls,
        store=store,
    )
    records.save(out / f"{job.name}.jsonl")
    if job.guess is not None:
        told = {**tasks_figure.guesses(out), job.name: job.guess(split.test)}
        (out / "guesses.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    print(f"{job.name}: {time.perf_counter() - begun:.0f} s\n{records}", flush=True)


def main() -> None:
    """Run the jobs that were named, then draw what OUT holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--jobs", default=",".join(JOBS), help="commas between; '' to draw alone")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    for name in filter(None, asked.jobs.split(",")):
        run(JOBS[name], asked.nets, asked.out)
    tasks_figure.draw(asked.out)


if __name__ == "__main__":
    main()

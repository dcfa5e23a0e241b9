"""A tiny recipe, and ways to carry it out."""

import dataclasses

import torch

from modelstitch.records import Store
from modelstitch.sweep import run_recipe

RECIPE = """\
name: tiny
question: Do they?
data: {name: digits, train: 64, test: 40}
networks:
  net:
    architecture: mlp
    options: {widths: [8, 8]}
    samples: 200
    epochs: 1
    seeds: [0, 1]
stitchings:
  - pairs: [[net-0, net-1]]
    both_ways: true
    families: [{name: affine}, {name: orthogonal}]
    matchings: [{name: direct}, {name: task, epochs: 1}]
    controls: [self, untrained, stem_reset, noise, shuffled]
measures: [cka_minibatch]
claims:
  - {claim: They do, at_most: 50}
"""
COUNT = 2 * 2 * 2 * 2 * 5 + 2 * 2
"""Cuts, ways, families, matchings, the stitchings and four controls; and the self-stitches of both at each cut."""


def run(folder, text=RECIPE, **options):
    return run_recipe(text, Store(folder / "run.sqlite"), networks=folder / "nets", **options)


def essence(records):
    """Everything that the same recipe must give again, bit for bit; somebody may commit while the tests run."""
    return sorted(
        (str(dataclasses.replace(one, seconds=0.0, created="", threads=0, commit="")) for one in records),
    )


def carry_out(text, path, networks):
    """What a process does that will be killed."""
    torch.set_num_threads(1)
    run_recipe(text, Store(path), networks=networks)

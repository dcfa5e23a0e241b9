"""Permutations: channels renamed and nothing else."""

import torch
from stitch_cases import every_cut, made, values

from modelstitch.stitches import Permutation
from modelstitch.support.tensors import rows


@every_cut
def test_a_fresh_permutation_renames_channels_and_no_more(cut):
    stitch = made(Permutation(), cut, cut)
    assert sorted(stitch.order.tolist()) == [0, 1, 2]
    x = rows(values(cut), cut.kind)
    assert torch.equal(rows(stitch(values(cut)), cut.kind), x[:, stitch.order])

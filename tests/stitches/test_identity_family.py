"""The identity: the tensor itself."""

import pytest
import torch
from stitch_cases import CUTS, every_cut, made, values

from modelstitch.errors import SettingError
from modelstitch.stitches import Identity


@every_cut
def test_identity_is_the_very_tensor(cut):
    x = values(cut)
    assert made(Identity(), cut, cut)(x) is x


def test_identity_takes_no_map():
    stitch = made(Identity(), CUTS["vector"], CUTS["vector"])
    with pytest.raises(SettingError, match="a family without parameters"):
        stitch.assign(torch.eye(3), torch.zeros(3), torch.zeros(3), torch.eye(3))

"""Wrappers are opened: places and weights have the names that they have in the network itself."""

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from fixtures import vectors
from modelstitch.cut import capture
from modelstitch.cut.frozen import frozen_view
from modelstitch.cut.opened import opened
from modelstitch.errors import NotCuttable


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))


class OptimizedModule(nn.Module):
    """What ``torch.compile`` returns, without the compiler."""

    __module__ = "torch._dynamo.eval_frame"

    def __init__(self, inner):
        super().__init__()
        self._orig_mod = inner

    def forward(self, *args, **kwargs):
        return self._orig_mod(*args, **kwargs)


WRAPPERS = {"parallel": nn.DataParallel, "compiled": OptimizedModule, "averaged": AveragedModel}


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_wrapped_network_is_cut_as_the_network_inside(name):
    net, x = network(), vectors(4)
    plain, wrapped = capture(net, x), capture(WRAPPERS[name](net), x)
    assert [cut.name for cut in wrapped.cuts] == [cut.name for cut in plain.cuts] == ["input", "0", "1", "output"]
    assert wrapped.graph == plain.graph
    assert torch.equal(wrapped.top("1")(wrapped.bottom("1")(x)), net(x))


def test_wrappers_within_wrappers_and_within_the_network_are_opened():
    inner = nn.DataParallel(OptimizedModule(nn.Linear(6, 5)))
    net = AveragedModel(nn.Sequential(inner, nn.ReLU(), OptimizedModule(nn.Linear(5, 3))))
    halves, x = capture(net, vectors(4)), vectors(4)
    assert list(halves.view.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert torch.equal(halves.top("0")(halves.bottom("0")(x)), net(x))


def test_a_view_shares_the_weights_inside_a_wrapper_and_leaves_the_wrapper_as_it_is():
    net = nn.Sequential(OptimizedModule(nn.Linear(6, 5)), nn.Linear(5, 3))
    before = copy.deepcopy(net.state_dict())
    view = frozen_view(net)
    assert view[0].weight.data_ptr() == net[0]._orig_mod.weight.data_ptr()
    assert isinstance(net[0], OptimizedModule)
    assert net[0]._orig_mod.weight.requires_grad
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


class PeftModel(nn.Module):
    """A model of PEFT's as far as it is asked, with adapters or with tokens before the input."""

    __module__ = "peft.peft_model"

    def __init__(self, inner, prompts):
        super().__init__()
        self.base_model = inner
        self.active_peft_config = type("Config", (), {"is_prompt_learning": prompts})()

    def get_base_model(self):
        return self.base_model

    def forward(self, *args, **kwargs):
        return self.base_model(*args, **kwargs) + int(self.active_peft_config.is_prompt_learning)


def test_an_adapter_is_opened_and_a_prompt_is_not():
    net = network()
    assert opened(PeftModel(net, prompts=False)) is net
    prompted = PeftModel(net, prompts=True)
    assert opened(prompted) is prompted
    halves, x = capture(prompted, vectors(4)), vectors(4)
    assert torch.equal(halves.bottom("output")(x), net(x) + 1)


class Linear(nn.Module):
    """A quantised layer by the name of where it comes from."""

    __module__ = "torch.ao.nn.quantized.dynamic.modules.linear"


def test_a_quantised_layer_is_named():
    net = nn.Sequential(nn.Linear(6, 5), Linear())
    with pytest.raises(
        NotCuttable, match=r"cut Sequential\nfound: a quantised layer at '1', Linear.*\ndo:    give .* floating"
    ):
        capture(net, vectors(2))

"""Parts and turns: each example and each batch is someone's, and no one else's."""

import pytest
import torch

import modelstitch as ms
from modelstitch.compute import Compute
from modelstitch.errors import SettingError
from modelstitch.parallel import Ranks, among, by_first, ranks


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("n", [8, 9, 15, 128])
def test_parts_make_the_batch_in_its_order_and_differ_by_one_at_most(n, count):
    parts = [Ranks(rank, count).part(torch.arange(n)) for rank in range(count)]
    assert all(len(part) for part in parts)
    assert torch.cat(parts).tolist() == list(range(n))
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("n", [1, 2])
def test_a_batch_too_small_to_share_is_everyones_and_counted_once(n):
    everyone = [Ranks(rank, 3, device="cpu") for rank in range(3)]
    assert all(len(one.part(torch.arange(n))) == n for one in everyone)
    assert [one.sharing(n).counts for one in everyone] == [True, False, False]
    assert [one.sharing(3).counts for one in everyone] == [True, True, True]


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_turns_give_each_item_to_one(count):
    turns = [list(Ranks(rank, count).turns(range(10))) for rank in range(count)]
    assert sorted(item for turn in turns for item in turn) == list(range(10))
    assert [turns[item % count][item // count] for item in range(10)] == list(range(10))


def test_alone_nothing_is_exchanged():
    x, weight = torch.ones(2), torch.nn.Parameter(torch.ones(2))
    weight.grad = torch.full((2,), 3.0)
    here = ranks()
    here.sum([x])
    here.copy_from_first([x])
    here.average_gradients([weight], 5.0)
    here.fail_alike(None)
    here.check_same("this", 1)
    assert x.tolist() == [1, 1]
    assert weight.grad.tolist() == [3, 3]
    assert here.part(x) is x
    assert here.gathered(x)[0] is x
    assert here.from_first(lambda: x) is x
    assert by_first(lambda: x)() is x
    here.all_fail(SettingError("a", "b", "c"))


@pytest.mark.usefixtures("_group")
def test_what_the_first_does_for_all_it_does_alone():
    @by_first
    def asked(*, twice):
        return [ranks().several, *(asked(twice=False) if twice else [])]

    with among(Ranks(0, 2, "cpu")):
        assert asked(twice=True) == [False, False]
        assert ranks().several


def test_it_computes_where_it_is_told_else_on_its_own_device():
    network = torch.nn.Linear(1, 1)
    assert Compute().place(network) == "cpu"
    with among(Ranks(1, 2, "cuda:1")):
        assert Compute().place(network) == "cuda:1"
        assert Compute("cpu").place(network) == "cpu"


def test_a_top_that_trains_along_is_refused_over_several_processes():
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    x = torch.randn(8, 3)
    bottom, top = ms.bottom(network, "1", x), ms.top(network, "1", x)
    data = ms.as_examples((x, torch.arange(8) % 2))
    with among(Ranks(0, 2)), pytest.raises(SettingError, match="a top that trains along"):
        ms.fit(ms.Identity(), bottom, top, data, by=ms.TaskLoss(top="fresh", epochs=1, batch_size=4))

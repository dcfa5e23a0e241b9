"""Networks that are alike captured once, in tests of something else: a capture takes a third of a second each time.

Alike are networks of the same modules with the same settings and weights, on examples of the same shape. Only modules
of torch and of the library are known so well; a network with any other is captured anew each time, and so is one that
is replayed, which warns of it each time.
"""

from importlib import import_module

from torch.utils import _pytree as pytree

KNOWN = ("torch.nn.", "modelstitch.")
PLAIN = (bool, int, float, str, tuple, type(None))
_made = {}


def share_captures(patch, *places):
    """Until the patch is undone, whatever networks (and these modules) capture by themselves is captured once."""
    # Not above: what is loaded before the tests are configured goes without checks of its shapes.
    for module in map(import_module, ("modelstitch.networks.network", *places)):
        patch.setattr(module, "capture", _shared(module.capture))


def _shared(capture):
    def shared(network, example, *, kinds=None):
        # What a user says of the channels is told to a capture of its own.
        key = None if kinds else likeness(network, example)
        # A capture shares the weights of its network, which a test may have changed since.
        if key is not None and key in _made and likeness(_made[key][0], example) == key:
            return _made[key][1]
        found = capture(network, example, kinds=kinds)
        if key is not None and not found.replayed:
            _made[key] = network, found
        return found

    return shared


def likeness(network, example):
    """What two networks have in common whose captures are the same; None where that cannot be told."""
    settings = [{key: value for key, value in vars(one).items() if key[0] != "_"} for one in network.modules()]
    known = all(type(one).__module__.startswith(KNOWN) and not one._forward_hooks for one in network.modules())
    if not known or not all(isinstance(value, PLAIN) for each in settings for value in each.values()):
        return None
    kinds = [(name, type(one)) for name, one in network.named_modules()]
    learnt = [one.requires_grad for one in network.parameters()]
    leaves, shape = pytree.tree_flatten(example)
    seen = [(one.shape, one.dtype, one.device) for one in leaves]
    weights = import_module("modelstitch.networks").weights_fingerprint(network)
    return str((kinds, settings, learnt, weights, shape, seen))

"""Cutting by replay: hooks on a frozen view, for networks that ``torch.export`` refuses.

A bottom runs the network on its input, copies what a module gives, and stops. A top runs the *whole* network on noise
and puts the given tensor in that module's place. Whether nothing else crosses there cannot be read from a graph, so it
is tried: an input's activation, put into a run on noise, must give that input's output bit for bit. Hooks sit on the
view, never on the user's modules, and are removed in a ``finally``.

``recording`` watches one run: which modules end with which tensor. ``layers`` counts the layers in it by operators.
``halves`` holds bottoms and tops, ``noise`` what a top runs its lower layers on, ``structures`` finds the tensor in
what a module gives, ``replay`` puts all together.
"""

from modelstitch.cut.replayed.replay import Replayed

__all__ = ["Replayed"]

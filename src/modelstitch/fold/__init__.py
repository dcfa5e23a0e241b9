"""Folding: a stitch taken in by its neighbouring layers, so that a stitched network is a plain network again.

``affine`` reads a stitch as ``y = W x + b``, ``surgery`` changes the weights beside a cut, ``folding`` is the call.
"""

from modelstitch.fold.folding import Folded, fold

__all__ = ["Folded", "fold"]

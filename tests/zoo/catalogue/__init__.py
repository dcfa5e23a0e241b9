"""The networks on which the library is tried: published architectures and awkward ones, with random weights.

A network is one line here: its source, its name, how it is built small, what it is called with and what is asked of it.
Nothing is downloaded. `catalogue.entry` says what a line holds.
"""

from catalogue import awkward, timm, torchvision, transformers
from catalogue.entry import Entry

ENTRIES: list[Entry] = [*timm.ENTRIES, *torchvision.ENTRIES, *transformers.ENTRIES, *awkward.ENTRIES]

"""The networks on which the library is tried: published architectures and awkward ones, with random weights.

A network is one line here: its source, its name, how it is built small, what it is called with and what is asked of it.
Nothing is downloaded. `catalogue.entry` says what a line holds.
"""

import dataclasses

from catalogue import awkward, timm, torchvision, transformers
from catalogue.entry import Entry

# A quarter of all, which every check looks at: the cheapest, some of each source.
QUARTER = """
timm:mixer_s16_224
timm:resmlp_12_224
timm:gmlp_ti16_224
timm:resnet18
timm:convmixer_768_32
torchvision:ResNet, basic blocks
torchvision:SqueezeNet
torchvision:ConvNeXt
torchvision:BackboneWithFPN
transformers:BertForSequenceClassification
transformers:ViTForImageClassification
transformers:CLIPVisionModelWithProjection
transformers:ResNetModel
transformers:WhisperEncoder
awkward:LSTM
awkward:GRU, both ways
awkward:LSTM of 300 steps
awkward:packed sequences
awkward:time on the first axis
awkward:U-Net
awkward:two inputs
awkward:numbers and categories
awkward:arguments by keyword
awkward:mapping out
awkward:nested tuple out
awkward:experts by mask
awkward:tied weights
awkward:one layer three times
awkward:torch.compile
awkward:torch.jit.script
awkward:torch.jit.trace
awkward:DataParallel
awkward:pruned
awkward:spectral and weight norm
awkward:half
awkward:float64
awkward:quantised
awkward:moving buffer
awkward:layer that does not always run
awkward:branch on values
awkward:dropout that stays on
awkward:branches joined
awkward:three dimensions
awkward:hook of the user's
awkward:parts shared by a copy
""".strip().splitlines()
ENTRIES: list[Entry] = [
    dataclasses.replace(entry, quarter=str(entry) in QUARTER)
    for entry in (*timm.ENTRIES, *torchvision.ENTRIES, *transformers.ENTRIES, *awkward.ENTRIES)
]

"""The networks that modelstitch builds, stores and finds."""

from modelstitch.networks.architectures import ARCHITECTURES, build
from modelstitch.networks.folder import Config, load_folder, save_network, weights_fingerprint
from modelstitch.networks.fresh import stem_reset, untrained
from modelstitch.networks.gpt import gpt
from modelstitch.networks.mlp import mlp
from modelstitch.networks.myrtle import myrtle
from modelstitch.networks.network import Network, with_kinds
from modelstitch.networks.prepare import PREPARE, check_raw, prepared, takes_raw
from modelstitch.networks.raw import on_raw
from modelstitch.networks.references import (
    AnyNetwork,
    both_networks,
    is_published,
    load_network,
    module_of,
    network_of,
    told_apart,
    with_outputs_for,
)
from modelstitch.networks.resnet import resnet18, resnet164
from modelstitch.networks.unet import unet
from modelstitch.networks.vit import vit

__all__ = [
    "ARCHITECTURES",
    "PREPARE",
    "AnyNetwork",
    "Config",
    "Network",
    "both_networks",
    "build",
    "check_raw",
    "gpt",
    "is_published",
    "load_folder",
    "load_network",
    "mlp",
    "module_of",
    "myrtle",
    "network_of",
    "on_raw",
    "prepared",
    "resnet18",
    "resnet164",
    "save_network",
    "stem_reset",
    "takes_raw",
    "told_apart",
    "unet",
    "untrained",
    "vit",
    "weights_fingerprint",
    "with_kinds",
    "with_outputs_for",
]

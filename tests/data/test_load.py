"""Data sets by name."""

from pathlib import Path

import pytest

import modelstitch.data
from modelstitch.data import DATA_SETS, load
from modelstitch.errors import DataError, SettingError


def test_the_names():
    assert list(DATA_SETS) == ["digits", "fashion_mnist", "cifar10", "cifar100", "image_folder"]
    assert load("digits").train.name == "digits"


def test_a_folder_is_passed_on(tmp_path):
    small = Path(__file__).parents[1] / "fashion_mnist_small"
    assert len(load("fashion_mnist", folder=small).test) == 1000
    with pytest.raises(DataError, match="no batches in"):
        load("cifar10", folder=tmp_path)


def test_a_misspelt_name_is_corrected():
    with pytest.raises(SettingError, match="did you mean 'fashion_mnist'"):
        load("fashion-mnist")


def test_everything_public_is_there():
    assert all(hasattr(modelstitch.data, name) for name in modelstitch.data.__all__)

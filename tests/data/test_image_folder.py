"""A generated tree of images: read as torchvision reads it, decoded once, and refused in words where it is damaged."""

import os
import shutil
import struct
import sys
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from images import CLASSES, picture, write_tree
from modelstitch.data import image_folder, load
from modelstitch.data.image_folder import MEAN, STD, decode
from modelstitch.errors import BadFile, DataError, SettingError
from modelstitch.support.seeding import seed_of

SIZE = 14


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MODELSTITCH_DATA", raising=False)
    return tmp_path / "cache" / "modelstitch" / "image_folder"


@pytest.fixture
def tree(tmp_path):
    return write_tree(tmp_path / "tree")


@pytest.fixture
def decoded(monkeypatch):
    """The files that are decoded, as they are."""
    seen = []
    module = sys.modules["modelstitch.data.image_folder"]
    monkeypatch.setattr(module, "decode", lambda path, size: (seen.append(path), decode(path, size))[1])
    return seen


def plainly(path, size=SIZE):
    """What torchvision's documentation says, step by step and with Pillow alone."""
    with Image.open(path) as file:
        image = file.convert("RGB")
    width, height = image.size
    short = int(size * 256 / 224)
    if width <= height:
        image = image.resize((short, int(short * height / width)), Image.Resampling.BILINEAR)
    else:
        image = image.resize((int(short * width / height), short), Image.Resampling.BILINEAR)
    left, top = round((image.width - size) / 2), round((image.height - size) / 2)
    return np.array(image)[top : top + size, left : left + size].transpose(2, 0, 1)


def expected(half):
    """Images and labels in the order that the names give."""
    files = [path for path in half.rglob("*.*") if path.is_file()]
    files.sort(key=lambda path: seed_of("image folder", path.relative_to(half).as_posix()))
    return np.stack([plainly(path) for path in files]), [CLASSES.index(path.parent.name) for path in files]


def check(split, tree, test="val"):
    for samples, half in ((split.train, tree / "train"), (split.test, tree / test)):
        images, labels = expected(half)
        assert np.array_equal(samples.inputs.numpy(), images)
        assert samples.labels.tolist() == labels
        assert (samples.inputs.dtype, samples.classes) == (torch.uint8, 3)


def test_pixels_are_those_of_pillow_and_labels_those_of_the_sorted_classes(tree):
    split = load("image_folder", folder=tree, size=SIZE)
    check(split, tree)
    told = (split.train.name, split.train.mean, split.train.std, split.train.crop, split.train.flip)
    assert told == ("image_folder-12+6", MEAN, STD, 1, True)


def test_the_order_is_a_shuffle_and_not_class_by_class(tree):
    assert image_folder(tree, size=SIZE).train.labels.tolist() != [0] * 4 + [1] * 4 + [2] * 4
    assert len(set(image_folder(tree, size=SIZE).train.first(6).labels.tolist())) == 3


def test_the_default_size_is_that_of_imagenet(tree):
    path = next((tree / "train" / "ant").glob("*.png"))
    picture("large", shape=(300, 410)).save(path)
    assert np.array_equal(decode(path, 224), plainly(path, 224))
    assert image_folder(tree).test.inputs.shape == (6, 3, 224, 224)


@pytest.mark.parametrize("shape", [(31, 20), (20, 31), (33, 47), (16, 16), (500, 17), (3, 2), (1, 9)])
@pytest.mark.parametrize("size", [1, 5, 14, 17])
def test_any_shape_and_size_is_cut_as_written(tmp_path, shape, size):
    picture("shape", shape=shape).save(tmp_path / "one.png")
    assert np.array_equal(decode(tmp_path / "one.png", size), plainly(tmp_path / "one.png", size))


@pytest.mark.parametrize(
    ("mode", "ending"),
    [("L", "jpg"), ("CMYK", "jpg"), ("L", "png"), ("RGBA", "png"), ("LA", "png"), ("P", "png"), ("1", "png")],
)
def test_other_kinds_of_images_become_rgb(tmp_path, mode, ending):
    path = tmp_path / f"one.{ending}"
    picture("mode", mode, mode=mode).save(path)
    with Image.open(path) as image:
        assert image.mode == mode
    assert np.array_equal(decode(path, SIZE), plainly(path))


def test_a_palette_with_transparency_becomes_rgb_without_a_warning(tmp_path):
    path = tmp_path / "one.png"
    picture("palette", mode="P").save(path, transparency=bytes(range(256)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = plainly(path)
    assert np.array_equal(decode(path, SIZE), wanted)


DEEP = np.linspace(0, 65535, 20 * 20).astype(np.uint16).reshape(20, 20)


def twelve_bits(values):
    """A TIFF of 12 bits a pixel, two pixels in three bytes, as microscopes write them and Pillow does not."""
    pairs = values.reshape(-1, 2).astype(int)
    packed = b"".join(bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in pairs.tolist())
    tags = {256: 20, 257: 20, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 20, 279: len(packed)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    start = 8 + len(packed) + len(packed) % 2
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", start) + packed + bytes(len(packed) % 2) + directory


def deep_grey(folder):
    """Files of up to 16 bits, each with the values that it should be read as."""
    for ending in ("png", "tif"):
        Image.fromarray(DEEP).save(folder / f"deep.{ending}")
    Image.fromarray(DEEP.astype(">u2")).save(folder / "big endian.tif")
    (folder / "deep.pgm").write_bytes(b"P5\n20 20\n65535\n" + DEEP.astype(">u2").tobytes())
    (folder / "twelve.tif").write_bytes(twelve_bits(DEEP // 16))
    eight = dict.fromkeys(("deep.png", "deep.tif", "big endian.tif", "deep.pgm"), DEEP / 257)
    return {**eight, "twelve.tif": DEEP // 16 / 4095 * 255}


@pytest.mark.parametrize("name", ["deep.png", "deep.tif", "big endian.tif", "deep.pgm", "twelve.tif"])
def test_grey_of_more_than_8_bits_is_divided_and_not_cut_off(tmp_path, name):
    wanted = deep_grey(tmp_path)[name].round().astype(np.uint8)
    Image.fromarray(wanted).save(tmp_path / "wanted.png")
    found = decode(tmp_path / name, SIZE)
    assert np.array_equal(found, plainly(tmp_path / "wanted.png"))
    assert len(np.unique(found)) > 50


@pytest.mark.parametrize(("kind", "mode"), [(np.int32, "I"), (np.float32, "F")])
def test_values_without_a_fixed_range_are_refused_and_the_file_named(tree, kind, mode):
    path = tree / "train" / "ant" / "deep.tif"
    Image.fromarray(DEEP.astype(kind)).save(path)
    with pytest.raises(BadFile, match=rf"1 that cannot be decoded: .*deep\.tif \(ValueError: mode {mode}, .*8 or 16"):
        image_folder(tree, size=SIZE)


def test_a_home_is_expanded(tree, monkeypatch):
    monkeypatch.setenv("HOME", str(tree.parent))
    assert len(image_folder(f"~/{tree.name}", size=SIZE).train) == 12
    monkeypatch.setenv("MODELSTITCH_DATA", f"~/{tree.name}")
    assert len(load("image_folder", size=SIZE).train) == 12
    monkeypatch.setenv("XDG_CACHE_HOME", "~/other")
    image_folder(tree, size=SIZE)
    assert (tree.parent / "other" / "modelstitch" / "image_folder").is_dir()
    with pytest.raises(DataError, match=r"no folders train and val .* in ~nobody-of-that-name/x"):
        image_folder("~nobody-of-that-name/x")


def test_hidden_and_other_files_are_passed_by_and_deeper_folders_are_not(tree):
    (tree / "train" / ".ipynb_checkpoints").mkdir()
    (tree / "train" / "readme.jpg").write_text("no class")
    (tree / "train" / "ant" / "._ant_0.jpg").write_text("what macOS leaves")
    (tree / "train" / "ant" / ".hidden").mkdir()
    (tree / "train" / "ant" / ".hidden" / "one.jpg").write_text("no image")
    (tree / "train" / "ant" / "list.txt").write_text("no image")
    assert len(image_folder(tree, size=SIZE).train) == 12
    (tree / "train" / "ant" / "more").mkdir()
    picture("deeper").save(tree / "train" / "ant" / "more" / "one.jpg")
    assert len(image_folder(tree, size=SIZE).train) == 13


def test_a_link_to_a_class_elsewhere_is_followed(tree):
    (tree / "train" / "ant").rename(tree / "elsewhere")
    (tree / "train" / "ant").symlink_to(tree / "elsewhere")
    assert len(image_folder(tree, size=SIZE).train) == 12


def test_a_half_called_test_will_do(tree):
    (tree / "val").rename(tree / "test")
    check(image_folder(tree, size=SIZE), tree, "test")


def test_the_environment_names_the_folder(tree, monkeypatch):
    with pytest.raises(DataError, match=r"found: no folder named\ndo: +name the folder that holds train/CLASS"):
        load("image_folder")
    monkeypatch.setenv("MODELSTITCH_DATA", str(tree))
    assert len(load("image_folder", size=SIZE).train) == 12


def test_a_folder_without_halves_is_refused(tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match=rf"no folders train and val \(or test\) in {tmp_path}"):
        image_folder(tmp_path)


def test_a_link_that_leads_nowhere_is_named(tree):
    (tree / "train" / "ant" / "gone.jpg").symlink_to(tree / "nowhere")
    with pytest.raises(DataError, match=r"found: .*gone\.jpg: No such file"):
        image_folder(tree, size=SIZE)


def test_an_empty_class_is_named(tree):
    (tree / "val" / "cow").mkdir()
    (tree / "val" / "cow" / "readme.txt").write_text("soon")
    with pytest.raises(DataError, match=r"val\nfound: no images of class 'cow'\ndo: .*\.jpg"):
        image_folder(tree, size=SIZE)


def test_classes_that_differ_are_named(tree):
    (tree / "val" / "bee").rename(tree / "val" / "wasp")
    with pytest.raises(DataError, match=r"3 and 3 classes: bee only in train, wasp only in val"):
        image_folder(tree, size=SIZE)


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"<html>", lambda b: b""])
def test_images_that_cannot_be_decoded_are_named(tree, cache, damage):
    bad = [tree / "train" / "ant" / "ant_0.jpg", tree / "train" / "bee" / "bee_2.png"]
    for path in bad:
        path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BadFile, match=r"read 12 images\nfound: 2 that cannot be decoded: ") as error:
        image_folder(tree, size=SIZE)
    assert all(str(path) in error.value.found for path in bad)
    assert not list(cache.glob("*.npy"))
    for path in bad:
        picture("mended").save(path)
    check(image_folder(tree, size=SIZE), tree)


def test_of_many_bad_images_a_few_are_named(tree):
    for path in (tree / "train").rglob("*.*"):
        path.write_bytes(b"<html>")
    with pytest.raises(BadFile, match=r"found: 12 that cannot be decoded: .*; and 7 more\n") as error:
        image_folder(tree, size=SIZE)
    assert error.value.found.count("UnidentifiedImageError") == 5


def test_without_pillow_the_way_out_is_told(tree, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(SettingError, match=r"no package Pillow\ndo: .*modelstitch\[images\]"):
        image_folder(tree, size=SIZE)


def test_no_size_is_refused(tree):
    with pytest.raises(SettingError, match="images of 0 pixels"):
        image_folder(tree, size=0)
    with pytest.raises(SettingError, match=r"'digits' with images of 64 pixels\nfound: images of a fixed size"):
        load("digits", size=64)


def test_a_second_reading_decodes_nothing(tree, cache, decoded):
    first = image_folder(tree, size=SIZE)
    assert len(decoded) == 18
    again = image_folder(tree, size=SIZE)
    assert len(decoded) == 18
    assert again.train.fingerprint == first.train.fingerprint
    assert sorted(path.suffix for path in cache.iterdir()) == [".npy", ".npy"]


@pytest.mark.parametrize("change", ["touched", "content", "gone", "come"])
def test_a_half_that_changed_is_decoded_again_and_the_old_file_goes(tree, cache, decoded, change):
    image_folder(tree, size=SIZE)
    path = tree / "train" / "bee" / "bee_2.png"
    if change == "touched":
        os.utime(path, ns=(0, 0))
    elif change == "content":
        told = path.stat()
        picture("another").save(path)
        os.utime(path, ns=(told.st_atime_ns, told.st_mtime_ns))
    elif change == "gone":
        path.unlink()
    else:
        shutil.copy(path, path.with_name("bee_9.png"))
    decoded.clear()
    check(image_folder(tree, size=SIZE), tree)
    assert len(decoded) == {"gone": 11, "come": 13}.get(change, 12)
    assert {path.parents[1].name for path in decoded} == {"train"}
    assert len(list(cache.iterdir())) == 2


def test_another_size_or_place_is_another_file(tree, cache, decoded):
    image_folder(tree, size=SIZE)
    image_folder(tree, size=8)
    assert len(list(cache.iterdir())) == 4
    shutil.copytree(tree, tree.with_name("copy"))
    image_folder(tree.with_name("copy"), size=8)
    assert (len(list(cache.iterdir())), len(decoded)) == (6, 54)

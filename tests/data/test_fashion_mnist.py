"""Fashion-MNIST from a folder, from the cache, and fetched; never from the network."""

import gzip
import hashlib
import importlib
import struct
from pathlib import Path
from urllib.error import URLError

import pytest

from modelstitch.data import check_disjoint, fashion_mnist
from modelstitch.data.fashion_mnist import CHECKSUMS, read_idx
from modelstitch.errors import BadFile, DataError, NotWritable

SMALL = Path(__file__).parents[1] / "fashion_mnist_small"
MODULE = importlib.import_module("modelstitch.data.fashion_mnist")
FILES = list(CHECKSUMS)


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A machine without the data, whose official home holds the small set; returns its cache."""
    sums = {file: hashlib.sha256(gzip.decompress((SMALL / file).read_bytes())).hexdigest() for file in FILES}
    monkeypatch.setattr(MODULE, "CHECKSUMS", sums)
    monkeypatch.setattr(MODULE, "DEBIAN", tmp_path / "absent")
    monkeypatch.setattr(MODULE, "HOME", f"{SMALL.as_uri()}/")
    monkeypatch.delenv("MODELSTITCH_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "modelstitch" / "fashion_mnist"


def serve(address: str) -> bytes:
    return (SMALL / address.rsplit("/", 1)[1]).read_bytes()


def refuse(address: str) -> bytes:
    raise AssertionError(f"fetched {address}")


def everything(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_smaller_set_in_a_folder_shows_its_size():
    split = fashion_mnist(SMALL, opener=refuse)
    assert split.train.name == split.test.name == "fashion_mnist-5000+1000"
    assert split.train.inputs.shape == (5000, 1, 28, 28)
    assert split.train.labels.bincount().tolist() == [500] * 10
    assert split.test.labels.bincount().tolist() == [100] * 10
    assert (split.train.crop, split.train.flip, split.test.mean) == (2, True, split.train.mean)
    check_disjoint(split.train, split.test)


def test_pixels_and_labels_are_the_bytes_of_the_files():
    split = fashion_mnist(SMALL, opener=refuse)
    content = {file: gzip.decompress((SMALL / file).read_bytes()) for file in FILES}
    assert split.test.inputs.numpy().tobytes() == content["t10k-images-idx3-ubyte.gz"][16:]
    assert bytes(split.train.labels.tolist()) == content["train-labels-idx1-ubyte.gz"][8:]


def test_the_folder_may_come_from_the_environment(bare, monkeypatch):
    monkeypatch.setenv("MODELSTITCH_DATA", str(SMALL))
    assert len(fashion_mnist(opener=refuse).test) == 1000


def test_debians_folder_is_found(bare, monkeypatch):
    monkeypatch.setattr(MODULE, "DEBIAN", SMALL)
    assert len(fashion_mnist(opener=refuse).test) == 1000


def test_it_is_fetched_once_into_the_cache(bare):
    fetched = fashion_mnist()
    assert sorted(path.name for path in everything(bare)) == sorted(FILES)
    assert fashion_mnist(opener=refuse).train.fingerprint == fetched.train.fingerprint


@pytest.mark.parametrize("ending", [".gz", ""])
def test_files_that_a_browser_unpacked(tmp_path, ending):
    for file in FILES:
        (tmp_path / (file.removesuffix(".gz") + ending)).write_bytes(gzip.decompress((SMALL / file).read_bytes()))
    found, wanted = (fashion_mnist(folder, opener=refuse) for folder in (tmp_path, SMALL))
    assert found.train.fingerprint == wanted.train.fingerprint
    assert found.test.fingerprint == wanted.test.fingerprint


def test_a_home_is_expanded(bare, monkeypatch):
    monkeypatch.setenv("HOME", str(SMALL.parent))
    assert len(fashion_mnist(f"~/{SMALL.name}", opener=refuse).test) == 1000
    monkeypatch.setenv("MODELSTITCH_DATA", f"~/{SMALL.name}")
    assert len(fashion_mnist(opener=refuse).test) == 1000


def test_a_named_folder_without_the_files_is_not_searched_further(tmp_path):
    with pytest.raises(DataError, match=r"no train-images-idx3-ubyte.gz there"):
        fashion_mnist(tmp_path, opener=refuse)


def test_a_fetched_file_that_is_not_the_official_one_is_not_stored(bare, monkeypatch):
    monkeypatch.setattr(MODULE, "CHECKSUMS", CHECKSUMS)
    with pytest.raises(BadFile, match="not c59f468a2f672dc8"):
        fashion_mnist(opener=serve)
    assert everything(bare) == []


def test_half_a_download_leaves_no_file(bare):
    with pytest.raises(BadFile, match="EOFError"):
        fashion_mnist(opener=lambda address: serve(address)[:5000])
    assert everything(bare) == []


def test_an_interrupted_write_leaves_no_file(bare, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("modelstitch.support.files.os.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fashion_mnist(opener=serve)
    assert everything(bare) == []


def test_offline_says_what_to_do(bare):
    def offline(address):
        raise URLError("no route to host")

    with pytest.raises(DataError, match=r"no route to host(.|\n)*apt-get install dataset-fashion-mnist"):
        fashion_mnist(opener=offline)


def test_a_cache_that_refuses_says_what_to_do(bare, monkeypatch):
    def refused(*_):
        raise PermissionError("read-only file system")

    monkeypatch.setattr("modelstitch.support.files.os.replace", refused)
    with pytest.raises(NotWritable, match=r"read-only file system(.|\n)*XDG_CACHE_HOME"):
        fashion_mnist(opener=serve)


def test_a_full_set_that_is_not_the_official_one_is_refused(tmp_path):
    for half, n in (("train", 60_000), ("t10k", 10_000)):
        images = bytes([0, 0, 8, 3]) + struct.pack(">3I", n, 28, 28) + bytes(n * 784)
        labels = bytes([0, 0, 8, 1]) + struct.pack(">I", n) + bytes(n)
        for content, kind in ((images, "images-idx3"), (labels, "labels-idx1")):
            (tmp_path / f"{half}-{kind}-ubyte.gz").write_bytes(gzip.compress(content, 1))
    with pytest.raises(BadFile, match="read the official train-images"):
        fashion_mnist(tmp_path, opener=refuse)


def test_a_file_that_is_no_gzip_is_refused(tmp_path):
    for file in FILES:
        (tmp_path / file).write_bytes(b"<html>not found</html>")
    with pytest.raises(BadFile, match=r"decompress .*\nfound: BadGzipFile"):
        fashion_mnist(tmp_path, opener=refuse)


DAMAGED = {
    "empty": (b"", r"\(none\) instead of 00 00 08 03"),
    "other type": (bytes([0, 0, 13, 3]) + bytes(12), "00 00 0d 03 instead of"),
    "other axes": (bytes([0, 0, 8, 1]) + bytes(12), "00 00 08 01 instead of"),
    "no sizes": (bytes([0, 0, 8, 3, 0]), "instead of 00 00 08 03 and 3 sizes"),
    "short": (bytes([0, 0, 8, 3]) + struct.pack(">3I", 2, 1, 2) + bytes(3), "3 values where .* announce 4"),
    "long": (bytes([0, 0, 8, 3]) + struct.pack(">3I", 2, 1, 2) + bytes(5), "5 values where .* announce 4"),
}


@pytest.mark.parametrize(("content", "message"), DAMAGED.values(), ids=DAMAGED)
def test_read_idx_refuses(content, message):
    with pytest.raises(BadFile, match=message):
        read_idx(content, 3, "images")

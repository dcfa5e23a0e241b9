"""CIFAR-10 and -100 in both official forms, written here byte for byte as the originals are, and the hostile pickle."""

import dataclasses
import gzip
import io
import os
import pickle
import struct
import tarfile
from collections.abc import Callable
from typing import ClassVar

import numpy as np
import pytest
import torch

from modelstitch.data import Split, cifar10, cifar100, find, load
from modelstitch.data.cifar import read_binary, read_python
from modelstitch.errors import BadFile, DataError
from modelstitch.support.seeding import numpy_generator

TEN, HUNDRED = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"), ("train", "test")
N = 12


class Python2Pickler(pickle._Pickler):
    """Protocol 2 as Python 2 and its NumPy wrote it: byte strings throughout, NumPy's parts under their old names."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_string(self, text):
        text = text.encode() if isinstance(text, str) else text
        short = len(text) < 256
        size = bytes([len(text)]) if short else struct.pack("<i", len(text))
        self.write((pickle.SHORT_BINSTRING if short else pickle.BINSTRING) + size + text)

    def save_global(self, obj, name=None):
        module = obj.__module__.replace("numpy._core", "numpy.core")
        self.write(pickle.GLOBAL + f"{module}\n{name or obj.__name__}\n".encode())

    dispatch[bytes] = dispatch[str] = save_string


def python2(content) -> bytes:
    file = io.BytesIO()
    Python2Pickler(file, protocol=2).dump(content)
    return file.getvalue()


def batch(stem: str, classes: int = 10) -> tuple[np.ndarray, list[int]]:
    draw = numpy_generator("cifar", stem)
    return draw.integers(0, 256, (N, 3072), dtype=np.uint8), draw.integers(0, classes, N).tolist()


def binary_file(stem: str) -> bytes:
    pixels, labels = batch(stem)
    return b"".join(bytes([label]) + row.tobytes() for row, label in zip(pixels, labels, strict=True))


def python_file(stem: str) -> bytes:
    pixels, labels = batch(stem)
    names = [f"{i}.png".encode() for i in range(N)]
    return python2({b"batch_label": stem.encode(), b"labels": labels, b"data": pixels, b"filenames": names})


def coarse(labels: list[int]) -> list[int]:
    return [label % 20 for label in labels]


def binary_file_100(stem: str) -> bytes:
    pixels, fine = batch(stem, 100)
    labelled = zip(coarse(fine), fine, pixels, strict=True)
    return b"".join(bytes(labels) + row.tobytes() for *labels, row in labelled)


def python_file_100(stem: str) -> bytes:
    pixels, fine = batch(stem, 100)
    names, told = [f"{i}_s_{i:06}.png".encode() for i in range(N)], f"{stem}ing batch 1 of 1".encode()
    labels = {b"fine_labels": fine, b"coarse_labels": coarse(fine)}
    return python2({b"filenames": names, b"batch_label": told, **labels, b"data": pixels})


def meta(key: bytes, classes: int) -> bytes:
    return python2({key: [f"name{i}".encode() for i in range(classes)]})


@dataclasses.dataclass
class Form:
    """What one official archive holds."""

    read: Callable[..., Split]
    folder: str
    archive: str
    stems: tuple[str, ...]
    files: dict[str, bytes]
    classes: int

    @property
    def test_file(self) -> str:
        return next(name for name in self.files if name.removesuffix(".bin") == self.stems[-1])


FORMS = {
    "10-bin": Form(
        cifar10,
        "cifar-10-batches-bin",
        "cifar-10-binary.tar.gz",
        TEN,
        {"batches.meta.txt": b"airplane\n", **{f"{stem}.bin": binary_file(stem) for stem in TEN}, "readme.html": b"<"},
        10,
    ),
    "10-py": Form(
        cifar10,
        "cifar-10-batches-py",
        "cifar-10-python.tar.gz",
        TEN,
        {"batches.meta": meta(b"label_names", 10), **{stem: python_file(stem) for stem in TEN}, "readme.html": b"<"},
        10,
    ),
    "100-bin": Form(
        cifar100,
        "cifar-100-binary",
        "cifar-100-binary.tar.gz",
        HUNDRED,
        {"fine_label_names.txt": b"apple\n", **{f"{stem}.bin": binary_file_100(stem) for stem in HUNDRED}},
        100,
    ),
    "100-py": Form(
        cifar100,
        "cifar-100-python",
        "cifar-100-python.tar.gz",
        HUNDRED,
        {"file.txt~": b"", **{stem: python_file_100(stem) for stem in HUNDRED}, "meta": meta(b"fine_label_names", 100)},
        100,
    ),
}


@pytest.fixture(params=FORMS)
def form(request):
    return FORMS[request.param]


def unpack(form, root):
    folder = root / form.folder
    folder.mkdir(parents=True)
    for name, content in form.files.items():
        (folder / name).write_bytes(content)
    return folder


def pack(form, root):
    with tarfile.open(root / form.archive, "w:gz") as archive:
        top = tarfile.TarInfo(form.folder)
        top.type = tarfile.DIRTYPE
        archive.addfile(top)
        for name, content in form.files.items():
            member = tarfile.TarInfo(f"{form.folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return root / form.archive


def check(form, split):
    read = [batch(stem, form.classes) for stem in form.stems]
    pixels, labels = (np.concatenate(part) for part in zip(*read[:-1], strict=True))
    assert np.array_equal(split.train.inputs.numpy(), pixels.reshape(-1, 3, 32, 32))
    assert split.train.labels.tolist() == labels.tolist()
    assert np.array_equal(split.test.inputs.numpy(), read[-1][0].reshape(-1, 3, 32, 32))
    assert split.test.labels.tolist() == read[-1][1]
    assert (split.test.name, split.test.classes) == (f"cifar{form.classes}-{len(labels)}+12", form.classes)
    assert (split.test.crop, split.test.flip) == (4, True)
    assert len(split.test.mean) == len(split.test.std) == 3


def test_the_python_batches_start_like_the_originals():
    start = b"\x80\x02}q\x00(U\x0bbatch_label"
    assert python_file("test_batch")[: len(start)] == start
    assert b"cnumpy.core.multiarray\n_reconstruct\n" in python_file("test_batch")


def test_a_folder_of_batches(form, tmp_path):
    check(form, form.read(unpack(form, tmp_path)))


def test_the_folder_above(form, tmp_path):
    unpack(form, tmp_path)
    check(form, form.read(tmp_path))


def test_an_archive_and_its_folder(form, tmp_path):
    check(form, form.read(pack(form, tmp_path)))
    check(form, form.read(tmp_path))


@pytest.mark.parametrize("name", [".tar.gz", ".tar"])
def test_an_archive_that_a_browser_unpacked(form, tmp_path, name):
    archive = pack(form, tmp_path)
    plain = gzip.decompress(archive.read_bytes())
    archive.unlink()
    archive = tmp_path / form.archive.replace(".tar.gz", name)
    archive.write_bytes(plain)
    check(form, form.read(tmp_path))
    check(form, form.read(archive))


def test_a_home_is_expanded(form, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    unpack(form, tmp_path / "mine")
    check(form, form.read("~/mine"))
    check(form, load(f"cifar{form.classes}", folder="~/mine"))
    monkeypatch.setenv("MODELSTITCH_DATA", "~/mine")
    check(form, load(f"cifar{form.classes}"))


def test_both_sets_lie_in_one_folder(tmp_path):
    for form in FORMS.values():
        pack(form, tmp_path)
    check(FORMS["10-py"], cifar10(tmp_path))
    check(FORMS["100-py"], cifar100(tmp_path))


def test_the_environment_and_the_cache(form, tmp_path, monkeypatch):
    name = f"cifar{form.classes}"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MODELSTITCH_DATA", raising=False)
    assert find(name) is None
    unpack(form, tmp_path / "cache" / "modelstitch" / name)
    check(form, load(name))
    unpack(form, tmp_path / "mine")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("MODELSTITCH_DATA", str(tmp_path / "mine"))
    check(form, load(name))
    assert find(name) == tmp_path / "mine"


def test_the_whole_of_cifar_100_goes_by_its_name(tmp_path):
    for name, n, size in (("train.bin", 50_000, 153_700_000), ("test.bin", 10_000, 30_740_000)):
        table = np.zeros((n, 3074), np.uint8)
        table[:, 1] = np.arange(n) % 100
        table.tofile(tmp_path / name)
        assert (tmp_path / name).stat().st_size == size
    assert cifar100(tmp_path).train.name == "cifar100"


def test_a_missing_set_says_where_it_is_to_be_had(form, tmp_path):
    with pytest.raises(DataError, match=r"no batches in .*(.|\n)*www.cs.toronto.edu/~kriz/cifar.html"):
        form.read(tmp_path)


def test_a_missing_batch_is_named(form, tmp_path):
    folder = unpack(form, tmp_path)
    (folder / form.test_file).unlink()
    with pytest.raises(BadFile, match=f"found: no {form.test_file}\n"):
        form.read(folder)


def test_a_truncated_batch_is_named(form, tmp_path):
    file = unpack(form, tmp_path) / form.test_file
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(
        BadFile, match=rf"read .*{file.name}\nfound: (\d+ bytes, not a multiple|UnpicklingError|EOFError)"
    ):
        form.read(tmp_path)


def test_a_damaged_archive_is_refused(form, tmp_path):
    archive = pack(form, tmp_path)
    archive.write_bytes(archive.read_bytes()[:20_000])
    with pytest.raises(BadFile, match=r"open .*\nfound: EOFError"):
        form.read(archive)


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"<html>")
    with pytest.raises(BadFile, match=r"open .*\nfound: ReadError"):
        cifar10(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "0 bytes, not a multiple of 3073"), (bytes(3072), "3072 bytes"), (bytes([10]) * 3073, "a label 10")],
)
def test_read_binary_refuses(content, message):
    with pytest.raises(BadFile, match=message):
        read_binary(content, "batch")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 bytes, not a multiple of 3074"),
        (bytes(3073), "3073 bytes"),
        (bytes([20, 0]) + bytes(3072), "a label 20, above 19"),
        (bytes([0, 100]) + bytes(3072), "a label 100, above 99"),
    ],
)
def test_read_binary_refuses_of_100_classes(content, message):
    with pytest.raises(BadFile, match=message):
        read_binary(content, "batch", classes=100)


class Hostile:
    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("wrap", [lambda h: h, lambda h: [{1: h}]], ids=["bare", "inside"])
def test_a_hostile_pickle_runs_nothing(tmp_path, wrap, protocol):
    victim = tmp_path / "victim"
    content = pickle.dumps(wrap(Hostile(os.mkdir, str(victim))), protocol)
    with pytest.raises(BadFile, match=r"the pickle asks for (posix|nt|os)\.mkdir, which is no array"):
        read_python(content, "batch")
    assert not victim.exists()
    # The same bytes do harm where nothing holds them back, so the refusal above was not for another reason.
    pickle.loads(content)
    assert victim.exists()


@pytest.mark.parametrize("function", [eval, getattr, np.frombuffer, np.load, torch.load])
def test_only_parts_of_arrays_are_let_through(function):
    with pytest.raises(BadFile, match="which is no array"):
        read_python(pickle.dumps(Hostile(function, "1"), 2), "batch")


PIXELS = np.zeros((2, 3072), np.uint8)
STRANGE = {
    "no pickle": (b"<html>", "UnpicklingError"),
    "cut short": (python_file("test_batch")[:-50], "read batch"),
    "no dictionary": (python2([1, 2]), "no array of unsigned bytes"),
    "no data": (python2({b"labels": [0]}), "no array of unsigned bytes"),
    "other columns": (python2({b"data": PIXELS[:, 1:].copy(), b"labels": [0, 1]}), "3072 columns"),
    "columns first": (python2({b"data": np.asfortranarray(PIXELS), b"labels": [0, 1]}), "no array of unsigned bytes"),
    "other type": (python2({b"data": PIXELS.astype(np.int16), b"labels": [0, 1]}), "no array of unsigned bytes"),
    "no labels": (python2({b"data": PIXELS}), "no list of 2 integers"),
    "few labels": (python2({b"data": PIXELS, b"labels": [0]}), "no list of 2 integers"),
    "high label": (python2({b"data": PIXELS, b"labels": [0, 10]}), "from 0 to 9"),
    "float label": (python2({b"data": PIXELS, b"labels": [0, 1.0]}), "from 0 to 9"),
}


@pytest.mark.parametrize(("content", "message"), STRANGE.values(), ids=STRANGE)
def test_read_python_refuses(content, message):
    with pytest.raises(BadFile, match=message):
        read_python(content, "batch")


def test_read_python_of_100_classes_wants_fine_labels():
    held = {b"data": PIXELS, b"labels": [0, 1], b"coarse_labels": [0, 1]}
    with pytest.raises(BadFile, match="no list of 2 integers from 0 to 99 under b'fine_labels'"):
        read_python(python2(held), "batch", classes=100)
    with pytest.raises(BadFile, match="no list of 2 integers from 0 to 99"):
        read_python(python2({**held, b"fine_labels": [0, 100]}), "batch", classes=100)
    assert read_python(python2({**held, b"fine_labels": [0, 99]}), "batch", classes=100)[1].tolist() == [0, 99]

"""The file of decoded images: whole or not there, filled by one process at a time, gone on with, and mapped."""

import dataclasses
import math
import multiprocessing
import os
import shutil
import threading
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch

from modelstitch.data import Samples, check_samples, image_cache
from modelstitch.data.image_cache import decoded_once
from modelstitch.errors import BadFile, NotWritable

SHAPE = (3, 8, 8)
PATHS = [Path(str(number)) for number in range(40)]
KEY = ("folder", "state")
PER_CHUNK = 4


def decode(path):
    return np.full(SHAPE, int(path.name), np.uint8)


def check(images):
    assert images.shape == (40, *SHAPE)
    assert images.dtype == torch.uint8
    assert images.flatten(1).unique(dim=1).tolist() == [[number] for number in range(40)]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(image_cache, "_CHUNK", PER_CHUNK * 3 * 8 * 8)


def make(folder, decode=decode, paths=PATHS, key=KEY):
    return decoded_once(paths, decode, SHAPE, folder, key)


class Stop(BaseException):
    """As a key that is pressed: nothing that catches errors sees it."""


def stop_at(number):
    def decode_until(path):
        if int(path.name) == number:
            raise Stop
        return decode(path)

    return decode_until


def test_the_file_is_an_array_that_numpy_reads(tmp_path):
    check(make(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["folder-state.npy"]
    assert np.array_equal(np.load(tmp_path / "folder-state.npy"), make(tmp_path).numpy())


def test_what_was_cut_off_has_no_name_and_is_gone_on_with(tmp_path):
    with pytest.raises(Stop):
        make(tmp_path, stop_at(25))
    assert [path.suffix for path in tmp_path.iterdir()] == [".part"]
    seen = []
    check(make(tmp_path, lambda path: (seen.append(int(path.name)), decode(path))[1]))
    # Six chunks of four were whole; the last of them may not have reached the disk.
    assert sorted(seen) == list(range(20, 40))
    assert [path.suffix for path in tmp_path.iterdir()] == [".npy"]


@pytest.mark.parametrize("left", [b"", b"\x93NUM", b"rubbish" * 1000])
def test_an_unfinished_file_that_is_none_is_begun_again(tmp_path, left):
    (tmp_path / "folder-state.part").write_bytes(left)
    check(make(tmp_path))


def test_a_last_chunk_that_a_power_cut_left_empty_is_made_again(tmp_path):
    with pytest.raises(Stop):
        make(tmp_path, stop_at(25))
    part = tmp_path / "folder-state.part"
    size = part.stat().st_size
    os.truncate(part, size - PER_CHUNK * 3 * 8 * 8)
    os.truncate(part, size)
    check(make(tmp_path))


# Forked, for a start takes seconds where torch is imported.
FORK = multiprocessing.get_context("fork")


def hang_at_30(folder, there):
    def hang(path):
        if int(path.name) == 30:
            there.set()
            time.sleep(60)
        return decode(path)

    make(folder, hang)


def test_a_killed_process_leaves_no_file_and_no_lock(tmp_path):
    there = FORK.Event()
    child = FORK.Process(target=hang_at_30, args=(tmp_path, there))
    child.start()
    assert there.wait(30)
    child.kill()
    child.join()
    assert [path.suffix for path in tmp_path.iterdir()] == [".part"]
    seen = []
    check(make(tmp_path, lambda path: (seen.append(path), decode(path))[1]))
    assert len(seen) < 40


def count_slowly(folder, seen):
    def slow(path):
        with seen.get_lock():
            seen.value += 1
        time.sleep(0.005)
        return decode(path)

    check(make(folder, slow))


def test_two_processes_decode_each_image_once_between_them(tmp_path):
    seen = FORK.Value("i", 0)
    children = [FORK.Process(target=count_slowly, args=(tmp_path, seen)) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join(30)
    assert [child.exitcode for child in children] == [0, 0, 0]
    assert seen.value == 40
    assert [path.suffix for path in tmp_path.iterdir()] == [".npy"]


def test_files_of_other_states_are_removed_and_those_of_other_folders_stay(tmp_path):
    make(tmp_path)
    with pytest.raises(Stop):
        make(tmp_path, stop_at(25), key=("folder", "given up"))
    make(tmp_path, key=("other", "state"))
    make(tmp_path, key=("folder", "new"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder-new.npy", "other-state.npy"]


@pytest.mark.parametrize("content", [b"", b"rubbish" * 100, None])
def test_a_damaged_file_is_refused(tmp_path, content):
    make(tmp_path)
    path = tmp_path / "folder-state.npy"
    path.write_bytes(path.read_bytes()[:-1] if content is None else content)
    with pytest.raises(BadFile, match=rf"decoded images in {path}\n(.|\n)*remove the file, and it is made again"):
        make(tmp_path)


@pytest.mark.parametrize("array", [np.zeros((40, 3, 8, 9), np.uint8), np.zeros((40, *SHAPE), np.int8)])
def test_another_array_is_refused(tmp_path, array):
    np.save(tmp_path / "folder-state.npy", array)
    with pytest.raises(BadFile, match=r"int8 of shape \(40, 3, 8, .\), not \(40, 3, 8, 8\)"):
        make(tmp_path)


def test_a_full_disk_is_told_before_anything_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(7000))
    with pytest.raises(NotWritable, match=r"0.0 GB free, and 0.0 GB needed\ndo: +set XDG_CACHE_HOME"):
        make(tmp_path, lambda path: pytest.fail("decoded"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(40 * 3 * 8 * 8))
    check(make(tmp_path))


def test_a_folder_that_refuses_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotWritable, match=r"keep decoded images in .*\nfound: (Not a directory|File exists)"):
        make(tmp_path / "file" / "cache")


def mapping_of(tensor):
    """The line of this process's table of memory in which a tensor lies."""
    address = tensor.data_ptr()
    for line in Path("/proc/self/maps").read_text().splitlines():
        low, high = (int(end, 16) for end in line.split()[0].split("-"))
        if low <= address < high:
            return line
    return ""


def own_memory():
    """Bytes of memory that are this process's own, and not pages of files that can be dropped."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return 1024 * int(line.split()[1])


needs_proc = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="Linux tells what a process has mapped")


@needs_proc
def test_the_images_are_mapped_and_so_are_their_parts(tmp_path):
    images = make(tmp_path)
    labels = torch.arange(40) % 2
    samples = Samples("mapped", images, labels, 2, (0.5,) * 3, (0.5,) * 3)
    for one in (samples, samples.first(10), dataclasses.replace(samples, labels=1 - labels)):
        assert mapping_of(one.inputs).endswith("folder-state.npy")
        assert " r--s " in mapping_of(one.inputs)
    assert not mapping_of(next(samples.batches()).inputs).endswith(".npy")


@needs_proc
def test_memory_stays_flat_over_many_images(tmp_path):
    n, shape = 2500, (3, 64, 64)
    with open(tmp_path / "folder-state.npy", "wb") as file:
        file.write(image_cache._header((n, *shape)))
        file.truncate(file.tell() + n * math.prod(shape))
    images = decoded_once([Path("x")] * n, decode, shape, tmp_path, KEY)
    whole = Samples("many", images, torch.arange(n) % 2, 2, (0.5,) * 3, (0.5,) * 3)
    few = seen_of(whole.first(100))
    # A copy of the bytes alone would be 31 MB, one of what a network sees four times as many; the rest is batches.
    assert seen_of(whole) < few + 20e6


def seen_of(samples):
    """The most memory that is seen, looking all the time, while everything is asked of samples that a run asks."""
    most, done = [own_memory()], threading.Event()

    def look():
        while not done.wait(0.001):
            most.append(own_memory())

    looking = threading.Thread(target=look)
    looking.start()
    try:
        assert len(samples.fingerprint) == 16
        assert len(set(samples.ids)) == 1
        assert check_samples(samples) is samples
        for _ in samples.batches(16, torch.randperm(len(samples))):
            pass
    finally:
        done.set()
        looking.join()
    return max(most)

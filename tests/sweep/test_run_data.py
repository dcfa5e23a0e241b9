"""The examples of a run."""

from images import write_tree
from modelstitch.recipe import Data
from modelstitch.sweep.run_data import RunData


def test_a_folder_of_images_comes_in_the_size_that_is_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = str(write_tree(tmp_path / "tree"))
    data = RunData(Data(name="image_folder", folder=folder, size=8, train=7))
    assert data.split.train.inputs.shape == (7, 3, 8, 8)
    assert data.whole.test.inputs.shape == (6, 3, 8, 8)

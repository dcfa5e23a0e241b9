"""Embeddings against a gallery: ranks, ties, scikit-learn, and what is refused."""

import numpy as np
import pytest
import torch
from sklearn.metrics import label_ranking_average_precision_score, top_k_accuracy_score
from task_laws import normal, retrieval

from modelstitch.data import Batch
from modelstitch.errors import BadFile, SettingError, TaskMismatch
from modelstitch.support.settings import built, spelled
from modelstitch.tasks import Retrieval, Task


def test_scores_are_those_of_scikit_learn():
    case = retrieval()
    found, own = case.judged(), case.batch.targets.numpy()
    gallery = np.load(case.task.gallery)
    ours = case.outputs.numpy()
    similar = ours @ gallery.T / np.linalg.norm(ours, axis=1)[:, None] / np.linalg.norm(gallery, axis=1)
    for k in (1, 5, 10):
        right = 100 * top_k_accuracy_score(own, similar, k=k, labels=range(len(gallery)))
        assert case.task.score(f"recall_at_{k}").value(found.sums[f"recall_at_{k}"]) == pytest.approx(right)
    # With one right item, the average precision is the reciprocal rank.
    mrr = label_ranking_average_precision_score(np.eye(len(gallery))[own], similar)
    assert case.task.score("mrr").value(found.sums["mrr"]) == pytest.approx(mrr)
    assert (found.answers.numpy() == similar.argmax(1)).all()


def test_an_embedding_that_is_the_same_for_all_finds_nothing(tmp_path):
    np.save(tmp_path / "g.npy", np.ones((4, 2), dtype=np.float32))
    found = Retrieval(str(tmp_path / "g.npy"), k=(1, 3)).judge(
        torch.ones(2, 2), Batch(torch.zeros(2), torch.tensor([0, 3]))
    )
    assert found.sums["recall_at_1"][:, 0].tolist() == found.sums["recall_at_3"][:, 0].tolist() == [0, 0]
    assert found.sums["mrr"][:, 0].tolist() == [0.25, 0.25]


def test_lengths_do_not_count():
    case = retrieval()
    for name, rows in case.judged(3 * case.outputs).sums.items():
        torch.testing.assert_close(rows, case.judged().sums[name])


def test_a_record_knows_the_gallery_by_its_content(tmp_path):
    file = tmp_path / "g.npy"
    np.save(file, np.eye(3, dtype=np.float32))
    task = Retrieval(str(file))
    text = spelled(task)
    assert task.content in text
    assert built(text, Task) == task
    other = tmp_path / "h.npy"
    np.save(other, 2 * np.eye(3, dtype=np.float32))
    assert Retrieval(str(other)).content != task.content
    with pytest.raises(SettingError, match=r"found: other embeddings than those of content"):
        Retrieval(str(other), content=task.content)


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.zeros(3, np.float32), r"float32 of shape \(3,\)"),
        (np.zeros((3, 2), np.int64), r"int64 of shape \(3, 2\)"),
        (np.zeros((0, 2), np.float32), r"float32 of shape \(0, 2\)"),
        (np.full((3, 2), np.nan), "numbers that are not finite"),
        (np.array([{}]), "pickle|Object arrays"),
    ],
)
def test_other_files_are_no_gallery(tmp_path, array, found):
    np.save(tmp_path / "g.npy", array)
    with pytest.raises(BadFile, match=rf"asked: the gallery .*\nfound: .*({found}).*\ndo:    "):
        Retrieval(str(tmp_path / "g.npy"))


@pytest.mark.parametrize("text", [b"", b"no array"])
def test_a_file_of_anything_else_is_no_gallery(tmp_path, text):
    (tmp_path / "g.npy").write_bytes(text)
    with pytest.raises(BadFile, match="asked: the gallery"):
        Retrieval(str(tmp_path / "g.npy"))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(BadFile, match="No such file"):
        Retrieval(str(tmp_path / "g.npy"))


@pytest.mark.parametrize("setting", [{"k": ()}, {"k": (0,)}, {"k": (1, 1)}, {"temperature": 0.0}])
def test_settings_that_nothing_can_have(setting):
    with pytest.raises(SettingError, match=r"asked: .*\nfound: .*\ndo: "):
        Retrieval(**setting)


def test_what_does_not_belong_together():
    case = retrieval()
    with pytest.raises(TaskMismatch, match="found: embeddings of 5 numbers, and a gallery of 4"):
        case.task.check(normal(24, 5), case.batch)
    with pytest.raises(TaskMismatch, match="found: rows from 30 to 30 of a gallery of 30"):
        case.task.check(case.outputs, Batch(case.batch.inputs, torch.full((24,), 30)))
    with pytest.raises(SettingError, match=r"found: no gallery\ndo: .*npy"):
        Retrieval().check(case.outputs, case.batch)

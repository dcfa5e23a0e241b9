"""Files with named columns: tables, texts and tensors, and which column means what."""

import numpy as np
import pandas
import pytest
import safetensors.torch
import torch

import modelstitch as ms
from modelstitch.data import Arrays, Samples, Tokens
from modelstitch.errors import BadFile, DataError, SettingError

WORDS = ["rose", "fire", "sky", "sea"]


def words(texts):
    """A tokenizer: a number for each word."""
    return [[1 + WORDS.index(word) for word in text.split()] for text in texts]


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, rng.integers(1, 7))) + f" {WORDS[i % 4]}" for i in range(100)]
    return pandas.DataFrame({"body": texts, "topic": ["b", "a"] * 50, "x": rng.normal(size=100), "y": np.arange(100)})


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_a_table_of_texts(tmp_path, frame, ending):
    path = tmp_path / f"texts.{ending}"
    table = frame[["body", "topic"]]
    write = {
        "csv": lambda: table.to_csv(path, index=False),
        "tsv": lambda: table.to_csv(path, index=False, sep="\t"),
        "jsonl": lambda: table.to_json(path, orient="records", lines=True),
        "parquet": lambda: table.to_parquet(path),
    }
    write[ending]()
    split = ms.load(path, text="body", label="topic", tokenizer=words)
    assert isinstance(split.train, Tokens)
    assert split.train.name == "texts"
    assert len(split.train) + len(split.test) == 100
    assert 10 <= len(split.test) <= 30
    assert not set(split.train.ids) & set(split.test.ids)
    # The names of classes are numbered in their order.
    found = {
        tuple(row.tolist()): int(label)
        for part in (split.train, split.test)
        for row, label in zip(part.documents, part.targets, strict=True)
    }
    for body, topic in zip(frame["body"], frame["topic"], strict=True):
        if (frame["body"] == body).sum() == 1:
            assert found[tuple(words([body])[0])] == "ab".index(topic)


def test_the_same_examples_are_held_out_whatever_their_order(tmp_path, frame):
    held = []
    for seed in (0, 1):
        frame.sample(frac=1, random_state=seed).to_csv(tmp_path / "t.csv", index=False)
        held.append(set(ms.load(tmp_path / "t.csv", text="body", tokenizer=words).test.ids))
    assert held[0] == held[1]


def test_a_second_file_is_the_test_set(tmp_path, frame):
    frame[:60].to_csv(tmp_path / "train.csv", index=False)
    frame[60:].to_csv(tmp_path / "test.csv", index=False)
    split = ms.load(tmp_path / "train.csv", test=tmp_path / "test.csv", text="body", label="topic", tokenizer=words)
    assert (len(split.train), len(split.test)) == (60, 40)


def test_numbers_become_one_row_an_example(tmp_path, frame):
    frame[["x", "y", "topic"]].to_csv(tmp_path / "n.csv", index=False)
    split = ms.load(tmp_path / "n.csv", label="topic")
    assert isinstance(split.train, Samples)
    assert (split.train.inputs.shape[1], split.train.classes) == (2, 2)
    frame[["x", "y"]].to_csv(tmp_path / "r.csv", index=False)
    regression = ms.load(tmp_path / "r.csv", label="x").train
    assert isinstance(regression, Arrays)
    assert regression.targets.is_floating_point()


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_sound_is_given_as_tensors(tmp_path, ending):
    wave, word = np.random.default_rng(0).normal(size=(40, 300)).astype(np.float32), np.arange(40) % 3
    path = tmp_path / f"sound.{ending}"
    if ending == "npz":
        np.savez(path, wave=wave, word=word)
    else:
        safetensors.torch.save_file({"wave": torch.tensor(wave), "word": torch.tensor(word)}, path)
    split = ms.load(path, label="word")
    assert isinstance(split.train, Samples)
    assert split.train.inputs.shape[1:] == (300,)
    assert split.train.classes == 3


def test_lines_of_text_for_a_language_model(tmp_path, frame):
    (tmp_path / "lines.txt").write_text("\n".join(frame["body"]) + "\n\n")
    split = ms.load(tmp_path / "lines.txt", tokenizer=words, next_token=True)
    batch = split.train.batch(slice(0, 1))
    assert batch.inputs["input_ids"].tolist() == batch.targets.tolist()


class Limited:
    """As tokenizers of transformers are called."""

    model_max_length, pad_token_id = 3, 9

    def __call__(self, texts, truncation=False, max_length=None):
        return {"input_ids": [row[:max_length] if truncation else row for row in words(texts)]}


def test_a_tokenizer_cuts_at_its_own_limit_and_pads_with_its_own_token(tmp_path, frame):
    frame.to_csv(tmp_path / "t.csv", index=False)
    train = ms.load(tmp_path / "t.csv", text="body", tokenizer=Limited()).train
    assert train.longest == 3
    assert train.pad == 9


WRONG = {
    "no column": ({"text": "boddy"}, DataError, "no column of that name\ndo:    did you mean 'body'"),
    "no label": ({"text": "body", "label": "topik"}, DataError, "no column of that name\ndo:    did you mean 'topic'"),
    "several texts": ({}, DataError, "several columns of text: body, topic\ndo:    name one: text='body'"),
    "no tokenizer": ({"text": "body", "tokenizer": None}, SettingError, "no tokenizer\ndo:    name a network"),
    "empty text": ({"text": "body", "tokenizer": lambda t: [[]] * len(t)}, DataError, "no token in row 0 of 'body'"),
}


@pytest.mark.parametrize(("told", "error", "message"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_read_is_refused(tmp_path, frame, told, error, message):
    frame.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(error, match=message):
        ms.load(tmp_path / "t.csv", **{"tokenizer": words, **told})


def test_files_that_are_no_tables(tmp_path, frame):
    with pytest.raises(DataError, match="no such file"):
        ms.load(tmp_path / "none.csv")
    (tmp_path / "bad.parquet").write_bytes(b"no")
    with pytest.raises(BadFile, match=r"read .*bad\.parquet"):
        ms.load(tmp_path / "bad.parquet")
    (tmp_path / "holes.csv").write_text("text,label\nrose,1\n,2\n")
    with pytest.raises(BadFile, match="empty cells: 1 in 'text'"):
        ms.load(tmp_path / "holes.csv", tokenizer=words)
    np.savez(tmp_path / "uneven.npz", a=np.zeros(3), b=np.zeros(4))
    with pytest.raises(BadFile, match="columns of different lengths: a 3, b 4"):
        ms.load(tmp_path / "uneven.npz")
    with pytest.raises(SettingError, match=r"the text 'body' of 'digits'\nfound: no file with columns"):
        ms.load("digits", text="body")
    frame[:1].to_csv(tmp_path / "one.csv", index=False)
    with pytest.raises(DataError, match="hold out a fifth of 'one'\nfound: 1 examples"):
        ms.load(tmp_path / "one.csv", text="body", tokenizer=words)


def test_raw_images_are_in_the_unit_interval():
    plain, normal = (ms.load("digits", normalise=told).test for told in (False, True))
    images = plain.batch(slice(None)).inputs
    assert (float(images.min()), float(images.max())) == (0, 1)
    mean, std = (torch.tensor(each).view(1, -1, 1, 1) for each in normal.raw_moments)
    assert torch.allclose((images - mean) / std, normal.batch(slice(None)).inputs, atol=1e-5)

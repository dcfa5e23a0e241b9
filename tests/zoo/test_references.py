"""Networks by reference: timm, torchvision, transformers; their own preparation; data by name. No download."""

import json

import numpy as np
import pytest
import safetensors.torch
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

import modelstitch as ms
from images import write_tree
from modelstitch.cli import main
from modelstitch.errors import BadFile, DataError, FreshWeights, NetworkNotFound, SettingError
from modelstitch.networks import takes_raw

# What others' packages say of themselves is no finding here.
pytestmark = pytest.mark.filterwarnings("default")

WORDS = ["rose", "fire", "sky", "sea", "leaf", "frog", "the", "of"]
SMALL = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8}
VIT = {**SMALL, "image_size": 8, "patch_size": 4}
R18 = "timm:resnet18?seed=0&size=32&classes=3"


def tokenizer(words=WORDS):
    vocabulary = {word: place for place, word in enumerate(["[PAD]", "[UNK]", *words])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    told = {"pad_token": "[PAD]", "unk_token": "[UNK]", "model_max_length": 6}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, **told)


def encoder(folder, seed, kind="BertForSequenceClassification", words=WORDS):
    torch.manual_seed(seed)
    config = transformers.BertConfig(vocab_size=20, max_position_embeddings=16, num_labels=3, **SMALL)
    getattr(transformers, kind)(config).save_pretrained(folder)
    tokenizer(words).save_pretrained(folder)
    return f"hf:{folder}"


def image_model(folder, labels=3, seed=0, **processor):
    torch.manual_seed(seed)
    model = transformers.ViTForImageClassification(transformers.ViTConfig(num_labels=labels, **VIT))
    model.save_pretrained(folder)
    told = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4], "size": {"height": 8, "width": 8}, **processor}
    (folder / "preprocessor_config.json").write_text(json.dumps(told))
    return f"hf:{folder}"


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.csv"
    rows = [
        f"{place},{' '.join(np.random.default_rng(place).choice(WORDS, 5))},{'abc'[place % 3]}" for place in range(90)
    ]
    path.write_text("id,body,topic\n" + "\n".join(rows) + "\n")
    return path


# timm and torchvision


@pytest.mark.parametrize("scheme", ["timm", "torchvision"])
def test_a_model_stands_behind_its_own_normalisation(scheme):
    loaded = ms.load_network(f"{scheme}:resnet18?seed=0&size=32")
    plain = ms.load_network(f"{scheme}:resnet18?seed=0&size=32&raw").module
    assert takes_raw(loaded.module)
    assert not takes_raw(plain)
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    images = torch.rand(2, 3, 32, 32)
    assert torch.allclose(loaded.module(images), plain((images - mean) / std), atol=1e-5)
    assert not any("prepare" in cut.name for cut in ms.cuts(loaded))
    assert [cut.name for cut in ms.cuts(loaded)] == [cut.name for cut in ms.cuts(plain, images)]


def test_weights_of_a_seed_are_the_same_and_those_of_no_seed_are_said():
    first, again, other = (ms.load_network(f"timm:resnet18?seed={seed}") for seed in (0, 0, 1))
    assert first.weights == again.weights != other.weights
    with pytest.warns(
        FreshWeights, match=r"it has learnt nothing; for published weights write timm:resnet18\?pretrained"
    ):
        ms.load_network("timm:resnet18")


ASTRAY = {
    "timm:resnet19": (NetworkNotFound, "no such model in timm\ndo:    did you mean 'resnet18'"),
    "torchvision:resnet19": (NetworkNotFound, "no such model in torchvision\ndo:    did you mean 'resnet18'"),
    "timm:resnet18?pretraned": (SettingError, "no option 'pretraned' of timm:\ndo:    did you mean 'pretrained'"),
    "timm:resnet18?seed=one": (SettingError, "seed=one\ndo:    write a whole number"),
    "timm:resnet18?pretrained": (NetworkNotFound, r"in the cache\ndo:    write timm:resnet18\?pretrained&download"),
    "torchvision:resnet18?pretrained": (NetworkNotFound, r"no resnet18-f37072fd.pth in .*\ndo:    write torchvision:"),
    "hf:nobody/nothing": (NetworkNotFound, r"no config.json of nobody/nothing in the cache\ndo:    write hf:nobody"),
    "hf:./none": (NetworkNotFound, "no such folder\ndo:    name a folder, or ORGANISATION/NAME"),
}


@pytest.mark.parametrize(("reference", "told"), ASTRAY.items(), ids=ASTRAY)
def test_a_model_that_is_not_there(reference, told):
    with pytest.raises(told[0], match=told[1]):
        ms.load_network(reference)


def test_published_weights_come_from_the_cache_alone(tmp_path):
    import timm

    torch.manual_seed(3)
    wanted = timm.create_model("resnet18").state_dict()
    home = tmp_path / "hub" / "models--timm--resnet18.a1_in1k"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("0" * 40)
    (home / "snapshots" / ("0" * 40)).mkdir(parents=True)
    safetensors.torch.save_file(wanted, home / "snapshots" / ("0" * 40) / "model.safetensors")
    found = ms.load_network("timm:resnet18?pretrained").module.state_dict()
    assert all(torch.equal(found[name], one) for name, one in wanted.items())


def test_a_cached_file_that_could_run_code_is_not_read(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("ran",)

    (tmp_path / "torch" / "checkpoints").mkdir(parents=True)
    torch.save({"conv1.weight": Evil()}, tmp_path / "torch" / "checkpoints" / "resnet18-f37072fd.pth")
    with pytest.raises(BadFile, match="Weights only load failed"):
        ms.load_network("torchvision:resnet18?pretrained")


def test_weights_from_a_file(tmp_path):
    network = ms.load_network(R18 + "&raw").module
    safetensors.torch.save_file(network.state_dict(), tmp_path / "mine.safetensors")
    reference = f"file:{tmp_path}/mine.safetensors?architecture=timm:resnet18?size=32&classes=3"
    loaded = ms.load_network(reference)
    assert loaded.name == "mine"
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(loaded.module(images), ms.load_network(R18).module(images))
    with pytest.raises(BadFile, match=r"'fc\.(bias|weight)' of shape .* where the network has"):
        ms.load_network(f"file:{tmp_path}/mine.safetensors?architecture=timm:resnet18?classes=4")


# transformers


def test_a_classifier_and_a_bare_encoder_are_what_their_configuration_names(tmp_path):
    head, bare = encoder(tmp_path / "head", 0), encoder(tmp_path / "bare", 1, "BertModel")
    loaded = ms.load_network(head)
    assert (loaded.name, type(loaded.module).__name__) == ("head", "BertForSequenceClassification")
    assert type(ms.load_network(bare).module).__name__ == "BertModel"
    stored = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "head").eval()
    ids = torch.randint(2, 10, (2, 5))
    assert torch.equal(loaded.module(ids).logits, stored(ids).logits)
    assert loaded.tokenizer(["rose sky"])["input_ids"] == [[2, 4]]


def test_a_head_without_weights_is_refused(tmp_path):
    encoder(tmp_path, 0, "BertModel")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": ["BertForSequenceClassification"]}))
    with pytest.raises(BadFile, match=r"no weights for \d+ parts of BertForSequenceClassification, such as classifier"):
        ms.load_network(f"hf:{tmp_path}")


@pytest.mark.parametrize(
    ("told", "size"),
    [({}, 8), ({"do_resize": False}, None), ({"size": {"shortest_edge": 8}}, 8), ({"size": 8}, 8)],
    ids=["height", "none", "edge", "number"],
)
def test_an_image_processor_becomes_the_first_layer(tmp_path, told, size):
    module = ms.load_network(image_model(tmp_path, **told)).module
    plain = ms.load_network(f"hf:{tmp_path}?raw").module
    assert module.prepare.size == (None if size is None else (size, size))
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)))
    images = torch.rand(2, 3, 8, 8)
    assert torch.allclose(module(images).logits, plain((images - mean) / std).logits, atol=1e-6)


def test_sound_is_given_as_tensors(tmp_path):
    kernels = {"conv_dim": (8, 8), "conv_stride": (5, 4), "conv_kernel": (10, 8), "num_feat_extract_layers": 2}
    more = {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2, "num_labels": 2}
    for seed in (0, 1):
        torch.manual_seed(seed)
        config = transformers.Wav2Vec2Config(**SMALL, **kernels, **more)
        transformers.Wav2Vec2ForSequenceClassification(config).save_pretrained(tmp_path / str(seed))
        (tmp_path / str(seed) / "preprocessor_config.json").write_text(json.dumps({"do_normalize": True}))
    a, b = (f"hf:{tmp_path / str(seed)}" for seed in (0, 1))
    sound = 3 + 2 * torch.randn(24, 400)
    module, plain = ms.load_network(a).module, ms.load_network(a + "?raw").module
    scaled = (sound - sound.mean(1, keepdim=True)) / sound.std(1, keepdim=True, correction=0)
    assert torch.allclose(module(sound).logits, plain(scaled).logits, atol=1e-5)
    np.savez(tmp_path / "sound.npz", wave=sound.numpy(), word=np.arange(24) % 2)
    data = ms.load(tmp_path / "sound.npz", label="word")
    assert data.train.inputs.shape[1:] == (400,)
    records = ms.stitch_all(a, b, data.train, data.test, by=ms.Direct(), controls=())
    assert records.only(status="ok")


# calls, raw images, bottoms without a head


def test_every_call_takes_a_reference(tmp_path):
    a, b = image_model(tmp_path / "a"), image_model(tmp_path / "b")
    x = torch.rand(40, 3, 8, 8)
    data, test = (x[:24], torch.arange(24) % 3), (x[24:], torch.arange(16) % 3)
    records = ms.stitch_all(a, b, data, test, by=ms.Direct())
    assert {record.bottom_network for record in records} == {"a", "b"}
    selves = records.only(control="self")
    assert len(selves) == 8
    assert all(record.penalty == 0 for record in selves)
    cut = ms.cuts(a)[0].name
    assert ms.stitch(f"A@{cut} -> B@{cut}", {"A": a, "B": b}, data, test, by=ms.Direct()).status == "ok"
    assert ms.compare_all(a, b, x)[0].network_b == "b"
    assert ms.calibrate(a, b, (cut, cut), x, permutations=9)
    found = ms.fit(ms.Affine(), ms.bottom(a, cut), ms.top(b, cut), data, by=ms.Direct())
    assert ms.penalty(found.stitched, b, test).n == ms.evaluate(b, test).n == 16
    assert not torch.equal(ms.untrained(a).classifier.weight, ms.load_network(a).module.classifier.weight)


def test_images_that_are_normalised_already_are_refused(tmp_path):
    a = image_model(tmp_path)
    x = torch.randn(40, 3, 8, 8)
    told = r"asked: to run .*, which normalises images itself\nfound: values from -.*\ndo:    give images in \[0, 1\]"
    with pytest.raises(DataError, match=told):
        ms.stitch_all(a, a, (x[:24], torch.arange(24) % 3), (x[24:], torch.arange(16) % 3))
    with pytest.raises(DataError, match=told):
        ms.compare_all(a, a, x)
    ms.compare_all(a + "?raw", a + "?raw", x)


def test_two_networks_of_other_resolutions_see_the_same_raw_images():
    a, b = (f"timm:resnet18?seed={seed}&size={size}&classes=3" for seed, size in ((0, 64), (1, 96)))
    x = torch.rand(30, 3, 96, 96)
    shapes = [next(cut.shape for cut in ms.cuts(each, x[:2]) if cut.name == "layer2.0") for each in (a, b)]
    assert shapes == [(128, 8, 8), (128, 12, 12)]
    data, test = (x[:18], torch.arange(18) % 3), (x[18:], torch.arange(12) % 3)
    records = ms.stitch_all(a, b, data, test, by=ms.Direct(), controls=())
    # Maps of two resolutions have other positions; the pooled vectors fit, and what does not is said.
    assert {record.top_cut for record in records} == {"global_pool"}
    assert len(records) + len(records.left_out) == 2 * len(ms.cuts(a))
    assert f"left out: {len(records.left_out)}" in repr(records)


def test_a_backbone_without_a_head_is_a_bottom(tmp_path):
    bare, head = encoder(tmp_path / "bare", 1, "BertModel"), encoder(tmp_path / "head", 0)
    ids = torch.cartesian_prod(torch.arange(2, 6), torch.arange(2, 6), torch.arange(2, 6))[torch.randperm(64)[:60]]
    data, test = (ids[:40], torch.arange(40) % 3), (ids[40:], torch.arange(20) % 3)
    for order in ((bare, head), (head, bare)):
        records = ms.stitch_all(*order, data, test, by=ms.Direct(), controls=("self", "untrained"))
        assert {record.top_network for record in records} == {"head"}
        assert {record.bottom_network for record in records if not record.control} == {"bare"}
        assert all(record.scores[0].bottom is None for record in records.only(control=""))
        assert any(one.stitching == "head -> bare" and "no head" in one.reason for one in records.left_out)
    one = ms.stitch("A@embeddings -> B@bert.embeddings", {"A": bare, "B": head}, data, test, by=ms.Direct())
    assert one.status == "ok"
    with pytest.raises(ms.StitchError, match="to guess the task of A"):
        ms.stitch("B@bert.embeddings -> A@embeddings", {"A": bare, "B": head}, data, test)


# data by name, and the command line


def run(*arguments):
    with pytest.raises(SystemExit) as left:
        main([str(one) for one in arguments])
    return left.value.code or 0


def test_texts_of_a_table_by_the_tokenizer_of_the_network(tmp_path, texts, capsys):
    a, b = encoder(tmp_path / "a", 0), encoder(tmp_path / "b", 1)
    told = ("--data", texts, "--text", "body", "--label", "topic", "--by", "direct", "--no-controls")
    assert run("stitch", a, b, *told) == 0
    assert "a@bert.encoder.layer.0 -> b@bert.encoder.layer.0" in capsys.readouterr().out
    assert run("stitch", a, b, "--data", texts, "--text", "boddy", "--label", "topic") == 2
    assert "no column of that name\ndo:    did you mean 'body'" in capsys.readouterr().err
    other = encoder(tmp_path / "c", 2, words=WORDS[::-1])
    assert run("stitch", a, other, *told) == 2
    assert "found: a and c, which have tokenizers of their own" in capsys.readouterr().err
    assert run("stitch", R18, R18, *told) == 2
    assert "no tokenizer\ndo:    name a network that comes with a tokenizer" in capsys.readouterr().err


def test_language_models_on_lines(tmp_path, capsys):
    for seed in (0, 1):
        torch.manual_seed(seed)
        told = {"vocab_size": 20, "n_positions": 16, "n_embd": 8, "n_layer": 2, "n_head": 2}
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**told, bos_token_id=0, eos_token_id=0))
        model.save_pretrained(tmp_path / str(seed))
        tokenizer().save_pretrained(tmp_path / str(seed))
    lines = [" ".join(np.random.default_rng(place).choice(WORDS, 5)) for place in range(60)]
    (tmp_path / "lines.txt").write_text("\n".join(lines))
    networks = (f"hf:{tmp_path}/0", f"hf:{tmp_path}/1")
    told = ("--data", tmp_path / "lines.txt", "--task", "next_token", "--by", "direct", "--no-controls")
    assert run("stitch", *networks, *told) == 0
    assert "nats a token" in capsys.readouterr().out


def test_a_folder_of_images_for_two_models(tmp_path, capsys):
    write_tree(tmp_path / "flowers", 8, 6)
    told = ("--data", "image_folder", "--data-folder", tmp_path / "flowers", "--by", "direct", "--no-controls")
    r64 = R18.replace("size=32", "size=64")
    assert run("stitch", r64, image_model(tmp_path / "vit"), *told) == 0
    out = capsys.readouterr().out
    assert f"{r64}@global_pool -> vit@select" in out
    assert "left out: 12" in out
    assert "a map below and tokens above" in out
    many = R18.replace("classes=3", "classes=9")
    assert run("stitch", many, many, *told) == 2
    assert "as_samples(…, classes=9); the task imitation reads no labels" in capsys.readouterr().err


def test_networks_without_weights_are_built_for_the_classes_of_the_data(tmp_path, capsys):
    write_tree(tmp_path / "flowers", 8, 6)
    told = ("--data", "image_folder", "--data-folder", tmp_path / "flowers", "--by", "direct", "--no-controls")
    a, b = "timm:resnet18?size=32", "timm:resnet10t?size=32"
    assert run("stitch", a, b, *told) == 0
    out, err = capsys.readouterr()
    assert f" -> {b}&classes=3@layer1" in out
    assert f"\n{a}&classes=3@layer1.1 -> " in out.replace("\n ", "\n")
    assert f"{a}&classes=3: " in out
    assert "test error" in out
    assert f"{a} is built for the 3 classes of the data: {a}&classes=3" in err
    assert err.count("it has learnt nothing") == 2
    assert run("stitch", f"{a}@layer1.0 -> {a}@layer1.1", *told[:-1]) == 0
    assert f"{a}&classes=3@layer1.0 -> {a}&classes=3@layer1.1" in capsys.readouterr().out


def test_published_networks_of_other_classes_are_judged_by_their_own_answers(tmp_path, capsys):
    write_tree(tmp_path / "flowers", 8, 6)
    told = ("--data", "image_folder", "--data-folder", tmp_path / "flowers", "--by", "direct", "--no-controls")
    a, b = (image_model(tmp_path / name, labels=5, seed=seed) for seed, name in enumerate(("one", "two")))
    assert run("stitch", a, b, *told) == 0
    out, err = capsys.readouterr()
    assert "5 scores an example for 3 classes: these networks were trained for other answers" in err
    assert "--task imitation" in err
    assert "decisions other than the top's" in out
    assert "test error" not in out
    assert f"one = {a} beside two = {b}: " in out
    assert run("stitch", a, b, *told, "--task", "classification") == 0
    assert "test error" in capsys.readouterr().out, "whoever insists is believed"


def test_cuts_of_a_model_need_no_shape(capsys, recwarn):
    assert run("cuts", "timm:vit_tiny_patch16_224") == 0
    out = capsys.readouterr().out
    assert "blocks.11" in out
    assert "197 × 192" in out
    assert "input" not in out
    assert not [one for one in recwarn if issubclass(one.category, FreshWeights)]


def test_data_sets_of_the_library_datasets(tmp_path):
    import datasets
    from PIL import Image

    held = {"body": [f"{WORDS[place % 8]} {WORDS[place // 8]}" for place in range(48)], "topic": [0, 1, 2] * 16}
    both = datasets.Dataset.from_dict(held).train_test_split(0.25, seed=0)
    both.save_to_disk(tmp_path / "saved")
    options = {"text": "body", "label": "topic", "tokenizer": tokenizer()}
    for source in (both, tmp_path / "saved", str(tmp_path / "saved")):
        split = ms.load(source, **options)
        assert (len(split.train), len(split.test)) == (36, 12)
        assert (
            split.train.batch(slice(1)).inputs["input_ids"].tolist()
            == tokenizer()(both["train"]["body"][:1])["input_ids"]
        )
    whole = ms.load(both["train"], **options)
    assert len(whole.train) + len(whole.test) == 36
    assert not set(whole.train.ids) & set(whole.test.ids)
    pixels = [Image.fromarray(np.full((20, 30, 3), place, np.uint8)) for place in range(12)]
    images = ms.load(datasets.Dataset.from_dict({"image": pixels, "label": [0, 1] * 6}), size=16, normalise=False)
    assert images.train.inputs.shape[1:] == (3, 16, 16)
    assert float(images.train.batch(slice(None)).inputs.max()) <= 1

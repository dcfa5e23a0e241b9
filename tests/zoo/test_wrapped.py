"""Real classes of timm, transformers, peft and torchvision, tiny and with random weights: nothing is downloaded."""

import warnings

import peft
import pytest
import timm
import torch
import transformers
from torch import nn
from torchvision.models import detection

from modelstitch.cut import capture

pytestmark = pytest.mark.filterwarnings("ignore")


def cut_quietly(network, example):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return capture(network, example)


def llama(**settings):
    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "bos_token_id": 1, "eos_token_id": 2}
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, **heads, **settings)).eval()


def gpt2(**settings):
    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "n_embd": 16, "n_layer": 2, "n_head": 2, "bos_token_id": 1, "eos_token_id": 2}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, **settings)).eval()


IDS = torch.arange(21).view(3, 7)


@pytest.mark.parametrize("make", [llama, gpt2])
def test_a_decoder_has_the_same_cuts_with_its_cache_and_without(make):
    with_cache, without = (cut_quietly(make(use_cache=one), IDS) for one in (True, False))
    assert not with_cache.replayed
    assert [cut.name for cut in with_cache.cuts] == [cut.name for cut in without.cuts]
    network, block = make(use_cache=True), with_cache.blocks[1]
    with torch.no_grad():
        right = network(IDS).logits
    found = with_cache.top(block)(with_cache.bottom(block)(IDS))
    assert type(found) is type(network(IDS))
    assert torch.equal(found.logits, right)
    assert "cache" not in found
    assert found.get("past_key_values") is None


def test_constants_by_keyword_are_as_settings_of_the_configuration():
    told = cut_quietly(llama(), {"input_ids": IDS, "use_cache": False})
    assert [cut.name for cut in told.cuts] == [cut.name for cut in cut_quietly(llama(use_cache=False), IDS).cuts]


def test_adapters_are_opened_and_answer_as_the_wrapped_model():
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    base = transformers.BertForSequenceClassification(config)
    adapters = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query"], init_lora_weights=False)
    network = peft.get_peft_model(base, adapters).eval()
    halves = cut_quietly(network, IDS)
    assert [cut.name for cut in halves.blocks][-1].startswith("bert")
    block = next(cut for cut in halves.blocks if "layer.0" in cut.name)
    with torch.no_grad():
        right = network(IDS).logits
    assert torch.equal(halves.top(block)(halves.bottom(block)(IDS)).logits, right)
    assert any("lora" in name for name in halves.view.state_dict())


def test_a_compiled_network_is_opened():
    network = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    halves = cut_quietly(torch.compile(network), torch.randn(4, 6))
    assert [cut.name for cut in halves.cuts] == ["input", "0", "1", "output"]


@pytest.mark.parametrize("name", ["xcit_nano_12_p16_224", "vit_base_patch16_siglip_224"])
def test_halves_equal_the_frozen_network_where_gradients_choose_the_kernel(name):
    torch.manual_seed(0)
    small = {"depth": 2, "embed_dim": 32, "num_heads": 2}
    network, x = timm.create_model(name, num_classes=5, **small).eval(), torch.randn(2, 3, 224, 224)
    halves = cut_quietly(network, x)
    block = halves.blocks[len(halves.blocks) // 2]
    found = halves.top(block)(halves.bottom(block)(x))
    with torch.no_grad():
        assert torch.equal(found, halves.view(x))
        assert torch.allclose(found, network(x), atol=1e-5)
        assert torch.equal(found, network.requires_grad_(False)(x))


def test_a_detector_takes_a_list_of_images(monkeypatch):
    # Boxes are sorted out by an operator of torchvision's own, which a build without it lacks.
    monkeypatch.setattr(
        "torchvision.models.detection.ssd.box_ops.batched_nms", lambda _, scores, *__: scores.argsort(descending=True)
    )
    torch.manual_seed(0)
    network = detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3)
    network.eval()
    images = torch.rand(3, 3, 96, 96)
    halves = cut_quietly(network, ([*images],))
    with torch.no_grad():
        right = network([*images])
    assert halves.cuts[0].name == "input"
    for cut in halves.cuts[:3]:
        found = halves.top(cut)(halves.bottom(cut)([*images]))
        assert all(torch.equal(a[key], b[key]) for a, b in zip(found, right, strict=True) for key in b), cut.name

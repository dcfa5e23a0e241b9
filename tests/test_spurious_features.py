"""The spurious-feature experiment: its bottoms are what the pages say of them, and its values come from the records."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from torch import nn

import modelstitch as ms
from fixtures import live_in
from modelstitch.measures import debiased_cka, linear_cka
from modelstitch.networks.resnet import resnet18
from modelstitch.seeding import generator, seeded

ROOT = Path(__file__).resolve().parents[1]
RECORDS = ROOT / "results" / "spurious_features"


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "recipes" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


spurious, drawing = script("spurious_features"), script("spurious_figure")


def network(seed):
    with seeded("spurious", seed):
        return live_in(resnet18(width=4, channels=1)).eval()


IMAGES = torch.randn(16, 1, 28, 28, generator=generator("spurious images"))
PLAIN = network(0)


def appended(share, kind="features"):
    second = spurious.Noise((1, 28, 28), 0) if kind == "noise" else nn.Identity()
    return spurious.appended(PLAIN, share, IMAGES, second=second)


def shuffled(share):
    return spurious.shuffled(PLAIN, share, IMAGES[:2])


def after(one, images=IMAGES):
    """Activations after each stage, the stem in the first."""
    parts, found = dict(one.named_children()), []
    for name in ("conv1", "entry"):
        images = parts[name](images) if name in parts else images
    for stage in spurious.STAGES:
        images = parts[stage](images)
        found.append(images)
    return found


BOTTOMS = {
    **{f"features{share}": lambda share=share: appended(share) for share in (0.5, 0.999)},
    **{f"noise{share}": lambda share=share: appended(share, "noise") for share in (0.5, 0.999)},
    **{f"#{share}": lambda share=share: shuffled(share) for share in (0.25, 1.0)},
}


@torch.no_grad()
@pytest.mark.parametrize("name", BOTTOMS)
def test_a_bottom_with_spurious_features_classifies_exactly_like_the_plain_one(name):
    bottom, others = BOTTOMS[name](), torch.randn(5, 1, 28, 28, generator=generator("other images"))
    for images in (IMAGES, others):
        assert torch.equal(bottom(images), PLAIN(images))
    # The same answers by other activations, at every stage.
    for x, plain in zip(after(bottom), after(PLAIN), strict=True):
        assert x.shape != plain.shape or not torch.equal(x, plain)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["features", "noise"])
@pytest.mark.parametrize("share", spurious.SHARES)
def test_appended_channels_hold_the_share_of_the_variance_that_was_asked_for(share, kind):
    for x, plain in zip(after(appended(share, kind)), after(PLAIN), strict=True):
        useful = plain.shape[1]
        assert torch.equal(x[:, :useful], plain)
        rows = x.double().movedim(1, -1).flatten(0, 2)
        variance = (rows - rows.mean(0)).square().mean(0)
        assert float(variance[useful:].sum() / variance.sum()) == pytest.approx(share, rel=1e-4)
        # Each of them as much, so that none is the one that counts.
        assert float(variance[useful:].max() / variance[useful:].min()) == pytest.approx(1, rel=1e-3)


def test_noise_pictures_hang_on_the_image_and_on_nothing_beside_it():
    noise = spurious.Noise((1, 28, 28), 0)
    pictures = noise(IMAGES)
    assert torch.equal(pictures, torch.cat([noise(image[None]) for image in IMAGES]))
    assert torch.equal(noise(IMAGES.flip(0)), pictures.flip(0))
    assert len(pictures.flatten(1).unique(dim=0)) > 1
    assert not torch.equal(pictures, spurious.Noise((1, 28, 28), 1)(IMAGES))


@torch.no_grad()
@pytest.mark.parametrize("share", spurious.SHUFFLED)
@pytest.mark.filterwarnings("ignore::modelstitch.errors.TooFewRows")
def test_shuffled_positions_leave_flattened_cka_alone_and_take_it_down_position_by_position(share):
    other = after(network(1))
    for x, plain, y in zip(after(shuffled(share)), after(PLAIN), other, strict=True):
        for measure in (linear_cka, debiased_cka):
            there, here = (measure(maps.flatten(1), y.flatten(1)) for maps in (plain, x))
            assert here == pytest.approx(there, abs=1e-12)
            there, here = (measure(*(side.movedim(1, -1).flatten(0, 2) for side in (maps, y))) for maps in (plain, x))
            assert here < there - 0.01


@pytest.mark.parametrize("share", spurious.SHUFFLED)
@pytest.mark.parametrize("positions", [16, 49, 784])
def test_the_share_of_positions_that_was_asked_for_is_moved(positions, share):
    order = spurious.moved_order(positions, share, 0)
    assert sorted(order.tolist()) == list(range(positions))
    assert int((order != torch.arange(positions)).sum()) == round(share * positions)


@pytest.mark.parametrize("change", [{"error": 9.01}, {"loss": 0.3}])
def test_a_bottom_that_is_another_function_is_refused(change):
    plain = {"error": 9.0, "loss": 0.2}
    spurious.check_same("seed0#0.5", dict(plain), "seed0", plain)
    with pytest.raises(SystemExit, match=r"seed0\+noise0\.5 is another function than seed0"):
        spurious.check_same("seed0+noise0.5", plain | change, "seed0", plain)


@pytest.mark.parametrize(
    ("bottom", "kind", "amount"), [("seed2+noise0.9", "+noise", 0.9), ("seed2#1.0", "#", 1.0), ("seed2", "", 0.0)]
)
def test_values_and_changes_are_those_of_the_records(bottom, kind, amount):
    def stage_2(name, **equals):
        lines = map(json.loads, (RECORDS / name).read_text().splitlines())
        return [line for line in lines if line["top_cut"] == "layer2.1" and equals.items() <= line.items()]

    def found(of):
        flat = stage_2("cka.jsonl", bottom_network=of)
        by = {json.loads(line["matching"])["name"]: line for line in stage_2("records.jsonl", bottom_network=of)}
        cka = {row["measure"]: row["value"] for row in by["direct"]["measures"]}["cka"]
        return [flat[0]["cka"], cka, *(by[name]["scores"][0]["penalty"] for name in ("task", "direct"))]

    frame = drawing.measured(RECORDS)
    rows = frame[(frame["kind"] == kind) & (frame["amount"] == amount) & (frame["stage"] == "layer2")]
    rows = rows[rows["top_network"] == "seed3"].set_index("what").loc[["flattened", "position", "task", "direct"]]
    assert rows["value"].tolist() == found(bottom)
    changes = [a - b for a, b in zip(found(bottom), found("seed2"), strict=True)]
    assert rows["change"].tolist() == pytest.approx(changes, abs=1e-12)


def test_every_value_of_the_committed_records_is_drawn_within_its_panel():
    frame = drawing.measured(RECORDS)
    bottoms = 1 + 2 * len(spurious.SHARES) + len(spurious.SHUFFLED)
    assert len(frame) == bottoms * len(spurious.PAIRS) * len(spurious.STAGES) * len(drawing.CHANGED)
    assert frame["change"].notna().all()
    for row in drawing.ROWS:
        low, high = row.domain
        shown = frame[frame["what"].isin(row.what) & frame["kind"].isin(row.kinds)]["change"]
        assert low <= shown.min()
        assert shown.max() <= high
        for kind in row.kinds:
            drawn = drawing._drawn(frame, kind, row)
            assert drawn["place"].notna().all()
            assert len(drawn) == len(drawing.PLACES[kind]) * len(spurious.STAGES) * len(row.what)


def test_the_figure_is_written(tmp_path):
    ms.save_figure(drawing.figure(RECORDS), tmp_path / "spurious.svg")
    drawn = (tmp_path / "spurious.svg").read_text()
    for text in (*drawing.KINDS.values(), *drawing.CHANGED.values(), *drawing.STAGES.values(), "99.9 %", "25 %"):
        assert text in drawn

"""Distortions: crops against a loop over pixels, colours against colorsys, and what each kind of image may become."""

import colorsys
import math

import numpy as np
import pytest
import torch

from modelstitch.data import distort
from modelstitch.data import distortion as room
from modelstitch.support.seeding import generator


def images(n=200, channels=3, side=8):
    return torch.randint(0, 256, (n, channels, side, side), generator=generator("bytes"), dtype=torch.uint8)


@pytest.fixture
def only(monkeypatch):
    """Leave one kind of distortion on."""

    def switch(**kept):
        off = {"SHARE": (1.0, 1.0), "STRETCH": (1.0, 1.0), "JITTERED": 0.0, "GREY": 0.0}
        off |= {"BRIGHTNESS": 0.0, "CONTRAST": 0.0, "SATURATION": 0.0, "HUE": 0.0}
        for name, value in (off | kept).items():
            monkeypatch.setattr(room, name, value)

    return switch


def distorted(x, flip=False, key=0):
    return distort(x, flip=flip, generator=generator("distort", key))


def close(a, b, atol=1e-5):
    return torch.allclose(a, b, rtol=0, atol=atol)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_views_keep_shape_and_range_and_differ(channels):
    x = images(channels=channels)
    a, b = distorted(x, True, 0), distorted(x, True, 1)
    assert a.shape == x.shape
    assert a.dtype == torch.float32
    assert float(a.min()) >= 0
    assert float(a.max()) <= 1
    assert not (a - b).flatten(1).abs().amax(1).eq(0).any()
    assert a.is_contiguous()


def test_equal_generators_give_equal_views_and_leave_the_images_alone():
    x = images()
    before = x.clone()
    assert torch.equal(distorted(x), distorted(x))
    assert torch.equal(x, before)


def test_nothing_on_changes_nothing(only):
    only()
    assert close(distorted(images()), images().float() / 255)


def test_half_are_mirrored_where_a_flip_is_allowed(only):
    only()
    x = images(1000).float() / 255
    found = distorted(images(1000), flip=True)
    mirrored = (found - x.flip(3)).abs().flatten(1).amax(1) < 1e-5
    plain = (found - x).abs().flatten(1).amax(1) < 1e-5
    assert (mirrored ^ plain).all()
    assert 430 < int(mirrored.sum()) < 570


def at(image, y, x):
    """Bilinear, pixels beyond the edge as those on it; the middle of pixel 0 is at 0.5."""
    side = image.shape[-1]
    y, x = (min(max(value - 0.5, 0), side - 1) for value in (y, x))
    y0, x0 = int(y), int(x)
    y1, x1 = min(y0 + 1, side - 1), min(x0 + 1, side - 1)
    above = image[:, y0, x0] * (1 - x + x0) + image[:, y0, x1] * (x - x0)
    below = image[:, y1, x0] * (1 - x + x0) + image[:, y1, x1] * (x - x0)
    return above * (1 - y + y0) + below * (y - y0)


def test_a_crop_is_a_window_of_the_image_pixel_by_pixel(only):
    only(SHARE=room.SHARE, STRETCH=room.STRETCH)
    side = 8
    # Two ramps tell where in the image each pixel of a view comes from.
    ramp = (torch.arange(side) * 32).to(torch.uint8)
    places = torch.stack([ramp.expand(side, side).T, ramp.expand(side, side)]).expand(400, 2, side, side).clone()
    views = distorted(places).double().numpy() * 255 / 32 + 0.5
    x = images(400, 2, side)
    found = distorted(x).double().numpy()
    windows = []
    for view, image, result in zip(views, x.double().numpy() / 255, found, strict=True):
        # In the middle of a ramp the slope is the scale; at the edges it is cut.
        step_y, step_x = (view[0, 4, 0] - view[0, 3, 0]), (view[1, 0, 4] - view[1, 0, 3])
        top, left = view[0, 4, 0] - 4.5 * step_y, view[1, 0, 4] - 4.5 * step_x
        windows.append((step_y, step_x, top, left))
        for i, j in ((0, 0), (3, 5), (7, 2)):
            wanted = at(image, top + (i + 0.5) * step_y, left + (j + 0.5) * step_x)
            np.testing.assert_allclose(result[:, i, j], wanted, atol=1e-4)
    step_y, step_x, top, left = np.array(windows).T
    assert min(top.min(), left.min()) > -1e-4
    assert max((top + side * step_y).max(), (left + side * step_x).max()) < side + 1e-4
    assert 0.08 - 1e-3 < (step_y * step_x).min() < 0.12
    assert 0.8 < (step_y * step_x).max() <= 1 + 1e-3
    small = (step_y < 0.8) & (step_x < 0.8)
    stretch = np.log(step_x / step_y)[small]
    assert abs(stretch).max() < math.log(4 / 3) + 1e-3
    assert stretch.min() < -0.2 < 0.2 < stretch.max()
    assert top[small].std() > 0.5


def test_a_turn_of_the_hue_agrees_with_colorsys():
    x = torch.rand(5, 3, 2, 2, generator=generator("colours"))
    x[0, :, 0, 0] = torch.tensor([0.5, 0.5, 0.5])
    x[0, :, 0, 1] = 0.0
    turn = torch.tensor([-0.1, 0.0, 0.05, 0.1, 0.7]).view(5, 1, 1, 1)
    found = room.turned(x, turn)
    for i in range(5):
        for y in range(2):
            for z in range(2):
                hue, saturation, value = colorsys.rgb_to_hsv(*x[i, :, y, z].tolist())
                wanted = colorsys.hsv_to_rgb((hue + float(turn[i])) % 1, saturation, value)
                np.testing.assert_allclose(found[i, :, y, z].numpy(), wanted, atol=1e-5)


def test_grey_is_the_lightness_and_takes_one_in_five(only):
    only(GREY=room.GREY)
    x = images(2000)
    found = distorted(x)
    colourless = found.amax(1).sub(found.amin(1)).flatten(1).amax(1) < 1e-6
    assert 330 < int(colourless.sum()) < 470
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    lightness = (x / 255 * weights).sum(1)
    assert close(found[colourless][:, 0], lightness[colourless])
    assert close(found[~colourless], x[~colourless] / 255)


def test_four_in_five_are_jittered(only):
    only(JITTERED=room.JITTERED, BRIGHTNESS=0.4)
    changed = (distorted(images(2000)) - images(2000) / 255).abs().flatten(1).amax(1) > 1e-4
    assert 1530 < int(changed.sum()) < 1670


def factors(found, x):
    """By how much each image was multiplied, least squares."""
    return (found * x).flatten(1).sum(1) / (x * x).flatten(1).sum(1)


def test_brightness_multiplies_and_ends_at_white(only):
    only(JITTERED=1.1, BRIGHTNESS=room.BRIGHTNESS)
    dark = images(500) // 2
    factor = factors(distorted(dark), dark / 255)
    assert close(distorted(dark), dark / 255 * factor.view(-1, 1, 1, 1), 1e-4)
    assert 0.6 <= float(factor.min()) < 0.62
    assert 1.38 < float(factor.max()) <= 1.4
    assert float(distorted(torch.full((50, 1, 2, 2), 255, dtype=torch.uint8)).max()) == 1


@pytest.mark.parametrize("channels", [1, 3])
def test_contrast_moves_away_from_the_mean_lightness(only, channels):
    only(JITTERED=1.1, CONTRAST=room.CONTRAST)
    x = images(500, channels) // 2 + 64
    weights = torch.tensor([0.299, 0.587, 0.114] if channels == 3 else [1.0]).view(-1, 1, 1)
    mean = (x / 255 * weights).sum(1).mean((1, 2)).view(-1, 1, 1, 1)
    away = x / 255 - mean
    factor = factors(distorted(x) - mean, away)
    assert close(distorted(x) - mean, away * factor.view(-1, 1, 1, 1), 1e-4)
    assert 0.6 <= float(factor.min()) < 0.62
    assert 1.38 < float(factor.max()) <= 1.4


def test_saturation_moves_away_from_grey(only):
    only(JITTERED=1.1, SATURATION=room.SATURATION)
    x = images(500) // 4 + 96
    lightness = room.grey(x / 255)
    away = x / 255 - lightness
    factor = factors(distorted(x) - lightness, away)
    assert close(distorted(x) - lightness, away * factor.view(-1, 1, 1, 1), 1e-4)
    assert 0.6 <= float(factor.min()) < 0.62
    assert 1.38 < float(factor.max()) <= 1.4


def test_what_is_brighter_than_white_is_white_before_its_contrast_changes(only):
    only(JITTERED=1.1, BRIGHTNESS=0.4, CONTRAST=0.4)
    halves = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 1, 2).expand(500, 1, 2, 2)
    found = distorted(halves.contiguous())
    assert float((found.amax((1, 2, 3)) + found.amin((1, 2, 3))).max()) <= 1 + 1e-6


def test_a_hue_moves_by_up_to_a_tenth_of_the_circle(only):
    only(JITTERED=1.1, HUE=room.HUE)
    green = torch.tensor([0, 255, 0], dtype=torch.uint8).view(1, 3, 1, 1).expand(500, 3, 2, 2).contiguous()
    turns = [colorsys.rgb_to_hsv(*pixel.tolist())[0] - 1 / 3 for pixel in distorted(green)[:, :, 0, 0]]
    assert -0.1 - 1e-6 <= min(turns) < -0.095
    assert 0.095 < max(turns) <= 0.1 + 1e-6


def test_images_without_colour_are_jittered_in_brightness_and_contrast_alone(only):
    only(JITTERED=1.1, SATURATION=0.4, HUE=0.1, GREY=1.1)
    for channels in (1, 2, 4):
        assert close(distorted(images(channels=channels)), images(channels=channels) / 255)

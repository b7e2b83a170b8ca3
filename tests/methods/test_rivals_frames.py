"""Frames as small images: resizing and random variants against brute force, and drawn from torch's own generator."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small import media_batch, small_encoders

from hcep.methods import frames as module
from hcep.methods.frames import (
    absent_images,
    cut_out,
    frames_of,
    pool_operation,
    shift_and_flip,
    small_images,
    strong_variants,
    uniform,
    zoom_and_flip,
)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_resizing_weighs_the_neighbours_that_antialiasing_asks_for():
    # halving with a triangle filter: an output pixel takes 1/8, 3/8, 3/8, 1/8 of the four pixels around its centre
    frames = torch.zeros(1, 1, 64, 64, 3, dtype=torch.uint8)
    frames[..., 20, :] = 80
    column = small_images(frames, 32)[0, 0, 5]
    assert column[8:12].tolist() == [0, 10, 30, 0]
    assert torch.equal(small_images(frames, 64)[0, 2], frames[0, 0, :, :, 2])


def test_frames_stay_in_order_and_absent_clips_are_marked():
    batch = media_batch(small_encoders())
    images = small_images(frames_of(batch), 32)
    assert images.shape == (15, 3, 32, 32) and torch.equal(images[4].permute(1, 2, 0), batch.frames[1, 1])
    assert absent_images(batch).flatten().tolist() == [False] * 6 + [True] * 3 + [False] * 6
    with pytest.raises(ValueError, match="not media"):
        frames_of(batch._replace(frames=None))


@pytest.mark.parametrize("reflect", [False, True])
def test_a_shift_is_a_crop_from_the_padded_image(reflect):
    images = torch.randint(0, 256, (20, 3, 9, 9), dtype=torch.uint8)
    torch.manual_seed(1)
    moved = shift_and_flip(images, 3, reflect=reflect)
    torch.manual_seed(1)
    shift = torch.randint(-3, 4, (2, 20, 1))
    mirrored = torch.rand(20, 1) < 0.5
    assert mirrored.any() and not mirrored.all()
    for i in range(20):
        padded = np.pad(images[i].numpy(), ((0, 0), (3, 3), (3, 3)), mode="reflect" if reflect else "constant")
        top, left = int(shift[0, i]) + 3, int(shift[1, i]) + 3
        crop = padded[:, top : top + 9, left : left + 9]
        assert np.array_equal(moved[i].numpy(), crop[:, :, ::-1] if mirrored[i] else crop)


def test_a_zoom_of_the_whole_image_only_mirrors():
    clips = torch.rand(12, 2, 3, 8, 8)
    same = zoom_and_flip(clips, torch.ones(12), torch.ones(12))
    kinds = set()
    for before, after in zip(clips, same, strict=True):
        mirrored = not torch.allclose(before, after, atol=1e-5)
        torch.testing.assert_close(after, before.flip(-1) if mirrored else before, atol=1e-5, rtol=0)
        kinds.add(mirrored)
    assert kinds == {True, False}


def test_a_zoom_shows_a_box_of_the_size_asked_for_alike_in_all_frames():
    # on a ramp the slope is the share that is shown, and the value says where the box lies
    ramp = torch.arange(64.0).expand(30, 2, 3, 64, 64)
    width = torch.linspace(0.3, 0.9, 30)
    zoomed = zoom_and_flip(ramp.clone(), torch.full((30,), 0.5), width)
    assert torch.equal(zoomed[:, 0], zoomed[:, 1])
    row = zoomed[:, 0, 0, 32]
    slope = row[:, 40] - row[:, 39]
    torch.testing.assert_close(slope.abs(), width, atol=1e-3, rtol=0)
    assert (slope > 0).any() and (slope < 0).any()
    centre = (row[:, 31] + row[:, 32]) / 2 + 0.5
    assert (centre >= 32 * width - 0.1).all() and (centre <= 64 - 32 * width + 0.1).all()
    assert centre.std() > 3


def test_a_square_is_grey_and_the_rest_untouched():
    images = torch.zeros(200, 3, 32, 32, dtype=torch.uint8)
    cut = cut_out(images, 16)
    grey = cut == 127
    assert torch.equal(cut, grey * 127) and (grey[:, 0] == grey[:, 2]).all()
    sides = grey[:, 0].any(dim=2).sum(dim=1)
    # starts at 0 ... 23, a quarter of them at 0; cut off only at the far edge
    assert sides.max() == 16 and sides.min() >= 8
    assert float(grey[:, 0, 0].any(dim=1).float().mean()) == pytest.approx(0.25, abs=0.1)


@pytest.mark.parametrize(
    ("name", "magnitude", "before", "after"),
    [
        ("brightness", 5, 100, 100),  # factor 1.0
        ("brightness", 1, 100, 28),
        ("identity", 9, 77, 77),
        ("posterise", 1, 255, 240),  # 4 bits
        ("posterise", 5, 255, 252),  # 6 bits
        ("solarise", 5, 127, 127),  # threshold 128
        ("solarise", 5, 128, 127),
        ("solarise", 9, 26, 229),  # threshold 26
        ("sharpness", 9, 60, 60),  # nothing to sharpen
    ],
)
def test_operations_on_a_plain_image(name, magnitude, before, after):
    image = torch.full((3, 8, 8), before, dtype=torch.uint8)
    assert pool_operation(image, name, magnitude, negative=False).unique().tolist() == [after]


def test_colour_moves_towards_grey_by_the_share():
    image = torch.zeros(3, 2, 2, dtype=torch.uint8)
    image[0] = 200
    faded = pool_operation(image, "colour", 5, negative=False)  # half the colour, half of grey 0.299 * 200
    assert faded[:, 0, 0].tolist() == pytest.approx([130, 30, 30], abs=1)


def test_shears_move_rows_in_proportion_to_their_place_and_the_sign_turns_them():
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    image[:, :, 16] = 255
    found = {}
    for negative in (False, True):
        sheared = pool_operation(image, "shear_x", 5, negative=negative)  # 0.15 pixels a row
        found[negative] = [int(sheared[0, row].argmax()) - 16 for row in (0, 20)]
    assert found[False][0] == found[True][0] == 0
    assert abs(found[False][1]) == 3 and found[True][1] == -found[False][1]
    turned = pool_operation(image.transpose(1, 2), "shear_y", 5, negative=False)
    assert abs(int(turned[0, :, 20].argmax()) - 16) == 3


def test_rotations_go_both_ways_and_stay_within_15_degrees():
    image = torch.zeros(3, 33, 33, dtype=torch.uint8)
    image[:, :16, 16] = 255
    ends = [int(pool_operation(image, "rotate", 9, negative=sign)[0, 2].argmax()) - 16 for sign in (False, True)]
    assert ends[0] == -ends[1] and abs(ends[0]) in (3, 4)  # 14 tan 13.5 degrees = 3.4


def test_equalising_spreads_the_histogram():
    image = torch.arange(100, 164, dtype=torch.uint8).repeat(16).view(1, 32, 32).expand(3, 32, 32)
    spread = pool_operation(image, "equalise", 1, negative=False)
    assert spread.min() < 5 and spread.max() > 250


def test_variants_follow_torchs_generator_and_use_the_whole_pool(monkeypatch):
    images = torch.randint(0, 256, (150, 3, 32, 32), dtype=torch.uint8)
    used = []
    real = module.pool_operation

    def spy(image, name, magnitude, *, negative):
        used.append((name, magnitude))
        return real(image, name, magnitude, negative=negative)

    monkeypatch.setattr(module, "pool_operation", spy)
    state = torch.get_rng_state()
    one = strong_variants(images)
    torch.set_rng_state(state)
    assert torch.equal(one, strong_variants(images)) and not torch.equal(one, strong_variants(images))
    assert {name for name, _ in used} == set(module.POOL) and {size for _, size in used} == set(range(1, 10))
    # two slots, each taken half the time, three passes
    assert len(used) / 450 == pytest.approx(1, abs=0.15)


def test_uniform_numbers_fill_their_range():
    values = uniform(5000, 0.1, 2.0, torch.device("cpu"))
    assert 0.1 <= values.min() < 0.11 and 1.99 < values.max() < 2.0 and values.mean() == pytest.approx(1.05, abs=0.03)

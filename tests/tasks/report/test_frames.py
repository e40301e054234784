"""Frames and contours of the report: the outline of a label, the planes that are shown, the size of a film."""

import numpy as np
import pytest
from report_cohort import FRAMES, phantom

from cmr_models.contracts import AORTA_ASCENDING, LV, MYOCARDIUM, RA, RV, cine_study, prediction
from tasks.report.frames import SPRITE_BYTES, _levels, chain_codes, encode_plane, planes_to_show

STEPS = {"0": (1, 1), "1": (2, 0), "2": (1, -1), "3": (0, -2), "4": (-1, -1), "5": (-2, 0), "6": (-1, 1), "7": (0, 2)}


def enclosed_area(chain: str) -> float:
    """Shoelace area of one chain, in pixels."""
    x, y, steps = chain.split(":")
    points = np.cumsum([(int(x), int(y)), *(STEPS[step] for step in steps)], axis=0) / 2
    assert np.array_equal(points[0], points[-1]), "a border is closed"
    dx, dy = points[:-1].T
    ex, ey = points[1:].T
    return abs(float((dx * ey - ex * dy).sum())) / 2


def test_a_single_pixel_has_a_diamond_of_half_a_pixel_as_border():
    mask = np.zeros((1, 5, 7), bool)
    mask[0, 2, 3] = True
    (chain,) = chain_codes(mask)[0]
    assert enclosed_area(chain) == 0.5


def test_the_border_of_a_rectangle_lies_half_a_pixel_outside_its_outermost_pixel_centres():
    mask = np.zeros((1, 20, 20), bool)
    mask[0, 4:10, 5:15] = True
    (chain,) = chain_codes(mask)[0]
    assert enclosed_area(chain) == 6 * 10 - 4 * 0.125  # the four corners are cut


def test_borders_stay_with_their_frame_even_at_the_edge_of_the_image():
    masks = np.zeros((3, 4, 6), bool)
    masks[0, 3, :] = True
    masks[2, 0, :] = True
    chains = chain_codes(masks)
    assert [len(found) for found in chains] == [1, 0, 1]
    assert enclosed_area(chains[0][0]) == enclosed_area(chains[2][0]) == 6 - 4 * 0.125


def test_the_planes_shown_run_from_base_to_apex_and_end_with_the_four_chamber_view():
    study, labels = phantom(np.random.default_rng(0))
    flipped = {name: label[:, ::-1] for name, label in labels.items()}
    for named in (labels, flipped):
        planes = planes_to_show(study, prediction(named))
        assert [plane.name for plane in planes] == ["sax_basal", "sax_mid", "sax_apical", "lax_4c"]
        areas = [int((plane.label == LV).sum()) for plane in planes[:3]]
        assert areas == sorted(areas, reverse=True)


def test_every_long_axis_view_is_shown_with_the_structures_drawn_in_it():
    study, labels = phantom(np.random.default_rng(0))
    four = study["lax_4c"].to_dataset()
    three = np.where(labels["lax_4c"] == RA, AORTA_ASCENDING, labels["lax_4c"]).astype(np.uint8)
    views = {"sax": study["sax"].to_dataset(), "lax_4c": four, "lax_2c": four, "lax_3c": four}
    planes = planes_to_show(cine_study(views, key="another"), prediction({**labels, "lax_3c": three}))
    assert [plane.name for plane in planes[3:]] == ["lax_4c", "lax_2c", "lax_3c"]
    shown = [set(encode_plane(plane)["outlines"]) for plane in planes[3:]]
    assert shown == [{"rv", "epi", "endo", "la", "ra"}, set(), {"rv", "epi", "endo", "la", "aorta"}]


def test_the_base_of_a_dilated_heart_is_not_where_the_pool_is_larger():
    """Areas of a network's labels of Sunnybrook SCD0000101, of which the report called the apex basal."""
    lv = [320, 716, 1176, 1359, 1436, 1496, 1443, 1326, 1051, 823, 423, 0]
    rv = [1706, 1899, 854, 1189, 943, 671, 476, 230, 130, 225, 0, 0]
    label = np.zeros((1, 12, 60, 80), np.uint8)
    for k in range(12):
        label[0, k].reshape(-1)[: lv[k] + rv[k]] = np.repeat((LV, RV), (lv[k], rv[k]))
    assert _levels(label) == {"basal": 2, "mid": 5, "apical": 8}
    assert _levels(label[:, ::-1]) == {"basal": 9, "mid": 6, "apical": 3}


def test_the_epicardium_encloses_the_pool_and_the_myocardium():
    study, labels = phantom(np.random.default_rng(0))
    plane = planes_to_show(study, prediction(labels))[1]
    encoded = encode_plane(plane)
    wanted = np.isin(plane.label[0], (LV, MYOCARDIUM)).sum()
    found = sum(enclosed_area(chain) for chain in encoded["outlines"]["epi"][0])
    assert found == pytest.approx(wanted, rel=0.05)
    assert len(encoded["outlines"]["epi"]) == FRAMES


def test_a_noisy_sprite_stays_within_its_size():
    rng = np.random.default_rng(0)
    study, _ = phantom(rng)
    plane = planes_to_show(study, None)[0]
    noise = rng.integers(0, 4000, (50, 128, 128)).astype(np.uint16)
    wide = type(plane)("noise", "Noise", noise, np.zeros(noise.shape, np.uint8), np.ones(50, bool), (1.4, 1.4))
    image = encode_plane(wide)["image"]
    assert image.startswith("data:image/webp;base64,")
    assert len(image) * 3 / 4 < 3 * SPRITE_BYTES

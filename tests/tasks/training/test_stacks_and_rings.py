"""Pools with neighbours, simulated or drawn, and what two drawn borders say about each pixel."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imsave

from cmr_models.training.partial_labels import ring_possible
from tasks.training.recipes import read_recipe
from tasks.training.segmentation_data import real_pool, simulated_pool
from tasks.training.segmentation_settings import TrainingSettings

_UNKNOWN = 0b0011  # background or RV


def test_two_borders_give_pool_and_muscle_and_leave_the_right_ventricle_open() -> None:
    lv, epicardium = np.zeros((5, 16), bool), np.zeros((5, 16), bool)
    lv[2, 2], epicardium[1:4, 1:4] = True, True
    possible = ring_possible(lv, epicardium, pixel_mm=10.0)
    assert possible[2].tolist() == [_UNKNOWN, 0b0100, 0b1000, 0b0100, *[_UNKNOWN] * 9, 1, 1, 1]  # from 100 mm on
    assert ring_possible(lv & False, lv & False, 10.0).tolist() == np.full((5, 16), 0b0111).tolist()


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """Three slices of one phase and one of another; the second slice has an outer border."""
    for kind in ("images", "labels", "epicardium"):
        (tmp_path / kind).mkdir()
    for number in (48, 68, 88, 59):
        lv = np.zeros((64, 64))
        lv[28:36, 28:36] = 1
        for kind in ("images", "labels"):
            imsave(tmp_path / kind / f"A-IM-0001-{number:04d}.png", lv, cmap="gray", vmin=0, vmax=1)
    outer = np.zeros((64, 64))
    outer[24:40, 24:40] = 1
    imsave(tmp_path / "epicardium" / "A-IM-0001-0068.png", outer, cmap="gray", vmin=0, vmax=1)
    return tmp_path


def test_neighbours_of_drawn_images_are_the_same_phase_one_slice_on(drawn: Path) -> None:
    assert real_pool(drawn, 1.3).neighbours is None
    pool = real_pool(drawn, 1.3, n_phases=20)  # in the order 48, 59, 68, 88
    assert pool.neighbours is not None
    assert pool.neighbours.tolist() == [[0, 2], [1, 1], [0, 3], [2, 3]]


def test_an_outer_border_names_the_muscle_where_it_is_drawn(drawn: Path) -> None:
    possible = real_pool(drawn, 1.3).possible
    assert (possible[2] == 0b0100).sum() == 16 * 16 - 8 * 8
    assert possible[2][32, 20] == _UNKNOWN
    assert possible[0][32, 20] == 0b0111
    assert not (possible[0] == 0b0100).any()


def test_simulated_stacks_know_their_neighbours_and_one_centre(tmp_path: Path) -> None:
    pool = simulated_pool(tmp_path, "sax", 12, seed=1, n_slices=10)
    assert [file.name for file in tmp_path.iterdir()] == ["sax10_1_0000.npz"]
    assert pool.neighbours is not None
    ends = [[0, 1], *([k - 1, k + 1] for k in range(1, 9)), [8, 9]]
    assert pool.neighbours.tolist() == [*ends, [10, 11], [10, 11]]
    assert (pool.heart_px[:10] == pool.heart_px[0]).all()
    assert not np.array_equal(pool.heart_px[10], pool.heart_px[0])


def test_stacks_that_do_not_fill_a_file_are_refused() -> None:
    with pytest.raises(ValueError, match="must divide 50, got 7"):
        TrainingSettings(simulated_slices=7)
    with pytest.raises(ValueError, match="short-axis stacks"):
        TrainingSettings(task="segment_lax_4c", simulated_slices=5)


def test_the_recipe_of_the_embedded_network_looks_at_three_slices_and_carries_no_other_licence() -> None:
    path = Path(__file__).parents[3] / "infra" / "training" / "segment_sax_default.toml"
    settings = read_recipe(path, TrainingSettings, start_from="begun")
    assert (settings.channels, settings.simulated_slices, settings.real_phases) == (3, 5, 20)
    assert (settings.drawn, settings.drawn_licence) == ("", "")
    assert replace(settings, real="anywhere").real_excluded == ("SC-N-06",)

"""What of the wall a measurement of flow may rest on."""

import numpy as np
import pandas as pd

from cmr_models.perfusion.wall import inner_wall, mask_flow_at_bound


def _tables(medians: list[float]) -> dict[str, pd.DataFrame]:
    flow = pd.DataFrame(dict.fromkeys(("mean", "median", "sd", "min", "max"), medians) | {"pixels": 9})
    return {"mbf_ml_min_g": flow, "ps_ml_min_g": flow / 8}


def test_a_segment_at_the_highest_flow_is_missing_in_every_table() -> None:
    tables = _tables([1.0, 8.0, 7.9])
    assert mask_flow_at_bound(tables)
    for table in tables.values():
        assert table["median"].isna().tolist() == [False, True, False]
    assert tables["mbf_ml_min_g"]["pixels"].tolist() == [9, 9, 9]


def test_other_segments_stay_as_they_are() -> None:
    tables = _tables([1.0, np.nan, 7.9])
    assert not mask_flow_at_bound(tables)
    assert tables["mbf_ml_min_g"]["median"].tolist()[::2] == [1.0, 7.9]


def test_the_innermost_wall_is_as_deep_as_leaves_enough_of_it() -> None:
    thick, thin = np.zeros((40, 40), bool), np.zeros((40, 40), bool)
    thick[5:35, 5:20] = True
    thin[5:35, 5:7] = True
    assert inner_wall(thick).sum() == 26 * 11
    assert np.array_equal(inner_wall(thin), thin)

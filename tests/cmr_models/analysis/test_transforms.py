"""How a phenotype enters a model, by hand: ranks with ties, tails, logs, and missing values that stay missing."""

import numpy as np
import pandas as pd
import pytest

from cmr_models.analysis.transforms import transform

VALUES = pd.Series([7.0, np.nan, 1.0, 7.0, 20.0], index=[3, 1, 4, 0, 9], name="lvm_g")


def test_ranks_become_normal_scores_with_bloms_offset() -> None:
    found = transform(VALUES, "inverse_normal")
    # Ranks 1, 2.5, 2.5, 4 of four: (rank - 3/8) / (4 + 1/4) = 0.147059, 0.5, 0.852941; tables of the normal: -1.0491.
    np.testing.assert_allclose(found, [0, np.nan, -1.049131, 0, 1.049131], atol=1e-6)
    assert found.index.tolist() == [3, 1, 4, 0, 9]
    assert found.name == "lvm_g"


def test_winsorising_moves_the_ends_to_the_half_percent_points() -> None:
    values = pd.Series([*range(1, 402), np.nan][::-1], name="x", dtype=float)
    found = transform(values, "winsorise")
    # 0.5 % of 400 steps lie between 1 and 3, 99.5 % between 1 and 399.
    assert (found.min(), found.max()) == (3.0, 399.0)
    assert np.isnan(found.iloc[0])
    middle = (values >= 3) & (values <= 399)
    assert found[middle].tolist() == values[middle].tolist()


def test_logs_are_natural_and_refuse_what_has_none() -> None:
    np.testing.assert_allclose(transform(VALUES, "log"), np.log([7, np.nan, 1, 7, 20]))
    with pytest.raises(ValueError, match="lvm_g: 2 values are 0 or less"):
        transform(VALUES.replace({1.0: 0.0, 20.0: -1.0}), "log")


def test_nothing_is_done_to_numbers_as_they_are_and_other_words_are_refused() -> None:
    assert transform(VALUES.fillna(2).astype(int), "none").tolist() == [7.0, 2.0, 1.0, 7.0, 20.0]
    with pytest.raises(ValueError, match="unknown transform 'rank'"):
        transform(VALUES, "rank")

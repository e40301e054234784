"""What is derived from a table of people before values are grouped by it."""

import math

import numpy as np
import pandas as pd

from tasks.evaluation.references import _add_derived


def test_age_bands_and_body_mass_are_derived_where_their_columns_are() -> None:
    table = pd.DataFrame(
        {"age_years": ["54.9", "55", "x"], "height_cm": ["180", "0", "170"], "weight_kg": [81, 70, None]}
    )
    found = _add_derived(table)
    assert found["bmi_kg_m2"].tolist()[0] == 25.0
    assert np.isnan(found["bmi_kg_m2"].tolist()[1:]).all()  # a height of nought, and no weight
    assert found["age_band"].tolist()[2] == "unknown"
    assert found["age_band"].nunique() > 1
    assert list(table) == ["age_years", "height_cm", "weight_kg"]
    own = _add_derived(table.assign(bmi_kg_m2=[1.0, 2, 3]))
    assert own["bmi_kg_m2"].tolist() == [1, 2, 3]
    assert list(_add_derived(table[["height_cm"]])) == ["height_cm"]
    both = _add_derived(table[["height_cm", "weight_kg"]])
    assert not math.isnan(both["bmi_kg_m2"].iloc[0])

"""A kept table shows what has changed."""

import pandas as pd
import pytest
from golden_tables import differences

KEPT = pd.DataFrame({"study": ["a", "b", "c"], "ef_pct": ["57.1", "", "60"], "reason": ["", "zip_corrupt", ""]})


def _found(**cells: object) -> list[str]:
    return differences(KEPT, KEPT.assign(**cells), ["study"], {"": 0.01, "_pct": 0.5})


def test_nothing_is_said_of_equal_tables_and_of_numbers_within_the_tolerance() -> None:
    assert _found() == []
    assert _found(ef_pct=["57.6", "", "59.5"]) == []


@pytest.mark.parametrize(
    ("cells", "line"),
    [
        ({"ef_pct": ["56.5", "", "60"]}, "ef_pct of a: 57.1 -> 56.5"),
        ({"ef_pct": ["57.1", "50", "60"]}, "ef_pct of b: empty -> 50"),
        ({"ef_pct": ["57.1", "", ""]}, "ef_pct of c: 60 -> empty"),
        ({"reason": ["", "", ""]}, "reason of b: zip_corrupt -> empty"),
        ({"new": 1}, "column new is new"),
        ({"study": ["a", "b", "d"]}, "row c is gone"),
    ],
)
def test_a_change_is_one_line_with_column_row_old_and_new(cells: dict[str, object], line: str) -> None:
    assert line in _found(**cells)


def test_without_a_tolerance_of_its_own_a_column_may_differ_by_a_share() -> None:
    kept, found = (pd.DataFrame({"study": ["a"], "n_total": [value]}) for value in ("200", "202"))
    assert differences(kept, found, ["study"], {"": 0.01}) == []
    assert differences(kept, found, ["study"], {"": 0.009}) == ["n_total of a: 200 -> 202"]

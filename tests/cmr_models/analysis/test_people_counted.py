"""Of whom publications are: what is stated of populations that hold one another, and which differ by few, by hand."""

import numpy as np
import pandas as pd
import pytest

from cmr_models.analysis.disclosure.audit import audit
from cmr_models.analysis.disclosure.claims import claims_of, part_of, together
from cmr_models.analysis.disclosure.people_counted import counted_of, differ_by_few, nested_claims

STUDIES = [f"s{k}-2" for k in range(200)]


def _said(evaluated: float, in_tables: float, base: float = 0.0) -> pd.DataFrame:
    """Two published numbers of the people with an ejection fraction; with ``base``, within so much."""
    numbers = {"evaluated": evaluated, "mean": in_tables}
    return claims_of(
        {"exposure": "lvef_pct", "population": name, "low": n - base, "high": n + base} for name, n in numbers.items()
    )


def _counted(evaluated: slice, in_tables: slice) -> dict[tuple[str, str], frozenset[str]]:
    return {
        ("evaluated", "lvef_pct"): frozenset(STUDIES[evaluated]),
        ("mean", "lvef_pct"): frozenset(STUDIES[in_tables]),
    }


@pytest.mark.parametrize(
    ("evaluated", "base", "told"),
    [(slice(0, 199), 0, [(1, 1, True)]), (slice(0, 199), 2, [(0, 5, False)]), (slice(0, 195), 0, [])],
)
def test_all_but_one_who_are_among_all_tell_that_one(
    evaluated: slice, base: float, told: list[tuple[float, float, bool]]
) -> None:
    """200 less 199 is one; 198 to 202 less 197 to 201 is none to five; 200 less 195 is not small."""
    claims = _said(len(STUDIES[evaluated]), 200, base)
    nested = nested_claims(claims, _counted(evaluated, slice(0, 200)))
    found = audit({}, 5, figures=together(claims, nested))
    rest = found[found["population"].str.contains("beyond")]
    assert [(low, min(high, 5), known) for low, high, known in rest[["low", "high", "determined"]].to_numpy()
            if low < 5] == told  # fmt: skip
    assert not audit({}, 5, figures=claims)["determined"].any()  # who does not know who is among whom


def test_nothing_is_stated_of_populations_that_only_overlap_or_whose_nesting_always_holds() -> None:
    claims = _said(150, 150)
    assert nested_claims(claims, _counted(slice(0, 150), slice(50, 200))).empty
    both = claims.assign(population=["mean", "described"])
    counted = {("mean", "lvef_pct"): frozenset(STUDIES[:150]), ("described", "lvef_pct"): frozenset(STUDIES)}
    assert nested_claims(both, counted).empty  # a row of CONTAINED


@pytest.mark.parametrize(
    ("own", "other", "few"),
    [
        (slice(0, 200), slice(0, 200), False),
        (slice(0, 200), slice(0, 196), True),  # four
        (slice(0, 200), slice(0, 190), False),  # ten, five of each sex
        (slice(0, 200), slice(0, 193), True),  # seven, of whom three are men
        (slice(0, 100), slice(100, 200), False),  # nobody is in both
        (slice(0, 150), slice(3, 200), True),  # three are in the first alone
    ],
)
def test_two_populations_differ_by_few(own: slice, other: slice, few: bool) -> None:
    sexes = pd.DataFrame({"sex": ["female", "male"] * 100}, index=STUDIES)
    counted = [{("x", "lvef_pct"): frozenset(STUDIES[part])} for part in (own, other)]
    assert differ_by_few(*counted, sexes, 5) == few
    of_another = {("x", "lvm_g"): frozenset(STUDIES[other])}
    assert not differ_by_few(counted[0], of_another, sexes, 5)


def test_studies_of_a_population_are_those_with_the_phenotype() -> None:
    table = pd.DataFrame({"lvef_pct": [True, False, True]}, index=["a-2", "b-2", "c-2"])
    assert counted_of(table, "mean") == {("mean", "lvef_pct"): frozenset({"a-2", "c-2"})}


def test_a_cell_is_its_part_and_a_rest() -> None:
    """Twelve are doubted; nine break one rule, so three are doubted for others alone; of fourteen two are others."""
    inner, outer = ("judged", "rule", "slices", "n_events"), ("doubted", "rule", "all", "n")
    rows = [
        {"population": "doubted", "group_by": "rule", "low": 12.0, "high": 12.0},
        {"population": "judged", "group_by": "rule", "group": "slices", "what": "n_events", "low": 9.0, "high": 9.0},
        {"population": "both", "group_by": "rule", "low": 14.0, "high": 14.0,
         "parts": (outer, ("other", "rule", "all", "n"))},
        {"population": "other", "group_by": "rule", "low": 0.0, "high": np.inf, "hidden": True},
    ]  # fmt: skip
    found = audit({}, 5, figures=claims_of([*rows, *part_of(inner, outer)]))
    told = {
        row["population"]: (row["low"], row["high"]) for row in found[found["determined"].eq(True)].to_dict("records")
    }
    assert told == {"doubted n beyond judged n_events, slices": (3, 3), "other": (2, 2)}

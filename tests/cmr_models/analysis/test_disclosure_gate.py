"""Everything leaves through one gate: no cell of one to four, no margin, no step, no difference gives one away."""

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cmr_models.analysis.disclosure.coarsening import coarsen_fractions, coarsen_ratios, lie_close, nice_step, to_step
from cmr_models.analysis.disclosure.gate import Gate, GateRules, differs_by_few, follows_closely
from cmr_models.estimates import wald, wald_concordance

pytestmark = pytest.mark.timeout(100)  # masking that never settles would hang

_SETTINGS = [(5, None), (10, 5), (7, 5)]


def _table(cells: dict[str, tuple[float, float]], group_by: str = "sex") -> pd.DataFrame:
    """An overall row, and one row a group with n and events."""
    total = tuple(sum(cell[k] for cell in cells.values()) for k in (0, 1))
    rows: list[dict[str, Any]] = [{"group_by": "overall", "group": "all", "n": total[0], "n_events": total[1]}]
    rows += [{"group_by": group_by, "group": name, "n": n, "n_events": k} for name, (n, k) in cells.items()]
    return pd.DataFrame(rows).assign(
        exposure="lvef_pct",
        outcome="death",
        model="cox_age",
        measure="hazard_ratio",
        estimate=1.2,
        status="ok",
        reason="",
    )


@pytest.mark.parametrize(("threshold", "base"), _SETTINGS)
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_no_cell_of_one_to_four_leaks_under_any_setting(threshold: int, base: int | None, count: int) -> None:
    gate = Gate(GateRules(threshold, base))
    for cells in ({"a": (900.0, 80.0), "b": (60.0, 20.0), "c": (float(count), 1.0)},
                  {"a": (900.0, 80.0), "b": (300.0, float(count))}):  # fmt: skip
        out = gate.table("t", _table(cells))
        shown = out[["n", "n_events"]].to_numpy(float)
        assert not ((shown > 0) & (shown < (base or threshold))).any()
        small = (_table(cells)["n_events"] < threshold).to_numpy()
        assert out.loc[small, ["n_events", "estimate"]].isna().all(axis=None)
        assert (out["status"] == "suppressed").sum() >= 2  # the only masked cell would be the total less the rest


@pytest.mark.parametrize(("threshold", "base"), [(10, 5), (7, 5)])
def test_counts_leave_as_multiples_of_the_base(threshold: int, base: int) -> None:
    out = Gate(GateRules(threshold, base)).table("t", _table({"a": (903.0, 81.0), "b": (302.0, 38.0)}))
    assert out[["n", "n_events"]].to_numpy().tolist() == [[1205, 120], [905, 80], [300, 40]]


def test_a_proportion_is_that_of_the_rounded_counts() -> None:
    table = _table({"a": (903.0, 81.0), "b": (302.0, 38.0)}).assign(
        measure="proportion", se=0.1, ci_low=0.0, ci_high=1.0
    )
    table["estimate"] = table["n_events"] / table["n"]
    out = Gate(GateRules(10, 5)).table("t", table)
    assert out["estimate"].tolist() == pytest.approx([120 / 1205, 80 / 905, 40 / 300])


_CELL = st.tuples(st.integers(0, 14), st.integers(0, 8))


@settings(max_examples=60)
@given(st.lists(_CELL, min_size=6, max_size=6), st.sampled_from(_SETTINGS))
def test_no_margin_of_an_intersection_gives_a_hidden_cell_back(
    cells: list[tuple[int, int]], rules: tuple[int, int | None]
) -> None:
    names = [f"{sex} x {band}" for sex, band in itertools.product("fm", ("a", "b", "c"))]
    truth = _table(
        {name: (float(n + k), float(k)) for name, (n, k) in zip(names, cells, strict=True)}, "sex x age_band"
    )
    out = Gate(GateRules(rules[0], None)).table("t", truth)
    for column in ("n", "n_events"):
        hidden = out[column].isna().to_numpy()
        small = ((truth[column] > 0) & (truth[column] < rules[0])).to_numpy()
        assert hidden[small].all()
        for part in ("f", "m", "a", "b", "c"):
            inside = np.array([part in str(group).split(" x ") for group in out["group"]])
            if (inside & small).any():
                rest_is_hidden = (inside & hidden).sum() >= 2
                assert rest_is_hidden or inside.sum() == 1


def test_a_changed_exclusion_that_moves_a_few_people_is_masked_and_reviewed() -> None:
    before = Gate(GateRules()).table("t", _table({"a": (900.0, 80.0), "b": (300.0, 40.0)}))
    gate = Gate(GateRules())
    after = gate.table("t", _table({"a": (897.0, 80.0), "b": (300.0, 40.0)}), earlier={"first": before})
    masked = after.set_index("group")["reason"]
    assert masked["a"] == "differencing"
    assert masked["all"] == "differencing"
    assert gate.entries[0]["status"] == "review"
    assert np.isnan(after.set_index("group").loc["a", "n"])


def test_events_and_people_without_are_differenced_too() -> None:
    before, after = _table({"a": (900.0, 80.0)}), _table({"a": (910.0, 88.0)})
    assert differs_by_few(after, before, 5).tolist() == [True, True]  # two more people without the event
    assert differs_by_few(_table({"a": (920.0, 90.0)}), before, 5).tolist() == [False, False]


def test_a_release_like_the_one_before_passes_unchanged() -> None:
    table = _table({"a": (900.0, 80.0), "b": (300.0, 40.0)})
    first = Gate(GateRules()).table("t", table)
    second = Gate(GateRules()).table("t", table, earlier={"first": first})
    pd.testing.assert_frame_equal(first, second)


@given(
    events=st.lists(st.integers(0, 6), min_size=2, max_size=12),
    rules=st.sampled_from(_SETTINGS),
)
def test_a_curve_never_steps_by_fewer_events_than_the_threshold(
    events: list[int], rules: tuple[int, int | None]
) -> None:
    cumulative = np.cumsum(events).astype(float)
    points = pd.DataFrame({"curve": "Q1", "years": np.arange(len(events)) / 2, "n_events": cumulative})
    points["n_at_risk"] = np.maximum(200 - cumulative - 20 * np.arange(len(events)), 0)
    out = Gate(GateRules(*rules)).curve("c", points.assign(n=200.0, estimate=0.9), ["curve"])
    shown = cumulative[(out["status"] == "ok").to_numpy()]
    for earlier, later in itertools.pairwise([0.0, *shown]):
        assert later == earlier or later - earlier >= rules[0]
    assert out.loc[out["status"] != "ok", ["estimate", "n_events"]].isna().all(axis=None)
    at_risk = out["n_at_risk"].dropna()
    assert (at_risk % (rules[1] or rules[0]) == 0).all()


def test_a_model_with_few_degrees_of_freedom_stays_inside() -> None:
    table = _table({"a": (60.0, 30.0), "b": (60.0, 20.0)}).assign(residual_df=[100, 100, 9])
    out = Gate(GateRules()).table("t", table)
    assert out["status"].tolist()[-1] == "suppressed"


def test_the_record_is_as_acro_writes_it() -> None:
    gate = Gate(GateRules(10, 5), "digest")
    gate.table("quiet", _table({"a": (900.0, 80.0), "b": (300.0, 40.0)}))
    gate.table("small", _table({"a": (900.0, 80.0), "b": (3.0, 1.0)}))
    gate.table("named", _table({"a": (900.0, 80.0), "b": (300.0, 40.0)}), sensitive=True)
    results = gate.acro("2026-01-01T00:00:00", {"small": "small.parquet"})["results"]
    assert [entry["status"] for entry in results.values()] == ["pass", "fail", "review"]
    needed = {"uid", "status", "type", "properties", "files", "outcome", "command", "summary", "timestamp"}
    needed |= {"comments", "exception"}
    assert all(set(entry) == needed for entry in results.values())
    small = results["output_1"]
    assert small["files"][0]["name"] == "small.parquet"
    assert small["files"][0]["sdc"]["summary"]["threshold"] == len(small["files"][0]["sdc"]["cells"]["threshold"]) == 2
    assert small["properties"]["reasons"] == {"secondary": 1, "small_cell": 1}


@pytest.mark.parametrize("rules", [(0, None), (5, 1)])
def test_rules_that_protect_nobody_are_refused(rules: tuple[int, int | None]) -> None:
    with pytest.raises(ValueError, match="threshold must be at least 1 and base at least 2"):
        GateRules(*rules)


def test_the_parts_of_a_decomposed_gap_are_compared_with_the_same_parts_of_an_earlier_release() -> None:
    rows = pd.concat([_table({"a": (900.0, 80.0)}).assign(component=name) for name in ("size", "total")])
    other = rows.assign(n=rows["n"] + 3 * (rows["component"] == "total"))
    assert differs_by_few(other, rows, 5).tolist() == [False, False, True, True]


# each rule at its bound


@pytest.mark.parametrize(
    ("change", "close"), [(0, False), (1, True), (4, True), (5, False), (-1, True), (-4, True), (-5, False)]
)
@pytest.mark.parametrize("column", ["n", "n_events", "rest"])
def test_a_difference_of_one_to_four_in_either_direction_is_few(change: int, close: bool, column: str) -> None:
    before = _table({"a": (900.0, 80.0), "b": (300.0, 40.0)})
    row = {"n": [900 + change, 80], "n_events": [900 + 100, 80 + change], "rest": [900 + 100 + change, 80 + 100]}[
        column
    ]
    after = _table({"a": (float(row[0]), float(row[1])), "b": (300.0, 40.0)})
    after = after[after["group"] != "all"].iloc[::-1]
    assert differs_by_few(after, before, 5).tolist() == [False, close]


def test_cells_that_were_not_there_or_were_hidden_differ_from_nothing() -> None:
    before = _table({"a": (900.0, 80.0), "b": (np.nan, 40.0)})
    after = _table({"a": (900.0, 80.0), "b": (300.0, 42.0), "c": (3.0, 1.0)})
    assert differs_by_few(after, before.iloc[1:], 5).tolist() == [False, False, True, False]
    with pytest.raises(ValueError, match="several rows for a cell"):
        differs_by_few(after, pd.concat([before, before]), 5)
    with pytest.raises(ValueError, match="cannot be matched"):
        differs_by_few(after[["n"]], before[["n"]], 5)
    single = pd.DataFrame({"group": ["x", "y"], "n": [50.0, 60]})
    assert differs_by_few(single, single.iloc[::-1].assign(n=[60.0, 48]), 5).tolist() == [True, False]


@pytest.mark.parametrize("order", [("same", "close"), ("close", "same")])
def test_what_differs_from_any_earlier_release_is_hidden_with_all_its_numbers(order: tuple[str, str]) -> None:
    table = _table({"a": (900.0, 80.0), "b": (300.0, 40.0)}).assign(z=2.0, predicted=0.1, loa_se=0.2, sd=0.3)
    close = table.assign(n=[1198, 898, 300])
    gate = Gate(GateRules())
    earlier = {"same": table, "close": close}
    out = gate.table("t", table, earlier={name: earlier[name] for name in order}).set_index("group")
    assert out["reason"].to_dict() == {"all": "differencing", "a": "differencing", "b": ""}
    assert out.loc["a", ["n", "n_events", "estimate", "z", "predicted", "loa_se", "sd"]].isna().all()
    assert out.loc["b", ["n", "n_events", "estimate", "z"]].tolist() == [300, 40, 1.2, 2]
    (entry,) = gate.entries
    assert entry["comments"] == ["2 cells differ from an earlier release by a small number"]
    assert (entry["status"], entry["summary"]) == ("review", "fail; differencing: 2 rows")
    assert entry["sdc"]["cells"]["threshold"] == [[0, 0], [1, 0]]


@pytest.mark.parametrize(("left", "status"), [(9, "suppressed"), (10, "ok")])
def test_a_model_keeps_ten_degrees_of_freedom_and_a_failed_row_its_reason(left: int, status: str) -> None:
    table = _table({"a": (60.0, 30.0), "b": (60.0, 20.0)}).assign(residual_df=[100, left, 3])
    table.loc[2, ["status", "reason"]] = ["failed", "collinear"]
    out = Gate(GateRules()).table("t", table)
    assert out["status"].tolist() == ["ok", status, "failed"]
    assert out["reason"].tolist() == ["", "small_cell" if status == "suppressed" else "", "collinear"]


def test_masking_again_changes_nothing_and_a_table_without_events_gets_none() -> None:
    gate = Gate(GateRules())
    table = _table({"a": (900.0, 80.0), "b": (300.0, 40.0), "c": (3.0, 1.0)})
    once = gate.mask(table)
    pd.testing.assert_frame_equal(gate.table("t", once), once)
    out = gate.table("flow", table.drop(columns="n_events"))
    assert "n_events" not in out
    assert out["n"].isna().tolist() == [False, False, True, True]
    assert [entry["uid"] for entry in gate.entries] == ["t", "flow"]
    assert gate.entries[1]["properties"]["rows"] == 4


def test_proportions_are_made_anew_only_where_they_are_shown() -> None:
    table = _table({"a": (903.0, 81.0), "b": (302.0, 300.0)}).assign(
        measure="proportion", se=0.5, ci_low=0.0, ci_high=1.0
    )
    table.loc[1:, "estimate"] = table["n_events"] / table["n"]
    table.loc[0, "measure"] = "hazard_ratio"
    out = Gate(GateRules(1, 5)).table("t", table).set_index("group")
    assert out.loc["all", ["estimate", "se"]].tolist() == [1.2, 0.5]
    share = 80 / 905
    assert out.loc["a", ["n", "n_events", "estimate"]].tolist() == pytest.approx([905, 80, share])
    assert out.loc["a", "se"] == pytest.approx(np.sqrt(share * (1 - share) / 905))
    z2 = 1.959964**2
    middle = (share + z2 / 1810) / (1 + z2 / 905)
    half = np.sqrt(z2 * (share * (1 - share) / 905 + z2 / (4 * 905**2))) / (1 + z2 / 905)
    assert out.loc["a", ["ci_low", "ci_high"]].tolist() == pytest.approx([middle - half, middle + half])
    assert out.loc["b", ["n", "n_events", "estimate"]].tolist() == [300, 300, 1.0]


def test_a_curve_hides_steps_within_itself_and_keeps_what_was_hidden() -> None:
    points = pd.DataFrame(
        {
            "curve": ["p", "q", "p", "q", "p", "q"], "years": [0.0, 0, 1, 1, 2, 2],
            "n_events": [0.0, 0, 4, 6, 9, np.nan],
            "n_at_risk": [50.0, 60, 43, 51, 37, np.nan], "n": [52.0, 63, 52, 63, 52, 63], "estimate": 0.9,
            "status": ["ok"] * 5 + ["suppressed"], "reason": [""] * 5 + ["secondary"],
        },
        index=[7, 3, 5, 1, 0, 2],
    )  # fmt: skip
    gate = Gate(GateRules(5))
    out = gate.curve("c", points, ["curve"])
    assert out["status"].tolist() == ["ok", "ok", "suppressed", "ok", "ok", "suppressed"]
    assert out["reason"].tolist() == ["", "", "small_cell", "", "", "secondary"]
    np.testing.assert_array_equal(out["n_at_risk"], [50, 60, np.nan, 50, 35, np.nan])
    np.testing.assert_array_equal(out["n_events"], [0, 0, np.nan, 6, 9, np.nan])
    np.testing.assert_array_equal(out["n"], [52, 63, np.nan, 63, 52, 63])
    rounded = Gate(GateRules(5, 10)).curve("c", points.drop(columns=["status", "reason"]).iloc[:5], ["curve"])
    np.testing.assert_array_equal(rounded["n"], [50, 60, np.nan, 60, 50])
    assert rounded["status"].tolist() == ["ok", "ok", "suppressed", "ok", "ok"]
    (entry,) = gate.entries
    assert (entry["type"], entry["properties"]["method"], entry["command"]) == (
        "survival plot", "survival plot", "Gate.curve('c')",
    )  # fmt: skip
    assert entry["properties"]["reasons"] == {"secondary": 1, "small_cell": 1}
    assert (entry["status"], entry["comments"], entry["exception"]) == ("fail", [], "Masked before release.")
    plain = Gate(GateRules(1))
    plain.curve("c", points.iloc[:5], ["curve"])
    assert (plain.entries[0]["status"], plain.entries[0]["summary"], plain.entries[0]["exception"]) == (
        "pass",
        "pass",
        "",
    )


def test_rules_are_allowed_at_their_bounds() -> None:
    assert GateRules(1, 2) == GateRules(threshold=1, base=2)
    assert GateRules() == GateRules(5, None)


def test_an_earlier_release_is_compared_cell_by_cell_in_whatever_order_and_number_it_has_them() -> None:
    table = _table({"a": (900.0, 80.0), "b": (300.0, 40.0), "c": (200.0, 30.0)})
    earlier = _table({"c": (200.0, 30.0), "b": (303.0, 40.0), "d": (50.0, 20.0), "a": (900.0, 80.0)})
    out = Gate(GateRules()).table("t", table, earlier={"first": earlier})
    assert out["reason"].tolist() == ["", "", "differencing", ""]
    assert out["n"].isna().tolist() == [False, False, True, False]


# which columns: of numbers, of identity, of what adds up

_NUMBERS = (
    "estimate",
    "se",
    "ci_low",
    "ci_high",
    "z",
    "minus_log10_p",
    "q",
    "predicted",
    "treat_all",
    "loa_low",
    "loa_high",
    "loa_se",
    "mean_absolute_error",
    "share",
    "n_failed",
    "null_q95",
    "equivalence_p",
    "value",
    "sd",
    "n_at_risk",
    "n_pairs",
)


@pytest.mark.parametrize("name", _NUMBERS)
def test_every_number_about_the_people_of_a_hidden_cell_goes_with_it(name: str) -> None:
    table = _table({"a": (900.0, 80.0), "b": (60.0, 3.0), "c": (90.0, 30.0)}).assign(**{name: 7.5})
    masked = Gate(GateRules()).mask(table)
    assert masked["status"].tolist() == ["ok", "ok", "suppressed", "suppressed"]
    assert masked[name].isna().tolist() == [False, False, True, True]
    differing = table.assign(n=[1047.0, 897, 60, 90], n_events=[113.0, 80, 3, 30])
    out = Gate(GateRules()).table("t", table, earlier={"before": differing})
    assert out["reason"].tolist()[:2] == ["differencing"] * 2
    assert out[name].isna().all()


@pytest.mark.parametrize("name", ["n", "n_events", "n_at_risk", "n_pairs"])
def test_every_count_is_rounded(name: str) -> None:
    table = _table({"a": (900.0, 80.0), "b": (300.0, 40.0)}).assign(**{name: [1203.0, 912, 308]})
    table = table.assign(n=table["n"] + 1000)
    out = Gate(GateRules(10, 5)).table("t", table)
    assert (out[name] % 5 == 0).all()
    assert out[name].tolist() == [5 * np.floor(n / 5 + 0.5) for n in table[name]]


@pytest.mark.parametrize(
    "name",
    [
        "exposure",
        "outcome",
        "scale",
        "model",
        "metric",
        "measure",
        "group_by",
        "group",
        "component",
        "step",
        "covariate_set",
    ],
)
def test_a_cell_is_the_same_as_an_earlier_one_if_all_that_names_it_is(name: str) -> None:
    now = pd.DataFrame({"exposure": "e", "group": "g", "n": [50.0, 70.0]}).assign(**{name: ["x", "y"]})
    before = now.assign(n=[72.0, 48.0])
    assert differs_by_few(now, before.iloc[::-1], 5).tolist() == [False, False]
    assert differs_by_few(now, before.assign(n=[52.0, 70.0]).iloc[::-1], 5).tolist() == [True, False]


def test_the_fewest_people_of_a_release_are_told_by_one_code_or_the_other() -> None:
    table = _table({"a": (900.0, 80.0), "b": (300.0, 40.0)}).assign(residual_df=[100.0, 100, 4])
    earlier = table.assign(n=[1197.0, 897, 300])
    gate = Gate(GateRules(), "the digest")
    out = gate.table("t", table, earlier={"x": earlier})
    assert out["reason"].tolist() == ["differencing", "differencing", "small_cell"]
    (entry,) = gate.entries
    assert entry["properties"] == {
        "method": "table", "threshold": 5, "rounding_base": None, "spec_digest": "the digest", "rows": 3,
        "reasons": {"differencing": 2, "small_cell": 1},
    }  # fmt: skip
    assert entry["summary"] == "fail; differencing: 2 rows; small_cell: 1 rows"
    assert entry["sdc"]["summary"]["suppressed"] is True
    assert entry["sdc"]["summary"]["threshold"] == 3
    assert [
        entry["sdc"]["summary"][name] for name in ("negative", "missing", "p-ratio", "nk-rule", "all-values-are-same")
    ] == [0] * 5
    assert (entry["type"], entry["command"], entry["outcome"]) == ("table", "Gate.table('t')", {})


# numbers so coarse that one person does not show


def test_a_sensitivity_is_no_share_of_the_people_and_keeps_its_value_in_steps_of_two_cases() -> None:
    """Once it became the share of the people who are cases, wherever counts were rounded."""
    table = _table({"a": (903.0, 81.0), "b": (302.0, 38.0)})
    table = table.assign(
        measure="proportion", model="sensitivity", scale="absolute", estimate=[0.7312, 0.7160, 0.7632], se=0.05
    )
    table = table.assign(ci_low=0.6, ci_high=0.84)
    out = Gate(GateRules(5, 5)).table("t", table)
    # Two of 119, 81 and 38 cases are 0.017, 0.025 and 0.053: steps of 0.02, 0.05 and 0.1.
    assert out["estimate"].tolist() == pytest.approx([0.74, 0.7, 0.8])


def test_a_mean_is_in_steps_of_what_two_people_move_it_by() -> None:
    table = _table({"a": (903.0, 81.0), "b": (44.0, 12.0)}).assign(measure="mean", n_events=np.nan, scale="absolute")
    sd = np.array([30.0, 30.0, 29.8])
    table = table.assign(estimate=144.049245, se=sd / np.sqrt(table["n"]))
    table = table.assign(ci_low=table["estimate"] - 2 * table["se"], ci_high=table["estimate"] + 2 * table["se"])
    out = Gate(GateRules(5, 5)).table("t", table)
    # 60 / 947 = 0.063, 60 / 903 = 0.066 and 59.6 / 44 = 1.35: steps of 0.1, 0.1 and 2.
    assert out["estimate"].tolist() == pytest.approx([144.0, 144.0, 144.0])
    # The standard error is that of the coarse SD and of the rounded number of people.
    assert out["se"].tolist() == pytest.approx([30 / np.sqrt(945), 30 / np.sqrt(905), 30 / np.sqrt(45)])
    assert out["ci_high"].tolist() == pytest.approx((144 + 2 * out["se"]).tolist())
    exact = Gate(GateRules(1)).table("t", table)
    pd.testing.assert_series_equal(exact["estimate"], table["estimate"])


def test_a_gap_of_means_is_as_coarse_as_the_coarsest_of_its_groups() -> None:
    table = _table({"a": (903.0, 81.0), "b": (44.0, 12.0)}).assign(measure="mean", n_events=np.nan, scale="absolute")
    table = table.assign(estimate=[144.05, 145.06, 139.71], se=[1.0, 1.0, 4.5], ci_low=140.0, ci_high=150.0)
    gap = {**table.iloc[2].to_dict(), "measure": "gap", "group": "max_gap", "n": 947.0, "estimate": 5.35, "se": 4.6}
    out = Gate(GateRules(5)).table("t", pd.concat([table, pd.DataFrame([gap])], ignore_index=True))
    assert out["estimate"].iloc[3] == 6.0  # in steps of 2, as of b


@pytest.mark.parametrize(
    ("least", "step"), [(0.063, 0.1), (1.0, 1.0), (1.01, 2.0), (2.1, 5.0), (5.2, 10.0), (70.0, 100.0), (0.0021, 0.005)]
)
def test_steps_are_one_two_or_five_times_a_power_of_ten(least: float, step: float) -> None:
    assert nice_step(least) == pytest.approx(step)


def test_nothing_has_no_step_and_stays() -> None:
    assert np.isnan(nice_step([0.0, np.nan])).all()
    assert to_step([1.234, 1.234, np.nan], [np.nan, 0.05, 0.1]).tolist() == pytest.approx(
        [1.234, 1.25, np.nan], nan_ok=True
    )


@pytest.mark.parametrize(
    ("counts", "close"),
    [([900, 896], True), ([900, 895], False), ([0, 4], True), ([0, 5], False), ([7, 7], False), ([np.nan, 3], False)],
)
def test_counts_lie_close_if_they_differ_by_a_small_number(counts: list[float], close: bool) -> None:
    assert lie_close(counts, 5) == close


def test_ratios_per_sd_and_per_unit_tell_a_coarse_sd() -> None:
    """SD 29.8 of 44 people: 59.6 / 44 is 1.35, so in steps of 2, and 30 is what the two ratios tell."""
    per_sd = _table({"a": (44.0, 12.0)}).iloc[1:].assign(measure="hazard_ratio", scale="per_sd", se=0.149)
    per_sd = per_sd.assign(ci_low=1.1, ci_high=1.4)
    per_unit = per_sd.assign(scale="per_unit", estimate=1.2 ** (1 / 29.8), se=0.149 / 29.8)
    out = Gate(GateRules(5)).table("t", pd.concat([per_sd, per_unit], ignore_index=True)).set_index("scale")
    assert out.loc["per_sd", "estimate"] == 1.2
    assert np.log(1.2) / np.log(out.loc["per_unit", "estimate"]) == pytest.approx(30)
    assert 0.149 / out.loc["per_unit", "se"] == pytest.approx(30)
    assert np.log(1.4) / np.log(out.loc["per_unit", "ci_high"]) == pytest.approx(30)


def _ratios() -> pd.DataFrame:
    """Rows with a hazard ratio per SD and per unit (SD 20), and a concordance; 100 events."""
    rows = [
        {"measure": "hazard_ratio", "scale": "per_sd", **wald(0.2763, 0.1034, ratio=True)},
        {"measure": "hazard_ratio", "scale": "per_unit", **wald(0.2763, 0.1034, ratio=True, scale=1 / 20)},
        {"measure": "concordance", "scale": "absolute", **wald_concordance(0.6149, 0.0312)},
    ]
    return pd.DataFrame(rows).assign(
        exposure="lvm_g", outcome="death", model="m", group_by="overall", group="all", n=1000.0, n_events=100.0,
        status="ok", reason="",
    )  # fmt: skip


def test_ratios_and_concordances_are_in_steps_that_two_people_make() -> None:
    out = coarsen_ratios(_ratios())
    # 2 x 0.1034^2 is 0.0214, so steps of 0.05: 0.2763 is 0.3. The error: 0.1034^3 / 2 is 0.00055, steps of 0.001.
    assert np.log(out["estimate"][0]) == pytest.approx(0.3)
    assert out["se"][0] == pytest.approx(0.103)
    assert np.log(out["ci_low"][0]) == pytest.approx(0.3 - 1.959964 * 0.103)
    assert out["z"][0] == pytest.approx(0.3 / 0.103)
    assert 10 ** -out["minus_log10_p"][0] == pytest.approx(2 * stats.norm.sf(0.3 / 0.103))
    assert (np.log(out["estimate"][1]), out["se"][1]) == pytest.approx((0.3 / 20, 0.103 / 20))
    assert out["minus_log10_p"][1] == pytest.approx(out["minus_log10_p"][0])
    # 2 x 0.0312 / 10 is 0.00624, so steps of 0.01; the error in steps of 0.0312 / 200, which is 0.0002.
    assert (out["estimate"][2], out["se"][2]) == pytest.approx((0.61, 0.0312))
    assert out["z"][2] == pytest.approx(0.11 / 0.0312)


def test_areas_and_calibration_do_not_tell_exact_counts() -> None:
    """Of 110 cases shown, the area k / (2 x 109 x 291) tells that they are 109, and an error of 1 / sqrt(24) that
    there are 24 events.
    """
    rows = pd.concat([_ratios().iloc[[2]]] * 7, ignore_index=True).assign(group=list("abcdefg"))
    rows["measure"] = ["concordance", "area_under_curve", *["observed_over_expected"] * 5]
    rows["n_events"] = [100.0, 109.0, 23.0, 24.0, 25.0, 26.0, 27.0]
    rows.loc[1, ["estimate", "se", "z"]] = 0.5306598568681232, 0.032, 0.958
    for row, events in enumerate(rows["n_events"][2:], 2):
        found = wald(0.182, events**-0.5, ratio=True)
        rows.loc[row, list(found)] = list(found.values())
    out = coarsen_fractions(rows, 5)
    # The pairs of a concordance are those that times make comparable: no count of people.
    assert (out["estimate"][0], out["se"][0]) == (0.6149, 0.0312)
    # 0.032^2 is 0.00102, so steps of 0.002; the error in steps of 0.002; the interval is even.
    assert (out["estimate"][1], out["se"][1], out["z"][1]) == pytest.approx((0.53, 0.032, 0.03 / 0.032))
    assert out["ci_high"][1] == pytest.approx(0.53 + 1.959964 * 0.032)
    # Steps of 0.1 (2 / 24 and its like): 0.182 is 0.2; all that are shown as 25 have the error 1 / sqrt(25).
    assert np.log(out["estimate"][2:]).tolist() == pytest.approx([0.2] * 5)
    assert out["se"][2:].tolist() == pytest.approx([0.2] * 5)
    assert out["z"][2:].tolist() == pytest.approx([1.0] * 5)


def test_the_interval_of_a_pooled_ratio_stays_wider_than_a_normal_one() -> None:
    """With t of 12 degrees of freedom the interval is 2.1788 standard errors to either side."""
    pooled = _ratios().iloc[:1].assign(ci_high=np.exp(0.2763 + 2.1788 * 0.1034))
    assert np.log(coarsen_ratios(pooled)["ci_high"][0]) == pytest.approx(0.3 + 2.1788 * 0.103)


def test_an_estimate_follows_another_closely_if_it_differs_and_its_people_hardly() -> None:
    before = _ratios()
    moved = before.assign(n=[1009.0, 1010.0, 991.0], estimate=[1.4, 1.02, before["estimate"][2]])
    # Twice five is as much as two rounded counts can hide; the concordance is the same.
    assert follows_closely(moved, before, 5).tolist() == [True, False, False]
    assert not follows_closely(before, before, 5).any()
    assert follows_closely(moved, before.drop(columns="estimate"), 5).tolist() == [True, False, True]


def test_a_gap_to_a_hidden_group_is_hidden_and_one_between_shown_groups_stays() -> None:
    """The mean of two people of c was that of a less the gap."""
    table = _table({"a": (900.0, 81.0), "b": (300.0, 30.0), "c": (2.0, 0.0), "d": (40.0, 9.0)})
    table = table.assign(measure="mean", model="mean_quality", scale="absolute", se=1.0, ci_low=0.0, ci_high=9.0)
    row = {**table.iloc[1].to_dict(), "measure": "gap", "group": "max_gap", "n": 1242.0, "estimate": 4.0}
    gaps = pd.DataFrame([{**row, "gap_groups": "a - c"}, {**row, "gap_groups": "a - b", "exposure": "rvef_pct"}])
    more = table.iloc[1:3].assign(exposure="rvef_pct")
    everything = pd.concat([table, gaps, more], ignore_index=True)
    everything["gap_groups"] = everything["gap_groups"].fillna("")
    out = Gate(GateRules(5)).table("t", everything)
    first, second = out[out["measure"] == "gap"].to_dict("records")
    assert (first["status"], first["reason"]) == ("suppressed", "secondary")
    assert np.isnan(first["estimate"])
    assert second["status"] == "ok"


def test_parts_of_a_difference_are_in_steps_of_two_people() -> None:
    table = _table({"b - a": (44.0, 12.0)}).iloc[1:].assign(measure="gap", model="decomposition", scale="absolute")
    table = table.assign(component="total", share=0.4321, estimate=3.4567, se=4.5, ci_low=-5.36, ci_high=12.28)
    out = Gate(GateRules(5)).table("t", table).iloc[0]
    # 2 x 4.5 / sqrt(44) is 1.36: steps of 2; 2 / 44 is 0.045: steps of 0.05.
    assert out[["estimate", "se", "share"]].tolist() == pytest.approx([4.0, 4.0, 0.45])

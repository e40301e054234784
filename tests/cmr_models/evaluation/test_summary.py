"""Summaries of a handful of studies: values, spread, counts and reasons by hand, overall and by group."""

import json
import math
from typing import Any

import pandas as pd
import pytest

from cmr_models.evaluation.cases import measure_row, value_row
from cmr_models.evaluation.summary import EF_EDGES_PCT, FIXED, Summariser

NAN = math.nan
PEOPLE = pd.DataFrame(
    {"sex": ["male", "female", None, "male", "female"], "site": list("bbaab")}, index=["s3", "s1", "s5", "s2", "s4"]
)


def summarise(rows: list[dict[str, Any]], *group_by: str, seed: int = 0) -> pd.DataFrame:
    studies = [f"s{k % 5 + 1}" for k in range(len(rows))]
    return Summariser(PEOPLE, group_by, seed=seed, n_resamples=200).cases(pd.DataFrame(rows).assign(study=studies))


def one(table: pd.DataFrame, **about: str) -> pd.Series:
    chosen = table
    for name, value in about.items():
        chosen = chosen[chosen[name] == value]
    assert len(chosen) == 1, chosen
    return chosen.iloc[0]


DICE = [
    measure_row("dice", "lv", "", view="sax", value=0.9),
    measure_row("dice", "lv", "", view="sax", value=0.6),
    measure_row("dice", "lv", "", view="sax", reason="frame_unjudged"),
    measure_row("dice", "lv", "", view="sax", reason=""),
    measure_row("dice", "lv", "", view="sax", value=0.3),
]


def test_a_mean_has_its_spread_its_number_and_reasons_for_all_others() -> None:
    row = one(summarise(DICE))
    assert (row["value"], row["sd"]) == pytest.approx((0.6, 0.3))
    assert 0.3 <= row["ci_low"] < 0.6 < row["ci_high"] <= 0.9
    assert (row["n"], row["n_missing"]) == (3, 2)
    assert json.loads(row["reasons"]) == {"frame_unjudged": 1, "unexplained": 1}
    assert (row["group_by"], row["group"], row["view"]) == ("", "all", "sax")


def test_groups_are_those_of_the_people_in_order_and_unknown_is_one() -> None:
    table = summarise(DICE, "sex", "site")
    assert table[["group_by", "group"]].to_numpy().tolist() == [
        ["", "all"], ["sex", "female"], ["sex", "male"], ["sex", "unknown"], ["site", "a"], ["site", "b"]
    ]  # fmt: skip
    # s1 0.9 female b, s2 0.6 male a, s3 and s4 missing (male b, female b), s5 0.3 unknown a
    assert table["value"].tolist() == pytest.approx([0.6, 0.9, 0.6, 0.3, 0.45, 0.9])
    assert table["n"].tolist() == [3, 1, 1, 1, 2, 1]
    assert table["n_missing"].tolist() == [2, 1, 1, 0, 0, 2]
    assert table["sd"].tolist() == pytest.approx([0.3, NAN, NAN, NAN, math.sqrt(0.045), NAN], nan_ok=True)
    assert one(table, group="female")["reasons"] == '{"unexplained": 1}'
    with pytest.raises(ValueError, match=r"no column \['age'\] to group by; columns are \['sex', 'site'\]"):
        Summariser(PEOPLE, ["age"])


def test_errors_of_a_quantity_by_hand() -> None:
    pairs = [(100.0, 96.0), (90.0, 93.0), (NAN, 70.0), (80.0, 73.0), (60.0, NAN)]
    table = summarise([value_row("lvedv_ml", "mL", ours, theirs) for ours, theirs in pairs])
    assert table["measure"].tolist() == ["mae", "rmse", "bias"]
    assert table["value"].tolist() == pytest.approx([14 / 3, math.sqrt(74 / 3), 8 / 3])
    # errors 4, -3 and 7: about their mean 4/3, -17/3 and 13/3
    spread = math.sqrt((16 + 289 + 169) / 9 / 2)
    assert table["sd"].tolist() == pytest.approx([NAN, NAN, spread], nan_ok=True)
    assert table["unit"].tolist() == ["mL"] * 3
    assert (table["n"] == 3).all()
    assert set(table["reasons"]) == {'{"reference_missing": 1, "unexplained": 1}'}


def test_ejection_fractions_are_reduced_up_to_40_and_borderline_up_to_55() -> None:
    assert (EF_EDGES_PCT, FIXED) == ((40, 55), 0.9)
    pairs = [(40.0, 39.0), (40.1, 40.0), (55.0, 41.0), (55.1, 70.0), (60.0, 55.0)]  # right, wrong, right, right, wrong
    table = summarise([value_row("rvef_pct", "%", ours, theirs) for ours, theirs in pairs])
    assert one(table, measure="class_accuracy")["value"] == pytest.approx(0.6)
    # truth 2, 2, 1; predicted 1, 2, 2; right 3 of 5: (15 - (2 + 4 + 2)) / sqrt((25 - 9)(25 - 9))
    assert one(table, measure="class_mcc")["value"] == pytest.approx(7 / 16)
    assert table.set_index("measure")["unit"].to_dict() == {
        "mae": "%", "rmse": "%", "bias": "%", "class_accuracy": "", "class_mcc": ""
    }  # fmt: skip


def test_quantities_views_and_phases_are_kept_apart() -> None:
    rows = [
        measure_row("dice", "lv", "", view="sax", phase="ed", value=0.1),
        measure_row("dice", "lv", "", view="sax", phase="es", value=0.2),
        measure_row("dice", "lv", "", view="lax_4c", phase="ed", value=0.3),
        measure_row("dice", "rv", "", view="sax", phase="ed", value=0.4),
        measure_row("hd95", "lv", "mm", view="sax", phase="ed", value=0.5),
    ]
    table = summarise(rows)
    assert table["value"].tolist() == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert table["ci_low"].isna().all()
    assert table["phase"].tolist() == ["ed", "es", "ed", "ed", "ed"]


def test_an_interval_depends_on_the_seed_and_not_on_the_other_rows() -> None:
    many = [measure_row("dice", "lv", "", value=float(x)) for x in (1, 2, 4, 8, 16)]
    before = [measure_row("dice", "rv", "", value=float(x)) for x in (5, 5, 6, 7, 9)]
    alone, beside = one(summarise(many)), one(summarise(before + many), of="lv")
    other = one(summarise(many, seed=1))
    assert alone[["ci_low", "ci_high"]].tolist() == beside[["ci_low", "ci_high"]].tolist()
    assert alone[["ci_low", "ci_high"]].tolist() != other[["ci_low", "ci_high"]].tolist()


def test_classes_of_people_with_a_known_truth_and_every_share() -> None:
    table = pd.DataFrame(
        {
            "study": ["s1", "s2", "s3", "s4", "s5"],
            "true": ["ill", "well", "ill", "other", "well"],
            "p_well": [0.2, 0.7, 0.6, 0.5, NAN],
            "p_ill": [0.8, 0.3, 0.4, 0.5, 0.2],
            "reason": ["", "", "", "", "image_flat"],
        }
    )
    rows = Summariser(PEOPLE, ["sex"], n_resamples=100).classes(table, ("well", "ill"))
    everyone = rows[rows["group"] == "all"].set_index(["measure", "of"])["value"]
    # known: ill (0.8), well (0.3), ill (0.4): the last is taken for well
    assert everyone.to_dict() == pytest.approx({
        ("accuracy", "all"): 2 / 3, ("f1_macro", "all"): 2 / 3, ("mcc", "all"): 0.5,
        ("auc_macro", "all"): 1, ("auc", "well"): 1, ("auc", "ill"): 1,
        ("sensitivity_at_90_specificity", "well"): 1, ("sensitivity_at_90_specificity", "ill"): 1,
        ("specificity_at_90_sensitivity", "well"): 1, ("specificity_at_90_sensitivity", "ill"): 1,
    })  # fmt: skip
    first = rows.iloc[0]
    assert (first["n"], first["n_missing"], first["reasons"]) == (3, 2, '{"image_flat": 1, "unexplained": 1}')
    assert rows.loc[rows["group"] == "unknown", "value"].isna().all()
    assert rows.loc[rows["group"] == "unknown", "n_missing"].eq(1).all()
    swapped = table.assign(p_well=table["p_ill"], p_ill=table["p_well"])
    worse = Summariser(PEOPLE, [], n_resamples=100).classes(swapped, ("well", "ill")).set_index(["measure", "of"])
    assert worse.loc[("sensitivity_at_90_specificity", "ill"), "value"] == 0
    assert worse.loc[("auc", "ill"), "value"] == 0


def test_without_rows_there_is_a_table_with_columns() -> None:
    empty = pd.DataFrame(columns=["study", "of", "source", "first", "second", "reason"])
    assert list(Summariser(PEOPLE, []).repeats(empty)) == list(summarise(DICE))


def test_repeats_have_a_variation_for_each_quantity_and_source() -> None:
    rows = pd.DataFrame(
        [
            ("s1", "lvedv_ml", "predicted", 90.0, 110.0, ""),
            ("s2", "lvedv_ml", "predicted", 50.0, 50.0, ""),
            ("s3", "lvedv_ml", "predicted", NAN, 50.0, "image_flat"),
            ("s1", "lvedv_ml", "reference", 33.0, 27.0, ""),
        ],
        columns=["study", "of", "source", "first", "second", "reason"],
    )
    table = Summariser(PEOPLE, ["site"], n_resamples=100).repeats(rows)
    ours = one(table, measure="repeat_cv_predicted", group="all")
    assert ours["value"] == pytest.approx(10)  # root of the mean of 0.02 and 0
    assert (ours["n"], ours["n_missing"], ours["unit"]) == (2, 1, "%")
    assert one(table, measure="repeat_cv_predicted", group="b")["value"] == pytest.approx(100 * math.sqrt(0.02))
    assert one(table, measure="repeat_cv_reference", group="all")["value"] == pytest.approx(100 * math.sqrt(0.02))

"""How well phenotypes discriminate by group: thresholds, expected events, pairs and gaps worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from cmr_models.analysis import accuracy_by_group
from cmr_models.analysis.accuracy_by_group import (
    decomposition_rows,
    expected_events,
    measurement_audit,
    pair_rows,
    prediction_audit,
)
from cmr_models.analysis.model_spec import AnalysisSpec
from cmr_models.association import delong
from cmr_models.survival import fit_cox

SPEC = AnalysisSpec(
    phenotypes=("lvef_pct",),
    conditions=("heart_failure", "death"),
    covariates=("sex",),
    group_by=("sex",),
    minimum_events=2,
    minimum_cell=2,
    margins={"auc": 0.5, "calibration/lvef_pct": 0.7, "standardised_mean": 3.0},
)


def _tables(n: int = 60) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A low fraction is a risk; twelve are prevalent; one has no fraction; rows are not sorted."""
    rng = np.random.default_rng(4)
    people = pd.DataFrame({"participant": [f"p{k}" for k in range(n)], "visit": "2"})
    people = people.assign(sex=np.where(np.arange(n) % 3 == 0, "male", "female"), lvef_pct=rng.normal(60, 6, n).round())
    people.loc[np.arange(n) % 5 == 1, "lvef_pct"] -= 6
    people.loc[8, "lvef_pct"] = np.nan
    people["group sex"] = people["sex"]
    years = rng.exponential(5 * np.exp(0.05 * (people["lvef_pct"].fillna(60) - 60)))
    age, lost = rng.uniform(50, 60, n), rng.uniform(3, 9, n)
    one = people[["participant", "visit"]].assign(
        condition="heart_failure",
        prevalent=(np.arange(n) % 5 == 1).astype(int),
        entry_years=age,
        exit_years=age + np.minimum(years, lost),
        event=((years < lost) & (np.arange(n) % 5 != 1)).astype(int),
        cause=0,
    )
    death = one.assign(condition="death", prevalent=0, event=(np.arange(n) % 4 == 0).astype(int))
    both = pd.concat([one, death])
    return people.sample(frac=1, random_state=1), both.sample(frac=1, random_state=2)


@pytest.fixture(scope="module")
def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    return _tables()


@pytest.fixture(scope="module")
def audited(tables: tuple[pd.DataFrame, pd.DataFrame]) -> pd.DataFrame:
    return prediction_audit(*tables, SPEC, specificity=0.8)


def _rows(tables: tuple[pd.DataFrame, pd.DataFrame], condition: str) -> pd.DataFrame:
    people, outcomes = tables
    rows = people.merge(outcomes[outcomes["condition"] == condition], on=["participant", "visit"])
    return rows[rows["lvef_pct"].notna()]


def _of(table: pd.DataFrame, model: str, group: str, outcome: str = "heart_failure") -> pd.Series:
    chosen = (table["model"] == model) & (table["group"] == group) & (table["outcome"] == outcome)
    (row,) = [row for _, row in table[chosen].iterrows()]
    return row


def test_a_protective_phenotype_is_turned_before_its_area_and_its_threshold(
    tables: tuple[pd.DataFrame, pd.DataFrame], audited: pd.DataFrame
) -> None:
    rows = _rows(tables, "heart_failure")
    for group, own in (("all", rows), ("male", rows[rows["sex"] == "male"])):
        area = delong(own["prevalent"], -own["lvef_pct"])
        row = _of(audited, "auc", group)
        assert (row["estimate"], row["se"]) == (pytest.approx(area.auc), pytest.approx(area.se))
        assert (row["n"], row["n_events"], row["measure"]) == (len(own), own["prevalent"].sum(), "area_under_curve")
    assert _of(audited, "auc", "all")["estimate"] > 0.6
    # The threshold: at least 80 % of all 47 without the disease (37.6: 38 of them) are under it, in every group.
    healthy = np.sort(-rows.loc[rows["prevalent"] == 0, "lvef_pct"].to_numpy())
    assert len(healthy) == 47
    for group, own in (("all", rows), ("female", rows[rows["sex"] == "female"])):
        ill = -own.loc[own["prevalent"] == 1, "lvef_pct"]
        row = _of(audited, "sensitivity", group)
        assert row["estimate"] == pytest.approx((ill > healthy[37]).mean())
        assert row["measure"] == "proportion"
    assert "auc" not in set(audited.loc[audited["outcome"] == "death", "model"])
    gap = _of(audited, "auc", "max_gap")
    low, high = sorted(_of(audited, "auc", group)["estimate"] for group in ("male", "female"))
    assert gap["estimate"] == pytest.approx(high - low)
    assert (gap["measure"], gap["group_by"], gap["margin"]) == ("gap", "sex", 0.5)


def test_events_of_a_group_are_compared_with_those_one_model_of_everybody_expects(
    tables: tuple[pd.DataFrame, pd.DataFrame], audited: pd.DataFrame
) -> None:
    for condition in ("heart_failure", "death"):
        rows = _rows(tables, condition)
        rows = rows[rows["prevalent"] == 0]
        fit = fit_cox(
            rows, exit="exit_years", event="event", entry="entry_years", covariates=["sex", "lvef_pct"], ties="efron"
        )
        # Breslow's hazard by hand (no two die at one age): over each one's own time at risk.
        risk = np.exp(fit.linear_predictor)
        entry, exit_ = rows["entry_years"].to_numpy(), rows["exit_years"].to_numpy()
        deaths = exit_[rows["event"] == 1]
        steps = {t: 1 / risk[(entry < t) & (exit_ >= t)].sum() for t in deaths}
        expected = risk * [sum(h for t, h in steps.items() if a < t <= b) for a, b in zip(entry, exit_, strict=True)]
        assert expected.sum() == pytest.approx(rows["event"].sum())
        for group in ("male", "female"):
            own = (rows["sex"] == group).to_numpy()
            row, observed = _of(audited, "calibration", group, condition), rows.loc[own, "event"].sum()
            assert row["estimate"] == pytest.approx(observed / expected[own].sum())
            assert row["se"] == pytest.approx(observed**-0.5)
            assert (row["n"], row["n_events"], row["measure"]) == (own.sum(), observed, "observed_over_expected")
        gap = _of(audited, "calibration", "max_gap", condition)
        ratios = [_of(audited, "calibration", group, condition)["estimate"] for group in ("male", "female")]
        assert gap["estimate"] == pytest.approx(abs(np.log(ratios[0] / ratios[1])))
        assert gap["margin"] == 0.7


def test_expected_events_are_those_of_each_stratum_between_entry_and_exit() -> None:
    table = pd.DataFrame(
        {
            "x": [0, 1, 0, 1, 0, 1],
            "s": ["b", "b", "b", "a", "a", "a"],
            "entry": [0.0, 1, 2, 0, 0, 3],
            "exit": [2.0, 4, 5, 3, 6, 4],
            "event": [1, 1, 0, 1, 0, 1],
        },
        index=[5, 3, 9, 1, 0, 2],
    )
    fit = fit_cox(table, exit="exit", event="event", entry="entry", covariates=["x"], strata="s")
    r = dict(zip(table.index, np.exp(fit.linear_predictor), strict=True))
    # Stratum b: at 2 those of 5 and 3 (9 enters then), at 4 of 3 and 9; a: at 3 those of 1 and 0, at 4 of 0 and 2.
    b2, b4, a3, a4 = 1 / (r[5] + r[3]), 1 / (r[3] + r[9]), 1 / (r[1] + r[0]), 1 / (r[0] + r[2])
    by_hand = {5: b2, 3: b2 + b4, 9: b4, 1: a3, 0: a3 + a4, 2: a4}
    found = expected_events(fit, table, exit="exit", entry="entry", strata=["s"])
    np.testing.assert_allclose(found, [by_hand[k] * r[k] for k in table.index])
    assert found.sum() == pytest.approx(4)


def test_too_few_events_have_a_reason_in_every_group(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    rows = _rows(tables, "death")
    deaths = int(rows["event"].sum())
    spec = SPEC.model_copy(update={"conditions": ("death",)})
    for minimum, reason in ((deaths, ""), (deaths + 1, "too_few_cases")):
        found = prediction_audit(*tables, spec.model_copy(update={"minimum_events": minimum}))
        assert _of(found, "calibration", "all", "death")["reason"] == reason
    people, outcomes = tables
    nobody = prediction_audit(people, outcomes.assign(prevalent=0), SPEC)
    assert {
        (_of(nobody, model, "male")["status"], _of(nobody, model, "male")["reason"]) for model in ("auc", "sensitivity")
    } == {("failed", "too_few_cases")}


def test_pairs_of_groups_have_the_events_of_the_first_and_the_people_of_the_smaller() -> None:
    people = pd.DataFrame({"participant": list("abcdef"), "visit": "2", "lvef_pct": [9.0, 5, 7, 3, np.nan, 1]})
    people["group sex"] = ["f", "m", "f", "m", "f", "m"]
    people["group sex x age"] = "all x all"
    outcomes = people[["participant", "visit"]].assign(
        condition="death", prevalent=[0, 0, 0, 0, 0, 1], entry_years=50.0, exit_years=[51.0, 52, 53, 54, 51, 55],
        event=[1, 1, 1, 0, 1, 1], cause=0,
    )  # fmt: skip
    spec = SPEC.model_copy(update={"conditions": ("death",), "group_by": ("sex", "sex x age"), "minimum_events": 1})
    found = pair_rows(people, outcomes, spec).set_index("group")
    assert set(found["group_by"]) == {"sex"}
    # At risk f: a (51 dies, 9), c (53 dies, 7); m: b (52 dies, 5), d (54 lives, 3).
    assert found["n"].to_dict() == {"f > f": 2, "f > m": 2, "m > f": 2, "m > m": 2}
    # Of two and one the number is one, which the gate has to see: three less two would give it.
    one_man = pair_rows(people[people["participant"] != "d"], outcomes, spec).set_index("group")
    assert one_man["n"].to_dict() == {"f > f": 2, "f > m": 1, "m > f": 1, "m > m": 1}
    assert found["n_events"].to_dict() == {"f > f": 2, "f > m": 2, "m > f": 1, "m > m": 1}
    assert found["n_pairs"].to_dict() == {"f > f": 1, "f > m": 3, "m > f": 1, "m > m": 1}
    assert found["estimate"].to_dict() == {"f > f": 1.0, "f > m": 1.0, "m > f": 0.0, "m > m": 1.0}
    strict = pair_rows(people, outcomes, spec.model_copy(update={"minimum_events": 2})).set_index("group")
    assert strict["reason"].to_dict() == {"f > f": "", "f > m": "", "m > f": "too_few_cases", "m > m": "too_few_cases"}
    assert strict.loc["m > m", ["estimate", "se"]].isna().all()
    assert pair_rows(people.assign(lvef_pct=np.nan), outcomes, spec).empty


def test_error_of_measurement_and_quality_by_group_with_their_margins() -> None:
    people = pd.DataFrame(
        {
            "group sex": ["f", "m", "f", "m", "f", "m", "f"],
            "auto": [10.0, 22, 12, 25, 17, 28, np.nan],
            "hand": [9.0, 20, 12, 21, 14, 22, 7],
            "dice": [0.9, 0.8, 0.7, 0.85, np.nan, 0.9, 0.8],
            "lvef_pct": np.nan,
        }
    )
    found = measurement_audit(people, SPEC, agreement=[("auto", "hand", 9.0)], quality=["dice"], permutations=19)
    bias = found[(found["exposure"] == "auto") & (found["model"] == "bias")].set_index("group")
    # f: 1, 0, 3; m: 2, 4, 6.
    assert bias["estimate"].to_dict() == pytest.approx({"all": 16 / 6, "f": 4 / 3, "m": 4.0, "max_gap": 8 / 3})
    assert bias["n"].to_dict() == {"all": 6, "f": 3, "m": 3, "max_gap": 6}
    assert bias.loc["m", "loa_high"] == pytest.approx(4 + 1.959964 * 2)
    assert bias.loc["m", "mean_absolute_error"] == 4
    assert bias.loc["m", "measure"] == "bias"
    assert bias.loc["max_gap", ["margin", "gap_groups", "measure"]].tolist() == [9.0, "m - f", "gap"]
    dice = found[found["model"] == "mean_quality"].set_index("group")
    assert dice["estimate"].to_dict() == pytest.approx({"all": 4.95 / 6, "f": 0.8, "m": 0.85, "max_gap": 0.05})
    assert dice.loc["f", "measure"] == "mean"
    assert np.isnan(dice.loc["max_gap", "margin"])
    assert 10 ** -dice.loc["max_gap", "minus_log10_p"] >= 1 / 20
    assert "standardised_mean" not in set(found["model"])


def test_means_are_standardised_to_the_age_and_sex_of_everybody() -> None:
    # Site u: 60 young of 1, 60 old of 5; site v: 20 young of 2, 40 old of 8. Standard: 80 young, 100 old.
    parts = [("u", "young", 1.0, 60), ("u", "old", 5.0, 60), ("v", "young", 2.0, 20), ("v", "old", 8.0, 40)]
    people = pd.DataFrame([row[:3] for row in parts for _ in range(row[3])], columns=["site", "age_band", "lvef_pct"])
    people["group site"], people["group age_band"] = people["site"], people["age_band"]
    spec = SPEC.model_copy(update={"group_by": ("site", "age_band")})
    found = measurement_audit(people, spec)
    found = found[found["model"] == "standardised_mean"].set_index("group")
    assert found["group_by"].unique().tolist() == ["site"]  # an age band has nothing left to be standardised by
    assert found["estimate"].to_dict() == pytest.approx(
        {"u": (80 + 5 * 100) / 180, "v": (160 + 8 * 100) / 180, "max_gap": 380 / 180}
    )
    assert found.loc["max_gap", "margin"] == 3.0
    by_site = spec.model_copy(update={"group_by": ("site",)})
    # Where a site of 50 and more has only young and the other only old people, nobody is alike.
    apart = people[(people["site"] == "u") & (people["age_band"] == "young")]
    apart = pd.concat([apart, apart.assign(**{"group site": "v"}, age_band="old")])
    assert measurement_audit(apart, by_site)["reason"].tolist() == ["no_overlap", "no_overlap", "too_few_groups"]
    # A site of 49 is not standardised; the other keeps its own cells.
    small = pd.concat([people[people["site"] == "u"], people[people["site"] == "v"].iloc[:49]])
    found = measurement_audit(small, by_site)
    assert found["reason"].tolist() == ["", "no_overlap", "too_few_groups"]
    assert found["estimate"].iloc[0] == pytest.approx((60 + 5 * 60) / 120)


def test_a_gap_is_taken_apart_against_the_largest_group() -> None:
    rng = np.random.default_rng(0)
    n = 90
    site = np.array(["b"] * 40 + ["a"] * 30 + ["c"] * 15 + ["d"] * 5)
    bmi = rng.normal(25, 3, n) + 2 * (site == "a")
    people = pd.DataFrame({"group site": site, "site": site, "bmi": bmi, "age": rng.normal(60, 5, n)})
    people["error"] = 0.5 * people["bmi"] + 1.0 * (site == "a")
    spec = SPEC.model_copy(update={"group_by": ("site",)})
    blocks = {"size": ["bmi", "site"], "own": ["error"], "clock": ["age"]}
    found = decomposition_rows(people, spec, blocks, ["error"])
    assert found["group"].unique().tolist() == ["a - b", "c - b", "d - b"]
    of_a = found[found["group"] == "a - b"].set_index("component")
    means = people.groupby("site")[["bmi", "error"]].mean()
    apart = means.loc["a"] - means.loc["b"]
    assert of_a.index.tolist() == ["size", "clock", "model", "total"]
    assert of_a.loc["total", "estimate"] == pytest.approx(apart["error"])
    assert of_a.loc["size", "estimate"] == pytest.approx(0.5 * apart["bmi"])
    assert of_a.loc["model", "estimate"] == pytest.approx(1.0)
    assert of_a.loc["clock", "estimate"] == pytest.approx(0, abs=1e-9)
    assert set(of_a["n"]) == {30}
    few = found[found["group"] == "d - b"]
    assert few[["component", "status", "reason", "n"]].to_numpy().tolist() == [["total", "failed", "too_few_people", 5]]
    renamed = people.replace({"group site": {"d": "0"}, "site": {"d": "0"}})  # the few come first, and stop nobody
    assert decomposition_rows(renamed, spec, blocks, ["error"])["group"].unique().tolist() == [
        "0 - b",
        "a - b",
        "c - b",
    ]
    assert decomposition_rows(people[people["site"] == "a"], spec, blocks, ["error"]).empty


def test_gaps_of_measurement_are_beside_as_many_permutations_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int, object]] = []

    def audit(metrics: dict[str, object], *_: object, permutations: int = 0, margins: object = None) -> pd.DataFrame:
        asked.append((next(iter(metrics)), permutations, margins))
        return pd.DataFrame(columns=["metric", "group_by", "group"])

    monkeypatch.setattr(accuracy_by_group, "audit", audit)
    people = pd.DataFrame({"a": [1.0, 2, np.nan], "b": [1.0, 3, 4], "dice": [0.9, 0.8, 0.7], "lvef_pct": 60.0})
    people = people.assign(**{"group sex": "f", "sex": "f", "age_band": "old"})
    measurement_audit(people, SPEC, agreement=[("a", "b", 1.5)], quality=["dice"], permutations=7)
    assert asked[:2] == [("bias", 7, {"bias": 1.5}), ("mean_quality", 7, None)]

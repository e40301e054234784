"""Tables of nested models: what may be published of a decision curve, and outcomes that cannot be predicted."""

import numpy as np
import pandas as pd
import pytest

from cmr_models.analysis.nested_models import (
    DEEP,
    Predicted,
    PredictionPlan,
    calibration_rows,
    decision_rows,
    predict_outcomes,
    prediction_rows,
)
from cmr_models.prediction import calibration, decision_curve, group_folds, person_folds, validate_nested
from cmr_models.prediction.nested import Validated, validation_rows


def _predicted(risk: np.ndarray, event: np.ndarray) -> Predicted:
    n = len(risk)
    exits, frame = np.where(event, 1.0, 9.0), pd.DataFrame({"one": risk})
    times = np.array([5.0])
    found = Validated(frame, frame, exits, event, np.zeros(n, int), 5.0, None, times, {"one": risk[:, None]})
    return Predicted("death", found, "", n, int(event.sum()))


def test_few_events_under_treatment_and_few_people_spared_are_not_shown() -> None:
    risk = np.linspace(0.01, 0.99, 100)
    event = (risk > 0.4) & (risk < 0.66)
    event[-2:] = True  # two events among the highest risks
    plan = PredictionPlan({"one": ["x"]}, thresholds=(0.03, 0.3, 0.5, 0.9))
    rows = decision_rows([_predicted(risk, event)], plan).set_index("threshold")
    assert rows["status"].to_dict() == {0.03: "suppressed", 0.3: "ok", 0.5: "ok", 0.9: "suppressed"}
    hidden = rows[rows["status"] == "suppressed"]
    assert hidden[["estimate", "treat_all", "n_at_risk", "n_events"]].isna().all(axis=None)
    assert rows.loc[0.5, "n_at_risk"] == (risk >= 0.5).sum()


def test_an_outcome_of_few_events_has_a_reason_for_every_set() -> None:
    people = pd.DataFrame({"participant": ["1", "2", "3"], "visit": "2", "x": 1.0, "f": 0.0})
    outcomes = pd.DataFrame({"participant": ["1", "2", "3"], "visit": "2", "condition": "death", "prevalent": 0})
    outcomes = outcomes.assign(entry_years=50.0, exit_years=55.0, event=[1, 0, 0], cause=[1, 0, 0])
    plan = PredictionPlan({"one": ["x"]}, features=["f"])
    rows = prediction_rows(predict_outcomes(people, outcomes, ["death"], plan), plan)
    assert rows["exposure"].tolist() == ["one", DEEP]
    assert set(rows["reason"]) == {"too_few_cases"}
    assert rows["estimate"].isna().all()


def _people(n: int = 120) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Unsorted outcomes; one prevalent, one never followed, one without x, one without a feature."""
    rng = np.random.default_rng(0)
    people = pd.DataFrame({"participant": [f"p{k}" for k in range(n)], "visit": "2", "x": rng.normal(size=n)})
    people = people.assign(z=rng.normal(size=n), f=rng.normal(size=n), centre=rng.choice(["a", "b", "c"], n))
    years, lost = rng.exponential(9 * np.exp(-people["x"])), rng.uniform(3, 12, n)
    outcomes = people[["participant", "visit"]].assign(
        condition="death", prevalent=(np.arange(n) == 4).astype(int), entry_years=60.0,
        exit_years=60 + np.minimum(years, lost), event=(years < lost).astype(int), cause=0,
    )  # fmt: skip
    outcomes.loc[5, "exit_years"] = 60.0
    people.loc[6, "x"], people.loc[7, "f"] = np.nan, np.nan
    return people, outcomes.sample(frac=1, random_state=0)


PLAN = PredictionPlan(
    {"one": ["x"], "two": ["z"]}, horizon_years=4.0, folds=3, resamples=0, minimum_events=5, thresholds=(0.2, 0.4)
)


@pytest.mark.parametrize("fold_by", ["", "centre"])
def test_each_set_holds_those_before_it_and_all_are_tested_on_the_same_people(fold_by: str) -> None:
    people, outcomes = _people()
    plan = PredictionPlan(**{**PLAN.__dict__, "features": ["f"], "fold_by": fold_by, "seed": 3})
    assert plan.sets == {"one": ["x"], "two": ["x", "z"]}
    assert plan.names == ["one", "two", DEEP]
    assert PLAN.names == ["one", "two"]
    (found,) = predict_outcomes(people, outcomes, ["death"], plan)
    rows = people.merge(outcomes, on=["participant", "visit"])
    rows = rows[~rows["participant"].isin(["p4", "p5", "p6", "p7"])].reset_index(drop=True)
    rows = rows.assign(t=rows["exit_years"] - 60)
    assert (found.n, found.n_events, found.reason) == (116, rows["event"].sum(), "")
    rng = np.random.default_rng([3, 5, *b"death"])
    fold = group_folds(rows["centre"]) if fold_by else person_folds(rows["participant"], rows["event"], 3, rng)
    expected = validate_nested(
        rows, plan.sets, exit="t", event="event", fold=fold, horizon=4.0, rng=rng, deep=["f"], deep_name=DEEP
    )
    assert found.validated is not None
    pd.testing.assert_frame_equal(found.validated.risk, expected.risk)
    table = prediction_rows([found], plan)
    by_hand = pd.DataFrame(validation_rows(expected, outcome="death", learner="cox", n_bootstrap=0))
    np.testing.assert_allclose(table["estimate"], by_hand["estimate"])
    assert table["exposure"].tolist() == by_hand["exposure"].tolist()


def test_tables_of_calibration_and_decision_are_those_of_each_set() -> None:
    people, outcomes = _people()
    predicted = predict_outcomes(people, outcomes, ["death"], PLAN)
    v = predicted[0].validated
    assert v is not None
    tenths = calibration_rows(predicted, PLAN)
    assert tenths["group"].tolist() == [str(k) for k in range(1, 11)] * 2
    assert set(tenths["group_by"]) == {"tenth"}
    curves = decision_rows(predicted, PLAN)
    early = v.event & (v.exit <= 4)
    for name in ("one", "two"):
        risk = v.risk[name].to_numpy()
        own = calibration(v.exit, v.event, risk, 4.0).deciles
        shown = tenths[tenths["exposure"] == name]
        for column, other in (
            ("estimate", "observed"),
            ("predicted", "predicted"),
            ("n", "n"),
            ("n_events", "n_events"),
            ("ci_low", "ci_low"),
            ("ci_high", "ci_high"),
        ):
            np.testing.assert_allclose(shown[column], own[other])
        drawn = decision_curve(v.exit, v.event, risk, 4.0, [0.2, 0.4])
        rows = curves[(curves["exposure"] == name) & (curves["status"] == "ok")].set_index("threshold")
        for _, row in drawn.iterrows():
            at = row["threshold"]
            few = [(early & (risk >= at)).sum(), (risk < at).sum()]
            assert (at in rows.index) == (not any(0 < count < 5 for count in few))
            if at in rows.index:
                assert rows.loc[at, "estimate"] == pytest.approx(row["net_benefit"])
                assert rows.loc[at, "treat_all"] == pytest.approx(row["treat_all"])
                assert rows.loc[at, "n_at_risk"] == (risk >= at).sum()
                assert rows.loc[at, "n_events"] == (early & (risk < at)).sum()
                assert rows.loc[at, "n"] == 117
    assert len(curves) == 4


def test_events_after_the_horizon_and_a_risk_at_the_threshold_are_on_their_side() -> None:
    risk = np.repeat([0.1, 0.3, 0.6], [10, 10, 10])
    event = np.arange(30) % 2 == 0
    exits = np.where(event, np.where(np.arange(30) < 20, 5.0, 5.01), 9.0)
    frame = pd.DataFrame({"one": risk})
    found = Validated(frame, frame, exits, event, np.zeros(30, int), 5.0, None, np.array([5.0]), {"one": risk[:, None]})
    plan = PredictionPlan({"one": ["x"]}, thresholds=(0.3, 0.5))
    rows = decision_rows([Predicted("death", found, "", 30, 15)], plan).set_index("threshold")
    # At 0.3 the twenty of 0.3 and more are treated, of whom five had it by 5 (those of 0.6 later); five spared.
    assert rows.loc[0.3, ["n_at_risk", "n_events", "status"]].tolist() == [20, 5, "ok"]
    # At 0.5 nobody treated had it by 5: no small number.
    assert rows.loc[0.5, ["n_at_risk", "n_events", "status"]].tolist() == [10, 10, "ok"]
    few = PredictionPlan({"one": ["x"]}, thresholds=(0.3,), minimum_cell=6)
    assert decision_rows([Predicted("death", found, "", 30, 15)], few)["status"].tolist() == ["suppressed"]
    spared = PredictionPlan({"one": ["x"]}, thresholds=(0.3,), minimum_cell=11)
    event[:] = False
    assert decision_rows([Predicted("death", found, "", 30, 15)], spared)["status"].tolist() == ["suppressed"]
    enough = PredictionPlan({"one": ["x"]}, thresholds=(0.3,), minimum_cell=10)
    assert decision_rows([Predicted("death", found, "", 30, 15)], enough)["status"].tolist() == ["ok"]


def test_a_horizon_beyond_follow_up_and_too_few_events_are_rows_with_reasons() -> None:
    people, outcomes = _people()
    far = PredictionPlan(**{**PLAN.__dict__, "horizon_years": 12.0})
    predicted = predict_outcomes(people, outcomes, ["death"], far)
    table = prediction_rows(predicted, far).set_index(["exposure", "measure"])
    assert table.loc[("one", "concordance"), "status"] == "ok"
    for measure in ("brier", "scaled_brier", "integrated_brier", "ici"):
        assert table.loc[("one", measure), "reason"] == "no_data"
    assert set(decision_rows(predicted, far)["reason"]) == {"no_data"}
    assert calibration_rows(predicted, far)[["exposure", "measure", "reason", "group_by"]].to_numpy().tolist() == [
        ["one", "proportion_by_tenth", "no_data", "overall"], ["two", "proportion_by_tenth", "no_data", "overall"],
    ]  # fmt: skip
    events = predicted[0].n_events
    for minimum, reason in ((events, ""), (events + 1, "too_few_cases")):
        plan = PredictionPlan(**{**PLAN.__dict__, "minimum_events": minimum})
        (found,) = predict_outcomes(people, outcomes, ["death"], plan)
        assert found.reason == reason
        assert (found.validated is None) == bool(reason)
        assert (found.n, found.n_events) == (117, events)
    for made in (prediction_rows, calibration_rows, decision_rows):
        rows = made([found], plan)
        assert rows["reason"].tolist() == ["too_few_cases"] * 2
        assert rows[["exposure", "n"]].to_numpy().tolist() == [["one", 117], ["two", 117]]
    nobody = predict_outcomes(people.assign(x=np.nan), outcomes, ["death"], PLAN)
    assert [one.reason for one in nobody] == ["no_data"]
    other = predict_outcomes(people.assign(z=1.0, x=2.0), outcomes, ["death"], PLAN)
    assert [one.reason for one in other] == ["constant_exposure"]


def test_a_plan_that_says_no_more_has_five_folds_at_five_years_and_thresholds_to_a_fifth() -> None:
    plan = PredictionPlan(steps={})
    assert (plan.horizon_years, plan.learner, plan.folds, plan.resamples) == (5.0, "cox", 5, 100)
    assert tuple(plan.thresholds) == (0.01, 0.02, 0.05, 0.1, 0.2)
    assert (plan.minimum_cell, plan.minimum_events, plan.fold_by) == (5, 10, "")

"""Tables of nested models: what may be published of a decision curve, and outcomes that cannot be predicted."""

import numpy as np
import pandas as pd

from cmr_models.analysis.nested_models import (
    DEEP,
    Predicted,
    PredictionPlan,
    decision_rows,
    predict_outcomes,
    prediction_rows,
)
from cmr_models.prediction.nested import Validated


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

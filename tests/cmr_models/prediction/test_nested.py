"""Nested validation: who is predicted by whom, and that each row of the table is the measure it is named after."""

import math

import numpy as np
import pandas as pd
import pytest

from cmr_models.estimates import NotEstimableError
from cmr_models.prediction import (
    LEARNERS,
    bootstrap_optimism,
    calibration,
    compare_auc,
    compare_brier,
    group_folds,
    person_folds,
    time_auc,
    validate_nested,
    validation_rows,
)
from cmr_models.prediction.learners import PENALTIES, Fitted, Times, _calibrate, _grow, _leaf, fit_ridge
from cmr_models.prediction.nested import Validated
from cmr_models.survival import brier, concordance, fit_cox


def _table(n: int = 150) -> pd.DataFrame:
    """Late entry, ties, an index of its own; x is a risk, f of a network too."""
    rng = np.random.default_rng(9)
    table = pd.DataFrame({"x": rng.normal(1, 2, n), "s": rng.choice(["p", "q"], n), "f": rng.normal(size=n)})
    entry = rng.integers(0, 3, n).astype(float)
    years = np.ceil(rng.exponential(6 * np.exp(-0.3 * table["x"] - 0.4 * table["f"])))
    lost = rng.integers(2, 9, n)
    table = table.assign(g=rng.normal(size=n), entry=entry, t=entry + np.minimum(years, lost), d=years <= lost)
    return table.set_index(pd.Index(rng.permutation(n)))


FOLD = np.arange(150) % 3
CALL = {"exit": "t", "event": "d", "fold": FOLD, "horizon": 5.0}


@pytest.mark.parametrize("entry", [None, "entry"])
def test_every_fold_is_predicted_by_a_model_of_the_others(entry: str | None) -> None:
    table = _table()
    found = validate_nested(table, {"x": ["x"], "both": ["x", "s"]}, entry=entry, rng=np.random.default_rng(0), **CALL)
    assert list(found.risk) == list(found.score) == ["x", "both"]
    np.testing.assert_allclose(found.times, np.arange(1, 11) / 2)
    for code in range(3):
        train, test = table[code != FOLD], table[code == FOLD]
        design = {"x": ["x"], "both": ["x", "is p"]}
        for name, columns in design.items():
            train, test = (part.assign(**{"is p": (part["s"] == "p").astype(float)}) for part in (train, test))
            fit = fit_cox(train, exit="t", event="d", entry=entry, covariates=columns)
            coef = fit.estimates["coef"].to_numpy()
            score = found.score.loc[test.index, name].to_numpy()
            expected = test[columns].to_numpy() @ coef
            # The indicator is of the rarer letter, whichever it is: scores differ by a constant.
            np.testing.assert_allclose(score - score.mean(), expected - expected.mean(), atol=1e-9)
            risk = found.curve[name][code == FOLD]
            np.testing.assert_allclose(found.risk.loc[test.index, name], risk[:, 9])
            eta = train[columns].to_numpy() @ coef
            start = test["entry"].to_numpy() if entry else np.zeros(len(test))
            for k, after in ((1, 1.0), (9, 5.0)):
                hazard = [_hazard(train, eta, entry, a, a + after) for a in start]
                np.testing.assert_allclose(risk[:, k], -np.expm1(-np.array(hazard) * np.exp(expected)), rtol=1e-9)
    np.testing.assert_allclose(found.exit, table["t"] - (table["entry"] if entry else 0))
    exits, entries = found.clock
    np.testing.assert_allclose(exits, table["t"])
    assert entries is None if entry is None else np.array_equal(entries, table["entry"])


def _hazard(train: pd.DataFrame, eta: np.ndarray, entry: str | None, since: float, until: float) -> float:
    """Efron's cumulative baseline hazard over (since, until], in plain sums."""
    total = 0.0
    for t in np.unique(train.loc[train["d"], "t"]):
        if not since < t <= until:
            continue
        there = (train["t"] >= t).to_numpy() & (True if entry is None else (train["entry"] < t).to_numpy())
        dead = ((train["t"] == t) & train["d"]).to_numpy()
        risk, dying, count = np.exp(eta[there]).sum(), np.exp(eta[dead]).sum(), int(dead.sum())
        total += sum(1 / (risk - j / count * dying) for j in range(count))
    return total


def test_deep_features_are_one_score_that_no_one_helped_to_make_for_themselves() -> None:
    table = _table()
    found = validate_nested(table, {"x": ["x"]}, deep=["f", "g"], rng=np.random.default_rng(4), **CALL)
    assert list(found.score) == ["x", "deep features"]
    rng = np.random.default_rng(4)
    times = Times(np.full(150, -np.inf), table["t"].to_numpy(), table["d"].to_numpy())
    for code in range(3):
        train = code != FOLD
        features = table[["f", "g"]].to_numpy()
        fitted, penalty = fit_ridge(features[train], times.of(train), PENALTIES, rng)
        score = np.asarray(fitted.score(features))
        rows = np.flatnonzero(train)
        inner = person_folds(rows, times.event[rows], 5, rng)
        for k in range(5):
            kept = rows[inner != k]
            part, _ = fit_ridge(features[kept], times.of(kept), [penalty], None)
            score[rows[inner == k]] = part.score(features[rows[inner == k]])
        both = table.assign(deep=score)
        fit = fit_cox(both[train], exit="t", event="d", covariates=["x", "deep"])
        expected = both.loc[~train, ["x", "deep"]].to_numpy() @ fit.estimates["coef"].to_numpy()
        np.testing.assert_allclose(found.score["deep features"][~train], expected)
    alone = validate_nested(table, {}, deep=["f"], deep_name="net", rng=np.random.default_rng(4), **CALL)
    assert list(alone.score) == ["net"]
    with pytest.raises(ValueError, match="deep features must be finite"):
        validate_nested(table.assign(f=np.nan), {}, deep=["f"], rng=np.random.default_rng(4), **CALL)


def _validated(entry: bool) -> Validated:
    rng = np.random.default_rng(6)
    table = _table()
    score = pd.DataFrame({"one": rng.normal(size=150), "two": table["x"].to_numpy() * 0.4 + rng.normal(size=150) / 2})
    score["three"] = score["two"] + 0.3 * table["f"].to_numpy()
    risk = 1 / (1 + np.exp(-score + 0.3))
    times = np.array([1.0, 2.5, 5.0])
    curve = {name: np.outer(risk[name], [0.2, 0.7, 1.0]) for name in risk}
    since = table["entry"].to_numpy()
    return Validated(
        score, risk, (table["t"] - table["entry"]).to_numpy(), table["d"].to_numpy(), FOLD, 5.0,
        since if entry else None, times, curve,
    )  # fmt: skip


@pytest.mark.parametrize("entry", [False, True])
def test_each_row_is_the_measure_it_is_named_after(entry: bool) -> None:
    v = _validated(entry)
    rows = validation_rows(v, outcome="death", learner="ridge", rng=np.random.default_rng(1), n_bootstrap=4)
    table = pd.DataFrame(rows).set_index(["exposure", "measure"])
    gains = {"concordance_gain", "auc_gain", "brier_gain"}
    assert set(table.loc["two"].index) - set(table.loc["one"].index) == gains
    assert set(table.loc["three"].index) == set(table.loc["two"].index)
    assert set(table["outcome"]) == {"death"}
    assert set(table["model"]) == {"ridge"}
    assert set(table["n"]) == {150}
    assert set(table["n_events"]) == {v.event.sum()}
    exits, entries = v.clock
    by_fold = {name: concordance(exits, v.event, v.score[name], entry=entries, strata=FOLD) for name in v.score}
    rng = np.random.default_rng(1)
    for name in ("one", "two"):
        risk, at = v.risk[name].to_numpy(), table.loc[name]
        for measure, found, null in (
            ("concordance", by_fold[name], 0.5),
            ("uno", concordance(v.exit, v.event, v.score[name], method="uno", tau=5.0, strata=FOLD), 0.5),
        ):
            assert at.loc[measure, "estimate"] == pytest.approx(found.value)
            assert at.loc[measure, "se"] == pytest.approx(found.se)
            assert at.loc[measure, "z"] == pytest.approx((found.value - null) / found.se)
            assert at.loc[measure, "ci_low"] == pytest.approx(found.value - 1.959964 * found.se)
            assert at.loc[measure, "ci_high"] == pytest.approx(found.value + 1.959964 * found.se)
        area = time_auc(v.exit, v.event, risk, 5.0)
        assert at.loc["auc", ["estimate", "se", "z"]].tolist() == pytest.approx(
            [area.auc, area.se, (area.auc - 0.5) / area.se]
        )
        scored = brier(v.exit, v.event, 1 - risk, [5.0]).scores.iloc[0]
        assert at.loc["brier", ["estimate", "se"]].tolist() == pytest.approx([scored["brier"], scored["se"]])
        assert at.loc["brier", "ci_low"] == pytest.approx(scored["brier"] - 1.959964 * scored["se"])
        assert at.loc["brier", "ci_high"] == pytest.approx(scored["brier"] + 1.959964 * scored["se"])
        assert at.loc["scaled_brier", "estimate"] == pytest.approx(scored["scaled"])
        assert at.loc["integrated_brier", "estimate"] == pytest.approx(
            brier(v.exit, v.event, 1 - v.curve[name], v.times).ibs
        )
        found = calibration(v.exit, v.event, risk, 5.0, rng=rng, n_bootstrap=4)
        slope = at.loc["calibration_slope"]
        assert slope["estimate"] == pytest.approx(found.slope)
        assert slope["z"] == pytest.approx((found.slope - 1) / found.slope_se)
        assert at.loc["observed_over_expected", ["estimate", "se", "ci_low", "ci_high"]].tolist() == pytest.approx(
            [found.ratio, found.ratio_se, found.ratio_ci_low, found.ratio_ci_high]
        )
        assert at.loc["ici", ["estimate", "se", "ci_low", "ci_high"]].tolist() == pytest.approx(
            [found.ici, found.ici_se, found.ici_ci_low, found.ici_ci_high]
        )
    for new, old in (("two", "one"), ("three", "two")):
        gain, apart = table.loc[(new, "concordance_gain")], by_fold[new].influence - by_fold[old].influence
        assert gain["estimate"] == pytest.approx(by_fold[new].value - by_fold[old].value)
        assert gain["se"] == pytest.approx(math.sqrt((apart**2).sum()))
        assert gain["z"] == pytest.approx(gain["estimate"] / gain["se"])
        for measure, compared in (("auc_gain", compare_auc), ("brier_gain", compare_brier)):
            pair = compared(v.exit, v.event, v.risk[new], v.risk[old], 5.0)
            row = table.loc[(new, measure)]
            assert row[["estimate", "se", "z"]].tolist() == pytest.approx([pair.difference, pair.se, pair.z])


def test_what_cannot_be_had_is_a_row_with_its_reason() -> None:
    v = _validated(False)
    short = Validated(v.score, v.risk, np.minimum(v.exit, 4.0), v.event, v.fold, 5.0, None, v.times, v.curve)
    table = pd.DataFrame(validation_rows(short, outcome="death", learner="cox")).set_index(["exposure", "measure"])
    assert table.loc[("two", "auc"), ["status", "reason"]].tolist() == ["failed", "too_few_controls"]
    assert table.loc[("two", "calibration_slope"), "reason"] == "no_data"
    assert np.isfinite(table.loc[("two", "concordance"), "estimate"])
    score, risk = (part.assign(two=part["one"]) for part in (v.score, v.risk))
    same = Validated(score, risk, v.exit, v.event, v.fold, 5.0, None, v.times, v.curve)
    table = pd.DataFrame(validation_rows(same, outcome="death", learner="cox")).set_index(["exposure", "measure"])
    for measure in ("concordance_gain", "auc_gain", "brier_gain"):
        assert table.loc[("two", measure), ["estimate", "se"]].tolist() == [0, 0]
        assert np.isnan(table.loc[("two", measure), "z"])


def test_impossible_validations_are_named() -> None:
    table = _table()
    for change, message in (
        ({"fold": FOLD[:9]}, "150 labels, none missing"),
        ({"fold": [None, *FOLD[1:]]}, "150 labels, none missing"),
        ({"fold": np.zeros(150)}, "two folds or more"),
        ({"entry": "t"}, "leave at or before they enter; t must be after t"),
        ({"exit": "when"}, r"columns \['when'\]"),
        ({"learner": "magic"}, "learner must be one of"),
    ):
        with pytest.raises(ValueError, match=message):
            validate_nested(table, {"x": ["x"]}, **{**CALL, "rng": np.random.default_rng(0), **change})
    for column in ("t", "entry"):
        with pytest.raises(ValueError, match="must be finite"):
            validate_nested(
                table.assign(**{column: table[column].where(table.index > 0)}), {"x": ["x"]}, entry="entry",
                rng=np.random.default_rng(0), **CALL,
            )  # fmt: skip
    early = table.assign(t=table["t"] - 3.5)
    with pytest.raises(ValueError, match=r"\d+ times are negative"):
        validate_nested(early, {"x": ["x"]}, rng=np.random.default_rng(0), **CALL)
    with pytest.raises(ValueError, match="at least one set"):
        validate_nested(table, {}, rng=np.random.default_rng(0), **CALL)
    assert (
        validate_nested(table, {"x": ["x"]}, rng=np.random.default_rng(0), **{**CALL, "fold": FOLD > 0}).fold.max() == 1
    )


def test_folds_keep_a_person_together_and_deal_out_those_ever_ill() -> None:
    persons = ["c", "a", "b", "a", "d", "e", "c", "f"]
    event = [0, 1, 0, 0, 1, 0, 0, 0]
    fold = person_folds(persons, event, 2, np.random.default_rng(0))
    assert fold[0] == fold[6]
    assert fold[1] == fold[3]
    assert fold[1] != fold[4]  # the two who are ever ill
    assert sorted(np.bincount(fold[[0, 1, 2, 4, 5, 7]])) == [3, 3]
    assert person_folds([1, 2], [0, 1], 2, np.random.default_rng(0)).tolist() in ([0, 1], [1, 0])
    for count in (1, 7):
        with pytest.raises(ValueError, match=r"folds must be 2 to the number of persons \(6\)"):
            person_folds(persons, event, count, np.random.default_rng(0))
    with pytest.raises(ValueError, match="no person may be missing"):
        person_folds([None, *persons[1:]], event, 2, np.random.default_rng(0))
    with pytest.raises(ValueError, match="one length"):
        person_folds(persons, event[1:], 2, np.random.default_rng(0))
    assert group_folds(["z", "b", "z", "k"]).tolist() == [2, 0, 2, 1]
    for groups in ([None, "a", "b"], ["a", "a"]):
        with pytest.raises(ValueError, match="two or more, none missing"):
            group_folds(groups)


def test_a_risk_is_over_the_steps_of_the_hazard_after_entry() -> None:
    fitted = Fitted(lambda x: x[:, 0], np.array([1.0, 2, 4]), np.array([0.1, 0.3, 0.7]))
    x = np.array([[0.0], [np.log(2)]])
    np.testing.assert_allclose(fitted.risk(x, 2.0), 1 - np.exp(-0.3 * np.array([1, 2])))
    np.testing.assert_allclose(fitted.risk(x, [0.5, 3.9]), 1 - np.exp(-np.outer([1, 2], [0, 0.3])))
    # From 1 (its step not counted) over 3, from 2.5 over 1.
    np.testing.assert_allclose(fitted.risk(x, 3.0, np.array([1.0, 0.5])), 1 - np.exp(-np.array([0.6, 0.3 * 2])))
    both = fitted.risk(x, [1.0, 3.0], np.array([1.0, 2.5]))
    np.testing.assert_allclose(both, 1 - np.exp(-np.array([[0.2, 0.6], [0, 0.4 * 2]])))


def test_a_learner_passes_over_columns_that_do_not_vary() -> None:
    table = _table()
    times = Times(np.full(150, -np.inf), table["t"].to_numpy(), table["d"].to_numpy())
    x = np.column_stack([np.ones(150), table["x"]])
    coef = fit_cox(table, exit="t", event="d", covariates=["x"]).estimates["coef"].iloc[0]
    score = LEARNERS["cox"](x, times, np.random.default_rng(0)).score(x)
    np.testing.assert_allclose(score, coef * table["x"])
    ridge, penalty = fit_ridge(x, times, [1e-3, 1e-6], None)
    assert penalty == 1e-6
    np.testing.assert_allclose(ridge.score(x), coef * table["x"], atol=1e-3)


class _Slices:
    """Stands in for trees: predicts the exponential of ``slope`` times a column, and keeps what it learned from."""

    seen: list[tuple[int, list[float], list[float]]]

    def __init__(self, leaf: int, slope: float, seen: list[tuple[int, list[float], list[float]]]) -> None:
        self._leaf, self._slope, self._seen = leaf, slope, seen

    def fit(self, x: np.ndarray, y: np.ndarray, sample_weight: np.ndarray) -> "_Slices":
        self._seen.append((self._leaf, y.tolist(), sample_weight.tolist()))
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.exp(self._slope * x[:, 0])


def test_trees_learn_events_per_hazard_they_were_under() -> None:
    seen: list[tuple[int, list[float], list[float]]] = []
    # Deaths at 2 (of the first two: the third enters then) and 4 (of the second and third); the last came and went
    # before the first death.
    times = Times(np.array([0.0, 1, 2, 0]), np.array([2.0, 5, 4, 1]), np.array([True, False, True, False]))
    score = _grow(lambda leaf: _Slices(leaf, 1.0, seen), np.arange(4.0)[:, None], times)
    ((leaf, rate, weight),) = seen
    exposure = np.array([1 / 2, 1 / 2 + 1 / 2, 1 / 2])
    np.testing.assert_allclose(rate, np.array([1, 0, 1]) / exposure)
    np.testing.assert_allclose(weight, exposure / (2 / 3))
    assert leaf == 5
    np.testing.assert_allclose(score(np.array([[2.0], [-1], [-99]])), [2, -1, math.log(1e-3)])
    with pytest.raises(NotEstimableError, match="no event to learn from"):
        _grow(lambda leaf: _Slices(leaf, 1.0, seen), np.zeros((4, 1)), times._replace(event=np.zeros(4, bool)))


@pytest.mark.parametrize(
    ("n", "events", "leaf"), [(400, 100, 20), (400, 20, 40), (400, 90, 23), (30, 30, 5), (400, 0, 40)]
)
def test_a_leaf_expects_five_events_and_is_at_most_a_tenth(n: int, events: int, leaf: int) -> None:
    assert _leaf(np.arange(n) < events) == leaf


@pytest.mark.parametrize("slope", [0.5, -0.5, 0.0])
def test_the_score_of_trees_is_as_large_as_among_the_unseen_and_never_turned(slope: float) -> None:
    table = _table()
    x = table[["x"]].to_numpy()
    times = Times(table["entry"].to_numpy(), table["t"].to_numpy(), table["d"].to_numpy())
    seen: list[tuple[int, list[float], list[float]]] = []
    fitted = _calibrate(lambda leaf: _Slices(leaf, slope, seen), x, times, np.random.default_rng(0))
    coef = fit_cox(table, exit="t", event="d", entry="entry", covariates=["x"]).estimates["coef"].iloc[0]
    assert coef > 0
    expected = coef * x[:, 0] if slope > 0 else 0 * x[:, 0]
    np.testing.assert_allclose(fitted.score(x), expected, atol=1e-8)
    assert len(seen) == 4  # of two thirds three times, and of everybody
    assert [len(rate) for _, rate, _ in seen][:3] != [len(seen[3][1])] * 3
    hazard = [_hazard(table, expected, "entry", -1.0, until) for until in fitted.times]
    np.testing.assert_allclose(fitted.cumulative, hazard)


def test_optimism_is_the_mean_of_resample_less_everybody() -> None:
    table = _table()
    x = table[["x", "g"]].to_numpy()
    for entry in (np.full(150, -np.inf), table["entry"].to_numpy()):
        times = Times(entry, table["t"].to_numpy(), table["d"].to_numpy())
        found = bootstrap_optimism(LEARNERS["cox"], x, times, resamples=3, rng=np.random.default_rng(7))
        rng, apart = np.random.default_rng(7), []
        late = entry if np.isfinite(entry).all() else None
        own = LEARNERS["cox"](x, times, rng).score(x)
        for _ in range(3):
            parts = (np.flatnonzero(times.event), np.flatnonzero(~times.event))
            rows = np.concatenate([rng.choice(part, len(part)) for part in parts])
            score = LEARNERS["cox"](x[rows], times.of(rows), rng).score(x)
            inside = concordance(
                times.exit[rows], times.event[rows], score[rows], entry=None if late is None else late[rows]
            )
            apart.append(inside.value - concordance(times.exit, times.event, score, entry=late).value)
        apparent = concordance(times.exit, times.event, own, entry=late).value
        assert found.apparent == pytest.approx(apparent)
        assert found.optimism == pytest.approx(np.mean(apart))
        assert found.corrected == pytest.approx(apparent - np.mean(apart))
        assert (found.n_used, found.n_failed) == (3, 0)


def test_resamples_that_fail_are_counted_and_all_of_them_are_a_reason() -> None:
    table = _table()
    x, calls = table[["x"]].to_numpy(), iter([0, 1, 0, 0, *[1] * 9])
    times = Times(np.full(150, -np.inf), table["t"].to_numpy(), table["d"].to_numpy())

    def learner(x: np.ndarray, times: Times, rng: np.random.Generator) -> Fitted:
        if next(calls):
            raise NotEstimableError("separation")
        return LEARNERS["cox"](x, times, rng)

    found = bootstrap_optimism(learner, x, times, resamples=3, rng=np.random.default_rng(7))
    assert (found.n_used, found.n_failed) == (2, 1)
    calls = iter([0, 1, 1])
    with pytest.raises(NotEstimableError, match="no resample could be fitted"):
        bootstrap_optimism(learner, x, times, resamples=2, rng=np.random.default_rng(7))

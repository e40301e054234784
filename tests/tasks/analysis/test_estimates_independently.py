"""Published estimates against statsmodels, lifelines and plain sums, from the rows of the files that a user has.

Nothing of the analysis takes part: people, outcomes and phenotypes are read and joined here by pandas alone.
"""

import math
from pathlib import Path

import lifelines
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from tasks.analysis.by_settings import UserFiles, associate, risk
from tasks.analysis.settings import AnalysisSettings
from tasks.simulation import SimulationSettings, write_measured_cohort

SETTINGS = AnalysisSettings(
    phenotypes=("lvef_pct", "lvm_g"),
    conditions=("hypertension", "death"),
    covariates=("sex", "height_cm"),
    group_by=("sex", "age_band"),
    permutations=9,
)
EXPOSURES = ("lvef_pct", "lvm_g")
PAIRS = [(condition, exposure) for condition in ("hypertension", "death") for exposure in EXPOSURES]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measured")
    write_measured_cohort(folder, SimulationSettings(people=500, seed=8))
    rng = np.random.default_rng(0)
    for name in ("participants.csv", "outcomes.csv"):  # nobody promises sorted tables
        table = pd.read_csv(folder / name, dtype=str, keep_default_na=False)
        table.iloc[rng.permutation(len(table))].to_csv(folder / name, index=False)
    files = UserFiles(folder / "participants.csv", folder / "outcomes.csv")
    for stage in (associate, risk):
        assert stage(folder / "cohort", SETTINGS, files)["status"] == "done"
    return folder


def _rounded(*counts: float) -> tuple[float, ...]:
    """Counts as they are published: of 500 people some group counts few, so all are multiples of five."""
    return tuple(5 * math.floor(count / 5 + 0.5) for count in counts)


def _told_sd(sd: float, n: int) -> float:
    """The SD that ratios per SD and per unit tell together: in steps of what two of ``n`` people may move it by."""
    step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if step >= 2 * sd / n)
    return step * round(sd / step)


def _estimates(folder: Path, name: str, **row: str) -> pd.DataFrame:
    table = pd.read_parquet(folder / "cohort/tables/estimates" / f"{name}.parquet")
    for column, value in row.items():
        table = table[table[column] == value]
    return table


def _rows(
    folder: Path, condition: str, exposure: str, covariates: tuple[str, ...] = ("sex", "age_years", "height_cm")
) -> pd.DataFrame:
    """People with a measured study who lack none of ``covariates``, the outcome of one condition beside."""
    studies = pd.read_parquet(folder / "cohort/tables/phenotypes.parquet")
    studies = studies[(studies["status"] == "ok") & studies["qc_ok"].map(lambda ok: ok is None or pd.isna(ok) or ok)]
    people = pd.read_csv(folder / "participants.csv", dtype={"participant": str, "visit": str})
    outcomes = pd.read_csv(folder / "outcomes.csv", dtype={"participant": str, "visit": str})
    keys = ["participant", "visit"]
    rows = studies[[*keys, exposure]].merge(people, on=keys)
    rows = rows.merge(outcomes[outcomes["condition"] == condition], on=keys)
    rows["male"] = (rows["sex"] == "male").astype(float)
    return rows.dropna(subset=[exposure, *covariates]).reset_index(drop=True)


def _at_risk(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[(rows["prevalent"] == 0) & (rows["exit_years"] > rows["entry_years"])].reset_index(drop=True)


def _cox(rows: pd.DataFrame, exposure: str) -> pd.Series:
    columns = [exposure, "male", "height_cm", "entry_years", "exit_years", "event"]
    fitter = lifelines.CoxPHFitter()
    with np.errstate(all="ignore"):
        fitter.fit(rows[columns], "exit_years", "event", entry_col="entry_years", fit_options={"precision": 1e-9})
    return fitter.summary.loc[exposure]


@pytest.mark.parametrize("exposure", EXPOSURES)
def test_odds_ratios_are_those_of_statsmodels(folder: Path, exposure: str) -> None:
    rows = _rows(folder, "hypertension", exposure)
    design = sm.add_constant(rows[["age_years", "male", "height_cm", exposure]])
    fit = sm.GLM(rows["prevalent"], design, family=sm.families.Binomial()).fit(tol=1e-12)
    beta, se, sd = fit.params[exposure], fit.bse[exposure], rows[exposure].std(ddof=1)
    for scale, unit in (("per_sd", sd), ("per_unit", sd / _told_sd(sd, len(rows)))):
        (ours,) = _estimates(folder, "associations", outcome="hypertension", exposure=exposure, scale=scale).to_dict(
            "records"
        )
        assert (ours["n"], ours["n_events"]) == _rounded(len(rows), rows["prevalent"].sum())
        assert ours["estimate"] == pytest.approx(np.exp(unit * beta), rel=1e-5)
        assert ours["se"] == pytest.approx(unit * se, rel=1e-4)
        assert ours["ci_low"] == pytest.approx(np.exp(unit * (beta - 1.959964 * se)), rel=1e-4)
        assert ours["ci_high"] == pytest.approx(np.exp(unit * (beta + 1.959964 * se)), rel=1e-4)
        assert ours["z"] == pytest.approx(beta / se, rel=1e-4)
        assert 10 ** -ours["minus_log10_p"] == pytest.approx(fit.pvalues[exposure], rel=1e-3)


@pytest.mark.parametrize(("condition", "exposure"), PAIRS)
def test_hazard_ratios_are_those_of_lifelines_entered_at_imaging(folder: Path, condition: str, exposure: str) -> None:
    rows = _at_risk(_rows(folder, condition, exposure))
    peer, sd = _cox(rows, exposure), rows[exposure].std(ddof=1)
    for scale, unit in (("per_sd", sd), ("per_unit", sd / _told_sd(sd, len(rows)))):
        (ours,) = _estimates(folder, "hazards", outcome=condition, exposure=exposure, scale=scale).to_dict("records")
        assert (ours["n"], ours["n_events"]) == _rounded(len(rows), rows["event"].sum())
        assert np.log(ours["estimate"]) == pytest.approx(unit * peer["coef"], rel=1e-3)
        assert ours["se"] == pytest.approx(unit * peer["se(coef)"], rel=1e-3)
        assert ours["z"] == pytest.approx(peer["z"], rel=1e-3)


@pytest.mark.parametrize(("condition", "exposure"), PAIRS)
def test_concordance_is_the_share_of_pairs_in_which_who_has_the_event_first_scores_higher(
    folder: Path, condition: str, exposure: str
) -> None:
    rows = _at_risk(_rows(folder, condition, exposure))
    score = rows[exposure].to_numpy() * np.sign(_cox(rows, exposure)["coef"])
    entry, exit_, event = (rows[name].to_numpy() for name in ("entry_years", "exit_years", "event"))
    won = pairs = 0.0
    for i in np.flatnonzero(event):
        still = (entry < exit_[i]) & ((exit_ > exit_[i]) | ((exit_ == exit_[i]) & (event == 0)))
        pairs += still.sum()
        won += (score[i] > score[still]).sum() + 0.5 * (score[i] == score[still]).sum()
    (ours,) = _estimates(
        folder, "discrimination", outcome=condition, exposure=exposure, model="harrell_phenotype"
    ).to_dict("records")
    assert ours["estimate"] == pytest.approx(won / pairs, abs=1e-9)


def test_survival_is_that_of_lifelines_by_quarter_of_the_phenotype(folder: Path) -> None:
    rows = _at_risk(_rows(folder, "death", "lvef_pct", covariates=()))
    rows["quarter"] = pd.qcut(rows["lvef_pct"], 4, labels=["Q1", "Q2", "Q3", "Q4"]).astype(str)
    table = _estimates(folder, "survival_curves", outcome="death", exposure="lvef_pct")
    compared = 0
    for quarter, people in rows.groupby("quarter"):
        years = people["exit_years"] - people["entry_years"]
        peer = lifelines.KaplanMeierFitter().fit(years, people["event"])
        for point in table[(table["group"] == quarter) & (table["status"] == "ok")].to_dict("records"):
            # Some 120 people a quarter: two are 0.017, so the step is 0.02.
            assert abs(point["estimate"] - float(peer.predict(point["years"]))) <= 0.01 + 1e-9
            assert round(point["estimate"] / 0.02, 9).is_integer()
            assert abs(point["n_at_risk"] - (years >= point["years"]).sum()) <= 2.5
            events = (people["event"].astype(bool) & (years <= point["years"])).sum()
            assert (point["n_events"],) == _rounded(events)
            compared += 1
    assert compared > 20


@pytest.mark.parametrize("sex", ["male", "female"])
def test_the_estimate_of_a_group_is_that_of_its_people_per_sd_of_everybody(folder: Path, sex: str) -> None:
    rows = _at_risk(_rows(folder, "death", "lvm_g"))
    group = rows[rows["sex"] == sex].reset_index(drop=True)
    fitter = lifelines.CoxPHFitter()
    fitter.fit(group[["lvm_g", "height_cm", "entry_years", "exit_years", "event"]], "exit_years", "event",
               entry_col="entry_years", fit_options={"precision": 1e-9})  # fmt: skip
    table = _estimates(folder, "fairness", outcome="death", exposure="lvm_g", model="cox_age", group=sex)
    (ours,) = table[(table["scale"] == "per_sd") & (table["measure"] == "hazard_ratio")].to_dict("records")
    sd = rows["lvm_g"].std(ddof=1)
    assert np.log(ours["estimate"]) == pytest.approx(sd * fitter.params_["lvm_g"], rel=1e-3)
    assert (ours["n"],) == _rounded(len(group))

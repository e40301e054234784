"""What the page to publish shows, worked out again by numpy, statsmodels and lifelines from the rows of tables.

Nothing of the analysis takes part: people, outcomes and phenotypes are read and joined here by pandas alone. What is
shown is read back from the axes of the figures and the cells of the tables.
"""

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import lifelines
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tasks.analysis.by_settings import UserFiles, associate, risk
from tasks.analysis.settings import AnalysisSettings
from tasks.report import distributions, estimate_figures
from tasks.report.index_page import counts_of, index_values
from tasks.report.tables import read_tables, report_inputs
from tasks.simulation import SimulationSettings, write_measured_cohort
from tasks.state.store import Cohort

PHENOTYPES = {"lvef_pct": "LV ejection fraction", "lvm_g": "LV mass", "rvedv_ml": "RV end-diastolic volume"}
SHORT = {"lvef_pct": "LV EF", "lvm_g": "LV mass"}
SETTINGS = AnalysisSettings(
    phenotypes=("lvef_pct", "lvm_g"),
    conditions=("hypertension", "death"),
    covariates=("sex", "height_cm"),
    group_by=("sex", "age_band"),
    permutations=2,
    minimum_cell=1,  # nothing is rounded or hidden; what is, is tested beside the gate
)
COVARIATES = ["age_years", "male", "height_cm"]


@dataclass(frozen=True)
class Page:
    """Figures by name, the values of the template, and the rows of every study beside its person."""

    figures: dict[str, Figure]
    values: dict[str, Any]
    studies: pd.DataFrame
    outcomes: pd.DataFrame

    def measured(self) -> pd.DataFrame:
        return self.studies[(self.studies["status"] == "ok") & self.studies["qc_ok"].fillna(True).astype(bool)]

    def of_sex(self, sex: str, phenotype: str) -> np.ndarray:
        measured = self.measured()
        return measured.loc[measured["sex"] == sex, phenotype].dropna().to_numpy()

    def with_outcome(self, condition: str, exposure: str, covariates: list[str]) -> pd.DataFrame:
        rows = self.measured().merge(
            self.outcomes[self.outcomes["condition"] == condition], on=["participant", "visit"]
        )
        return rows.dropna(subset=[exposure, *covariates]).reset_index(drop=True)

    def at_risk(self, condition: str, exposure: str, covariates: list[str]) -> pd.DataFrame:
        rows = self.with_outcome(condition, exposure, covariates)
        return rows[(rows["prevalent"] == 0) & (rows["exit_years"] > rows["entry_years"])].reset_index(drop=True)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    folder = tmp_path_factory.mktemp("measured")
    write_measured_cohort(folder, SimulationSettings(people=420, seed=8))
    rng = np.random.default_rng(0)
    for name in ("participants.csv", "outcomes.csv"):  # nobody promises sorted tables
        table = pd.read_csv(folder / name, dtype=str, keep_default_na=False)
        table.iloc[rng.permutation(len(table))].to_csv(folder / name, index=False)
    _doubt_some(folder / "cohort/tables/phenotypes.parquet", rng)
    files = UserFiles(folder / "participants.csv", folder / "outcomes.csv")
    for stage in (associate, risk):
        assert stage(folder / "cohort", SETTINGS, files)["status"] == "done"
    inputs = report_inputs(
        {
            "participants": str(files.participants),
            "outcomes": str(files.outcomes),
            "analysis": {"minimum_cell": SETTINGS.minimum_cell},
        }
    )
    drawn: list[Figure] = []

    def paint(painter: Any, width: float, height: float) -> bytes:
        drawn.append(Figure((width, height)))
        painter(drawn[-1])
        return b""

    with pytest.MonkeyPatch.context() as patched:
        for module in (distributions, estimate_figures):
            patched.setattr(module, "draw", paint)
        tables = read_tables(Cohort(folder / "cohort"), inputs)
        values, figures = index_values(tables, inputs, counts_of(tables, inputs.minimum_cell))
    return Page(dict(zip(figures.shown, drawn, strict=True)), values, *_rows(folder))


def _doubt_some(path: Path, rng: np.random.Generator) -> None:
    """Say of one measured study in eight that a quality rule is broken, and make its numbers absurd."""
    table = pd.read_parquet(path).sample(frac=1, random_state=3)
    doubted = (table["status"] == "ok") & (rng.random(len(table)) < 1 / 8)
    table.loc[doubted, "qc_ok"], table.loc[doubted, "state"] = False, "doubted"
    table.loc[doubted, ["lvef_pct", "lvm_g", "rvedv_ml"]] = [1.0, 400.0, 500.0]
    table.to_parquet(path, index=False)


def _rows(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    keys = {"participant": str, "visit": str}
    people = pd.read_csv(folder / "participants.csv", dtype=keys)
    studies = pd.read_parquet(folder / "cohort/tables/phenotypes.parquet").drop(columns=["height_cm", "weight_kg"])
    studies = studies.merge(people, on=list(keys))
    studies["male"] = (studies["sex"] == "male").astype(float)
    return studies, pd.read_csv(folder / "outcomes.csv", dtype=keys)


def _panel(figure: Figure, title: str) -> Axes:
    (axes,) = [axes for axes in figure.axes if axes.get_title().startswith(title)]
    return axes


# distributions


@pytest.mark.parametrize("phenotype", list(PHENOTYPES))
def test_bars_are_the_counts_of_people_by_their_width(page: Page, phenotype: str) -> None:
    axes = _panel(page.figures["distributions"], PHENOTYPES[phenotype])
    filled = [patch.get_data() for patch in axes.patches if patch.get_fill()]
    assert [baseline for _, _, baseline in filled] == [0, 1]  # men below, women above
    for sex, (tops, edges, baseline) in zip(("male", "female"), filled, strict=True):
        people = page.of_sex(sex, phenotype)
        held = [((people >= low) & (people < high)).sum() for low, high in pairwise(edges)]
        held[0] += (people < edges[0]).sum()
        held[-1] += (people >= edges[-1]).sum()
        assert sum(held) == len(people)
        high = np.array(held) / np.diff(edges)
        np.testing.assert_allclose(tops - baseline, 0.78 * high / high.max(), rtol=1e-9)


@pytest.mark.parametrize("phenotype", list(PHENOTYPES))
def test_means_spreads_and_quantiles_are_those_of_the_people_who_passed(page: Page, phenotype: str) -> None:
    axes = _panel(page.figures["distributions"], PHENOTYPES[phenotype])
    rows = {row["group"]: row for row in page.values["distributions"] if row["phenotype"] == PHENOTYPES[phenotype]}
    drawn = {tuple(np.round(line.get_xydata().ravel(), 6)) for line in axes.lines}
    for level, (sex, group) in enumerate((("male", "Men"), ("female", "Women"))):
        people = np.sort(page.of_sex(sex, phenotype))
        n, mean = len(people), sum(people) / len(people)
        sd = (sum((people - mean) ** 2) / (n - 1)) ** 0.5
        p10, p25, p50, p75, p90 = np.interp(np.array([0.1, 0.25, 0.5, 0.75, 0.9]) * (n - 1), np.arange(n), people)
        assert (rows[group]["n"], rows[group]["mean"]) == (str(n), f"{mean:.1f} ± {sd:.1f}")
        assert rows[group]["median"] == f"{p50:.1f} ({p25:.1f} – {p75:.1f})"
        assert tuple(np.round([p10, level - 0.14, p90, level - 0.14], 6)) in drawn
        assert tuple(np.round([p25, level - 0.14, p75, level - 0.14], 6)) in drawn


def test_the_flow_counts_who_was_measured_and_who_is_doubted(page: Page) -> None:
    ok, doubted = page.studies["status"] == "ok", page.studies["qc_ok"].eq(False).fillna(False)
    facts = {name: text for name, text, _ in page.values["facts"]}
    assert facts["Studies in the table"] == str(len(page.studies))
    assert facts["Measured"] == str(ok.sum())
    assert facts["of these, passed"] == str((ok & ~doubted).sum())
    assert facts["of these, doubted"] == str((ok & doubted).sum())
    assert facts["Set aside"] == str((~ok).sum())
    (step,) = page.values["flow"]["steps"]
    assert {row["code"]: int(row["text"]) for row in step["left"][0]["reasons"]} == page.studies[~ok][
        "reason"
    ].value_counts().to_dict()


# ratios


def _logistic(page: Page, exposure: str) -> tuple[float, float, float, int]:
    """Log odds ratio per SD of hypertension, its standard error, -log10 p, and cases."""
    rows = page.with_outcome("hypertension", exposure, COVARIATES)
    fit = sm.GLM(rows["prevalent"], sm.add_constant(rows[[*COVARIATES, exposure]]), sm.families.Binomial()).fit(
        tol=1e-12
    )
    sd = rows[exposure].std(ddof=1)
    return (
        sd * fit.params[exposure],
        sd * fit.bse[exposure],
        -np.log10(fit.pvalues[exposure]),
        int(rows["prevalent"].sum()),
    )


def _cox(rows: pd.DataFrame, exposure: str, columns: list[str]) -> pd.Series:
    fitter = lifelines.CoxPHFitter()
    with np.errstate(all="ignore"):
        fitter.fit(rows[[exposure, *columns, "entry_years", "exit_years", "event"]], "exit_years", "event",
                   entry_col="entry_years", fit_options={"precision": 1e-9})  # fmt: skip
    return fitter.summary.loc[exposure]


def _hazard(page: Page, condition: str, exposure: str) -> tuple[float, float, float, int]:
    rows = page.at_risk(condition, exposure, COVARIATES)
    peer, sd = _cox(rows, exposure, ["male", "height_cm"]), rows[exposure].std(ddof=1)
    return sd * peer["coef"], sd * peer["se(coef)"], -np.log10(peer["p"]), int(rows["event"].sum())


def _points(axes: Axes) -> list[tuple[float, float]]:
    found = [c for c in axes.collections if not hasattr(c, "get_segments") and hasattr(c, "get_offsets")]
    return sorted((float(x), float(y)) for c in found for x, y in np.asarray(c.get_offsets()).reshape(-1, 2))


def test_a_volcano_has_a_point_for_each_pair_at_its_ratio_and_evidence(page: Page) -> None:
    fits = {
        "volcano": [_logistic(page, exposure) for exposure in SHORT],
        "hazards_volcano": [_hazard(page, c, e) for c in ("hypertension", "death") for e in SHORT],
    }
    for name, expected in fits.items():
        points = _points(page.figures[name].axes[0])
        truth = sorted((float(np.exp(beta)), evidence) for beta, _, evidence, _ in expected)
        np.testing.assert_allclose(points, truth, rtol=2e-3)


@pytest.mark.parametrize(
    ("figure", "condition"), [("forest", "hypertension"), ("hazards", "hypertension"), ("hazards", "death")]
)
def test_a_forest_has_the_ratio_and_interval_of_each_phenotype(page: Page, figure: str, condition: str) -> None:
    axes = _panel(page.figures[figure], condition.capitalize())
    names = [tick.get_text() for tick in page.figures[figure].axes[0].get_yticklabels()]
    low_limit, high_limit = axes.get_xlim()
    lines = next(c for c in axes.collections if hasattr(c, "get_segments")).get_segments()
    squares = next(c for c in axes.collections if not hasattr(c, "get_segments") and len(c.get_offsets()) == 2)
    places = {round(float(y)): float(x) for x, y in squares.get_offsets()}
    for exposure, short in SHORT.items():
        fit = _logistic(page, exposure) if figure == "forest" else _hazard(page, condition, exposure)
        beta, se, _, events = fit
        at = names.index(short)
        assert places[at] == pytest.approx(np.exp(beta), rel=2e-3)
        (ends,) = [line[:, 0] for line in lines if round(line[0, 1]) == at]
        expected = np.clip(np.exp([beta - 1.959964 * se, beta + 1.959964 * se]), low_limit, high_limit)
        np.testing.assert_allclose(ends, expected, rtol=3e-3)
        assert axes.get_title() == f"{condition.capitalize()} ({events})"


def test_rows_of_ratios_are_the_strongest_first_with_their_people_and_events(page: Page) -> None:
    for name, conditions in (("associations", ("hypertension",)), ("hazards", ("hypertension", "death"))):
        expected = []
        for condition in conditions:
            for exposure in SHORT:
                beta, se, evidence, events = (
                    _logistic(page, exposure) if name == "associations" else _hazard(page, condition, exposure)
                )
                take = page.with_outcome if name == "associations" else page.at_risk
                n = len(take(condition, exposure, COVARIATES))
                low, high = np.exp(beta - 1.959964 * se), np.exp(beta + 1.959964 * se)
                expected.append((evidence, PHENOTYPES[exposure], condition, n, events, np.exp(beta), low, high))
        expected.sort(reverse=True)
        rows = page.values["ratios"][name]
        assert [(r["exposure"], r["outcome"].lower()) for r in rows] == [(e[1], e[2]) for e in expected]
        for row, (evidence, _, _, n, events, ratio, low, high) in zip(rows, expected, strict=True):
            assert (row["n"], row["n_events"]) == (str(n), str(events))
            assert float(row["estimate"]) == pytest.approx(ratio, abs=0.0051)
            assert [float(end) for end in row["interval"].split(" to ")] == pytest.approx([low, high], abs=0.0071)
            assert float(row["evidence"]) == pytest.approx(evidence, abs=0.06)


# survival


def _survival(years: np.ndarray, event: np.ndarray, at: float) -> float:
    """Product over the times of events, by hand."""
    left = 1.0
    for time in np.unique(years[(event == 1) & (years <= at)]):
        left *= 1 - ((years == time) & (event == 1)).sum() / (years >= time).sum()
    return left


@pytest.mark.parametrize(("condition", "title"), [("death", "Death by"), ("hypertension", "Hypertension by")])
def test_curves_and_numbers_at_risk_are_those_of_the_people_in_each_quarter(
    page: Page, condition: str, title: str
) -> None:
    figure = page.figures["survival"]
    shown = [k for k, axes in enumerate(figure.axes) if axes.get_title().startswith(title)]
    if not shown:
        pytest.skip("too few events to be shown")
    axes, table = figure.axes[shown[0]], figure.axes[shown[0] + len(figure.axes) // 2]
    exposure = next(name for name, short in SHORT.items() if axes.get_title().lower().endswith(short.lower()))
    rows = page.at_risk(condition, exposure, [])
    quarters = np.quantile(rows[exposure], [0.25, 0.5, 0.75])  # who stands on an edge belongs above it
    rows["quarter"] = [f"Q{1 + (value >= quarters).sum()}" for value in rows[exposure]]
    names = [tick.get_text() for tick in table.get_yticklabels()]
    lines = {line.get_label(): line.get_xydata() for line in axes.lines}
    compared = 0
    for quarter, people in rows.groupby("quarter"):
        years, event = (people["exit_years"] - people["entry_years"]).to_numpy(), people["event"].to_numpy()
        steps = lines[quarter]
        assert steps[0].tolist() == [0, 100]
        for at, height in steps[1:]:
            assert height == pytest.approx(100 * _survival(years, event, at), abs=1e-6)
            compared += 1
        written = {
            t.get_position()[0]: t.get_text() for t in table.texts if t.get_position()[1] == names.index(quarter)
        }
        assert written
        for at, text in written.items():
            if text == "·":
                continue
            n, there = int(re.sub(r"[^0-9]", "", text)), int((years >= at).sum())
            assert there >= n - 2 if text.startswith("≥") else abs(there - n) <= 2
    assert compared > 12


# groups


def _squares(axes: Axes) -> dict[int, float]:
    found = [c for c in axes.collections if not hasattr(c, "get_segments") and len(c.get_offsets())]
    return {round(float(y)): float(x) for c in found for x, y in np.asarray(c.get_offsets())}


def test_the_proportion_that_was_measured_is_that_of_the_studies_of_each_group(page: Page) -> None:
    axes = page.figures["group_qc_pass"].axes[0]
    names = [tick.get_text().lower() for tick in axes.get_yticklabels()]
    drawn = _squares(axes)
    compared = 0
    for sex in ("female", "male"):
        of_sex = page.studies[page.studies["sex"] == sex]
        measured = of_sex["status"].eq("ok")  # doubted or not
        at = next((k for k, name in enumerate(names) if name in (sex, {"female": "women", "male": "men"}[sex])), None)
        assert at is not None, names
        assert drawn[at] == pytest.approx(measured.mean(), abs=1e-9)
        compared += 1
    assert compared == 2


@pytest.mark.parametrize("sex", ["female", "male"])
def test_the_hazard_ratio_of_a_sex_is_that_of_its_people_per_sd_of_everybody(page: Page, sex: str) -> None:
    axes = _panel(page.figures["group_cox_age"], "LV EF, death")
    names = [tick.get_text().lower() for tick in page.figures["group_cox_age"].axes[0].get_yticklabels()]
    everybody = page.at_risk("death", "lvef_pct", COVARIATES)
    peer = _cox(everybody[everybody["sex"] == sex].reset_index(drop=True), "lvef_pct", ["height_cm"])
    sd = everybody["lvef_pct"].std(ddof=1)
    at = next(k for k, name in enumerate(names) if name in (sex, {"female": "women", "male": "men"}[sex]))
    assert _squares(axes)[at] == pytest.approx(np.exp(sd * peer["coef"]), rel=2e-3)
    (ends,) = [
        line[:, 0]
        for c in axes.collections
        if hasattr(c, "get_segments")
        for line in c.get_segments()
        if round(line[0, 1]) == at
    ]
    width = 1.959964 * peer["se(coef)"]
    low, high = axes.get_xlim()
    np.testing.assert_allclose(
        ends, np.clip(np.exp(sd * (peer["coef"] + np.array([-width, width]))), low, high), rtol=3e-3
    )

"""From simulated UK Biobank tables and a spec to gated tables, a record and checklists, through the command line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from cmr_models.simulate.biobank import ukb_table
from cmr_models.simulate.cohort import simulate_cohort
from cmr_models.simulate.measured import example_tables, measure_phenotypes
from cmr_models.simulate.planted import CohortSettings
from flows.cli import main
from tasks.analysis.by_spec import TABLES, run_spec
from tasks.analysis.makers import Inputs
from tasks.analysis.spec_file import read_spec
from tasks.analysis.spec_tables import SpecTables, read_tables
from tasks.sources.withdrawn import withdrawn_people

EXAMPLE = Path(__file__).parents[2] / "infra/analysis/ukb.yaml"
_PLANTED = CohortSettings(hazard_factor=4.0, prevalence_factor=2.0)


def _content() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())
    days = dict.fromkeys(("england", "scotland", "wales"), _PLANTED.censoring_date)
    content["dates"]["censoring"] = dict.fromkeys(("inpatient", "death", "cancer"), days)
    content["outcomes"] = [row for row in content["outcomes"] if row["name"] in ("heart_failure", "diabetes", "death")]
    content["exposures"] = [{"name": "lvef_pct"}, {"name": "lvm_g", "transform": "inverse_normal"}]
    content["families"] = {"left_ventricle": ["lvef_pct", "lvm_g"]}
    content["fairness"] |= {"group_by": ["sex", "ethnicity"], "permutations": 19, "quality": ["dice"]}
    content["fairness"]["agreement"] = [{"measured": "lvef_pct", "reference": "lvef_by_hand", "margin": 2.0}]
    content["missing"] = {"imputations": 2, "cycles": 2}
    content["prediction"] = {
        "steps": {"age and sex": ["age_years", "sex"], "heart": ["lvef_pct", "lvm_g"]},
        "horizon_years": 4.0,
        "folds": 3,
        "thresholds": [0.05, 0.1, 0.3],
        "resamples": 2,
    }
    content["features"] = {"table": "pretrain-network"}
    content["participation"] = {"margins": {"sex": {"female": 0.52, "male": 0.48}}}
    return content


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A platform-style export, phenotypes with a reference reading, a spec."""
    root = tmp_path_factory.mktemp("ukb")
    rng = np.random.default_rng(1)
    cohort = simulate_cohort(600, rng, _PLANTED)
    table = ukb_table(cohort, rng, censoring_date=_PLANTED.censoring_date, style="rap")
    table.loc[:6, "p131354"] = "1900-01-01"
    table.to_csv(root / "ukb.csv", index=False)
    phenotypes = measure_phenotypes(cohort.truth, rng, _PLANTED)
    phenotypes["lvef_by_hand"] = cohort.truth["lvef_pct"].where(phenotypes["status"] == "ok")
    phenotypes["dice"] = (0.9 + 0.02 * rng.standard_normal(len(phenotypes))).clip(0, 1)
    (root / "cohort/tables/predictions").mkdir(parents=True)
    phenotypes.to_parquet(root / "cohort/tables/phenotypes.parquet")
    _features(phenotypes, False).to_parquet(root / "cohort/tables/predictions/pretrain-network.parquet")
    _features(phenotypes, True).to_parquet(root / "cohort/tables/predictions/pretrain-seen.parquet")
    (root / "analysis.yaml").write_text(yaml.safe_dump(_content()))
    return root


def _features(phenotypes: pd.DataFrame, seen: bool) -> pd.DataFrame:
    """Four features of a network, of which one knows the ejection fraction."""
    drawn = np.random.default_rng(3).standard_normal((len(phenotypes), 4))
    table = phenotypes[["participant", "visit", "status"]].copy()
    for k in range(4):
        table[f"cls_ed_{k}"] = drawn[:, k] + (k == 0) * phenotypes["lvef_pct"].fillna(60) / 10
    return table.assign(model_has_seen_cohort=pd.array([seen] * len(table), "boolean"))


@pytest.fixture(scope="module")
def results(folder: Path) -> Path:
    """The folder of results after the three commands."""
    where = set()
    for stage in TABLES:
        arguments = [stage, "--cohort", str(folder / "cohort"), "--spec", str(folder / "analysis.yaml")]
        done = CliRunner().invoke(main, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        where.add(done.output.splitlines()[-1].removeprefix("results: "))
    (one,) = where
    return Path(one)


def _tables(results: Path) -> dict[str, pd.DataFrame]:
    return {path.stem: pd.read_parquet(path) for path in sorted(results.glob("*.parquet"))}


def test_every_table_of_every_stage_is_there_with_the_digest_of_the_spec(folder: Path, results: Path) -> None:
    tables = _tables(results)
    assert set(tables) == {name for names in TABLES.values() for name in names}
    digest = read_spec(folder / "analysis.yaml").digest
    assert all(table["spec_digest"].eq(digest).all() for table in tables.values())
    assert results.name == digest[:12]


def test_no_small_number_is_in_any_table(results: Path) -> None:
    for name, table in _tables(results).items():
        for column in {"n", "n_events", "n_at_risk"} & set(table):
            assert not table[column].between(1, 4).any(), (name, column)
        if "n_events" in table:
            assert not (table["n"] - table["n_events"]).between(1, 4).any(), name


def test_a_number_is_there_if_and_only_if_the_row_is_ok(results: Path) -> None:
    for name, table in _tables(results).items():
        if name != "flow":
            assert (table["estimate"].notna() == (table["status"] == "ok")).all(), name
            assert ((table["reason"] == "") == (table["status"] == "ok")).all(), name


def test_people_without_a_day_of_their_record_are_counted_and_left_out(results: Path) -> None:
    flow = _tables(results)["flow"].set_index(["outcome", "step"])["n"]
    assert flow["heart_failure", "record without a day"] == 5  # seven, rounded
    assert flow["", "participants"] == 600


def test_imputed_stands_beside_complete_and_weighted(results: Path) -> None:
    tables = _tables(results)
    imputed = tables["hazards_imputed"]
    by_model = imputed[(imputed["exposure"] == "lvef_pct") & (imputed["outcome"] == "heart_failure")].set_index("model")
    complete, filled = by_model.loc["cox_age_complete"], by_model.loc["cox_age_imputed"]
    assert filled["n"] > complete["n"]
    assert 0 < filled["fraction_missing"] < 0.5
    assert abs(np.log(filled["estimate"] / complete["estimate"])) < 2 * complete["se"]
    assert tables["hazards_weighted"]["status"].eq("ok").any()


def test_prediction_shows_what_each_set_adds(results: Path) -> None:
    tables = _tables(results)
    rows = tables["prediction"].set_index(["outcome", "exposure", "measure"]).sort_index()
    failure = rows.loc["heart_failure"]
    assert set(failure.index.get_level_values(0)) == {"age and sex", "heart", "network features"}
    assert failure.loc[("heart", "concordance_gain"), "z"] > 2  # planted: ejection fraction
    wanted = {"concordance", "uno", "auc", "brier", "integrated_brier", "ici", "calibration_slope"}
    assert wanted <= set(failure.loc["heart"].index)
    assert rows.xs("network features", level="exposure")["seen_in_training"].eq("no").all()
    tenths = tables["prediction_calibration"].query("status == 'ok'")
    assert tenths["predicted"].between(0, 1).all()
    curves = tables["prediction_decisions"].query("status == 'ok'")
    assert (curves["n_at_risk"] % 5 == 0).all()
    assert set(curves["threshold"]) <= {0.05, 0.1, 0.3}


def test_features_of_a_network_that_has_seen_the_cohort_are_named_and_left_out(folder: Path, tmp_path: Path) -> None:
    content = _content() | {"tables": {"ukb": str(folder / "ukb.csv")}, "missing": {}, "participation": {}}
    content["exposures"].append({"name": "cls_ed_0"})
    content["prediction"]["outcomes"] = ["death"]
    tables = {}
    for choice in ("exclude", "flag"):
        content["features"] = {"table": "pretrain-seen", "columns": ["cls_ed_0"], "seen": choice}
        (tmp_path / f"{choice}.yaml").write_text(yaml.safe_dump(content))
        tables[choice] = _tables(run_spec("risk", tmp_path / f"{choice}.yaml", folder / "cohort")["folder"])
    left_out, flagged = (tables[choice]["hazards"].query("exposure == 'cls_ed_0'") for choice in ("exclude", "flag"))
    assert left_out["estimate"].isna().all()
    assert set(left_out["reason"]) == {"seen_in_training"}
    assert flagged["estimate"].notna().any()
    for table in (left_out, flagged):
        assert set(table["seen_in_training"]) == {"yes"}
    assert "network features" not in set(tables["exclude"]["prediction"]["exposure"])
    assert "network features" in set(tables["flag"]["prediction"]["exposure"])


def test_the_page_shows_the_figures_of_what_was_published(results: Path) -> None:
    page = (results / "report/index.html").read_text()
    figures = {path.stem for path in (results / "report/assets/figures").glob("*.svg")}
    assert {"miami_associations", "miami_hazards", "prediction", "prediction_decisions"} <= figures
    assert all(f"assets/figures/{name}.svg" in page for name in figures)
    assert "<title>lvef_pct · heart_failure" in page


def test_fairness_says_what_it_is_about(results: Path) -> None:
    tables = _tables(results)
    assert {"auc", "sensitivity", "calibration"} == set(tables["fairness_prediction"]["model"])
    assert {"bias", "mean_quality", "standardised_mean"} == set(tables["fairness_measurement"]["model"])
    assert "sex x age_band" in set(tables["fairness"]["group_by"])
    gaps = tables["fairness_measurement"].query("model == 'bias' and group == 'max_gap' and group_by == 'sex'")
    assert gaps["equivalence_p"].iloc[0] < 0.05  # the errors are the same by construction
    parts = tables["decomposition"].query("exposure == 'lvef_pct error' and group_by == 'sex'").set_index("component")
    blocks = parts.loc[["acquisition", "prevalence", "model"], "estimate"].sum()
    # Four numbers, each within half its step, which is at most five times 2 se / n ** 0.5 of the people.
    steps = 5 * 2 * parts["se"] / np.sqrt(parts["n"])
    assert abs(blocks - parts.loc["total", "estimate"]) <= steps.sum() / 2 + 1e-9


def test_the_record_and_the_checklists_account_for_every_table(results: Path) -> None:
    record = json.loads((results / "disclosure_record.json").read_text())["results"].values()
    assert sorted(entry["uid"] for entry in record) == sorted(_tables(results))
    assert {entry["status"] for entry in record} <= {"pass", "fail", "review"}
    strobe, tripod = ((results / name).read_text() for name in ("strobe.md", "tripod_ai.md"))
    assert "| 22 | funding | to be written by the authors |" in strobe
    assert "600 people came" in strobe
    assert [f"| {k} |" in tripod for k in range(1, 28)] == [True] * 27
    assert all((results / name).exists() for text in (strobe, tripod) for name in _files(text))


def _files(text: str) -> set[str]:
    return {word for word in text.split("`") if word.endswith((".parquet", ".json"))}


def test_the_same_spec_again_has_nothing_to_do(folder: Path, results: Path) -> None:
    assert run_spec("associate", folder / "analysis.yaml", folder / "cohort")["status"] == "current"


def test_a_release_that_differs_by_a_few_people_gives_nobody_away(folder: Path, results: Path) -> None:
    content = _content()
    people = pd.read_csv(folder / "ukb.csv")["p21002_i2"].sort_values().dropna().to_numpy()
    content["exclusions"] = [{"name": "three heaviest", "column": "weight_kg", "above": float(people[-4])}]
    (folder / "other.yaml").write_text(yaml.safe_dump(content))
    result = run_spec("associate", folder / "other.yaml", folder / "cohort")
    table = pd.read_parquet(result["folder"] / "associations.parquet")
    before = _tables(results)["associations"]
    both = table.merge(before, on=["exposure", "outcome", "scale", "covariate_set"], suffixes=("", "_before"))
    change = (both["n"] - both["n_before"]).abs()
    assert not change.between(1, 4).any()
    # Three fewer people: as some group counts few, both releases are rounded to fives, and nothing has to be masked.
    assert set(table["rounded_to"]) == set(before["rounded_to"]) == {5}
    assert (both["n"].dropna() % 5 == 0).all()
    assert not (table["reason"] == "differencing").any()


def test_tables_of_another_cohort_are_mapped(tmp_path: Path) -> None:
    phenotypes, participants, outcomes = example_tables(300, np.random.default_rng(2), _PLANTED)
    (tmp_path / "cohort/tables").mkdir(parents=True)
    phenotypes.to_parquet(tmp_path / "cohort/tables/phenotypes.parquet")
    participants.rename(columns={"age_years": "age_at_scan"}).to_csv(tmp_path / "people.csv", index=False)
    outcomes.to_csv(tmp_path / "outcomes.csv", index=False)
    spec = {
        "name": "elsewhere",
        "tables": {"participants": "people.csv", "outcomes": "outcomes.csv", "columns": {"age_years": "age_at_scan"}},
        "conditions": ["hypertension"],
        "exposures": [{"name": "lvm_g"}],
        "covariate_sets": {"one": ["height_cm"]},
        "primary": "one",
        "strata": ["sex"],
        "disclosure": {"threshold": 10, "base": 5},
    }
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
    result = run_spec("risk", tmp_path / "spec.yaml", tmp_path / "cohort")
    hazards = pd.read_parquet(result["folder"] / "hazards.parquet")
    assert hazards["status"].eq("ok").all()
    assert (hazards[["n", "n_events"]] % 5 == 0).all(axis=None)


def test_a_field_that_is_not_exported_stops_the_command_with_its_number(folder: Path, tmp_path: Path) -> None:
    content = _content() | {"tables": {"ukb": str(folder / "ukb.csv")}}
    content["people"]["pulse"] = {"field": 102}
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError, match="field 102 instance 2: absent"):
        run_spec("associate", tmp_path / "spec.yaml", folder / "cohort")


def test_people_who_withdrew_are_in_no_analysis_of_fields_alone(folder: Path, tmp_path: Path) -> None:
    table = pd.read_csv(folder / "ukb.csv", dtype=str)
    gone = table["eid"].iloc[:40].tolist() if "eid" in table else table.iloc[:40, 0].tolist()
    table["p102_i2"] = np.random.default_rng(0).integers(50, 90, len(table))
    table.to_csv(tmp_path / "ukb.csv", index=False)
    content = {**_content(), "exposures": [{"name": "pulse", "field": 102}], "families": {}, "features": {}}
    content |= {
        "prediction": {},
        "missing": {},
        "participation": {},
        "fairness": {"group_by": ["sex"], "permutations": 9},
    }
    (tmp_path / "cohort").mkdir()
    flows = {}
    for choice in ("all", "settings", "spec"):
        (tmp_path / "withdrawn.csv").write_text("\n".join(f"{eid}.0" for eid in gone))
        tables = {"ukb": "ukb.csv"} | ({"withdrawn": "withdrawn.csv"} if choice == "spec" else {})
        (tmp_path / "spec.yaml").write_text(yaml.safe_dump({**content, "tables": tables}))
        listed = tmp_path / "withdrawn.csv" if choice == "settings" else None
        folder_of = run_spec("associate", tmp_path / "spec.yaml", tmp_path / "cohort", listed)["folder"]
        flow = pd.read_parquet(folder_of / "flow.parquet")
        flows[choice] = flow.groupby(["group_by", "step"])["n"].first().to_dict()
        people = Inputs.of(read_spec(tmp_path / "spec.yaml").spec, _read(tmp_path, listed)).people
        assert people["participant"].isin(gone).sum() == (40 if choice == "all" else 0)
    assert flows["settings"] == flows["spec"]
    assert flows["spec"]["overall", "rows of people who withdrew, left out"] == 40


def _read(folder: Path, listed: Path | None) -> SpecTables:
    file = read_spec(folder / "spec.yaml")
    own = folder / file.spec.tables.withdrawn if file.spec.tables.withdrawn else None
    return read_tables(file, folder / "cohort", withdrawn_people(folder / "cohort", listed, own))

"""A cohort with planted small cells, published and attacked: nothing is recovered, and all of it without the gate."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import release_attacker
from planted_release import PHENOTYPES, draw, publish, write
from release_attacker import Finding, between_releases, recover, recover_between, values_between

from cmr_models.analysis.disclosure import masking
from cmr_models.analysis.disclosure.audit import audit
from cmr_models.simulate.measured import example_tables
from tasks.analysis import publishing
from tasks.analysis.by_settings import UserFiles, risk
from tasks.analysis.makers import Inputs
from tasks.analysis.settings import AnalysisSettings
from tasks.report import site
from tasks.report.counts import Counts

REASONS = ("zip_corrupt", "no_dicom", "dicom_corrupt", "wrong_series")
PEOPLE = 200
EXTREME_ML = 700.0
FIGURE = "reports/assets/figures/distributions.svg"


def write_planted(folder: Path, seed: int) -> None:
    """200 measured people: one woman, centres of two and five, three cases; four set aside, each for its own reason.

    One man of the centre ``east`` has a left ventricle of 700 ml.
    """
    phenotypes, participants, outcomes = draw(PEOPLE, seed)
    phenotypes.loc[phenotypes["participant"] == participants["participant"].iloc[20], "lvedv_ml"] = EXTREME_ML
    participants["sex"] = np.where(np.arange(len(participants)) == 7, "female", "male")
    participants["centre"] = np.repeat(["tiny", "small", "east", "west"], [2, 5, 83, 110])
    ill = participants["participant"].iloc[[3, 50, 120]]
    at_visit = outcomes["condition"] == "hypertension"
    outcomes.loc[at_visit, "prevalent"] = outcomes.loc[at_visit, "participant"].isin(ill).astype(int)
    write(folder, phenotypes, participants, outcomes, REASONS)


def write_plain(folder: Path, n: int, seed: int = 5) -> None:
    """The first ``n`` of 240 people, of whom nothing counts few; nobody is set aside."""
    phenotypes, participants, outcomes = draw(240, seed)
    participants["sex"] = np.where(np.arange(240) % 11 < 5, "female", "male")
    participants["centre"] = np.repeat(["east", "west"], 120)
    own = participants.iloc[:n]
    outcomes = outcomes[outcomes["participant"].isin(own["participant"])]
    write(folder, phenotypes[phenotypes["participant"].isin(own["participant"])], own, outcomes, ())


def _told(found: list[Finding]) -> dict[str, bool]:
    """Which of the planted cells were recovered."""
    texts = [finding.what for finding in found]
    return {
        "woman": any("sex/female/n" in text or "people not shown" in text for text in texts),
        "her value": any("not shown by sex" in text or "value of the one" in text for text in texts),
        "centre": any("centre/tiny/n" in text for text in texts),
        "cases": any("asked/overall/all/events" in text or "asked/overall/all/not at risk" in text for text in texts),
        "reasons": any(text.startswith("flow") for text in texts),
        "extreme": any("lvedv_ml centre east: how far" in text for text in texts),
    }


@pytest.mark.parametrize("seed", [3, 11])
def test_an_attacker_recovers_nothing_from_what_is_published(tmp_path: Path, seed: int) -> None:
    write_planted(tmp_path, seed)
    cohort = publish(tmp_path)
    assert recover(cohort) == []
    estimates = pd.concat([pd.read_parquet(path) for path in (cohort / "tables/estimates").glob("*.parquet")])
    assert estimates["n"].notna().mean() > 0.6  # most numbers are still there
    report = pd.read_csv(cohort / "tables/disclosure.csv")
    assert not report["determined"].eq(True).any()
    assert {"fairness", "associations", "hazards", "all tables together"} <= set(report["table"])
    assert "dominated" in set(report["why"])
    shown = pd.read_csv(cohort / "reports/assets/tables/hidden_cells.csv")
    assert "page and tables together" in set(shown["table"])


def test_without_a_minimum_every_planted_cell_is_there_to_read(tmp_path: Path) -> None:
    write_planted(tmp_path, 3)
    found = recover(publish(tmp_path, minimum=1))
    told = _told(found)
    assert told == dict.fromkeys(told, True)
    (extreme,) = [row for row in found if "lvedv_ml centre east: how far" in row.what]
    east = pd.read_csv(tmp_path / "participants.csv").query("centre == 'east'")["participant"].astype(str)
    table = pd.read_parquet(tmp_path / "cohort/tables/phenotypes.parquet")
    mean = table.loc[table["participant"].astype(str).isin(east), "lvedv_ml"].mean()
    assert (extreme.low + extreme.high) / 2 == pytest.approx(EXTREME_ML - mean, rel=0.1)


def test_masking_table_by_table_is_undone_by_the_attacker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With exact counts and no look at all tables together, as it once was, the masked cells come back."""
    monkeypatch.setattr(Inputs, "count_base", None)
    monkeypatch.setattr(masking, "leaves_whole_range", lambda *_: True)
    monkeypatch.setattr(publishing, "_release_beside", lambda _, __, passed, *___: passed)
    monkeypatch.setattr(site, "safe_counts", lambda _, counts, *__: (counts, audit({}, 5)))
    monkeypatch.setattr(Counts, "of", lambda _, minimum, **__: Counts(minimum))
    monkeypatch.setattr(Counts, "texts", lambda self, counts, **_: {name: self.text(n) for name, n in counts.items()})
    write_planted(tmp_path, 3)
    told = _told(recover(publish(tmp_path)))
    assert (told["woman"], told["centre"], told["reasons"]) == (True, True, True)


def _two_releases(folder: Path) -> tuple[Path, Path]:
    """A cohort of 240 and, in the same folder, of 239: what was published first, and then."""
    write_plain(folder, 240)
    first = folder / "first"
    shutil.copytree(publish(folder), first)
    write_plain(folder, 239)
    return first, publish(folder)


def test_two_releases_with_their_pages_do_not_tell_who_left(tmp_path: Path) -> None:
    first, second = _two_releases(tmp_path)
    assert recover_between(first, second) == []
    assert recover(second) == []
    drawn = [release_attacker.fitting_numbers(release / FIGURE, 100, 140) for release in (first, second)]
    assert drawn[0][:2] == [[130], [110]]  # bins of exact numbers of men and women tell them; nothing is small there
    assert not {130, 129, 109} & {n for numbers in drawn[1] for n in numbers if n % 5}


def test_a_page_that_forgets_the_one_before_tells_that_one_person_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "safe_counts", lambda _, counts, *__: (counts, audit({}, 5)))
    monkeypatch.setattr(publishing, "released_counts", lambda *_: [])
    found = {finding.what: finding for finding in recover_between(*_two_releases(tmp_path))}
    assert (found["page, LV end-diastolic volume Men"].low, found["page, LV end-diastolic volume Men"].high) == (
        1,
        1,
    )
    assert any(what.startswith("n of") for what in found)


def test_two_releases_do_not_tell_who_left_in_between(tmp_path: Path) -> None:
    """A person withdraws: neither how many left nor the value of the one is the difference of two releases."""
    phenotypes, participants, outcomes = example_tables(300, np.random.default_rng(5))
    phenotypes = phenotypes[phenotypes["status"] == "ok"].iloc[:250]
    participants = participants[participants["participant"].isin(phenotypes["participant"])]
    participants = participants.assign(height_cm=170.0, weight_kg=75.0)
    releases = []
    for n in (250, 249):
        (tmp_path / "cohort/tables").mkdir(parents=True, exist_ok=True)
        phenotypes.iloc[:n].to_parquet(tmp_path / "cohort/tables/phenotypes.parquet")
        participants.to_csv(tmp_path / "participants.csv", index=False)
        outcomes.to_csv(tmp_path / "outcomes.csv", index=False)
        settings = AnalysisSettings(phenotypes=PHENOTYPES, conditions=("death",), covariates=(), group_by=("sex",),
                                    permutations=9)  # fmt: skip
        risk(tmp_path / "cohort", settings, UserFiles(tmp_path / "participants.csv", tmp_path / "outcomes.csv"))
        releases.append(pd.read_parquet(tmp_path / "cohort/tables/estimates/fairness.parquet"))
    assert between_releases(*releases, 5) == []
    assert values_between(*releases) == []
    # Had both been in full: a log odds ratio that moved by 0.0123 with a variance of 0.01 tells of 1.23 SDs.
    one = {"exposure": "x", "outcome": "y", "model": "logistic", "scale": "per_sd", "group_by": "sex", "group": "male"}
    full = [pd.DataFrame([{**one, "measure": "odds_ratio", "estimate": np.exp(log), "se": 0.1}])
            for log in (0.3123456, 0.3000456)]  # fmt: skip
    (told,) = values_between(*full)
    assert (told.low, told.high) == pytest.approx((1.23, 1.23), abs=1e-4)
    # The first release alone, had it been exact, and an exact second one: one person is told.
    row = {"exposure": "x", "outcome": "", "model": "mean", "scale": "absolute", "group_by": "sex", "group": "male"}
    exact = [pd.DataFrame([{**row, "measure": "mean", "n": n, "n_events": np.nan}]) for n in (130.0, 129.0)]
    assert [(found.low, found.high) for found in between_releases(*exact, 5)] == [(1, 1)]
    # Means: 130 x (new - old) is what the one lies from the mean; both are steps of 2 SD / n or more.
    means = [release[(release["measure"] == "mean") & (release["status"] == "ok")] for release in releases]
    assert len(means[0]) == len(means[1]) >= 6
    for old, new in zip(*(table.to_dict("records") for table in means), strict=True):
        sd = old["se"] * np.sqrt(old["n"])
        moved = old["n"] * (new["estimate"] - old["estimate"])
        assert moved == 0 or abs(moved) > 1.9 * sd  # no step, or at least one: what lies between is not told


def test_what_the_attacker_is_told_by_rounding() -> None:
    assert release_attacker.window(45, 5) == (43, 47)
    assert (release_attacker.window(0, 5), release_attacker.window(5, 5)) == ((0, 0), (5, 7))
    assert release_attacker.window(44, 1) == (44, 44)
    puzzle = release_attacker.Puzzle()
    puzzle.know("a", 1, 4)
    puzzle.know("b", 5, 100)
    puzzle.add({"a": 1, "b": 1}, 6, 6)
    assert puzzle.range({"a": 1}) == (1, 1)  # six less at least five

"""Perfusion, quality rules, bins of figures and evaluations, attacked: nothing is told, and all without the gate."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from planted_release import draw, publish, publish_evaluation, write, write_perfusion
from release_attacker import Finding, recover

from cmr_models.analysis.disclosure.audit import audit
from tasks.analysis import by_settings
from tasks.evaluation import cohort as evaluations
from tasks.report import distributions, index_page, site
from tasks.report.counts import Counts
from tasks.state.published_beside import Beside

PEOPLE = 240


def write_planted(folder: Path, seed: int) -> None:
    """240 measured people: three women, and 60 whose sex nobody knows; one first pass failed; one breaks a rule.

    Twelve break another rule; of 45 first passes 44 could be measured, 20 of them with a limitation.
    """
    phenotypes, participants, outcomes = draw(PEOPLE, seed)
    at = np.arange(PEOPLE)
    participants["sex"] = np.select([at < 3, at < 63], ["female", ""], "male")
    participants["centre"] = np.repeat(["east", "west"], PEOPLE // 2)

    def quality(k: int) -> dict[str, bool]:
        return {"qc_sax_slices": k != 100, "qc_heart_rate": not 120 <= k < 132}

    cohort = write(folder, phenotypes, participants, outcomes, quality=quality)
    studies = (phenotypes["participant"].astype(str) + "-" + phenotypes["visit"].astype(str)).tolist()
    write_perfusion(cohort, 44, 1, 20, of=studies)


def _kinds(found: list[Finding]) -> dict[str, bool]:
    texts = [finding.what for finding in found]
    return {
        "perfusion": "perfusion: set aside" in texts,
        "rule": any(text.startswith("quality:") for text in texts),
        "bins": any(text.startswith("Figure,") and "others" in text for text in texts),
    }


@pytest.fixture
def all_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A figure that draws all people beside the men, as Table 1 has them: the difference is women and the unknown."""
    monkeypatch.setattr(distributions, "drawn_groups", lambda _: ["female", "male", "all"])


@pytest.mark.parametrize(("seed", "figure"), [(3, "all_drawn"), (11, "tmp_path"), (27, "all_drawn")])
def test_page_with_perfusion_rules_and_bins_tells_nothing_small(
    tmp_path: Path, seed: int, figure: str, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(figure)
    write_planted(tmp_path, seed)
    cohort = publish(tmp_path)
    assert recover(cohort) == []
    page = (cohort / "reports/index.html").read_text()
    assert "Of 45 studies with a first-pass series, 45 were measured; 20 of these" in page  # 44, in multiples of five
    rows = pd.read_csv(cohort / "reports/assets/tables/quality.csv").set_index("code")
    assert rows.loc["heart_rate_implausible", "flagged"] == "10"  # of twelve
    assert rows.loc["lv_slices_few", "flagged"] == "< 5"


def test_without_a_minimum_page_tells_each_of_them(tmp_path: Path) -> None:
    write_planted(tmp_path, 3)
    assert _kinds(recover(publish(tmp_path, minimum=1))) == {"perfusion": True, "rule": True, "bins": False}


def test_a_page_that_is_not_looked_at_as_a_whole_tells_each_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, all_drawn: None
) -> None:
    """Small numbers are hidden one by one, as they once were; all others are exact."""
    monkeypatch.setattr(site, "safe_counts", lambda _, counts, *__: (counts, audit({}, 5)))
    monkeypatch.setattr(index_page, "are_rounded", lambda _: False)
    monkeypatch.setattr(Counts, "of", lambda _, minimum, **__: Counts(minimum))
    write_planted(tmp_path, 3)
    assert _kinds(recover(publish(tmp_path))) == {"perfusion": True, "rule": True, "bins": True}


# evaluations


def write_plain(folder: Path, seed: int) -> pd.DataFrame:
    """240 people of whom nothing counts few; returns the references of all but one of them, who is a man."""
    phenotypes, participants, outcomes = draw(PEOPLE, seed)
    participants["sex"] = np.where(np.arange(PEOPLE) % 11 < 5, "female", "male")
    participants["centre"] = np.repeat(["east", "west"], PEOPLE // 2)
    write(folder, phenotypes, participants, outcomes)
    studies = phenotypes["participant"].astype(str) + "-" + phenotypes["visit"].astype(str)
    references = pd.DataFrame({"study": studies, "lvef_pct": phenotypes["lvef_pct"] + 0.5})
    return references.drop(index=8)


@pytest.mark.parametrize("seed", [5, 12])
@pytest.mark.parametrize("evaluated_first", [False, True])
def test_an_evaluation_of_all_but_one_does_not_tell_that_one(tmp_path: Path, seed: int, evaluated_first: bool) -> None:
    references = write_plain(tmp_path, seed)
    if evaluated_first:
        publish_evaluation(tmp_path, references)
        cohort = publish(tmp_path)
    else:
        cohort = publish(tmp_path)
        publish_evaluation(tmp_path, references)
    assert recover(cohort) == []
    summary = pd.read_parquet(cohort / "tables/evaluations/regressor/summary.parquet").set_index(["measure", "group"])
    means = pd.read_parquet(cohort / "tables/estimates/fairness.parquet").query("model == 'mean' and group == 'all'")
    told = summary.loc[("bias", "all"), "n"], means.set_index("exposure").loc["lvef_pct", "n"]
    assert told == ((239, 240) if evaluated_first else (240, 240))  # 239 rounded, beside 240 exact or rounded
    assert set(means["rounded_to"]) == {5.0 if evaluated_first else 1.0}


@pytest.mark.parametrize("evaluated_first", [False, True])
def test_what_is_published_without_regard_to_the_other_tells_the_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evaluated_first: bool
) -> None:
    monkeypatch.setattr(evaluations, "all_beside", lambda *_: Beside())
    for module in (by_settings, site):
        monkeypatch.setattr(module, "evaluations_beside", lambda *_: Beside())
    references = write_plain(tmp_path, 5)
    if evaluated_first:
        publish_evaluation(tmp_path, references)
    cohort = publish(tmp_path)
    if not evaluated_first:
        publish_evaluation(tmp_path, references)
    told = {finding.what: (finding.low, finding.high) for finding in recover(cohort)}
    assert told["regressor beside fairness, ('lvef_pct', 'overall', 'all'): not evaluated"] == (1, 1)
    assert told["regressor beside Table 1, ('lvef_pct', 'sex', 'male'): not evaluated"] == (1, 1)

"""Tables to give away: pseudonyms by hand, nothing that leads back, and a key that stays where it is."""

import hashlib
import hmac
import stat
from pathlib import Path

import pandas as pd
import pytest

from tasks.convert.study_table import write_study_table
from tasks.derive import perfusion_tables
from tasks.derive.phenotype_tables import write_tables
from tasks.maintenance.export import LEFT_OUT, Pseudonyms, export_tables, read_key
from tasks.state.ledger import Outcome, open_ledger
from tasks.state.mistakes import UserMistake
from tasks.state.store import Cohort

_KEY = "a" * 64
_CURVE = {name: [1.0, 2.0] for name in ("time_ms", "lv_ml", "myocardium_ml", "rv_ml")}
STUDIES = ("1000012-2", "1000020-2", "1000035-2", "hospital_7-0a1b2c3d")


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    cohort = Cohort(tmp_path / "cohort")
    left_out = [{"series": 1, "description": "scout", "reason": "series_scout"}]
    with open_ledger(cohort.ledger) as ledger:
        for study in STUDIES:
            ledger.record([Outcome(study, "convert", "ok", key=f"source of {study}", summary={"excluded": left_out})])
            summary = {"phenotypes": {"lvef_pct": float(study[6:7] if study[0] == "1" else 9)}, "curves": _CURVE}
            ledger.record([Outcome(study, "derive", "ok", key="k", summary=summary)])
        write_study_table(ledger, cohort)
        write_tables(ledger, cohort)
        perfusion_tables.write_tables(ledger, cohort)  # without a row
    (tmp_path / "key").write_text(_KEY + "\n")
    (tmp_path / "key").chmod(0o600)
    return cohort


def _by_hand(text: str) -> str:
    return hmac.new(_KEY.encode(), text.encode(), hashlib.sha256).hexdigest()[:32]


def test_names_are_keyed_hashes_and_nothing_leads_back(cohort: Cohort, tmp_path: Path) -> None:
    found = export_tables(cohort, tmp_path / "out", tmp_path / "key", {"1000035"})
    rows = {"studies.parquet": 3, "phenotypes.parquet": 3, "curves.parquet": 6}
    assert found == {**rows, "perfusion.parquet": 0, "perfusion_segments.parquet": 0}
    table = pd.read_parquet(tmp_path / "out/phenotypes.parquet")
    visit = _by_hand("visit hospital_7 0a1b2c3d")[:8]
    expected = {
        f"{_by_hand('participant 1000012')}-2": 2.0, f"{_by_hand('participant 1000020')}-2": 0.0,
        f"{_by_hand('participant hospital_7')}-{visit}": 9.0,
    }  # fmt: skip
    assert dict(zip(table["study"], table["lvef_pct"], strict=True)) == expected
    assert table["study"].is_monotonic_increasing
    assert (table["participant"] + "-" + table["visit"] == table["study"]).all()
    for path in (tmp_path / "out").iterdir():
        content = path.read_bytes()
        assert not any(name.encode() in content for name in ("1000012", "1000020", "1000035", "hospital", "0a1b2c3d"))
        assert _KEY.encode() not in content
        if path.suffix == ".parquet":
            assert not set(LEFT_OUT) & set(pd.read_parquet(path))
    assert set(pd.read_parquet(tmp_path / "out/curves.parquet")["study"]) == set(expected)


def test_one_key_gives_one_pseudonym_for_all_spellings_and_another_key_another() -> None:
    name = Pseudonyms(b"1" * 64)
    assert name.participant("12.0") == name.participant("12") != name.participant("13")
    assert name.participant("12") != Pseudonyms(b"2" * 64).participant("12")
    assert name.study("a-b-3") == f"{name.participant('a-b')}-3"


def test_a_key_is_made_for_its_owner_alone_and_one_that_others_can_read_is_refused(tmp_path: Path) -> None:
    made = read_key(tmp_path / "new")
    assert len(made) == 64
    assert read_key(tmp_path / "new") == made
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600
    (tmp_path / "new").chmod(0o640)
    with pytest.raises(UserMistake, match="others can read the key"):
        read_key(tmp_path / "new")
    (tmp_path / "short").write_text("secret")
    (tmp_path / "short").chmod(0o600)
    with pytest.raises(UserMistake, match="fewer than 64 letters"):
        read_key(tmp_path / "short")


@pytest.mark.parametrize(
    ("folder", "key", "message"),
    [
        ("full", "key", "holds something already"),
        ("cohort/out", "key", "lies in the cohort"),
        ("out", "out/key", "which is given away"),
        ("out", "nowhere/key", "there is no folder"),
    ],
)
def test_places_that_would_give_the_key_or_the_cohort_away_are_refused(
    cohort: Cohort, tmp_path: Path, folder: str, key: str, message: str
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    with pytest.raises(UserMistake, match=message):
        export_tables(cohort, tmp_path / folder, tmp_path / key, ())
    assert not (tmp_path / "out").exists()

"""From a simulated archive to the report through the command line; again; and after changes of the archive."""

import shutil
import sqlite3
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from cmr_models.simulate.faults import FAULTS
from tasks.state.store import Cohort

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
Command = Callable[..., "subprocess.Popen[str]"]


def _run(command: Command, folder: Path) -> str:
    process = command("run", "--config", folder / "cohort.toml", "--profile", "in-process")
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    return output


def _pack_again(path: Path) -> None:
    """The same members in other bytes, as an archive that was sent again."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _published(folder: Path) -> dict[str, int]:
    root = folder / "cohort"
    files = [*root.glob("studies/*/*/*.zarr.zip"), *root.glob("predictions/*/*/*/*.zarr.zip")]
    return {str(path.relative_to(root)): path.stat().st_mtime_ns for path in files}


def _phenotypes(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "cohort/tables/phenotypes.parquet").set_index("participant")


def test_every_study_ends_somewhere(finished: Path) -> None:
    with sqlite3.connect(finished / "cohort/ledger.sqlite") as ledger:
        counts = dict(ledger.execute("SELECT stage, COUNT(*) FROM outcomes GROUP BY stage"))
    assert counts == {"convert": 8, "segment": 8, "derive": 8, "perfusion": 8}
    table = _phenotypes(finished)
    assert len(table) == 8
    assert table["status"].value_counts().to_dict() == {"ok": 7, "quarantined": 1}
    assert set(table.loc[table["status"] == "quarantined", "reason"]) == {FAULTS["truncated_zip"].expected}


def test_a_missing_number_is_nan_with_a_reason(finished: Path) -> None:
    table = _phenotypes(finished)
    quarantined = table[table["status"] == "quarantined"]
    assert quarantined["lvef_pct"].isna().all()
    assert quarantined["missing_reasons"].str.contains("zip_corrupt").all()


def test_simulated_hearts_are_measured_as_they_are(finished: Path) -> None:
    truth = pd.read_parquet(finished / "truth.parquet").set_index("participant")
    table = _phenotypes(finished).query("status == 'ok'")
    error = table["lvef_pct"] - truth.loc[table.index, "lvef_pct"]
    assert error.abs().mean() < 3
    volume = table["lvedv_ml"] / truth.loc[table.index, "lvedv_ml"]
    assert volume.between(0.85, 1.15).all()


def test_tables_and_pages_are_there(finished: Path) -> None:
    root = finished / "cohort"
    estimates = {path.stem for path in (root / "tables/estimates").glob("*.parquet")}
    assert estimates == {"associations", "hazards", "discrimination", "survival_curves", "fairness"}
    assert len(list((root / "reports/studies").glob("*-2.html"))) == 8


def test_no_participant_is_named_in_logs(finished: Path) -> None:
    logs = "".join(path.read_text() for path in (finished / "cohort/runs").glob("*/log.txt"))
    assert logs
    assert not [study for study in _phenotypes(finished).index if study in logs]


def test_running_again_does_nothing_and_says_so(finished: Path, command: Command) -> None:
    before = _published(finished)
    assert "nothing to do" in _run(command, finished)
    assert _published(finished) == before


def test_only_what_changed_is_done_again(finished: Path, command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    shutil.copytree(finished, folder, copy_function=shutil.copy2)
    sax = sorted((folder / "archive").glob("*_20209_2_0.zip"))
    added, replaced, removed = "9999999_20209_2_0.zip", sax[0], sax[1]
    shutil.copy(sax[2], folder / "archive" / added)
    _pack_again(replaced)
    for path in (folder / "archive").glob(f"{removed.name.split('_')[0]}_*"):
        path.unlink()
    before = _published(folder)
    _run(command, folder)
    after = _published(folder)
    cohort = Cohort(folder / "cohort")
    changed = {path for path in after if after[path] != before.get(path)}
    redone = [f"{name.split('_')[0]}-2" for name in (added, replaced.name)]
    expected = {
        str(path.relative_to(cohort.root))
        for study in redone
        for path in (cohort.study(study), cohort.prediction("default", study))
    }
    assert changed == expected
    assert removed.name.split("_")[0] not in _phenotypes(folder).index
    assert "9999999" in _phenotypes(folder).index


def test_who_withdrew_is_gone(finished: Path, command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    shutil.copytree(finished, folder, copy_function=shutil.copy2)
    person = _phenotypes(folder).query("status == 'ok'").index[0]
    (folder / "withdrawn.csv").write_text(f"{person}\n")
    settings = folder / "cohort.toml"
    settings.write_text('withdrawn = "withdrawn.csv"\n' + settings.read_text())
    _run(command, folder)
    assert person not in _phenotypes(folder).index
    named = [path for path in (folder / "cohort").rglob("*") if person in path.name]
    assert named == []


def test_verify_finds_damage_and_the_next_run_mends_it(finished: Path, command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    shutil.copytree(finished, folder, copy_function=shutil.copy2)
    victim = next((folder / "cohort/studies").glob("*/*/*.zarr.zip"))
    whole = victim.read_bytes()
    victim.write_bytes(whole[: len(whole) // 2] + b"x" + whole[len(whole) // 2 + 1 :])
    process = command("verify", "--config", folder / "cohort.toml")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "1 damaged" in output
    _run(command, folder)
    assert victim.read_bytes() == whole


def test_the_ledger_is_rebuilt_from_the_files(finished: Path, command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    shutil.copytree(finished, folder, copy_function=shutil.copy2)
    before = _published(folder)
    for path in (folder / "cohort").glob("ledger.sqlite*"):
        path.unlink()
    process = command("verify", "--config", folder / "cohort.toml")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    _run(command, folder)
    assert _published(folder) == before
    assert len(_phenotypes(folder)) == 8

"""`cmr-cohort plan`: what a run would do and why. Planning reads no image, so the archives are empty files."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flows import planning
from flows.cli import main
from flows.settings import read_settings, settings_file
from tasks.convert import convert_stage
from tasks.convert.convert_stage import CONVERT
from tasks.execution.selection import Selection
from tasks.execution.stage import recipe_of
from tasks.inference import segment_stage
from tasks.inference.segment_stage import SEGMENT
from tasks.stages import STAGES
from tasks.state.ledger import Outcome, open_ledger
from tasks.state.speeds import Speed
from tasks.state.store import publish_bytes

STUDIES = ("1000011-2", "1000012-2", "1000013-2")
SETTINGS = 'directory = "cohort"\nsources = ["archive"]\n'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Settings of a cohort of three archives, nothing done yet."""
    (tmp_path / "archive").mkdir()
    for study in STUDIES:
        (tmp_path / f"archive/{study[:-2]}_20209_2_0.zip").write_bytes(b"an archive")
    (tmp_path / "cohort.toml").write_text(SETTINGS)
    return tmp_path / "cohort.toml"


@pytest.fixture
def done(config: Path) -> Path:
    """The same, when all three were brought through every stage, as the ledger tells it."""
    settings = read_settings(config)
    with open_ledger(settings.cohort.ledger) as ledger:
        for stage in STAGES[:3]:
            work = planning.plan(stage, settings, ledger)
            ledger.remember_recipe(stage.name, work.recipe())
            summary = {"n_bytes": 2_000_000}
            ledger.record(
                Outcome(unit["study"], stage.name, "ok", key=f"{stage.name} of it", wanted=unit["key"], summary=summary)
                for unit in work.planned.units
            )
            for study in STUDIES:
                for folder in stage.folders(settings.cohort, "default").values():
                    path = (
                        settings.cohort.study(study)
                        if stage is CONVERT
                        else settings.cohort.prediction("default", study)
                    )
                    assert path.is_relative_to(folder)
                    publish_bytes(b"", path)
    return config


def _plan(config: Path, *more: str) -> dict[str, Any]:
    result = CliRunner().invoke(main, ["plan", "--config", str(config), "--json", *more], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    told: dict[str, Any] = json.loads(result.output)
    return told


def _why(told: dict[str, Any]) -> dict[str, dict[str, int]]:
    return {stage["stage"]: stage["why"] for stage in told["stages"]}


def test_of_a_new_cohort_everything_is_new_and_nothing_is_written(config: Path) -> None:
    told = _plan(config)
    new = {"new": 3}
    assert _why(told) == {"convert": new, "segment": new, "derive": new, "perfusion": {}}
    assert told["forecast"]["not_measured"] == ["convert", "segment", "derive", "report"]
    assert told["forecast"]["total"] is None
    assert not (config.parent / "cohort").exists()


def test_without_a_measurement_the_lines_name_the_way_to_a_pilot(config: Path) -> None:
    output = CliRunner().invoke(main, ["run", "--config", str(config), "--dry-run"]).output
    assert "convert    3 studies: 3 new\n" in output
    assert (
        "no forecast of convert, segment, derive, report: nothing is measured yet with the profile in-process" in output
    )
    assert "cmr-cohort shard plan DIR --size 20" in output


def test_a_cohort_that_is_done_has_no_study_to_do(done: Path) -> None:
    assert _why(_plan(done)) == {"convert": {}, "segment": {}, "derive": {}, "perfusion": {}}


def test_an_archive_that_was_touched_is_told_as_source_at_every_stage_and_again_until_it_is_done(done: Path) -> None:
    os.utime(done.parent / "archive/1000012_20209_2_0.zip", (1, 1))
    for _ in range(2):
        assert _why(_plan(done)) == {
            "convert": {"source": 1},
            "segment": {"source": 1},
            "derive": {"source": 1},
            "perfusion": {},
        }


def test_a_setting_is_told_with_both_values(done: Path) -> None:
    done.write_text(SETTINGS + "[convert]\nframes_missing_max = 0.3\n")
    assert _why(_plan(done))["convert"] == {"settings": 3}
    first, *_ = _plan(done, "--explain", "1000012-2")["stages"]
    assert (first["why"], first["changes"]) == ("settings", {"settings.frames_missing_max": [0.2, 0.3]})


def test_another_version_of_a_stage_is_told(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert_stage, "VERSION", convert_stage.VERSION + 1)
    assert _why(_plan(done))["convert"] == {"version": 3}


def test_another_network_is_told_from_the_stage_that_uses_it(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_stage, "network_digests", lambda _model: {"sax": "of another network"})
    assert _why(_plan(done)) == {"convert": {}, "segment": {"model": 3}, "derive": {"model": 3}, "perfusion": {}}


def test_a_file_that_is_gone_is_told_and_makes_nothing_else_anew(done: Path) -> None:
    cohort = read_settings(done).cohort
    cohort.study("1000011-2").unlink()
    cohort.prediction("default", "1000013-2").unlink()
    told = _plan(done)
    assert _why(told) == {
        "convert": {"missing file": 1},
        "segment": {"missing file": 1},
        "derive": {},
        "perfusion": {},
    }
    assert told["forecast"]["not_measured"] == ["convert", "segment"]


def test_a_failure_that_may_pass_is_told_as_retry(done: Path) -> None:
    with open_ledger(read_settings(done).cohort.ledger) as ledger:
        row, _, _ = ledger.rows("1000011-2")["segment"]
        ledger.record([Outcome(row.study, "segment", "quarantined", "worker_lost", wanted=row.wanted)])
    assert _why(_plan(done))["segment"] == {"retry": 1}


def test_a_pilot_foretells_by_its_speed(done: Path) -> None:
    """One worker, 1 s a study after 5 s of start; two new people."""
    for name in ("1000014", "1000015"):
        (done.parent / f"archive/{name}_20209_2_0.zip").write_bytes(b"an archive")
    with open_ledger(read_settings(done).cohort.ledger) as ledger:
        for stage in ("convert", "segment", "derive", "report"):
            ledger.remember_speed(Speed(stage, stage, "node", "in-process", 1, 2, 0, 20, 25.0, 4, 9.0))
    told = _plan(done)["forecast"]
    assert {one["stage"]: (one["studies"], one["seconds"]) for one in told["stages"]} == dict.fromkeys(
        ("convert", "segment", "derive", "report"), (2, 7.0)
    )
    assert told["total"]["seconds"] == 28.0
    assert told["stages"][0]["disk_mb"] == 4.0
    assert told["total"]["core_hours"] == pytest.approx(28 * 2 / 3600, abs=2e-4)


def test_the_speeds_of_another_cohort_are_taken_if_it_is_named(done: Path, config: Path, tmp_path: Path) -> None:
    with open_ledger(tmp_path / "pilot/ledger.sqlite") as ledger:
        ledger.remember_speed(Speed("convert", "1", "node", "in-process", 1, 2, 0, 20, 25.0, 4, 9.0))
    (config.parent / "archive/1000014_20209_2_0.zip").write_bytes(b"an archive")
    told = _plan(config, "--measured", str(tmp_path / "pilot"))["forecast"]
    assert [one["stage"] for one in told["stages"]] == ["convert"]


def test_a_study_that_is_nowhere_is_a_mistake(done: Path) -> None:
    result = CliRunner().invoke(main, ["plan", "--config", str(done), "--explain", "1000099-2"])
    assert result.exit_code == 2
    assert "no study is called 1000099-2" in result.output


def test_settings_are_found_in_the_folder_and_beside_it(config: Path, tmp_path: Path) -> None:
    assert settings_file(config.parent) == config
    assert settings_file(config.parent / "cohort") == config.resolve()
    assert settings_file(config.parent / "another") is None
    assert settings_file(None) is None
    result = CliRunner().invoke(main, ["plan", "--cohort", str(config.parent / "cohort")])
    assert result.output.startswith("convert    3 studies: 3 new\n")


@pytest.mark.parametrize("stage", STAGES[:3], ids=lambda stage: stage.name)
def test_the_recipe_of_today_gives_the_key_of_every_unit(done: Path, stage: Any) -> None:
    settings = read_settings(done)
    with open_ledger(settings.cohort.ledger) as ledger:
        work = planning.plan(stage, settings, ledger)
        keys, recipe = recipe_of(stage).keys, work.recipe()
    assert len(work.planned.units) == 3
    today, earlier = keys(recipe), keys({**recipe, "version": 0})
    assert all(unit["key"] in today(unit) for unit in work.planned.units)
    assert all(unit["key"] not in earlier(unit) for unit in work.planned.units)


def test_the_model_of_the_segmentation_is_part_of_its_recipe(done: Path) -> None:
    settings = read_settings(done)
    with open_ledger(settings.cohort.ledger) as ledger:
        assert planning.plan(SEGMENT, settings, ledger).recipe()["model"] == "default"


def test_of_a_part_of_the_cohort_the_dry_run_shows_what_the_run_would_do(done: Path) -> None:
    for study in STUDIES:
        os.utime(done.parent / f"archive/{study[:-2]}_20209_2_0.zip", (1, 1))
    dry_run = ["run", "--config", str(done), "--dry-run"]
    output = CliRunner().invoke(main, [*dry_run, "--study", "1000012-2", "--participant", "1000013"]).output
    assert "convert    2 studies: 2 source\n" in output
    assert "statistics and report: left to the next run of the whole cohort\n" in output
    assert "convert    3 studies: 3 source\n" in CliRunner().invoke(main, dry_run).output


def test_a_new_study_can_be_chosen_before_any_stage_knows_it_and_a_misspelt_one_is_told(config: Path) -> None:
    dry_run = ["run", "--config", str(config), "--dry-run", "--study"]
    new, misspelt = (CliRunner().invoke(main, [*dry_run, study]) for study in ("1000012-2", "1000012-3"))
    assert "segment    1 study: 1 new, of these 1 at most, after the stage before\n" in new.output
    assert (misspelt.exit_code, "no study is called '1000012-3'" in misspelt.output) == (2, True)
    settings = read_settings(config)
    with open_ledger(settings.cohort.ledger):
        pass
    with planning.only(Selection.of(["1000012-2"], [])):
        assert planning.count(settings) > 0


def test_what_is_forced_is_told_and_nothing_is_forgotten(done: Path) -> None:
    command = ["run", "--config", str(done), "--dry-run", "--force", "--study", "1000012-2"]
    for _ in range(2):
        output = CliRunner().invoke(main, command).output
        assert "segment    1 study: 1 forced\n" in output
    assert _why(_plan(done))["segment"] == {}


def test_only_those_who_were_given_up_are_tried_again_and_of_them_the_chosen(done: Path) -> None:
    settings = read_settings(done)
    with open_ledger(settings.cohort.ledger) as ledger:
        for study, attempts in zip(STUDIES, (3, 3, 2), strict=True):
            wanted = ledger.entries("segment")[study].wanted
            lost = Outcome(study, "segment", "quarantined", "worker_lost", wanted=wanted)
            ledger.forget("segment", [study])
            for _ in range(attempts):
                ledger.record([lost])
    with planning.only(Selection.of(["1000012-2"], [])):
        assert planning.try_again(settings) == 1
    assert planning.try_again(settings) == 1
    assert planning.try_again(settings) == 0
    with open_ledger(settings.cohort.ledger) as ledger:
        assert [entry.attempts for entry in ledger.entries("segment").values()] == [0, 0, 2]

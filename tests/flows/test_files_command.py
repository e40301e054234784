"""``cmr-cohort files`` finds the files behind a name that tells nothing of them."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from dicom_factory import files, sax, write_files

from flows.cli import main
from tasks.state.ledger import open_ledger


@pytest.fixture
def config(tmp_path: Path) -> Path:
    write_files(tmp_path / "archive" / "Smith Anna", files(sax(1), patient="", study_uid="1.2.3"))
    write_files(tmp_path / "archive" / "other", files(sax(1), patient="P1", study_uid="1.2.4"))
    (tmp_path / "cohort").mkdir()
    with open_ledger(tmp_path / "cohort" / "ledger.sqlite"):
        pass
    (tmp_path / "cohort.toml").write_text('directory = "cohort"\nsources = ["archive"]\n')
    return tmp_path / "cohort.toml"


def test_the_files_of_a_study_without_patient_id_are_printed(config: Path) -> None:
    from tasks.sources import inventory

    (study,) = [u["study"] for u in inventory([config.parent / "archive"]).units if u["participant"].startswith("id.")]
    said = CliRunner().invoke(main, ["files", study, "--config", str(config)], catch_exceptions=False)
    assert said.exit_code == 0
    expected = sorted(str(path) for path in (config.parent / "archive" / "Smith Anna").iterdir())
    assert len(expected) == 10
    assert said.output.splitlines() == expected


def test_a_study_that_is_not_there_is_told(config: Path) -> None:
    said = CliRunner().invoke(main, ["files", "nobody-1", "--config", str(config)])
    assert said.exit_code == 2
    assert "no study of the sources is called nobody-1" in said.output

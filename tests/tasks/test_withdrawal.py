"""Who withdrew is found however studies have to write the name."""

from pathlib import Path

from dicom_factory import files, sax, written

from tasks.sources import inventory
from tasks.withdrawal import has_withdrawn, read_withdrawn


def test_a_withdrawn_name_is_found_under_every_spelling_of_a_study(tmp_path: Path) -> None:
    for folder in ("one/001", "two/001"):
        written(tmp_path / folder, [("001_SA_ED.nii.gz", b"")])
    written(tmp_path / "odd", files(sax(1), patient="A B/1"))
    written(tmp_path / "other", files(sax(1), patient="0011", study_uid="1.2.9"))
    (tmp_path / "withdrawn.csv").write_text('"001"\nA B/1,2020\n\n')
    withdrawn = read_withdrawn(tmp_path / "withdrawn.csv")
    participants = [unit["participant"] for unit in inventory([tmp_path]).units]
    assert len(participants) == 4
    assert [name for name in participants if not has_withdrawn(name, withdrawn)] == ["0011"]

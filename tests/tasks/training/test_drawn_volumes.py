"""Volumes with every structure drawn, in the folders of a challenge."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from tasks.training.drawn_volumes import drawn_volumes


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three patients of four slices, 60 columns and 50 rows; the value of a slice names patient, phase and slice."""
    folder = tmp_path_factory.mktemp("drawn")
    for p in (1, 2, 3):
        patient = folder / f"patient00{p}"
        patient.mkdir()
        (patient / "Info.cfg").write_text("ED: 1\nES: 9\nGroup: NOR\nNbFrame: 20\n")
        for phase, frame in enumerate((1, 9)):
            values = 100 * p + 10 * phase + np.arange(4.0)
            image = np.broadcast_to(values, (60, 50, 4)).astype(np.float32)
            labels = np.zeros((60, 50, 4), np.uint8)
            labels[20:40, 10:30, :3] = 1
            labels[22:38, 12:28, :3] = 2
            labels[25:35, 15:25, :3] = 3
            for end, content in (("", image), ("_gt", labels)):
                volume = nibabel.Nifti1Image(content, np.diag([1.5, 1.25, 8.0, 1.0]))
                nibabel.save(volume, patient / f"patient00{p}_frame{frame:02d}{end}.nii.gz")
    return folder


def test_rows_and_columns_are_those_of_the_scanner(drawn: Path) -> None:
    volumes = list(drawn_volumes(drawn))
    assert [(v.patient, v.phase) for v in volumes[:3]] == [
        ("patient001", "ed"), ("patient001", "es"), ("patient002", "ed")
    ]  # fmt: skip
    assert volumes[0].images.shape == (4, 50, 60)
    assert volumes[0].spacing_mm == (1.25, 1.5, 8.0)
    assert volumes[0].labels[0, 20, 30] == 3
    assert volumes[0].group == "NOR"


def test_a_folder_without_patients_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="patient001"):
        next(drawn_volumes(tmp_path))

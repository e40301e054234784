"""The box of CineMA's preprocessing holds the whole heart of every real scan, found without labels."""

from collections import defaultdict
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import xarray as xr
from PIL import Image

from cmr_models.cinema import grid
from cmr_models.cinema.grid import Grid
from cmr_models.cinema.placement import locator
from cmr_models.views.heart_location import find_heart_centre
from cmr_models.views.view_images import gather_view_images
from tasks.convert.conversion import convert_study
from tasks.sources import inventory
from tasks.state.store import Cohort, load_tree

pytestmark = pytest.mark.data

_MARGIN_MM = 12.0
"""What stands for the wall around a pool that alone is drawn: thicker than any of these walls at end-diastole."""
_SUNNYBROOK_MM = 1.32


def _box(views: dict[str, xr.Dataset], view: str) -> tuple[Grid, xr.Dataset]:
    """The box, and the view whose pixels it refers to."""
    scan = gather_view_images(views, view)
    middle = find_heart_centre(scan.images, scan.pixel_mm, scan.crossing_px, locator(view))
    box = grid.SAX_SIZE[:2] if view == "sax" else grid.LAX_SIZE
    offset = scan.offset_mm if view == "sax" else scan.offset_mm[:1]
    shape = (scan.images.shape[2], scan.images.shape[3])
    return grid.place(shape, scan.pixel_mm, middle.px, offset, box=box), views[view]


def _studies(source: Path, cohort: Path) -> dict[str, dict[str, xr.Dataset]]:
    if not source.exists():
        pytest.skip(f"no {source.name} among the real scans")
    outcomes = [convert_study(unit, str(cohort), {}) for unit in inventory([source]).units]
    trees = {o.study: load_tree(Cohort(cohort).study(o.study)) for o in outcomes}
    return {study: {str(n): v.to_dataset() for n, v in tree.children.items()} for study, tree in trees.items()}


def _pixels(view: xr.Dataset, points_mm: np.ndarray) -> np.ndarray:
    """(row, col) of points in patient coordinates."""
    from_corner = points_mm - view["position_mm"].values[0]
    row_mm, col_mm = view["pixel_mm"].values
    row = from_corner @ view["col_dir"].values[0] / row_mm
    return np.stack([row, from_corner @ view["row_dir"].values[0] / col_mm], axis=-1)


def _spare_mm(placed: Grid, points_px: np.ndarray) -> float:
    """How far inside the box the outermost point lies; negative outside."""
    xy = grid.to_network_xy(points_px, placed)
    return float(min(xy.min(), (np.array(placed.size) - 1 - xy).min()))


def test_all_contours_of_a_full_study_lie_in_the_boxes_of_its_views(real_data: Path, tmp_path: Path) -> None:
    (views,) = _studies(real_data / "dicom_study", tmp_path).values()
    rows = [
        line.split()
        for file in sorted((real_data / "dicom_study" / "guidepoints").glob("*.txt"))
        for line in file.read_text().splitlines()[1:]
    ]
    points = np.array([row[:3] for row in rows], float)
    for name in ("sax", "lax_2c", "lax_4c"):
        placed, view = _box(views, name)
        assert _spare_mm(placed, _pixels(view, points)) >= 0, name


def test_expert_contours_of_both_heart_failure_patients_lie_in_the_box(real_data: Path, tmp_path: Path) -> None:
    studies = _studies(real_data / "sunnybrook_dicom", tmp_path)
    for study, views in studies.items():
        placed, _ = _box(views, "sax")
        folder = real_data / "sunnybrook_dicom" / "contours" / study.split("-")[0]
        files = sorted(folder.rglob("*.txt"))
        assert files, study
        xy = np.concatenate([np.loadtxt(file) for file in files])
        assert _spare_mm(placed, xy[:, ::-1]) >= 0, study


def test_both_ventricles_of_the_atlas_labels_lie_in_the_box(real_data: Path, tmp_path: Path) -> None:
    for study, views in _studies(real_data / "autofd_nifti", tmp_path).items():
        placed, view = _box(views, "sax")
        label = nib.load(real_data / "autofd_nifti" / study.split("-")[0] / "seg_sa_ED.nii.gz")
        voxels = np.argwhere(np.asarray(label.dataobj) > 0)[:, :3]
        points_mm = nib.affines.apply_affine(label.affine, voxels) * (-1, -1, 1)  # RAS to LPS
        assert _spare_mm(placed, _pixels(view, points_mm)) >= 0, study


def test_the_left_ventricle_with_its_wall_lies_in_the_box_of_every_sunnybrook_patient(real_data: Path) -> None:
    folder = real_data / "sunnybrook_png"
    if not folder.exists():
        pytest.skip("no sunnybrook_png among the real scans")
    slices: dict[str, list[Path]] = defaultdict(list)
    for file in sorted((folder / "images").glob("*.png")):
        slices[file.name.split("-IM-")[0]].append(file)
    assert len(slices) == 30
    spare = {patient: _sunnybrook_spare_mm(folder, files) for patient, files in slices.items()}
    assert min(spare.values()) >= _MARGIN_MM, spare


def _sunnybrook_spare_mm(folder: Path, files: list[Path]) -> float:
    images = np.stack([np.asarray(Image.open(file).convert("L")) for file in files])[None]
    labels = np.stack([np.asarray(Image.open(folder / "labels" / file.name).convert("L")) for file in files]) > 0
    pixel_mm = (_SUNNYBROOK_MM, _SUNNYBROOK_MM)
    middle = find_heart_centre(images, pixel_mm, None, locator("sax"))
    placed = grid.place((images.shape[2], images.shape[3]), pixel_mm, middle.px)
    return _spare_mm(placed, np.argwhere(labels.any(axis=0)))


def test_the_published_example_is_boxed_where_its_authors_put_it(real_data: Path, tmp_path: Path) -> None:
    (views,) = _studies(real_data / "cinema_nifti", tmp_path).values()
    for name in ("sax", "lax_4c"):
        placed, view = _box(views, name)
        assert placed.start == (0, 0), name
        assert placed.size == view["intensity"].shape[:1:-1], name

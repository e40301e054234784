"""The segment stage ends the short axis at the valve that the long axis shows, and says what it has left out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from cmr_models import zoo
from cmr_models.contracts import LA, LV, MYOCARDIUM, SLICE_ANSWERS, check_published, cine_study, cine_view
from cmr_models.segmentation.crops import CropWindow
from cmr_models.views.view_images import ViewImages
from tasks.inference.segmentation import segment_with
from tasks.inference.settings import SegmentSettings
from tasks.state import store
from tasks.state.store import Cohort
from tasks.state.zarr_encoding import encode_tree

SIDE = 64


@dataclass
class ReadsLabels:
    """A network whose images are its labels, and which counts every slice of a short axis that has a ventricle."""

    view: str
    answers: bool = True
    device = torch.device("cpu")
    precision = torch.float32

    @property
    def card(self) -> zoo.ModelCard:
        return zoo.ModelCard("reader", f"segment_{self.view}", "", {}, 1.0, SIDE, digest=self.view)

    def batch_images(self, requested: int) -> int:
        return requested

    def crops(self, seen: ViewImages) -> tuple[npt.NDArray[np.float32], CropWindow]:
        return seen.images.reshape(-1, 1, SIDE, SIDE).astype(np.float32), CropWindow((0.0, 0.0), (1.0, 1.0), SIDE)

    def predict(self, crops: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return crops

    def labels_and_certainty(
        self, outputs: npt.NDArray[Any], _position: CropWindow, shape: tuple[int, ...]
    ) -> tuple[npt.NDArray[np.uint8], dict[str, npt.NDArray[Any]]]:
        labels = outputs.reshape(shape).astype(np.uint8)
        if self.view != "sax" or not self.answers:
            return labels, {}
        said = np.zeros((*shape[:2], 2))
        return labels, {"slice_answer": said.astype(np.uint8), "slice_share": said + 1}


def a_study(cohort: Cohort, valve_row: int) -> dict[str, Any]:
    """Six slices from z = 0 (base), 10 mm apart; the 4-chamber view goes down z from -20 mm in steps of 2 mm."""
    sax = np.zeros((2, 6, SIDE, SIDE), np.uint16)
    sax[:, :, 24:40, 24:40], sax[:, :, 27:37, 27:37] = MYOCARDIUM, LV
    lax = np.zeros((2, 1, SIDE, SIDE), np.uint16)
    lax[:, 0, valve_row : valve_row + 30, 22:42], lax[:, 0, valve_row - 10 : valve_row, 22:42] = LV, LA
    same = {"time_ms": [0.0, 300.0], "pixel_mm": (2.0, 2.0), "row_dir": (1, 0, 0)}
    places = np.stack([[-64.0, -64.0, 10.0 * k] for k in range(6)])
    views = {
        "sax": cine_view(sax, position_mm=places, col_dir=(0, 1, 0), slice_mm=10.0, thickness_mm=8.0, **same),
        "lax_4c": cine_view(
            lax, position_mm=[[-64.0, 0.0, -20.0]], col_dir=(0, 0, 1), slice_mm=np.nan, thickness_mm=6.0, **same
        ),
    }
    store.publish(encode_tree(cine_study(views, key="k")), cohort.study("1-2"))
    return {"study": "1-2", "key": "p", "study_key": "k"}


def labelled(cohort: Cohort, unit: dict[str, Any], *, answers: bool = True) -> Any:
    networks = {"sax": ReadsLabels("sax", answers), "lax_4c": ReadsLabels("lax_4c")}
    (outcome,) = segment_with(networks, [unit], cohort, SegmentSettings(model="reader"))
    assert outcome.status == "ok", outcome.detail
    tree = store.load_tree(cohort.prediction("reader", "1-2"))
    check_published(tree, values=True)
    return tree


def test_slices_beyond_the_valve_are_left_out_with_their_reason(tmp_path: Path) -> None:
    """The border lies half a row above row 14, at z = 7 mm: slice 0 lies beyond, slice 1 counts with 8 of 10 mm."""
    tree = labelled(Cohort(tmp_path), a_study(Cohort(tmp_path), 14))
    answers = tree["sax"]["slice_answer"].values[0, :, 1]
    assert [SLICE_ANSWERS[int(code)] for code in answers[:3]] == ["slice_beyond_valve", "transition", "ventricle"]
    assert tree["sax"]["slice_share"].values[0, :3, 1] == pytest.approx([0, 0.8, 1])
    labels = tree["sax"]["label"].values
    assert (labels == LV).any(axis=(2, 3)).tolist() == [[False, True, True, True, True, True]] * 2
    assert not labels[:, 0].any()
    assert tree.attrs["valves"] == {"mitral": ["lax_4c"]}
    assert tree.attrs["slice_answers"]["4"] == "slice_beyond_valve"


def test_a_network_that_does_not_answer_for_slices_stays_as_its_authors_made_it(tmp_path: Path) -> None:
    tree = labelled(Cohort(tmp_path), a_study(Cohort(tmp_path), 14), answers=False)
    assert (tree["sax"]["label"].values == LV).any(axis=(2, 3)).all()
    assert "slice_answer" not in tree["sax"]
    assert "valves" not in tree.attrs

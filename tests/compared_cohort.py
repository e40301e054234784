"""A cohort of twelve made hearts in two models: of women both say the same, of men the second sees less ejected.

A pixel is 6 x 6 mm, planes are 10 mm apart: 0.36 mL. In each of three slices the LV has 100 pixels at end-diastole,
108 mL, and 50 at end-systole, 54 mL: EF 50 %. The second model draws 60 at the end-systole of men, 64.8 mL: EF 40 %.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from cmr_models.contracts import cine_study, cine_view, prediction
from tasks.state import store
from tasks.state.ledger import Outcome, open_ledger
from tasks.state.store import Cohort
from tasks.state.zarr_encoding import encode_tree

_SHAPE = (4, 3, 24, 24)
STUDIES = [f"{k}-2" for k in range(12)]
MEN = STUDIES[6:]


def write_compared_cohort(folder: Path) -> Cohort:
    """Write ``cohort/`` and ``people.csv``; the predictions are called ``old`` and ``new``."""
    place = Cohort(folder / "cohort")
    sexes = ["male" if study in MEN else "female" for study in STUDIES]
    for study, sex in zip(STUDIES, sexes, strict=True):
        _add(place, study)
        _predict(place, "old", study, 5)
        _predict(place, "new", study, 6 if sex == "male" else 5, "CC-BY-NC-4.0")
    people = pd.DataFrame({"participant": [s.removesuffix("-2") for s in STUDIES], "visit": "2", "sex": sexes})
    people.assign(age_years=60, height_cm=170, weight_kg=60 + np.arange(12)).to_csv(folder / "people.csv", index=False)
    return place


def _labels(es_rows: int) -> np.ndarray:
    """Frame 0 is end-diastole, frame 2 end-systole with ``es_rows`` rows of ten LV pixels."""
    label = np.zeros(_SHAPE, np.uint8)
    for frame, rows in enumerate((10, 8, es_rows, 8)):
        label[frame, :, 2 : 2 + rows, 2:12] = 3
    label[:, :, 13:23, 2:12] = 2
    for frame, rows in enumerate((10, 8, 5, 8)):
        label[frame, :, 2 : 2 + rows, 13:23] = 1
    return label


def _add(cohort: Cohort, study: str) -> None:
    view = cine_view(
        np.random.default_rng(0).integers(0, 900, _SHAPE).astype(np.uint16), time_ms=200.0 * np.arange(4),
        pixel_mm=(6.0, 6.0), position_mm=np.arange(3)[:, None] * [0, 0, 10.0], row_dir=(1, 0, 0), col_dir=(0, 1, 0),
        slice_mm=10.0, thickness_mm=8.0, heart_rate_bpm=75.0,
    )  # fmt: skip
    key = store.digest(study)
    store.publish(encode_tree(cine_study({"sax": view}, key=key)), cohort.study(study))
    with open_ledger(cohort.ledger) as ledger:
        ledger.record([Outcome(study, "convert", "ok", key=key, wanted=key, summary={"views": {"sax": {}}})])


def _predict(cohort: Cohort, model: str, study: str, es_rows: int, licence: str = "Apache-2.0") -> None:
    tree = prediction(
        {"sax": _labels(es_rows)}, key=store.digest([study, model]), study_key=store.digest(study), model=model,
        weights={"sax": "ab"}, licences={"sax": licence},
        precision="float32", classes={}, segmenter_version=1, grids={},
    )  # fmt: skip
    store.publish(encode_tree(tree), cohort.prediction(model, study))

"""Files that break their contract in one way each, and what the message says."""

import re
from typing import Any

import numpy as np
import pytest
import xarray as xr

from cmr_models.contracts import (
    FILES,
    LABEL_NAMES,
    PERFUSION,
    ContractError,
    NewerSchemaError,
    check_published,
    check_readable,
    cine_study,
    cine_view,
    prediction,
    with_reference,
)
from cmr_models.perfusion import STATUS

SHAPE = (4, 2, 6, 5)


def a_view(**attributes: Any) -> xr.Dataset:
    view = cine_view(
        np.zeros(SHAPE, np.uint16),
        time_ms=np.arange(4) * 250.0,
        pixel_mm=(1.8, 1.8),
        position_mm=[[0, 0, 0], [0, 0, 10]],
        row_dir=(1, 0, 0),
        col_dir=(0, 1, 0),
        slice_mm=10,
        thickness_mm=8,
        **attributes,
    )
    return with_reference(view, labels=np.full(SHAPE, 10, np.uint8))


def a_study(view: xr.Dataset | None = None, **attributes: Any) -> xr.DataTree:
    given = {
        "participant": "1", "visit": "2", "key": "k", "source_kind": "zip", "source_digest": "d",
        "converter_version": 1, "excluded": [], "flags": [],
    }  # fmt: skip
    return cine_study({"sax": a_view() if view is None else view}, **(given | attributes))


def a_segmentation(label: Any = None, **attributes: Any) -> xr.DataTree:
    given = {
        "key": "k", "study_key": "s", "model": "default", "weights": {"sax": "w"}, "precision": "float32",
        "classes": {"1": "RV"}, "segmenter_version": 1, "grids": {"sax": {}},
    }  # fmt: skip
    return prediction({"sax": np.full(SHAPE, 7, np.uint8) if label is None else label}, **(given | attributes))


def changed(tree: xr.DataTree, **variables: Any) -> xr.DataTree:
    whole = tree["sax"].to_dataset().assign(**variables)
    made = xr.DataTree.from_dict({"/sax": whole})
    made.attrs.update(tree.attrs)
    return made


def test_whole_files_pass() -> None:
    check_published(a_study(), values=True)
    check_published(a_segmentation(), values=True)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (
            changed(a_study(), frame_valid=(("frame", "slice"), np.ones((4, 2), np.uint8))),
            "frame_valid of the group 'sax' of a study must be bool, got uint8",
        ),
        (
            changed(a_segmentation(), judged=(("slice", "frame"), np.ones((2, 4), bool))),
            "judged of the group 'sax' of a segmentation must have dims (frame, slice), got (slice, frame)",
        ),
        (
            changed(a_segmentation(), extra=("frame", np.ones(4))),
            "the group 'sax' of a segmentation has the array 'extra', which its contract does not know: "
            "['answer_confidence', 'judged', 'label', 'predicted_dice', 'slice_answer', 'slice_confidence', "
            "'slice_share']",
        ),
        (
            a_segmentation(np.full(SHAPE, 8, np.uint8)),
            f"label of the group 'sax' of a segmentation holds [8]; its codes are {sorted(LABEL_NAMES)}",
        ),
        (
            changed(a_study(), pixel_mm=("axis", np.array([1.8, -1.0]))),
            "pixel_mm of the group 'sax' of a study must lie within 0 and 1000 mm, got -1 to 1.8",
        ),
        (a_study(key=7), "the attribute key of a study must be text, got int"),
        (a_study(a_view(flags="slice_gap")), "the attribute flags of the group 'sax' of a study must be list, got str"),
    ],
)  # fmt: skip
def test_a_broken_file_says_what_is_there_and_what_should_be(tree: xr.DataTree, message: str) -> None:
    with pytest.raises(ContractError, match=f"^{re.escape(message)}$"):
        check_published(tree, values=True)


def test_a_missing_array_or_attribute_is_named() -> None:
    without = xr.DataTree.from_dict({"/sax": a_segmentation()["sax"].to_dataset().drop_vars("judged")})
    without.attrs.update(a_segmentation().attrs)
    with pytest.raises(ContractError, match=r"a segmentation needs judged \(frame, slice\); it has \['label'\]"):
        check_published(without, values=False)
    study = a_study()
    del study.attrs["source_digest"]
    with pytest.raises(ContractError, match=r"a study needs the attributes \['source_digest'\]"):
        check_published(study, values=False)


def test_a_group_that_a_file_cannot_have_is_refused() -> None:
    tree = xr.DataTree.from_dict({"/short": a_segmentation()["sax"].to_dataset()})
    tree.attrs.update(a_segmentation().attrs)
    with pytest.raises(ContractError, match=r"a segmentation has the group 'short'; it may have \['aorta'"):
        check_published(tree, values=False)


def test_without_values_nothing_but_names_dimensions_and_types_is_looked_at() -> None:
    check_published(a_segmentation(np.full(SHAPE, 200, np.uint8)), values=False)


@pytest.mark.parametrize("spec", FILES, ids=lambda spec: spec.title)
def test_a_file_of_a_newer_schema_says_to_update(spec: Any) -> None:
    check_readable({spec.writer: 1})
    check_readable({spec.writer: 1, "schema": 1})
    message = (
        f"{spec.title} was written by a newer version of cmr-cohort (schema 2, this one reads 1): update cmr-cohort"
    )
    with pytest.raises(NewerSchemaError, match=f"^{re.escape(message)}$"):
        check_readable({spec.writer: 1, "schema": 2})
    with pytest.raises(ContractError, match="schema version 'two', which is not a positive number"):
        check_readable({spec.writer: 1, "schema": "two"})


def test_features_may_have_a_token_dimension_or_none() -> None:
    for dims in (("frame", "channel"), ("frame", "token", "channel")):
        node = xr.Dataset({"feature": (dims, np.zeros((2, 3, 4)[: len(dims)], np.float32))})
        tree = xr.DataTree.from_dict({"/cls": node})
        tree.attrs.update(
            key="k", study_key="s", model="m", task="pretrain", weights={}, precision="float32", views=["sax"],
            classes=[], predictor_version=1, summary={},
        )  # fmt: skip
        check_published(tree, values=True)


def test_the_codes_of_fits_are_those_of_the_perfusion_models() -> None:
    (status,) = (row for row in PERFUSION.groups[0].arrays if row.name == "status")
    assert status.codes is not None
    named = {code: name.replace(" ", "_") for code, name in status.codes.items() if code != 255}
    assert named == {row.code: row.name for row in STATUS}


def test_every_row_has_a_unit_if_it_is_a_number_and_a_text() -> None:
    arrays = [row for spec in FILES for group in spec.groups for row in group.arrays]
    attributes = [row for spec in FILES for row in (*spec.attributes, *(a for g in spec.groups for a in g.attributes))]
    assert len(arrays) > 30
    assert [row.name for row in arrays if not row.unit or not row.text] == []
    assert [row.name for row in attributes if not row.text or (row.kind in ("real", "integer") and not row.unit)] == []

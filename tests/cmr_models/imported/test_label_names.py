"""Structures by the names of other people."""

import pytest

from cmr_models.imported.names import codes_of, names_of


def test_names_of_every_structure_are_known_in_any_spelling() -> None:
    theirs = {"background": 0, "Left Ventricle": 1, "LV_myocardium": 2, "rv-cavity": 3, "LA": 4, "Right atrium": 5}
    assert codes_of(theirs, {}) == (0, 3, 2, 1, 4, 5)
    assert names_of((0, 3)) == ("background", "left ventricle")


def test_codes_follow_the_numbers_and_not_the_order_of_the_names() -> None:
    assert codes_of({"RV": 3, "background": 0, "LV": 1, "MYO": 2}, {}) == (0, 3, 2, 1)


@pytest.mark.parametrize("name", ["RV myocardium", "rv wall", "aorta", "heart", "1", "label 2", ""])
def test_an_unknown_name_is_refused_and_can_be_stated(name: str) -> None:
    with pytest.raises(ValueError, match="unknown name; say what it is with --label"):
        codes_of({"background": 0, "LV": 1, name: 2}, {})
    assert codes_of({"background": 0, "LV": 1, name: 2}, {name: 0}) == (0, 3, 0)


@pytest.mark.parametrize(
    ("labels", "stated", "fault"),
    [
        ({"background": 0, "LV": 2}, {}, "numbered from 0 without gaps"),
        ({"background": 1, "LV": 0}, {}, "label 0 must be the background"),
        ({"background": 0, "LV": 1}, {"LV": 0}, "another one a structure"),
        ({"background": 0, "LV": 1}, {"RV": 1}, "the network has no label"),
    ],
)
def test_labels_that_cannot_be_meant_are_refused(labels: dict[str, int], stated: dict[str, int], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        codes_of(labels, stated)

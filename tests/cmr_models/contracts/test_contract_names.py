"""What a name that is nowhere may have been meant as."""

import pytest

from cmr_models.contracts.conditions import CONDITIONS, DEATH
from cmr_models.contracts.labels import LABEL_NAMES, TISSUE_NAMES
from cmr_models.contracts.names import nearest


@pytest.mark.parametrize(
    ("name", "known", "end"),
    [
        ("lvef", ["lvef_pct", "rvef_pct"], "; did you mean 'lvef_pct'?"),
        ("LVEF_PCT", ["Lvef_pct", "other"], "; did you mean 'Lvef_pct'?"),
        ("abcde", ["abcxy", "zz"], "; did you mean 'abcxy'?"),  # three of five letters: 0.6
        ("abcdef", ["abcxyz", "zz"], "; there are abcxyz, zz"),  # one half
        ("x", ["b", "a", "b"], "; there are a, b"),
        ("x", [f"name{k:02d}" for k in range(12)], "; there are " + ", ".join(f"name{k:02d}" for k in range(12))),
        ("x", [f"name{k:02d}" for k in range(13)], ""),
        ("x", [], ""),
        ("x", ["b"], "; there are b"),
    ],
)
def test_the_nearest_name_is_told_else_all_if_they_are_few(name: str, known: list[str], end: str) -> None:
    assert nearest(name, known) == end


def test_codes_of_labels_are_those_of_every_file_that_was_published() -> None:
    assert dict(LABEL_NAMES) == {
        0: "background", 1: "right ventricle", 2: "left-ventricular myocardium", 3: "left ventricle", 4: "left atrium",
        5: "right atrium", 6: "ascending aorta", 7: "descending aorta",
    }  # fmt: skip
    assert [code for code, name in TISSUE_NAMES.items() if name.startswith("infarct")] == [8]
    assert [code for code, name in TISSUE_NAMES.items() if name.startswith("no-reflow")] == [9]
    assert [code for code, name in TISSUE_NAMES.items() if name == "oedema"] == [10]
    assert DEATH == CONDITIONS[-1] == "death"
    assert len(set(CONDITIONS)) == 7

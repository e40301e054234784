"""What names of NIfTI files say, word by word."""

import pytest

from tasks.sources.nifti_names import parse_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("myops_training_101_C0.nii.gz", ("myops_training_101", "sax", "", True)),
        ("myops_test_7_de.nii", ("myops_test_7", "lge", "", True)),
        ("a/myops_test_7_T2.nii", ("myops_test_7", "t2", "", True)),
        ("myops_training_101_gd.nii.gz", ("myops_training_101", "", "", False)),
        ("x/Case_N006/Images/Case_N006.nii.gz", ("Case_N006", "lge", "", True)),
        ("Case_N006/contours/Case_N006.nii", ("Case_N006", "lge", "", False)),
        ("Case_N006/Images/Case_N007.nii", ("Case_N007", "", "", True)),
        ("a_b_sa_es.HDR", ("a_b", "sax", "es", True)), ("sa/p1_la_4ch_frame12.img", ("p1", "lax_4c", "frame12", True)),
        ("p_lax_3c_cine_mask.nii", ("p", "lax_3c", "cine", False)), ("p_2ch.nii", ("p", "lax_2c", "", True)),
        ("p_la.nii", ("p", "lax_4c", "", True)), ("p_x_frame.nii", ("p_x_frame", "", "", True)),
        ("p_sax_4d_es.nii", ("p", "sax", "4d", True)),  # the first phase counts
        ("es_p_sa.nii", ("", "sax", "es", True)), ("p.nii", ("p", "", "", True)),
        ("pred_sax.nii", ("", "sax", "", False)),
    ],
)  # fmt: skip
def test_a_name_says_patient_view_phase_and_kind(name: str, expected: tuple[str, str, str, bool]) -> None:
    assert tuple(parse_name(name)) == expected

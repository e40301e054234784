"""The page of accuracies: each figure once, in its row, and nothing said that was not measured."""

from tasks.documentation.accuracy import accuracy_page


def _row(**changes: object) -> dict[str, object]:
    return {
        "dataset": "ACDC", "view": "sax", "vendor": "Siemens", "group": "all", "patients": 20.0, "volumes": 40.0,
        "lv_dice_ed": 0.9512, "lv_dice_es": 0.9, "lv_beyond_share": 0.013,
        "lvef_pct_absolute": 3.14, "lvef_pct_bias": -1.26, "lvef_pct_sd": 4.04,
        "lvedv_ml_bias": 2.04, "lvedv_ml_sd": 9.06,
    } | changes  # fmt: skip


def _page(**changes: object) -> str:
    worst = [{"dataset": "ACDC", "view": "sax", "patient": "patient007", "group": "HCM", "dice": 0.5}]
    rows = [_row(), _row(group="HCM", patients=4.0, lvef_pct_bias=5.0), _row(dataset="RVSC", patients=1.0, volumes=3.0)]
    return accuracy_page({"acdc": {"summary": rows, "worst": worst, "folds": 1} | changes})


def test_what_was_measured_stands_in_its_row() -> None:
    lines = _page().splitlines()
    assert "| `acdc` | ACDC | Siemens | 20 | 0.951 | 0.900 |  |  |  |  | 1.3%, - |" in lines
    assert "| `acdc` | ACDC | 20 | 3.1 (-1.3; 4.0) |  | 3.1 (-1.3; 4.0) |  |" in lines
    assert "| `acdc` | ACDC | HCM | 4 | 0.951 | 0.900 |  |  |  |  | 3.1 (+5.0; 4.0) |  |" in lines
    assert "| `acdc` | ACDC | +2.0 (9.1) |  |  |  |" in lines
    assert "| `acdc` | ACDC | sax | patient007 | HCM | 0.500 |" in lines


def test_one_patient_has_no_ejection_fraction_error() -> None:
    assert not [line for line in _page().splitlines() if "RVSC" in line and "3.1" in line]


def test_folds_that_were_not_measured_are_said() -> None:
    assert "Of ACDC's five folds, 1 measured so far for `acdc`" in _page()
    assert "measured so far" not in _page(folds=5)
    assert "measured so far" not in _page(folds=0)
    assert "`acdc` was trained on ACDC's training patients" in _page(folds=5)
    assert "trained on ACDC" not in _page(folds=0)


def test_errors_in_slices_beyond_the_heart_stand_apart() -> None:
    row = _row(rv_within_dice_es=0.8123, rv_beyond_ml_es=12.34, rv_missed_ml_es=1.26)
    page = _page(summary=[row])
    assert "| `acdc` | ACDC | RV | ES | 0.812 | 12.3 | 1.3 |" in page.splitlines()


def test_ejection_fractions_with_the_basal_slice_by_its_part_stand_beside_the_others() -> None:
    parts = {f"{name}ef_parts_pct_{key}": 2.0 for name in ("lv", "rv") for key in ("absolute", "bias", "sd")}
    page = _page(summary=[_row(**parts)])
    assert "| `acdc` | ACDC | 20 | 2.0 (+2.0; 2.0) | 2.0 (+2.0; 2.0) | 3.1 (-1.3; 4.0) |  |" in page.splitlines()


def test_long_axis_figures_have_tables_of_their_own() -> None:
    row = {"dataset": "M&Ms-2", "view": "lax_4c", "lv_dice_ed": 0.9312, "area_change_drawn_pct": 35.2}
    guided = {"dataset": "biv-me (guide points)", "view": "lax_2c", "lv_dice_es": 0.8, "endocardium_mm_ed": 1.96}
    crossing = {"view": "lax_3c", "points": 12345, "lv_dice": 0.955}
    simulated = {"view": "lax_3c", "hearts": 8, "ascending aorta_dice_es": 0.871}
    found = {"drawn": [row], "guided": [guided], "crossing": [crossing], "simulated": [simulated]}
    text = accuracy_page({}, {"mine": found})
    assert "| `mine` | M&Ms-2 | 4-chamber | 0.931 |" in text
    assert "| `mine` | 2-chamber | 2.0 |" in text
    assert "| `mine` | 3-chamber | 12,345 | 0.955 |" in text
    assert "0.87" in text
    assert "Long-axis views" not in accuracy_page({}, {})


def test_what_a_network_says_of_itself_is_compared_with_what_is() -> None:
    row = {
        "patients": 100, "lv_dice_absolute_error": 0.0252, "myocardium_dice_absolute_error": 0.0224,
        "rv_dice_absolute_error": 0.0648, "lvef_share_within": 0.87, "lvef_median_width": 13.04,
        "rvef_share_within": 0.86, "rvef_median_width": 35.0,
    }  # fmt: skip
    lines = accuracy_page({}, {}, {"default": row}).splitlines()
    assert "| `default` | 100 | 0.025 | 0.022 | 0.065 | 87% (13) | 86% (35) |" in lines
    assert "says of itself" not in accuracy_page({})

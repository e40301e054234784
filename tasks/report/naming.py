"""Names as readers know them: phenotypes in full for tables and short for axes, other columns as words."""

from __future__ import annotations

from tasks.report.pages import clean_text

_FULL = {
    "lvedv": "LV end-diastolic volume",
    "lvesv": "LV end-systolic volume",
    "lvsv": "LV stroke volume",
    "lvef": "LV ejection fraction",
    "lvm": "LV mass",
    "lvco": "LV cardiac output",
    "rvedv": "RV end-diastolic volume",
    "rvesv": "RV end-systolic volume",
    "rvsv": "RV stroke volume",
    "rvef": "RV ejection fraction",
    "heart_rate": "Heart rate",
    "bsa": "Body surface area",
    "lax_2c_mapse": "MAPSE, 2-chamber",
    "lax_4c_mapse": "MAPSE, 4-chamber",
    "lax_2c_axis_shortening": "Long-axis shortening, 2-chamber",
    "lax_4c_axis_shortening": "Long-axis shortening, 4-chamber",
    "lv_mass_to_volume": "LV mass-to-volume ratio",
    "lv_peak_ejection": "LV peak ejection rate",
    "lv_peak_filling": "LV peak filling rate",
    "la_area_max": "LA maximum area",
    "la_area_min": "LA minimum area",
    "ra_area_max": "RA maximum area",
    "ra_area_min": "RA minimum area",
    "rv_dice_predicted": "RV, predicted Dice",
    "myocardium_dice_predicted": "LV myocardium, predicted Dice",
    "lv_dice_predicted": "LV, predicted Dice",
    "lvef_low": "LV ejection fraction, lower end",
    "lvef_high": "LV ejection fraction, upper end",
    "rvef_low": "RV ejection fraction, lower end",
    "rvef_high": "RV ejection fraction, upper end",
    "mbf_rest": "Myocardial blood flow at rest",
    "mbf_stress": "Myocardial blood flow at stress",
    "mpr": "Myocardial perfusion reserve",
}
_SHORT = {
    "lvedv": "LV EDV",
    "lvesv": "LV ESV",
    "lvsv": "LV SV",
    "lvef": "LV EF",
    "lvm": "LV mass",
    "lvco": "LV output",
    "rvedv": "RV EDV",
    "rvesv": "RV ESV",
    "rvsv": "RV SV",
    "rvef": "RV EF",
    "mbf_rest": "Rest MBF",
    "mbf_stress": "Stress MBF",
    "mpr": "MPR",
}
_REASONS = {
    "small_cell": "suppressed, small cell",
    "secondary": "suppressed, complementary",
    "dominated": "suppressed, one value dominates",
}
_GROUPINGS = {"bmi_class": "Body mass index", "centre": "Imaging centre", "age_band": "Age (years)"}
_UNITS = ("_l_min", "_ml", "_mm", "_g", "_pct", "_bpm", "_m2", "_cm2", "_ml_s", "_ml_m2", "_g_m2", "_g_ml", "_ml_min_g")


def full_name(column: str) -> str:
    """``lvedv_ml_m2`` becomes ``LV end-diastolic volume, indexed``."""
    return _compose_name(column, _FULL)


def short_name(column: str) -> str:
    """``lvedv_ml_m2`` becomes ``LV EDV, indexed``."""
    return _compose_name(column, {**_FULL, **_SHORT})


def words(name: str) -> str:
    """A column or condition as words: ``heart_failure`` becomes ``Heart failure``."""
    text = clean_text(name).replace("_", " ").strip()
    return text[:1].upper() + text[1:]


def lower_first(name: str) -> str:
    """A name inside a sentence: ``Heart rate`` becomes ``heart rate``, ``LV EDV`` stays."""
    return name if name[1:2].isupper() else name[:1].lower() + name[1:]


def reason_words(reason: str) -> str:
    """Why a number is missing, in a few words."""
    return _REASONS.get(reason, words(reason).lower())


def group_words(group_by: str) -> str:
    """Name of a grouping."""
    return _GROUPINGS.get(group_by, words(group_by))


def band_words(text: str) -> str:
    """Labels of groups as they are printed: ``>=75`` becomes ``≥75``."""
    return clean_text(text).replace(">=", "≥")


def _compose_name(column: str, names: dict[str, str]) -> str:
    if column == "bsa_m2":
        return names["bsa"]
    indexed = column.endswith("_m2") and column.removesuffix("_m2").endswith(_UNITS)
    stem = column.removesuffix("_m2") if indexed else column
    unit = next((unit for unit in sorted(_UNITS, key=len, reverse=True) if stem.endswith(unit)), "")
    stem = stem.removesuffix(unit)
    return names.get(stem, _expand_chamber(stem)) + (", indexed" if indexed else "")


def _expand_chamber(stem: str) -> str:
    """``la_area_max`` becomes ``LA area max``."""
    chamber, _, rest = stem.partition("_")
    return f"{chamber.upper()} {words(rest).lower()}" if chamber in ("lv", "rv", "la", "ra") else words(stem)

"""Quality rules: what labels and numbers of a study must satisfy, each with the reason code of its failure.

A rule is one function and one row. What a failure does is said once, by the kind of its code in
:mod:`cmr_models.reasons`: a flag leaves the numbers standing, a quarantine takes the study out.

Reference: the rules on labels are those of Bai et al. 2020, doi:10.1038/s41591-020-1009-y.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cmr_models.contracts import LA, LV, MYOCARDIUM, RA, RV
from cmr_models.phenotypes.cardiac_cycle import MIN_FRAMES_SMOOTHED
from cmr_models.reasons import TABLE, Missing

MIN_PIXELS = 10
MIN_SLICES = 6
_ED_TOLERANCE = 0.05
_ES_PHASE = (0.2, 0.6)
_STROKE_DIFFERENCE = 0.35
_LV_OVERLAP = 0.85
"""Of 100 patients of ACDC, a quarter of the errors of LV EF over 5 points lie below, and 4 % of the other patients."""
# Near the apex a tilted plane may gain a few pixels of cavity in systole; at the base the cavity is near its widest.
_BASE_SHARE = 0.25

Labels = npt.NDArray[np.uint8]
Curve = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rule:
    """One row: ``function(*inputs)`` is True when the rule is kept."""

    column: str
    code: str
    inputs: tuple[str, ...]
    function: Callable[..., bool | Missing]

    @property
    def quarantines(self) -> bool:
        return TABLE[self.code].kind == "quarantined"


def _within(low: float, high: float) -> Callable[[float], bool]:
    return lambda value: bool(low <= value <= high)


def _classes_large(sax_ed: Labels) -> bool:
    return all(np.count_nonzero(sax_ed == code) >= MIN_PIXELS for code in (RV, MYOCARDIUM, LV))


def _slices_enough(sax_ed: Labels) -> bool:
    return bool(_slices_with_wall(sax_ed).sum() >= MIN_SLICES)


def _slices_connected(sax_ed: Labels) -> bool:
    held = np.flatnonzero(_slices_with_wall(sax_ed))
    return held.size > 0 and held[-1] - held[0] + 1 == held.size


def _middle_complete(sax_ed: Labels) -> bool:
    held = np.flatnonzero(_slices_with_wall(sax_ed))
    if not held.size:
        return False
    middle = sax_ed[held[held.size // 2]]
    wall = (middle == LV) | (middle == MYOCARDIUM)
    return bool(min(_largest_part(wall), _largest_part(middle == RV)) >= MIN_PIXELS)


def _base_consistent(sax_ed: Labels, sax_es: Labels) -> bool:
    """The heart's base moves towards the apex in systole: no plane can gain an LV of a base's size."""
    lv_es_px = np.count_nonzero(sax_es == LV, axis=(1, 2))
    large = lv_es_px >= max(MIN_PIXELS, _BASE_SHARE * lv_es_px.max())
    gained = large & ~_slices_with(sax_ed, LV)
    held = np.flatnonzero(_slices_with(sax_ed, LV))
    if not held.size:
        return False
    outside = np.ones_like(gained)
    outside[held[0] : held[-1] + 1] = False
    return not bool((gained & outside).any())


def _lax_classes_large(lax_4c_ed: Labels) -> bool:
    return all(_largest_part(lax_4c_ed == code) >= MIN_PIXELS for code in (RV, MYOCARDIUM, LV, LA, RA))


def _atria_whole(lax_4c: Labels) -> bool:
    return all(_second_part(frame == code) <= MIN_PIXELS for frame in lax_4c for code in (LA, RA))


def _atria_present(la_cm2: Curve, ra_cm2: Curve) -> bool:
    return bool(np.nanmin(la_cm2) > 0 and np.nanmin(ra_cm2) > 0)


def _atria_steady(la_cm2: Curve, ra_cm2: Curve) -> bool:
    return _steady(la_cm2) and _steady(ra_cm2)


def _ed_is_maximum(lv_ml: Curve, ed_frame: int) -> bool:
    return bool(np.nanmax(lv_ml) <= (1 + _ED_TOLERANCE) * lv_ml[int(ed_frame)])


def _es_in_time(lv_ml: Curve, ed_frame: int, es_frame: int) -> bool | Missing:
    if lv_ml.size < MIN_FRAMES_SMOOTHED:
        return Missing("few_frames")
    phase = ((es_frame - ed_frame) % lv_ml.size) / lv_ml.size
    return _ES_PHASE[0] <= phase <= _ES_PHASE[1]


def _stroke_volumes_agree(lvsv_ml: float, rvsv_ml: float) -> bool:
    return abs(lvsv_ml - rvsv_ml) < _STROKE_DIFFERENCE * (lvsv_ml + rvsv_ml) / 2


RULES: tuple[Rule, ...] = (
    Rule("qc_edv", "edv_implausible", ("lvedv_ml",), _within(30, 500)),
    Rule("qc_esv", "esv_implausible", ("lvesv_ml",), _within(5, 400)),
    Rule("qc_ef", "ef_implausible", ("lvef_pct",), _within(5, 90)),
    Rule("qc_mass", "mass_implausible", ("lvm_g",), _within(20, 400)),
    Rule("qc_heart_rate", "heart_rate_implausible", ("heart_rate_bpm",), _within(30, 150)),
    Rule("qc_stroke_volumes", "stroke_volumes_differ", ("lvsv_ml", "rvsv_ml"), _stroke_volumes_agree),
    Rule("qc_lv_overlap", "lv_overlap_low", ("lv_dice_predicted",), lambda dice: bool(dice >= _LV_OVERLAP)),
    Rule("qc_ed_maximum", "ed_not_maximum", ("lv_ml", "ed_frame"), _ed_is_maximum),
    Rule("qc_ed_cycle_start", "ed_off_cycle_start", ("cycle_ed_at_start",), bool),
    Rule("qc_es_timing", "es_timing", ("lv_ml", "ed_frame", "es_frame"), _es_in_time),
    Rule("qc_sax_classes", "class_small", ("sax_ed",), _classes_large),
    Rule("qc_sax_slices", "lv_slices_few", ("sax_ed",), _slices_enough),
    Rule("qc_sax_connected", "lv_slices_gap", ("sax_ed",), _slices_connected),
    Rule("qc_sax_middle", "mid_slice_incomplete", ("sax_ed",), _middle_complete),
    Rule("qc_sax_base", "base_inconsistent", ("sax_ed", "sax_es"), _base_consistent),
    Rule("qc_frame_order", "frame_order_doubtful", ("frame_order_agrees",), bool),
    Rule("qc_stack_order", "stack_order_doubtful", ("stack_order_agrees",), bool),
    Rule("qc_lax_4c_classes", "lax_class_small", ("lax_4c_ed",), _lax_classes_large),
    Rule("qc_atria_present", "atrium_vanishes", ("la_cm2", "ra_cm2"), _atria_present),
    Rule("qc_atria_whole", "atrium_fragmented", ("lax_4c",), _atria_whole),
    Rule("qc_atria_steady", "atrium_jumps", ("la_cm2", "ra_cm2"), _atria_steady),
)


def check(known: Mapping[str, Any]) -> dict[str, bool | None]:
    """Every rule of the table on one study.

    Args:
        known: measurements and phenotypes by name; :class:`Missing` where there is none.

    Returns:
        Column -> whether the rule is kept; None where it could not be judged.
    """
    return {rule.column: _judge(rule, known) for rule in RULES}


def failures(verdicts: Mapping[str, bool | None]) -> list[Rule]:
    """The rules that were broken, those that quarantine first."""
    broken = [rule for rule in RULES if verdicts[rule.column] is False]
    return sorted(broken, key=lambda rule: not rule.quarantines)


def _judge(rule: Rule, known: Mapping[str, Any]) -> bool | None:
    inputs = [known[name] for name in rule.inputs]
    if any(isinstance(value, Missing) for value in inputs):
        return None
    verdict = rule.function(*inputs)
    return None if isinstance(verdict, Missing) else bool(verdict)


def _slices_with(label: Labels, code: int) -> npt.NDArray[np.bool_]:
    held: npt.NDArray[np.bool_] = np.count_nonzero(label == code, axis=(1, 2)) >= MIN_PIXELS
    return held


def _slices_with_wall(label: Labels) -> npt.NDArray[np.bool_]:
    return _slices_with(label, LV) & _slices_with(label, MYOCARDIUM)


def _steady(area_cm2: Curve) -> bool:
    """The last frame leads over to the first."""
    area = area_cm2[np.isfinite(area_cm2)]
    following = np.roll(area, -1)
    return bool(((following < 2 * area) & (area < 2 * following)).all())


def _part_sizes(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    parts, _ = ndimage.label(mask)
    return np.sort(np.bincount(parts.ravel())[1:])[::-1]


def _largest_part(mask: npt.NDArray[np.bool_]) -> int:
    sizes = _part_sizes(mask)
    return int(sizes[0]) if sizes.size else 0


def _second_part(mask: npt.NDArray[np.bool_]) -> int:
    sizes = _part_sizes(mask)
    return int(sizes[1]) if sizes.size > 1 else 0

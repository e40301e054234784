"""Series that are no cines, each with its reason."""

import math

import pytest

from cmr_models.views.series_kind import SeriesFacts, exclusion

_CINE = {"image_type": ("ORIGINAL", "PRIMARY", "M"), "n_frames": 25, "trigger_span_ms": 840.0, "cycle_ms": 875.0}


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({}, None),
        ({"description": "CINE_segmented_SAX_b4"}, None),
        ({"description": "cine_trufi_retro 4CH", "sequence_name": "*tfi2d1_10"}, None),
        ({"image_type": ("ORIGINAL", "PRIMARY", "P")}, "series_phase_contrast"),
        ({"sequence_name": "*fl2d1_v250in"}, "series_phase_contrast"),
        ({"description": "flow_250_tp_AoV_bh_ePAT@c_MAG"}, "series_phase_contrast"),
        ({"description": "FIESTA 2CH FlowComp"}, None),
        ({"description": "cine_tagging_3sl_SAX_b1s"}, "series_tagging"),
        ({"description": "ShMOLLI_192i_SAX_b2s_T1MAP"}, "series_mapping"),
        ({"image_type": ("DERIVED", "PRIMARY", "T1 MAP")}, "series_mapping"),
        ({"description": "CINE_segmented_SAX_InlineVF"}, "series_result"),
        ({"image_type": ("DERIVED", "SECONDARY", "M")}, "series_result"),
        ({"has_colour": True}, "series_result"),
        ({"modality": "SR"}, "series_result"),
        ({"description": "Thorax_Cor_Tra", "n_frames": 1}, "series_scout"),
        ({"n_frames": 1, "n_orientations": 3}, "series_scout"),
        ({"n_frames": 1}, "series_not_cine"),
        ({"n_frames": 79, "trigger_span_ms": 54_000.0, "cycle_ms": 6.0}, "series_perfusion"),
        ({"trigger_span_ms": 20_000.0}, "series_perfusion"),
        ({"trigger_span_ms": 2000.0}, "series_real_time"),
        ({"trigger_span_ms": 5000.0}, "series_several_beats"),
        ({"n_frames": 80, "trigger_span_ms": 4000.0, "cycle_ms": math.nan}, "series_cycle_unknown"),
        ({"n_frames": 30, "trigger_span_ms": 5000.0, "cycle_ms": math.nan}, "series_several_beats"),
        ({"modality": "CT"}, "series_not_mr"),
        ({"sequence_name": "*tfi2d1_rev12"}, None),
        ({"trigger_span_ms": 0.0, "acquisition_span_ms": 40_000.0}, "series_perfusion"),
        ({"trigger_span_ms": math.nan, "acquisition_span_ms": 900.0}, None),
    ],
)
def test_a_series_is_left_out_for_its_own_reason(facts: dict[str, object], reason: str | None) -> None:
    assert exclusion(SeriesFacts(**{**_CINE, **facts})) == reason  # type: ignore[arg-type]

"""Series that are no cines, each with its reason."""

import math

import pytest

from cmr_models.views.series_kind import SeriesFacts, cycle_from, exclusion, is_called_perfusion, is_first_pass

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


# on either side of each limit


def _facts(**facts: object) -> SeriesFacts:
    return SeriesFacts(**{**_CINE, **facts})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"n_frames": 6}, None),
        ({"n_frames": 5}, "series_not_cine"),
        ({"n_frames": 5, "n_orientations": 2}, "series_scout"),
        ({"n_frames": 6, "n_orientations": 2}, None),
        ({"n_frames": 5, "n_orientations": 1, "image_type": ("LOCALIZER",)}, "series_scout"),
        ({"n_frames": 25, "image_type": ("ORIGINAL", "LOCALIZER")}, "series_scout"),
        # 1.6 cycles of 875 ms are 1400 ms; without a plausible cycle 3000
        ({"trigger_span_ms": 1400.0}, None),
        ({"trigger_span_ms": 1401.0}, "series_real_time"),
        ({"trigger_span_ms": 3000.0, "cycle_ms": math.nan}, None),
        ({"trigger_span_ms": 3001.0, "cycle_ms": 249.0, "n_frames": 40}, "series_cycle_unknown"),
        ({"trigger_span_ms": 401.0, "cycle_ms": 250.0}, "series_real_time"),
        ({"trigger_span_ms": 3001.0, "cycle_ms": 3001.0, "n_frames": 40}, "series_cycle_unknown"),
        ({"trigger_span_ms": 4800.0, "cycle_ms": 3000.0}, None),
        # steps between 25 frames: 250 ms and more are a beat
        ({"trigger_span_ms": 6000.0}, "series_perfusion"),
        ({"trigger_span_ms": 5999.0}, "series_several_beats"),
        # six frames a beat of 900 ms: 150 ms
        ({"trigger_span_ms": 3600.0, "cycle_ms": 900.0}, "series_real_time"),
        ({"trigger_span_ms": 3601.0, "cycle_ms": 900.0}, "series_several_beats"),
        ({"trigger_span_ms": 4000.0, "cycle_ms": math.nan, "n_frames": 41}, "series_cycle_unknown"),
        ({"trigger_span_ms": 4001.0, "cycle_ms": math.nan, "n_frames": 41}, "series_several_beats"),
        # no span of triggers, and images over 25 beats of 250 ms at least
        ({"trigger_span_ms": 100.0, "acquisition_span_ms": 6251.0}, "series_perfusion"),
        ({"trigger_span_ms": 100.0, "acquisition_span_ms": 6250.0}, None),
        ({"trigger_span_ms": 101.0, "acquisition_span_ms": 6251.0}, None),
        ({"trigger_span_ms": math.nan, "acquisition_span_ms": 6251.0}, "series_perfusion"),
        ({"trigger_span_ms": math.nan, "acquisition_span_ms": math.nan}, None),
    ],
)
def test_frames_steps_and_spans_have_their_limits(facts: dict[str, object], reason: str | None) -> None:
    assert exclusion(_facts(**facts)) == reason


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"modality": "SEG", "image_type": ("LOCALIZER",)}, "series_result"),
        ({"modality": "US", "has_colour": True}, "series_not_mr"),
        ({"image_type": ("PHASE",), "description": "localizer"}, "series_phase_contrast"),
        ({"image_type": ("ECV",), "description": "flow"}, "series_mapping"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "R")}, "series_complex_part"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "I", "FFE")}, "series_complex_part"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "M", "R")}, None),  # only as the third value
        ({"image_type": ("R", "PRIMARY", "M")}, None),
        ({"image_type": ("ORIGINAL", "PRIMARY", "M", "R_SE")}, "series_complex_part"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "M", "R_SEX")}, None),
        ({"description": "localizer perfusion"}, "series_scout"),
        ({"description": "molli", "n_frames": 3}, "series_mapping"),
        ({"description": "evidence survey"}, "series_result"),
        ({"description": "SPAMM"}, "series_tagging"),
        ({"description": "tag_sax"}, "series_tagging"),
        ({"description": "stage"}, None),
        ({"description": "T2*map"}, "series_mapping"),
        ({"description": "First Pass"}, "series_perfusion"),
        ({"description": "perf_sax"}, "series_perfusion"),
        ({"description": "perfect"}, None),
        ({"description": "AIF"}, "series_perfusion"),
        ({"description": "phase contrast"}, "series_phase_contrast"),
        ({"sequence_name": "fl2d_v8in"}, None),
        ({"sequence_name": "V100"}, "series_phase_contrast"),
    ],
)
def test_types_go_before_words_and_words_before_times(facts: dict[str, object], reason: str | None) -> None:
    assert exclusion(_facts(**facts)) == reason


def test_a_first_pass_is_called_so_or_runs_over_twenty_beats() -> None:
    assert is_first_pass(_facts(description="perfusion", n_frames=3), "series_perfusion")
    assert is_first_pass(_facts(n_frames=20), "series_perfusion")
    assert not is_first_pass(_facts(n_frames=19), "series_perfusion")
    assert not is_first_pass(_facts(n_frames=80, description="perfusion"), "series_scout")
    assert is_called_perfusion("STRESS_PERF_sax")
    assert not is_called_perfusion("cine")
    assert not is_called_perfusion("perfusion localizer")


@pytest.mark.parametrize(
    ("intervals_ms", "heart_rate_bpm", "cycle_ms"),
    [
        ([1200, 800, 900], 60, 900),
        ([800, 1000], 60, 900),
        ([249, 0, 3001, 700], 60, 700),
        ([250, 3000, 3000], 60, 3000),
        ([249, 3001], 50, 1200),
        ([], 75, 800),
        ([], 0, math.nan),
        ([], 20, 3000),
        ([], 19.9, math.nan),
        ([], 240, 250),
        ([], 241, math.nan),
        ([], math.nan, math.nan),
    ],
)
def test_a_cycle_is_the_median_of_intervals_that_can_be_a_hearts_else_from_the_rate(
    intervals_ms: list[float], heart_rate_bpm: float, cycle_ms: float
) -> None:
    assert cycle_from(intervals_ms, heart_rate_bpm) == pytest.approx(cycle_ms, nan_ok=True)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({}, None),  # 25 frames in 840 of 875 ms, the clock read once
        ({"acquisition_span_ms": 6249.0}, None),  # less than 250 ms each
        ({"acquisition_span_ms": 6250.0}, "series_perfusion"),  # one a beat
        ({"acquisition_span_ms": math.nan}, "series_perfusion"),  # no clock: the name counts
        ({"trigger_span_ms": 437.0}, "series_perfusion"),  # less than half of the cycle
        ({"trigger_span_ms": 438.0}, None),
        ({"trigger_span_ms": 1400.0}, "series_perfusion"),  # 1.6 cycles
        ({"trigger_span_ms": math.nan}, "series_perfusion"),
        ({"cycle_ms": math.nan}, "series_perfusion"),
        ({"n_frames": 6}, None),
        ({"n_frames": 5}, "series_perfusion"),
        ({"description": "cine SA post T1 map"}, "series_mapping"),
    ],
)
def test_a_cine_that_is_only_called_after_the_perfusion_before_it_is_a_cine(
    facts: dict[str, object], reason: str | None
) -> None:
    named = {"description": "cine SA post perf", "acquisition_span_ms": 0.0}
    assert exclusion(_facts(**{**named, **facts})) == reason

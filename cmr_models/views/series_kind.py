"""Which series are cines of the heart: scouts, flow, tagging, maps, results and perfusion are not."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

MIN_CINE_FRAMES = 6
"""Fewer frames do not show a cycle; clinical cines have 12 to 100."""

LONGEST_CYCLE_MS = 3000.0
"""No cardiac cycle is longer (20 beats a minute)."""

SHORTEST_CYCLE_MS = 250.0

FEWEST_BEATS = 20
"""A series without a name of perfusion is taken as such if it has so many frames: a first pass takes 10 to 30 s."""

LONGEST_OF_ONE_CYCLE = 1.6
"""Frames that span more cycles than this are of several beats: RR intervals vary, and headers round."""

_LEAST_OF_A_CYCLE = 0.5
"""Frames that span less of a cycle than this may be those of one phase, with a delay that varies."""

REAL_TIME_STEP_MS = 100.0
"""Real-time cines have a shorter step between frames; a first pass has one image a beat."""

_MR_OR_DOCUMENT = frozenset(("MR", "SR", "PR", "KO", "SC", "OT", "DOC", "SEG", "REG", "RWV", "PLAN"))
"""Modalities of magnetic resonance, and of what is made from it (DICOM PS3.3 C.7.3.1.1.1)."""

_MAP_TYPES = frozenset(("T1", "T2", "R1", "R2", "T1 MAP", "T2 MAP", "T1MAP", "T2MAP", "T2_STAR MAP", "ECV", "T1_MAP"))
_PHASE_TYPES = frozenset(("P", "PHASE", "PHASE MAP", "VELOCITY", "VELOCITY MAP", "FLOW_ENCODED", "PCA", "PC"))

_COMPLEX_PART = re.compile(r"(REAL|IMAGINARY|[RI]_(FFE|SE|IR))")
"""Types of the real and the imaginary part of an image; a third value that is a letter says so too (Siemens)."""

_WORDS = tuple(
    (reason, re.compile(pattern, re.IGNORECASE))
    for reason, pattern in (
        ("series_result", r"inline.?vf|vf.?results|screen.?save|secondary.?capture|evidence"),
        ("series_scout", r"locali[sz]er|scout|survey|thorax_cor_tra"),
        ("series_phase_contrast", r"(\b|_)flow(?!.?comp)|venc|phase.?contrast|epat@c"),
        ("series_tagging", r"tagging|(^|[_ ])tag([_ ]|$)|spamm"),
        ("series_mapping", r"molli|sasha|t[12](star|\*)?[_ ]?map|fitparams"),
        ("series_perfusion", r"perfusion|first.?pass|(^|[_ ])(perf|aif)([_ ]|$)"),
    )
)
_VELOCITY_SEQUENCE = re.compile(r"(?<![a-z])v\d{2,3}(in|th|ap|rl|fh)?", re.IGNORECASE)


@dataclass(frozen=True)
class SeriesFacts:
    """What the headers say of one plane of one series.

    Attributes:
        description: series description and protocol name.
        sequence_name: as the vendor writes it.
        image_type: DICOM ImageType, upper case.
        modality: "MR" for magnetic resonance.
        has_colour: more than one sample a pixel.
        n_frames: images of this plane.
        n_orientations: distinct orientations within the series.
        trigger_span_ms: last minus first trigger time; NaN if none.
        cycle_ms: RR interval from the header; NaN if absent.
        acquisition_span_ms: last minus first acquisition time; NaN if none.
    """

    description: str = ""
    sequence_name: str = ""
    image_type: tuple[str, ...] = ()
    modality: str = "MR"
    has_colour: bool = False
    n_frames: int = 1
    n_orientations: int = 1
    trigger_span_ms: float = math.nan
    cycle_ms: float = math.nan
    acquisition_span_ms: float = math.nan


def exclusion(facts: SeriesFacts) -> str | None:
    """The reason code for which a plane of a series is not a cine of the heart; None if it may be one."""
    by_words = _by_words(facts)
    if by_words == "series_perfusion" and _is_timed_as_cine(facts):
        by_words = None
    return _by_type(facts) or by_words or _by_time(facts)


def is_first_pass(facts: SeriesFacts, reason: str) -> bool:
    """Whether a plane left out with ``reason`` can show a bolus: it is called so, or runs on over enough beats."""
    if reason != "series_perfusion":
        return False
    named = _by_words(facts) == "series_perfusion"
    return named or facts.n_frames >= FEWEST_BEATS


def is_called_perfusion(description: str) -> bool:
    """Whether a series description, with the protocol's name, says first-pass perfusion."""
    return _by_words(SeriesFacts(description=description)) == "series_perfusion"


def is_plausible_cycle(cycle_ms: float) -> bool:
    """Whether an RR interval can be a heart's (some scanners write counts or zeros)."""
    return SHORTEST_CYCLE_MS <= cycle_ms <= LONGEST_CYCLE_MS


def cycle_from(intervals_ms: Sequence[float], heart_rate_bpm: float) -> float:
    """RR interval: the median of those that can be a heart's, else from the heart rate; NaN if unknown."""
    plausible = [x for x in intervals_ms if is_plausible_cycle(x)]
    if plausible:
        return float(median(plausible))
    from_rate = 60_000 / heart_rate_bpm if heart_rate_bpm > 0 else math.nan
    return from_rate if is_plausible_cycle(from_rate) else math.nan


def _by_type(facts: SeriesFacts) -> str | None:
    types = frozenset(facts.image_type)
    if facts.modality not in _MR_OR_DOCUMENT:
        return "series_not_mr"
    if facts.modality != "MR" or facts.has_colour or "SECONDARY" in types:
        return "series_result"
    if "LOCALIZER" in types or (facts.n_orientations > 1 and facts.n_frames < MIN_CINE_FRAMES):
        return "series_scout"
    if types & _PHASE_TYPES or _VELOCITY_SEQUENCE.search(facts.sequence_name):
        return "series_phase_contrast"
    if facts.image_type[2:3] in (("R",), ("I",)) or any(_COMPLEX_PART.fullmatch(part) for part in types):
        return "series_complex_part"
    return "series_mapping" if types & _MAP_TYPES else None


def _by_words(facts: SeriesFacts) -> str | None:
    return next((reason for reason, words in _WORDS if words.search(facts.description)), None)


def _by_time(facts: SeriesFacts) -> str | None:
    if facts.n_frames < MIN_CINE_FRAMES:
        return "series_not_cine"
    longest = LONGEST_OF_ONE_CYCLE * facts.cycle_ms if is_plausible_cycle(facts.cycle_ms) else LONGEST_CYCLE_MS
    if facts.trigger_span_ms > longest:
        return _over_beats(facts)
    one_instant = not facts.trigger_span_ms > 100.0
    one_image_a_beat = facts.acquisition_span_ms > SHORTEST_CYCLE_MS * facts.n_frames
    return "series_perfusion" if one_instant and one_image_a_beat else None


def _is_timed_as_cine(facts: SeriesFacts) -> bool:
    """Whether frames lie within one known cycle and were not taken one a beat: a cine after perfusion bears its name.

    The images of a first pass have one delay, or delays that run on over the beats, and clocks a beat apart.
    """
    if facts.n_frames < MIN_CINE_FRAMES or not is_plausible_cycle(facts.cycle_ms):
        return False
    within_a_cycle = _LEAST_OF_A_CYCLE * facts.cycle_ms < facts.trigger_span_ms < LONGEST_OF_ONE_CYCLE * facts.cycle_ms
    return within_a_cycle and facts.acquisition_span_ms < SHORTEST_CYCLE_MS * facts.n_frames


def _over_beats(facts: SeriesFacts) -> str:
    """What frames over several beats are, by how many a beat has: one, enough for a cine, or neither."""
    step_ms = facts.trigger_span_ms / (facts.n_frames - 1)
    if step_ms >= SHORTEST_CYCLE_MS:
        return "series_perfusion"
    if is_plausible_cycle(facts.cycle_ms):
        return "series_real_time" if facts.cycle_ms / step_ms >= MIN_CINE_FRAMES else "series_several_beats"
    return "series_cycle_unknown" if step_ms <= REAL_TIME_STEP_MS else "series_several_beats"

"""Why a study, a series or a number is not there: the one table of reason codes.

``quarantined`` ends a study at a stage, ``absent`` says that the modality was not acquired, ``excluded`` leaves one
series out of a study, ``left_out`` a ventricle out of one slice, ``flag`` marks a study that goes on, ``missing``
explains a NaN.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["quarantined", "absent", "excluded", "left_out", "flag", "missing"]


class Reason(NamedTuple):
    """One row of the table."""

    code: str
    stage: str
    kind: Kind
    sentence: str


_TABLE: tuple[Reason, ...] = (
    # convert: the whole study
    Reason("zip_corrupt", "convert", "quarantined", "The archive is truncated or fails its checksum."),
    Reason(
        "zip_other_archive",
        "convert",
        "quarantined",
        "The file is named .zip and is an archive of another kind; unpack it.",
    ),
    Reason("zip_bomb", "convert", "quarantined", "The archive would inflate beyond the permitted size or ratio."),
    Reason(
        "zip_hostile_name",
        "convert",
        "quarantined",
        "The name of a member is absolute, leaves the archive or is repeated with other content.",
    ),
    Reason("zip_encrypted", "convert", "quarantined", "The archive is password protected."),
    Reason("zip_method", "convert", "quarantined", "A member is packed by a method other than deflate."),
    Reason(
        "zip_nested", "convert", "quarantined", "The archive holds other archives, which are not opened, and no image."
    ),
    Reason("zip_nifti", "convert", "quarantined", "The archive holds NIfTI files, which are read as files alone."),
    Reason("no_dicom", "convert", "quarantined", "The source holds no readable DICOM image."),
    Reason("wrong_series", "convert", "quarantined", "None of the series is a cine view of the heart."),
    Reason("dicom_corrupt", "convert", "quarantined", "A DICOM file is truncated or its pixels cannot be decoded."),
    Reason(
        "dicom_encoding", "convert", "quarantined", "Pixels are compressed by a method that no installed decoder reads."
    ),
    Reason(
        "pixel_format_unsupported",
        "convert",
        "quarantined",
        "Pixels are stored in a form that is not read: real numbers, single bits, or cells of other than 8, 16 or 32 bits.",
    ),
    Reason(
        "pixel_bits_contradict",
        "convert",
        "quarantined",
        "The header's numbers of bits contradict each other, or pixels use bits that the header says hold no value.",
    ),
    Reason(
        "pixel_data_contradict",
        "convert",
        "quarantined",
        "A file holds more pixels than its rows, columns, bits and number of frames say.",
    ),
    Reason(
        "pixel_meaning_unknown",
        "convert",
        "quarantined",
        "The photometric interpretation does not say whether high values are bright.",
    ),
    Reason(
        "modality_lut_unread",
        "convert",
        "quarantined",
        "Values go through a lookup table (Modality LUT or Real World Value LUT), which is not read.",
    ),
    Reason(
        "rescale_invalid", "convert", "quarantined", "The rescale slope is zero, or it or the intercept is no number."
    ),
    Reason(
        "multiframe_unordered",
        "convert",
        "quarantined",
        "A multi-frame file does not say when or where its frames were taken.",
    ),
    Reason(
        "geometry_missing",
        "convert",
        "quarantined",
        "Position, orientation or pixel spacing is missing or not finite.",
    ),
    Reason("frames_missing", "convert", "quarantined", "More frames are missing than the settings allow."),
    Reason(
        "order_unknown",
        "convert",
        "quarantined",
        "No header value that means time orders the frames, and the images do not confirm the order of their numbers.",
    ),
    Reason("mixed_patients", "convert", "quarantined", "The files of one study name more than one patient."),
    Reason(
        "study_too_large",
        "convert",
        "quarantined",
        "The files of the study are larger, decode to more pixels or hold more elements of headers than is permitted.",
    ),
    Reason(
        "image_too_large",
        "convert",
        "quarantined",
        "The pixels of one file are more than the settings permit.",
    ),
    Reason("nifti_corrupt", "convert", "quarantined", "The NIfTI file cannot be read."),
    Reason("nifti_too_large", "convert", "quarantined", "The NIfTI file inflates beyond the permitted size."),
    Reason(
        "nifti_unsupported",
        "convert",
        "quarantined",
        "The NIfTI file does not hold a volume, or a series of volumes, of real numbers.",
    ),
    Reason(
        "nifti_size_differs",
        "convert",
        "quarantined",
        "The NIfTI file is longer than its header says: frames or slices would be left out.",
    ),
    Reason(
        "spacing_contradictory",
        "convert",
        "quarantined",
        "The fields of a NIfTI header state two voxel sizes, and either could be right.",
    ),
    Reason(
        "geometry_implausible",
        "convert",
        "quarantined",
        "With the voxel size that the file states, its images cannot show a heart.",
    ),
    Reason(
        "affine_sheared", "convert", "quarantined", "By the affine, rows and columns of images are not at right angles."
    ),
    Reason(
        "frame_grids_differ",
        "convert",
        "quarantined",
        "Files of one view differ in matrix, voxel size, place or orientation.",
    ),
    Reason("axes_exchanged", "convert", "quarantined", "Frames stand in the place of slices, or slices of frames."),
    Reason("frame_twice", "convert", "quarantined", "Two different files are the same frame of one view."),
    Reason("pickle_refused", "convert", "quarantined", "Pickle files can run code and are not read."),
    Reason(
        "image_unreadable", "convert", "quarantined", "A PNG image cannot be read, or differs in size from the others."
    ),
    Reason("no_sax", "convert", "absent", "No short-axis cine was acquired."),
    # convert: one series
    Reason("series_scout", "convert", "excluded", "Localiser."),
    Reason("series_phase_contrast", "convert", "excluded", "Phase-contrast flow."),
    Reason("series_complex_part", "convert", "excluded", "Real or imaginary part of an image, not its magnitude."),
    Reason("series_tagging", "convert", "excluded", "Tagged cine."),
    Reason("series_mapping", "convert", "excluded", "T1, T2 or other parametric map."),
    Reason("series_result", "convert", "excluded", "Result of inline analysis or secondary capture."),
    Reason("series_not_cine", "convert", "excluded", "Not a cine: too few frames in the cycle."),
    Reason(
        "series_perfusion",
        "convert",
        "excluded",
        "First-pass perfusion series, left out by a version that did not read them.",
    ),
    Reason("series_short_run", "convert", "excluded", "Images over several beats, too few for a first pass."),
    Reason("series_real_time", "convert", "excluded", "Real-time cine without one whole heartbeat."),
    Reason(
        "series_cycle_unknown",
        "convert",
        "excluded",
        "Real-time cine over several heartbeats whose length is not known: no beat can be cut out.",
    ),
    Reason(
        "series_several_beats", "convert", "excluded", "Images over several beats, neither a cine nor a first pass."
    ),
    Reason(
        "series_other_beat", "convert", "excluded", "Other heartbeats of a real-time cine; one of them is measured."
    ),
    Reason("series_not_mr", "convert", "excluded", "Not magnetic resonance."),
    Reason("image_repeated", "convert", "excluded", "Copy of an image, or an earlier image of the same frame."),
    Reason("series_repeated", "convert", "excluded", "Another series of the same plane is more complete or later."),
    Reason(
        "series_parallel",
        "convert",
        "excluded",
        "The plane is nearly parallel to a known view, which another series shows better.",
    ),
    Reason("series_unknown_view", "convert", "excluded", "The plane matches none of the known views."),
    # convert: flags
    Reason("slice_gap", "convert", "flag", "Planes are not evenly spaced along the normal within 5 %."),
    Reason(
        "slice_repeated",
        "convert",
        "flag",
        "Planes of the stack were acquired twice, in one place or between each other; the better ones were kept.",
    ),
    Reason(
        "matrix_mixed",
        "convert",
        "flag",
        "Planes differ in matrix size; they were cropped or padded to the majority.",
    ),
    Reason(
        "archive_unopened",
        "convert",
        "flag",
        "Beside its images the archive holds archives or NIfTI files, which were not opened.",
    ),
    Reason("frame_missing", "convert", "flag", "Single frames are missing and masked."),
    Reason("frames_mixed", "convert", "flag", "Planes differ in the number of frames; the nearest phases were taken."),
    Reason("trigger_irregular", "convert", "flag", "Trigger times are not evenly spaced or not monotonic."),
    Reason(
        "trigger_unit",
        "convert",
        "flag",
        "Trigger times are frames of one cycle only in another unit than milliseconds; they were converted.",
    ),
    Reason(
        "order_by_number",
        "convert",
        "flag",
        "No header value means time; the frames are ordered by image number, which the images confirm.",
    ),
    Reason(
        "order_contradicted",
        "convert",
        "flag",
        "The images contradict the times in the headers; the frames are ordered by another header value.",
    ),
    Reason(
        "order_doubtful",
        "convert",
        "flag",
        "The images contradict the times in the headers but support no other order; the times were believed.",
    ),
    Reason(
        "cine_secondary",
        "convert",
        "flag",
        "No cine is the scanner's original; those that another program made of them (SECONDARY) were read.",
    ),
    Reason("frame_repeated", "convert", "flag", "Two images show the same frame; the one acquired later was kept."),
    Reason(
        "beat_chosen",
        "convert",
        "flag",
        "Real-time cine over several heartbeats; the middle one of the whole beats is used.",
    ),
    Reason("slice_rotated", "convert", "flag", "A plane's orientation differs from the stack's."),
    Reason(
        "overlay_removed",
        "convert",
        "flag",
        "Bits that hold no pixel value were set, as for an overlay; they were left out.",
    ),
    Reason(
        "bits_stored_exceeded",
        "convert",
        "flag",
        "Pixels are brighter than the header's Bits Stored allows; they were read with all their bits.",
    ),
    Reason("padding_removed", "convert", "flag", "Padding, which is not image, was set to the background."),
    Reason(
        "brightness_inverted", "convert", "flag", "Low values were stored as bright (MONOCHROME1); they were mirrored."
    ),
    Reason(
        "rescale_common",
        "convert",
        "flag",
        "Images of the view had different rescale slopes; their values were brought to one scale.",
    ),
    Reason("pixel_not_finite", "convert", "flag", "Some pixels are not finite numbers; they were stored as zero."),
    Reason("slices_few", "convert", "flag", "Fewer than six short-axis planes."),
    Reason(
        "patient_id_spelling",
        "convert",
        "flag",
        "The images of the study spell the patient's id in several ways: case, spaces or leading zeros differ.",
    ),
    Reason("manifest_mismatch", "convert", "flag", "The manifest and the archive do not list the same files."),
    # convert: flags of NIfTI
    Reason(
        "affine_without_scale",
        "convert",
        "flag",
        "The affine has no voxel size (columns of length one); that of pixdim was taken.",
    ),
    Reason(
        "affine_unusable",
        "convert",
        "flag",
        "The sform or the qform is not finite, has no three axes or is sheared; the other one was taken.",
    ),
    Reason("pixdim_negative", "convert", "flag", "Voxel sizes in pixdim are negative; their sign was left out."),
    Reason("pixdim_unset", "convert", "flag", "The pixdim has no voxel size; that of the affine was taken."),
    Reason(
        "spacing_disagrees",
        "convert",
        "flag",
        "Affine and pixdim state different voxel sizes; the only one that a heart can have was taken.",
    ),
    Reason(
        "unit_corrected",
        "convert",
        "flag",
        "In the unit that the file states the voxels are not those of a heart; the unit in which they are was taken.",
    ),
    Reason(
        "axes_permuted",
        "convert",
        "flag",
        "Slices are not along the third axis, or frames not along the fourth; the axes were put in order.",
    ),
    Reason(
        "orientation_unstated",
        "convert",
        "flag",
        "The file does not say how the volume lies in the body; its order of slices was taken as base to apex.",
    ),
    Reason(
        "orientation_disagrees",
        "convert",
        "flag",
        "Qform and sform state different orientations; the sform was taken, or the qform if the sform is of an atlas.",
    ),
    Reason(
        "orientation_exchanged",
        "convert",
        "flag",
        "Only with left and right, and front and back, exchanged does the stack lie like a heart, as where the directions "
        "of DICOM were written into NIfTI; the order of its slices was decided so.",
    ),
    Reason(
        "time_unit_corrected",
        "convert",
        "flag",
        "In the unit that the file states the frames are not a heart cycle; the unit in which they are was taken.",
    ),
    Reason(
        "pixel_outlier", "convert", "flag", "Single pixels are far outside the range of all others and were clipped."
    ),
    # convert: flags of the references of public data sets
    Reason("label_missing", "convert", "flag", "The data set has no label file for the view."),
    Reason("label_corrupt", "convert", "flag", "A label file cannot be read; its labels were left out."),
    Reason(
        "label_grid_mismatch", "convert", "flag", "Labels lie on another grid than their image; they were left out."
    ),
    Reason(
        "label_class_unknown",
        "convert",
        "flag",
        "Labels hold codes that the data set does not define; they were left out.",
    ),
    Reason(
        "label_class_single",
        "convert",
        "flag",
        "All labels have one code where the data set has several, as masks of one structure do; they were left out.",
    ),
    Reason(
        "label_channels",
        "convert",
        "flag",
        "A label file does not hold one code for each voxel of a volume, but channels, vectors, colours or a plane.",
    ),
    Reason(
        "label_codes_exchanged",
        "convert",
        "flag",
        "The wall does not surround what the labels call left ventricle, as with the codes of another convention; "
        "they were left out.",
    ),
    Reason("label_frame_unmatched", "convert", "flag", "The labelled frame is not among the frames of the cine."),
    Reason("facts_missing", "convert", "flag", "The data set's table has no row for the case, or cannot be read."),
    Reason(
        "geometry_assumed",
        "convert",
        "flag",
        "The files do not state pixel size and position; the usual values of the data set are used.",
    ),
    # segment
    Reason("image_flat", "segment", "quarantined", "The image has no contrast."),
    Reason("model_view_missing", "segment", "absent", "The study lacks the views that the model needs."),
    Reason("out_of_memory", "segment", "quarantined", "The device ran out of memory even at batch size 1."),
    Reason(
        "output_not_finite",
        "segment",
        "quarantined",
        "The output of the network is not finite: the weights do not fit the images.",
    ),
    Reason(
        "planes_coincide", "segment", "quarantined", "Two short-axis planes have the same position along the stack."
    ),
    # segment: a ventricle in one slice and frame
    Reason("slice_nothing_found", "segment", "left_out", "The network finds none."),
    Reason("slice_uncertain", "segment", "left_out", "By the learned answer less than half of it is ventricle."),
    Reason("slice_beyond_valve", "segment", "left_out", "It lies beyond the plane of the valve."),
    Reason(
        "slice_under_half", "segment", "left_out", "The plane of the valve cuts it; less than half of it is ventricle."
    ),
    Reason("slice_open", "segment", "left_out", "Less than half of the pool is enclosed by myocardium."),
    Reason("slice_atrium", "segment", "left_out", "The pool is largest when the ventricle is smallest: an atrium."),
    Reason("slice_apart", "segment", "left_out", "What was found does not belong to the ventricle of the next slice."),
    Reason("slice_without_lv", "segment", "left_out", "Neither this slice nor the next one shows a left ventricle."),
    Reason("slice_resting", "segment", "left_out", "What was found takes no part in the contraction."),
    Reason("slice_left_by_lv", "segment", "left_out", "The left ventricle has left the slice, and so the right one."),
    # derive
    Reason("lv_empty", "derive", "quarantined", "No left ventricle was found in any frame."),
    Reason("no_prediction", "derive", "quarantined", "There is no segmentation to measure."),
    Reason("single_plane", "derive", "quarantined", "The short-axis planes do not span a volume."),
    Reason("frames_masked", "derive", "quarantined", "No frame of the short axis is complete."),
    Reason("edv_implausible", "derive", "quarantined", "LV end-diastolic volume outside 30 to 500 mL."),
    Reason("esv_implausible", "derive", "quarantined", "LV end-systolic volume outside 5 to 400 mL."),
    Reason("ef_implausible", "derive", "quarantined", "LV ejection fraction outside 5 to 90 %."),
    Reason("mass_implausible", "derive", "quarantined", "LV mass outside 20 to 400 g."),
    # derive: flags
    Reason(
        "lv_overlap_low",
        "derive",
        "flag",
        "The network expects of its own LV a Dice overlap with an expert's of less than 0.85.",
    ),
    Reason("stroke_volumes_differ", "derive", "flag", "LV and RV stroke volume differ by 35 % of their mean or more."),
    Reason("ed_not_maximum", "derive", "flag", "The LV is more than 5 % larger in another frame than at end-diastole."),
    Reason("ed_off_cycle_start", "derive", "flag", "End-diastole is neither at the start nor at the end of the cine."),
    Reason("es_timing", "derive", "flag", "End-systole is not between 20 and 60 % of the cycle after end-diastole."),
    Reason("heart_rate_implausible", "derive", "flag", "Heart rate outside 30 to 150 beats per minute."),
    Reason("class_small", "derive", "flag", "A short-axis class has fewer than 10 pixels at end-diastole."),
    Reason("lv_slices_few", "derive", "flag", "Fewer than six planes hold LV and myocardium at end-diastole."),
    Reason("lv_slices_gap", "derive", "flag", "A plane without LV and myocardium lies between two planes with them."),
    Reason(
        "mid_slice_incomplete",
        "derive",
        "flag",
        "LV with wall, or RV, has fewer than 10 connected pixels in the middle plane.",
    ),
    Reason(
        "base_inconsistent",
        "derive",
        "flag",
        "At end-systole the LV reaches planes that it does not reach at end-diastole.",
    ),
    Reason(
        "frame_order_doubtful",
        "derive",
        "flag",
        "The images of the short axis contradict the times by which they were ordered.",
    ),
    Reason(
        "stack_order_doubtful",
        "derive",
        "flag",
        "By its labels the short-axis stack runs from apex to base, by its geometry from base to apex.",
    ),
    Reason(
        "lax_class_small", "derive", "flag", "A four-chamber class has fewer than 10 connected pixels at end-diastole."
    ),
    Reason("atrium_vanishes", "derive", "flag", "An atrium has no pixel in some frame."),
    Reason(
        "atrium_fragmented", "derive", "flag", "An atrium has two separate parts of more than 10 pixels in some frame."
    ),
    Reason("atrium_jumps", "derive", "flag", "An atrium's area halves or doubles from one frame to the next."),
    # derive: why a number is NaN
    Reason("view_missing", "derive", "missing", "The view in which it is measured is missing."),
    Reason("single_frame", "derive", "missing", "There is only one frame, so there is no end-systole."),
    Reason("few_frames", "derive", "missing", "Too few frames to follow the change in volume."),
    Reason("time_unknown", "derive", "missing", "The times of the frames are unknown or do not increase."),
    Reason("myocardium_empty", "derive", "missing", "No myocardium was found."),
    Reason("rv_empty", "derive", "missing", "No right ventricle was found."),
    Reason(
        "rv_larger_at_es",
        "derive",
        "missing",
        "The right ventricle was found larger at end-systole than at end-diastole.",
    ),
    Reason("la_empty", "derive", "missing", "No left atrium was found."),
    Reason("ra_empty", "derive", "missing", "No right atrium was found."),
    Reason("heart_rate_unknown", "derive", "missing", "The files do not state the heart rate."),
    Reason("body_size_unknown", "derive", "missing", "Height or weight is unknown."),
    Reason(
        "body_size_implausible",
        "derive",
        "missing",
        "Height is not within 100 to 250 cm, or weight is not within 25 to 350 kg.",
    ),
    Reason(
        "structure_not_in_frame", "derive", "missing", "The structure was not found at end-diastole or at end-systole."
    ),
    Reason(
        "certainty_unpredicted",
        "derive",
        "missing",
        "The card of the network does not say how its certainty is to be read.",
    ),
    Reason("landmarks_unpredicted", "derive", "missing", "No landmarks were predicted in the view."),
    Reason("undefined", "derive", "missing", "The divisor is zero."),
    # predict
    Reason("phases_unknown", "predict", "quarantined", "End-diastole or end-systole is not known."),
    Reason("landmarks_missing", "predict", "missing", "No frame has all landmarks."),
    # evaluate
    Reason("structure_absent", "evaluate", "missing", "Neither the prediction nor the reference has the structure."),
    Reason(
        "structure_in_one", "evaluate", "missing", "Only one of the two has the structure, so there is no distance."
    ),
    Reason("frame_unjudged", "evaluate", "missing", "The model segmented no image in the frame that has a reference."),
    Reason("grid_differs", "evaluate", "missing", "Prediction and reference lie on different grids."),
    Reason("class_unknown", "evaluate", "missing", "The reference is a class that the model does not know."),
    Reason("reference_missing", "evaluate", "missing", "The reference of this quantity is not known."),
    # perfusion: the whole study
    Reason("no_perfusion", "perfusion", "absent", "No first-pass perfusion series was acquired."),
    Reason("perfusion_few_frames", "perfusion", "quarantined", "The series has too few frames to follow a bolus."),
    Reason("perfusion_time_unknown", "perfusion", "quarantined", "The headers do not give the times of the frames."),
    Reason("perfusion_clipped", "perfusion", "quarantined", "The series reaches the largest value that can be stored."),
    Reason("perfusion_no_bolus", "perfusion", "quarantined", "No contrast agent arrives in the left ventricle."),
    Reason("perfusion_no_heart", "perfusion", "quarantined", "No slice shows a closed wall around a left ventricle."),
    # perfusion: flags
    Reason(
        "perfusion_no_pd", "perfusion", "flag", "There are no proton-density frames: signal is scaled by its baseline."
    ),
    Reason(
        "aif_single_sequence",
        "perfusion",
        "flag",
        "The input was measured in the myocardial series, where it saturates: flow is too high.",
    ),
    Reason(
        "sequence_assumed",
        "perfusion",
        "flag",
        "The headers do not state saturation delay or flip angle; it is assumed.",
    ),
    Reason("aif_fallback", "perfusion", "flag", "The network found no left ventricle; the input was found without it."),
    Reason(
        "labels_by_cine_network",
        "perfusion",
        "flag",
        "No perfusion network is installed: the cine network segmented the heart.",
    ),
    Reason("level_assumed", "perfusion", "flag", "There is only one slice; it is taken as mid-ventricular."),
    # perfusion: one slice, one number
    Reason("wall_open", "perfusion", "missing", "The wall is not closed around the cavity in this slice."),
    Reason("segment_empty", "perfusion", "missing", "The level has no slice, or too few pixels with a fitted flow."),
    Reason("state_missing", "perfusion", "missing", "There is no series at rest, or none at stress."),
    # perfusion: the arterial input
    Reason("aif_no_bolus", "perfusion", "missing", "The arterial input shows no bolus."),
    Reason(
        "segment_flow_at_bound",
        "perfusion",
        "flag",
        "The flow of a segment is at the upper limit of the fit: the segment is left out.",
    ),
    Reason(
        "aif_moved",
        "perfusion",
        "flag",
        "The heart moves by over half a pixel in the input series; its clock or plane differs, so this is not corrected.",
    ),
    Reason("aif_noisy", "perfusion", "flag", "The arterial input peaks below three times the noise before arrival."),
    Reason("aif_peak_low", "perfusion", "flag", "The arterial input peaks below 1 mmol/L."),
    Reason("aif_peak_high", "perfusion", "flag", "The arterial input peaks above 10 mmol/L."),
    # derive: measurements that are simulated without images
    Reason("not_simulated", "derive", "missing", "The measurements are simulated, and this number is not among them."),
    # any stage
    Reason("file_unreadable", "any", "quarantined", "An input or published file cannot be read."),
    Reason("contract_broken", "any", "quarantined", "A published file does not hold what its contract says."),
    Reason("newer_version", "any", "quarantined", "A newer version of cmr-cohort wrote a published file; update it."),
    Reason(
        "unexpected_error", "any", "quarantined", "An unexpected error; the study is tried again, three times in all."
    ),
    Reason(
        "worker_lost",
        "any",
        "quarantined",
        "The process died of this study alone, or it took longer than it may; it is tried again, three times in all.",
    ),
    Reason("source_removed", "any", "absent", "Its source files are no longer in the archive."),
    Reason("withdrawn", "any", "absent", "The participant withdrew."),
    Reason("upstream", "any", "quarantined", "An earlier stage ended the study."),
)

TABLE = {reason.code: reason for reason in _TABLE}


TRANSIENT = frozenset(
    {
        "contract_broken",
        "file_unreadable",
        "newer_version",
        "no_prediction",
        "out_of_memory",
        "unexpected_error",
        "worker_lost",
    }
)
"""Reasons that a later run may not meet again: such studies are tried again."""


class Missing(NamedTuple):
    """Stands in place of a value that is missing; ``reason`` is a code of :data:`TABLE`."""

    reason: str


class StudyRejected(ValueError):
    """A study cannot go on. ``reason`` is a code of :data:`TABLE`; ``detail`` says what was found, without identifiers."""

    def __init__(self, reason: str, detail: str = "") -> None:
        if reason not in TABLE:
            raise KeyError(f"unknown reason code {reason!r}; add a row to cmr_models/reasons.py")
        super().__init__(f"{reason}: {TABLE[reason].sentence} {detail}".strip())
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[StudyRejected], tuple[str, str]]:
        return StudyRejected, (self.reason, self.detail)

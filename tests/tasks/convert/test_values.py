"""Values of one view are on one scale, whatever the slopes of its images; nothing is clipped, everything is flagged."""

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from dicom_factory import Series, dataset, encode, lax, pixels, sax
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import MultiFrameGrayscaleWordSecondaryCaptureImageStorage, SecondaryCaptureImageStorage

from cmr_models.perfusion.series import first_pass, mean_image
from cmr_models.reasons import StudyRejected
from tasks.convert.cine import StudyViews, study_views
from tasks.convert.values import CLIPPED_FRAMES, _philips_scale_slope, n_clipped, storage_of
from tasks.sources.dicom import Image, read_images
from tasks.sources.dicom.image import TAGS

Change = Callable[[Dataset, Series, int], Any]


def _views(series: list[Series], change: Change) -> StudyViews:
    images = []
    for one in series:
        for frame in range(one.frames):
            ds = dataset(one, frame)
            change(ds, one, frame)
            images += read_images(encode(ds))
    return study_views(images, max_missing_fraction=0.2)


def _scanner(view: xr.Dataset) -> np.ndarray:
    """Values as the contract says that they are found again."""
    attributes = view.attrs
    found = view["intensity"].values * float(attributes["intensity_scale"]) + attributes["intensity_offset"]
    return np.asarray(found * attributes["rescale_slope"] + attributes["rescale_intercept"])


def _true(one: Series, frame: int) -> np.ndarray:
    """What the scanner measured, before it filled the bits of each frame."""
    return pixels(one, frame) * (1.0 + 0.1 * frame) - 100.0


def _own_slope(ds: Dataset, one: Series, frame: int) -> None:
    del one
    ds.RescaleSlope, ds.RescaleIntercept = f"{1 + 0.1 * frame:.6g}", "-100"


@pytest.mark.parametrize("series", [sax(), [lax(66, 1)]])
def test_a_slope_a_frame_is_brought_to_one_scale(series: list[Series]) -> None:
    (view,) = _views(series, _own_slope).views.values()
    for k, one in enumerate(series):
        for frame in range(one.frames):
            np.testing.assert_allclose(_scanner(view)[frame, k], _true(one, frame), atol=0.5001)
    assert view.attrs["flags"] == ["rescale_common"]
    assert (view.attrs["rescale_slope"], view.attrs["rescale_intercept"]) == (1, 0)
    assert view.attrs["intensity_scale"] == pytest.approx(1.0)


def test_one_slope_for_all_leaves_values_as_they_are_stored() -> None:
    def change(ds: Dataset, one: Series, frame: int) -> None:
        del one
        ds.RescaleSlope, ds.RescaleIntercept = ("2.5", "10") if frame % 2 else ("2.50 ", "10.0")

    view = _views(sax(), change).views["sax"]
    np.testing.assert_array_equal(view["intensity"].values[3, 2], pixels(sax()[2], 3))
    assert (view.attrs["rescale_slope"], view.attrs["rescale_intercept"], view.attrs["flags"]) == (2.5, 10, [])


def test_signed_values_keep_their_steps() -> None:
    def change(ds: Dataset, one: Series, frame: int) -> None:
        ds.PixelData, ds.PixelRepresentation = (pixels(one, frame).astype(np.int16) // 2 - 777).tobytes(), 1

    view = _views(sax(), change).views["sax"]
    np.testing.assert_array_equal(_scanner(view)[3, 2], pixels(sax()[2], 3).astype(int) // 2 - 777)
    assert (view.attrs["intensity_scale"], view.attrs["flags"]) == (1, [])


def test_cells_of_different_sizes_in_one_view_keep_their_values() -> None:
    header = {TAGS["rescale_slope"]: b"1"}
    values = [np.array([[-5, 9]], np.int32), np.array([[0, 65_000]], np.uint16), np.array([[-9, 3]], np.int8)]
    images = [Image(dict(header), one) for one in values]
    storage = storage_of(images)
    for image, expected in zip(images, values, strict=True):
        found = storage.store(image).astype(float) * storage.scale + storage.offset
        np.testing.assert_allclose(found, expected, atol=storage.scale - 1)
    assert (storage.offset, storage.scale) == (-9, 2)  # 65,535 + 9 steps do not fit 16 bits


def test_only_the_block_of_philips_in_which_the_scale_slope_lies_is_believed() -> None:
    def change(ds: Dataset, one: Series, frame: int) -> None:
        del one
        ds.Manufacturer, ds.RescaleSlope, ds.RescaleIntercept = "Philips", "2", "0"
        ds.private_block(0x2005, "Philips MR Imaging DD 005", create=True).add_new(0x0E, "FL", 0.5 + 0.25 * (frame % 2))

    view = _views(sax(), change).views["sax"]
    np.testing.assert_array_equal(view["intensity"].values[1, 2], pixels(sax()[2], 1))
    assert view.attrs["flags"] == []


def test_a_negative_slope_does_not_turn_blood_dark() -> None:
    def change(ds: Dataset, one: Series, frame: int) -> None:
        ds.PixelData = (4095 - pixels(one, frame)).tobytes()
        ds.RescaleSlope, ds.RescaleIntercept = "-1", "4095"

    view = _views(sax(), change).views["sax"]
    np.testing.assert_array_equal(view["intensity"].values[3, 2], pixels(sax()[2], 3))
    assert "rescale_common" in view.attrs["flags"]


def test_the_scale_of_the_receiver_counts_where_philips_states_another() -> None:
    def change(ds: Dataset, one: Series, frame: int) -> None:
        del one
        ds.Manufacturer, ds.RescaleSlope, ds.RescaleIntercept = "Philips Medical Systems", "2", "0"
        ds.private_block(0x2005, "Philips MR Imaging DD 001", create=True).add_new(0x0E, "FL", 0.5 + 0.25 * (frame % 2))

    view = _views(sax(), change).views["sax"]
    for frame in range(2):
        expected = pixels(sax()[2], frame) / (0.5 + 0.25 * frame)
        np.testing.assert_allclose(_scanner(view)[frame, 2], expected, atol=0.7)
    assert "rescale_common" in view.attrs["flags"]


_SCALES = st.tuples(st.floats(1e-6, 1e6), st.floats(-1e6, 1e6), st.booleans(), st.integers(0, 2**32 - 1))


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(1e-6, 1e6), st.floats(-1e6, 1e6), st.booleans(), st.integers(0, 2**32 - 1)),
        min_size=2,
        max_size=6,
    )
)
def test_any_slopes_give_values_back_within_half_a_step(drawn: list[tuple[float, float, bool, int]]) -> None:
    images, truth = [], []
    for slope, intercept, is_negative, seed in drawn:
        stored = np.random.default_rng(seed).integers(0, 2**16, (3, 4)).astype(np.uint16)
        signed = -slope if is_negative else slope
        header = {"rescale_slope": repr(signed), "rescale_intercept": repr(intercept)}
        images.append(Image({TAGS[name]: value.encode() for name, value in header.items()}, stored))
        truth.append(stored * signed + intercept)
    storage = storage_of(images)
    for image, expected in zip(images, truth, strict=True):
        got = storage.store(image)
        assert int(got.min()) >= 0
        assert int(got.max()) <= 65_535
        if storage.is_rescaled:
            found = got * storage.scale + storage.offset
            np.testing.assert_allclose(found, expected, atol=0.501 * storage.scale, rtol=1e-9)


# perfusion


BEATS = 24


def _bolus(change: Change, words: str = "stress_perf_SAX") -> dict[str, xr.Dataset]:
    def beat(ds: Dataset, one: Series, frame: int) -> None:
        ds.TriggerTime, ds.AcquisitionTime, ds.FlipAngle, ds.InversionTime = "120", f"1000{frame:09.6f}", "50", "60"
        change(ds, one, frame)

    one = Series(number=70, frames=BEATS, header={"SeriesDescription": words})
    return _views([one], beat).views


def _fill_bits(ds: Dataset, one: Series, frame: int) -> None:
    """A third of the pixels is at the top of its 12 bits; the slope of the frame says what that is."""
    del one
    cells = np.frombuffer(ds.PixelData, np.uint16).copy()
    cells[::3] = 4095
    ds.PixelData = cells.tobytes()
    ds.RescaleSlope, ds.RescaleIntercept = f"{0.5 + 0.1 * frame:.6g}", "0"


def test_a_curve_follows_the_slopes_of_its_frames() -> None:
    def change(ds: Dataset, one: Series, frame: int) -> None:
        cells = np.full(one.shape, 1000, np.uint16)
        ds.PixelData, ds.RescaleSlope, ds.RescaleIntercept = cells.tobytes(), f"{1 + frame}", "0"

    view = _bolus(change)["perfusion_stress"]
    signal = first_pass(view).signal[0, 5, 5]
    np.testing.assert_allclose(signal[::2], 1000.0 * np.arange(1, BEATS + 1), rtol=1e-4)


def test_clipping_is_seen_through_slopes_of_their_own() -> None:
    view = _bolus(_fill_bits)["perfusion_stress"]
    assert view.attrs["clipped_pixels"] == 160
    with pytest.raises(StudyRejected, match="perfusion_clipped"):
        first_pass(view)


def test_clipping_is_seen_in_signed_values() -> None:
    def change(ds: Dataset, one: Series, frame: int) -> None:
        cells = (pixels(one, frame) // 4).astype(np.int16) - 300  # at most 699
        cells[0], cells[1:4] = -500, 2047
        ds.PixelData, ds.PixelRepresentation = cells.tobytes(), 1

    view = _bolus(change)["perfusion_stress"]
    assert (view.attrs["intensity_offset"], view.attrs["clipped_pixels"]) == (-500, 60)  # 3 rows of 20
    with pytest.raises(StudyRejected, match="perfusion_clipped"):
        first_pass(view)


def test_input_and_tissue_are_compared_on_the_scale_that_each_states() -> None:
    images = []
    for number, words, stored, slope in ((70, "stress_perf_SAX", 800, "0.25"), (71, "stress_perf_AIF", 300, "4")):
        one = Series(number=number, frames=BEATS, header={"SeriesDescription": words})
        for frame in range(BEATS):
            ds = dataset(one, frame)
            ds.TriggerTime, ds.AcquisitionTime, ds.FlipAngle = "120", f"1000{frame:09.6f}", "50"
            ds.PixelData, ds.RescaleSlope, ds.RescaleIntercept = (
                np.full(one.shape, stored, np.uint16).tobytes(), slope, "-20",
            )  # fmt: skip
            images += read_images(encode(ds))
    views = study_views(images, max_missing_fraction=0.2).views
    np.testing.assert_allclose(first_pass(views["perfusion_stress"]).signal, 180.0)  # 800 * 0.25 - 20
    np.testing.assert_allclose(first_pass(views["perfusion_stress_aif"]).signal, 1180.0)  # 300 * 4 - 20


def test_slices_of_a_first_pass_with_slopes_of_their_own_are_on_one_scale() -> None:
    images = []
    for k, one in enumerate(sax(3, 15.0, frames=BEATS, header={"SeriesDescription": "stress_perf"})):
        for frame in range(BEATS):
            ds = dataset(one, frame)
            ds.TriggerTime, ds.AcquisitionTime, ds.FlipAngle = "120", f"1000{frame:09.6f}", "50"
            ds.PixelData = np.full(one.shape, 600 // (k + 1), np.uint16).tobytes()
            ds.RescaleSlope, ds.RescaleIntercept = f"{k + 1}", "0"
            images += read_images(encode(ds))
    view = study_views(images, max_missing_fraction=0.2).views["perfusion_stress"]
    np.testing.assert_allclose(first_pass(view).signal, 600.0, rtol=1e-4)


def test_all_perfusion_views_of_a_study_are_on_the_scale_of_the_receiver_if_one_is() -> None:
    def change(ds: Dataset, one: Series, frame: int) -> None:
        is_pd = frame < 3
        ds.FlipAngle, ds.InversionTime = ("5", "0") if is_pd else ("50", "60")
        ds.PixelData = np.full(one.shape, 1000, np.uint16).tobytes()
        ds.Manufacturer, ds.RescaleSlope, ds.RescaleIntercept = "Philips", "2", "0"
        slope = 0.25 if is_pd else 0.5
        ds.add_new(0x20050010, "LO", "Philips MR Imaging DD 001")
        ds.add_new(0x2005100E, "FL", struct.unpack("<f", struct.pack("<f", slope))[0])

    views = _bolus(change)
    np.testing.assert_allclose(mean_image(views["perfusion_stress_pd"])[0], 4000, rtol=1e-4)
    np.testing.assert_allclose(_scanner(views["perfusion_stress"]), 2000, rtol=1e-4)


# multi-frame files, results


def _classic(one: Series, **header: Any) -> list[Image]:
    ds = dataset(one)
    del ds.TriggerTime
    ds.PixelData = np.stack([pixels(one, frame) for frame in range(one.frames)]).tobytes()
    ds.NumberOfFrames, ds.FrameTime, ds.FrameIncrementPointer = one.frames, "90", 0x00181063
    for name, value in header.items():
        if value is None:
            delattr(ds, name)
        else:
            setattr(ds, name, value)
    return read_images(encode(ds))


@pytest.mark.parametrize("sop_class", [None, MultiFrameGrayscaleWordSecondaryCaptureImageStorage])
def test_classic_files_of_many_frames_are_the_cine_that_they_are(sop_class: str | None) -> None:
    header = {} if sop_class is None else {"SOPClassUID": sop_class}
    images = [image for one in sax() for image in _classic(one, **header)]
    view = study_views(images, max_missing_fraction=0.2).views["sax"]
    np.testing.assert_allclose(view["time_ms"], 90.0 * np.arange(10))
    assert view.attrs["heart_rate_bpm"] == pytest.approx(60_000 / 900)
    for k, one in enumerate(sax()):
        np.testing.assert_array_equal(view["intensity"].values[7, k], pixels(one, 7))


def _plain() -> list[Image]:
    return [image for one in sax() for frame in range(10) for image in read_images(encode(dataset(one, frame)))]


def test_a_classic_cine_without_times_ends_the_study_by_its_name() -> None:
    images = _plain() + _classic(lax(66, 1), FrameTime=None, FrameIncrementPointer=None)
    with pytest.raises(StudyRejected, match="multiframe_unordered"):
        study_views(images, max_missing_fraction=0.2)


@pytest.mark.parametrize(
    "header",
    [
        {"ImageType": ["DERIVED", "SECONDARY"]},
        {"SOPClassUID": SecondaryCaptureImageStorage, "ImagePositionPatient": None},
        {"SOPClassUID": MultiFrameGrayscaleWordSecondaryCaptureImageStorage, "PixelSpacing": None, "FrameTime": None},
        {"SeriesDescription": "InlineVF_Results"},
        {"ImageType": ["DERIVED", "SECONDARY"], "PhotometricInterpretation": "HSV"},
    ],
)
def test_results_are_told_by_their_type_class_or_name_and_left_out(header: dict[str, Any]) -> None:
    found = study_views(_plain() + _classic(lax(66, 1), **header), max_missing_fraction=0.2)
    assert list(found.views) == ["sax"]
    assert {row["reason"] for row in found.excluded} == {"series_result"}


def test_a_map_of_real_numbers_beside_the_cines_does_no_harm() -> None:
    ds = dataset(lax(66, 1))
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.30"
    del ds.PixelData
    ds.FloatPixelData = np.ones((24, 20), np.float32).tobytes()
    found = study_views(_plain() + read_images(encode(ds)), max_missing_fraction=0.2)
    assert list(found.views) == ["sax"]


def test_a_first_pass_whose_pixels_cannot_be_read_is_left_out_by_its_name() -> None:
    def change(ds: Dataset, one: Series, frame: int) -> None:
        del one, frame
        ds.TriggerTime, ds.AcquisitionTime = "120", "100000"
        ds.RescaleSlope, ds.RescaleIntercept = "0", "0"

    images = _plain()
    one = Series(number=70, frames=BEATS, header={"SeriesDescription": "stress_perf"})
    for frame in range(BEATS):
        ds = dataset(one, frame)
        change(ds, one, frame)
        images += read_images(encode(ds))
    found = study_views(images, max_missing_fraction=0.2)
    assert [(row["images"], row["reason"]) for row in found.excluded] == [(BEATS, "rescale_invalid")]


# limits


def _cells(*values: list[int], stored: int = 12, **header: str) -> list[Image]:
    fixed = {"bits_allocated": 16, "bits_stored": stored, "high_bit": stored - 1}
    raw = {TAGS[name]: number.to_bytes(2, "little") for name, number in fixed.items()}
    raw |= {TAGS[name]: text.encode() for name, text in header.items()}
    return [Image(dict(raw), np.array([row], np.uint16)) for row in values]


def test_a_pixel_is_clipped_if_it_is_at_the_top_of_its_bits_in_three_frames() -> None:
    # in two frames, in three that do not follow each other, in four; and one below the top in all
    frames = _cells([4095, 4095, 4095, 4094], [0, 0, 4095, 4094], [4095, 4095, 4095, 4094], [0, 4095, 4095, 4094])
    assert CLIPPED_FRAMES == 3
    assert n_clipped(frames) == 2
    frames[0].pixels = None
    assert n_clipped(frames) == 1
    assert n_clipped(_cells(*[[4095, 2047]] * 3, stored=11)) == 1


def test_slopes_that_differ_by_more_than_their_spelling_are_other_slopes() -> None:
    def scale(*slopes: str, intercepts: tuple[str, ...] = ("0", "0")) -> tuple[float, float]:
        images = [
            _cells([0, 100], rescale_slope=s, rescale_intercept=i)[0] for s, i in zip(slopes, intercepts, strict=True)
        ]
        return storage_of(images)[:2]

    assert scale("2", "2.000001") == (0, 1)  # a hundredth of a thousandth apart or less: as they are stored
    assert scale("2", "2.00001") == (0, pytest.approx(2))
    assert scale("2", "2", intercepts=("-40", "-40")) == (0, 1)
    assert scale("2", "2", intercepts=("-40", "30")) == (-40, 2)
    assert scale("-2", "-2") == (-200, 2)
    assert scale("2", "900") == (0, 2)  # the finest step, for values up to 90,000 in 45,000 steps
    assert scale("1", "900") == (0, pytest.approx(90_000 / 65_535))


@pytest.mark.parametrize(
    ("raw", "block", "manufacturer", "slope"),
    [
        (struct.pack("<f", 0.5), "Philips MR Imaging DD 001", "", 0.5), (struct.pack("<f", 0.5), "", "philips NV", 0.5),
        (struct.pack("<f", 0.5), "", "ACME", np.nan), (struct.pack("<f", 0.5), "ACME 1", "Philips", np.nan),
        (struct.pack("<f", 0.0), "", "Philips", np.nan), (struct.pack("<f", -1.0), "", "Philips", np.nan),
        (struct.pack("<f", np.inf), "", "Philips", np.nan), (struct.pack("<d", 0.5), "", "Philips", np.nan),
    ],
)  # fmt: skip
def test_a_scale_slope_is_philips_own_and_positive(raw: bytes, block: str, manufacturer: str, slope: float) -> None:
    texts = {"philips_block": block, "manufacturer": manufacturer}
    values = {TAGS[name]: text.encode() for name, text in texts.items()} | {TAGS["philips_scale_slope"]: raw}
    assert _philips_scale_slope(Image(values, None)) == pytest.approx(slope, nan_ok=True)

"""The steps of a plan and their ways back, and windows, by hand."""

import numpy as np
import pytest
import torch

from cmr_models.imported.step_plan import StepPlan, step_plan_of
from cmr_models.imported.steps import (
    CentreCrop,
    CropForeground,
    DivideByMaximum,
    Geometry,
    Normalise,
    Orient,
    Pad,
    Resize,
    ScaleIntensity,
    ScaleRange,
    Space,
    Step,
    run_back,
    run_steps,
    step_of,
    step_table,
)
from cmr_models.imported.windows import Windows, _starts, run_windows

ONE_MM = Geometry((1.0,))


def _seen(values: list[float], step: Step, geometry: Geometry = ONE_MM) -> list[float]:
    return [round(float(v), 4) for v in step.apply(torch.tensor([values], dtype=torch.float32), geometry)[0][0]]


@pytest.mark.parametrize(
    ("step", "values", "expected"),
    [
        (ScaleIntensity(), [2, 4, 6], [0, 0.5, 1]),
        (ScaleIntensity(-1, 1), [2, 4, 6], [-1, 0, 1]),
        (ScaleIntensity(0.5, 1), [4, 4], [2, 2]),  # a constant image, times the lowest value
        (ScaleRange(0, 10, 0, 1, clip=True), [-5, 5, 20], [0, 0.5, 1]),
        (ScaleRange(0, 10), [-5, 5, 20], [-0.5, 0.5, 2]),
        (ScaleRange(25, 75, 0, 1, clip=True, percentiles=True), [0, 1, 2, 3, 4], [0, 0, 0.5, 1, 1]),
        (Normalise(), [1, 3], [-1, 1]),  # mean 2, standard deviation 1
        (Normalise(nonzero=True), [0, 1, 3], [0, -1, 1]),
        (Normalise(1, 2), [1, 3], [0, 1]),
        (Normalise(), [5, 5], [0, 0]),
        (DivideByMaximum(), [1, 4], [0.25, 1]),
        (DivideByMaximum(), [0, 0], [0, 0]),
        (Pad((5,)), [1, 2], [0, 1, 2, 0, 0]),
        (Pad((4,), before=False), [1, 2], [1, 2, 0, 0]),
        (Pad(multiple=(4,)), [1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5, 0, 0]),
        (CentreCrop((2,)), [1, 2, 3, 4, 5], [2, 3]),
        (CentreCrop((-1,)), [1, 2, 3], [1, 2, 3]),
        (CropForeground(), [0, 0, 7, 0, 8, 0], [7, 0, 8]),
        (CropForeground(margin=(1,)), [7, 0], [0, 7, 0]),
        (CropForeground(margin=(1,), allow_smaller=True), [7, 0], [7, 0]),
        (CropForeground(multiple=(2,)), [0, 7, 8, 9, 0], [7, 8, 9, 0]),
        (CropForeground(), [0, 0], [0, 0]),  # an empty image stays whole
        (Space((2.0,)), [0, 1, 2, 3, 4], [0, 2, 4]),
        (Space((0.5,)), [0, 2, 4], [0, 1, 2, 3, 4]),
        (Space((0.0,)), [0, 2, 4], [0, 2, 4]),
        (Space((0.5,), "nearest"), [0, 2], [0, 0, 2]),  # places 0, 0.5, 1; halves go to the even voxel
    ],
)
def test_a_step_by_hand(step: Step, values: list[float], expected: list[float]) -> None:
    assert _seen(values, step) == expected


def test_ways_back_lead_to_the_image() -> None:
    """Padded, cropped and resampled ramps come back as they were, zero where they were cut off."""
    image = torch.arange(6.0)[None]
    seen, place, undos = run_steps(image, ONE_MM, (Pad((8,)), CentreCrop((6,)), Space((0.5,))))
    assert (seen.shape, place.spacing_mm) == ((1, 11), (0.5,))
    assert run_back(seen, undos, "linear")[0].tolist() == [0, 1, 2, 3, 4, 5]
    seen, _, undos = run_steps(image, ONE_MM, (CentreCrop((2,)),))
    assert seen[0].tolist() == [2, 3]
    assert run_back(seen, undos, "nearest")[0].tolist() == [0, 0, 2, 3, 0, 0]


def test_resizing_changes_the_size_of_voxels() -> None:
    image = torch.tensor([[[0.0, 2.0], [4.0, 6.0]]])
    seen, place, undos = run_steps(image, Geometry((1.0, 1.0)), (Resize((1, 4)),))
    assert seen.tolist() == [[[2, 2, 4, 4]]]  # "area": means of what a new voxel covers
    assert place.spacing_mm == (2.0, 0.5)
    assert run_back(seen, undos, "linear").tolist() == [[[2, 4], [2, 4]]]


def test_axes_are_turned_as_asked_and_back() -> None:
    """Of axes to the left, head and front, the first is flipped and the others exchanged: right, front and head."""
    image = torch.arange(8.0).reshape(1, 2, 2, 2)
    directions = np.array([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]])
    seen, place, undos = run_steps(image, Geometry((1.0, 2.0, 3.0), directions), (Orient("RAS"),))
    assert torch.equal(seen, image.flip(1).transpose(2, 3))
    assert place.spacing_mm == (1.0, 3.0, 2.0)
    assert (place.directions == np.eye(3)).all()
    assert torch.equal(run_back(seen, undos, "linear"), image)
    assert torch.equal(run_steps(image, Geometry((1.0, 2.0, 3.0)), (Orient("RAS"),))[0], image)


@pytest.mark.parametrize(
    ("step", "fault"),
    [
        (lambda: Orient("RAX"), "an orientation is three letters"),
        (lambda: Orient("RLS"), "an orientation is three letters"),
        (lambda: Space((1e-9,)), "a spacing in mm"),
        (lambda: Resize((4,), "wild"), "an image is resized by"),
        (lambda: Space((0.01,) * 3).apply(torch.zeros(1, 90, 90, 90), Geometry((10.0,) * 3)), "more than"),
        (lambda: step_of({"step": "call"}), "unknown step"),
        (lambda: step_of({"step": "pad", "code": 1}), "unknown step"),
        (lambda: Windows((4,), overlap=1.0), "windows overlap by 0 to 1"),
        (lambda: StepPlan((2, 1, 0), (0, 1), windows=Windows((4, 4))), "is not one of a network with 3 axes"),
        (lambda: StepPlan((0, 2), (0, 1)), "axes must order"),
        (lambda: StepPlan((0, 1), (0,)), "labels need a background"),
        (lambda: StepPlan((0, 1), (0, 1), activation="none "), "unknown activation"),
    ],
)
def test_impossible_plans_are_refused(step: object, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        step()  # type: ignore[operator]


def test_a_plan_survives_its_table() -> None:
    steps = (Orient("LPS"), Space((1.0, 2.0, -1.0)), ScaleRange(0, 9), Pad((8, 8, 8)), Resize((4, 4, 4)))
    plan = StepPlan((2, 1, 0), (0, 3, 2, 1), steps, Windows((4, 4, 4), 0.5, True), threshold=0.4)
    assert step_plan_of(plan.table(), "here") == plan
    assert step_table(ScaleRange(0, 9)) == {
        "step": "scale_range", "from_low": 0, "from_high": 9, "clip": False, "percentiles": False,
    }  # fmt: skip
    for damage in ({"steps": {"2": {}}}, {"axes": None}, {"windows": {"step": 1}}, {"more": 1}):
        with pytest.raises(ValueError, match="here has"):
            step_plan_of({**plan.table(), **damage}, "here")


def test_windows_begin_at_the_first_voxel_and_end_at_the_last() -> None:
    assert _starts(10, 4, 0.5) == [0, 2, 4, 6]
    assert _starts(11, 4, 0.5) == [0, 2, 4, 6, 7]
    assert _starts(4, 4, 0.5) == [0]
    assert _starts(5, 4, 0.0) == [0, 1]


def test_overlapping_windows_are_averaged_by_their_weights() -> None:
    """Windows 0-1 and 1-2 give the value of their first voxel, 1 and 2; in the middle the mean, Gaussian or not."""

    def first_value(window: torch.Tensor) -> torch.Tensor:
        return window[..., :1].expand_as(window)

    image = torch.tensor([[1.0, 2.0, 3.0]])
    for gaussian in (False, True):
        assert run_windows(image, first_value, Windows((2,), 0.5, gaussian))[0].tolist() == [1, 1.5, 2]
    assert run_windows(image, first_value, Windows())[0].tolist() == [1, 1, 1]
    assert run_windows(image, first_value, Windows((5,)))[0].tolist() == [0, 0, 0]  # a zero before and after
    assert run_windows(image, first_value, Windows((5,), replicate=True))[0].tolist() == [1, 1, 1]


def test_windows_beyond_count_are_refused() -> None:
    with pytest.raises(ValueError, match="has more than 100000 windows"):
        run_windows(torch.zeros(1, 400, 400), lambda x: x, Windows((4, 4), 0.9))


def test_a_network_that_gives_other_voxels_is_no_segmentation() -> None:
    with pytest.raises(ValueError, match="it is no segmentation"):
        run_windows(torch.zeros(1, 4), lambda x: x[..., :2], Windows())

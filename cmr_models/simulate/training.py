"""Independent random images with labels for training a segmentation network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cmr_models.simulate.anatomy import Heart
from cmr_models.simulate.body import Body
from cmr_models.simulate.details import sample_details, sample_long_axis_details
from cmr_models.simulate.imaging import acquire, breath_shift_mm, quantise
from cmr_models.simulate.planes import Planes, heart_pose, lax_plane, plan_planes, tilt
from cmr_models.simulate.scene import Scene
from cmr_models.simulate.settings import Contrast, ImagingSettings
from cmr_models.simulate.traits import HeartTraits, Sex, sample_traits

_DISEASES: Sequence[tuple[str, ...]] = (
    (),
    ("heart_failure",),
    ("dilated",),
    ("hypertrophic",),
    ("hypertension",),
    ("myocardial_infarction",),
    ("rv_overload",),
    ("heart_failure", "myocardial_infarction"),
)
_DISEASE_SHARES = (0.30, 0.08, 0.12, 0.20, 0.08, 0.08, 0.08, 0.06)
_CLOSING_SHARE, _OVERLOADED_SHARE = 0.25, 0.13  # of the patients of a hospital
_VIGOROUS_PCT, _HYPERDYNAMIC_SHARE = 58.0, 0.4  # ventricles that almost close are rare, and hardest to segment


def training_slices(
    rng: np.random.Generator,
    n: int,
    view: str = "sax",
    size: tuple[int, int] = (256, 256),
    *,
    settings: ImagingSettings | None = None,
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Draw images of random hearts, planes, phases and scanners, each with the whole field of view.

    Args:
        rng: source of all randomness.
        n: number of images.
        view: "sax" (from above the base to beyond the apex), "lax_2c", "lax_3c" or "lax_4c".
        size: rows and columns.
        settings: the protocol to randomise around; UK Biobank's by default.

    Returns:
        ``images (n, row, col)`` uint16, ``labels (n, row, col)`` uint8 and ``pixel_mm (n,)``.
    """
    base = settings or ImagingSettings()
    images, labels = np.empty((n, *size), np.uint16), np.empty((n, *size), np.uint8)
    pixel_mm = np.empty(n, np.float32)
    for i in range(n):
        drawn = replace(base.randomise(rng), matrix=size, n_frames=1)
        drawn = replace(drawn, pixel_mm=max(drawn.pixel_mm, 150.0 / min(size)), sub_planes=int(rng.integers(1, 4)))
        images[i], labels[i] = _one(Heart(random_traits(rng), rng), view, drawn, rng)
        pixel_mm[i] = drawn.pixel_mm
    return images, labels, pixel_mm


def training_stacks(
    rng: np.random.Generator, n: int, n_slices: int, size: tuple[int, int] = (256, 256)
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Draw parts of short-axis stacks of hospital patients: neighbouring slices at one phase, a breath-hold each.

    The heart varies more than in :func:`training_slices` (:mod:`cmr_models.simulate.details`), and the labels are what
    a reader draws (:meth:`cmr_models.simulate.scene.Scene.drawn_labels`).

    Args:
        rng: source of all randomness.
        n: number of stacks.
        n_slices: of each; they begin anywhere from above the base to the apex.
        size: rows and columns.

    Returns:
        ``images (n, slice, row, col)`` uint16, ``labels (n, slice, row, col)`` uint8 and ``pixel_mm (n,)``.
    """
    images, labels = np.empty((n, n_slices, *size), np.uint16), np.empty((n, n_slices, *size), np.uint8)
    pixel_mm = np.empty(n, np.float32)
    for i in range(n):
        drawn = replace(ImagingSettings().randomise(rng), matrix=size, n_frames=1, sub_planes=int(rng.integers(2, 4)))
        drawn = replace(
            drawn, pixel_mm=max(drawn.pixel_mm, 150.0 / min(size)), slice_mm=float(rng.uniform(5.5, 12)),
            contrast=_patient_contrast(rng, drawn.contrast),
        )  # fmt: skip
        traits = patient_traits(rng)
        images[i], labels[i] = _stack(Heart(traits, rng, sample_details(rng, traits)), n_slices, drawn, rng)
        pixel_mm[i] = drawn.pixel_mm
    return images, labels, pixel_mm


class PatientStack(NamedTuple):
    """The whole short-axis stack of a hospital patient at end-diastole and end-systole, base first.

    Attributes:
        images: ``(2, slice, row, col)`` uint16.
        labels: as a reader draws them.
        share: ``(2, slice, ventricle)``: part of each slice in which a reader draws the ventricle.
        pixel_mm: pixel size.
        slice_mm: distance between slices.
    """

    images: npt.NDArray[np.uint16]
    labels: npt.NDArray[np.uint8]
    share: npt.NDArray[np.float64]
    pixel_mm: float
    slice_mm: float


def patient_stack(rng: np.random.Generator, size: tuple[int, int] = (256, 256)) -> PatientStack:
    """Draw a patient as :func:`training_stacks` does, from above the base, by a little or much, to beyond the apex."""
    settings = replace(ImagingSettings().randomise(rng), matrix=size, n_frames=1, sub_planes=2)
    settings = replace(
        settings, pixel_mm=max(settings.pixel_mm, 150.0 / min(size)), slice_mm=float(rng.uniform(6, 12)),
        contrast=_patient_contrast(rng, settings.contrast),
    )  # fmt: skip
    traits = patient_traits(rng)
    heart = Heart(traits, rng, sample_details(rng, traits))
    planes, body = _whole_stack(heart, settings, rng), Body(heart, rng)
    states = [heart.state(0.0), heart.state(heart.end_systole)]
    signal, labels, share = [], [], []
    for k in range(len(planes.position_mm)):
        points = planes.points(k)
        scene = Scene(
            heart, body, points + breath_shift_mm(settings, rng), planes.normal[k], planes.thickness_mm,
            planes.pixel_mm, settings.contrast, settings.sub_planes, rng,
        )  # fmt: skip
        signal.append(np.stack([acquire([scene.draw(state)], points, settings, rng)[0] for state in states]))
        labels.append(np.stack([scene.drawn_labels(state) for state in states]))
        share.append([scene.drawn_shares(state, settings.slice_mm) for state in states])
    scale = float(np.exp(rng.uniform(np.log(80), np.log(1200))))
    images = quantise(np.stack(signal, axis=1), scale)
    return PatientStack(
        images, np.stack(labels, axis=1), np.array(share).swapaxes(0, 1), settings.pixel_mm, settings.slice_mm
    )


def _whole_stack(heart: Heart, settings: ImagingSettings, rng: np.random.Generator) -> Planes:
    pose = heart_pose(heart.traits)
    normal = tilt(pose.axes[:, 2], settings.tilt_deg, rng)
    first_mm = float(rng.uniform(-28, -2))
    last_mm = heart.apex_z_mm + float(rng.uniform(-4, 14))
    heights = first_mm + settings.slice_mm * np.arange(int(np.ceil((last_mm - first_mm) / settings.slice_mm)) + 1)
    middle = pose.to_patient(np.array([12.0, 0.0, heart.apex_z_mm / 2]))
    centres = middle + (heights - heart.apex_z_mm / 2)[:, None] * normal
    return plan_planes(centres, normal, settings, settings.thickness_mm, rng)


def training_long_axis(
    rng: np.random.Generator, n: int, view: str, size: tuple[int, int] = (256, 256)
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Draw long-axis images of hospital patients, planned with the errors of many operators.

    Hearts vary as in :func:`training_stacks`, and show what lies at the base
    (:mod:`cmr_models.simulate.base_details`).

    Args:
        rng: source of all randomness.
        n: number of images.
        view: "lax_2c", "lax_3c" or "lax_4c".
        size: rows and columns.

    Returns:
        ``images (n, row, col)`` uint16, ``labels (n, row, col)`` uint8 and ``pixel_mm (n,)``.
    """
    images, labels = np.empty((n, *size), np.uint16), np.empty((n, *size), np.uint8)
    pixel_mm = np.empty(n, np.float32)
    for i in range(n):
        drawn = replace(ImagingSettings().randomise(rng), matrix=size, n_frames=1, sub_planes=int(rng.integers(2, 4)))
        drawn = replace(
            drawn, pixel_mm=max(drawn.pixel_mm, 150.0 / min(size)), turn_deg=float(rng.uniform(2, 14)),
            contrast=_patient_contrast(rng, drawn.contrast),
        )  # fmt: skip
        traits = patient_traits(rng)
        heart = Heart(traits, rng, sample_long_axis_details(rng, traits))
        images[i], labels[i] = _one(heart, view, drawn, rng)
        pixel_mm[i] = drawn.pixel_mm
    return images, labels, pixel_mm


def _patient_contrast(rng: np.random.Generator, contrast: Contrast) -> Contrast:
    """Fat brighter than blood near the coil, and in some studies muscle that is little darker than blood."""
    myocardium = float(rng.uniform(0.4, 0.65)) if rng.random() < 0.25 else contrast.myocardium
    return replace(contrast, fat=float(rng.uniform(0.7, 1.9)), myocardium=myocardium)


def patient_traits(rng: np.random.Generator) -> HeartTraits:
    """Draw the traits of a hospital patient: as :func:`random_traits`, with more fat, thick small ventricles that empty
    almost completely, and right ventricles several times as large as the left.
    """
    traits = replace(random_traits(rng), fatness=float(1.6 * rng.random() ** 1.5))
    kind = rng.random()
    if kind < _CLOSING_SHARE:
        return replace(
            traits, lvedv_ml=traits.lvedv_ml * float(rng.uniform(0.6, 1.0)), lvef_pct=float(rng.uniform(62, 91)),
            lvm_g=min(traits.lvm_g * float(rng.uniform(1.0, 1.9)), 380.0), rvef_pct=float(rng.uniform(50, 85)),
        )  # fmt: skip
    if kind > 1 - _OVERLOADED_SHARE:
        return replace(
            traits, lvedv_ml=max(45.0, traits.lvedv_ml * float(rng.uniform(0.5, 1.0))),
            rvedv_ml=float(rng.uniform(1.3, 2.6)) * traits.lvedv_ml, rvef_pct=float(rng.uniform(8, 50)),
        )  # fmt: skip
    return traits


def random_traits(rng: np.random.Generator) -> HeartTraits:
    """Draw the traits of an adult; disease is more frequent than in a biobank."""
    sex: Sex = "F" if rng.random() < 0.5 else "M"
    height = rng.normal(163 if sex == "F" else 176, 7)
    bmi = float(np.clip(rng.normal(27, 5), 17, 45))
    disease = _DISEASES[int(rng.choice(len(_DISEASES), p=_DISEASE_SHARES))]
    traits = sample_traits(
        rng,
        sex=sex,
        age_years=float(rng.uniform(20, 85)),
        height_cm=float(height),
        weight_kg=float(bmi * (height / 100) ** 2),
        disease=disease,
        severity=float(rng.uniform(0.3, 1.4)),
    )
    if traits.lvef_pct > _VIGOROUS_PCT and rng.random() < _HYPERDYNAMIC_SHARE:
        traits = replace(traits, lvef_pct=float(rng.uniform(_VIGOROUS_PCT, 88)))
    return replace(
        traits,
        axis_left_deg=float(rng.normal(0, 12)),
        axis_down_deg=float(rng.normal(0, 15)),
        roll_deg=float(rng.normal(0, 14)),
        papillary_size=float(rng.uniform(0.10, 0.32)),
        trabeculation=float(rng.uniform(0.2, 2.2)),
    )


def _one(
    heart: Heart, view: str, settings: ImagingSettings, rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint8]]:
    planes = _random_sax(heart, settings, rng) if view == "sax" else lax_plane(heart, view, settings, rng)
    phase = float(rng.choice([0.0, heart.end_systole, rng.random()], p=[0.3, 0.3, 0.4]))
    state = heart.state(phase)
    points = planes.points(0)
    body = Body(heart, rng)
    scene = Scene(
        heart, body, points, planes.normal[0], planes.thickness_mm, planes.pixel_mm, settings.contrast,
        settings.sub_planes, rng,
    )  # fmt: skip
    signal = acquire([scene.draw(state)], points, settings, rng)
    scale = float(np.exp(rng.uniform(np.log(80), np.log(1200))))
    return quantise(signal, scale)[0], scene.labels(state, view)


def _stack(
    heart: Heart, n_slices: int, settings: ImagingSettings, rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint8]]:
    """Images and labels (slice, row, col)."""
    phase = float(rng.choice([0.0, heart.end_systole, rng.random()], p=[0.35, 0.45, 0.2]))
    planes, state, body = _random_stack(heart, n_slices, settings, rng), heart.state(phase), Body(heart, rng)
    signal, labels = [], []
    for k in range(n_slices):
        points = planes.points(k)
        scene = Scene(
            heart, body, points + breath_shift_mm(settings, rng), planes.normal[k], planes.thickness_mm,
            planes.pixel_mm, settings.contrast, settings.sub_planes, rng,
        )  # fmt: skip
        signal.append(acquire([scene.draw(state)], points, settings, rng)[0])
        labels.append(scene.drawn_labels(state))
    scale = float(np.exp(rng.uniform(np.log(80), np.log(1200))))
    return quantise(np.stack(signal), scale), np.stack(labels)


def _random_stack(heart: Heart, n_slices: int, settings: ImagingSettings, rng: np.random.Generator) -> Planes:
    """Neighbouring short-axis planes; the first lies up to 4 cm above the mitral plane, or at the apex at the most."""
    pose = heart_pose(heart.traits)
    normal = tilt(pose.axes[:, 2], settings.tilt_deg, rng)
    last_mm = heart.apex_z_mm + 20 - settings.slice_mm * (n_slices - 1)
    heights = rng.uniform(-40, max(last_mm, -20)) + settings.slice_mm * np.arange(n_slices)
    middle = pose.to_patient(np.array([12.0, 0.0, heart.apex_z_mm / 2]))
    centres = middle + (heights - heart.apex_z_mm / 2)[:, None] * normal
    return plan_planes(centres, normal, settings, settings.thickness_mm, rng)


def _random_sax(heart: Heart, settings: ImagingSettings, rng: np.random.Generator) -> Planes:
    """Draw a short-axis plane at any height, mostly through the ventricles, sometimes above or below them."""
    pose = heart_pose(heart.traits)
    normal = tilt(pose.axes[:, 2], settings.tilt_deg, rng)
    height = rng.uniform(-0.16, 1.06) * heart.apex_z_mm
    centre = pose.to_patient(np.array([12.0, 0.0, heart.apex_z_mm / 2])) + (height - heart.apex_z_mm / 2) * normal
    return plan_planes(centre[None], normal, settings, settings.thickness_mm, rng)

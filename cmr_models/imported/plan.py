"""The plan of an nnU-Net: how a volume becomes the network's input, and its output becomes labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

Scheme = Literal["z_score", "ct", "none", "rescale_to_0_1"]
SCHEMES: Mapping[str, Scheme] = {
    "ZScoreNormalization": "z_score",
    "CTNormalization": "ct",
    "NoNormalization": "none",
    "RescaleTo01Normalization": "rescale_to_0_1",
}
"""nnU-Net's name of a normalisation -> ours."""


@dataclass(frozen=True)
class Resampling:
    """How volumes are resampled: splines of an order, slice by slice where slices are far apart.

    Attributes:
        order: of the spline.
        order_z: of the interpolation between slices where these are resampled one by one.
        separate_z: "auto", "always" or "never": whether slices are resampled one by one.
    """

    order: int
    order_z: int = 0
    separate_z: str = "auto"

    def __post_init__(self) -> None:
        if self.order not in range(6) or self.order_z not in range(6):
            raise ValueError(f"splines have an order of 0 to 5, got {self.order} and {self.order_z}")
        if self.separate_z not in ("auto", "always", "never"):
            raise ValueError(f"separate_z must be 'auto', 'always' or 'never', got {self.separate_z!r}")


@dataclass(frozen=True)
class Plan:
    """What an nnU-Net was planned for. Axes are those of the network, after ``transpose``.

    Attributes:
        spacing_mm: voxel size; two numbers of a 2-D network, which keeps the slices as they are.
        patch_size: voxels of the network's window.
        transpose: axis of the volume (slice, row, column) that becomes each axis of the network.
        normalisation: scheme.
        mask_normalisation: normalise only what is not zero.
        intensities: "mean", "std", "percentile_00_5" and "percentile_99_5" of the training images, for "ct".
        image: how images are resampled.
        output: how the network's outputs are resampled.
        mirror_axes: axes of the patch along which predictions are mirrored and averaged.
        codes: our code of each output channel.
    """

    spacing_mm: tuple[float, ...]
    patch_size: tuple[int, ...]
    transpose: tuple[int, int, int]
    normalisation: Scheme
    mask_normalisation: bool
    image: Resampling
    output: Resampling
    codes: tuple[int, ...]
    mirror_axes: tuple[int, ...] = ()
    intensities: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        n_dims = len(self.patch_size)
        if n_dims not in (2, 3) or len(self.spacing_mm) != n_dims:
            raise ValueError(f"spacing {self.spacing_mm} and patch {self.patch_size} need two or three numbers each")
        if not all(0.01 <= mm <= 1000 for mm in self.spacing_mm) or not all(1 <= n <= 4096 for n in self.patch_size):
            raise ValueError(f"spacing {self.spacing_mm} and patch {self.patch_size} are not those of an image")
        if sorted(self.transpose) != [0, 1, 2]:
            raise ValueError(f"transpose must order the axes 0, 1, 2, got {self.transpose}")
        if not set(self.mirror_axes) <= set(range(n_dims)):
            raise ValueError(f"mirror axes {self.mirror_axes} are not those of a patch {self.patch_size}")
        if self.normalisation not in SCHEMES.values():
            raise ValueError(f"unknown normalisation {self.normalisation!r}")
        if self.normalisation == "ct" and not {"mean", "std", "percentile_00_5", "percentile_99_5"} <= set(
            self.intensities or {}
        ):
            raise ValueError("the normalisation 'ct' needs the intensities of the training images")

    def table(self) -> dict[str, Any]:
        """Plain values, for a model card."""
        values = asdict(self)
        if self.intensities is None:
            del values["intensities"]
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def plan_of(table: Mapping[str, Any], where: str) -> Plan:
    """The plan that :meth:`Plan.table` wrote; ``where`` names the card.

    Raises:
        ValueError: if it lacks an entry, or one is unknown or wrong.
    """
    known = {item.name for item in fields(Plan)}
    if not set(table) <= known:
        raise ValueError(f"{where} has unknown entries in its plan: {sorted(set(table) - known)}")
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    try:
        for name in ("image", "output"):
            values[name] = Resampling(**values[name])
        return Plan(**values)
    except (TypeError, KeyError) as error:
        raise ValueError(f"{where} has no complete plan of its network: {error}") from error

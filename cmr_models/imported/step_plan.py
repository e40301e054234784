"""The plan of an imported network that is prepared step by step: a MONAI bundle or an ONNX network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from cmr_models.imported.steps import LINEAR, NEAREST, Step, step_of, step_table
from cmr_models.imported.windows import Windows

ACTIVATIONS = ("softmax", "sigmoid", "none")


@dataclass(frozen=True)
class StepPlan:
    """How images become the network's input, and its output becomes labels.

    Attributes:
        axes: axis of the image that becomes each axis of the network: of a volume (slice, row, column), or of a single
            image (row, column).
        codes: our code of each label; of a network with one output channel those of "no" and "yes".
        steps: in order.
        windows: what the network sees at a time.
        slice_axis: axis of the prepared volume across which a network of two axes goes slice by slice; -1 if the
            network has the axes of the image.
        activation: what makes probabilities of the network's output.
        activated_first: probabilities are interpolated on the way back, not the network's output.
        interpolation: on the way back, "linear" or "nearest".
        threshold: of the probability of a network with one output channel.
    """

    axes: tuple[int, ...]
    codes: tuple[int, ...]
    steps: tuple[Step, ...] = ()
    windows: Windows = field(default_factory=Windows)
    slice_axis: int = -1
    activation: str = "softmax"
    activated_first: bool = True
    interpolation: str = LINEAR
    threshold: float = 0.5

    def __post_init__(self) -> None:
        n_axes = len(self.axes)
        if sorted(self.axes) not in ([0, 1], [0, 1, 2]) or not -1 <= self.slice_axis < n_axes:
            raise ValueError(f"axes must order 0, 1 or 0, 1, 2, got {self.axes} and the slice axis {self.slice_axis}")
        if self.windows.size and len(self.windows.size) != self.n_network_axes:
            raise ValueError(f"a window {self.windows.size} is not one of a network with {self.n_network_axes} axes")
        if self.activation not in ACTIVATIONS or self.interpolation not in (LINEAR, NEAREST):
            raise ValueError(f"unknown activation {self.activation!r} or interpolation {self.interpolation!r}")
        if len(self.codes) < 2:
            raise ValueError(f"labels need a background and a structure, got the codes {self.codes}")

    @property
    def n_network_axes(self) -> int:
        """Axes of the network, 2 or 3."""
        return len(self.axes) - (self.slice_axis >= 0)

    def table(self) -> dict[str, Any]:
        """Plain values, for a model card."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in ("steps", "windows")}
        steps = {str(i): step_table(step) for i, step in enumerate(self.steps, start=1)}
        return {**_lists(values), "windows": _lists(asdict(self.windows)), **({"steps": steps} if steps else {})}


def step_plan_of(table: Mapping[str, Any], where: str) -> StepPlan:
    """The plan that :meth:`StepPlan.table` wrote; ``where`` names the card.

    Raises:
        ValueError: if it lacks an entry, or one is unknown or wrong.
    """
    known = {item.name for item in fields(StepPlan)}
    if not set(table) <= known:
        raise ValueError(f"{where} has unknown entries in its plan: {sorted(set(table) - known)}")
    values = _tuples(table)
    try:
        steps = values.pop("steps", {})
        values["windows"] = Windows(**_tuples(values.pop("windows", {})))
        return StepPlan(steps=tuple(step_of(steps[str(i)]) for i in range(1, len(steps) + 1)), **values)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{where} has no complete plan of its network: {error}") from error


def _lists(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
